"""Dot products of short floats with a float sum, to the bit of the hardware.

Products are exact. Those of a vector are aligned to the largest exponent among them and truncated
towards zero, added up exactly, and added exactly to the sum, whose lowest bit has one of two
weights: it rises once, by ``2**WINDOW``, when a product too large for the lower weight comes.
"""

# Ref: Sun et al., "Hybrid 8-bit Floating Point (HFP8)", NeurIPS 2019, and US12217158B2 for
#      operands [1,4,3] and [1,5,2] in one multiplier; US11620105B2 for their codes
# Ref: IEEE 754-2019 for binary16

import enum
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nibblegrad.golden.errors import InputError
from nibblegrad.golden.numbers.formats import DLFLOAT16, FLOAT32, FloatFormat

__all__ = [
    "BIAS",
    "BINARY16_OPERANDS",
    "HYBRID_FP8",
    "WINDOW",
    "DotProductFormat",
    "Fp8",
    "decode_operands",
    "encode_sum",
    "float_dot_product",
]

#: Exponents that one weight of the sum's lowest bit serves, and how far it rises.
WINDOW = 32
#: Bias of operands inside the hardware.
BIAS = 15


class Fp8(enum.IntEnum):
    """Format of an operand of hybrid FP8. The value is the code in hardware."""

    FORWARD = 0  # [1,4,3]
    BACKWARD = 1  # [1,5,2]


@dataclass(frozen=True)
class DotProductFormat:
    """What the operands of a dot product are, and how precise its sum is.

    Parameters
    ----------
    name : str
        Name of the format.
    fraction_bits : int
        Fraction bits of the multiplier's operands: 3 for hybrid FP8, 10 for binary16. Exponents
        have five bits.
    kept_bits : int
        Bits kept of a product that has the largest exponent of its vector; of the others, those
        that are not below them. A product has ``2 * fraction_bits + 2`` bits.
    result : FloatFormat
        Format of the sum.
    forward_bias : int
        For hybrid FP8, the exponent bias of [1,4,3], 0 to 15.
    growth_bits : int
        A sum may have ``2**growth_bits`` vectors.
    """

    name: str
    fraction_bits: int
    kept_bits: int
    result: FloatFormat
    forward_bias: int = 11
    growth_bits: int = 8

    def __post_init__(self) -> None:
        if self.fraction_bits not in (3, 10):
            raise InputError(
                f"Operands must have 3 (hybrid FP8) or 10 (binary16) fraction bits, "
                f"not {self.fraction_bits}"
            )
        for what, value, least, greatest in (
            ("Count of kept bits", self.kept_bits, 10, 32),
            ("Bias of forward operands", self.forward_bias, 0, 15),
            ("Count of growth bits", self.growth_bits, 1, 16),
        ):
            if not least <= value <= greatest:
                raise InputError(f"{what} must be {least} to {greatest}, not {value}")
        if self.result not in (DLFLOAT16, FLOAT32):
            raise InputError(f"Result must be dlfloat16 or float32, not {self.result.name}")

    @property
    def hybrid(self) -> bool:
        """Whether operands are hybrid FP8."""
        return self.fraction_bits == 3

    @property
    def width(self) -> int:
        """Width of an operand."""
        return 8 if self.hybrid else 16

    @property
    def least_exponent(self) -> int:
        """Exponent of the sum's lowest bit, at the lower one of its weights."""
        return 2 - 2 * BIAS - self.kept_bits


#: [1,4,3] and [1,5,2]: products exact, six guard bits.
HYBRID_FP8 = DotProductFormat("hybrid_fp8", 3, 14, DLFLOAT16)
#: IEEE binary16, subnormal numbers included: products exact, two guard bits.
BINARY16_OPERANDS = DotProductFormat("float16", 10, 24, FLOAT32)


