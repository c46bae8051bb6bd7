"""How the output gradients of a layer become FP4: format, scale and parts.

What is said here is done on the host, as the choice of the scale is: a core quantises what it gets.
"""

# Ref: Sun et al., "Ultra-Low Precision 4-bit Training of Deep Neural Networks", NeurIPS 2020, for
#      the two phases and GradScale
# Ref: Chmiel et al., arXiv 2112.10769, section 4, for the samples (SMP)

import dataclasses
import functools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nibblegrad.golden.cores.fp4_quantizer import Fp4Mode, Underflow, quantize_fp4, scale_exponent
from nibblegrad.golden.engine.command import CoreSize
from nibblegrad.golden.errors import InputError
from nibblegrad.golden.numbers.formats import Fp4Format
from nibblegrad.golden.numbers.random_bits import RandomBits

__all__ = [
    "LEAST_EXPONENT",
    "GradScale",
    "GradientRecipe",
    "check_core",
    "gradient_parts",
    "needed_exponent",
    "stochastic_powers",
]

#: Gradients are not scaled up by more than 2**64; smaller ones become zero.
LEAST_EXPONENT = -64

# The number 1 in the bits of float64.
_ONE = 1023 << 52


@dataclass(frozen=True)
class GradientRecipe:
    """How output gradients become FP4.

    Parameters
    ----------
    fmt : Fp4Format
        Radix.
    mode : Fp4Mode
        NEAREST, or STOCHASTIC (radix 2).
    phases : pair of int
        Phase for the input gradient, and for the weight gradient. If they are the same, the
        output gradient is quantised once.
    odd_shift, underflow, random_bits :
        See :func:`nibblegrad.golden.cores.fp4_quantizer.quantize_fp4`.
    alternate : bool
        Whether every other step has the other phases. Rounding to the nearest favours the same
        magnitudes in every step; what one grid makes too small, the other one makes too large.
    terms : int
        1, or 2: a gradient becomes the sum of two FP4 numbers, see :func:`gradient_parts`.
    samples : int
        Count of independent quantisations whose mean a gradient becomes (SMP), a power of two.
    grad_scale : bool
        Whether the scale follows the gradients slowly, see :class:`GradScale`; otherwise each one
        gets the scale that its largest magnitude needs.

    Raises
    ------
    InputError
        If a count is out of range, or there are both terms and samples.
    """

    fmt: Fp4Format
    mode: Fp4Mode
    phases: tuple[int, int] = (0, 0)
    odd_shift: int = 1
    underflow: Underflow = Underflow.MIDPOINT
    random_bits: int = 8
    alternate: bool = False
    terms: int = 1
    samples: int = 1
    grad_scale: bool = False

    def __post_init__(self) -> None:
        if self.terms not in (1, 2):
            raise InputError(f"A gradient must have 1 or 2 terms, not {self.terms}")
        if self.alternate and self.fmt.phases == 1:
            raise InputError("Phases can alternate in radix 4 only")
        if self.samples < 1 or self.samples & (self.samples - 1):
            raise InputError(f"Count of samples must be a power of two, not {self.samples}")
        if self.terms > 1 and (self.samples > 1 or self.phases != (0, 0)):
            raise InputError("A gradient of two terms has one sample, in phase 0")

    @property
    def parts(self) -> int:
        """Count of FP4 numbers that a gradient becomes. Each costs the array's backward passes."""
        return self.terms * self.samples

    def in_step(self, step: int) -> "GradientRecipe":
        """Give the recipe with the phases of a step, counted from 0, in which they take turns."""
        return self._exchanged if self.alternate and step & 1 else self

    @functools.cached_property
    def _exchanged(self) -> "GradientRecipe":
        first, second = self.phases
        return dataclasses.replace(self, phases=(1 - first, 1 - second))


def needed_exponent(gradient: npt.NDArray[np.floating], recipe: GradientRecipe) -> int:
    """Choose the scale exponent so that no part of a gradient saturates, in either phase."""
    greatest = float(max(gradient.max(), -gradient.min())) / recipe.samples
    return max(scale_exponent(greatest, recipe.fmt, recipe.odd_shift), LEAST_EXPONENT)


