"""Bench of :class:`nibblegrad.hdl.engine.result_pipeline.ResultPipeline`."""

import itertools
from dataclasses import dataclass

import cocotb
import numpy as np
from cocotb.triggers import ClockCycles, RisingEdge

from nibblegrad.golden.cores.fp4_quantizer import Fp4Mode, Underflow
from nibblegrad.golden.cores.quantizer import InRange, Quantized, quantize
from nibblegrad.golden.cores.scale_multiplier import scale_to_float, scale_to_fp4, scale_to_integer
from nibblegrad.golden.cores.step_gradient import step_gradient
from nibblegrad.golden.engine.command import CoreSize
from nibblegrad.golden.numbers.formats import WIDE_FORMATS, Fp4Format, IntFormat, Scale
from nibblegrad.golden.numbers.random_bits import RandomBits, seed_state
from nibblegrad.golden.numbers.rounding import RoundMode
from verif.support.coverage import Coverage, assert_equal
from verif.support.packing import pack, unpack
from verif.support.sim import bench_params
from verif.support.stream import check_counts, configure, load_seed, reset, start

PARAMS = bench_params()
CHOICES = {
    "wide_format": WIDE_FORMATS.get,
    "fmt": Fp4Format,
    "in_range_rule": InRange,
    "underflow": Underflow,
}
SIZE = CoreSize(**{key: CHOICES.get(key, int)(value) for key, value in PARAMS["size"].items()})
LANES, LATENCY, TAG_BITS = SIZE.strip, PARAMS["latency"], PARAMS["tag_bits"]
VALUE_BITS = max(SIZE.residual_bits, 4) + 1
TARGETS = NONE, FLOAT, INTEGER, FP4 = range(4)
#: Count of strips of a case.
STRIPS = 60
#: Settings that bear on each target, with all their values.
SETTINGS = {
    NONE: {"masked": (0, 1)},
    FLOAT: {
        "mode": (RoundMode.NEAREST_EVEN, RoundMode.STOCHASTIC, RoundMode.TRUNCATE),
        "relu": (0, 1),
        "use_bias": (0, 1),
        "masked": (0, 1),
    },
    INTEGER: {"signed_result": (0, 1), "relu": (0, 1), "use_bias": (0, 1), "masked": (0, 1)},
    FP4: {"stochastic" if SIZE.fmt.is_stochastic else "phase": (0, 1), "masked": (0, 1)},
}
BINS = (
    "float_saturated integer_saturated integer_underflowed fp4_saturated fp4_underflowed "
    "masked relu bias unused_lane pause back_to_back target_without_events"
)


@dataclass
class Strips:
    """What strips bring: arrays of (strips, lanes) but for the last two."""

    sums: np.ndarray
    biases: np.ndarray
    used: np.ndarray
    operand: Quantized
    step: np.ndarray
    select: np.ndarray

    @property
    def derivatives(self):
        """Codes of the derivatives on the port."""
        inside = self.operand.in_range
        value = np.where(inside, self.operand.residual, self.operand.codes).astype(int)
        return inside.astype(int) << VALUE_BITS | value & ((1 << VALUE_BITS) - 1)

    def step_gradients(self):
        """Step gradients of activations and of weights, strip by strip to be exact."""
        totals = [0, 0]
        for k in np.flatnonzero(self.step):
            row = Quantized(
                self.operand.codes[k],
                self.operand.in_range[k],
                self.operand.scaled[k],
                SIZE.residual_bits,
                0,
            )
            totals[self.select[k]] += step_gradient(self.sums[k] * self.used[k], row)
        return totals


def make_strips(rng, count, magnitude):
    """Make strips of sums of about ``magnitude`` bits, with the greatest and the least."""
    shape = (count, LANES)
    sums = rng.integers(-(2**31), 2**31, shape) >> (32 - magnitude)
    sums[:2] = [[-(2**31)], [2**31 - 1]]
    biases = rng.integers(-(2**31), 2**31, shape) >> (33 - magnitude)
    biases[:2] = sums[:2]
    used = rng.random(shape) < 0.9
    # The extremes are used, and another lane is not.
    used[:2], used[2:3] = True, False
    fmt = IntFormat(4, signed=bool(rng.integers(2)))
    spread = rng.normal(size=shape).astype(np.float32) * (6 if fmt.signed else 12)
    operand = quantize(spread, Scale(1 << 15, -15), fmt, residual_bits=SIZE.residual_bits)
    step, select = rng.integers(0, 2, (2, count))
    return Strips(sums, biases, used, operand, step, select)


