"""What the golden model computes in float32, against what it computes in float64."""

import ml_dtypes
import numpy as np
import pytest

from nibblegrad.golden.cores.fp4_quantizer import Fp4Mode, Underflow, quantize_fp4
from nibblegrad.golden.cores.quantizer import InRange, quantize
from nibblegrad.golden.cores.scale_multiplier import scale_to_float
from nibblegrad.golden.cores.stochastic_rounder import round_float
from nibblegrad.golden.errors import InputError
from nibblegrad.golden.numbers.formats import (
    BFLOAT16,
    DLFLOAT16,
    FLOAT16,
    Fp4Format,
    IntFormat,
    Scale,
)
from nibblegrad.golden.numbers.rounding import RoundMode, round_significand

NUMBERS = BFLOAT16.decode(np.arange(1 << 16))
NUMBERS = NUMBERS[np.isfinite(NUMBERS)]  # every bfloat16 number


def same(narrow, wide, *names):
    for name in names:
        ours, theirs = getattr(narrow, name), getattr(wide, name)
        assert np.array_equal(ours, theirs), name


@pytest.mark.parametrize("rule", InRange, ids=lambda rule: rule.name)
@pytest.mark.parametrize("fmt", [IntFormat(4), IntFormat(4, False), IntFormat(8, False)], ids=str)
# Around the exponents between which float32 is used, and in the middle.
@pytest.mark.parametrize("exponent", [-128, -17, -16, -12, 0, 47, 48, 127])
@pytest.mark.parametrize("bound", [np.inf, 1e18])
def test_quantize(fmt, exponent, rule, bound):
    x = NUMBERS[np.abs(NUMBERS) < bound]
    for significand in (32768, 43691, 65535):
        reciprocal = Scale(significand, exponent)
        narrow, wide = (
            quantize(x.astype(dtype), reciprocal, fmt, in_range=rule)
            for dtype in (np.float32, np.float64)
        )
        same(narrow, wide, "codes", "in_range", "residual", "derivative")
        same(narrow, wide, "saturations", "underflows", "nonfinite")


def test_quantize_float32_numbers_that_are_not_bfloat16():
    # 1.5 - 2**-23 times 1 + 2**-15 is below 1.5 only if it is not rounded to 24 bits.
    rng = np.random.default_rng(1)
    x = (rng.integers(1 << 23, 1 << 24, 200_000) * 2.0**-23 * rng.integers(1, 8)).astype(np.float32)
    for significand in (32769, 43691, 65535):
        reciprocal = Scale(significand, -15)
        narrow, wide = (
            quantize(x.astype(dtype), reciprocal, IntFormat(4), residual_bits=12)
            for dtype in (np.float32, np.float64)
        )
        same(narrow, wide, "codes", "in_range", "residual", "derivative")


@pytest.mark.parametrize("exponent", [-128, -127, -126, -40, -1, 0, 1, 127])
@pytest.mark.parametrize("random_bits", [1, 8, 23, 24])
def test_stochastic_fp4(exponent, random_bits):
    noise = np.random.default_rng(2).integers(0, 1 << random_bits, NUMBERS.shape)
    for numbers in (NUMBERS, np.ldexp(NUMBERS, -100).astype(np.float32).astype(np.float64)):
        narrow, wide = (
            quantize_fp4(
                numbers.astype(dtype),
                Fp4Format(1),
                exponent,
                Fp4Mode.STOCHASTIC,
                noise=noise,
                random_bits=random_bits,
            )
            for dtype in (np.float32, np.float64)
        )
        same(narrow, wide, "codes", "saturations", "underflows")


@pytest.mark.parametrize("exponent", [-128, -127, -126, -40, -1, 0, 1, 127])
@pytest.mark.parametrize("underflow", Underflow, ids=lambda rule: rule.name)
@pytest.mark.parametrize(("log2_radix", "phase"), [(1, 0), (2, 0), (2, 1)])
def test_nearest_fp4(exponent, underflow, log2_radix, phase):
    x = NUMBERS
    narrow, wide = (
        quantize_fp4(
            x.astype(dtype),
            Fp4Format(log2_radix),
            exponent,
            Fp4Mode.NEAREST,
            phase=phase,
            underflow=underflow,
        )
        for dtype in (np.float32, np.float64)
    )
    same(narrow, wide, "codes", "saturations", "underflows")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("fraction_bits", [7, 9, 10])
def test_splitting_rounds_ties_to_even(dtype, fraction_bits):
    # Every tie of a binade, and its neighbours on both sides.
    ties = np.arange(1 << (fraction_bits + 1), 1 << (fraction_bits + 2)).astype(dtype)
    x = np.concatenate([ties, np.nextafter(ties, dtype(0)), np.nextafter(ties, dtype(np.inf))])
    x = np.concatenate([x, -x, [dtype(0), -dtype(0)]])
    unit = np.ldexp(1.0, np.frexp(x)[1].astype(int) - 1 - fraction_bits)
    expected = np.rint(x.astype(np.float64) / unit) * unit
    found = round_significand(x, fraction_bits)
    assert found.dtype == dtype
    assert (found == expected).all() and (np.signbit(found) == np.signbit(x)).all()


@pytest.mark.parametrize("bound", [2.0**-130, 1.0, 2.0**62, np.inf])
def test_float32_to_bfloat16(bound):
    words = np.random.default_rng(3).integers(0, 1 << 32, 1_000_000, dtype=np.uint32)
    x = words.view(np.float32)
    x = x[np.abs(x) < bound]
    for least in (0.0, 2.0**-125):
        numbers = x[np.abs(x) >= least]
        if numbers.size:
            found = round_float(numbers, BFLOAT16).values.astype(np.float32)
            expected = numbers.astype(ml_dtypes.bfloat16).astype(np.float32)
            assert (found.view(np.uint32) == expected.view(np.uint32)).all()


@pytest.mark.parametrize("target", [BFLOAT16, FLOAT16, DLFLOAT16], ids=lambda fmt: fmt.name)
@pytest.mark.parametrize("exponent", [-128, -112, -111, -32, -15, 0, 60, 112])
def test_scaled_sums_round_as_other_numbers_do(target, exponent):
    # With a zero, round_float looks for no shortcut of its own.
    sums = np.random.default_rng(4).integers(-(1 << 20), 1 << 20, 50_000).astype(np.float64)
    sums[:3] = 0, 1, -1
    for significand in (32768, 40001, 65535):
        factor = Scale(significand, exponent)
        found = scale_to_float(sums, factor, target)
        wanted = round_float(sums * factor.value, target)
        assert found.values.astype(np.float64).tobytes() == wanted.values.tobytes()
        same(found, wanted, "saturations", "underflows", "nonfinite")
        assert round_float(sums * factor.value, target, RoundMode.TRUNCATE).nonfinite == 0


@pytest.mark.parametrize("bits", [0, 15])
def test_bad_residual_bits(bits):
    message = rf"^Residual must have 1 to 14 fraction bits, not {bits}$"
    with pytest.raises(InputError, match=message):
        quantize(np.zeros(1), Scale(1 << 15, -15), IntFormat(4), residual_bits=bits)
