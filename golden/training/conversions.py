"""What every backend makes of what it gets: wide numbers, scales, integers and exponents.

A core has no other inputs, so whoever computes in its place makes the same of them.
"""

import math

import numpy as np
import numpy.typing as npt

from nibblegrad.golden.cores.quantizer import check_step, check_tensor
from nibblegrad.golden.cores.stochastic_rounder import round_float
from nibblegrad.golden.engine.command import SUM_BITS
from nibblegrad.golden.errors import InputError
from nibblegrad.golden.numbers.formats import BFLOAT16, FloatFormat, Scale
from nibblegrad.golden.numbers.gradient_format import GradientFormat
from nibblegrad.golden.training.gradient_recipe import GradientRecipe, needed_exponent

__all__ = [
    "bias_integers",
    "gradient_exponents",
    "reciprocal_scale",
    "section_rows",
    "step_scale",
    "wide_numbers",
]

# What is not bfloat16 of the bits of a float32.
_BELOW_BFLOAT16 = np.uint32(0xFFFF)


def wide_numbers(what: str, x: npt.ArrayLike, wide: FloatFormat) -> npt.NDArray[np.floating]:
    """Round to the nearest numbers of the wide format, which is what crosses to a core.

    Parameters
    ----------
    what : str
        What they are, as messages have it.
    x : array of float or integer, any shape and layout
    wide : FloatFormat
        Wide format of the core.

    Returns
    -------
    array of float, same shape
        The same array if it has such numbers only, as all have that a trainer gives.

    Raises
    ------
    InputError
        If there is no number, one is NaN or infinite, or one rounds past the largest of the format.
    """
    numbers = np.asarray(x)
    if wide is BFLOAT16 and numbers.dtype == np.float32:
        bits = np.bitwise_or.reduce(numbers.view(np.uint32), axis=None)
        if not bits & _BELOW_BFLOAT16:
            check_tensor(what, numbers)
            return numbers
    if numbers.dtype != np.float32:
        numbers = np.asarray(numbers, np.float64)
    check_tensor(what, numbers)
    rounded = round_float(numbers, wide)
    if rounded.saturations:
        where = tuple(int(i) for i in np.argwhere(np.isinf(rounded.values))[0])
        raise InputError(
            f"{what} must be at most {wide.greatest:.4g}, the largest number of {wide.name}, and "
            f"element {where} is {numbers[where]:.4g}"
        )
    return rounded.values.astype(np.float32, copy=False)


def reciprocal_scale(step: float) -> Scale:
    """Round the reciprocal of a step to the scale that a quantiser multiplies by.

    Raises
    ------
    InputError
        If the step is not positive and finite, or its reciprocal is out of range.
    """
    check_step(step)
    return Scale.from_float(1 / step)


def step_scale(*steps: float) -> Scale:
    """Round a product of steps to the scale that the cores multiply by."""
    return Scale.from_float(math.prod(steps))


def bias_integers(layer: str, bias: npt.NDArray, factor: Scale) -> npt.NDArray[np.int64]:
    """Round biases to multiples of the unit of the sums.

    Parameters
    ----------
    layer : str
        Name of the layer, for messages.
    bias : array of float, shape (outputs,)
    factor : Scale
        Unit of the sums.

    Returns
    -------
    array of int64, shape (outputs,)

    Raises
    ------
    InputError
        If one does not fit 32 bits, or is NaN.
    """
    multiples = np.rint(np.asarray(bias) / factor.value)
    # So that NaN is refused, too.
    if not (multiples.min() >= -(2.0**31) and multiples.max() < 2.0**31):
        raise InputError(f"Biases of {layer} must fit 32 bits in units of the sums")
    return multiples.astype(np.int64)


def gradient_exponents(
    output_gradient: npt.NDArray, recipe: GradientRecipe, exponent: int | None = None
) -> tuple[int, int, int]:
    """Choose the unit of an output gradient's codes.

    Parameters
    ----------
    output_gradient : array of float, shape (rows, outputs)
    recipe : GradientRecipe
        How it becomes FP4.
    exponent : int or None
        Scale exponent; the one with which the largest magnitude does not saturate if not given.

    Returns
    -------
    tuple of three int
        The exponent that the quantiser gets; those of the codes' units, for the input gradient and
        for the weight gradient.
    """
    if exponent is None:
        exponent = needed_exponent(output_gradient, recipe)
    first, second = (exponent + phase * recipe.odd_shift for phase in recipe.phases)
    return exponent, first, second


def section_rows(fmt: GradientFormat) -> int:
    """Count the rows that a weight gradient sums up exactly, whatever they hold.

    More rows are cut into sections of so many. Each section's gradient is rounded to the wide
    format, and these are added in float32, first to last.
    """
    return (1 << (SUM_BITS - 1)) // (16 * fmt.greatest)
