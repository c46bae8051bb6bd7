"""Which product the results that pass through belong to, and when the next one takes its turn."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from nibblegrad.golden.engine.command import Destination, Operation
from nibblegrad.hdl.base.contracts import promise
from nibblegrad.hdl.base.level import Level
from nibblegrad.hdl.base.pipeline import delay
from nibblegrad.hdl.engine.commands import command_layout

__all__ = ["SETTINGS", "ResultSequencer", "result_route"]

#: Fields of a command that all settings behind the array follow from.
SETTINGS = (
    *("operation", "destination", "mode", "signed_result", "relu", "bias", "masked"),
    *("step_gradient", "stochastic", "phase", "significand", "exponent", "fp4_exponent"),
)


def result_route():
    """Lay out what a product is, and where its results go."""
    names = ("forward", "by_weight", "to_stream", "to_operand", "to_sums")
    return data.StructLayout(dict.fromkeys(names, 1))


class ResultSequencer(wiring.Component):
    """Keep the product whose results pass through, and the next one.

    A product starts when the drain may be given its tiles. Where it is alike in all that is set
    behind the array, it follows the last strip of the one before without a gap; where it is not,
    it starts after a gap, when all strips of the one before are stored.

    The latency from a command to the first ``tiles_enabled``, where none is before it, is
    ``latency`` cycles.

    Parameters
    ----------
    way : int
        Cycles of a strip from ``strip_taken`` to ``strip_stored``.

    Members
    -------
    command : ``In(stream.Signature(command_layout()))``
        Products whose results are to come; ready when the next one can be kept.
    strip_taken, last_taken : ``In(1)``
        A strip leaves the array, and is the last one of its product.
    strip_stored : ``In(1)``
        A strip is stored, or waits to leave.
    next_command : ``Out(command_layout())``
        The next product. It stands for 3 cycles before ``start``, and for one more.
    start : ``Out(1)``
        It starts: the drain is given its tiles from now on.
    current_command : ``Out(command_layout())``, route : ``Out(result_route())``
        The product whose results pass through, 2 cycles after its ``start``.
    tiles_enabled : ``Out(1)``
        Whether a tile of it may be issued.
    clear_step : ``Out(2)``
        The step gradient that is cleared, of activations (0) or weights (1).
    busy : ``Out(1)``
        Results are still to come from the array, or on their way.
    ended : ``Out(1)``
        The last strip of a product is stored, or waits to leave.
    """

    latency = 7
    #: Cycles from the last ``strip_stored`` of a product to its end, when it is no longer busy.
    release = 2
    #: Cycles from there to ``tiles_enabled``, where the next product waits with other settings.
    turnaround = 4

    def __init__(self, way):
        self._way = way
        super().__init__(
            {
                "command": In(stream.Signature(command_layout())),
                "strip_taken": In(1),
                "last_taken": In(1),
                "strip_stored": In(1),
                "next_command": Out(command_layout()),
                "start": Out(1),
                "current_command": Out(command_layout()),
                "route": Out(result_route()),
                "tiles_enabled": Out(1),
                "clear_step": Out(2),
                "busy": Out(1),
                "ended": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        active = Signal()  # `current_command` has results to come
        drained = Signal()  # its last strip has left the array
        next_valid = Signal()
        next_settled = Signal(2)  # `next_valid` has been so for one cycle, and for two
        m.d.comb += [
            self.command.ready.eq(~next_valid),
            self.busy.eq(active | next_valid),
        ]
        # What comes while none is kept may be anything, until it is valid.
        with m.If(~next_valid):
            m.d.sync += [
                self.next_command.eq(self.command.payload),
                next_valid.eq(self.command.valid),
            ]

        alike = self._compare(m)
        chained = Signal()  # the next product needs no gap
        gap_start_next = Signal()  # it starts after a gap, in the next cycle
        gap_start = Signal()
        gap_start_delayed = Signal()
        start_delayed = Signal()
        passed = ~active | (alike & drained)
        m.d.sync += [
            chained.eq(next_settled[1] & alike & ~self.start),
            gap_start_next.eq(next_settled[1] & passed & ~self.start & ~gap_start_next),
            self.start.eq(gap_start_next | (chained & self.last_taken)),
            gap_start.eq(gap_start_next),
            gap_start_delayed.eq(gap_start),
            next_settled.eq(Mux(self.start, 0, Cat(next_valid, next_settled[0]))),
            start_delayed.eq(self.start),
        ]
        with m.If(self.start):
            m.d.sync += [active.eq(1), next_valid.eq(0)]
        m.d.comb += self.tiles_enabled.eq(active & ~gap_start_delayed & (~next_valid | chained))
        self._switch(m, start_delayed)

        # The end of a product: its last strip has come out of the pipeline.
        inside = Level(m, "inside", self._way)
        inside.change(self.strip_taken, self.strip_stored)
        stored = active & drained & ~inside.any
        m.d.sync += drained.eq((drained | (self.last_taken & ~chained)) & ~gap_start_next & ~stored)
        with m.If(stored):
            m.d.sync += active.eq(0)
        # Where another one is chained to it, it ends when the strips are through.
        chained_end = delay(m, "chained_end", self.start & active, self._way - 1, reset=True)
        m.d.comb += self.ended.eq(stored | chained_end)
        what = "the results of a product come while it has its turn"
        promise(m, what, ~self.strip_taken | active)
        return m

    def _compare(self, m):
        """Tell, 2 cycles later, whether the next product goes the same way, alike in all."""
        current, following = self.current_command, self.next_command
        same = Signal(len(SETTINGS))
        uses_sums = Signal()
        alike = Signal()
        to_sums = current.destination == Destination.PARTIAL_SUMS
        m.d.sync += [
            same.eq(Cat(current[name] == following[name] for name in SETTINGS)),
            uses_sums.eq(
                current.accumulate | following.accumulate | to_sums | following.clear_step_gradient
            ),
            alike.eq(same.all() & ~uses_sums),
        ]
        return alike

    def _switch(self, m, start_delayed):
        """Let the next product take its turn; what it clears is cleared a cycle later."""
        following, route = self.next_command, self.route
        with m.If(start_delayed):
            m.d.sync += [
                self.current_command.eq(following),
                route.forward.eq(following.operation == Operation.FORWARD),
                route.by_weight.eq(following.operation == Operation.WEIGHT_GRADIENT),
                route.to_stream.eq(following.destination == Destination.STREAM),
                route.to_operand.eq(following.destination == Destination.OPERAND),
                route.to_sums.eq(following.destination == Destination.PARTIAL_SUMS),
            ]
        clearing = Signal()
        m.d.sync += clearing.eq(start_delayed & following.clear_step_gradient)
        selected = Cat(~route.by_weight, route.by_weight)
        m.d.comb += self.clear_step.eq(Mux(clearing, selected, 0))
