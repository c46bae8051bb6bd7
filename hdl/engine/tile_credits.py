"""The protocol of tiles: when one may be issued, so that each of its strips finds its place."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from nibblegrad.hdl.base.contracts import are_checked, promise
from nibblegrad.hdl.base.pipeline import Flow

__all__ = ["LATE", "TileCredits", "tile_signature", "watched_tile_signature"]

#: Cycles from a tile to the last ``room`` that does not know of it.
LATE = 4


def tile_signature(strip):
    """Describe how tiles are issued, from the side that issues them.

    A tile is issued with its last pass. From then on nothing stops it: a fixed number of cycles
    later it is complete, and its strips leave the array one per cycle.

    Parameters
    ----------
    strip : int
        Greatest count of strips of a tile.

    Returns
    -------
    wiring.Signature
        ``room : In(1)``
            From :class:`TileCredits`, a register: a tile may be issued in this cycle.
        ``issued : Out(1)``
            From the product unit: a tile is issued. Only in a cycle with ``room``.
        ``strips : Out(range(strip + 1))``
            With ``issued``: how many strips the tile has, 1 to ``strip``.
        ``gap : Out(range(strip + 1))``
            With ``issued``: how many cycles must pass before the next tile is issued. The strips
            need one less than there are; behind the last tile of a product there is one more.
    """
    count = range(strip + 1)
    return wiring.Signature(
        {"room": In(1), "issued": Out(1), "strips": Out(count), "gap": Out(count)}
    )


def watched_tile_signature(strip):
    """Describe the same for those who look on: all of it comes from others."""
    members = tile_signature(strip).members.items()
    return wiring.Signature({name: Out(member.shape) for name, member in members})


class TileCredits(wiring.Component):
    """Let no tile be issued whose strips find no place, behind the array or before the stream.

    Behind the array, tiles are spaced: a tile's strips leave before the next tile is complete.
    Before the stream, places are counted: those of all strips of a tile are taken when it is
    issued, and each is given back when its strip is sent. Tiles that go to a memory take none.

    The latency from a tile to the ``room`` that knows of its places is ``latency`` cycles.

    Parameters
    ----------
    strip : int
        Greatest count of strips of a tile.
    places : int
        How many strips find their place before the stream.

    Members
    -------
    tile : ``In(tile_signature(strip))``
        Tiles; ``room`` is given here.
    enabled : ``In(1)``
        Whether tiles may be issued at all.
    to_stream : ``In(1)``
        Whether strips go to the stream. It changes only while no tile is under way.
    sent : ``In(1)``
        A strip is sent, and leaves its place.
    """

    latency = LATE + 1

    def __init__(self, strip, places):
        self._strip = strip
        self._places = places
        super().__init__(
            {
                "tile": In(tile_signature(strip)),
                "enabled": In(1),
                "to_stream": In(1),
                "sent": In(1),
            }
        )

    @staticmethod
    def places(strip, under_way):
        """Count the places that let no tile wait while the stream takes a strip per cycle.

        Parameters
        ----------
        strip : int
            Greatest count of strips of a tile.
        under_way : int
            Cycles from a tile to its first strip on the stream.
        """
        return 1 << (under_way + 4 * strip + LATE).bit_length()

    def elaborate(self, platform):
        m = Module()
        tile = self.tile
        spaced = self._space(m)
        flow = Flow(m)
        wanted = flow.stage(
            "wanted",
            lambda issued, strips: Mux(issued & self.to_stream, strips, 0),
            flow.input("issued", tile.issued),
            flow.input("strips", tile.strips),
            reset=True,
        )
        sent = Signal()
        m.d.sync += sent.eq(self.sent)
        change = flow.stage("change", lambda wanted: sent - wanted, wanted, reset=True)
        free = Signal(range(self._places + 1), init=self._places)
        m.d.sync += free.eq(free + change.value)
        # As tiles are spaced, those which `free` does not know yet have a strip for each cycle at
        # most: so many more than a tile has must be free.
        roomy = flow.stage(
            "roomy",
            lambda free: free >= self._strip + LATE,
            flow.input("free", free, change.cycle + 1),
            reset=True,
        )
        room = flow.stage(
            "room",
            lambda roomy: self.enabled & spaced & (~self.to_stream | roomy),
            roomy,
            reset=True,
        )
        m.d.comb += tile.room.eq(*flow.close(self.latency, room=room))
        self._promise(m)
        return m

    def _space(self, m):
        """Tell whether the gap behind the tile before is over in the next cycle."""
        tile = self.tile
        spacing = Signal(range(self._strip + 1))
        spaced = Signal()
        with m.If(tile.issued):
            m.d.sync += spacing.eq(tile.gap)
            m.d.comb += spaced.eq(~tile.gap.any())
        with m.Else():
            m.d.sync += spacing.eq(Mux(spacing.any(), spacing - 1, 0))
            m.d.comb += spaced.eq(~spacing[1:].any())
        return spaced

    def _promise(self, m):
        """State the protocol, by counts that know of everything at once."""
        if not are_checked():
            return
        tile = self.tile
        taken = Signal(range(self._places + self._strip + 1))
        takes = Mux(tile.issued & self.to_stream, tile.strips, 0)
        gap_left = Signal(range(self._strip + 1))
        m.d.sync += [
            taken.eq(taken + takes - self.sent),
            gap_left.eq(Mux(tile.issued, tile.gap, Mux(gap_left.any(), gap_left - 1, 0))),
        ]
        any_strips = tile.strips.any() & (tile.strips <= self._strip)
        for what, kept in (
            ("a tile is issued only where there is room", tile.room),
            ("a tile has a strip or more, and no more than it may", any_strips),
            ("the gap behind a tile is as long as its strips need", tile.gap + 1 >= tile.strips),
            ("no tile is issued in the gap behind another", ~gap_left.any()),
            ("no tile is issued whose strips find no place", taken + takes <= self._places),
        ):
            promise(m, what, ~tile.issued | kept)
        promise(m, "no strip is sent that was not issued", ~self.sent | taken.any())
