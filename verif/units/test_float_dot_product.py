# amaranth: UnusedElaboratable=no
"""Float dot products: model against exact arithmetic, hardware against model, bad parameters."""

import dataclasses
from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest

from nibblegrad.golden.errors import InputError
from nibblegrad.golden.numbers.formats import BFLOAT16, DLFLOAT16
from nibblegrad.golden.units.float_dot_product import (
    BINARY16_OPERANDS,
    HYBRID_FP8,
    DotProductFormat,
    Fp8,
    decode_operands,
    float_dot_product,
)
from nibblegrad.hdl.units.float_dot_product import FloatDotProduct

NARROW = dataclasses.replace(BINARY16_OPERANDS, kept_bits=16, result=DLFLOAT16)


def numbers_of(fmt, codes, kind=Fp8.FORWARD):
    sign, significand, exponent, nonfinite = decode_operands(fmt, codes, kind)
    assert not nonfinite.any()
    return (1 - 2 * sign) * significand * np.exp2(exponent - 15.0 - fmt.fraction_bits)


@pytest.mark.parametrize(
    "kind, dtype, field",
    [(Fp8.FORWARD, ml_dtypes.float8_e4m3b11fnuz, 3), (Fp8.BACKWARD, ml_dtypes.float8_e5m2, 2)],
)
def test_fp8_is_that_of_ml_dtypes_where_there_are_normal_numbers(kind, dtype, field):
    codes = np.arange(256)
    magnitude = codes & 127
    normal = (magnitude >> field > 0) & (magnitude != 127)
    if kind is Fp8.BACKWARD:
        normal &= magnitude >> field < 31
    expected = codes.astype(np.uint8).view(dtype).astype(np.float64)
    np.testing.assert_array_equal(numbers_of(HYBRID_FP8, codes[normal], kind), expected[normal])


def test_first_and_last_codes_of_fp8():
    forward = numbers_of(HYBRID_FP8, [0, 128, 1, 126])
    np.testing.assert_array_equal(forward, [0, 0, 2.0**-11 * 9 / 8, 28])
    backward = numbers_of(HYBRID_FP8, [0, 128, 1, 126], Fp8.BACKWARD)
    np.testing.assert_array_equal(backward, [0, 0, 2.0**-15 * 5 / 4, 2.0**16 * 1.5])
    for kind in Fp8:
        assert decode_operands(HYBRID_FP8, [126, 127, 255, 254], kind)[3].tolist() == [0, 1, 1, 0]


def test_binary16_is_that_of_numpy():
    codes = np.arange(1 << 16)
    codes = codes[(codes >> 10 & 31) < 31]
    expected = codes.astype(np.uint16).view(np.float16).astype(np.float64)
    np.testing.assert_array_equal(numbers_of(BINARY16_OPERANDS, codes), expected)


@pytest.mark.parametrize("fmt", [HYBRID_FP8, BINARY16_OPERANDS, NARROW], ids=str)
def test_error_is_within_the_guard_bits(fmt):
    rng = np.random.default_rng(1)
    worst = 0.0
    for case in range(600):
        shape = (int(rng.integers(1, 9)), 16)
        top = fmt.width - 1
        codes = rng.integers(0, 1 << fmt.width, (2, *shape))
        if case % 3:  # exponents near each other, so that errors are not lost in one product
            low, high = (6, 12) if case % 3 == 1 else (10, 13)
            place = 3 if fmt.hybrid else 10
            exponent = rng.integers(low, high, codes.shape) << place
            codes = codes & ((1 << place) - 1 | 1 << top) | exponent
        if not fmt.hybrid:
            codes &= ~(1 << 14)
        codes[(codes & 127) == 127] -= 1
        a, b = (numbers_of(fmt, part) for part in codes)
        exact = sum(Fraction(x) * Fraction(y) for x, y in zip(a.flat, b.flat, strict=True))
        got = float(fmt.result.decode(float_dot_product(fmt, *codes)))
        # A product is below four times the power of two that it is aligned by; the last bit kept
        # of it and of the others is kept_bits below. A subnormal number is aligned as the smallest
        # normal one.
        least = -30 if fmt.hybrid else -14
        powers = [np.where(n != 0, np.maximum(np.frexp(n)[1] - 1, least), -999) for n in (a, b)]
        largest = (powers[0] + powers[1]).max(axis=1)
        bound = sum(16 * 2.0 ** (e + 2 - fmt.kept_bits) for e in largest)
        bound += len(a) * 2.0 ** (4 - fmt.kept_bits) * bool(largest.max() >= 2)
        result = 2.0**-fmt.result.fraction_bits * float(abs(exact) + Fraction(bound))
        tiny = 2.0 ** (fmt.result.least_exponent + 1)
        error = float(abs(Fraction(got) - exact))
        assert error <= bound + result + tiny, (case, got, float(exact))
        worst = max(worst, error / (bound + result + tiny))
    assert worst > 0.02  # the bound is of the right size


