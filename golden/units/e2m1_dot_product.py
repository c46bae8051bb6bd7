"""Dot products of four-bit floats E2M1, exactly."""

# Ref: OCP Microscaling Formats (MX) v1.0, section 5.3.3

import numpy as np
import numpy.typing as npt

from nibblegrad.golden.errors import InputError

__all__ = ["HALVES", "e2m1_dot_product"]

#: The numbers that codes 0 to 15 stand for, in halves.
HALVES = np.array([0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12])


def e2m1_dot_product(a: npt.ArrayLike, b: npt.ArrayLike, accumulator_bits: int = 24) -> int:
    """Multiply and add up.

    Parameters
    ----------
    a, b : arrays of integers 0 to 15, one shape
        Codes.
    accumulator_bits : int
        Width of the sum, which wraps around.

    Returns
    -------
    int
        Sum in quarters.

    Raises
    ------
    InputError
        If the shapes differ.
    """
    a, b = np.asarray(a), np.asarray(b)
    if a.shape != b.shape:
        raise InputError(f"Operands must have one shape, not {a.shape} and {b.shape}")
    half = 1 << (accumulator_bits - 1)
    return (int(np.sum(HALVES[a] * HALVES[b])) + half) % (2 * half) - half
