"""Scale multiplier: accumulators back to wide floats, or straight to the next layer's codes."""

# Ref: Esser et al., "Learned Step Size Quantization", section 2 (output rescaling by s_w * s_x)
# Ref: US11823054B2 (scale to a second precision); US11847568B2 (scale and shift per channel)

import numpy as np
import numpy.typing as npt

from nibblegrad.golden.cores.fp4_quantizer import Fp4Mode, Fp4Quantized, Underflow
from nibblegrad.golden.cores.gradient_quantizer import quantize_gradient
from nibblegrad.golden.cores.quantizer import InRange, Quantized, quantize
from nibblegrad.golden.cores.stochastic_rounder import Rounded, round_float
from nibblegrad.golden.errors import InputError
from nibblegrad.golden.numbers.arguments import check_scale, take_format
from nibblegrad.golden.numbers.formats import FloatFormat, IntFormat, Scale
from nibblegrad.golden.numbers.gradient_format import GradientFormat
from nibblegrad.golden.numbers.rounding import RoundMode, magnitude_bound

__all__ = ["scale", "scale_to_float", "scale_to_fp4", "scale_to_integer"]

_ONE = Scale(1 << 15, -15)


def scale(
    accumulators: npt.NDArray, factor: Scale, bias: npt.ArrayLike = 0, relu: bool = False
) -> npt.NDArray[np.float64]:
    """Compute ``(accumulators + bias) * factor``, exactly, with negative sums zeroed by ``relu``.

    Parameters
    ----------
    accumulators : array holding integers, shape (..., channels)
        Sums of products, at most 32 bits.
    factor : Scale
        One for the tensor, or one per channel.
    bias : int or array of int, shape (channels,)
        Additive shift, at most 32 bits, in units of an accumulator.
    relu : bool
        Whether negative sums become zero.

    Returns
    -------
    array of float64, shape (..., channels)
        Exact: 33 bits times 16.

    Raises
    ------
    InputError
        If the channels of a factor or bias do not match, a number needs more than 32 bits, or
        ``factor`` is a bare number.
    """
    check_scale("Scale of sums", factor)
    sums = np.asarray(accumulators, np.float64)
    for what, values in (("Scale", factor.significand), ("Bias", bias)):
        if not isinstance(values, int) and np.shape(values) not in ((), sums.shape[-1:]):
            raise InputError(
                f"{what} must be one number or one for each of {sums.shape[-1]} channels, "
                f"not {np.shape(values)}"
            )
    shift = np.asarray(bias, np.float64)
    _check_32_bits("Accumulator", sums)
    _check_32_bits("Bias", shift)
    sums = sums + shift
    if relu:
        sums.clip(0.0, np.inf, out=sums)  # faster than np.maximum
    sums *= factor.value
    return sums


def _check_32_bits(what, values):
    if not magnitude_bound(values) < 2.0**31:
        beyond = np.abs(values + 0.5)
        if beyond.size and beyond.max() > 2.0**31:
            raise InputError(f"{what} must fit 32 bits, not {values.flat[beyond.argmax()]:.0f}")


def scale_to_float(
    accumulators: npt.NDArray,
    factor: Scale,
    target: FloatFormat | str,
    *,
    bias: npt.ArrayLike = 0,
    relu: bool = False,
    mode: RoundMode | str = RoundMode.NEAREST_EVEN,
    noise: npt.NDArray[np.integer] | None = None,
    random_bits: int = 8,
) -> Rounded:
    """Scale, then round to a wide float; see :func:`scale` and ``round_float``.

    The values are float32, which holds the numbers of every wide format.
    """
    exact = scale(accumulators, factor, bias, relu)
    # A sum is 0 or at least 1.
    least = float(factor.value.min())
    rounded = round_float(exact, target, mode, noise, random_bits, least=least)
    rounded.values = rounded.values.astype(np.float32)
    return rounded


def scale_to_integer(
    accumulators: npt.NDArray,
    factor: Scale,
    fmt: IntFormat | str,
    *,
    bias: npt.ArrayLike = 0,
    relu: bool = False,
    in_range: InRange | str = InRange.UNROUNDED,
    residual_bits: int = 8,
) -> Quantized:
    """Scale, then quantise; ``factor`` includes the reciprocal step of the next layer."""
    return quantize(
        scale(accumulators, factor, bias, relu),
        _ONE,
        fmt,
        in_range=in_range,
        residual_bits=residual_bits,
    )


def scale_to_fp4(
    accumulators: npt.NDArray,
    factor: Scale,
    fmt: GradientFormat | str,
    exponent: int,
    mode: Fp4Mode | str,
    *,
    bias: npt.ArrayLike = 0,
    relu: bool = False,
    phase: int = 0,
    odd_shift: int = 1,
    underflow: Underflow | str = Underflow.MIDPOINT,
    noise: npt.NDArray[np.integer] | None = None,
    random_bits: int = 8,
) -> Fp4Quantized:
    """Scale, then quantise to codes of gradients; see :func:`scale` and ``quantize_fp4``."""
    # An abstract class is as good as another for `isinstance`, all that is done with it.
    fmt = take_format("Format of gradients", fmt, GradientFormat)  # type: ignore[type-abstract]
    return quantize_gradient(
        scale(accumulators, factor, bias, relu),
        fmt,
        exponent,
        mode,
        phase=phase,
        odd_shift=odd_shift,
        underflow=underflow,
        noise=noise,
        random_bits=random_bits,
    )
