# amaranth: UnusedElaboratable=no
"""The table of scales: each beat gets those of its channels, whatever is loaded after it."""

import random

import pytest
from amaranth import Module

from nibblegrad.hdl.cores.scale_table import ScaleTable
from verif.support.simulation import simulate

LANES = 2


class Tensors:
    """Loads tables and sends tensors, with pauses, and notes what every beat gets."""

    def __init__(self, rng, groups, factor_latency, tables):
        self.rng, self.factor_latency, self.tables = rng, factor_latency, tables
        self.table = ScaleTable(LANES, groups, factor_latency)
        #: Cycles of beats with the channels that belong to them, and cycles without readiness.
        self.beats, self.not_ready, self.seen = {}, set(), {}
        self.cycle = 0
        module = Module()
        module.submodules.table = self.table
        simulate(module, self._bench)

    async def _bench(self, ctx):
        for number, (table, tensors) in enumerate(self.tables):
            await self._load(ctx, table)
            # Between tables at once; elsewhere with pauses.
            await self._step(ctx, 1)
            for beats in tensors:
                for k in range(beats):
                    ctx.set(self.table.entered, 1)
                    ctx.set(self.table.last, k == beats - 1)
                    self.beats[self.cycle] = table[k % len(table)]
                    await self._step(ctx)
                    ctx.set(self.table.entered, 0)
                    ctx.set(self.table.last, self.rng.getrandbits(1))
                    if number % 2:
                        await self._step(ctx, self.rng.choice([0, 0, 1, 9]))
        await self._step(ctx, self.factor_latency + 1)

    async def _load(self, ctx, table):
        port = self.table.i
        for k, group in enumerate(table):
            for lane, (bias, significand, exponent) in enumerate(group):
                ctx.set(port.p.data[lane].bias, bias)
                ctx.set(port.p.data[lane].significand, significand)
                ctx.set(port.p.data[lane].exponent, exponent)
            ctx.set(port.p.last, k == len(table) - 1)
            ctx.set(port.valid, 1)
            while not ctx.get(port.ready):
                await self._step(ctx)
            await self._step(ctx)
            ctx.set(port.valid, 0)
            for lane in range(LANES):
                ctx.set(port.p.data[lane].bias, self.rng.randrange(-(1 << 31), 1 << 31))
                ctx.set(port.p.data[lane].exponent, self.rng.randrange(-128, 128))

    async def _step(self, ctx, cycles=1):
        for _ in range(cycles):
            biases = tuple(ctx.get(self.table.biases[lane]) for lane in range(LANES))
            factors = tuple(
                (
                    ctx.get(self.table.factors[lane].significand),
                    ctx.get(self.table.factors[lane].exponent),
                )
                for lane in range(LANES)
            )
            self.seen[self.cycle] = biases, factors
            if not ctx.get(self.table.i.ready):
                self.not_ready.add(self.cycle)
            await ctx.tick()
            self.cycle += 1


def make_table(rng, groups):
    return [
        [
            (
                rng.randrange(-(1 << 31), 1 << 31),
                rng.randrange(1 << 15, 1 << 16),
                rng.randrange(-128, 128),
            )
            for _ in range(LANES)
        ]
        for _ in range(groups)
    ]


@pytest.mark.parametrize("groups", [1, 2, 5])
@pytest.mark.parametrize("factor_latency", [3, 4, 8])
def test_each_beat_gets_the_scales_of_its_channels(request, groups, factor_latency):
    rng = random.Random(request.config.getoption("seed"))
    counts = [groups, 1, *(rng.randint(1, groups) for _ in range(6))]
    tables = [(make_table(rng, count), [3 * groups, 1, rng.randint(1, 12)]) for count in counts]
    run = Tensors(rng, groups, factor_latency, tables)
    assert len(run.beats) > 20
    for cycle, group in run.beats.items():
        biases, _ = run.seen[cycle + ScaleTable.latency]
        _, factors = run.seen[cycle + factor_latency]
        assert biases == tuple(bias for bias, *_ in group)
        assert factors == tuple((significand, exponent) for _, significand, exponent in group)
    # It is ready in every cycle but those after a beat, and the one after reset.
    waits = {cycle + k for cycle in run.beats for k in range(1, factor_latency - 1)} | {0}
    assert run.not_ready == {cycle for cycle in waits if cycle < run.cycle}


@pytest.mark.parametrize("where", ["with a beat", "within a tensor"])
def test_a_load_within_a_tensor_is_named(where):
    table = ScaleTable(LANES, 4, 8)

    async def bench(ctx):
        for _ in range(2):
            await ctx.tick()
        ctx.set(table.entered, 1)
        if where == "within a tensor":
            await ctx.tick()
            ctx.set(table.entered, 0)
        ctx.set(table.i.valid, 1)
        for _ in range(12):
            await ctx.tick()

    with pytest.raises(AssertionError, match="scales are loaded between tensors"):
        simulate(table, bench)
