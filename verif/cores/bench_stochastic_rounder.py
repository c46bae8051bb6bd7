"""Bench of :class:`nibblegrad.hdl.cores.stochastic_rounder.FloatRounder` and ``FixedRounder``."""

import cocotb
import numpy as np
from cocotb.triggers import ClockCycles

from nibblegrad.golden.cores.stochastic_rounder import round_fixed, round_float_codes
from nibblegrad.golden.numbers.random_bits import RandomBits, seed_state
from nibblegrad.golden.numbers.rounding import RoundMode
from verif.support.benches import benched_module
from verif.support.coverage import Coverage, assert_equal
from verif.support.packing import pack, unpack
from verif.support.sim import bench_params
from verif.support.stimulus import wide_codes
from verif.support.stream import PACES, always, check_counts, last_of, load_seed, start, transfer

PARAMETERS = benched_module().arguments()
LABEL = bench_params()["core"]
LANES, BITS, SEED = (PARAMETERS[key] for key in ("lanes", "random_bits", "seed"))
TARGET = PARAMETERS["target"]
FIXED = "fraction_bits" in PARAMETERS
if FIXED:
    WIDTH, FRACTION = PARAMETERS["width"], PARAMETERS["fraction_bits"]
    TARGET_WIDTH = TARGET.bits
else:
    SOURCE = PARAMETERS["source"]
    WIDTH, TARGET_WIDTH = SOURCE.width, TARGET.width

BINS = [*(mode.name.lower() for mode in RoundMode), "saturated", "underflowed", "rounded_up"]
BINS += ["input_stalled", "output_stalled"] + ([] if FIXED else ["nonfinite", "negative_zero"])


def stimulus(rng):
    if not FIXED:
        return wide_codes(SOURCE, rng)
    if WIDTH <= 16:
        return np.arange(-(1 << (WIDTH - 1)), 1 << (WIDTH - 1))
    middle = (rng.integers(-64, 64, 4000) << FRACTION) + (1 << (FRACTION - 1))
    nudge = rng.integers(-2, 3, 4000)
    reach = 1 << (WIDTH - 1)
    edges = np.array([-reach, 1 - reach, -1, 0, 1, reach - 1])
    chance = rng.integers(-reach, reach, 4000)
    small = chance >> (WIDTH - 1 - FRACTION)
    return np.concatenate([middle + nudge, edges, chance, small])


async def check(dut, coverage, inputs, mode, paces=(always, always), state=None):
    """Round numbers, and compare with the golden model."""
    await start(dut, mode=mode)
    if state is not None:
        await load_seed(dut, state)
    inputs = np.resize(inputs, (-(-len(inputs) // LANES), LANES))
    random = RandomBits(seed_state(SEED) if state is None else state)
    noise = random.elements(inputs.size, BITS, LANES).reshape(inputs.shape)
    if FIXED:
        golden = round_fixed(inputs, FRACTION, TARGET, mode, noise, BITS)
        expected, before = golden.values.astype(int), inputs / 2.0**FRACTION
    else:
        expected, golden = round_float_codes(inputs, SOURCE, TARGET, mode, noise, BITS)
        before = SOURCE.decode(inputs)
    last = last_of(len(inputs))
    beats, stalls = await transfer(dut, {"tdata": pack(inputs, WIDTH), "tlast": last}, paces)
    got = unpack(beats["tdata"], LANES, TARGET_WIDTH, signed=FIXED and TARGET.signed)
    assert_equal(f"{mode.name} code", got, expected, input=inputs, number=before, noise=noise)
    assert_equal("last", beats["tlast"], last)
    counts = {"saturation": golden.saturations, "underflow": golden.underflows}
    bins = {} if FIXED else {"nonfinite": golden.nonfinite}
    check_counts(dut, **counts, **bins)
    if not FIXED:
        bins["negative_zero"] = (golden.values == 0) & np.signbit(golden.values)
        if TARGET.ibm:
            bins["negative_zero"] = 1  # there is none
    coverage.vectors(inputs.size)
    # A source of less reach than the target loses nothing but precision.
    inner = not FIXED and SOURCE.greatest_exponent < TARGET.greatest_exponent
    with np.errstate(invalid="ignore"):
        up = golden.values > before
    coverage.cover(
        **{mode.name.lower(): 1},
        saturated=golden.saturations or inner,
        underflowed=golden.underflows or inner,
        rounded_up=up,
        **stalls,
        **bins,
    )


@cocotb.test()
async def matches_golden(dut):
    """Every input of 16 bits, or corners and chance, in every mode; every pace."""
    rng = np.random.default_rng(cocotb.RANDOM_SEED)
    coverage = Coverage(LABEL, BINS)
    for mode in RoundMode:
        await check(dut, coverage, stimulus(rng), mode)
    for mode, paces in zip([*RoundMode, RoundMode.STOCHASTIC], PACES, strict=True):
        inputs = rng.permutation(stimulus(rng))[: 150 * LANES]
        await check(dut, coverage, inputs, mode, paces)
    coverage.close()


@cocotb.test()
async def takes_a_seed(dut):
    """A loaded state starts its own sequence; a state of zeros is refused and flagged."""
    rng = np.random.default_rng(cocotb.RANDOM_SEED)
    inputs = rng.permutation(stimulus(rng))[: 50 * LANES]
    state = seed_state(12345, stream=7)
    await check(dut, Coverage(LABEL, BINS), inputs, RoundMode.STOCHASTIC, state=state)
    assert not dut.seed_error.value
    await load_seed(dut, [0, 0, 0, 0])
    assert dut.seed_error.value
    await load_seed(dut, state)
    assert dut.seed_error.value, "seed_error is not sticky"


@cocotb.test()
async def clears_counts(dut):
    """Counts and sticky bits go to zero on request."""
    rng = np.random.default_rng(cocotb.RANDOM_SEED)
    await check(dut, Coverage(LABEL, BINS), stimulus(rng)[:2000], RoundMode.TRUNCATE)
    dut.clear_counts.value = 1
    await ClockCycles(dut.aclk, 2)
    check_counts(dut, saturation=0, underflow=0)
