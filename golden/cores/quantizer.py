"""Quantiser with a learned step size (LSQ)."""

# Ref: Esser et al., "Learned Step Size Quantization", ICLR 2020, arXiv 1902.08153v3
# Section: 2, equations 1 to 3; 2.2 for the gradient factor
# Ref: US11823054B2

import enum
import functools
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nibblegrad.golden.errors import InputError
from nibblegrad.golden.numbers.arguments import take_format, take_member
from nibblegrad.golden.numbers.formats import IntFormat, Scale
from nibblegrad.golden.numbers.rounding import magnitude_bound

__all__ = [
    "InRange",
    "Quantized",
    "check_step",
    "check_tensor",
    "dequantize",
    "gradient_factor",
    "initial_step",
    "quantize",
]


class InRange(enum.IntEnum):
    """Which number is held against the limits to tell whether the gradient passes."""

    #: The number before rounding, strictly inside: the paper's rule.
    UNROUNDED = 0
    #: The rounded number, limits included: PyTorch's rule. Differs in two strips of half a step.
    ROUNDED = 1


@dataclass
class Quantized:
    """Integer codes and the two ingredients of the step gradient.

    Attributes
    ----------
    codes : array of int8 (int16 for unsigned 8 bit codes)
        Integers of the format; 0 for NaN and infinity.
    in_range : array of bool
        Whether the gradient passes to the input; False for NaN and infinity.
    scaled : array of float64 or float32
        Exact numbers before rounding, in steps; 0 for NaN and infinity.
    residual_bits : int
        Fraction bits of ``residual``.
    nonfinite : int
        Count of NaN and infinities.
    """

    codes: npt.NDArray[np.int8] | npt.NDArray[np.int16]
    in_range: npt.NDArray[np.bool_]
    scaled: npt.NDArray[np.floating]
    residual_bits: int
    nonfinite: int

    @functools.cached_property
    def derivative(self) -> npt.NDArray[np.float64]:
        """Derivative of the dequantised number by the step, in units of ``2**-residual_bits``.

        An integer: the residual inside the limits; ``-Q_N`` or ``Q_P``, which is the code, outside.
        """
        unit = float(1 << self.residual_bits)
        cut = self.scaled * self.in_range
        cut *= unit
        np.trunc(cut, out=cut)
        derivative = self.codes.astype(cut.dtype)
        derivative *= unit
        derivative -= cut
        return derivative.astype(np.float64, copy=False)

    def repeat(self, count: int) -> "Quantized":
        """Put ``count`` copies of a matrix one below the other."""
        if count == 1:
            return self
        return Quantized(
            np.concatenate([self.codes] * count),
            np.concatenate([self.in_range] * count),
            np.concatenate([self.scaled] * count),
            self.residual_bits,
            count * self.nonfinite,
        )

    @property
    def residual(self) -> npt.NDArray[np.int16]:
        """``round(z) - z`` where in range, else 0, in units of ``2**-residual_bits``.

        ``z``, the number in steps, is cut to that resolution, toward zero.
        """
        return (self.derivative * self.in_range).astype(np.int16)

    @property
    def saturations(self) -> int:
        """Count of clipped numbers."""
        return int(np.count_nonzero(np.rint(self.scaled) != self.codes))

    @property
    def underflows(self) -> int:
        """Count of non-zero numbers that rounded to 0."""
        return int(np.count_nonzero((np.rint(self.scaled) == 0) & (self.scaled != 0)))


def check_tensor(name: str, x: npt.NDArray[np.floating]) -> None:
    """Refuse a tensor that is empty or holds NaN or infinity.

    Raises
    ------
    InputError
        Naming the first offending element.
    """
    if x.size == 0:
        raise InputError(f"{name} must have at least one element, not shape {x.shape}")
    if not math.isfinite(magnitude_bound(x)) and not np.isfinite(x).all():
        finite = np.isfinite(x)
        where = tuple(int(i) for i in np.argwhere(~finite)[0])
        raise InputError(f"{name} must be finite, and element {where} is {x[where]}")


