"""INT4 forward, with learned step sizes; gradients straight through in float32."""

# Ref: Esser et al., "Learned Step Size Quantization", ICLR 2020, arXiv 1902.08153v3

from nibblegrad.golden.training.layers import QuantizedDense
from nibblegrad.golden.training.recipes import Method, Recipe

__all__ = ["METHOD"]

METHOD = Method(
    Recipe("int4", QuantizedDense),
    forward="INT4 weights x UINT4 activations, learned steps (LSQ)",
    backward="float32, straight through",
    greatest_gaps=(0.7, 2.0),
    rank=1,
)
