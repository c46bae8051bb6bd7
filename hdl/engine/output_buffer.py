"""Where strips wait for the output stream."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from nibblegrad.hdl.base.contracts import promise
from nibblegrad.hdl.base.level import Level
from nibblegrad.hdl.base.outlet import Outlet
from nibblegrad.hdl.engine.operand_memory import UNCHECKED

__all__ = ["OutputBuffer"]


class OutputBuffer(wiring.Component):
    """Keep strips until the stream takes them.

    It never says that it is full: :class:`nibblegrad.hdl.engine.tile_credits.TileCredits` lets no
    more strips come than there are places.

    The latency from ``put`` to ``o`` is ``latency`` cycles; the throughput is one strip per cycle.

    Parameters
    ----------
    width : int
        Width of a strip.
    depth : int
        How many strips it keeps, a power of two.

    Members
    -------
    put : ``In(1)``, data : ``In(width)``
        A strip has come through.
    o : ``Out(stream.Signature(width))``
        What was put, in order.
    pending : ``Out(1)``
        Strips wait.
    """

    #: A block RAM, a register before and behind it, and the outlet that it needs to be stopped.
    latency = 4 + Outlet.latency
    #: Stages from the outlet's `entered` to its `put`.
    outlet_stages = 2

    def __init__(self, width, depth):
        self._width = width
        self._depth = depth
        super().__init__(
            {
                "put": In(1),
                "data": In(width),
                "o": Out(stream.Signature(width)),
                "pending": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        buffer = Memory(shape=self._width, depth=self._depth, init=[], attrs=UNCHECKED)
        m.submodules.strips = buffer
        m.submodules.outlet = outlet = Outlet(self._width, self.outlet_stages)
        wiring.connect(m, outlet.o, wiring.flipped(self.o))
        write = buffer.write_port()
        read = buffer.read_port()
        word = Signal(self._width, reset_less=True)
        read_valid = Signal(2)
        put_valid = Signal()
        put_data = Signal(self._width, reset_less=True)
        waiting = Level(m, "waiting", self._depth)
        full = waiting.full
        promise(m, "an output buffer is given no more than it can keep", ~(put_valid & full))
        waiting.change(put_valid, outlet.entered)
        m.d.comb += [
            write.data.eq(put_data),
            write.en.eq(put_valid),
            read.en.eq(1),
            outlet.entered.eq(outlet.room & waiting.any),
            outlet.put.eq(read_valid[1]),
            outlet.data.eq(word),
            self.pending.eq(put_valid | waiting.any | outlet.inside),
        ]
        m.d.sync += [
            put_valid.eq(self.put),
            put_data.eq(self.data),
            write.addr.eq(write.addr + write.en),
            read.addr.eq(read.addr + outlet.entered),
            read_valid.eq(Cat(outlet.entered, read_valid[0])),
            word.eq(read.data),
        ]
        return m
