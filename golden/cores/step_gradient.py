"""Gradient of the loss by the step size of a quantiser."""

# Ref: Esser et al., "Learned Step Size Quantization", ICLR 2020, equation 3

import numpy as np
import numpy.typing as npt

from nibblegrad.golden.cores.quantizer import Quantized
from nibblegrad.golden.errors import InputError

__all__ = ["step_gradient"]


def step_gradient(upstream: npt.NDArray, quantized: Quantized) -> int:
    """Sum upstream gradient times derivative by the step, exactly.

    The upstream gradient of a quantised operand is a GEMM's result before scaling, so it is an
    integer, the sum is one too, and its order does not matter.

    Parameters
    ----------
    upstream : array of integers (as any dtype), any shape
        Accumulators of the GEMM that made the gradient of the dequantised operand.
    quantized : Quantized
        The operand, same shape.

    Returns
    -------
    int
        Sum, in units of the scale of the GEMM times ``2**-quantized.residual_bits``.

    Raises
    ------
    InputError
        If the shapes differ.
    """
    if upstream.shape != quantized.codes.shape:
        raise InputError(
            f"Upstream gradient must have shape {quantized.codes.shape}, not {upstream.shape}"
        )
    a = upstream.astype(np.float64, copy=False).ravel()
    b = quantized.derivative.ravel()
    # Cauchy and Schwarz: no partial sum of products is larger than that.
    assert np.dot(a, a) * np.dot(b, b) < 2.0**106, "the sum is not exact in float64"
    return int(np.dot(a, b))
