"""Recipes: the training methods, each a choice of what is quantised, and how."""

# Ref: Esser et al., arXiv 1902.08153v3 (int4); Chmiel et al., arXiv 2112.10769 (luq);
#      Sun et al., NeurIPS 2020 (two_phase)

from dataclasses import dataclass, replace
from typing import Literal

from .errors import InputError
from .formats import Fp4Format
from .fp4_quantizer import Fp4Mode
from .gradient_recipe import GradientRecipe

__all__ = ["RECIPES", "VARIANTS", "Recipe"]


@dataclass(frozen=True)
class Recipe:
    """Training method.

    Parameters
    ----------
    name : str
        Name used on the command line.
    quantized : bool
        Whether the forward pass is INT4.
    gradient : GradientRecipe or None
        How output gradients become FP4; None trains straight through in float32.
    last_gradient : GradientRecipe, None or "same"
        The same for the last layer, whose output gradient is that of the loss.

    Raises
    ------
    InputError
        If gradients are to become FP4 in a forward pass that is not INT4.
    """

    name: str
    quantized: bool
    gradient: GradientRecipe | None = None
    last_gradient: GradientRecipe | Literal["same"] | None = "same"

    def __post_init__(self) -> None:
        if not self.quantized and (self.gradient or self.last):
            raise InputError("FP4 gradients need a quantised forward pass")

    @property
    def last(self) -> GradientRecipe | None:
        """How output gradients of the last layer become FP4."""
        return self.gradient if self.last_gradient == "same" else self.last_gradient


_RADIX2, _RADIX4 = Fp4Format(1), Fp4Format(2)

#: Every recipe, by name.
RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe("float32", quantized=False),
        Recipe("int4", quantized=True),
        Recipe("luq", quantized=True, gradient=GradientRecipe(_RADIX2, Fp4Mode.STOCHASTIC)),
        Recipe(
            "two_phase",
            quantized=True,
            gradient=GradientRecipe(_RADIX4, Fp4Mode.NEAREST, alternate=True),
            last_gradient=GradientRecipe(_RADIX4, Fp4Mode.NEAREST, terms=2),
        ),
    )
}

_LUQ, _TWO_PHASE = RECIPES["luq"], RECIPES["two_phase"]
_STOCHASTIC, _NEAREST = _LUQ.gradient, _TWO_PHASE.gradient
assert _STOCHASTIC and _NEAREST
_PUBLISHED = replace(_NEAREST, phases=(0, 1), alternate=False)

#: Recipes with one choice made otherwise, by name: what it is worth, and what it costs.
VARIANTS = {
    recipe.name: recipe
    for recipe in (
        # Two samples of every gradient (SMP-2), and two terms or float32 for the last one.
        replace(_LUQ, name="luq_samples", gradient=replace(_STOCHASTIC, samples=2)),
        replace(_LUQ, name="luq_terms", last_gradient=replace(_STOCHASTIC, terms=2)),
        replace(_LUQ, name="luq_wide", last_gradient=None),
        # The last gradient as the others, or in float32.
        replace(_TWO_PHASE, name="two_phase_same", last_gradient="same"),
        replace(_TWO_PHASE, name="two_phase_wide", last_gradient=None),
        # Both phases in every step, taking turns or not, as published; one grid alone; GradScale.
        replace(_TWO_PHASE, name="two_phase_both", gradient=replace(_PUBLISHED, alternate=True)),
        replace(_TWO_PHASE, name="two_phase_published", gradient=_PUBLISHED),
        replace(_TWO_PHASE, name="two_phase_even", gradient=replace(_NEAREST, alternate=False)),
        replace(
            _TWO_PHASE, name="two_phase_grad_scale", gradient=replace(_NEAREST, grad_scale=True)
        ),
        Recipe("two_phase_before", quantized=True, gradient=_PUBLISHED),
    )
}
