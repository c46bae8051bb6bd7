# amaranth: UnusedElaboratable=no
"""The output buffer: strips come out in their order, as soon as they may, and none is lost."""

import random

import pytest
from amaranth import Module

from nibblegrad.hdl.engine.output_buffer import OutputBuffer
from verif.support.simulation import simulate

DEPTHS = [8, 16, 128]


class Run:
    """Strips that are put while fewer than ``depth`` are inside, and what comes out."""

    def __init__(self, depth, cycles, *, puts, takes):
        self.buffer = OutputBuffer(16, depth)
        self.depth, self.cycles, self.puts, self.takes = depth, cycles, puts, takes
        #: Cycles in which strips were put, and in which they left.
        self.put_at, self.left_at = [], []
        module = Module()
        module.submodules.buffer = self.buffer
        simulate(module, self._bench)

    async def _bench(self, ctx):
        buffer, held = self.buffer, None
        for cycle in range(self.cycles):
            inside = len(self.put_at) - len(self.left_at)
            puts = self.puts(cycle) and inside < self.depth
            ctx.set(buffer.put, puts)
            ctx.set(buffer.data, len(self.put_at) & 0xFFFF if puts else 0xDEAD)
            if puts:
                self.put_at.append(cycle)
            takes, valid = self.takes(cycle), ctx.get(buffer.o.valid)
            ctx.set(buffer.o.ready, takes)
            # What is offered stays until it is taken.
            assert valid or held is None
            if valid:
                assert ctx.get(buffer.o.payload) == len(self.left_at) & 0xFFFF
                held = None if takes else cycle
                if takes:
                    self.left_at.append(cycle)
            assert ctx.get(buffer.pending) or inside == 0 or cycle == self.put_at[-1] + 1
            await ctx.tick()


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("takes", [0.2, 0.6, 1.0])
def test_strips_come_out_in_their_order(request, depth, takes):
    rng = random.Random(request.config.getoption("seed"))
    run = Run(
        depth,
        2500,
        puts=lambda cycle: cycle < 2000 and rng.random() < 0.7,
        takes=lambda cycle: cycle > 2000 or rng.random() < takes,
    )
    assert len(run.left_at) == len(run.put_at) > 1000 * takes


@pytest.mark.parametrize("depth", DEPTHS)
def test_it_fills_up_and_empties(depth):
    run = Run(
        depth,
        8 * depth,
        puts=lambda cycle: True,
        takes=lambda cycle: cycle // (2 * depth) % 2,
    )
    assert len(run.left_at) >= 3 * depth


@pytest.mark.parametrize("depth", DEPTHS)
def test_no_cycle_is_lost(depth):
    run = Run(depth, 300, puts=lambda cycle: True, takes=lambda cycle: True)
    assert run.left_at == list(range(OutputBuffer.latency, 300))


def test_a_strip_too_many_is_named():
    module = Module()
    module.submodules.buffer = buffer = OutputBuffer(8, 8)

    async def bench(ctx):
        ctx.set(buffer.put, 1)
        for _ in range(20):
            await ctx.tick()

    with pytest.raises(AssertionError, match="an output buffer is given no more than it can keep"):
        simulate(module, bench)
