# amaranth: UnusedElaboratable=no
"""Room for tiles: every strip of a tile that was issued finds its place, and no cycle is lost."""

import random
from collections import deque

import pytest
from amaranth import Const, Module

from nibblegrad.hdl.engine import tile_credits
from nibblegrad.hdl.engine.output_buffer import OutputBuffer
from nibblegrad.hdl.engine.tile_credits import TileCredits
from verif.support.simulation import simulate

#: Greatest count of strips, and cycles from a tile to its first strip.
SHAPES = [(1, 3), (2, 40), (4, 33), (8, 50), (16, 61)]

#: Cycles in which a tile that was issued is not known yet.
LATE = 4


@pytest.fixture
def rng(request):
    return random.Random(request.config.getoption("seed"))


class Run:
    """Tiles that are issued as soon as there is room, and what comes out of the stream.

    Parameters
    ----------
    strip, under_way : int
        Greatest count of strips, and cycles from a tile to the buffer.
    cycles : int
        How long it goes on.
    strips : function of int
        How many strips a tile has that is issued in a cycle.
    wants, takes, to_stream : function of int
        Whether a tile waits for room, whether the stream takes a strip, and where strips go.
    gap : function of int and bool, optional
        What is told of the gap, of the strips of a tile and whether it ends a product.
    places : int, optional
        Places before the stream.
    heeds_room : bool
        Whether tiles wait for room at all.
    """

    def __init__(
        self,
        strip,
        under_way,
        cycles,
        *,
        strips,
        wants=lambda cycle: True,
        takes=lambda cycle: True,
        to_stream=lambda cycle: True,
        gap=lambda strips, ends: strips - 1 + ends,
        places=None,
        heeds_room=True,
    ):
        places = places or TileCredits.places(strip, under_way + OutputBuffer.latency)
        self.credits = TileCredits(strip, places)
        self.buffer = OutputBuffer(16, 1 << (places - 1).bit_length())
        self.under_way, self.cycles = under_way, cycles
        self.strips, self.wants, self.takes, self.to_stream = strips, wants, takes, to_stream
        self.gap, self.heeds_room = gap, heeds_room
        #: Cycle, strips and gap of each tile; cycles in which a strip left.
        self.tiles, self.left_at = [], []
        self.issued = self.put = 0
        #: Strips of tiles that were issued and have not left, at most.
        self.most = 0
        module = Module()
        module.submodules.credits = self.credits
        module.submodules.buffer = self.buffer
        sent = self.buffer.o.valid & self.buffer.o.ready
        module.d.comb += self.credits.sent.eq(sent)
        simulate(module, self._bench)

    async def _bench(self, ctx):
        tile, buffer, way = self.credits.tile, self.buffer, deque([0] * self.under_way)
        row = 0
        ctx.set(self.credits.enabled, 1)
        for cycle in range(self.cycles):
            issued = self.wants(cycle) and (ctx.get(tile.room) or not self.heeds_room)
            strips, ends = self.strips(cycle), len(self.tiles) % 5 == 4
            gap, to_stream = self.gap(strips, ends), self.to_stream(cycle)
            ctx.set(self.credits.to_stream, to_stream)
            ctx.set(tile.issued, issued)
            ctx.set(tile.strips, strips)
            ctx.set(tile.gap, gap)
            if issued:
                self.tiles.append((cycle, strips, gap))
                self.issued += strips * to_stream
            # A tile is drained row by row, while the next one is on its way.
            way.append(strips if issued else 0)
            row = way.popleft() or row
            ctx.set(buffer.put, bool(row) and to_stream)
            ctx.set(buffer.data, self.put & 0xFFFF if row else 0xDEAD)
            if row:
                self.put, row = self.put + to_stream, row - 1
            takes = self.takes(cycle)
            ctx.set(buffer.o.ready, takes)
            if ctx.get(buffer.o.valid) and takes:
                self.left_at.append(cycle)
            self.most = max(self.most, self.issued - len(self.left_at))
            await ctx.tick()


@pytest.mark.parametrize("strip, under_way", SHAPES)
@pytest.mark.parametrize("takes", [0.2, 0.6, 1.0])
def test_gaps_pass_at_any_pace(rng, strip, under_way, takes):
    run = Run(
        strip,
        under_way,
        1500,
        strips=lambda cycle: rng.randint(1, strip),
        wants=lambda cycle: rng.random() < 0.7,
        takes=lambda cycle: rng.random() < takes,
    )
    assert len(run.left_at) > 200 * takes
    for (before, _, gap), (cycle, _, _) in zip(run.tiles, run.tiles[1:], strict=False):
        assert cycle - before > gap


