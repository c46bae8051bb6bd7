"""The number formats against ml_dtypes, NumPy, gfloat and tables worked by hand."""

import re
from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest
from gfloat import Domain, FormatInfo, decode_ndarray

from nibblegrad.golden.errors import InputError
from nibblegrad.golden.numbers.formats import (
    BFLOAT16,
    DLFLOAT16,
    FLOAT16,
    FLOAT32,
    WIDE_FORMATS,
    FloatFormat,
    Fp4Format,
    IntFormat,
    Scale,
)

# The code of the quiet NaN that each format writes.
QUIET_NAN = {BFLOAT16: 0x7FC0, FLOAT16: 0x7E00, FLOAT32: 0x7FC0_0000, DLFLOAT16: 0x7FFF}


def some_codes(fmt):
    """All codes of 16 bits; of 32 bits, every exponent with edge fractions and random codes."""
    if fmt.width == 16:
        return np.arange(1 << 16)
    edges = [0, 1, 2, 0x2AAAAA, 0x3FFFFF, 0x400000, 0x400001, 0x555555, 0x7FFFFE, 0x7FFFFF]
    upper = np.arange(1 << 9)[:, None] << 23
    random = np.random.default_rng(1).integers(0, 1 << 32, 1_000_000)
    return np.concatenate([(upper | np.array(edges)).ravel(), random])


def assert_same(codes, ours, theirs):
    """Compare numbers bit by bit, with every NaN alike."""
    ours = np.where(np.isnan(ours), np.nan, ours)
    theirs = np.where(np.isnan(theirs), np.nan, theirs)
    wrong = ours.view(np.int64) != theirs.view(np.int64)
    assert not wrong.any(), f"code {codes[wrong][0]:#x}: {ours[wrong][0]} != {theirs[wrong][0]}"


@pytest.mark.parametrize(
    "fmt, dtype",
    [(BFLOAT16, ml_dtypes.bfloat16), (FLOAT16, np.float16), (FLOAT32, np.float32)],
    ids=lambda value: getattr(value, "name", None),
)
def test_ieee_formats_decode_as_independent_types(fmt, dtype):
    codes = some_codes(fmt)
    theirs = codes.astype(np.uint16 if fmt.width == 16 else np.uint32).view(dtype)
    with np.errstate(invalid="ignore"):  # signalling NaNs become quiet
        assert_same(codes, fmt.decode(codes), theirs.astype(np.float64))


@pytest.mark.parametrize("fmt", WIDE_FORMATS.values(), ids=WIDE_FORMATS)
def test_encode_inverts_decode(fmt):
    codes = some_codes(fmt)
    numbers = fmt.decode(codes)
    expected = np.where(np.isnan(numbers), QUIET_NAN[fmt], codes)
    if fmt is DLFLOAT16:
        expected[codes == 0x8000] = 0  # the sign of zero does not matter; it is written as plus
    found = fmt.encode(numbers)
    wrong = found != expected
    assert not wrong.any(), f"{codes[wrong][0]:#x} became {found[wrong][0]:#x}"


