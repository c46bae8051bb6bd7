# amaranth: UnusedElaboratable=no
"""The outlet: nothing is lost, nothing is asked to wait, whatever the stream does."""

import itertools
import random
from collections import deque

import pytest
from amaranth import Module

from nibblegrad.hdl.base.outlet import Outlet
from verif.support.simulation import simulate

STAGES = [0, 1, 2, 5, 12]


@pytest.fixture
def rng(request):
    return random.Random(request.config.getoption("seed"))


class Run:
    """An outlet behind a pipeline of so many stages, and what came out of it."""

    def __init__(self, stages, rng, wants, takes, cycles):
        self.outlet = Outlet(16, stages)
        self.stages, self.rng, self.wants, self.takes = stages, rng, wants, takes
        self.entered = self.left = 0
        #: Cycles in which something entered, and in which it left.
        self.entered_at, self.left_at = [], []
        #: How much was inside, at most.
        self.most = 0
        self._cycles = cycles
        module = Module()
        module.submodules.outlet = self.outlet
        simulate(module, self._bench)

    async def _bench(self, ctx):
        outlet, way = self.outlet, deque([None] * self.stages)
        held = None
        for cycle in range(self._cycles):
            # The source enters where it may; behind it, numbers go through without a stop.
            enters = self.rng.random() < self.wants(cycle) and ctx.get(outlet.room)
            ctx.set(outlet.entered, enters)
            way.append(self.entered & 0xFFFF if enters else None)
            arrives = way.popleft()
            ctx.set(outlet.put, arrives is not None)
            ctx.set(outlet.data, 0xDEAD if arrives is None else arrives)
            ready = self.rng.random() < self.takes(cycle)
            ctx.set(outlet.o.ready, ready)
            valid = ctx.get(outlet.o.valid)
            if valid:
                assert ctx.get(outlet.o.payload) == self.left & 0xFFFF
            # What is offered stays until it is taken.
            assert valid or held is None
            held = self.left if valid and not ready else None
            if self.entered > self.left:
                assert ctx.get(outlet.inside) or cycle == self.entered_at[-1]
            if enters:
                self.entered += 1
                self.entered_at.append(cycle)
            self.most = max(self.most, self.entered - self.left)
            if valid and ready:
                self.left += 1
                self.left_at.append(cycle)
            await ctx.tick()


@pytest.mark.parametrize("stages", STAGES)
@pytest.mark.parametrize("wants, takes", [(0.9, 0.3), (0.3, 0.9), (0.9, 0.9), (0.1, 0.1)])
def test_nothing_is_lost(rng, stages, wants, takes):
    run = Run(stages, rng, lambda cycle: wants, lambda cycle: takes, 1500)
    assert run.entered - run.left <= Outlet.words(stages) and run.left > 60


@pytest.mark.parametrize("stages", STAGES)
def test_nothing_is_lost_where_nobody_takes(rng, stages):
    """As much enters as finds room, and comes out later."""
    run = Run(stages, rng, lambda cycle: cycle < 100, lambda cycle: cycle > 100, 300)
    # Room is told three cycles late, and one waits in the register of the output.
    assert Outlet.words(stages) - 4 <= run.most <= Outlet.words(stages)
    assert run.left == run.entered


@pytest.mark.parametrize("stages", STAGES)
def test_one_in_each_cycle(rng, stages):
    run = Run(stages, rng, lambda cycle: 1, lambda cycle: 1, 100)
    assert run.entered_at == list(range(run.entered_at[0], 100))
    assert run.left_at == list(range(run.left_at[0], 100))
    assert run.left_at[0] - run.entered_at[0] == stages + Outlet.latency


def test_what_is_forgotten_does_not_come(rng):
    module = Module()
    module.submodules.outlet = outlet = Outlet(8, 1)
    taken = []

    async def bench(ctx):
        for _ in range(50):
            await ctx.tick()
            ctx.set(outlet.o.ready, 0)
            for k in range(rng.randrange(4)):
                ctx.set(outlet.entered, 1)
                ctx.set(outlet.put, 1)
                ctx.set(outlet.data, k)
                await ctx.tick()
            ctx.set(outlet.entered, 0)
            ctx.set(outlet.put, 0)
            ctx.set(outlet.clear, 1)
            await ctx.tick()
            ctx.set(outlet.clear, 0)
            ctx.set(outlet.o.ready, 1)
            assert not ctx.get(outlet.o.valid) and not ctx.get(outlet.inside)
            ctx.set(outlet.entered, 1)
            ctx.set(outlet.put, 1)
            ctx.set(outlet.data, 200)
            await ctx.tick()
            ctx.set(outlet.entered, 0)
            ctx.set(outlet.put, 0)
            await ctx.tick().until(outlet.o.valid)

    async def watch(ctx):
        while True:
            signals = outlet.o.valid, outlet.o.ready, outlet.o.payload
            _, _, valid, ready, payload = await ctx.tick().sample(*signals)
            if valid and ready:
                assert payload == 200
                taken.append(payload)

    simulate(module, bench, background=[watch])
    assert len(taken) == 50


def test_with_a_depth_one_in_two_cycles(rng):
    """For what comes rarely: no room is told, and the next one is fetched when it may come."""
    module = Module()
    module.submodules.outlet = outlet = Outlet(8, depth=4)
    came = []

    async def bench(ctx):
        ctx.set(outlet.o.ready, 1)
        for k in range(4):
            ctx.set(outlet.put, 1)
            ctx.set(outlet.data, k)
            await ctx.tick()
        ctx.set(outlet.put, 0)
        await ctx.tick().repeat(12)

    async def watch(ctx):
        for cycle in range(100):
            _, _, valid, payload = await ctx.tick().sample(outlet.o.valid, outlet.o.payload)
            if valid:
                came.append((cycle, payload))

    simulate(module, bench, background=[watch])
    assert [payload for _, payload in came] == [0, 1, 2, 3]
    assert {b - a for (a, _), (b, _) in itertools.pairwise(came)} == {2}
