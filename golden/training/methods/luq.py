"""LUQ: gradients become FP4 of radix 2, rounded stochastically, so that none has a bias."""

# Ref: Chmiel et al., "Accurate Neural Training with 4-bit Matrix Multiplications at Standard
#      Formats", ICLR 2023, arXiv 2112.10769; section 4 for the samples (SMP)

from dataclasses import replace

from nibblegrad.golden.cores.fp4_quantizer import Fp4Mode
from nibblegrad.golden.numbers.formats import Fp4Format
from nibblegrad.golden.training.gradient_recipe import GradientRecipe
from nibblegrad.golden.training.layers import QuantizedDense
from nibblegrad.golden.training.recipes import Method, Recipe

__all__ = ["METHOD"]

_STOCHASTIC = GradientRecipe(Fp4Format(1), Fp4Mode.STOCHASTIC)
_LUQ = Recipe("luq", QuantizedDense, _STOCHASTIC)

METHOD = Method(
    _LUQ,
    forward="as `int4`",
    backward="FP4 radix 2, stochastic, quantised once for both products (LUQ)",
    variants=(
        # Two samples of every gradient (SMP-2), and two terms or float32 for the last one.
        replace(_LUQ, name="luq_samples", gradient=replace(_STOCHASTIC, samples=2)),
        replace(_LUQ, name="luq_terms", last_gradient=replace(_STOCHASTIC, terms=2)),
        replace(_LUQ, name="luq_wide", last_gradient=None),
    ),
    greatest_gaps=(1.5, 4.0),
    rank=2,
    is_core_default=True,
)
