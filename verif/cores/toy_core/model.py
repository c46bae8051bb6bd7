"""Golden model of the toy core: a constant is added, and the sum clipped."""

import numpy as np

__all__ = ["add_and_clip"]


def add_and_clip(numbers, addend, bits):
    """Add a constant to numbers, and clip to two's complement.

    Parameters
    ----------
    numbers : array of int
        Numbers of ``bits`` bits.
    addend : int
        Likewise.
    bits : int
        Width.

    Returns
    -------
    array of int
        The clipped sums.
    int
        How many were clipped.
    """
    sums = np.asarray(numbers) + addend
    clipped = np.clip(sums, -(1 << (bits - 1)), (1 << (bits - 1)) - 1)
    return clipped, int(np.count_nonzero(clipped != sums))
