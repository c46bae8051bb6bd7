"""Quantiser with a learned step size (LSQ)."""

# Ref: Esser et al., "Learned Step Size Quantization", ICLR 2020, arXiv 1902.08153v3
# Section: 2, equations 1 to 3; 2.2 for the gradient factor
# Ref: US11823054B2

import enum
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .errors import InputError
from .formats import IntFormat, Scale

__all__ = [
    "InRange",
    "Quantized",
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
    residual : array of int16
        ``round(z) - z`` where in range, else 0, in units of ``2**-residual_bits``; ``z`` is cut
        to that resolution, toward zero.
    residual_bits : int
        Fraction bits of ``residual``.
    saturations, underflows, nonfinite : int
        Counts of clipped numbers, of non-zero numbers with code 0, and of NaN and infinities.
    """

    codes: npt.NDArray[np.int8] | npt.NDArray[np.int16]
    in_range: npt.NDArray[np.bool_]
    residual: npt.NDArray[np.int16]
    residual_bits: int
    saturations: int
    underflows: int
    nonfinite: int

    @property
    def derivative(self) -> npt.NDArray[np.int32]:
        """Derivative of the dequantised number by the step, in units of ``2**-residual_bits``.

        The residual inside the limits; ``-Q_N`` or ``Q_P``, which is the code, outside.
        """
        derivative = self.codes.astype(np.int32) << self.residual_bits
        derivative *= ~self.in_range
        derivative += self.residual  # which is 0 outside
        return derivative


def check_tensor(name: str, x: npt.NDArray[np.floating]) -> None:
    """Refuse a tensor that is empty or holds NaN or infinity.

    Raises
    ------
    InputError
        Naming the first offending element.
    """
    if x.size == 0:
        raise InputError(f"{name} must have at least one element, not shape {x.shape}")
    finite = np.isfinite(x)
    if not finite.all():
        where = tuple(int(i) for i in np.argwhere(~finite)[0])
        raise InputError(f"{name} must be finite, and element {where} is {x[where]}")


def quantize(
    x: npt.NDArray[np.floating],
    reciprocal: Scale,
    fmt: IntFormat,
    *,
    in_range: InRange = InRange.UNROUNDED,
    residual_bits: int = 8,
    check_finite: bool = True,
) -> Quantized:
    """Quantise to integers: ``clip(round(x * reciprocal), -Q_N, Q_P)``.

    Rounding is to the nearest, ties to even. Exact: a 24-bit significand times the 16-bit one of
    the reciprocal step (or the 49-bit product of the scale multiplier times 1) fits float64.

    Parameters
    ----------
    x : array of float, any shape
        Numbers of a wide format.
    reciprocal : Scale
        Reciprocal of the step size.
    fmt : IntFormat
        Format of the codes, 2 to 8 bits.
    in_range : InRange
        Rule for the gradient.
    residual_bits : int
        Fraction bits of the residual, 1 to 12.
    check_finite : bool
        Whether to refuse NaN and infinity. If not, they become code 0 and are counted, as in
        hardware.

    Raises
    ------
    InputError
        If ``x`` is empty, or not finite although it should be.
    """
    if fmt.bits > 8:
        raise InputError(f"Quantiser width must be 2 to 8 bits, not {fmt.bits}")
    x = np.asarray(x)
    nonfinite = 0
    if check_finite:
        check_tensor("Tensor to quantise", x)
    else:
        finite = np.isfinite(x)
        nonfinite = int(x.size - np.count_nonzero(finite))
        if nonfinite:
            x = np.where(finite, x, 0.0)
    z = np.multiply(x, float(reciprocal.value), dtype=np.float64)
    # One beyond the limits is enough to tell what is clipped, and fits an integer.
    np.clip(z, fmt.least - 1, fmt.greatest + 1, out=z)
    rounded = np.rint(z).astype(np.int32)
    codes = np.minimum(np.maximum(rounded, fmt.least), fmt.greatest)
    saturated = codes != rounded
    if in_range is InRange.UNROUNDED:
        inside = z > fmt.least
        inside &= z < fmt.greatest
    else:
        inside = ~saturated
    if nonfinite:
        inside &= finite
    # A negative number clipped to the code 0 of an unsigned format has not underflowed.
    underflows = np.count_nonzero(rounded == 0) - np.count_nonzero(z == 0)
    z *= float(1 << residual_bits)
    residual = codes << residual_bits
    residual -= z.astype(np.int32)  # cut toward zero
    residual *= inside
    return Quantized(
        codes.astype(np.int8 if fmt.greatest < 128 else np.int16),
        inside,
        residual.astype(np.int16),
        residual_bits,
        saturations=int(np.count_nonzero(saturated)),
        underflows=int(underflows),
        nonfinite=nonfinite,
    )


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
    """Refuse a step size that is not positive and finite."""
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