def test_exact_where_nothing_is_dropped():
    ones = np.full((3, 16), 0x3C00)
    assert float_dot_product(BINARY16_OPERANDS, ones, ones) == int(np.float32(48).view(np.uint32))
    half = ones.copy()
    half[1] = 0xBC00
    assert float_dot_product(BINARY16_OPERANDS, ones, half) == int(np.float32(16).view(np.uint32))
    half[0, 0], half[2, 0] = 0x7C00, 0
    assert float_dot_product(BINARY16_OPERANDS, ones, half) == 0x7FC00000


@pytest.mark.parametrize(
    "change, message",
    [
        ({"fraction_bits": 4}, r"^Operands must have 3 .* fraction bits, not 4$"),
        ({"kept_bits": 9}, r"^Count of kept bits must be 10 to 32, not 9$"),
        ({"forward_bias": 16}, r"^Bias of forward operands must be 0 to 15, not 16$"),
        ({"growth_bits": 0}, r"^Count of growth bits must be 1 to 16, not 0$"),
        ({"result": BFLOAT16}, r"^Result must be dlfloat16 or float32, not bfloat16$"),
    ],
)
def test_bad_formats(change, message):
    with pytest.raises(InputError, match=message):
        dataclasses.replace(HYBRID_FP8, **change)


def test_bad_operands():
    with pytest.raises(InputError, match=r"^Operands must have one shape \(vectors, lanes\), not"):
        float_dot_product(HYBRID_FP8, [[1]], [[1, 2]])
    ones = np.ones((257, 1), int)
    with pytest.raises(InputError, match=r"^A sum may have 256 vectors, not 257; "):
        float_dot_product(HYBRID_FP8, ones, ones)


def test_bad_lanes():
    with pytest.raises(ValueError, match=r"^Lane count must be 1 to 64, not 0$"):
        FloatDotProduct(HYBRID_FP8, 0)


@pytest.mark.parametrize(
    "fmt, lanes, pairs",
    [
        (HYBRID_FP8, 4, 4000),
        (NARROW, 3, 1000),
        pytest.param(BINARY16_OPERANDS, 4, 2000, marks=pytest.mark.slow),
        pytest.param(
            DotProductFormat("hybrid_fp8", 3, 11, DLFLOAT16, forward_bias=7, growth_bits=4),
            1,
            1000,
            marks=pytest.mark.slow,
        ),
    ],
)
def test_rtl_matches_golden(sim, fmt, lanes, pairs):
    core = FloatDotProduct(fmt, lanes)
    sim(
        core,
        "float_dot_product",
        {
            "core": f"float_dot_product ({fmt.name})",
            "format": {**dataclasses.asdict(fmt), "result": fmt.result.name},
            "lanes": lanes,
            "latency": core.latency,
            "pairs": pairs,
        },
    )
