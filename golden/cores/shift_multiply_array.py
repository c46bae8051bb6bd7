"""Dot products without a multiplier: integers times FP4 codes, or times signed digits."""

# Ref: US12443841B2, claim 1
# Ref: A. D. Booth, 1951, and O. L. MacSorley, 1961, for the recoding to digits -2 to 2

import enum

import numpy as np
import numpy.typing as npt

from nibblegrad.golden.cores.stochastic_rounder import Rounded, round_fixed
from nibblegrad.golden.errors import InputError
from nibblegrad.golden.numbers.arguments import take_format, take_member
from nibblegrad.golden.numbers.formats import IntFormat
from nibblegrad.golden.numbers.gradient_format import GradientFormat
from nibblegrad.golden.numbers.rounding import RoundMode

__all__ = [
    "INT4",
    "ShiftOperand",
    "accumulator_bits",
    "matmul",
    "round_accumulators",
    "signed_digits",
    "term_bounds",
]

INT4 = IntFormat(4)


class ShiftOperand(enum.IntEnum):
    """What the four-bit codes in the shift position stand for. The value is the code in hardware.

    FP4 codes take one pass of the lanes. INT4 codes take two: digit 0, then digit 1.
    """

    FP4 = 0
    INT4 = 1


def signed_digits(w: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Split INT4 numbers into two digits, ``w = digit[0] + 4 * digit[1]``.

    Each digit is -2, -1, 0, 1 or 2, so each digit times its weight is zero or a power of two with
    a sign: one pass of a shifter.

    Parameters
    ----------
    w : array of int, any shape
        Numbers -8 to 7.

    Returns
    -------
    array of int64, shape (2, ...)
    """
    w = np.asarray(w, np.int64)
    low = ((w + 2) & 3) - 2  # the residue of w modulo 4 in -2 to 1
    return np.stack([low, (w - low) >> 2])


def term_bounds(integer_bits: int, fmt: GradientFormat) -> tuple[int, int]:
    """Find the least and the greatest product of one lane over all its passes.

    Parameters
    ----------
    integer_bits : int
        Width of the signed integer operand.
    fmt : GradientFormat
        Format of the shift operand; its products are the largest.
    """
    reach = 1 << (integer_bits - 1)
    return -reach * fmt.greatest, reach * fmt.greatest


def accumulator_bits(terms: int, integer_bits: int, fmt: GradientFormat) -> int:
    """Find the width of a signed accumulator that ``terms`` products cannot overflow."""
    least, greatest = term_bounds(integer_bits, fmt)
    return max((-terms * least - 1).bit_length(), (terms * greatest).bit_length()) + 1


def matmul(
    integers: npt.ArrayLike,
    codes: npt.ArrayLike,
    operand: ShiftOperand | str,
    fmt: GradientFormat | str,
) -> npt.NDArray[np.float64]:
    """Multiply a matrix of integers by the transpose of a matrix of shift operands, exactly.

    Parameters
    ----------
    integers : array of int, shape (rows, terms)
        Integer operand.
    codes : array of int, shape (columns, terms)
        FP4 codes 0 to 15, or INT4 numbers -8 to 7.
    operand : ShiftOperand or str
        What ``codes`` are, or its name.
    fmt : GradientFormat or str
        Format of FP4 codes, or its name.

    Returns
    -------
    array of float64 holding integers, shape (rows, columns)
        Accumulators. Sums below 2**53 are exact in float64, whatever their order; below 2**24
        float32 is enough, and used. They lie in memory as the integers do, by rows or by columns.

    Raises
    ------
    InputError
        If the inner dimensions differ or are zero.
    """
    operand = take_member("Shift operand", operand, ShiftOperand)
    # An abstract class is as good as another for `isinstance`, all that is done with it.
    fmt = take_format("Format of codes", fmt, GradientFormat)  # type: ignore[type-abstract]
    a = np.asarray(integers)
    b = np.asarray(codes)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or 0 in a.shape + b.shape:
        raise InputError(
            f"Operands must have shapes (rows, terms) and (columns, terms) with the same terms, "
            f"not {a.shape} and {b.shape}"
        )
    if operand is ShiftOperand.FP4:
        factors, largest = fmt.numbers.take(b), fmt.greatest
    else:
        factors, largest = b, 8
    # Without looking at bytes, where that is enough for float32.
    reach = a.shape[1] * largest * 256
    if a.itemsize > 1 or reach >= 2**24:
        reach = a.shape[1] * largest * (max(int(a.max()), -int(a.min())) + 1)
    assert reach < 2**53, "sums are not exact in float64"
    dtype = np.float32 if reach < 2**24 else np.float64
    factors = factors.astype(dtype, copy=False)
    by_columns = a.flags.f_contiguous and not a.flags.c_contiguous
    sums = np.matmul(a.astype(dtype), factors.T, order="F" if by_columns else "C")
    return sums.astype(np.float64, copy=False)


def round_accumulators(
    accumulators: npt.NDArray,
    shift: int,
    target: IntFormat | str,
    mode: RoundMode | str,
    noise: npt.NDArray[np.integer] | None = None,
    random_bits: int = 8,
) -> Rounded:
    """Round accumulators as the array's rounder does: divide by ``2**shift`` and clip.

    Parameters
    ----------
    accumulators : array holding integers, any shape
        Sums of products.
    shift : int
        Count of bits to discard, 0 or more.
    target : IntFormat or str
        Format of the result, or its name.
    mode, noise, random_bits :
        As in :func:`nibblegrad.golden.cores.stochastic_rounder.round_fixed`. SELF_STOCHASTIC is
        refused: small exact integers have no bits to spare as noise (methods of US10684824B2 apply
        to floats).
    """
    if shift < 0:
        raise InputError(f"Shift of the rounder must be 0 or more, not {shift}")
    mode = take_member("Rounding mode", mode, RoundMode)
    if mode is RoundMode.SELF_STOCHASTIC:
        raise InputError("Exact integer sums have no low bits to use as noise; choose another mode")
    integers = np.asarray(accumulators).astype(np.int64)
    # One more bit is discarded, a zero, so that a shift of 0 is not a special case.
    return round_fixed(integers << 1, shift + 1, target, mode, noise, random_bits)