def decode_operands(
    fmt: DotProductFormat, codes: npt.ArrayLike, kind: Fp8 = Fp8.FORWARD
) -> tuple[npt.NDArray, npt.NDArray, npt.NDArray, npt.NDArray]:
    """Split codes into what the multiplier takes.

    Hybrid FP8 has no subnormal numbers: exponent field 0 is an ordinary binade, but for the
    fraction 0, which is zero; the code of all ones is no number, nor is its negative. Binary16 is
    as in IEEE 754.

    Parameters
    ----------
    fmt : DotProductFormat
    codes : array of non-negative integers, any shape
    kind : Fp8
        For hybrid FP8, what the codes are.

    Returns
    -------
    sign, significand, exponent, nonfinite : arrays of int64, same shape
        The number is ``(-1)**sign * significand * 2**(exponent - BIAS - fmt.fraction_bits)``.
    """
    word = np.asarray(codes, np.int64)
    sign = word >> (fmt.width - 1)
    if not fmt.hybrid:
        fraction, field = word & 1023, word >> 10 & 31
        significand = np.where(field > 0, 1024 + fraction, fraction)
        return sign, significand, np.maximum(field, 1), (field == 31).astype(np.int64)
    rest = word & 127
    if kind is Fp8.FORWARD:
        fraction, exponent = rest & 7, (rest >> 3) + BIAS - fmt.forward_bias
    else:
        fraction, exponent = (rest & 3) << 1, rest >> 2
    return sign, np.where(rest == 0, 0, 8 + fraction), exponent, (rest == 127).astype(np.int64)


def float_dot_product(
    fmt: DotProductFormat,
    a: npt.ArrayLike,
    b: npt.ArrayLike,
    a_kind: Fp8 = Fp8.FORWARD,
    b_kind: Fp8 = Fp8.FORWARD,
) -> int:
    """Multiply and add up.

    Parameters
    ----------
    fmt : DotProductFormat
    a, b : arrays of non-negative integers, shape (vectors, lanes)
        Codes.
    a_kind, b_kind : Fp8
        For hybrid FP8, what they are.

    Returns
    -------
    int
        Code of the sum in ``fmt.result``.

    Raises
    ------
    InputError
        If the shapes differ, or the sum has more vectors than the accumulator allows.
    """
    a, b = np.asarray(a, np.int64), np.asarray(b, np.int64)
    if a.ndim != 2 or a.shape != b.shape or 0 in a.shape:
        raise InputError(
            f"Operands must have one shape (vectors, lanes), not {a.shape} and {b.shape}"
        )
    if len(a) > 1 << fmt.growth_bits:
        raise InputError(
            f"A sum may have {1 << fmt.growth_bits} vectors, not {len(a)}; "
            "make growth_bits larger or the sum shorter"
        )
    a_sign, a_significand, a_exponent, a_bad = decode_operands(fmt, a, a_kind)
    b_sign, b_significand, b_exponent, b_bad = decode_operands(fmt, b, b_kind)
    product = a_significand * b_significand
    # A zero must not set the exponent that others are aligned to.
    exponent = np.where(product == 0, 0, a_exponent + b_exponent)
    largest = exponent.max(axis=1)
    below = fmt.kept_bits - 2 * fmt.fraction_bits - 2  # guard bits
    shift = np.minimum(largest[:, None] - exponent - below, 63)
    aligned = np.where(shift > 0, product >> np.maximum(shift, 0), product << np.maximum(-shift, 0))
    terms = np.where(a_sign ^ b_sign, -aligned, aligned).sum(axis=1)

    upper, total = 0, 0
    for term, high in zip(terms.tolist(), largest.tolist(), strict=True):
        window, fine = divmod(high, WINDOW)
        if window > upper:
            # Kept beside the sum, at the new weight of its lowest bit.
            upper, total = 1, total >> WINDOW
        total += term << fine >> (WINDOW * (upper - window))
    if a_bad.any() or b_bad.any():
        return int(fmt.result.encode(np.nan))
    return encode_sum(fmt, total, upper)


def encode_sum(fmt: DotProductFormat, total: int, upper: int) -> int:
    """Round a sum towards zero to the result's format.

    Parameters
    ----------
    fmt : DotProductFormat
    total : int
        Sum, in units of its lowest bit.
    upper : int
        1 at the upper weight of that bit, 0 at the lower one.

    Returns
    -------
    int
        Code. Too large a sum becomes infinity, as the format writes it; too small a one 0.
    """
    result = fmt.result
    magnitude = abs(total)
    length = magnitude.bit_length()
    field = length - 1 + fmt.least_exponent + WINDOW * upper + result.bias
    dropped = length - 1 - result.fraction_bits
    significand = magnitude >> dropped if dropped > 0 else magnitude << -dropped
    fraction = significand & ((1 << result.fraction_bits) - 1)
    highest = (1 << result.exponent_bits) - 1
    special = int(result.encode(np.inf))
    if magnitude == 0 or field < 0:
        return 0
    if field > highest or (field == highest and not result.ibm):
        return special
    code = field << result.fraction_bits | fraction
    if code in (0, special):  # of DLFloat16, which has no signs for zero and infinity
        return code
    return code | int(total < 0) << (result.width - 1)
