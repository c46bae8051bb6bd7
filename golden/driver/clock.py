"""When each command of a training core starts and ends: its cycles, without its numbers.

Three resources work side by side: the load unit, the array, and the way out of the results. Each
does one thing after the other. Commands start in their order, each when its unit is free and what
it waits for has ended. A tile of a product takes its passes, or the strips of the tile before,
whichever are more. The host writes the registers that change, and looks on while it waits.

Times are cycles. What takes time beside beats, passes and strips is told by
:class:`nibblegrad.golden.engine.timing.CoreTiming`; the rest follows from
``docs/training_core.md``.
"""

import heapq
from dataclasses import dataclass
from typing import Any

from nibblegrad.golden.engine.command import Command, CoreSize, Destination, Operation
from nibblegrad.golden.engine.registers import used_settings
from nibblegrad.golden.engine.timing import CoreTiming

__all__ = ["Clock", "Span"]

# What must be the same for the results of two products to go the same way.
_WAY = (
    "operation destination mode signed_result relu bias masked step_gradient stochastic phase "
    "significand exponent fp4_exponent"
).split()
# Registers of each operation that hold one setting, and the operations that have a scale.
_SETTINGS = {
    operation: tuple(sorted(map(str.lower, used_settings(operation) - {"COMMAND", "SCALE"})))
    for operation in Operation
}
_SCALED = {operation for operation in Operation if "SCALE" in used_settings(operation)}
# Words of the states of both generators.
_SEED_WRITES = 8


@dataclass(frozen=True)
class Span:
    """A command in time.

    Attributes
    ----------
    command : Command
        The command.
    start : int
        When its unit begins with it.
    first, last : int
        Products: the last pass of the first, and of the last tile.
    end : int
        When it ends: its last write to a memory, or its last strip is stored.
    out : int
        When its last strip has left the core; ``end`` if none does.
    """

    command: Command
    start: int
    first: int
    last: int
    end: int
    out: int

    def moved(self, cycles: int) -> "Span":
        """Give the same so many cycles later."""
        times = (self.start, self.first, self.last, self.end, self.out)
        return Span(self.command, *(time + cycles for time in times))


