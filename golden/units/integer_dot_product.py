"""Golden model of the dot product of integers, for the price list."""

import numpy as np
import numpy.typing as npt

from nibblegrad.golden.numbers.formats import IntFormat

__all__ = ["total", "wrap"]


def wrap(value: int, fmt: IntFormat) -> int:
    """Take the lowest bits of a number, as two's complement of a format."""
    return (value - fmt.least) % (1 << fmt.bits) + fmt.least


def total(a: npt.ArrayLike, b: npt.ArrayLike, total_bits: int) -> int:
    """Sum up the products of two arrays of integers.

    Parameters
    ----------
    a, b : array of int, (vectors, lanes)
        Signed integers, at most 16 bits each.
    total_bits : int
        Width of the sum, which wraps.

    Returns
    -------
    int
        Sum over all vectors and lanes, signed.
    """
    products = np.asarray(a, np.int64) * np.asarray(b, np.int64)
    return wrap(int(products.sum()), IntFormat(total_bits))
