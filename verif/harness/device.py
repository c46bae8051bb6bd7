"""The simulated Verilog as a device: the same commands as the golden core's, in clock cycles."""

import ctypes
import re

import numpy as np

from nibblegrad.golden.engine.command import Command, Destination, ErrorCode, Store
from nibblegrad.golden.engine.command_checks import check_command
from nibblegrad.golden.engine.device import CoreError
from nibblegrad.golden.engine.registers import BY_NAME, REGISTERS, command_writes, used_settings
from nibblegrad.golden.errors import InputError
from nibblegrad.hdl.engine.timing import core_timing
from verif.harness.build import build_core
from verif.harness.library import Goal, Map, Status, load_library

__all__ = ["HarnessError", "RtlDevice", "Status"]

#: The counters; those of 64 bits are two registers.
_FIRST_COUNTER = BY_NAME["CYCLES_LOW"].offset
_LANE_TYPES = {16: np.uint16, 32: np.uint32}
_FOREVER = (1 << 64) - 1
#: Cycles after the response to a write in which the core acts on it.
_SETTLE = 8


class HarnessError(Exception):
    """The core broke a rule of its ports, stood still, or a part of it broke a promise.

    Attributes
    ----------
    status : Status
        What happened.
    """

    def __init__(self, status, cycles, promise=""):
        what = f"{status.name}: {promise}," if promise else status.name
        super().__init__(f"The simulated core: {what} in cycle {cycles}")
        self.status = status


def _mask(register, field):
    part = next(part for part in BY_NAME[register].fields if part.name == field)
    return ((1 << part.bits) - 1) << part.low


