# amaranth: UnusedElaboratable=no
"""Level and countdown: the same as a number that is counted, whatever comes when."""

import random

import pytest
from amaranth import Module, Signal

from nibblegrad.hdl.base.countdown import Countdown
from nibblegrad.hdl.base.level import Level
from verif.support.simulation import simulate


@pytest.fixture
def rng(request):
    return random.Random(request.config.getoption("seed"))


@pytest.mark.parametrize("greatest, least", [(1, 1), (5, 1), (8, 1), (8, 3), (16, 16)])
def test_level_is_the_count(rng, greatest, least):
    m = Module()
    up, down, clear = Signal(), Signal(), Signal()
    level = Level(m, "level", greatest, least)
    level.change(up, down)
    with m.If(clear):
        level.clear()
    # How far the register lies from the count is the level's own affair.
    free, full = Signal(6), Signal()
    m.d.comb += [free.eq(level.free), full.eq(level.full)]
    counts = range(greatest + 1)
    below = [Signal(name=f"below_{k}") for k in counts]
    equal = [Signal(name=f"equals_{k}") for k in counts]
    m.d.comb += [
        *(bit.eq(level.below(k)) for k, bit in zip(counts, below, strict=True)),
        *(bit.eq(level.equals(k)) for k, bit in zip(counts, equal, strict=True)),
    ]
    seen = set()

    async def bench(ctx):
        count = 0
        for cycle in range(2000):
            # Up to the greatest count, and down again; then by chance.
            likely = (1, 0) if cycle < greatest else (0, 1) if cycle < 2 * greatest else (0.6, 0.5)
            rises = rng.random() < likely[0] and count < greatest
            falls = rng.random() < likely[1] and count > 0
            clears = cycle > 2 * greatest and rng.random() < 0.01
            ctx.set(up, rises)
            ctx.set(down, falls)
            ctx.set(clear, clears)
            assert ctx.get(level.any) == (count >= least)
            assert ctx.get(free) == greatest - count
            assert ctx.get(full) == (count == greatest)
            assert [ctx.get(bit) for bit in below] == [count < k for k in counts]
            assert [ctx.get(bit) for bit in equal] == [count == k for k in counts]
            seen.add(count)
            await ctx.tick()
            count = 0 if clears else count + rises - falls

    simulate(m, bench)
    assert seen == set(range(greatest + 1))


def steps(whole, step):
    """Cut a size into steps: how much goes with each."""
    return [min(step, whole - at) for at in range(0, whole, step)]


@pytest.mark.parametrize("once", [False, True])
@pytest.mark.parametrize("ahead", [False, True])
@pytest.mark.parametrize("step", [1, 4, 8])
def test_countdown_is_what_is_left(rng, once, ahead, step):
    """Over and over again, or once, from sizes below a step to many of them."""
    m = Module()
    whole, start, go_on = Signal(8), Signal(), Signal()
    begin = Signal(9) if ahead else None
    options = {}
    if ahead:
        begin = Signal.like(Countdown.first(whole, step))
        m.d.sync += begin.eq(Countdown.first(whole, step))
        options = {"begin": begin, "begin_step": step}
    count = Countdown(m, "count", whole, step, once=once, **options)
    with m.If(go_on):
        count.next()
    with m.If(start):
        count.start()
    used = Signal(8)
    reaches = [Signal(name=f"reaches_{k}") for k in range(step)]
    m.d.comb += used.eq(count.used(step))
    m.d.comb += [bit.eq(count.reaches(step, k)) for k, bit in enumerate(reaches)]

    async def bench(ctx):
        for size in [1, step, step + 1, 255, *(rng.randrange(1, 256) for _ in range(30))]:
            ctx.set(whole, size)
            # Where it is known beforehand, two cycles before the start.
            await ctx.tick().repeat(2)
            ctx.set(start, 1)
            await ctx.tick()
            ctx.set(start, 0)
            expected = steps(size, step) * (1 if once else 3)
            ends = [k % len(steps(size, step)) == len(steps(size, step)) - 1 for k in range(1000)]
            for k, much in enumerate(expected):
                while rng.random() < 0.3:
                    ctx.set(go_on, 0)
                    await ctx.tick()
                assert ctx.get(used) == much, (size, k)
                assert ctx.get(count.end) == ends[k]
                assert [ctx.get(bit) for bit in reaches] == [much > lane for lane in range(step)]
                if ahead and not (once and ends[k]):
                    assert ctx.get(count.end_after) == ends[k + 1]
                ctx.set(go_on, 1)
                await ctx.tick()
            ctx.set(go_on, 0)

    simulate(m, bench)
