"""Bench of :class:`nibblegrad.hdl.cores.fp4_quantizer.Fp4Quantizer`."""

import cocotb
import numpy as np
from cocotb.triggers import ClockCycles

from nibblegrad.golden.cores.fp4_quantizer import Fp4Mode, quantize_fp4
from nibblegrad.golden.numbers.random_bits import RandomBits, seed_state
from verif.support.benches import benched_module
from verif.support.coverage import Coverage, assert_equal
from verif.support.packing import pack, unpack
from verif.support.sim import bench_params
from verif.support.stimulus import wide_codes
from verif.support.stream import PACES, always, check_counts, last_of, load_seed, start, transfer

LABEL = bench_params()["core"]
PARAMETERS = benched_module().arguments()
WIDE, FMT = PARAMETERS["wide_format"], PARAMETERS["fmt"]
LANES, BITS, SEED = (PARAMETERS[key] for key in ("lanes", "random_bits", "seed"))
UNDERFLOW, ODD_SHIFT = PARAMETERS["underflow"], PARAMETERS["odd_shift"]
# What is set at run time: LUQ or nearest for radix 2, the phase for radix 4.
SETTINGS = [(Fp4Mode.STOCHASTIC, 0), (Fp4Mode.NEAREST, 0)]
if FMT.phases == 2:
    SETTINGS = [(Fp4Mode.NEAREST, 0), (Fp4Mode.NEAREST, 1)]


def new_coverage():
    bins = "saturated underflowed nonfinite input_stalled output_stalled every_code"
    bins += " stochastic nearest" if FMT.is_stochastic else " even_phase odd_phase"
    return Coverage(LABEL, bins.split())


async def check(dut, coverage, codes, exponent, mode, phase, paces=(always, always), state=None):
    """Quantise codes of the wide format, and compare with the golden model."""
    setting = {"stochastic": mode} if FMT.is_stochastic else {"phase": phase}
    await start(dut, scale_exponent=exponent, **setting)
    if state is not None:
        await load_seed(dut, state)
    codes = np.resize(codes, (-(-len(codes) // LANES), LANES))
    numbers = WIDE.decode(codes)
    noise = np.zeros(codes.shape, int)
    if FMT.is_stochastic:
        random = RandomBits(seed_state(SEED) if state is None else state)
        noise = random.elements(codes.size, BITS, LANES).reshape(codes.shape)
    golden = quantize_fp4(
        numbers,
        FMT,
        exponent,
        mode,
        phase=phase,
        odd_shift=ODD_SHIFT,
        underflow=UNDERFLOW,
        noise=noise,
        random_bits=BITS,
        check_finite=False,
    )
    last = last_of(len(codes))
    beats, stalls = await transfer(dut, {"tdata": pack(codes, WIDE.width), "tlast": last}, paces)
    got = unpack(beats["tdata"], LANES, 4)
    assert_equal(
        f"{mode.name} phase {phase} exponent {exponent}", got, golden.codes,
        input=codes, number=numbers, noise=noise,
    )  # fmt: skip
    assert_equal("last", beats["tlast"], last)
    check_counts(
        dut,
        saturation=golden.saturations,
        underflow=golden.underflows,
        nonfinite=golden.nonfinite,
    )
    coverage.vectors(codes.size)
    name = mode.name.lower() if FMT.is_stochastic else ("odd_phase" if phase else "even_phase")
    coverage.cover(
        **{name: 1},
        saturated=golden.saturations,
        underflowed=golden.underflows,
        nonfinite=golden.nonfinite,
        every_code=len(np.unique(golden.codes)) == 15,
        **stalls,
    )


@cocotb.test()
async def matches_golden(dut):
    """Every code of a 16-bit format with ordinary scales; extreme scales; any pace."""
    rng = np.random.default_rng(cocotb.RANDOM_SEED)
    coverage = new_coverage()
    for mode, phase in SETTINGS:
        codes = wide_codes(WIDE, rng)
        await check(dut, coverage, codes, -6, mode, phase)
        for exponent in (-9, 5, -128, 127):
            some = rng.permutation(codes)[: 300 * LANES]
            await check(dut, coverage, some, exponent, mode, phase)
    for paces in PACES:
        codes = rng.permutation(wide_codes(WIDE, rng))[: 100 * LANES]
        await check(dut, coverage, codes, -7, *SETTINGS[0], paces)
    coverage.close()


@cocotb.test()
async def takes_a_seed(dut):
    """A loaded state starts its own sequence (radix 2)."""
    state = seed_state(99, stream=3) if FMT.is_stochastic else None
    codes = wide_codes(WIDE, np.random.default_rng(1))[-40 * LANES :]
    await check(dut, new_coverage(), codes, 0, *SETTINGS[0], state=state)
    dut.clear_counts.value = 1
    await ClockCycles(dut.aclk, 2)
    check_counts(dut, saturation=0, underflow=0, nonfinite=0)
