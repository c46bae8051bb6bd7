"""The scale multiplier against Python's fractions, in every target."""

import math
from fractions import Fraction

import numpy as np
import pytest

from nibblegrad.golden.cores.fp4_quantizer import Fp4Mode
from nibblegrad.golden.cores.quantizer import InRange
from nibblegrad.golden.cores.scale_multiplier import (
    scale,
    scale_to_float,
    scale_to_fp4,
    scale_to_integer,
)
from nibblegrad.golden.errors import InputError
from nibblegrad.golden.numbers.formats import WIDE_FORMATS, Fp4Format, IntFormat, Scale
from nibblegrad.golden.numbers.rounding import RoundMode

CHANNELS = 7
EDGES = [0, 1, -1, (1 << 31) - 1, -(1 << 31), 1 << 24, (1 << 24) + 1, -(1 << 30) - 1]


def operands(exponents, seed):
    """32-bit accumulators with edges, and one Scale and one bias for each channel."""
    rng = np.random.default_rng(seed)
    widths = rng.integers(1, 32, (120, CHANNELS))
    accumulators = rng.integers(-(1 << 31), 1 << 31, widths.shape) >> widths
    accumulators[: len(EDGES)] = np.array(EDGES)[:, None]
    factor = Scale(rng.integers(1 << 15, 1 << 16, CHANNELS), rng.integers(*exponents, CHANNELS))
    bias = rng.integers(-(1 << 31), 1 << 31, CHANNELS) >> rng.integers(1, 32, CHANNELS)
    bias[:3] = [0, (1 << 31) - 1, -(1 << 31)]
    return accumulators, factor, bias


def exact(accumulators, factor, bias, relu):
    """Compute (accumulator + bias) * significand * 2**exponent, as fractions, row after row."""
    values = []
    for row in accumulators.tolist():
        for a, b, m, e in zip(
            row, bias.tolist(), factor.significand.tolist(), factor.exponent.tolist(), strict=True
        ):
            total = max(a + b, 0) if relu else a + b
            values.append(total * m * Fraction(2) ** e)
    return values


def round_magnitude(x, fraction_bits, least_exponent, up):
    """Round a fraction to a binary float; ``up`` decides from the fraction and the kept integer."""
    magnitude, exponent = abs(x), 0
    if magnitude == 0:
        return Fraction(0)
    while magnitude >= Fraction(2) ** (exponent + 1):
        exponent += 1
    while magnitude < Fraction(2) ** exponent:
        exponent -= 1
    unit = Fraction(2) ** (max(exponent, least_exponent) - fraction_bits)
    kept = math.floor(magnitude / unit)
    kept += up(magnitude / unit - kept, kept)
    return kept * unit if x > 0 else -kept * unit


def nearest_even(fraction, kept):
    return fraction > Fraction(1, 2) or (fraction == Fraction(1, 2) and kept % 2 == 1)


@pytest.mark.parametrize("relu", [False, True])
def test_scaling_loses_nothing(relu):
    accumulators, factor, bias = operands((-128, 128), 1)
    found = scale(accumulators, factor, bias, relu)
    expected = exact(accumulators, factor, bias, relu)
    assert found.shape == accumulators.shape
    assert [Fraction(number) for number in found.ravel().tolist()] == expected


def test_one_scale_serves_every_channel():
    accumulators = operands((-20, 20), 2)[0]
    found = scale(accumulators, Scale(40001, -17), 12345)
    each = scale(
        accumulators,
        Scale(np.full(CHANNELS, 40001), np.full(CHANNELS, -17)),
        np.full(CHANNELS, 12345),
    )
    assert found.tolist() == each.tolist()


def test_relu_keeps_no_negative_zero():
    found = scale(np.array([[-3.0, -0.0, 0.0]]), Scale(1 << 15, 0), 0, relu=True)
    assert not np.signbit(found).any()


def test_sum_of_zero_is_a_positive_zero():
    found = scale(np.array([[-0.0, -3.0]]), Scale(1 << 15, 0), np.array([0, 3]))
    assert not np.signbit(found).any()


@pytest.mark.parametrize("fmt", WIDE_FORMATS.values(), ids=WIDE_FORMATS)
@pytest.mark.parametrize(
    "mode", [RoundMode.NEAREST_EVEN, RoundMode.TRUNCATE, RoundMode.STOCHASTIC], ids=str
)
def test_floats_are_rounded_once(fmt, mode):
    # Exponents from below the smallest number to above the largest.
    reach = (max(fmt.least_exponent - 60, -128), min(fmt.greatest_exponent, 127) + 1)
    accumulators, factor, bias = operands(reach, 3)
    noise = np.random.default_rng(4).integers(0, 256, accumulators.shape)
    found = scale_to_float(accumulators, factor, fmt, bias=bias, mode=mode, noise=noise)
    least_exponent = fmt.least_exponent if fmt.subnormals else -1000
    values = exact(accumulators, factor, bias, relu=False)
    overflows = 0
    for x, r, value in zip(values, noise.ravel().tolist(), found.values.ravel(), strict=True):
        up = {
            RoundMode.NEAREST_EVEN: nearest_even,
            RoundMode.TRUNCATE: lambda fraction, kept: False,
            RoundMode.STOCHASTIC: lambda fraction, kept, r=r: math.floor(fraction * 256) + r >= 256,
        }[mode]
        expected = round_magnitude(x, fmt.fraction_bits, least_exponent, up)
        if not fmt.subnormals and abs(expected) <= Fraction(2) ** fmt.least_exponent:
            expected = Fraction(0)
        overflow = abs(expected) > Fraction(fmt.greatest)
        overflows += overflow
        assert value == (math.copysign(math.inf, x) if overflow else expected), f"x = {float(x)!r}"
    assert found.saturations == overflows


