# amaranth: UnusedElaboratable=no
"""What cores rely on: settings stand still while a tensor is inside, and seeds wait for its end."""

import pytest

from nibblegrad.golden.engine.command import CoreSize
from nibblegrad.golden.numbers.formats import BFLOAT16, FLOAT32, Fp4Format, IntFormat
from nibblegrad.hdl.cores.fp4_quantizer import Fp4Quantizer
from nibblegrad.hdl.cores.quantizer import Quantizer
from nibblegrad.hdl.cores.scale_multiplier import ScaleMultiplier
from nibblegrad.hdl.cores.stochastic_rounder import FixedRounder, FloatRounder
from nibblegrad.hdl.engine.result_pipeline import SETTINGS as SETTINGS_OF_STRIPS
from nibblegrad.hdl.engine.result_pipeline import ResultPipeline
from verif.support.simulation import simulate

CORES = {
    "quantizer": lambda: Quantizer(BFLOAT16, lanes=1),
    "luq": lambda: Fp4Quantizer(BFLOAT16, Fp4Format(1), lanes=1),
    "two_phase": lambda: Fp4Quantizer(BFLOAT16, Fp4Format(2), lanes=1),
    "float_rounder": lambda: FloatRounder(FLOAT32, BFLOAT16, lanes=1),
    "fixed_rounder": lambda: FixedRounder(16, 8, IntFormat(4), lanes=1),
    "to_float": lambda: ScaleMultiplier(BFLOAT16, lanes=1),
    "to_integer": lambda: ScaleMultiplier(IntFormat(4), lanes=1),
    "to_luq": lambda: ScaleMultiplier(Fp4Format(1), lanes=1),
    "to_two_phase": lambda: ScaleMultiplier(Fp4Format(2), lanes=1),
}
SETTINGS = {
    "quantizer": ["reciprocal_significand", "reciprocal_exponent", "is_signed"],
    "luq": ["scale_exponent", "stochastic"],
    "two_phase": ["scale_exponent", "phase"],
    "float_rounder": ["mode"],
    "fixed_rounder": ["mode"],
    "to_float": ["relu", "mode"],
    "to_integer": ["relu"],
    "to_luq": ["relu", "scale_exponent", "stochastic"],
    "to_two_phase": ["relu", "scale_exponent", "phase"],
}
#: The fixed rounder takes its random bits in the cycle after a beat: no seed can come too early.
DRAWING = ["luq", "float_rounder", "to_float", "to_luq"]


async def step(ctx, cycles):
    """Wait; unlike ``repeat``, it can be left where a promise is broken meanwhile."""
    for _ in range(cycles):
        await ctx.tick()


def run(core, disturb, cycles):
    """Send a beat, wait, and then disturb the core; the output is taken after all that."""

    async def bench(ctx):
        # A change before the beat, and after it has left, disturbs nobody.
        disturb(ctx, 1)
        await step(ctx, 4)
        disturb(ctx, 0)
        await step(ctx, 12)
        ctx.set(core.i.valid, 1)
        await ctx.tick().until(core.i.ready)
        ctx.set(core.i.valid, 0)
        if cycles is not None:
            await step(ctx, cycles)
            disturb(ctx, 1)
            await ctx.tick()
            disturb(ctx, 0)
        await step(ctx, core.latency + 2)
        assert ctx.get(core.o.valid)
        ctx.set(core.o.ready, 1)
        # The count of what is inside follows two cycles later.
        await step(ctx, 4)
        disturb(ctx, 1)
        await step(ctx, 4)

    simulate(core, bench)


def change(core, name):
    """Change a setting, or set it back."""
    return lambda ctx, value: ctx.set(getattr(core, name), value)


@pytest.mark.parametrize("which, name", [(w, n) for w, names in SETTINGS.items() for n in names])
def test_a_setting_that_changes_is_named(which, name):
    core = CORES[which]()
    run(core, change(core, name), None)
    for cycles in (0, 1, core.latency + 1):
        core = CORES[which]()
        with pytest.raises(AssertionError, match=f"{name} stands still while a tensor is inside"):
            run(core, change(core, name), cycles)


@pytest.mark.parametrize("which", DRAWING)
def test_a_seed_that_comes_too_early_is_named(which):
    """The first word of a seed takes back the random bits on offer."""

    def load(core):
        def disturb(ctx, value):
            ctx.set(core.i_seed.payload, 5)
            ctx.set(core.i_seed.valid, value)

        return disturb

    # The four words of a seed before a tensor, and those after it, are loaded.
    core = CORES[which]()
    run(core, load(core), None)

    core = CORES[which]()
    with pytest.raises(AssertionError, match="no seed is loaded while anything is inside that"):
        run(core, load(core), 0)


@pytest.mark.parametrize("which", [*DRAWING, "fixed_rounder"])
def test_no_beat_enters_before_it_would_find_random_bits(which):
    core = CORES[which]()

    async def bench(ctx):
        await step(ctx, 12)
        assert ctx.get(core.i.ready)
        ctx.set(core.i_seed.valid, 1)
        ctx.set(core.i_seed.payload, 5)
        # From registers: two cycles after the first word, until the words of the seed are on offer.
        await step(ctx, 2)
        for _ in range(2):
            assert not ctx.get(core.i.ready)
            await step(ctx, 1)
        ctx.set(core.i_seed.valid, 0)
        ctx.set(core.i.valid, 1)
        for _ in range(4):
            assert not ctx.get(core.i.ready)
            await step(ctx, 1)
        assert ctx.get(core.i.ready)
        await step(ctx, core.latency + 2)

    simulate(core, bench)


@pytest.mark.parametrize("name", SETTINGS_OF_STRIPS)
def test_a_setting_of_strips_that_changes_is_named(name):
    for cycles in (1, ResultPipeline.latency):
        core = ResultPipeline(CoreSize(rows=2, columns=2, lanes=2))

        async def bench(ctx, core=core, cycles=cycles):
            ctx.set(getattr(core, name), 1)
            await step(ctx, 2)
            ctx.set(core.valid, 1)
            await step(ctx, 1)
            ctx.set(core.valid, 0)
            await step(ctx, cycles - 1)
            ctx.set(getattr(core, name), 0)
            await step(ctx, 3)

        with pytest.raises(AssertionError, match=f"{name} stands still while a strip is inside"):
            simulate(core, bench)
