"""Golden model of the dot product of integers and shift operands, for the price list."""

# Ref: US12443841B2, claim 1

import numpy as np
import numpy.typing as npt

from nibblegrad.golden.cores.shift_multiply_array import ShiftOperand, matmul
from nibblegrad.golden.numbers.formats import Fp4Format, IntFormat
from nibblegrad.golden.units.integer_dot_product import wrap

__all__ = ["total"]


def total(
    integers: npt.ArrayLike,
    codes: npt.ArrayLike,
    operand: ShiftOperand,
    fmt: Fp4Format,
    total_bits: int,
) -> int:
    """Sum up the products of integers and shift operands.

    Parameters
    ----------
    integers : array of int, (vectors, lanes)
        Signed integers.
    codes : array of int, (vectors, lanes)
        Codes 0 to 15: FP4, or INT4 in two's complement.
    operand : ShiftOperand
        What the codes are.
    fmt : Fp4Format
        Radix of FP4 codes.
    total_bits : int
        Width of the sum, which wraps.

    Returns
    -------
    int
        Sum over all vectors and lanes, signed.
    """
    codes = np.asarray(codes)
    if operand is ShiftOperand.INT4:
        codes = (codes ^ 8) - 8
    sums = matmul(np.reshape(integers, (1, -1)), codes.reshape(1, -1), operand, fmt)
    return wrap(int(sums[0, 0]), IntFormat(total_bits))
