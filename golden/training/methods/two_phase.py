"""Two-phase: gradients become the nearest FP4 number of radix 4, on two grids that take turns."""

# Ref: Sun et al., "Ultra-Low Precision 4-bit Training of Deep Neural Networks", NeurIPS 2020

from dataclasses import replace

from nibblegrad.golden.cores.fp4_quantizer import Fp4Mode
from nibblegrad.golden.numbers.formats import Fp4Format
from nibblegrad.golden.training.gradient_recipe import GradientRecipe
from nibblegrad.golden.training.layers import QuantizedDense
from nibblegrad.golden.training.recipes import Method, Recipe

__all__ = ["METHOD"]

_NEAREST = GradientRecipe(Fp4Format(2), Fp4Mode.NEAREST, alternate=True)
_PUBLISHED = replace(_NEAREST, phases=(0, 1), alternate=False)
_TWO_TERMS = GradientRecipe(Fp4Format(2), Fp4Mode.NEAREST, terms=2)
_TWO_PHASE = Recipe("two_phase", QuantizedDense, _NEAREST, _TWO_TERMS)


def _variant(name, gradient):
    return replace(_TWO_PHASE, name=f"two_phase_{name}", gradient=gradient)


METHOD = Method(
    _TWO_PHASE,
    forward="as `int4`",
    backward="FP4 radix 4, nearest: the even grid in one step, the odd grid in the next; for the "
    "last layer the sum of two FP4 numbers, without bias",
    variants=(
        # The last gradient as the others, or in float32.
        replace(_TWO_PHASE, name="two_phase_same", last_gradient="same"),
        replace(_TWO_PHASE, name="two_phase_wide", last_gradient=None),
        # Both phases in every step, taking turns or not, as published; one grid alone; GradScale.
        _variant("both", replace(_PUBLISHED, alternate=True)),
        _variant("published", _PUBLISHED),
        _variant("even", replace(_NEAREST, alternate=False)),
        _variant("grad_scale", replace(_NEAREST, grad_scale=True)),
        Recipe("two_phase_before", QuantizedDense, _PUBLISHED),
    ),
    greatest_gaps=(2.5, 6.0),
    rank=3,
    is_core_default=True,
)
