"""Who computes: the arithmetic of one 4-bit training step, as the cores do it.

A trainer takes a backend and leaves to it everything the hardware does: quantising, products of
matrices, scaling back, and the sums of the step gradient. Each method is one use of one core, and
``tensor`` names what it makes ("layer1.weights"), for logs and for backends that keep operands.
"""

import copy
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from . import fp4_quantizer, quantizer, scale_multiplier, shift_multiply_array
from . import step_gradient as step_gradient_core
from .formats import BFLOAT16, FloatFormat, Fp4Format, IntFormat, Scale
from .fp4_quantizer import Fp4Mode, Fp4Quantized, Underflow
from .quantizer import Quantized
from .shift_multiply_array import ShiftOperand
from .stochastic_rounder import Rounded

__all__ = ["Backend", "Call", "NumpyBackend", "RecordingBackend"]


class Backend(Protocol):
    """What the layers ask of the hardware or its model.

    Attributes
    ----------
    wide : FloatFormat
        Format of everything that goes into the quantisers and comes out of the scale multiplier.
    """

    wide: FloatFormat

    def quantize(self, tensor: str, x: npt.NDArray, reciprocal: Scale, fmt: IntFormat) -> Quantized:
        """Quantise to integers; see :func:`golden.quantizer.quantize`."""

    def quantize_fp4(
        self,
        tensor: str,
        x: npt.NDArray,
        fmt: Fp4Format,
        exponent: int,
        mode: Fp4Mode,
        *,
        phase: int,
        odd_shift: int,
        underflow: Underflow,
        noise: npt.NDArray[np.integer] | None,
        random_bits: int,
    ) -> Fp4Quantized:
        """Quantise to FP4; see :func:`golden.fp4_quantizer.quantize_fp4`."""

    def matmul(
        self,
        tensor: str,
        integers: npt.NDArray,
        codes: npt.NDArray,
        operand: ShiftOperand,
        fmt: Fp4Format,
    ) -> npt.NDArray[np.float64]:
        """Multiply matrices exactly; see :func:`golden.shift_multiply_array.matmul`."""

    def scale_to_float(
        self,
        tensor: str,
        accumulators: npt.NDArray,
        factor: Scale,
        *,
        bias: npt.ArrayLike,
        relu: bool,
    ) -> Rounded:
        """Scale to ``wide``, to nearest; see :func:`golden.scale_multiplier.scale_to_float`."""

    def step_gradient(self, tensor: str, upstream: npt.NDArray, quantized: Quantized) -> int:
        """Sum the gradient of a step; see :func:`golden.step_gradient.step_gradient`."""


class NumpyBackend:
    """The golden model.

    Parameters
    ----------
    wide : FloatFormat
        Wide format of the core.
    """

    def __init__(self, wide: FloatFormat = BFLOAT16) -> None:
        self.wide = wide

    def quantize(self, tensor, x, reciprocal, fmt):
        return quantizer.quantize(x, reciprocal, fmt)

    def quantize_fp4(self, tensor, x, fmt, exponent, mode, **options):
        return fp4_quantizer.quantize_fp4(x, fmt, exponent, mode, **options)

    def matmul(self, tensor, integers, codes, operand, fmt):
        return shift_multiply_array.matmul(integers, codes, operand, fmt)

    def scale_to_float(self, tensor, accumulators, factor, *, bias=0, relu=False):
        return scale_multiplier.scale_to_float(
            accumulators, factor, self.wide, bias=bias, relu=relu
        )

    def step_gradient(self, tensor, upstream, quantized):
        return step_gradient_core.step_gradient(upstream, quantized)


@dataclass(frozen=True)
class Call:
    """One use of a core.

    Attributes
    ----------
    operation : str
        Method of the backend: ``quantize``, ``quantize_fp4``, ``matmul``, ``scale_to_float`` or
        ``step_gradient``.
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


class RecordingBackend:
    """Backend that logs every call to another one.

    Parameters
    ----------
    backend : Backend
        Who computes.

    Attributes
    ----------
    calls : list of Call
        The log, in order.
    recording : bool
        Whether calls are logged; set it to choose the steps.
    """

    def __init__(self, backend: Backend) -> None:
        self.wide = backend.wide
        self.calls: list[Call] = []
        self.recording = True
        self._backend = backend

    def quantize(self, tensor, x, reciprocal, fmt):
        return self._log("quantize", tensor, x=x, reciprocal=reciprocal, fmt=fmt)

    def quantize_fp4(self, tensor, x, fmt, exponent, mode, **options):
        return self._log(
            "quantize_fp4", tensor, x=x, fmt=fmt, exponent=exponent, mode=mode, **options
        )

    def matmul(self, tensor, integers, codes, operand, fmt):
        return self._log("matmul", tensor, integers=integers, codes=codes, operand=operand, fmt=fmt)

    def scale_to_float(self, tensor, accumulators, factor, *, bias=0, relu=False):
        return self._log(
            "scale_to_float",
            tensor,
            accumulators=accumulators,
            factor=factor,
            bias=bias,
            relu=relu,
        )

    def step_gradient(self, tensor, upstream, quantized):
        return self._log("step_gradient", tensor, upstream=upstream, quantized=quantized)

    def _log(self, operation, tensor, **arguments):
        result = getattr(self._backend, operation)(tensor, **arguments)
        if self.recording:
            self.calls.append(copy.deepcopy(Call(operation, tensor, arguments, result)))
        return result
