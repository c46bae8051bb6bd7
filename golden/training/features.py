"""Features before they enter a network: on one scale, and numbers that every core holds."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nibblegrad.golden.cores.stochastic_rounder import round_float
from nibblegrad.golden.numbers.formats import BFLOAT16

__all__ = ["DEVIATION", "GREATEST_FEATURE", "GREATEST_GAIN", "FeatureScale"]

#: Features that hardly vary are not scaled up by more than this, against the usual one.
GREATEST_GAIN = 64.0
#: Root of the sum of the features' variances after scaling.
DEVIATION = 2.0
#: Magnitude that rows outside of the training set are clipped to.
GREATEST_FEATURE = 2.0**15

# The least number of float16; those of the other wide formats are less.
_LEAST = 2.0**-24
_FIRST_CLIP = 2.0**40
_NUMBERS_AT_ONCE = 1 << 20


@dataclass(frozen=True)
class FeatureScale:
    """How numbers become what the first layer gets: ``(x * 2**-exponent - offset) * gain``.

    That is rounded to 8 significant bits, to multiples of ``2**-24``, and clipped to ``2**15``:
    exact in every wide format of the cores.

    Parameters
    ----------
    exponent : array of int64
        Of each feature, or of all of them with shape (); so are the others.
    offset, gain : array of float64
        After multiplication by ``2**-exponent``. A gain of 0 takes a feature away.
    """

    exponent: npt.NDArray[np.int64]
    offset: npt.NDArray[np.float64]
    gain: npt.NDArray[np.float64]

    @classmethod
    def of_images(cls, x: npt.NDArray[np.floating], *, own_units: bool) -> "FeatureScale":
        """Find the scale of images: all pixels alike.

        Parameters
        ----------
        x : array of float, shape (rows, features)
            Training set, finite.
        own_units : bool
            If so, the least number of all becomes 0, and a power of two brings the greatest into
            (1/2, 1]; if not, they stay as they are.
        """
        if not own_units:
            return cls(np.array(0), np.array(0.0), np.array(1.0))
        exponent, offset, is_constant = _unit(x.min(), x.max())
        return cls(exponent, offset, np.where(is_constant, 0.0, 1.0))

    @classmethod
    def of_table(cls, x: npt.NDArray[np.floating], *, own_units: bool) -> "FeatureScale":
        """Find the scale of features that are no image, each by itself.

        The least number of a feature is subtracted. Then it is multiplied by the power of two that
        brings its standard deviation next to the usual one, the geometric median, so that features
        which were alike stay alike, and their levels stay levels of the quantiser; and all of them
        by one factor, which makes the root of the sum of their variances 2, whatever their count:
        the learning rate that suits a network depends on it.

        Parameters
        ----------
        x : array of float, shape (rows, features)
            Training set, finite.
        own_units : bool
            If so, each feature is first multiplied by the power of two that brings its range into
            (1/2, 1], whatever its unit; one that is constant becomes 0 in all rows, since nothing
            is known of its unit. If not, all share a unit, and one that hardly varies does not
            count as much as the others.
        """
        least = x.min(axis=0).astype(np.float64)
        exponent, offset = np.zeros(len(least), np.int64), least
        is_constant = np.zeros(len(least), bool)
        if own_units:
            exponent, offset, is_constant = _unit(least, x.max(axis=0))
            x = np.ldexp(x, -exponent)
        deviation = x.std(axis=0, dtype=np.float64) * ~is_constant
        varies = deviation > 0
        if not varies.any():
            # Nothing to go by.
            gain = np.zeros(len(least)) if own_units else np.ones(len(least))
            return cls(exponent, offset if own_units else 0.0 * offset, gain)
        usual = float(np.exp(np.median(np.log(deviation[varies]))))
        gain = np.exp2(np.rint(np.log2(usual / np.maximum(deviation, usual / GREATEST_GAIN))))
        gain *= DEVIATION / math.sqrt(np.count_nonzero(varies)) / usual
        return cls(exponent, offset, np.where(is_constant, 0.0, gain))

    def apply(self, x: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
        """Scale rows, (rows, features) to the same shape; those of the test set may be negative."""
        # Some at a time: what is float64 on the way would take several times the room of the data.
        count = max(_NUMBERS_AT_ONCE // x.shape[1], 1)
        pieces = [slice(first, first + count) for first in range(0, len(x), count)]
        if self._changes_nothing and all(_is_exact(x[rows]) for rows in pieces):
            return x.astype(np.float32, copy=False)
        scaled = np.empty(x.shape, np.float32)
        for rows in pieces:
            scaled[rows] = self._apply(x[rows])
        return scaled

    @property
    def _changes_nothing(self):
        return not self.exponent.any() and not self.offset.any() and (self.gain == 1).all()

    def _apply(self, x):
        # What lies far outside of the training set's range may overflow on its way.
        with np.errstate(over="ignore"):
            scaled = np.ldexp(np.asarray(x, np.float64), -self.exponent) - self.offset
        scaled = np.clip(scaled, -_FIRST_CLIP, _FIRST_CLIP) * self.gain
        rounded = round_float(scaled, BFLOAT16).values
        rounded = np.clip(rounded, -GREATEST_FEATURE, GREATEST_FEATURE)
        # Without minus zeros.
        return np.rint(rounded / _LEAST) * _LEAST + 0.0


def _is_exact(x: npt.NDArray[np.floating]) -> bool:
    """Tell whether numbers are already what rounding and clipping leave as they are."""
    if x.dtype != np.float32:
        return False
    bits = x.view(np.uint32)
    magnitudes = bits & np.uint32(0x7FFF_FFFF)
    least, greatest = np.array([256 * _LEAST, GREATEST_FEATURE], np.float32).view(np.uint32)
    return bool(
        not np.bitwise_or.reduce(bits, axis=None) & 0xFFFF
        and magnitudes.max() <= greatest
        # Zero, less one, is the greatest number.
        and (magnitudes - np.uint32(1)).min() >= least - 1
    )


def _unit(
    least: npt.ArrayLike, greatest: npt.ArrayLike
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Find the power of two that brings a range into (1/2, 1].

    Returns
    -------
    array of int64
        Its exponent, to be taken away.
    array of float64
        The least number, multiplied by it.
    array of bool
        Whether there is no range.
    """
    least, greatest = np.asarray(least, np.float64), np.asarray(greatest, np.float64)
    # Halved, so that the range of the greatest floats does not overflow.
    part, power = np.frexp(np.ldexp(greatest, -1) - np.ldexp(least, -1))
    power = np.where(part == 0.5, power, power + 1)
    # A constant gets any that keeps it small.
    exponent = np.asarray(np.where(part == 0, np.frexp(greatest)[1], power), np.int64)
    return exponent, np.ldexp(least, -exponent), part == 0