@pytest.mark.parametrize(
    "fmt, least, greatest, smallest",
    [
        (BFLOAT16, -126, (2 - 2.0**-7) * 2.0**127, 2.0**-133),
        (FLOAT16, -14, 65504.0, 2.0**-24),
        (FLOAT32, -126, (2 - 2.0**-23) * 2.0**127, 2.0**-149),
        (DLFLOAT16, -31, (2 - 2.0**-8) * 2.0**32, (1 + 2.0**-9) * 2.0**-31),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_ends_of_a_format_are_those_of_its_codes(fmt, least, greatest, smallest):
    numbers = fmt.decode(some_codes(fmt))
    numbers = numbers[np.isfinite(numbers) & (numbers > 0)]
    assert fmt.least_exponent == least
    assert fmt.greatest == numbers.max() == greatest
    assert numbers.min() == smallest


@pytest.mark.parametrize(
    "code, number",
    [
        # Sign, exponent field minus 31, 1 + fraction / 512; no binade is special.
        (0x3E00, 1.0),
        (0xBE00, -1.0),
        (0x3F00, 1.5),
        (0x3E01, 1 + 1 / 512),
        (0x4000, 2.0),
        (0x3C00, 0.5),
        (0x0200, 2.0**-30),
        # First binade: all zeros is zero, whatever the sign; the rest are ordinary numbers.
        (0x0000, 0.0),
        (0x8000, 0.0),
        (0x0001, 2.0**-31 * (1 + 1 / 512)),
        (0x0100, 2.0**-31 * 1.5),
        (0x01FF, 2.0**-31 * (1 + 511 / 512)),
        (0x8001, -(2.0**-31) * (1 + 1 / 512)),
        # Last binade: only all ones is not a number.
        (0x7E00, 2.0**32),
        (0x7FFE, 2.0**32 * (1 + 510 / 512)),
        (0xFFFE, -(2.0**32) * (1 + 510 / 512)),
    ],
)
def test_dlfloat16_table(code, number):
    assert DLFLOAT16.decode(code) == number
    if code != 0x8000:
        assert DLFLOAT16.encode(number) == code


def test_dlfloat16_keeps_one_code_for_everything_that_is_no_number():
    assert np.isnan(DLFLOAT16.decode([0x7FFF, 0xFFFF])).all()
    assert (DLFLOAT16.encode([np.nan, np.inf, -np.inf]) == 0x7FFF).all()


def test_dlfloat16_holds_its_numbers_once():
    numbers = DLFLOAT16.decode(np.arange(1 << 16))
    numbers = numbers[~np.isnan(numbers)]
    assert len(numbers) == (1 << 16) - 2
    assert len(np.unique(numbers)) == (1 << 16) - 3  # two zeros


@pytest.mark.parametrize(
    "fmt, number",
    [
        (BFLOAT16, 1.00390625),  # one bit too fine
        (BFLOAT16, 2.0**128),
        (BFLOAT16, 2.0**-134),
        (BFLOAT16, 1e-300),
        (FLOAT16, -65520.0),
        (FLOAT32, 0.1),
        (FLOAT32, 2.0**200),
        (DLFLOAT16, 2.0**-31),  # its code is zero
        (DLFLOAT16, 2.0**-32),
        (DLFLOAT16, 2.0**32 * (1 + 511 / 512)),  # its code is no number
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_bad_number(fmt, number):
    message = rf"^Number {re.escape(repr(number))} is not in format {fmt.name}; round it first$"
    with pytest.raises(InputError, match=message):
        fmt.encode([0.0, number])


@pytest.mark.parametrize(
    "log2_radix, magnitudes",
    [(1, [0, 1, 2, 4, 8, 16, 32, 64]), (2, [0, 1, 4, 16, 64, 256, 1024, 4096])],
)
def test_fp4_table(log2_radix, magnitudes):
    fmt = Fp4Format(log2_radix)
    expected = magnitudes + [-magnitude for magnitude in magnitudes]
    assert fmt.decode(np.arange(16)).tolist() == expected
    assert fmt.greatest == magnitudes[-1]
    assert fmt.name == f"fp4_radix{2 * log2_radix}"


def test_fp4_radix_2_is_gfloats_e3m0():
    e3m0 = FormatInfo(
        "e3m0",
        4,
        1,
        bias=1,
        is_signed=True,
        domain=Domain.Finite,
        has_nz=True,
        num_high_nans=0,
        has_subnormals=True,
        is_twos_complement=False,
    )
    codes = np.arange(16)
    assert Fp4Format(1).decode(codes).tolist() == decode_ndarray(e3m0, codes).tolist()


@pytest.mark.parametrize("log2_radix", [0, 3, 1.5, "2"])
def test_bad_radix(log2_radix):
    message = (
        r"^Logarithm of the FP4 radix must be 1 \(radix 2\) or 2 \(radix 4\), "
        rf"not {re.escape(repr(log2_radix))}$"
    )
    with pytest.raises(InputError, match=message):
        Fp4Format(log2_radix)


@pytest.mark.parametrize("bits", range(2, 33))
def test_integer_ends_are_those_of_twos_complement(bits):
    signed, unsigned = IntFormat(bits), IntFormat(bits, signed=False)
    codes = [0, (1 << bits) - 1, 1 << (bits - 1), (1 << (bits - 1)) - 1]
    numbers = [code - ((code >> (bits - 1)) << bits) for code in codes]
    assert (signed.least, signed.greatest) == (min(numbers), max(numbers))
    assert (unsigned.least, unsigned.greatest) == (min(codes), max(codes))
    assert (signed.name, unsigned.name) == (f"int{bits}", f"uint{bits}")


@pytest.mark.parametrize("bits", [-1, 0, 1, 33])
def test_bad_width(bits):
    with pytest.raises(InputError, match=rf"^Integer width must be 2 to 32 bits, not {bits}$"):
        IntFormat(bits)


def nearest_scale(value):
    """Round a positive Fraction to (significand, exponent), ties to even, in integers only."""
    exponent = 0
    while value >= 1 << 16:
        value, exponent = value / 2, exponent + 1
    while value < 1 << 15:
        value, exponent = value * 2, exponent - 1
    significand = round(value)  # of a Fraction: to the nearest, ties to even
    return (1 << 15, exponent + 1) if significand == 1 << 16 else (significand, exponent)


def test_scale_is_the_nearest():
    rng = np.random.default_rng(2)
    values = np.ldexp(rng.uniform(1, 2, 2000), rng.integers(-113, 143, 2000))
    ties = np.ldexp(rng.integers(1 << 15, 1 << 16, 200) + 0.5, rng.integers(-100, 100, 200))
    edges = [1.0, 0.75, 1 / 3, 65535.0, 65535.49, 65535.5, 65536.0, 2.0**-113, 65535 * 2.0**127]
    for value in [*values, *ties, *edges]:
        scale = Scale.from_float(value)
        expected = nearest_scale(Fraction(value))
        assert (scale.significand, scale.exponent) == expected, f"scale of {value!r}"
        assert Fraction(float(scale.value)) == expected[0] * Fraction(2) ** expected[1]


def test_scales_of_an_array_are_those_of_its_elements():
    values = np.array([0.1, 3.0, 65535.75, 1e-20, 7e30])
    scales = Scale.from_float(values)
    each = [Scale.from_float(value) for value in values]
    assert scales.significand.tolist() == [scale.significand for scale in each]
    assert scales.exponent.tolist() == [scale.exponent for scale in each]
    assert scales.value.tolist() == [float(scale.value) for scale in each]


def test_times_power_of_two_moves_only_the_exponent():
    assert Scale(40000, -20).times_power_of_two(7) == Scale(40000, -13)
    assert Scale(40000, -20).times_power_of_two(-108) == Scale(40000, -128)
    with pytest.raises(InputError, match=r"^Scale exponent must be -128 to 127, not -129$"):
        Scale(40000, -20).times_power_of_two(-109)


@pytest.mark.parametrize("significand", [0, -1, 32767, 65536])
def test_bad_significand(significand):
    message = rf"^Scale significand must be 32768 to 65535, not {significand}$"
    with pytest.raises(InputError, match=message):
        Scale(significand, 0)
    with pytest.raises(InputError, match=message):
        Scale(np.array([40000, significand]), np.array([0, 0]))


@pytest.mark.parametrize(
    "value, exponent",
    [(65535.5 * 2.0**127, 128), (2.0**143, 128), (65535.49 * 2.0**-129, -129), (1e-300, -1012)],
)
def test_bad_scale_range(value, exponent):
    with pytest.raises(InputError, match=rf"^Scale exponent must be -128 to 127, not {exponent}$"):
        Scale.from_float(value)


@pytest.mark.parametrize("value", [0.0, -1.0, np.inf, -np.inf, np.nan])
def test_bad_scale_value(value):
    message = rf"^Scale must be a positive finite number, not {value}$"
    with pytest.raises(InputError, match=message):
        Scale.from_float(value)
    with pytest.raises(InputError, match=message):
        Scale.from_float([1.0, value])


def test_catalogue_is_keyed_by_name():
    assert set(WIDE_FORMATS) == {"bfloat16", "float16", "float32", "dlfloat16"}
    assert all(isinstance(fmt, FloatFormat) for fmt in WIDE_FORMATS.values())
    assert all(name == fmt.name for name, fmt in WIDE_FORMATS.items())
    widths = {name: fmt.width for name, fmt in WIDE_FORMATS.items()}
    assert widths == {"bfloat16": 16, "float16": 16, "float32": 32, "dlfloat16": 16}