class Clock:
    """Time of a core and of its host.

    Parameters
    ----------
    size : CoreSize
        Parameters of the core.
    timing : CoreTiming
        What its pipelines take.

    Attributes
    ----------
    now : int
        Time of the host: when it goes on after what it has waited for.
    load_free, array_free : int
        When the load unit has ended what it was given, and when the array may start a product.
    busy : int
        Cycles in which the core has something to do, as its counter CYCLES has them.
    spans : list of Span or None
        Set it to a list to have all commands added.
    """

    def __init__(self, size: CoreSize, timing: CoreTiming) -> None:
        self._size = size
        self._timing = timing
        self.now = 0
        self.load_free = 0
        self.array_free = 0
        self.busy = 0
        self.spans: list[Span] | None = None
        self._busy_until = 0
        # Begin of the last check, start of the last command, end of the last product.
        self._check = -timing.check
        self._start = 0
        self._product_end = 0
        # Settings as the registers have them, and ends of the commands that the host has issued.
        self._settings: dict[str, Any] = {}
        self._outstanding: list[int] = []
        # The last product, and strips of its last tile.
        self._before: Span | None = None
        self._strips_before = 0

    def fork(self) -> "Clock":
        """Make one that begins where this one is."""
        other = Clock.__new__(Clock)
        other.__dict__.update(self.__dict__)
        other.spans = None
        other._settings = dict(self._settings)
        other._outstanding = list(self._outstanding)
        return other

    def issue(self, command: Command) -> Span:
        """Let the host write a command, and find when it starts and ends."""
        timing = self._timing
        writes = self._count_writes(command)
        # A write waits until the command before has been checked.
        check = max(
            self.now + timing.write * writes + timing.response,
            self._check + timing.check + max(timing.write * writes - 1, timing.write),
        )
        while len(self._outstanding) >= self._size.queue_depth:
            # The host reads how many have ended.
            ended = heapq.heappop(self._outstanding)
            check = max(check, ended + timing.read + timing.write + timing.response)
        self._check = check
        ready = max(check + timing.check, self._start + timing.start)
        if command.wait_for_loads:
            ready = max(ready, self.load_free)
        if command.wait_for_products:
            ready = max(ready, self._product_end)
        is_product = command.is_product
        span = (self._product if is_product else self._load)(command, ready)
        self._start = span.start
        heapq.heappush(self._outstanding, span.end)
        self.busy += max(0, span.out - max(check, self._busy_until))
        self._busy_until = max(self._busy_until, span.out)
        if self.spans is not None:
            self.spans.append(span)
        return span

    def wait(self, span: Span) -> None:
        """Let the host wait for the result of a product."""
        self.now = max(self.now, span.out)

    def read(self, count: int) -> None:
        """Let the host read some registers."""
        self.now += count * self._timing.read

    def finish(self) -> None:
        """Let the host wait until all that was issued has ended."""
        self.now = max(self.now, self._check + self._timing.check, self._busy_until)
        self.read(1)

    def seed(self) -> None:
        """Let the host wait for everything, and write the states of the generators."""
        self.finish()
        self.now += _SEED_WRITES * (self._timing.write + self._timing.start)

    def _load(self, command: Command, ready: int) -> Span:
        size, timing = self._size, self._timing
        start = max(ready, self.load_free)
        if command.operation == Operation.LOAD_BIASES or command.codes:
            pipeline = timing.raw_load
        elif command.operation == Operation.LOAD_GRADIENTS:
            pipeline = timing.gradient_load
        else:
            pipeline = timing.load
        self.load_free = end = start + size.beats(command) + pipeline
        return Span(command, start, start, end, end, end)

    def _product(self, command: Command, ready: int) -> Span:
        size, timing = self._size, self._timing
        start = max(ready, self.array_free)
        rows, columns = size.result_shape(command)
        tile_rows, tile_columns = size.tile_shape(command.operation)
        digits = 2 if command.operation == Operation.FORWARD else 1
        passes = -(-size.terms(command) // size.lanes) * digits
        first = start + passes - 1
        before = self._before
        if before is None or start > self.array_free:
            first = max(first, start + timing.first_tile)
        if before is not None and _goes_the_same_way(before.command, command):
            first = max(first, before.last + self._strips_before + 1)
        elif before is not None:
            first = max(first, before.end + timing.settings)
        # Each tile takes its passes, or the strips of the tile before.
        across = -(-columns // tile_columns)
        full, strips = divmod(rows, tile_rows)
        last = first + full * across * max(passes, tile_rows)
        if strips:
            last += (across - 1) * max(passes, strips)
        else:
            strips = tile_rows
            last -= max(passes, strips)
        end = last + strips + timing.drain
        out = end + timing.output if command.destination == Destination.STREAM else end
        self.array_free = last + timing.restart
        self._product_end = end
        self._strips_before = strips
        self._before = Span(command, start, first, last, end, out)
        return self._before

    def _count_writes(self, command: Command) -> int:
        """Count the registers that change, and COMMAND."""
        operation = Operation(command.operation)
        wanted = {name: getattr(command, name) for name in _SETTINGS[operation]}
        if operation in _SCALED:
            wanted["scale"] = command.significand, command.exponent
        changed = sum(self._settings.get(name) != value for name, value in wanted.items())
        self._settings |= wanted
        return changed + 1


def _goes_the_same_way(one: Command, other: Command) -> bool:
    """Tell whether the results of a product may follow those of another without a gap."""
    sums = one.accumulate or other.accumulate or other.clear_step_gradient
    if sums or one.destination == Destination.PARTIAL_SUMS:
        return False
    return all(getattr(one, name) == getattr(other, name) for name in _WAY)
