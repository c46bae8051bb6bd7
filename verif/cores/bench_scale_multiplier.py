"""Bench of :class:`nibblegrad.hdl.cores.scale_multiplier.ScaleMultiplier`."""

import itertools

import cocotb
import numpy as np
from cocotb.triggers import ClockCycles

from nibblegrad.golden.cores.fp4_quantizer import Fp4Mode
from nibblegrad.golden.cores.scale_multiplier import (
    scale,
    scale_to_float,
    scale_to_fp4,
    scale_to_integer,
)
from nibblegrad.golden.numbers.formats import WIDE_FORMATS, IntFormat, Scale
from nibblegrad.golden.numbers.random_bits import RandomBits, seed_state
from nibblegrad.golden.numbers.rounding import RoundMode
from verif.support.benches import benched_module
from verif.support.coverage import Coverage, assert_equal
from verif.support.packing import pack, pack_scales, unpack
from verif.support.sim import bench_params
from verif.support.stream import (
    PACES,
    Source,
    always,
    check_counts,
    last_of,
    load_seed,
    start,
    transfer,
)

LABEL = bench_params()["core"]
MODULE = benched_module()
PARAMETERS = MODULE.arguments()
LANES, GROUPS, WIDTH = (PARAMETERS[key] for key in ("lanes", "channel_groups", "accumulator_bits"))
BITS, SEED, RESIDUAL_BITS = (PARAMETERS[key] for key in ("random_bits", "seed", "residual_bits"))
KIND, TARGET = MODULE.target, PARAMETERS["target"]
if KIND in WIDE_FORMATS:
    MODES = [RoundMode.NEAREST_EVEN, RoundMode.STOCHASTIC, RoundMode.TRUNCATE]
    SETTINGS = [{"mode": mode} for mode in MODES]
    CODE_BITS = TARGET.width
elif KIND.startswith("fp4"):
    SETTINGS = [{"stochastic": 1}, {"stochastic": 0}]
    if TARGET.phases == 2:
        SETTINGS = [{"phase": 0}, {"phase": 1}]
    CODE_BITS = 4
else:
    SETTINGS = [{}]
    CODE_BITS = TARGET.bits
RANDOM = KIND in WIDE_FORMATS or KIND == "fp4_radix2"
BINS = (
    "saturated underflowed relu per_channel per_tensor negative zero "
    "widest input_stalled output_stalled"
)


def golden_codes(inputs, factor, bias, relu, setting, exponent, noise):
    """Compute codes, sideband (or None) and counts as the golden model has them."""
    bias = np.resize(bias, inputs.shape[-1:]) if np.ndim(bias) else bias
    if KIND in WIDE_FORMATS:
        mode = RoundMode(setting["mode"])
        golden = scale_to_float(
            inputs, factor, TARGET, bias=bias, relu=relu, mode=mode, noise=noise, random_bits=BITS
        )
        return TARGET.encode(golden.values), None, golden
    if KIND.startswith("fp4"):
        golden = scale_to_fp4(
            inputs, factor, TARGET, exponent, Fp4Mode(setting.get("stochastic", 0)),
            bias=bias, relu=relu, phase=setting.get("phase", 0),
            odd_shift=PARAMETERS["odd_shift"], underflow=PARAMETERS["underflow"],
            noise=noise, random_bits=BITS,
        )  # fmt: skip
        return golden.codes, None, golden
    golden = scale_to_integer(
        inputs, factor, TARGET, bias=bias, relu=relu, residual_bits=RESIDUAL_BITS,
        in_range=PARAMETERS["in_range_rule"],
    )  # fmt: skip
    return golden.codes, golden.residual.astype(int) << 1 | golden.in_range, golden


