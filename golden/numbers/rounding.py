"""The rounding modes, and the only functions that lose information.

They work on arrays that hold the number to be rounded exactly: :func:`round_to_integer` in units of
the last kept bit, :func:`round_significand` as it is. The hardware keeps the same number in binary;
``R`` below is ``random_bits``.

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

# Ref: T. J. Dekker, "A floating-point technique for extending the available precision", Numerische
#      Mathematik 18, 1971 (Veltkamp's splitting)

import enum
import math

import numpy as np
import numpy.typing as npt

from nibblegrad.golden.errors import InputError

__all__ = [
    "RoundMode",
    "binade",
    "check_noise",
    "magnitude_bound",
    "round_significand",
    "round_to_integer",
]


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


def magnitude_bound(x: npt.NDArray) -> float:
    """Find a number that no magnitude in ``x`` exceeds, but for the last places.

    The root of the sum of squares, because BLAS takes it several times as fast as NumPy finds an
    extreme. Infinite or NaN if a number is, or if a square overflows; one that underflows is 0.
    """
    return math.sqrt(np.vdot(x, x))


def round_significand(x: npt.NDArray[np.floating], fraction_bits: int) -> npt.NDArray[np.floating]:
    """Round to the nearest numbers with so many fraction bits and any exponent; ties to even.

    This is Veltkamp's splitting. It gives a nearest number. A tie ``P`` is odd in units of the
    dropped bit; there ``factor * x`` is ``P * 2**dropped + P``, one bit too long, and is rounded to
    a multiple of 4, which is the even neighbour of ``P``; the rest only removes ``P * 2**dropped``.

    Parameters
    ----------
    x : array of float64 or float32, any shape
        ``x * 2**dropped`` neither overflows nor is subnormal; ``dropped`` is what ``fraction_bits``
        leaves of the 52 or 23 bits, at least 2.
    fraction_bits : int
        Count of fraction bits to keep.

    Returns
    -------
    array, same shape and type
        A zero keeps its sign.
    """
    dropped = (52 if x.dtype == np.float64 else 23) - fraction_bits
    large = x * (2.0**dropped + 1.0)
    rest = large - x
    large -= rest
    return large


def check_noise(
    mode: enum.Enum, x: npt.NDArray, noise: npt.NDArray[np.integer] | None
) -> npt.NDArray[np.integer]:
    """Return random bits, or refuse missing ones and those of another shape."""
    if noise is None or noise.shape != x.shape:
        raise InputError(
            f"Rounding mode {mode.name.lower()} needs random bits of shape {x.shape}, "
            f"not {None if noise is None else noise.shape}"
        )
    return noise


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
    noise = check_noise(mode, x, noise)
    one = float(1 << random_bits)
    whole = np.floor(x)
    total = x - whole
    total *= one
    np.floor(total, out=total)
    total += noise
    whole += total >= one
    return whole
