"""Products by shifts against Python's integers, and accumulator widths against a worked table."""

import re
from fractions import Fraction

import numpy as np
import pytest

from nibblegrad.golden.cores.shift_multiply_array import (
    ShiftOperand,
    accumulator_bits,
    matmul,
    round_accumulators,
    signed_digits,
    term_bounds,
)
from nibblegrad.golden.errors import InputError
from nibblegrad.golden.numbers.formats import Fp4Format, IntFormat
from nibblegrad.golden.numbers.rounding import RoundMode

RADIX2, RADIX4 = Fp4Format(1), Fp4Format(2)
FORMATS = pytest.mark.parametrize("fmt", [RADIX2, RADIX4], ids=lambda fmt: fmt.name)


def fp4_number(code, radix):
    """What an FP4 code stands for, from its definition."""
    field = code & 7
    return (-1) ** (code >> 3) * (radix ** (field - 1) if field else 0)


@FORMATS
def test_every_fp4_product(fmt):
    integers = np.arange(-16, 32)[:, None]
    codes = np.arange(16)[:, None]
    found = matmul(integers, codes, ShiftOperand.FP4, fmt)
    radix = 1 << fmt.log2_radix
    expected = [[a * fp4_number(code, radix) for code in range(16)] for a in range(-16, 32)]
    assert found.tolist() == expected


@FORMATS
def test_every_int4_product(fmt):
    numbers = np.arange(-16, 32)[:, None]
    weights = np.arange(-8, 8)[:, None]
    found = matmul(numbers, weights, ShiftOperand.INT4, fmt)
    assert found.tolist() == [[a * w for w in range(-8, 8)] for a in range(-16, 32)]


@pytest.mark.parametrize(
    "weight, low, high",
    [
        *[(-8, 0, -2), (-7, 1, -2), (-6, -2, -1), (-5, -1, -1)],
        *[(-4, 0, -1), (-3, 1, -1), (-2, -2, 0), (-1, -1, 0)],
        *[(0, 0, 0), (1, 1, 0), (2, -2, 1), (3, -1, 1)],
        *[(4, 0, 1), (5, 1, 1), (6, -2, 2), (7, -1, 2)],
    ],
)
def test_table_of_digits(weight, low, high):
    assert low + 4 * high == weight
    assert {low, high} <= {-2, -1, 0, 1, 2}
    assert signed_digits(weight).tolist() == [low, high]


def test_a_digit_at_its_weight_is_an_fp4_number():
    # So an INT4 weight is two radix 2 codes: two passes of the same shifter.
    fp4 = {fp4_number(code, 2) for code in range(16)}
    low, high = signed_digits(np.arange(-8, 8))
    assert set(low.tolist()) | set((4 * high).tolist()) <= fp4


@FORMATS
@pytest.mark.parametrize("operand", ShiftOperand, ids=lambda operand: operand.name)
@pytest.mark.parametrize("rows, columns, terms", [(1, 1, 1), (3, 5, 7), (4, 2, 300), (2, 3, 9000)])
def test_dot_products_are_those_of_python(fmt, operand, rows, columns, terms):
    rng = np.random.default_rng(terms)
    a = rng.integers(-16, 16, (rows, terms))
    low, high = (0, 16) if operand is ShiftOperand.FP4 else (-8, 8)
    b = rng.integers(low, high, (columns, terms))
    radix = 1 << fmt.log2_radix
    factors = [
        [fp4_number(code, radix) if operand is ShiftOperand.FP4 else code for code in row]
        for row in b.tolist()
    ]
    expected = [
        [sum(x * y for x, y in zip(row, column, strict=True)) for column in factors]
        for row in a.tolist()
    ]
    assert matmul(a, b, operand, fmt).tolist() == expected


@FORMATS
def test_large_sums_keep_their_lowest_bit(fmt):
    # 2**25 from the largest products, and an odd number: float32 would lose it.
    terms = (1 << 25) // (16 * fmt.greatest) + 1
    a, b = np.full((1, terms), -16), np.full((1, terms), 7)
    a[0, -1], b[0, -1] = -15, 1
    expected = -(1 << 25) - 15
    assert matmul(a, b, ShiftOperand.FP4, fmt).tolist() == [[expected]]