def quantize(
    x: npt.NDArray[np.floating],
    reciprocal: Scale,
    fmt: IntFormat | str,
    *,
    in_range: InRange | str = InRange.UNROUNDED,
    residual_bits: int = 8,
    check_finite: bool = True,
) -> Quantized:
    """Quantise to integers: ``clip(round(x * reciprocal), -Q_N, Q_P)``.

    Rounding is to the nearest, ties to even.

    Parameters
    ----------
    x : array of float, any shape
        Numbers of a wide format.
    reciprocal : Scale
        Reciprocal of the step size.
    fmt : IntFormat or str
        Format of the codes, 2 to 8 bits, or its name.
    in_range : InRange or str
        Rule for the gradient, or its name.
    residual_bits : int
        Fraction bits of the residual, 1 to 14.
    check_finite : bool
        Whether to refuse NaN and infinity. If not, they become code 0 and are counted, as in
        hardware.

    Raises
    ------
    InputError
        If ``x`` is empty, or not finite although it should be; if a width is out of range; if
        ``reciprocal`` is a bare number.
    """
    fmt = take_format("Format of a quantiser", fmt, IntFormat)
    in_range = take_member("Rule for the gradient", in_range, InRange)
    if not isinstance(reciprocal, Scale):
        raise InputError(
            f"Reciprocal of the step size must be a Scale, not {reciprocal!r}; for a step size of "
            "0.5 it is Scale.from_float(1 / 0.5)"
        )
    if fmt.bits > 8:
        raise InputError(f"Quantiser width must be 2 to 8 bits, not {fmt.bits}")
    if not 1 <= residual_bits <= 14:
        raise InputError(f"Residual must have 1 to 14 fraction bits, not {residual_bits}")
    x = np.asarray(x)
    nonfinite = 0
    if check_finite:
        check_tensor("Tensor to quantise", x)
    else:
        finite = np.isfinite(x)
        nonfinite = int(x.size - np.count_nonzero(finite))
        if nonfinite:
            x = np.where(finite, x, 0.0)
    z = _times(x, reciprocal)
    rounded = np.rint(z)
    codes = rounded.clip(fmt.least, fmt.greatest)
    if in_range is InRange.UNROUNDED:
        inside = z > fmt.least
        inside &= z < fmt.greatest
    else:
        inside = rounded == codes
    if nonfinite:
        inside &= finite
    return Quantized(
        codes.astype(np.int8 if fmt.greatest < 128 else np.int16),
        inside,
        z,
        residual_bits,
        nonfinite,
    )


def _times(x, reciprocal):
    """Multiply exactly, in float32 where that is enough.

    In float64, a 24-bit significand times the 16-bit one of the reciprocal step has 40 bits, and
    the 49-bit product of the scale multiplier is times 1. In float32, the 8-bit significand of a
    bfloat16 number gives 24 bits; the number is a multiple of ``2**-133`` and the reciprocal of
    ``2**-16``, so the product is one of ``2**-149``. Both are below ``2**63``.
    """
    dtype: type[np.floating] = np.float64
    if x.dtype == np.float32 and -16 <= reciprocal.exponent <= 47 and magnitude_bound(x) < 2.0**63:
        used_bits = np.bitwise_or.reduce(x.view(np.uint32), axis=None)
        if used_bits & 0xFFFF == 0:  # all of them are bfloat16 numbers
            dtype = np.float32
    return np.multiply(x, reciprocal.value, dtype=dtype)


def dequantize(codes: npt.NDArray[np.integer], step: float) -> npt.NDArray[np.float64]:
    """Multiply codes by the step size.

    Raises
    ------
    InputError
        If the step is not positive and finite.
    """
    check_step(step)
    return codes.astype(np.float64) * step


def check_step(step: float) -> None:
    """Refuse a step size that is not positive and finite.

    Raises
    ------
    InputError
        Naming the step.
    """
    if not (math.isfinite(step) and step > 0):
        raise InputError(f"Step size must be a positive finite number, not {step}")


def initial_step(x: npt.NDArray[np.floating], fmt: IntFormat) -> float:
    """Compute the step that training starts from: ``2 * mean(abs(x)) / sqrt(Q_P)``.

    A tensor of zeros gets step 1.
    """
    check_tensor("Tensor to quantise", x)
    mean = float(np.mean(np.abs(x), dtype=np.float64))
    return 2.0 * mean / math.sqrt(fmt.greatest) or 1.0


def gradient_factor(count: int, fmt: IntFormat) -> float:
    """Compute the factor of the step gradient: ``1 / sqrt(N * Q_P)``.

    Parameters
    ----------
    count : int
        N: count of weights of the layer, or of features for activations.
    fmt : IntFormat
        Format of the codes.
    """
    return 1.0 / math.sqrt(count * fmt.greatest)