@pytest.mark.parametrize("strip, under_way", SHAPES)
@pytest.mark.parametrize("least", [False, True])
def test_there_is_room_for_all_that_was_issued(strip, under_way, least):
    """Where nobody takes, no more is issued than can be kept; all of it comes out in the end."""
    run = Run(
        strip,
        under_way,
        1500,
        strips=lambda cycle: 1 if least else strip,
        wants=lambda cycle: cycle < 500,
        takes=lambda cycle: cycle > 500,
    )
    assert run.most <= TileCredits.places(strip, under_way + OutputBuffer.latency)
    assert run.put == run.issued == len(run.left_at)


@pytest.mark.parametrize("strip, under_way", SHAPES)
def test_no_cycle_is_lost(strip, under_way):
    """A strip in each cycle, but where a product ends, if tiles have as many as they may."""
    run = Run(strip, under_way, 400, strips=lambda cycle: strip)
    for (before, _, gap), (cycle, _, _) in zip(run.tiles, run.tiles[1:], strict=False):
        assert cycle - before == gap + 1
    first, *_ = run.tiles
    assert run.left_at[0] - first[0] == under_way + OutputBuffer.latency


@pytest.mark.parametrize("strip, under_way", SHAPES)
def test_tiles_for_a_memory_take_no_places(strip, under_way):
    """They leave all of them to those that follow for the stream, when they are through."""
    places = TileCredits.places(strip, under_way + OutputBuffer.latency)
    run = Run(
        strip,
        under_way,
        1700,
        strips=lambda cycle: strip,
        wants=lambda cycle: cycle < 500 or 600 < cycle < 1100,
        takes=lambda cycle: cycle > 1100,
        to_stream=lambda cycle: cycle > 590,
    )
    assert sum(strips for cycle, strips, _ in run.tiles if cycle < 590) > places
    assert places - 2 * strip - LATE < run.most <= places
    assert run.issued == len(run.left_at)


def fill(strip, places, before):
    """Issue so many tiles of one strip, and then some as large as may be; nobody takes any.

    Returns the strips of the tiles that were issued.
    """

    class Fill(Run):
        def __init__(self):
            super().__init__(
                strip,
                3,
                places + 20,
                strips=lambda cycle: strip if len(self.tiles) >= before else 1,
                takes=lambda cycle: False,
                gap=lambda strips, ends: strips - 1,
                places=places,
            )

    return [strips for _, strips, _ in Fill().tiles]


@pytest.mark.parametrize("strip", [1, 2, 8])
def test_the_last_places_are_given(strip):
    """Where four tiles are not known yet, all places that are left are enough for a large one."""
    places = 2 * strip + 16
    for before in range(places - strip - 3, places - strip + 3):
        issued = fill(strip, places, before)
        assert sum(issued) <= places
        assert (len(issued) > before) == (before + strip <= places)


@pytest.mark.parametrize("late", [0, LATE - 1])
def test_places_that_are_given_twice_are_named(monkeypatch, late):
    monkeypatch.setattr(tile_credits, "LATE", late)
    with pytest.raises(AssertionError, match="no tile is issued whose strips find no place"):
        for before in range(16, 24):
            fill(4, 24, before)


def test_tiles_that_are_not_spaced_are_named(monkeypatch):
    monkeypatch.setattr(TileCredits, "_space", lambda self, m: Const(1))
    with pytest.raises(AssertionError, match="no tile is issued in the gap behind another"):
        Run(4, 10, 100, strips=lambda cycle: 4)


@pytest.mark.parametrize(
    "fault, promise",
    [
        ({"heeds_room": False}, "a tile is issued only where there is room"),
        ({"gap": lambda strips, ends: strips - 2}, "the gap behind a tile is as long as"),
        ({"strips": lambda cycle: 0}, "a tile has a strip or more"),
        ({"strips": lambda cycle: 5}, "a tile has a strip or more, and no more than it may"),
    ],
)
def test_a_broken_promise_is_named(fault, promise):
    with pytest.raises(AssertionError, match=promise):
        Run(4, 10, 100, **{"strips": lambda cycle: 4, **fault})


def test_none_is_issued_where_none_may():
    module = Module()
    module.submodules.credits = credits = TileCredits(4, 32)

    async def bench(ctx):
        for enabled in (0, 1, 0, 0, 1, 1, 0):
            ctx.set(credits.enabled, enabled)
            await ctx.tick()
            assert ctx.get(credits.tile.room) == enabled

    simulate(module, bench)
