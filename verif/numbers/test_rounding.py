"""Rounding against ml_dtypes, NumPy, gfloat and arithmetic with Python's integers."""

import math
from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest
from gfloat import Domain, FormatInfo, round_ndarray
from gfloat import RoundMode as GfloatMode
from gfloat.formats import format_info_bfloat16, format_info_binary16, format_info_binary32

from nibblegrad import BFLOAT16, DLFLOAT16, FLOAT16, FLOAT32, FloatFormat, IntFormat
from nibblegrad.golden.cores.stochastic_rounder import (
    round_fixed,
    round_float,
    round_float_codes,
    self_bits,
)
from nibblegrad.golden.errors import InputError
from nibblegrad.golden.numbers.formats import WIDE_FORMATS
from nibblegrad.golden.numbers.rounding import RoundMode, binade, round_to_integer

DLFLOAT16_INFO = FormatInfo(
    "dlfloat16",
    16,
    10,
    bias=31,
    is_signed=True,
    domain=Domain.Finite,
    has_nz=True,
    num_high_nans=1,
    has_subnormals=False,
    is_twos_complement=False,
)
GFLOAT = {
    BFLOAT16: format_info_bfloat16,
    FLOAT16: format_info_binary16,
    FLOAT32: format_info_binary32,
    DLFLOAT16: DLFLOAT16_INFO,
}
SIXTEEN_BITS = [BFLOAT16, FLOAT16, DLFLOAT16]


def name(value):
    """Name a format, or a rounding mode, in the identifier of a test."""
    return getattr(value, "name", None)


def assert_same(x, ours, theirs):
    """Compare numbers bit by bit, signs of zeros included."""
    wrong = ours.view(np.int64) != theirs.astype(np.float64).view(np.int64)
    assert not wrong.any(), (
        f"{np.count_nonzero(wrong)} differ, first {x[wrong][0]!r}: "
        f"{ours[wrong][0]!r} != {theirs[wrong][0]!r} (expected)"
    )


def both_signs(x):
    return np.concatenate([x, -x])


def around_midpoints(fmt):
    """All numbers of a 16-bit format, all midpoints, and midpoints +- one float64 ulp."""
    numbers = fmt.decode(np.arange(1 << 15))
    numbers = np.unique(numbers[np.isfinite(numbers)])
    # Past the largest number lies the number that the next exponent would hold.
    beyond = np.append(numbers[1:], 2 * numbers[-1] - numbers[-2])
    middle = (numbers + beyond) / 2
    edges = [numbers, middle, np.nextafter(middle, 0), np.nextafter(middle, np.inf), beyond[-1:]]
    return both_signs(np.concatenate(edges))


def wide_sample(fmt, count=200_000):
    """float32 numbers with exponents around those of a format, beyond both ends."""
    rng = np.random.default_rng(3)
    least = max(fmt.least_exponent - fmt.fraction_bits - 3, -149)
    exponents = rng.integers(least, min(fmt.greatest_exponent + 2, 127), count, endpoint=True)
    numbers = np.ldexp(rng.integers(1 << 23, 1 << 24, count).astype(np.float64), exponents - 23)
    return both_signs(numbers.astype(np.float32).astype(np.float64))


def as_golden(fmt, x):
    """What a reference leaves open: DLFloat16 below and above its numbers, and its zero."""
    if fmt is DLFLOAT16:
        x = np.where(np.isnan(x), np.inf, x)  # one code for both
        x = np.where(np.abs(x) <= 2.0**-31, 0.0, x)  # no code: flushed, and zero is positive
    return x


@pytest.mark.parametrize("fmt", SIXTEEN_BITS, ids=name)
def test_nearest_even_is_gfloats_at_every_midpoint(fmt):
    x = around_midpoints(fmt)
    theirs = round_ndarray(GFLOAT[fmt], x, GfloatMode.TiesToEven)
    if fmt is DLFLOAT16:
        theirs = np.where(np.isnan(theirs), np.copysign(np.inf, x), as_golden(fmt, theirs))
    assert_same(x, round_float(x, fmt).values, theirs)


