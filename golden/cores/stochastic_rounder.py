"""Stochastic rounder: fixed point to integers, and wide floats to narrower ones."""

# Ref: US10684824B2 (self-stochastic rounding); see nibblegrad.golden.numbers.rounding for the modes

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nibblegrad.golden.errors import InputError
from nibblegrad.golden.numbers.arguments import take_format, take_member
from nibblegrad.golden.numbers.formats import FloatFormat, IntFormat
from nibblegrad.golden.numbers.rounding import (
    RoundMode,
    binade,
    magnitude_bound,
    round_significand,
    round_to_integer,
)

__all__ = ["Rounded", "round_fixed", "round_float", "round_float_codes", "self_bits"]


@dataclass
class Rounded:
    """Rounded numbers, and what was lost.

    Attributes
    ----------
    values : array of float64 or float32
        Numbers in the target format; NaN and infinity where the input was not finite, infinity
        where a float overflowed.
    exact : array
        The numbers before rounding, not copied.
    saturations : int
        Count of numbers beyond the largest of the target: clipped (integers) or made infinite.
    nonfinite : int
        Count of NaN and infinite inputs.
    """

    values: npt.NDArray[np.floating]
    exact: npt.NDArray
    saturations: int
    nonfinite: int

    @property
    def underflows(self) -> int:
        """Count of non-zero finite numbers that became zero."""
        return int(np.count_nonzero((self.values == 0) & (self.exact != 0)))


