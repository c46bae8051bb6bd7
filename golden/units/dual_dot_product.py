"""Golden model of the dot product by a multiplier and a shifter per lane, for the price list."""

import numpy as np
import numpy.typing as npt

from nibblegrad.golden.cores.shift_multiply_array import ShiftOperand
from nibblegrad.golden.numbers.formats import Fp4Format
from nibblegrad.golden.units import integer_dot_product, shift_dot_product

__all__ = ["total"]


def total(
    integers: npt.ArrayLike,
    codes: npt.ArrayLike,
    operand: ShiftOperand,
    fmt: Fp4Format,
    total_bits: int,
) -> int:
    """Sum up the products of integers and codes; see ``golden.units.shift_dot_product.total``."""
    if operand is ShiftOperand.INT4:
        numbers = (np.asarray(codes) ^ 8) - 8
        return integer_dot_product.total(integers, numbers, total_bits)
    return shift_dot_product.total(integers, codes, operand, fmt, total_bits)
