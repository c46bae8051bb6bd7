"""Bench of :class:`nibblegrad.hdl.cores.quantizer.Quantizer`."""

import cocotb
import numpy as np
from cocotb.triggers import ClockCycles

from nibblegrad.golden.cores.quantizer import quantize
from nibblegrad.golden.numbers.formats import IntFormat, Scale
from verif.support.benches import benched_module
from verif.support.coverage import Coverage, assert_equal
from verif.support.packing import pack, unpack
from verif.support.sim import bench_params
from verif.support.stimulus import choose, wide_codes
from verif.support.stream import PACES, always, check_counts, last_of, start, transfer

LABEL = bench_params()["core"]
PARAMETERS = benched_module().arguments()
WIDE, RULE = PARAMETERS["wide_format"], PARAMETERS["in_range_rule"]
BITS, LANES, RESIDUAL_BITS = (PARAMETERS[key] for key in ("bits", "lanes", "residual_bits"))
#: Whether there is time for all codes of a format of 16 bits.
EXHAUSTIVE = bench_params().get("exhaustive", WIDE.width == 16)
RECIPROCALS = [Scale(32768, -15), Scale(43691, -12)]
EXTREMES = [Scale(65535, -17), Scale(50000, -8), Scale(32768, -128), Scale(65535, 127)]
#: With the first reciprocal, which is one, every situation of a number, for codes of both signs.
DIRECTED = WIDE.encode(
    [
        *(np.nan, np.inf, WIDE.greatest, -WIDE.greatest),
        *(0.0, 0.25, 0.5, 1.0, 1.5, 2.5, -0.25, -0.5, -1.0, -1.5, -2.5),
        *(-(2.0 ** (BITS - 1)), 2.0 ** (BITS - 1) - 1, 2.0**BITS - 1),
    ]
)


async def check(dut, coverage, codes, reciprocal, fmt, paces=(always, always)):
    """Quantise codes of the wide format, and compare with the golden model."""
    await start(
        dut,
        reciprocal_significand=reciprocal.significand,
        reciprocal_exponent=reciprocal.exponent,
        is_signed=fmt.signed,
    )
    codes = np.resize(codes, (-(-len(codes) // LANES), LANES))
    numbers = WIDE.decode(codes)
    golden = quantize(
        numbers, reciprocal, fmt, in_range=RULE, residual_bits=RESIDUAL_BITS, check_finite=False
    )
    last = last_of(len(codes))
    beats, stalls = await transfer(dut, {"tdata": pack(codes, WIDE.width), "tlast": last}, paces)

    got = unpack(beats["tdata"], LANES, BITS, signed=fmt.signed)
    assert_equal("code", got, golden.codes, input=codes, number=numbers)
    user = unpack(beats["tuser"], LANES, RESIDUAL_BITS + 2, signed=True)
    assert_equal("in_range", user & 1, golden.in_range, input=codes, number=numbers)
    assert_equal("residual", user >> 1, golden.residual, input=codes, number=numbers)
    assert_equal("last", beats["tlast"], last)
    check_counts(
        dut,
        saturation=golden.saturations,
        underflow=golden.underflows,
        nonfinite=golden.nonfinite,
    )
    coverage.vectors(codes.size)
    z = np.where(np.isfinite(numbers), numbers, 0) * float(reciprocal.value)
    coverage.cover(
        saturated=golden.saturations,
        underflowed=golden.underflows,
        nonfinite=golden.nonfinite,
        tie=(np.abs(z) < 256) & (np.abs(z) % 1 == 0.5),
        in_range=golden.in_range,
        **stalls,
        code_least=golden.codes == fmt.least,
        code_greatest=golden.codes == fmt.greatest,
        signed=fmt.signed,
        unsigned=not fmt.signed,
    )


def new_coverage():
    return Coverage(
        LABEL,
        "saturated underflowed nonfinite tie in_range input_stalled output_stalled "
        "code_least code_greatest signed unsigned".split(),
    )


@cocotb.test()
async def matches_golden(dut):
    """Every code of a 16-bit format with ordinary steps; extreme steps; any pace."""
    rng = np.random.default_rng(cocotb.RANDOM_SEED)
    coverage = new_coverage()
    for reciprocal in RECIPROCALS + EXTREMES:
        for signed in (True, False):
            codes = wide_codes(WIDE, rng, reciprocal.value)
            if not EXHAUSTIVE or reciprocal in EXTREMES:
                codes = choose(rng, codes, 500 * LANES, DIRECTED)
            await check(dut, coverage, codes, reciprocal, IntFormat(BITS, signed))
    for paces in PACES:
        codes = choose(rng, wide_codes(WIDE, rng, 1.0), 150 * LANES, DIRECTED)
        await check(dut, coverage, codes, RECIPROCALS[1], IntFormat(BITS), paces)
    coverage.close()


@cocotb.test()
async def clears_counts(dut):
    """Counts and sticky bits go to zero on request."""
    rng = np.random.default_rng(cocotb.RANDOM_SEED)
    await check(
        dut, new_coverage(), wide_codes(WIDE, rng, 1.0)[:200], RECIPROCALS[0], IntFormat(BITS)
    )
    dut.clear_counts.value = 1
    await ClockCycles(dut.aclk, 2)
    assert not any(
        int(getattr(dut, f"{event}_count").value) for event in ("saturation", "underflow")
    ), "clear_counts did not clear"
