"""The rounding modes, and the only functions that lose information.

All of them work on ``float64`` arrays that hold the number to be rounded exactly, in units of the
last kept bit. The hardware keeps the same number in binary; ``R`` below is ``random_bits``.

stochastic
    US10684824B2 and US11169778B2 describe the adder; the form with explicit random bits is the
    "fastest" of gfloat 0.5.2: ``floor(x * 2**R) + r``, keep the carry. It rounds up with the
    probability of the discarded fraction cut to R bits, so its bias is 0 when at most R bits are
    discarded, and otherwise between 0 and ``-2**-R`` units of the last place.
self_stochastic
    US10684824B2, claim 1: the rounding value is taken from low-order bits of the number itself.
    Deterministic. Takes at most half of the discarded bits, so that the bits used as noise are
    not the ones that decide.
"""

import enum

import numpy as np
import numpy.typing as npt

from .errors import InputError

__all__ = ["RoundMode", "binade", "round_to_integer"]


class RoundMode(enum.IntEnum):
    """How discarded bits decide on the last kept bit. The value is the code in hardware."""

    #: To the nearest; a tie goes to the even neighbour.
    NEAREST_EVEN = 0
    #: Up with the probability of the discarded fraction, by explicit random bits.
    STOCHASTIC = 1
    #: As stochastic, with the low bits of the number itself as the random bits.
    SELF_STOCHASTIC = 2
    #: Discarded bits are dropped: toward minus infinity for two's complement integers, toward
    #: zero for the magnitude of a float.
    TRUNCATE = 3


def binade(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Find ``2**floor(log2(abs(x)))``, or 0 for 0.

    Parameters
    ----------
    x : array of float64, any shape
        Finite; not subnormal in float64.

    Returns
    -------
    array of float64, same shape
    """
    exponent_field = np.ascontiguousarray(x, np.float64).view(np.int64) & 0x7FF0_0000_0000_0000
    return exponent_field.view(np.float64)


def round_to_integer(
    x: npt.NDArray[np.float64],
    mode: RoundMode,
    noise: npt.NDArray[np.integer] | None = None,
    random_bits: int = 0,
) -> npt.NDArray[np.float64]:
    """Round to integers.

    Parameters
    ----------
    x : array of float64, any shape
        Exact numbers, in units of the last kept bit; magnitudes below ``2**52``. Negative ones
        for the two stochastic modes are multiples of ``2**-52``.
    mode : RoundMode
        Rounding mode.
    noise : array of integers, same shape
        For the two stochastic modes: the random bits, 0 to ``2**random_bits - 1``.
    random_bits : int
        Count of random bits, at most 32.

    Returns
    -------
    array of float64, same shape
        Integers.

    Raises
    ------
    InputError
        If a stochastic mode comes without noise, or with noise of another shape.
    """
    if mode is RoundMode.NEAREST_EVEN:
        return np.rint(x)
    if mode is RoundMode.TRUNCATE:
        return np.floor(x)
    if noise is None or np.shape(noise) != np.shape(x):
        raise InputError(
            f"Rounding mode {mode.name.lower()} needs random bits of shape {np.shape(x)}, "
            f"not {None if noise is None else np.shape(noise)}"
        )
    one = float(1 << random_bits)
    whole = np.floor(x)
    total = x - whole
    total *= one
    np.floor(total, out=total)
    total += noise
    whole += total >= one
    return whole