class RtlDevice:
    """The Verilog of a training core, simulated; a :class:`nibblegrad.golden.engine.device.Device`.

    Commands are queued when they are issued, and simulated when something that comes after them is
    asked for: registers, beats and strips then move at the same time, without a pause.

    Parameters
    ----------
    size : CoreSize
        Parameters of the core.
    library : Path, optional
        Library of :mod:`verif.harness.build`; built by default.
    optimize : int
        Level of optimisation: 1 for short tests, 2 for training.
    stalls : tuple of float
        See :meth:`set_stalls`.
    seed : int
        Seed of the pauses.

    Attributes
    ----------
    size : CoreSize
        Parameters of the core.
    timing : CoreTiming
        What its pipelines take.
    ended : dict of int to int, or None
        Set it to a dict to have the cycle added in which each result that is taken was complete.
    """

    def __init__(self, size, library=None, optimize=2, stalls=(0.0, 0.0, 0.0), seed=1):
        if size.wide_format.width not in _LANE_TYPES:
            raise InputError(
                f"The harness moves lanes of 16 or 32 bits, not {size.wide_format.width}; "
                f"choose another wide format"
            )
        self.size = size
        self.timing = core_timing(size)
        self.ended: dict[int, int] | None = None
        self._lane_type = _LANE_TYPES[size.wide_format.width]
        path = library or build_core(size, optimize)
        self._verilog = path.with_name("dut.v")
        self._library = load_library(path)
        self._check_width("beat", size.load_lanes)
        self._check_width("strip", size.strip)
        self._patience = 100_000
        self._start(stalls, seed)

    def _check_width(self, what, lanes):
        have = getattr(self._library, f"harness_{what}_bytes")()
        need = lanes * self._lane_type().itemsize
        if have != need:
            raise InputError(f"A {what} of the library has {have} bytes, and this size has {need}")

    def _start(self, stalls, seed):
        where = Map(
            BY_NAME["COMMANDS_DONE"].offset,
            BY_NAME["STATUS"].offset,
            _mask("STATUS", "busy"),
            self.size.queue_depth,
        )
        self._core = self._library.harness_create(ctypes.byref(where))
        self.set_stalls(stalls, seed)
        self._begin()

    def __del__(self):
        if getattr(self, "_core", None):
            self._library.harness_destroy(self._core)

    def _begin(self):
        """Start with a core that was reset."""
        self._settings = {}
        self._results = {}
        self.write_register("INTERRUPT_ENABLE", _mask("INTERRUPT_ENABLE", "error"))

    # The device.

    def issue(self, command: Command, beats=None, last=None) -> int:
        """Queue a command, and for loads the beats, shape (beats, load_lanes).

        Parameters
        ----------
        command : Command
            The command.
        beats : array of uint32, shape (beats, load_lanes), optional
            Lane words.
        last : array of bool, shape (beats,), optional
            Where TLAST is 1; with the last beat only by default.

        Raises
        ------
        InputError
            If a load has no beats, or beats of another width, or a product has any.
        """
        if command.is_product and beats is not None:
            raise InputError(f"A product takes no beats, and {len(beats)} came")
        lanes = self.size.load_lanes
        if command.is_load and (beats is None or not len(beats) or beats.shape[1:] != (lanes,)):
            # A command that is refused needs none.
            if check_command(command, self.size, None) is ErrorCode.NONE:
                raise InputError(
                    f"A load needs beats of shape (beats, {lanes}), "
                    f"not {None if beats is None else beats.shape}"
                )
            beats = None
        words = np.ascontiguousarray(
            beats if command.is_load and beats is not None else [], self._lane_type
        )
        flags = None if last is None else np.ascontiguousarray(last, np.uint8)
        strips = 0
        if command.is_product:
            self._allow(command)
            if command.destination == Destination.STREAM:
                strips = self.size.strips(command)
        pairs = np.array(self._new_values(command), np.uint32)
        number = self._library.harness_issue(
            self._core,
            pairs.ctypes.data,
            len(pairs),
            words.ctypes.data,
            None if flags is None else flags.ctypes.data,
            len(words),
            strips,
        )
        if strips:
            self._results[number] = strips
        return number

    def _new_values(self, command):
        """List addresses and values of the settings that change, and of COMMAND."""
        writes = []
        used = used_settings(command.operation)
        for name, value in command_writes(command).items():
            register = BY_NAME[name]
            if name != "COMMAND" and name not in used:
                continue
            if register.access != "rw" or self._settings.get(name) != value:
                self._settings[name] = value
                writes.append((register.offset, value))
        return writes

    def _allow(self, command):
        """Give the watchdog the time that a product takes without moving anything."""
        size = self.size
        work = command.batch * command.inputs * command.outputs
        # Four times as much for what the edges of the matrices waste.
        passes = 4 * work // (size.rows * size.columns * size.lanes)
        self._patience = max(self._patience, 100_000 + 2 * passes)
        self._library.harness_watchdog(self._core, self._patience)

    def result(self, number: int):
        """Take the strips, shape (strips, strip), of a product to STREAM, once."""
        if number not in self._results:
            self.finish()
            raise InputError(
                f"Command {number} has no result on the stream, or it was taken before"
            )
        self._run(Goal.RESULT, number)
        if self.ended is not None:
            self.ended[number] = self._library.harness_ended(self._core, number)
        strips = np.empty((self._results.pop(number), self.size.strip), self._lane_type)
        self._library.harness_take(self._core, number, strips.ctypes.data)
        return strips.astype(np.uint32)

    def finish(self) -> None:
        """Simulate until every command has ended. Raises CoreError if there was an error."""
        self._run(Goal.IDLE)

    def step_gradient(self, memory: Store, *, finish: bool = True) -> int:
        """Read the step gradient of activations or weights, when all has ended or now."""
        if finish:
            self.finish()
        kind = {Store.ACTIVATIONS: "ACTIVATION", Store.WEIGHTS: "WEIGHT"}[Store(memory)]
        value = self._read_wide(f"{kind}_STEP_GRADIENT")
        return value - (1 << 64) if value >> 63 else value

    def counters(self) -> dict[str, int]:
        """Finish, and read the counters, by the names of their registers without _LOW."""
        self.finish()
        # A command has ended when its last strip waits to leave, and cycles count until it has.
        while self.read_register("STATUS") & _mask("STATUS", "busy"):
            pass
        values = {}
        for register in REGISTERS:
            if register.offset < _FIRST_COUNTER or register.name.endswith("_HIGH"):
                continue
            name = register.name.removesuffix("_LOW")
            wide = name != register.name
            values[name] = self._read_wide(name) if wide else self.read_register(name)
        return values

    def _read_wide(self, name):
        return self.read_register(f"{name}_LOW") | self.read_register(f"{name}_HIGH") << 32

    def clear_counters(self) -> None:
        """Finish, and set the counters to zero."""
        self.finish()
        self.write_register("CONTROL", _mask("CONTROL", "clear_counters"))
        self.run_cycles(_SETTLE)
        self._library.harness_forget(self._core)

    def seed(self, loads, results) -> None:
        """Finish, and set the states of the two generators, shape (4,) each."""
        self.finish()
        for name, words in (("LOAD_SEED", loads), ("RESULT_SEED", results)):
            for word in words:
                self.write_register(name, int(word))
        self.run_cycles(_SETTLE)

    def reset(self) -> None:
        """Soft reset; see CONTROL."""
        self._clear("CONTROL", _mask("CONTROL", "soft_reset"))
        self._results = {}

    @property
    def error(self) -> ErrorCode:
        """Finish as far as possible, and read the code of the first error."""
        self._run(Goal.IDLE, raise_core_error=False)
        return ErrorCode(self.read_register("ERROR"))

    def clear_error(self) -> None:
        """Clear the error, so that commands are taken again."""
        if self.error is not ErrorCode.NONE:
            self._clear("CONTROL", _mask("CONTROL", "clear_error"))

    def _clear(self, name, value):
        """Forget what is queued, and do what makes the core accept commands again."""
        self._library.harness_watch_interrupt(self._core, 0)
        self._library.harness_forget(self._core)
        self._settings = {}
        self.write_register(name, value)
        self.run_cycles(_SETTLE)
        self.write_register("INTERRUPT", _mask("INTERRUPT", "error"))
        self.run_cycles(_SETTLE)
        self._library.harness_forget(self._core)
        self._library.harness_watch_interrupt(self._core, 1)

    # What only a simulation can do.

    @property
    def cycles(self):
        """Count of simulated cycles after reset."""
        return self._library.harness_cycles(self._core)

    @property
    def interrupt(self):
        """Level of the interrupt."""
        return self._library.harness_interrupt(self._core)

    @property
    def beats_left(self):
        """Count of beats that were queued and that the core has not accepted."""
        return self._library.harness_beats_left(self._core)

    def set_stalls(self, stalls, seed=1):
        """Make channels pause by chance.

        Parameters
        ----------
        stalls : tuple of float
            Chance, per cycle, that the host pauses: offering beats, taking strips, and on each
            channel of AXI4-Lite.
        seed : int
            Seed of chance.
        """
        chances = [round(256 * chance) for chance in stalls]
        if len(chances) != 3 or not all(0 <= chance < 256 for chance in chances):
            raise InputError(
                f"Chances of pauses must be three numbers from 0 to 0.99, not {stalls}"
            )
        self._library.harness_stalls(self._core, *chances, seed)

    def read_register(self, name):
        """Read a register now, while what is queued goes on."""
        return self.read_address(BY_NAME[name].offset)

    def read_address(self, address):
        """Read at a byte address."""
        value = ctypes.c_uint32()
        status = self._library.harness_read(self._core, address, ctypes.byref(value))
        if status:
            raise self._error(Status(status))
        return value.value

    def write_register(self, name, value):
        """Write a register after everything that is queued, and wait for the response."""
        self.write_address(BY_NAME[name].offset, value)
        self._settings.pop(name, None)

    def write_address(self, address, value):
        """Write at a byte address."""
        self._library.harness_write(self._core, address, value)
        self._run(Goal.WRITTEN, raise_core_error=False)

    def run_cycles(self, count):
        """Simulate so many cycles."""
        self._library.harness_run(self._core, Goal.CYCLES, 0, count)

    def hard_reset(self):
        """Pull the reset pin; memories may hold anything afterwards."""
        self._library.harness_reset(self._core)
        self._begin()

    def _run(self, goal, number=0, raise_core_error=True):
        status = Status(self._library.harness_run(self._core, goal, number, _FOREVER))
        if status is Status.INTERRUPTED:
            if raise_core_error:
                raise CoreError(ErrorCode(self.read_register("ERROR")))
        elif status is Status.NO_RESULT:
            raise InputError(f"Command {number} has no result on the stream")
        elif status is not Status.DONE:
            raise self._error(status)

    def _error(self, status):
        """Say what happened, and which promise is broken, by what the Verilog prints of it."""
        line = self._library.harness_promise(self._core)
        if not line:
            return HarnessError(status, self.cycles)
        before = self._verilog.read_text().splitlines()[: line - 1]
        text = re.search(r'\$write\("(.*)"\);$', before[-1]) if before else None
        return HarnessError(status, self.cycles, text[1] if text else f"line {line}")