@pytest.mark.parametrize(
    "fmt, dtype", [(BFLOAT16, ml_dtypes.bfloat16), (FLOAT16, np.float16)], ids=name
)
def test_nearest_even_is_the_cast_from_float32(fmt, dtype):
    # Midpoints are float32 numbers: here their neighbours are one float32 ulp away.
    with np.errstate(over="ignore"):
        middle = around_midpoints(fmt).astype(np.float32)
    x = np.concatenate([middle, np.nextafter(middle, 0), np.nextafter(middle, np.float32(np.inf))])
    x = np.concatenate([x[np.isfinite(x)], wide_sample(fmt).astype(np.float32)])
    with np.errstate(over="ignore"):
        theirs = x.astype(dtype)
    assert_same(x, round_float(x.astype(np.float64), fmt).values, theirs)


@pytest.mark.parametrize("fmt, dtype", [(FLOAT16, np.float16), (FLOAT32, np.float32)], ids=name)
def test_nearest_even_is_numpys_cast_from_float64(fmt, dtype):
    if fmt is FLOAT16:
        x = around_midpoints(fmt)
    else:
        codes = np.arange(256)[:, None] << 23 | np.array([0, 1, 2, 0x555555, 0x7FFFFE, 0x7FFFFF])
        numbers = fmt.decode(codes[:-1].ravel())
        middle = (numbers + fmt.decode(codes[:-1].ravel() + 1)) / 2
        middle[-1] = (2 - 2.0**-24) * 2.0**127
        edges = [numbers, middle, np.nextafter(middle, 0), np.nextafter(middle, np.inf)]
        x = both_signs(np.concatenate(edges))
    rng = np.random.default_rng(4)
    x = np.concatenate([x, np.ldexp(rng.normal(size=100_000), rng.integers(-160, 140, 100_000))])
    with np.errstate(over="ignore"):
        theirs = x.astype(dtype)
    assert_same(x, round_float(x, fmt).values, theirs)


@pytest.mark.parametrize("fmt", WIDE_FORMATS.values(), ids=name)
def test_truncate_is_gfloats_toward_zero_but_for_overflow(fmt):
    x = np.concatenate([wide_sample(fmt), [] if fmt is FLOAT32 else around_midpoints(fmt)])
    theirs = round_ndarray(GFLOAT[fmt], x, GfloatMode.TowardZero)
    # gfloat stops at the largest number. Here overflow is infinity in every mode, so that it is
    # seen; a number counts as past the largest once it reaches what the next code would hold.
    steps = (2 << fmt.fraction_bits) - (1 if fmt is DLFLOAT16 else 0)
    past = np.abs(x) >= np.ldexp(float(steps), fmt.greatest_exponent - fmt.fraction_bits)
    theirs = np.where(past, np.copysign(np.inf, x), as_golden(fmt, theirs))
    rounded = round_float(x, fmt, RoundMode.TRUNCATE)
    assert_same(x, rounded.values, theirs)
    assert rounded.saturations == np.count_nonzero(past)


@pytest.mark.parametrize("random_bits", [1, 4, 8, 16])
@pytest.mark.parametrize("fmt", SIXTEEN_BITS, ids=name)
def test_stochastic_is_gfloats_fastest_with_the_same_bits(fmt, random_bits):
    # float32 numbers only: gfloat adds fraction and noise in float64, which rounds longer ones.
    with np.errstate(over="ignore"):
        x = around_midpoints(fmt).astype(np.float32).astype(np.float64)
    x = np.concatenate([wide_sample(fmt, 50_000), x[np.isfinite(x)]])
    noise = np.random.default_rng(5).integers(0, 1 << random_bits, x.shape)
    theirs = round_ndarray(
        GFLOAT[fmt],
        x,
        GfloatMode.StochasticFastest,
        srbits=noise,
        srnumbits=random_bits,
    )
    if fmt is DLFLOAT16:
        theirs = np.where(np.isnan(theirs), np.copysign(np.inf, x), as_golden(fmt, theirs))
    rounded = round_float(x, fmt, RoundMode.STOCHASTIC, noise, random_bits)
    assert_same(x, rounded.values, theirs)