def self_bits(dropped: int, random_bits: int) -> int:
    """Count the bits that self-stochastic rounding takes: at most half of the dropped ones."""
    return min(random_bits, dropped // 2)


def round_fixed(
    x: npt.NDArray[np.integer],
    fraction_bits: int,
    target: IntFormat | str,
    mode: RoundMode | str,
    noise: npt.NDArray[np.integer] | None = None,
    random_bits: int = 8,
) -> Rounded:
    """Round fixed point numbers to integers, and clip them to a format.

    Parameters
    ----------
    x : array of int, any shape
        Two's complement numbers in units of ``2**-fraction_bits``; at most 48 bits.
    fraction_bits : int
        Count of bits to discard, 1 or more.
    target : IntFormat or str
        Format of the result, or its name.
    mode : RoundMode or str
        Rounding mode, or its name; TRUNCATE is toward minus infinity.
    noise : array of int, same shape
        Random bits for STOCHASTIC, 0 to ``2**random_bits - 1``.
    random_bits : int
        Count of random bits.
    """
    target = take_format("Format of a rounded number", target, IntFormat)
    mode = take_member("Rounding mode", mode, RoundMode)
    if fraction_bits < 1:
        raise InputError(f"Count of discarded bits must be at least 1, not {fraction_bits}")
    integers = np.asarray(x, np.int64)
    if mode is RoundMode.SELF_STOCHASTIC:
        bits = self_bits(fraction_bits, random_bits)
        noise, random_bits = integers & ((1 << bits) - 1), bits
    exact = integers.astype(np.float64) / (1 << fraction_bits)
    rounded = round_to_integer(exact, mode, noise, random_bits)
    values = np.clip(rounded, target.least, target.greatest)
    return Rounded(values, exact, saturations=int(np.count_nonzero(values != rounded)), nonfinite=0)


def round_float(
    x: npt.NDArray[np.floating],
    target: FloatFormat | str,
    mode: RoundMode | str = RoundMode.NEAREST_EVEN,
    noise: npt.NDArray[np.integer] | None = None,
    random_bits: int = 8,
    *,
    least: float = 0.0,
) -> Rounded:
    """Round real numbers to a wide float.

    The number is rounded as if the exponent had no upper limit; past the largest number of the
    format the result is infinity, in every mode. Without subnormals it is rounded as if it had no
    lower limit either, and what then has no code becomes zero. The sign of a number that becomes
    zero is kept where the format has a negative zero.

    Parameters
    ----------
    x : array of float64 or float32, any shape
        Exact numbers. Where it is float32, the result may be, too.
    target : FloatFormat or str
        Format of the result, or its name.
    mode : RoundMode or str
        Rounding mode, or its name: NEAREST_EVEN, STOCHASTIC or TRUNCATE (toward zero);
        SELF_STOCHASTIC with the bits given as ``noise`` (see :func:`round_float_codes`).
    noise : array of int, same shape
        Random bits for the stochastic modes, 0 to ``2**random_bits - 1``.
    random_bits : int
        Count of random bits.
    least : float
        What no magnitude but 0 is below, if it is known; saves looking for it.
    """
    target = take_format("Format of a rounded number", target, FloatFormat)
    mode = take_member("Rounding mode", mode, RoundMode)
    if (
        mode is RoundMode.NEAREST_EVEN
        and target.fraction_bits <= 10
        and magnitude_bound(x) < min(target.greatest, 2.0**100)
        and (least or np.abs(x).min(initial=1.0)) >= 2.0 ** (target.least_exponent + 1)
    ):
        # Nothing is beyond the format or near its lower end.
        return Rounded(round_significand(x, target.fraction_bits), x, 0, 0)
    number = np.asarray(x, np.float64)
    largest = max(x.max(initial=0.0), -x.min(initial=0.0))
    nonfinite = saturations = 0
    finite = None
    if not largest < np.inf:
        finite = np.isfinite(x)
        nonfinite = x.size - int(np.count_nonzero(finite))
        number = np.where(finite, x, 0.0)
    # To nearest is the same for both signs; the other modes are meant for magnitudes.
    signed = mode is RoundMode.NEAREST_EVEN
    if not signed:
        number = np.abs(number)
    unit = binade(number)
    if target.subnormals:
        np.maximum(unit, 2.0**target.least_exponent, out=unit)
    else:
        unit[unit == 0] = 1.0
    unit *= 2.0**-target.fraction_bits
    values = round_to_integer(number / unit, mode, noise, random_bits)
    values *= unit
    if not target.subnormals:
        bottom = 2.0**target.least_exponent
        # The code of the smallest power of two stands for zero in the IBM formats.
        low = np.abs(values)
        values[(low <= bottom) if target.ibm else (low < bottom)] *= 0.0
    # Rounding keeps the order, so nothing overflows if the largest number is in range.
    if not largest <= target.greatest:
        overflow = np.abs(values) > target.greatest
        saturations = int(np.count_nonzero(overflow))
        values[overflow] *= np.inf
    if not signed:
        np.copysign(values, x, out=values)
    if target.ibm:
        values[values == 0] = 0.0
    if finite is not None:
        values[~finite] = x[~finite]
    return Rounded(values, x, saturations, nonfinite)


def round_float_codes(
    codes: npt.ArrayLike,
    source: FloatFormat | str,
    target: FloatFormat | str,
    mode: RoundMode | str,
    noise: npt.NDArray[np.integer] | None = None,
    random_bits: int = 8,
) -> tuple[npt.NDArray[np.int64], Rounded]:
    """Round codes of one wide float to codes of another, as the core does.

    Parameters
    ----------
    codes : array of int, any shape
        Codes in ``source``.
    source, target : FloatFormat or str
        Formats, or their names; ``target`` has fewer fraction bits.
    mode : RoundMode or str
        Rounding mode, or its name. SELF_STOCHASTIC takes the lowest bits of the fraction field.
    noise, random_bits :
        As in :func:`round_float`.

    Returns
    -------
    array of int64, same shape
        Codes in ``target``; NaN is the format's quiet NaN.
    Rounded
        The numbers and the counts.
    """
    source = take_format("Format of numbers to round", source, FloatFormat)
    target = take_format("Format of a rounded number", target, FloatFormat)
    mode = take_member("Rounding mode", mode, RoundMode)
    dropped = source.fraction_bits - target.fraction_bits
    if dropped < 1:
        raise InputError(
            f"Target format must have fewer fraction bits than {source.name}, "
            f"and {target.name} has not"
        )
    if mode is RoundMode.SELF_STOCHASTIC:
        bits = self_bits(dropped, random_bits)
        noise, random_bits = np.asarray(codes, np.int64) & ((1 << bits) - 1), bits
    rounded = round_float(source.decode(codes), target, mode, noise, random_bits)
    return target.encode(rounded.values), rounded
