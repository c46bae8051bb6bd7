"""The arithmetic of one 4-bit training step, one method for each core that does it.

``tensor`` names what a method makes ("layer1.weights"), for those who log.
"""

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nibblegrad.golden.cores import (
    gradient_quantizer,
    quantizer,
    scale_multiplier,
    shift_multiply_array,
)
from nibblegrad.golden.cores import step_gradient as step_gradient_core
from nibblegrad.golden.cores.fp4_quantizer import Fp4Mode, Fp4Quantized
from nibblegrad.golden.cores.quantizer import Quantized
from nibblegrad.golden.cores.shift_multiply_array import ShiftOperand
from nibblegrad.golden.cores.stochastic_rounder import Rounded
from nibblegrad.golden.numbers.formats import FloatFormat, IntFormat, Scale
from nibblegrad.golden.numbers.gradient_format import GradientFormat

__all__ = ["Call", "Operations", "RecordingOperations"]


class Operations:
    """The golden models of the cores."""

    def quantize(
        self, tensor: str, x: npt.NDArray, reciprocal: Scale, fmt: IntFormat, **options: Any
    ) -> Quantized:
        """Quantise to integers; see :func:`nibblegrad.golden.cores.quantizer.quantize`."""
        return quantizer.quantize(x, reciprocal, fmt, **options)

    def quantize_fp4(
        self,
        tensor: str,
        x: npt.NDArray,
        fmt: GradientFormat,
        exponent: int,
        mode: Fp4Mode,
        **options: Any,
    ) -> Fp4Quantized:
        """Quantise gradients; see ``golden.cores.gradient_quantizer.quantize_gradient``."""
        return gradient_quantizer.quantize_gradient(x, fmt, exponent, mode, **options)

    def matmul(
        self,
        tensor: str,
        integers: npt.NDArray,
        codes: npt.NDArray,
        operand: ShiftOperand,
        fmt: GradientFormat,
    ) -> npt.NDArray[np.float64]:
        """Multiply matrices exactly; see ``golden.cores.shift_multiply_array.matmul``."""
        return shift_multiply_array.matmul(integers, codes, operand, fmt)

    def scale_to_float(
        self,
        tensor: str,
        accumulators: npt.NDArray,
        factor: Scale,
        target: FloatFormat,
        *,
        bias: npt.ArrayLike = 0,
        relu: bool = False,
    ) -> Rounded:
        """Scale, to nearest; see ``golden.cores.scale_multiplier.scale_to_float``."""
        return scale_multiplier.scale_to_float(accumulators, factor, target, bias=bias, relu=relu)

    def step_gradient(self, tensor: str, upstream: npt.NDArray, quantized: Quantized) -> int:
        """Sum the gradient of a step; see ``golden.cores.step_gradient``."""
        return step_gradient_core.step_gradient(upstream, quantized)


@dataclass(frozen=True)
class Call:
    """One use of a core.

    Attributes
    ----------
    operation : str
        Method of :class:`Operations`: ``quantize``, ``quantize_fp4``, ``matmul``,
        ``scale_to_float`` or ``step_gradient``.
    tensor : str
        What was made.
    arguments : dict
        Every other argument of the method, by its name; arrays are copies.
    result : Quantized, Fp4Quantized, array, Rounded or int
        What the method returned, copied.
    """

    operation: str
    tensor: str
    arguments: dict[str, Any]
    result: Any


class RecordingOperations(Operations):
    """Operations that log every call.

    Attributes
    ----------
    calls : list of Call
        The log, in order.
    recording : bool
        Whether calls are logged; set it to choose the steps.
    """

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.recording = True

    def quantize(self, tensor, x, reciprocal, fmt, **options):
        return self._log("quantize", tensor, x=x, reciprocal=reciprocal, fmt=fmt, **options)

    def quantize_fp4(self, tensor, x, fmt, exponent, mode, **options):
        return self._log(
            "quantize_fp4", tensor, x=x, fmt=fmt, exponent=exponent, mode=mode, **options
        )

    def matmul(self, tensor, integers, codes, operand, fmt):
        return self._log("matmul", tensor, integers=integers, codes=codes, operand=operand, fmt=fmt)

    def scale_to_float(self, tensor, accumulators, factor, target, *, bias=0, relu=False):
        return self._log(
            "scale_to_float",
            tensor,
            accumulators=accumulators,
            factor=factor,
            target=target,
            bias=bias,
            relu=relu,
        )

    def step_gradient(self, tensor, upstream, quantized):
        return self._log("step_gradient", tensor, upstream=upstream, quantized=quantized)

    def _log(self, operation, tensor, **arguments):
        result = getattr(super(), operation)(tensor, **arguments)
        if self.recording:
            self.calls.append(copy.deepcopy(Call(operation, tensor, arguments, result)))
        return result