@pytest.mark.parametrize("random_bits", [1, 8, 28, 32])
def test_stochastic_is_exact_for_products_of_the_scale_multiplier(random_bits):
    # 49 bits rounded to 24 with noise that carries, nearly carries, or is random.
    rng = np.random.default_rng(6)
    x = rng.integers(1 << 48, 1 << 49, 4000)
    x[1000:2000] &= ~((1 << 25) - 1)  # float32 numbers already: no noise may move them
    cut = x % (1 << 25) * (1 << random_bits) >> 25
    noise = rng.integers(0, 1 << random_bits, x.shape)
    noise[::4] = (1 << random_bits) - 1
    noise[1::4] = np.minimum((1 << random_bits) - cut[1::4], (1 << random_bits) - 1)
    noise[2::4] = (1 << random_bits) - 1 - cut[2::4]
    rounded = round_float(
        x.astype(np.float64), FLOAT32, RoundMode.STOCHASTIC, noise, random_bits
    ).values
    for number, r, found in zip(x.tolist(), noise.tolist(), rounded.tolist(), strict=True):
        kept = ((number << random_bits >> 25) + r) >> random_bits
        assert int(found) == kept << 25, f"{number} with noise {r}"


def self_rounded(code, source, target, random_bits):
    """The formula of US10684824B2 on the fields of a finite float32 code, in Python's integers."""
    dropped = source.fraction_bits - target.fraction_bits
    bits = min(random_bits, dropped // 2)
    fraction = code & ((1 << source.fraction_bits) - 1)
    field = code >> source.fraction_bits & ((1 << source.exponent_bits) - 1)
    significand = fraction | (1 << source.fraction_bits if field else 0)
    exponent = max(field, 1) - source.bias
    if significand == 0:
        return 0.0
    # The kept unit: that of the target's binade, or of its subnormal numbers.
    top = exponent + significand.bit_length() - 1 - source.fraction_bits
    unit = max(top, target.least_exponent) if target.subnormals else top
    drop = unit - target.fraction_bits - (exponent - source.fraction_bits)
    low = fraction & ((1 << bits) - 1)
    if drop >= bits:
        kept = (significand + (low << (drop - bits))) >> drop
    else:  # subnormal sources have fewer bits to drop than the fields suggest
        kept = ((significand << (bits - drop)) + low) >> bits
    number = float(kept * Fraction(2) ** (unit - target.fraction_bits))
    return math.inf if number > target.greatest else number


@pytest.mark.parametrize("random_bits", [1, 6, 8])
def test_self_stochastic_adds_the_low_bits_of_the_word(random_bits):
    # float32 and bfloat16 share exponents, so the sum may be made on the packed word: carries run
    # into the exponent, and from the last binade to infinity.
    rng = np.random.default_rng(7)
    codes = np.concatenate([rng.integers(0, 0xFF << 23, 20_000), 0x7F7F_0000 + np.arange(1 << 16)])
    found, rounded = round_float_codes(
        codes, FLOAT32, BFLOAT16, RoundMode.SELF_STOCHASTIC, None, random_bits
    )
    expected = [
        (code + ((code & ((1 << random_bits) - 1)) << (16 - random_bits))) >> 16
        for code in codes.tolist()
        if code < 0xFF << 23
    ]
    finite = codes < 0xFF << 23
    wrong = found[finite] != np.array(expected)
    assert not wrong.any(), f"code {codes[finite][wrong][0]:#x} became {found[finite][wrong][0]:#x}"
    assert rounded.saturations == np.count_nonzero(np.array(expected) == 0x7F80) > 0


@pytest.mark.parametrize(
    "source, target",
    [
        (FLOAT32, FLOAT16),
        (FLOAT32, DLFLOAT16),
        (FLOAT32, BFLOAT16),
        (FLOAT16, BFLOAT16),
        (FLOAT16, DLFLOAT16),
    ],
    ids=name,
)
def test_self_stochastic_is_the_patents_sum(source, target):
    if source.width == 16:
        codes = np.arange(0x1F << 10)
    else:
        rng = np.random.default_rng(8)
        near = np.arange(-30, 22) + source.bias  # exponents inside and around those of float16
        codes = np.concatenate(
            [
                rng.choice(near, 20_000) << 23 | rng.integers(0, 1 << 23, 20_000),
                rng.integers(0, 0xFF << 23, 20_000),
                rng.integers(0, 1 << 23, 2_000),
            ]
        )
    codes = np.concatenate([codes, codes | 1 << (source.width - 1)])
    for random_bits in (4, 8):
        rounded = round_float_codes(
            codes, source, target, RoundMode.SELF_STOCHASTIC, None, random_bits
        )[1]
        expected = np.array(
            [self_rounded(code, source, target, random_bits) for code in codes.tolist()]
        )
        if target is DLFLOAT16:
            expected[expected <= 2.0**-31] = 0.0
        negative = codes >> (source.width - 1) == 1
        if target is DLFLOAT16:
            negative &= expected != 0
        assert_same(codes, rounded.values, np.where(negative, -expected, expected))


def test_self_stochastic_takes_at_most_half_of_the_dropped_bits():
    assert [self_bits(dropped, 8) for dropped in (1, 2, 3, 12, 15, 16, 40)] == [0, 1, 1, 6, 7, 8, 8]


def test_self_stochastic_truncates_numbers_with_trailing_zeros():
    # The known trap: integers held in float32 have no low bits to spare.
    x = np.arange(1 << 13, 1 << 14, dtype=np.float64)
    codes = FLOAT32.encode(x)
    found = round_float_codes(codes, FLOAT32, BFLOAT16, RoundMode.SELF_STOCHASTIC)[1].values
    assert (found == round_float(x, BFLOAT16, RoundMode.TRUNCATE).values).all()


def fixed_reference(x, fraction_bits, mode, noise, random_bits):
    """Round ``x / 2**fraction_bits`` with Python's exact fractions."""
    exact = Fraction(x, 1 << fraction_bits)
    if mode is RoundMode.NEAREST_EVEN:
        return round(exact)
    if mode is RoundMode.TRUNCATE:
        return math.floor(exact)
    if mode is RoundMode.SELF_STOCHASTIC:
        random_bits = min(random_bits, fraction_bits // 2)
        noise = x % (1 << random_bits)
    return (math.floor(exact * (1 << random_bits)) + noise) // (1 << random_bits)


FIXED_CASES = [
    *[(RoundMode.NEAREST_EVEN, 0), (RoundMode.TRUNCATE, 0)],
    *[(RoundMode.SELF_STOCHASTIC, bits) for bits in (1, 2, 8)],
    *[(RoundMode.STOCHASTIC, bits) for bits in (1, 2, 4, 6)],
]


@pytest.mark.parametrize(
    "target",
    [IntFormat(2), IntFormat(4), IntFormat(4, signed=False), IntFormat(8)],
    ids=name,
)
@pytest.mark.parametrize("mode, random_bits", FIXED_CASES, ids=str)
def test_fixed_point_is_exact_arithmetic(target, mode, random_bits):
    x = np.arange(-128, 128)
    for fraction_bits in (1, 2, 3, 4, 5, 9):
        for noise in range(1 << random_bits if mode is RoundMode.STOCHASTIC else 1):
            rounded = round_fixed(
                x, fraction_bits, target, mode, np.full(x.shape, noise), random_bits
            )
            exact = [
                fixed_reference(number, fraction_bits, mode, noise, random_bits)
                for number in x.tolist()
            ]
            expected = [min(max(number, target.least), target.greatest) for number in exact]
            found = rounded.values.tolist()
            where = f"{fraction_bits} fraction bits, noise {noise}"
            assert found == expected, where
            clipped = sum(a != b for a, b in zip(exact, expected, strict=True))
            assert rounded.saturations == clipped, where
            zeros = sum(a == 0 and b != 0 for a, b in zip(expected, x.tolist(), strict=True))
            assert rounded.underflows == zeros, where


@pytest.mark.parametrize("random_bits", [8, 24, 32])
def test_fixed_point_is_exact_for_48_bits(random_bits):
    rng = np.random.default_rng(9)
    x = rng.integers(-(1 << 47), 1 << 47, 3000)
    x[::3] &= ~((1 << 17) - 1)
    noise = rng.integers(0, 1 << random_bits, x.shape)
    noise[::2] = (1 << random_bits) - 1
    found = round_fixed(x, 17, IntFormat(32), RoundMode.STOCHASTIC, noise, random_bits).values
    for number, r, value in zip(x.tolist(), noise.tolist(), found.tolist(), strict=True):
        assert value == fixed_reference(number, 17, RoundMode.STOCHASTIC, r, random_bits), (
            f"{number} with noise {r}"
        )


def test_counts_of_a_float():
    x = np.array([0.0, -0.0, 1e-9, -1e-9, 2.0**-25, 65519.0, 65520.0, -1e9, np.inf, np.nan])
    rounded = round_float(x, FLOAT16)
    assert (rounded.saturations, rounded.underflows, rounded.nonfinite) == (2, 3, 2)
    expected = [0.0, -0.0, 0.0, -0.0, 0.0, 65504.0, np.inf, -np.inf, np.inf, np.nan]
    assert_same(x, rounded.values, np.array(expected))


def test_quantised_codes_are_those_of_the_numbers():
    codes, rounded = round_float_codes(
        [0x3F80_8000, 0x7F80_0001, 0xFF80_0000, 0x8000_0001],
        FLOAT32,
        BFLOAT16,
        RoundMode.NEAREST_EVEN,
    )
    assert codes.tolist() == [0x3F80, 0x7FC0, 0xFF80, 0x8000]
    assert (rounded.saturations, rounded.underflows, rounded.nonfinite) == (0, 1, 2)


def test_binade_is_the_power_of_two_below():
    x = np.array([0.0, -0.0, 1.0, 1.99, 2.0, -3.0, 0.75, 2.0**-1022, 1e300])
    expected = [0.0 if n == 0 else 2.0 ** (math.frexp(n)[1] - 1) for n in x]
    assert binade(x).tolist() == expected


@pytest.mark.parametrize("mode", [RoundMode.STOCHASTIC, RoundMode.SELF_STOCHASTIC], ids=name)
def test_bad_noise(mode):
    mode_name = mode.name.lower()
    with pytest.raises(
        InputError,
        match=rf"^Rounding mode {mode_name} needs random bits of shape \(3,\), not None$",
    ):
        round_to_integer(np.zeros(3), mode)
    with pytest.raises(
        InputError,
        match=rf"^Rounding mode {mode_name} needs random bits of shape \(3,\), not \(2,\)$",
    ):
        round_to_integer(np.zeros(3), mode, np.zeros(2, int), 8)


@pytest.mark.parametrize("fraction_bits", [0, -1])
def test_bad_count_of_discarded_bits(fraction_bits):
    message = rf"^Count of discarded bits must be at least 1, not {fraction_bits}$"
    with pytest.raises(InputError, match=message):
        round_fixed(np.zeros(3, int), fraction_bits, IntFormat(4), RoundMode.TRUNCATE)


@pytest.mark.parametrize(
    "source, target", [(BFLOAT16, FLOAT16), (FLOAT16, FLOAT16), (BFLOAT16, FLOAT32)], ids=name
)
def test_bad_target(source: FloatFormat, target: FloatFormat):
    message = (
        rf"^Target format must have fewer fraction bits than {source.name}, "
        rf"and {target.name} has not$"
    )
    with pytest.raises(InputError, match=message):
        round_float_codes([0], source, target, RoundMode.TRUNCATE)
