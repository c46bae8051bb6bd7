"""The way out of a pipeline that never stalls, to a stream that may."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from nibblegrad.hdl.base.contracts import promise
from nibblegrad.hdl.base.level import Level
from nibblegrad.hdl.base.pipeline import delays

__all__ = ["Outlet", "connect_outlet"]


class Outlet(wiring.Component):
    """Keep what a pipeline makes until it is taken, and let no more in than finds room.

    Behind it, stages need no clock enables, and no condition runs through them against the
    stream: ``room`` and all of ``o`` come from registers.

    The latency from ``put`` to ``o`` is 2 cycles; the throughput is one transfer per cycle, with
    ``depth`` one in two.

    Parameters
    ----------
    shape : shape-like
        Shape of what is kept.
    stages : int
        Cycles from ``entered`` to ``put``, at most.
    depth : int, optional
        How much can be kept, a power of two, where ``entered`` and ``room`` are not used, and
        nothing comes often: the next one is fetched only when the one before is gone.

    Members
    -------
    room : ``Out(1)``
        Whether something may enter the pipeline in this cycle.
    entered : ``In(1)``
        It does.
    put : ``In(1)``, data : ``In(shape)``
        It has come through.
    o : ``Out(stream.Signature(shape))``
        What was put, in order.
    clear : ``In(1)``
        Forget all that is kept.
    inside : ``Out(1)``
        Whether anything that entered has not left through ``o`` yet.
    """

    latency = 2

    def __init__(self, shape, stages=0, depth=None):
        self._shape = shape
        self._slow = depth is not None
        self._depth = depth or self.words(stages)
        super().__init__(
            {
                "room": Out(1),
                "entered": In(1),
                "put": In(1),
                "data": In(shape),
                "o": Out(stream.Signature(shape)),
                "clear": In(1),
                "inside": Out(1),
            }
        )

    @staticmethod
    def words(stages):
        """Count the words of the memory behind so many stages, if nothing else is said."""
        # A beat counts for `stages` + 2 cycles, and `room` looks three cycles back.
        return 1 << (stages + 4).bit_length()

    def elaborate(self, platform):
        m = Module()
        width = Shape.cast(self._shape).width
        # Read at once: registers around it instead of a block RAM, which is slow.
        memory = Memory(shape=width, depth=self._depth, init=[])
        m.submodules.memory = memory
        write = memory.write_port()
        read = memory.read_port(domain="comb")
        load = Signal()
        m.d.comb += [
            write.en.eq(self.put),
            write.data.eq(Value.cast(self.data)),
            load.eq(~self.o.valid if self._slow else ~self.o.valid | self.o.ready),
        ]
        # What is read is subtracted a cycle later: until then, one alone is none.
        waiting = Level(m, "waiting", self._depth)
        several = Level(m, "several", self._depth, least=2)
        was_read = Signal()
        for level in (waiting, several):
            level.change(self.put, was_read)
        any_waits = Mux(was_read, several.any, waiting.any)
        m.d.sync += [
            was_read.eq(load & any_waits),
            write.addr.eq(write.addr + self.put),
        ]
        # The address after this one is known beforehand.
        following = Signal.like(read.addr, name="following", init=1)
        with m.If(load & any_waits):
            m.d.sync += [read.addr.eq(following), following.eq(following + 1)]
        payload = Signal(width, reset_less=True)
        m.d.comb += Value.cast(self.o.payload).eq(payload)
        with m.If(load):
            m.d.sync += [payload.eq(read.data), self.o.valid.eq(any_waits)]
        if self._slow:
            with m.If(self.o.valid & self.o.ready):
                m.d.sync += self.o.valid.eq(0)

        promise(m, "an outlet is given no more than it can keep", ~(self.put & waiting.full))
        if not self._slow:
            self._admit(m)
        with m.If(self.clear):
            m.d.sync += [
                Cat(self.o.valid, was_read, write.addr, read.addr).eq(0),
                following.eq(1),
            ]
            for level in (waiting, several):
                level.clear()
        return m

    def _admit(self, m):
        """Let never more than the depth inside, one of them in the output register."""
        # What enters and leaves is counted a cycle later.
        entered = Signal()
        left = Signal()
        m.d.sync += [entered.eq(self.entered), left.eq(self.o.valid & self.o.ready)]
        count = Level(m, "count", self._depth)
        count.change(entered, left)
        m.d.comb += self.inside.eq(count.any | entered)
        m.d.sync += self.room.eq(count.below(self._depth - 2))
        what = "what enters the pipeline of an outlet finds room"
        promise(m, what, ~self.entered | self.room)
        with m.If(self.clear):
            m.d.sync += Cat(entered, left).eq(0)
            count.clear()


def connect_outlet(m, core, outlet, stages, ready=1):
    """Let beats from ``core.i`` through a pipeline into an outlet, and from there to ``core.o``.

    Parameters
    ----------
    m : Module
        Where the control goes.
    core : wiring.Component
        A core with streams ``i`` and ``o`` of beats.
    outlet : Outlet
        Outlet whose data are the payload of ``core.o``.
    stages : int
        Cycles from a beat on ``core.i`` to ``outlet.data``.
    ready : Value or int
        Whether a beat may enter, beside the room it needs.

    Returns
    -------
    (list of Value, list of Value)
        Whether a beat is in a stage, and whether it is the last of its tensor; the input first.
    """
    wiring.connect(m, outlet.o, wiring.flipped(core.o))
    m.d.comb += [
        core.i.ready.eq(outlet.room & ready),
        outlet.entered.eq(core.i.valid & core.i.ready),
    ]
    valid = delays(m, "valid", outlet.entered, stages, reset=True)
    last = delays(m, "last", core.i.p.last, stages)
    m.d.comb += outlet.put.eq(valid[-1])
    return valid, last