def check_core(recipe: GradientRecipe, size: CoreSize) -> None:
    """Refuse a recipe that is not for the quantiser of a core.

    Raises
    ------
    InputError
        If format, underflow, random bits or odd grid differ.
    """
    for what, wanted, there in (
        ("FP4 format", recipe.fmt.name, size.fmt.name),
        ("underflow", recipe.underflow.name, size.underflow.name),
        ("count of random bits", recipe.random_bits, size.random_bits),
        ("shift of the odd grid", recipe.odd_shift, size.odd_shift),
    ):
        if wanted != there:
            raise InputError(f"Recipe and core must have the same {what}, not {wanted} and {there}")


class GradScale:
    """Scale exponent of a layer that follows its gradients, by one in a step at most.

    It starts where the first gradient needs it. A gradient that saturated makes it larger for the
    next one; a gradient that left two bits unused, the ratio of two FP4 numbers of radix 4, makes
    it smaller. So the largest magnitude is needed after the quantisation only, not before it.

    The paper learns a scale for each layer; its rule is not public in detail, and this is ours.
    """

    #: Bits that may be left unused.
    UNUSED = 2

    def __init__(self) -> None:
        self._exponent: int | None = None

    def follow(self, needed: int) -> int:
        """Give the exponent for a gradient, and take note of the one that it would have needed."""
        exponent = needed if self._exponent is None else self._exponent
        self._exponent = exponent
        if needed > exponent:
            self._exponent += 1
        elif needed < exponent - self.UNUSED:
            self._exponent -= 1
        return exponent


def stochastic_powers(
    x: npt.NDArray[np.floating], fmt: Fp4Format, exponent: int, words: npt.NDArray[np.uint32]
) -> npt.NDArray[np.float64]:
    """Round to FP4 numbers, of either radix, without bias.

    A number between two neighbours on the grid, zero among them, becomes the upper one with the
    probability that keeps its expectation.

    Parameters
    ----------
    x : array of float, any shape
        Magnitudes up to ``fmt.greatest * 2**exponent``.
    fmt : Fp4Format
        Radix.
    exponent : int
        Scale exponent.
    words : array of uint32, same shape
        Random words.

    Returns
    -------
    array of float64, same shape
        Zero, or plus or minus ``radix**k * 2**exponent``.
    """
    y = np.abs(x, dtype=np.float64) * 2.0**-exponent
    # Less 1 in the exponent field, powers of the radix are what its highest bits stand for.
    kept = -1 << 52 + fmt.log2_radix - 1
    bits = np.maximum(y, 1.0).view(np.int64)
    below = ((bits - _ONE & kept) + _ONE).view(np.float64) * (y >= 1)
    gap = np.maximum(below * (2**fmt.log2_radix - 1), 1.0)
    is_up = words * (2.0**-32 * gap) < y - below
    return np.copysign(below + gap * is_up, x) * 2.0**exponent


def gradient_parts(
    gradient: npt.NDArray[np.floating], recipe: GradientRecipe, exponent: int, noise: RandomBits
) -> npt.NDArray[np.floating]:
    """Make of a gradient the parts that are quantised, side by side.

    Two terms are the nearest FP4 number, and what is left, rounded without bias. Their sum has the
    gradient for expectation, so that what the gradient sums to, zero over the classes for softmax
    cross-entropy, is kept on average; and it is never far from it, which a single stochastic FP4
    number of radix 4 is. Both are in the same units, and a quantiser leaves them as they are.

    Samples are as many times the gradient, divided by their count.

    Parameters
    ----------
    gradient : array of float, shape (rows, outputs)
        Numbers of the wide format.
    recipe : GradientRecipe
        Says what the parts are.
    exponent : int
        Scale exponent.
    noise : RandomBits
        Gives one word for each number that is split into terms.

    Returns
    -------
    array of float, shape (rows, outputs * recipe.parts)
        The gradient is the sum of the parts, on average.
    """
    if recipe.samples > 1:
        return np.concatenate([gradient / np.float32(recipe.samples)] * recipe.samples, axis=1)
    if recipe.terms == 1:
        return gradient
    codes = quantize_fp4(gradient, recipe.fmt, exponent, Fp4Mode.NEAREST).codes
    nearest = recipe.fmt.numbers.take(codes) * np.float32(2.0**exponent)
    rest = gradient - nearest
    words = noise.words(rest.size).reshape(rest.shape)
    unbiased = stochastic_powers(rest, recipe.fmt, exponent, words)
    return np.concatenate([nearest, unbiased.astype(np.float32)], axis=1)