async def check(dut, coverage, rng, setting, magnitude, groups, relu, beats=120, **options):
    """Scale accumulators of about ``magnitude`` bits, and compare with the golden model."""
    channels = groups * LANES
    reach = 1 << (WIDTH - 1)
    values = rng.integers(-reach, reach, (beats, LANES)) >> (WIDTH - magnitude)
    values[:2] = [[-reach], [reach - 1]]
    values[2] = 0
    bias = rng.integers(-(2**31), 2**31, channels) >> max(1, 32 - magnitude)
    bias[: channels // 2] = 0
    exponent = 0
    # Scales that bring the numbers about the range of the target, and some that do not.
    goal = {"fp4": 4, "bfl": 0, "flo": 0, "dlf": 0}.get(KIND[:3], 3)
    spread = rng.integers(-8, 5, channels)
    if KIND == "float16":
        spread = rng.integers(-30, 18, channels)
    elif KIND in WIDE_FORMATS:
        spread = rng.integers(-40, 40, channels)
    if KIND == "fp4_radix4":
        goal = 8
    exponents = np.clip(goal - magnitude - 15 + spread, -128, 127)
    if KIND.startswith("fp4"):
        exponent = int(rng.integers(-20, 20))
        exponents = np.clip(exponents + exponent, -128, 127)
    if "extreme" in options:
        # One sum at least is too large for any target, or almost nothing.
        exponents = rng.choice([-128, 127], channels)
        place = int(rng.integers(values.size))
        exponents[place % channels], bias[place % channels] = options["extreme"], 0
        values.flat[place] = reach - 1 if options["extreme"] > 0 else 1
    significands = rng.integers(1 << 15, 1 << 16, channels)
    if options.get("per_tensor"):
        significands[:], exponents[:], bias[:] = significands[0], exponents[0], bias[0]
    settings = dict(setting)
    if KIND.startswith("fp4"):
        settings["scale_exponent"] = exponent
    await start(dut, relu=relu, **settings)
    grouped = pack_scales(bias, significands, exponents, LANES)
    await Source(dut, "s_axis_scale").send({"tdata": grouped, "tlast": last_of(groups)})
    if "state" in options:
        await load_seed(dut, options["state"])
    await ClockCycles(dut.aclk, 2)

    # Channels go round; the golden model wants them as the last axis.
    tiled = np.resize(np.arange(channels), beats * LANES).reshape(beats, LANES)
    noise = None
    if RANDOM:
        state = options.get("state", seed_state(SEED))
        noise = RandomBits(state).elements(values.size, BITS, LANES)
    flat = values.ravel()
    channel = tiled.ravel()
    factor = Scale(significands[channel], exponents[channel])
    expected, sideband, golden = golden_codes(
        flat, factor, bias[channel], relu, setting, exponent, noise
    )
    received, stalls = await transfer(
        dut,
        {"tdata": pack(values, WIDTH), "tlast": last_of(beats)},
        options.get("paces", (always, always)),
    )
    signed = isinstance(TARGET, IntFormat) and TARGET.signed
    got = unpack(received["tdata"], LANES, CODE_BITS, signed=signed).ravel()
    exact = scale(flat, factor, bias[channel], relu)
    inputs = {"accumulator": flat, "bias": bias[channel], "exact": exact}
    if noise is not None:
        inputs["noise"] = noise
    assert_equal(f"{KIND} {setting} relu {relu}", got, expected, **inputs)
    if sideband is not None:
        user = unpack(received["tuser"], LANES, RESIDUAL_BITS + 2, signed=True).ravel()
        assert_equal("residual and in_range", user, sideband, **inputs)
    assert_equal("last", received["tlast"], last_of(beats))
    check_counts(dut, saturation=golden.saturations, underflow=golden.underflows)
    coverage.vectors(values.size)
    coverage.cover(
        saturated=golden.saturations,
        # The smallest product, 2**15 * 2**-128, is far above the smallest number of these.
        underflowed=golden.underflows or KIND in ("bfloat16", "float32"),
        relu=relu,
        per_channel=groups > 1 or LANES == 1 or GROUPS == 1,
        per_tensor=groups == 1,
        negative=exact < 0,
        zero=exact == 0,
        widest=magnitude == WIDTH,
        **stalls,
    )


@cocotb.test()
async def matches_golden(dut):
    """Accumulators of every size, scales per tensor and per channel, every mode, at any pace."""
    rng = np.random.default_rng(cocotb.RANDOM_SEED)
    coverage = Coverage(LABEL, BINS.split())
    sizes = sorted({4, 8, WIDTH // 2, WIDTH - 2, WIDTH})
    for setting, magnitude, relu in itertools.product(SETTINGS, sizes, (0, 1)):
        groups = int(rng.integers(1, GROUPS + 1))
        await check(dut, coverage, rng, setting, magnitude, groups, relu, beats=400)
    for paces in PACES:
        await check(dut, coverage, rng, SETTINGS[0], 12, GROUPS, 0, paces=paces)
    for setting in SETTINGS:
        for extreme in (-128, 127):
            await check(dut, coverage, rng, setting, WIDTH, GROUPS, 0, extreme=extreme)
        await check(dut, coverage, rng, setting, 10, 1, 1, per_tensor=True)
    if RANDOM:
        state = seed_state(5, stream=2)
        await check(dut, coverage, rng, SETTINGS[-1], 12, 1, 0, state=state)
    coverage.close()


@cocotb.test()
async def starts_tensors_at_the_first_channel(dut):
    """After ``last``, the next beat belongs to the first group again."""
    if GROUPS < 2:
        return
    await start(dut, relu=0)
    one = 1 << 47  # bias 0, significand 0x8000
    scales = [sum((one | (24 - k) << 48) << (56 * n) for n in range(LANES)) for k in range(2)]
    await Source(dut, "s_axis_scale").send({"tdata": scales, "tlast": [0, 1]})
    await ClockCycles(dut.aclk, 2)
    beats = {"tdata": [(1 << (WIDTH * LANES)) - 1] * 5, "tlast": [1, 0, 1, 0, 1]}
    received, _ = await transfer(dut, beats)
    data = received["tdata"]
    assert data[0] == data[1] == data[3], "a tensor did not start at the first group"
    assert data[2] == data[4], "the second group was not used"