@pytest.mark.parametrize("fmt", [IntFormat(4), IntFormat(4, signed=False), IntFormat(8)], ids=str)
@pytest.mark.parametrize("rule", InRange, ids=str)
def test_integers_are_quantised_once(fmt, rule):
    accumulators, factor, bias = operands((-45, -15), 5)
    bias[1:3] = [1000, -1000]
    found = scale_to_integer(accumulators, factor, fmt, bias=bias, in_range=rule, residual_bits=8)
    columns = (found.codes, found.in_range, found.residual)
    values = exact(accumulators, factor, bias, relu=False)
    inside_count = 0
    for z, code, in_range, residual in zip(
        values, *(column.ravel().tolist() for column in columns), strict=True
    ):
        rounded = round(z)
        clipped = min(max(rounded, fmt.least), fmt.greatest)
        inside = fmt.least < z < fmt.greatest
        if rule is InRange.ROUNDED:
            inside = rounded == clipped
        inside_count += inside
        expected = clipped * 256 - math.trunc(z * 256) if inside else 0
        assert (code, in_range, residual) == (clipped, inside, expected), f"z = {float(z)!r}"
    assert 100 < inside_count < len(values) - 100


@pytest.mark.parametrize("relu", [False, True])
def test_fp4_radix_2_is_rounded_once(relu):
    accumulators, factor, bias = operands((-45, -15), 6)
    bias[1:3] = [1000, -1000]
    noise = np.random.default_rng(7).integers(0, 256, accumulators.shape)
    fmt, exponent = Fp4Format(1), 3
    found = scale_to_fp4(
        accumulators,
        factor,
        fmt,
        exponent,
        Fp4Mode.STOCHASTIC,
        bias=bias,
        relu=relu,
        noise=noise,
    )
    numbers = fmt.decode(found.codes).ravel().tolist()
    values = exact(accumulators, factor, bias, relu)
    for x, r, number in zip(values, noise.ravel().tolist(), numbers, strict=True):
        expected = round_magnitude(
            x / 8, 0, 0, lambda fraction, kept, r=r: math.floor(fraction * 256) + r >= 256
        )
        assert number == min(max(expected, -64), 64), f"x = {float(x)!r}"
    assert 50 < np.count_nonzero(np.abs(numbers) > 1) < len(numbers) - 50


@pytest.mark.parametrize("phase", [0, 1])
def test_fp4_radix_4_is_rounded_once(phase):
    accumulators, factor, bias = operands((-45, -10), 8)
    bias[1:3] = [1000, -1000]
    fmt = Fp4Format(2)
    found = scale_to_fp4(accumulators, factor, fmt, -2, Fp4Mode.NEAREST, bias=bias, phase=phase)
    numbers = fmt.decode(found.codes).ravel().tolist()
    # To the nearest of the grid, the greater of two that are as near.
    grid = [0] + [4**k for k in range(7)]
    for x, number in zip(exact(accumulators, factor, bias, relu=False), numbers, strict=True):
        y = abs(x) * 4 / (1 << phase)
        nearest = min(reversed(grid), key=lambda point, y=y: abs(point - y))
        assert number == (nearest if x >= 0 else -nearest), f"x = {float(x)!r}"
    assert 50 < np.count_nonzero(np.abs(numbers) > 1) < len(numbers) - 50


def test_bad_scale_shape():
    message = r"^Scale must be one number or one for each of 3 channels, not \(2,\)$"
    with pytest.raises(InputError, match=message):
        scale(np.zeros((4, 3)), Scale(np.array([40000, 40000]), np.array([0, 0])))


def test_bad_bias_shape():
    message = r"^Bias must be one number or one for each of 3 channels, not \(4,\)$"
    with pytest.raises(InputError, match=message):
        scale(np.zeros((4, 3)), Scale(40000, 0), np.zeros(4))


@pytest.mark.parametrize("number", [1 << 31, -(1 << 31) - 1, 1 << 40])
def test_bad_accumulator(number):
    # A neighbour at the other end of the range is not the one to blame.
    accumulators = np.array([[-(1 << 31), (1 << 31) - 1, number]])
    with pytest.raises(InputError, match=rf"^Accumulator must fit 32 bits, not {number}$"):
        scale(accumulators, Scale(40000, 0))
    with pytest.raises(InputError, match=rf"^Bias must fit 32 bits, not {number}$"):
        scale(np.zeros((1, 3)), Scale(40000, 0), accumulators[0])