def make_scale(rng, target, magnitude, fp4_exponent):
    """Choose a scale that brings sums to the range of the target and beyond."""
    exponent = {FLOAT: 100 * rng.integers(-1, 2), INTEGER: 3, FP4: 4 * SIZE.fmt.log2_radix}
    goal = exponent.get(target, 0) + (fp4_exponent if target == FP4 else 0)
    exponent = int(np.clip(goal - magnitude - 15 + rng.integers(-3, 4), -128, 127))
    return Scale(int(rng.integers(1 << 15, 1 << 16)), exponent)


def near_ties(rng, shape, kept):
    """Make sums that a scale brings to a tie of ``kept`` bits, or a single bit away from it.

    Returns the sums, and the scale, which leaves ``kept`` bits before the point.
    """
    factor = int(rng.choice([1, 3, 5, 7]))
    bits = 30 + factor.bit_length()
    count = 16 * shape[0] * shape[1]
    products = rng.integers(1 << kept - 1, 1 << kept, count) << 1 | 1
    products <<= bits - kept - 1
    products |= (rng.random(count) < 0.8) << rng.integers(0, bits - kept - 1, count)
    sums = np.resize(products[products % factor == 0] // factor, shape)
    shift = 16 - factor.bit_length()
    return sums * rng.choice([-1, 1], shape), Scale(factor << shift, kept - bits - shift)


def golden(target, settings, factor, strips, noise):
    """Compute what comes out, and the counts; fields that the target leaves open are missing."""
    kept = strips.used & (strips.operand.in_range | (not settings.get("masked", 0)))
    sums = (strips.sums * kept).ravel()
    bias = (strips.biases * strips.used * settings.get("use_bias", 0)).ravel()
    options = {"bias": bias, "relu": bool(settings.get("relu", 0))}
    if target == NONE:
        return {}, 0, 0
    if target == FLOAT:
        mode = RoundMode(settings["mode"])
        options |= {"mode": mode, "noise": noise, "random_bits": SIZE.random_bits}
        result = scale_to_float(sums, factor, SIZE.wide_format, **options)
        fields = {"o_floats": SIZE.wide_format.encode(result.values)}
    elif target == INTEGER:
        fmt = IntFormat(4, signed=bool(settings["signed_result"]))
        options |= {"in_range": SIZE.in_range_rule, "residual_bits": SIZE.residual_bits}
        result = scale_to_integer(sums, factor, fmt, **options)
        value = np.where(result.in_range, result.residual, result.codes).astype(int)
        side = result.in_range.astype(int) << VALUE_BITS | value & ((1 << VALUE_BITS) - 1)
        fields = {"o_codes": result.codes & 15, "o_derivatives": side}
    else:
        mode = Fp4Mode(settings.get("stochastic", 0))
        result = scale_to_fp4(
            sums, factor, SIZE.fmt, settings["fp4_exponent"], mode,
            phase=settings.get("phase", 0), odd_shift=SIZE.odd_shift, underflow=SIZE.underflow,
            noise=noise, random_bits=SIZE.random_bits, **options,
        )  # fmt: skip
        fields = {"o_codes": result.codes}
    return fields, result.saturations, result.underflows


async def record(dut, given, taken):
    """List forever the cycles and tags of what goes in, and all of what comes out."""
    for cycle in itertools.count():
        await RisingEdge(dut.aclk)
        if dut.valid.value:
            given.append((cycle, int(dut.tag.value)))
        if dut.o_valid.value:
            names = ("o_tag", "o_floats", "o_codes", "o_derivatives")
            taken.append((cycle, *(int(getattr(dut, name).value) for name in names)))


async def give(dut, rng, strips, pauses):
    """Give the strips, with chance on the ports in the cycles between them."""
    count = len(strips.sums)
    ports = {
        "sums": pack(strips.sums, 32),
        "biases": pack(strips.biases, 32),
        "lanes_used": pack(strips.used.astype(int), 1),
        "derivatives": pack(strips.derivatives, VALUE_BITS + 1),
        "step_gradient": strips.step.tolist(),
        "step_select": strips.select.tolist(),
        "tag": rng.integers(0, 1 << TAG_BITS, count).tolist(),
    }
    handles = [getattr(dut, name) for name in ports]
    for row in zip(*ports.values(), strict=True):
        while rng.random() < pauses:
            for handle in handles:
                handle.value = int.from_bytes(rng.bytes(32), "little") & ((1 << len(handle)) - 1)
            await RisingEdge(dut.aclk)
        for handle, value in zip(handles, row, strict=True):
            handle.value = value
        dut.valid.value = 1
        await RisingEdge(dut.aclk)
        dut.valid.value = 0
    return ports["tag"]


async def check(
    dut, rng, random, target, settings, magnitude=12, pauses=0.3, kept=None, exponent=None
):
    """Run strips of one target and compare all that comes out with the golden model.

    With ``kept`` the sums are near ties of so many bits; ``exponent`` replaces that of the scale.
    Returns how often each situation occurred.
    """
    strips = make_strips(rng, STRIPS, magnitude)
    fp4_exponent = int(rng.integers(-20, 20))
    factor = make_scale(rng, target, magnitude, fp4_exponent)
    if exponent is not None:
        factor = Scale(factor.significand, exponent)
    if kept:
        strips.sums, factor = near_ties(rng, strips.sums.shape, kept)
    settings = {**settings, "fp4_exponent": fp4_exponent}
    defaults = {key: 0 for values in SETTINGS.values() for key in values}
    configure(
        dut,
        **{**defaults, **settings},
        target=target,
        significand=factor.significand,
        exponent=factor.exponent,
        clear_counts=1,
        clear_step=3,
    )
    await ClockCycles(dut.aclk, 3)
    configure(dut, clear_counts=0, clear_step=0)
    given, taken = [], []
    recording = cocotb.start_soon(record(dut, given, taken))
    tags = await give(dut, rng, strips, pauses)
    await ClockCycles(dut.aclk, LATENCY + 3)
    recording.cancel()

    noise = None
    if target in (FLOAT, FP4):
        noise = random.elements(strips.sums.size, SIZE.random_bits, LANES)
    fields, saturations, underflows = golden(target, settings, factor, strips, noise)
    what = f"target {target} {settings} factor {factor}"
    cycles = np.array([cycle for cycle, _ in given])
    assert_equal("tag", [entry[1] for entry in taken], tags)
    assert_equal("cycle", [entry[0] for entry in taken], cycles + LATENCY)
    widths = {"o_floats": SIZE.wide_format.width, "o_codes": 4, "o_derivatives": VALUE_BITS + 1}
    inputs = {
        "sum": strips.sums.ravel(),
        "bias": strips.biases.ravel(),
        "used": strips.used.ravel(),
        "in_range": strips.operand.in_range.ravel(),
    }
    for column, (name, width) in enumerate(widths.items(), 2):
        if name in fields:
            got = unpack([entry[column] for entry in taken], LANES, width).ravel()
            assert_equal(f"{name}, {what}", got, fields[name], **inputs)
    check_counts(dut, saturation=saturations, underflow=underflows)
    got = unpack([int(dut.step_gradients.value)], 4, 32)[0]
    steps = [int(np.int64(np.uint64(low | high << 32))) for low, high in got.reshape(2, 2).tolist()]
    assert_equal("step gradients", steps, strips.step_gradients())
    gaps = np.diff(cycles)
    events = {}
    if target != NONE:
        kind = {FLOAT: "float", INTEGER: "integer", FP4: "fp4"}[target]
        events = {f"{kind}_saturated": saturations, f"{kind}_underflowed": underflows}
    return dict(
        events,
        masked=settings.get("masked", 0),
        relu=settings.get("relu", 0),
        bias=settings.get("use_bias", 0),
        unused_lane=~strips.used,
        pause=gaps > 1,
        back_to_back=gaps == 1,
        target_without_events=target == NONE,
    )


async def begin(dut):
    """Start with no strip given."""
    await start(dut, valid=0, clear_step=0, target=NONE)
    return np.random.default_rng(cocotb.RANDOM_SEED)


@cocotb.test()
async def matches_golden(dut):
    """Every target with all its settings, in an order of chance: one sequence of random words."""
    rng = await begin(dut)
    coverage = Coverage(PARAMS["core"], BINS.split())
    random = RandomBits(seed_state(SIZE.seed, stream=1))
    cases = [
        (target, dict(zip(choices, values, strict=True)), magnitude, None)
        for target, choices in SETTINGS.items()
        for values in itertools.product(*choices.values())
        for magnitude in (3, 12, 20, 32)
    ]
    # Everything becomes too small for the target, or the greatest sums too large.
    cases += [
        (target, {name: values[0] for name, values in SETTINGS[target].items()}, 12, exponent)
        for target in (FLOAT, INTEGER, FP4)
        for exponent in (-128, 127)
    ]
    found = {}
    for position, k in enumerate(rng.permutation(len(cases))):
        target, settings, magnitude, exponent = cases[k]
        pauses = (0.0, 0.3, 0.8)[position % 3]
        found[k] = await check(
            dut, rng, random, target, settings, magnitude, pauses=pauses, exponent=exponent
        )
        # The smallest product, 2**15 * 2**-128, is far above the smallest number of these formats.
        assert not found[k].pop("float_underflowed", 0)
        coverage.vectors(STRIPS * LANES)
    for _, bins in sorted(found.items()):
        coverage.cover(**bins)
    nearest = {"mode": RoundMode.NEAREST_EVEN}
    choices = [(FLOAT, nearest), (INTEGER, {"signed_result": 0}), (INTEGER, {"signed_result": 1})]
    for kept in (1, 2, 3, 4, SIZE.wide_format.fraction_bits + 1):
        for target, settings in 4 * choices:
            await check(dut, rng, random, target, settings, kept=kept)
            coverage.vectors(STRIPS * LANES)
    coverage.close()


@cocotb.test()
async def takes_seeds(dut):
    """A seed and a reset start the random words anew; a seed of zeros is replaced and flagged."""
    rng = await begin(dut)
    coverage = Coverage(PARAMS["core"], ["seeded", "refused", "reset"])
    settings = {"mode": RoundMode.STOCHASTIC}
    first = RandomBits(seed_state(SIZE.seed, stream=1))
    await check(dut, rng, first, FLOAT, settings)
    for state in (seed_state(7, stream=3), np.zeros(4, np.uint32)):
        await load_seed(dut, state)
        used = state if state.any() else np.array([0, 0, 0, 1], np.uint32)
        await check(dut, rng, RandomBits(used), FLOAT, settings)
        assert dut.seed_error.value == (not state.any())
        coverage.cover(seeded=state.any(), refused=not state.any())
    # Strips that are inside are forgotten.
    dut.valid.value = 1
    await ClockCycles(dut.aclk, 5)
    dut.valid.value = 0
    await reset(dut)
    for _ in range(LATENCY + 2):
        assert not dut.o_valid.value, "a strip outlived the reset"
        await RisingEdge(dut.aclk)
    again = RandomBits(seed_state(SIZE.seed, stream=1))
    await check(dut, rng, again, FLOAT, settings)
    coverage.cover(reset=1)
    coverage.vectors(4 * STRIPS * LANES)
    coverage.close()


@cocotb.test()
async def clears_step_gradients_one_by_one(dut):
    """Clearing one leaves the other alone, and strips that are inside are still added."""
    rng = await begin(dut)
    strips = make_strips(rng, 40, 20)
    strips.step[:] = 1
    expected = strips.step_gradients()
    await give(dut, rng, strips, 0)
    await ClockCycles(dut.aclk, LATENCY)
    sums = int(dut.step_gradients.value)
    mask = (1 << 64) - 1
    assert [sums & mask, sums >> 64] == [value & mask for value in expected]
    dut.clear_step.value = 1
    await RisingEdge(dut.aclk)
    dut.clear_step.value = 0
    await RisingEdge(dut.aclk)
    assert int(dut.step_gradients.value) == sums >> 64 << 64
    last = make_strips(rng, 3, 20)
    last.step[:], last.select[:] = 1, 1
    await give(dut, rng, last, 0)
    dut.clear_step.value = 2
    await RisingEdge(dut.aclk)
    dut.clear_step.value = 0
    await ClockCycles(dut.aclk, LATENCY)
    assert int(dut.step_gradients.value) >> 64 == last.step_gradients()[1] & mask
