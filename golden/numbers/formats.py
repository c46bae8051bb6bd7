"""The number formats: integers, FP4 [1,3,0], wide floats and scales.

A format says which real numbers its codes stand for. It knows nothing about rounding; see
:mod:`nibblegrad.golden.cores.stochastic_rounder`, :mod:`nibblegrad.golden.cores.quantizer` and
:mod:`nibblegrad.golden.cores.fp4_quantizer`.
"""

# Ref: IEEE 754-2019 for binary16 and binary32; US11775257B2 for DLFloat16 (zero and the first
# binade); Sun et al., NeurIPS 2020, and Chmiel et al., arXiv 2112.10769, for FP4 [1,3,0].

import functools
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nibblegrad.golden.errors import InputError
from nibblegrad.golden.numbers.gradient_format import GradientFormat, register_format

__all__ = [
    "BFLOAT16",
    "DLFLOAT16",
    "FLOAT16",
    "FLOAT32",
    "WIDE_FORMATS",
    "FloatFormat",
    "Fp4Format",
    "IntFormat",
    "Scale",
]


@dataclass(frozen=True)
class IntFormat:
    """Integer code, two's complement when signed.

    Parameters
    ----------
    bits : int
        Width of a code, 2 to 32.
    signed : bool
        Whether codes are two's complement.
    """

    bits: int
    signed: bool = True

    def __post_init__(self) -> None:
        if not 2 <= self.bits <= 32:
            raise InputError(f"Integer width must be 2 to 32 bits, not {self.bits}")

    @property
    def name(self) -> str:
        """Name of the format, such as ``int4`` or ``uint4``."""
        return f"{'int' if self.signed else 'uint'}{self.bits}"

    @property
    def least(self) -> int:
        """Smallest number, ``-Q_N`` of the LSQ paper."""
        return -(1 << (self.bits - 1)) if self.signed else 0

    @property
    def greatest(self) -> int:
        """Largest number, ``Q_P`` of the LSQ paper."""
        return (1 << (self.bits - 1)) - 1 if self.signed else (1 << self.bits) - 1


@dataclass(frozen=True)
class Fp4Format(GradientFormat):
    """Mantissa-less four-bit float [1,3,0]: a sign and three exponent bits.

    Code ``{sign, E[2:0]}`` stands for 0 if ``E`` is 0, and for ``(-1)**sign * radix**(E - 1)``
    otherwise, in units of the scale of the tensor. A negative zero (code 8) reads as 0 and is
    never written.

    Parameters
    ----------
    log2_radix : int
        1 for radix 2 (magnitudes 1 to 64; LUQ) or 2 for radix 4 (1 to 4096; Sun et al.).
    """

    log2_radix: int

    def __post_init__(self) -> None:
        if self.log2_radix not in (1, 2):
            raise InputError(
                f"Logarithm of the FP4 radix must be 1 (radix 2) or 2 (radix 4), "
                f"not {self.log2_radix!r}"
            )

    @property
    def name(self) -> str:
        """Name of the format, such as ``fp4_radix2``."""
        return f"fp4_radix{1 << self.log2_radix}"

    @property
    def identifier(self) -> int:
        """The logarithm of the radix."""
        return self.log2_radix

    @property
    def is_stochastic(self) -> bool:
        """Whether gradients may be rounded by random bits: LUQ, which has radix 2."""
        return self.log2_radix == 1

    @property
    def phases(self) -> int:
        """How many codes a gradient gets: one of the even and one of the odd grid in radix 4."""
        return 1 if self.is_stochastic else 2

    @property
    def greatest(self) -> int:
        """Largest magnitude."""
        return 1 << (6 * self.log2_radix)

    @functools.cached_property
    def numbers(self) -> npt.NDArray[np.float32]:
        """The numbers that codes 0 to 15 stand for; float32 holds them exactly."""
        magnitudes = [0] + [1 << (self.log2_radix * (e - 1)) for e in range(1, 8)]
        return np.array(magnitudes + [-magnitude for magnitude in magnitudes], np.float32)


for _log2_radix in (1, 2):
    register_format(Fp4Format(_log2_radix))


