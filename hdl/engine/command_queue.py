"""The queue of commands: those that were found to be right, until they are taken."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from nibblegrad.hdl.base.level import Level
from nibblegrad.hdl.base.outlet import Outlet
from nibblegrad.hdl.engine.command_checker import CommandChecker
from nibblegrad.hdl.engine.commands import command_layout

__all__ = ["CommandQueue"]


class CommandQueue(wiring.Component):
    """Check commands one after the other, and keep those that are right until they are taken.

    :class:`nibblegrad.hdl.engine.command_checker.CommandChecker` checks them, and says no as well
    where the queue is full. Its check takes the latency, in which ``ready`` is low: no command
    comes sooner after another one, which is why the queue may be slow.

    Parameters
    ----------
    size : CoreSize
        Parameters of the core.

    Members
    -------
    write : ``In(1)``, command : ``In(command_layout())``
        A command, to be given while ``ready``.
    ready : ``Out(1)``
        Whether a command can be checked; with a full queue it can, and is refused.
    blocked : ``In(1)``
        Whether there is an error that was not cleared: commands are ignored.
    drop : ``In(1)``
        Drop what waits, and the chain of partial sums.
    error : ``Out(1)``, error_code : ``Out(8)``
        A command was refused, and why: an :class:`nibblegrad.golden.engine.command.ErrorCode`.
    o : ``Out(stream.Signature(command_layout()))``
        Commands in order.
    free : ``Out(5)``
        Count of commands that can be written.
    checking : ``Out(1)``
        Whether a command is being checked.
    waiting : ``Out(1)``
        Whether a command waits in the queue.
    """

    latency = CommandChecker.latency

    def __init__(self, size):
        self._size = size
        super().__init__(
            {
                "write": In(1),
                "command": In(command_layout()),
                "ready": Out(1),
                "blocked": In(1),
                "drop": In(1),
                "error": Out(1),
                "error_code": Out(8),
                "o": Out(stream.Signature(command_layout())),
                "free": Out(5),
                "checking": Out(1),
                "waiting": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.checker = checker = CommandChecker(self._size)
        m.d.comb += [
            checker.write.eq(self.write),
            checker.command.eq(self.command),
            checker.blocked.eq(self.blocked),
            checker.drop.eq(self.drop),
            self.ready.eq(checker.ready),
            self.checking.eq(checker.checking),
            self.error.eq(checker.error),
            self.error_code.eq(checker.error_code),
        ]
        # The first of those that wait is in a register of the outlet.
        depth = self._size.queue_depth
        outlet = Outlet(command_layout(), depth=1 << (depth - 1).bit_length())
        m.submodules.outlet = outlet
        count = Level(m, "count", depth)
        m.d.comb += [
            outlet.clear.eq(self.drop),
            outlet.put.eq(checker.accepted),
            outlet.data.eq(checker.candidate),
            outlet.o.ready.eq(self.o.ready),
            self.o.payload.eq(outlet.o.payload),
            self.o.valid.eq(outlet.o.valid & ~self.drop),
            self.waiting.eq(count.any),
            self.free.eq(count.free - self.checking),
            checker.room.eq(~count.full),
        ]
        # What leaves is counted a cycle later.
        left = Signal()
        m.d.sync += left.eq(self.o.valid & self.o.ready)
        count.change(checker.accepted, left)
        with m.If(self.drop):
            count.clear()
            m.d.sync += left.eq(0)
        return m
