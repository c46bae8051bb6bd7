"""Where strips wait for the output stream, and tiles for room to do so."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from .contracts import promise
from .level import Level
from .operand_memory import UNCHECKED
from .outlet import Outlet

__all__ = ["LATE", "OutputBuffer"]

#: Strips of tiles for which there was room, and which are not subtracted from it yet.
LATE = 4


class OutputBuffer(wiring.Component):
    """Keep strips until the stream takes them, and let no tile begin whose strips find no room.

    The latency from ``put`` to ``o`` is ``latency`` cycles; the throughput is one strip per cycle.

    Parameters
    ----------
    width : int
        Width of a strip.
    strip : int
        Greatest count of strips of a tile.
    under_way : int
        Strips that are on their way, at most, when a tile is begun in the steady state.

    Members
    -------
    put : ``In(1)``, data : ``In(width)``
        A strip has come through.
    o : ``Out(stream.Signature(width))``
        What was put, in order.
    pending : ``Out(1)``
        Strips wait.
    tile : ``In(1)``, tile_strips : ``In(7)``, tile_gap : ``In(7)``
        A tile was begun, how many strips it has, and how many cycles must pass before the next.
    to_stream : ``In(1)``
        Whether they come here.
    may_begin : ``In(1)``
        Whether a tile may begin, if there is room.
    room : ``Out(1)``
        Whether a tile may begin.
    """

    #: A block RAM, a register before and behind it, and the outlet that it needs to be stopped.
    latency = 4 + Outlet.latency
    #: Stages from the outlet's `entered` to its `put`.
    outlet_stages = 2

    def __init__(self, width, strip, under_way):
        self._width = width
        self._strip = strip
        self.depth = self.words(strip, under_way)
        super().__init__(
            {
                "put": In(1),
                "data": In(width),
                "o": Out(stream.Signature(width)),
                "pending": Out(1),
                "tile": In(1),
                "tile_strips": In(7),
                "tile_gap": In(7),
                "to_stream": In(1),
                "may_begin": In(1),
                "room": Out(1),
            }
        )

    @staticmethod
    def words(strip, under_way):
        """Count the strips that can wait, for parameters as above."""
        return 1 << (under_way + 4 * strip + LATE).bit_length()

    def elaborate(self, platform):
        m = Module()
        buffer = Memory(shape=self._width, depth=self.depth, init=[], attrs=UNCHECKED)
        m.submodules.strips = buffer
        m.submodules.outlet = outlet = Outlet(self._width, self.outlet_stages)
        wiring.connect(m, outlet.o, wiring.flipped(self.o))
        write = buffer.write_port()
        read = buffer.read_port()
        kept = Signal(self._width, reset_less=True)
        moved = Signal(2)
        arrived = Signal()
        arrived_data = Signal(self._width, reset_less=True)
        waiting = Level(m, "waiting", self.depth)
        waiting.change(arrived, outlet.entered)
        m.d.comb += [
            write.data.eq(arrived_data),
            write.en.eq(arrived),
            read.en.eq(1),
            outlet.entered.eq(outlet.room & waiting.any),
            outlet.put.eq(moved[1]),
            outlet.data.eq(kept),
            self.pending.eq(arrived | waiting.any | outlet.inside),
        ]
        m.d.sync += [
            arrived.eq(self.put),
            arrived_data.eq(self.data),
            write.addr.eq(write.addr + write.en),
            read.addr.eq(read.addr + outlet.entered),
            moved.eq(Cat(outlet.entered, moved[0])),
            kept.eq(read.data),
        ]
        full = waiting.full
        promise(m, "no tile begins whose strips find no room", ~(arrived & full))
        promise(m, "a tile begins only where there is room", ~self.tile | self.room)
        self._admit(m)
        return m

    def _admit(self, m):
        """Tell whether one more tile finds room, behind the array and in front of the output."""
        spacing = Signal(range(self._strip + 1))
        spaced = Signal()
        with m.If(self.tile):
            m.d.sync += spacing.eq(self.tile_gap)
            m.d.comb += spaced.eq(~self.tile_gap.any())
        with m.Else():
            m.d.sync += spacing.eq(Mux(spacing.any(), spacing - 1, 0))
            m.d.comb += spaced.eq(~spacing[1:].any())
        # Strips of tiles are subtracted two cycles later, and seen in `roomy` and in `room` one
        # each: as tiles are spaced, those that do not count yet have no more than LATE strips.
        free = Signal(range(self.depth + 1), init=self.depth)
        taken = Signal(range(self._strip + 1))
        gone = Signal()
        change = Signal(signed(len(taken) + 1))
        roomy = Signal()
        m.d.sync += [
            taken.eq(Mux(self.tile & self.to_stream, self.tile_strips, 0)),
            gone.eq(self.o.valid & self.o.ready),
            change.eq(gone - taken),
            free.eq(free + change),
            roomy.eq(free >= self._strip + LATE),
            self.room.eq(self.may_begin & spaced & (~self.to_stream | roomy)),
        ]
