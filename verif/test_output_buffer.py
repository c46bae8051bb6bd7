# amaranth: UnusedElaboratable=no
"""Room for tiles: every strip of a tile that was begun finds its place, and no cycle is lost."""

import random
from collections import deque

import pytest
from amaranth import Module

from hdl.output_buffer import LATE, OutputBuffer
from verif.simulation import simulate

#: Greatest count of strips, and cycles from a tile to its first strip.
SHAPES = [(1, 3), (2, 40), (4, 33), (8, 50), (16, 61)]


@pytest.fixture
def rng(request):
    return random.Random(request.config.getoption("seed"))


class Run:
    """Tiles that are begun as soon as there is room, and what comes out of the stream."""

    def __init__(
        self, strip, under_way, cycles, *, strips, wants, takes, to_stream=lambda cycle: True
    ):
        self.buffer = OutputBuffer(16, strip, under_way)
        self.under_way, self.cycles = under_way, cycles
        self.strips, self.wants, self.takes, self.to_stream = strips, wants, takes, to_stream
        #: Cycle, strips and gap of each tile; cycles in which a strip left.
        self.tiles, self.left_at = [], []
        self.begun = self.put = 0
        #: Strips of tiles that were begun and have not left, at most.
        self.most = 0
        module = Module()
        module.submodules.buffer = self.buffer
        simulate(module, self._bench)

    async def _bench(self, ctx):
        buffer, way, row = self.buffer, deque([0] * self.under_way), 0
        ctx.set(buffer.may_begin, 1)
        for cycle in range(self.cycles):
            begins = self.wants(cycle) and ctx.get(buffer.room)
            strips, ends = self.strips(cycle), len(self.tiles) % 5 == 4
            gap = strips - 1 + ends
            to_stream = self.to_stream(cycle)
            ctx.set(buffer.to_stream, to_stream)
            ctx.set(buffer.tile, begins)
            ctx.set(buffer.tile_strips, strips)
            ctx.set(buffer.tile_gap, gap)
            if begins:
                self.tiles.append((cycle, strips, gap))
                self.begun += strips * to_stream
            # A tile is drained row by row, while the next one is on its way.
            way.append(strips if begins else 0)
            arrives = way.popleft()
            assert not (arrives and row), "the tile before has rows left"
            row = arrives or row
            ctx.set(buffer.put, bool(row) and to_stream)
            ctx.set(buffer.data, self.put & 0xFFFF if row else 0xDEAD)
            if row:
                self.put, row = self.put + to_stream, row - 1
            takes = self.takes(cycle)
            ctx.set(buffer.o.ready, takes)
            if ctx.get(buffer.o.valid):
                assert ctx.get(buffer.o.payload) == len(self.left_at) & 0xFFFF
                if takes:
                    self.left_at.append(cycle)
            assert ctx.get(buffer.pending) or self.put - len(self.left_at) <= 1
            self.most = max(self.most, self.begun - len(self.left_at))
            await ctx.tick()


@pytest.mark.parametrize("strip, under_way", SHAPES)
@pytest.mark.parametrize("takes", [0.2, 0.6, 1.0])
def test_strips_come_out_in_their_order(rng, strip, under_way, takes):
    run = Run(
        strip,
        under_way,
        2500,
        strips=lambda cycle: rng.randint(1, strip),
        wants=lambda cycle: rng.random() < 0.7,
        takes=lambda cycle: rng.random() < takes,
    )
    assert len(run.left_at) > 400 * takes
    for (before, _, gap), (cycle, _, _) in zip(run.tiles, run.tiles[1:], strict=False):
        assert cycle - before > gap


@pytest.mark.parametrize("strip, under_way", SHAPES)
@pytest.mark.parametrize("least", [False, True])
def test_there_is_room_for_all_that_was_begun(strip, under_way, least):
    """Where nobody takes, no more begins than can be kept; all of it comes out in the end."""
    run = Run(
        strip,
        under_way,
        4000,
        strips=lambda cycle: 1 if least else strip,
        wants=lambda cycle: cycle < 1000,
        takes=lambda cycle: cycle > 1000,
    )
    assert run.most <= OutputBuffer.words(strip, under_way)
    assert run.put == run.begun == len(run.left_at)


@pytest.mark.parametrize("strip, under_way", SHAPES)
def test_no_cycle_is_lost(strip, under_way):
    """A strip in each cycle, but where a product ends, if tiles have as many as they may."""
    run = Run(
        strip,
        under_way,
        600,
        strips=lambda cycle: strip,
        wants=lambda cycle: True,
        takes=lambda cycle: True,
    )
    for (before, _, gap), (cycle, _, _) in zip(run.tiles, run.tiles[1:], strict=False):
        assert cycle - before == gap + 1
    first, *_ = run.tiles
    assert run.left_at[0] - first[0] == under_way + OutputBuffer.latency


@pytest.mark.parametrize("strip, under_way", SHAPES)
def test_tiles_for_a_memory_need_no_room(strip, under_way):
    """They leave all of it to those that follow for the stream, when they are through."""
    depth = OutputBuffer.words(strip, under_way)
    run = Run(
        strip,
        under_way,
        3000,
        strips=lambda cycle: strip,
        wants=lambda cycle: cycle < 1000 or 1200 < cycle < 2000,
        takes=lambda cycle: cycle > 2000,
        to_stream=lambda cycle: cycle > 1100,
    )
    assert sum(strips for cycle, strips, _ in run.tiles if cycle < 1100) > depth
    assert depth - 2 * strip - LATE < run.most <= depth
    assert run.begun == len(run.left_at)


def test_none_begins_where_none_may():
    module = Module()
    module.submodules.buffer = buffer = OutputBuffer(8, 4, 20)

    async def bench(ctx):
        for may in (0, 1, 0, 0, 1, 1, 0):
            ctx.set(buffer.may_begin, may)
            await ctx.tick()
            assert ctx.get(buffer.room) == may

    simulate(module, bench)