# Widths. Least and greatest product, count of terms, bits of two's complement; worked by hand.
WORKED = [
    # fmt, 16, 64, 256, 2304 terms of 4-bit integers, -8 to 7.
    (RADIX4, 4, [21, 23, 25, 28]),
    # Radix 2 with -8 to 7 is one bit more than the -7 to 7 of the published table.
    (RADIX2, 4, [15, 17, 19, 22]),
    # The lanes' own 5 bits, -16 to 15, hold UINT4 too.
    (RADIX4, 5, [22, 24, 26, 29]),
    (RADIX2, 5, [16, 18, 20, 23]),
]


@pytest.mark.parametrize("fmt, integer_bits, widths", WORKED, ids=str)
def test_table_of_accumulator_widths(fmt, integer_bits, widths):
    found = [accumulator_bits(terms, integer_bits, fmt) for terms in (16, 64, 256, 2304)]
    assert found == widths


@FORMATS
@pytest.mark.parametrize("integer_bits", [4, 5, 9])
def test_accumulator_is_wide_enough_and_no_wider(fmt, integer_bits):
    integers = (-(1 << (integer_bits - 1)), (1 << (integer_bits - 1)) - 1)
    products = [a * fp4_number(code, 1 << fmt.log2_radix) for a in integers for code in range(16)]
    assert term_bounds(integer_bits, fmt) == (min(products), max(products))
    for terms in (1, 2, 3, 16, 100, 255, 256, 257, 2304):
        bits = accumulator_bits(terms, integer_bits, fmt)

        def fits(bits, terms=terms):
            half = 1 << (bits - 1)
            return -half <= terms * min(products) and terms * max(products) < half

        assert fits(bits) and not fits(bits - 1), f"{terms} terms"


def test_one_product_needs_a_17th_bit():
    code = 0b1111  # -4**6
    product = matmul([[-8]], [[code]], ShiftOperand.FP4, RADIX4)
    assert product.tolist() == [[1 << 15]]
    assert accumulator_bits(1, 4, RADIX4) == 17


ROUNDERS = [
    *[(RoundMode.NEAREST_EVEN, 0, 0), (RoundMode.TRUNCATE, 0, 0)],
    *[(RoundMode.STOCHASTIC, 4, noise) for noise in (0, 1, 7, 8, 15)],
]


@pytest.mark.parametrize("mode, random_bits, noise", ROUNDERS, ids=str)
@pytest.mark.parametrize("target", [IntFormat(4), IntFormat(8), IntFormat(32)], ids=str)
def test_rounded_accumulators_are_exact_quotients(mode, random_bits, noise, target):
    rng = np.random.default_rng(1)
    sums = np.concatenate([np.arange(-300, 300), rng.integers(-(1 << 31), 1 << 31, 300)])
    for shift in (0, 1, 2, 3, 5, 16, 31):
        found = round_accumulators(
            sums.astype(np.float64), shift, target, mode, np.full(sums.shape, noise), random_bits
        )
        saturations = 0
        for number, value in zip(sums.tolist(), found.values.tolist(), strict=True):
            quotient = Fraction(number, 1 << shift)
            if mode is RoundMode.NEAREST_EVEN:
                rounded = round(quotient)
            else:
                rounded = (quotient * (1 << random_bits)).__floor__() + noise >> random_bits
            clipped = min(max(rounded, target.least), target.greatest)
            saturations += clipped != rounded
            assert value == clipped, f"{number} / 2**{shift}"
        assert found.saturations == saturations


@pytest.mark.parametrize(
    "a, b", [((2, 3), (2, 4)), ((2, 0), (2, 0)), ((0, 3), (2, 3)), ((3,), (2, 3)), ((2, 3), (3,))]
)
def test_bad_shapes(a, b):
    message = (
        r"^Operands must have shapes \(rows, terms\) and \(columns, terms\) with the same terms, "
        rf"not {re.escape(str(a))} and {re.escape(str(b))}$"
    )
    with pytest.raises(InputError, match=message):
        matmul(np.zeros(a, int), np.zeros(b, int), ShiftOperand.FP4, RADIX2)


def test_bad_shift():
    with pytest.raises(InputError, match=r"^Shift of the rounder must be 0 or more, not -1$"):
        round_accumulators(np.zeros(1), -1, IntFormat(8), RoundMode.TRUNCATE)


def test_bad_mode():
    message = r"^Exact integer sums have no low bits to use as noise; choose another mode$"
    with pytest.raises(InputError, match=message):
        round_accumulators(np.zeros(1), 4, IntFormat(8), RoundMode.SELF_STOCHASTIC)