@dataclass(frozen=True)
class FloatFormat:
    """Wide binary float: sign, exponent field, fraction field.

    Exponent field 0 holds zero and the subnormal numbers; the highest exponent field holds
    infinity (fraction 0) and NaN. Without ``subnormals``, exponent field 0 reads as zero and small
    results become zero. With ``ibm`` the first and last binades are ordinary numbers but for
    two codes: all zeros is zero and all ones is "infinity or NaN" (DLFloat, US11775257B2).

    Parameters
    ----------
    name : str
        Name used in configurations.
    exponent_bits, fraction_bits : int
        Widths of the fields.
    subnormals : bool
        Whether numbers below the smallest normal number exist.
    ibm : bool
        Whether the first and last binades are used for numbers.
    """

    name: str
    exponent_bits: int
    fraction_bits: int
    subnormals: bool = True
    ibm: bool = False

    @property
    def width(self) -> int:
        """Width of a code, in bits."""
        return 1 + self.exponent_bits + self.fraction_bits

    @property
    def bias(self) -> int:
        """Exponent bias."""
        return (1 << (self.exponent_bits - 1)) - 1

    @property
    def least_exponent(self) -> int:
        """Exponent of the smallest binade of normal numbers."""
        return (0 if self.ibm else 1) - self.bias

    @property
    def greatest_exponent(self) -> int:
        """Exponent of the largest binade."""
        return (1 << self.exponent_bits) - (1 if self.ibm else 2) - self.bias

    @functools.cached_property
    def greatest(self) -> float:
        """Largest finite number."""
        # With `ibm`, the all-ones code is not a number.
        steps = (2 << self.fraction_bits) - (2 if self.ibm else 1)
        return float(np.ldexp(float(steps), self.greatest_exponent - self.fraction_bits))

    def decode(self, codes: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Find the real numbers that codes stand for.

        Parameters
        ----------
        codes : array of non-negative integers, any shape
            Codes, each below ``2**width``.

        Returns
        -------
        array of float64, same shape
            Exact numbers; infinities and NaN for the codes that are no numbers.
        """
        word = np.asarray(codes, np.int64)
        fraction = word & ((1 << self.fraction_bits) - 1)
        field = (word >> self.fraction_bits) & ((1 << self.exponent_bits) - 1)
        sign = 1.0 - 2.0 * (word >> (self.width - 1))
        top = field == (1 << self.exponent_bits) - 1
        if self.ibm:
            tiny = (field == 0) & (fraction == 0)
            special = np.where(top & (fraction == (1 << self.fraction_bits) - 1), np.nan, 0.0)
        else:
            tiny = field == 0
            special = np.where(top, np.where(fraction == 0, np.inf, np.nan), 0.0)
        hidden = np.where(tiny, 0, 1 << self.fraction_bits)
        exponent = np.where(tiny & (not self.ibm), self.least_exponent, field - self.bias)
        significand = hidden + (fraction if self.subnormals or self.ibm else fraction * ~tiny)
        number = np.ldexp(significand.astype(np.float64), exponent - self.fraction_bits)
        return (sign * np.where(special == 0, number, special)).astype(np.float64, copy=False)

    def encode(self, numbers: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """Find the codes of numbers that the format holds exactly.

        Infinities and NaN are encoded as the format can: as themselves, or as the one code of
        ``ibm`` formats. NaN is quiet and positive.

        Parameters
        ----------
        numbers : array of float, any shape

        Returns
        -------
        array of int64, same shape

        Raises
        ------
        InputError
            If a number is not in the format.
        """
        x = np.asarray(numbers, np.float64)
        finite = np.isfinite(x)
        fraction_mask = (1 << self.fraction_bits) - 1
        top = ((1 << self.exponent_bits) - 1) << self.fraction_bits
        significand, exponent = np.frexp(np.where(finite, np.abs(x), 0.0))
        exponent = exponent - 1
        subnormal = exponent < self.least_exponent
        steps = np.ldexp(
            significand,
            np.where(subnormal, exponent - self.least_exponent, 0) + self.fraction_bits + 1,
        )
        integer = steps.astype(np.int64)
        field = np.where(subnormal, 0, exponent + self.bias)
        word = (field << self.fraction_bits) | (integer & fraction_mask)
        word = np.where(x == 0, 0, word)
        word = np.where(np.isinf(x), top | (fraction_mask if self.ibm else 0), word)
        quiet = fraction_mask if self.ibm else 1 << (self.fraction_bits - 1)
        word = np.where(np.isnan(x), top | quiet, word)
        sign = np.signbit(x) & ~np.isnan(x)
        if self.ibm:
            sign &= finite & (x != 0)
        word = word | (sign.astype(np.int64) << (self.width - 1))
        wrong = finite & (self.decode(word) != x)
        if wrong.any():
            raise InputError(
                f"Number {float(x[wrong].flat[0])!r} is not in format {self.name}; round it first"
            )
        return word


BFLOAT16 = FloatFormat("bfloat16", 8, 7)
FLOAT16 = FloatFormat("float16", 5, 10)
FLOAT32 = FloatFormat("float32", 8, 23)
#: IBM's training float [1,6,9]: no subnormals, infinity and NaN share one code.
DLFLOAT16 = FloatFormat("dlfloat16", 6, 9, subnormals=False, ibm=True)

#: Every wide format, by name.
WIDE_FORMATS = {fmt.name: fmt for fmt in (BFLOAT16, FLOAT16, FLOAT32, DLFLOAT16)}


@dataclass(frozen=True)
class Scale:
    """Positive number as the hardware holds it: ``significand * 2**exponent``.

    Parameters
    ----------
    significand : int or array of int
        16 bits, the top one set: 32768 to 65535.
    exponent : int or array of int
        -128 to 127.
    """

    significand: npt.NDArray[np.int64] | int
    exponent: npt.NDArray[np.int64] | int

    def __post_init__(self) -> None:
        significand, exponent = self.significand, self.exponent
        if (
            type(significand) is type(exponent) is int
            and 1 << 15 <= significand < 1 << 16
            and -128 <= exponent <= 127
        ):
            return  # several times as fast
        for what, value, least, greatest in (
            ("significand", self.significand, 1 << 15, (1 << 16) - 1),
            ("exponent", self.exponent, -128, 127),
        ):
            array = np.asarray(value)
            wrong = (array < least) | (array > greatest)
            if wrong.any():
                raise InputError(
                    f"Scale {what} must be {least} to {greatest}, not {array[wrong].flat[0]}"
                )

    @classmethod
    def from_float(cls, value: npt.ArrayLike) -> "Scale":
        """Round positive numbers to the nearest scales.

        Parameters
        ----------
        value : float or array of float
            Positive, about 2**-113 to 2**143.

        Raises
        ------
        InputError
            If a number is not positive and finite, or outside the range.
        """
        if isinstance(value, float) and 0 < value < math.inf:  # several times as fast
            part, power = math.frexp(value)
            rounded = round(part * 65536)
            return cls(32768, power - 15) if rounded == 65536 else cls(rounded, power - 16)
        array = np.asarray(value, np.float64)
        wrong = ~(np.isfinite(array) & (array > 0))
        if wrong.any():
            raise InputError(f"Scale must be a positive finite number, not {array[wrong].flat[0]}")
        fraction, exponent = np.frexp(array)
        significand = np.rint(fraction * 65536).astype(np.int64)
        carry = significand == 65536
        significand = np.where(carry, 32768, significand)
        exponent = exponent.astype(np.int64) - 16 + carry
        if array.ndim == 0:
            return cls(int(significand), int(exponent))
        return cls(significand, exponent)

    @functools.cached_property
    def value(self) -> npt.NDArray[np.float64] | np.float64:
        """The real number, exactly."""
        if isinstance(self.significand, int) and isinstance(self.exponent, int):
            return np.float64(math.ldexp(self.significand, self.exponent))
        return np.ldexp(np.asarray(self.significand, np.float64), self.exponent).astype(np.float64)

    def times_power_of_two(self, exponent: int) -> "Scale":
        """Multiply by ``2**exponent``, exactly."""
        return Scale(self.significand, self.exponent + exponent)
