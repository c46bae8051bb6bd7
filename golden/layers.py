"""Layers, forward and backward side by side: in float, and with 4-bit matrix products.

Axes: ``batch`` rows of a mini-batch, ``in`` and ``out`` features of a layer. Weights are
``(out, in)``. A gradient has the shape of what it is the gradient of.
"""

# Ref: Esser et al., "Learned Step Size Quantization", ICLR 2020, arXiv 1902.08153v3
# Section: 2, equations 1 to 3
# Ref: Chmiel et al., arXiv 2112.10769, section 4; Sun et al., NeurIPS 2020 (two phases)

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .backend import Backend
from .formats import Fp4Format, IntFormat, Scale
from .fp4_quantizer import Fp4Mode, Underflow, scale_exponent
from .quantizer import gradient_factor, initial_step
from .random_bits import RandomBits
from .shift_multiply_array import ShiftOperand
from .stochastic_rounder import round_float

__all__ = [
    "ACTIVATIONS",
    "WEIGHTS",
    "Dense",
    "GradientRecipe",
    "QuantizedDense",
    "dense",
    "dense_backward",
    "relu",
    "relu_backward",
    "softmax_cross_entropy",
]

#: Format of the weights: Q_N = 8, Q_P = 7.
WEIGHTS = IntFormat(4)
#: Format of the activations, which are not negative: Q_N = 0, Q_P = 15.
ACTIVATIONS = IntFormat(4, signed=False)

#: A step size never falls below this part of its initial value: a step of zero has no reciprocal.
LEAST_STEP = 1 / 64
#: Gradients are not scaled up by more than 2**64; smaller ones become zero.
LEAST_EXPONENT = -64

_RADIX2 = Fp4Format(1)


def dense(x: npt.NDArray, weights: npt.NDArray, bias: npt.NDArray) -> npt.NDArray:
    """Compute ``x @ weights.T + bias``, (batch, in) to (batch, out)."""
    return x @ weights.T + bias


def dense_backward(
    output_gradient: npt.NDArray, x: npt.NDArray, weights: npt.NDArray
) -> tuple[npt.NDArray, npt.NDArray, npt.NDArray]:
    """Compute the gradients by input, weights and bias of :func:`dense`."""
    return (
        output_gradient @ weights,
        output_gradient.T @ x,
        output_gradient.sum(axis=0),
    )


def relu(x: npt.NDArray) -> npt.NDArray:
    """Replace negative numbers by zero."""
    return np.maximum(x, 0)


def relu_backward(output_gradient: npt.NDArray, output: npt.NDArray) -> npt.NDArray:
    """Compute the gradient by the input of :func:`relu`, given its output; 0 where that is 0."""
    return output_gradient * (output > 0)


def softmax_cross_entropy(
    logits: npt.NDArray, labels: npt.NDArray[np.integer]
) -> tuple[float, npt.NDArray]:
    """Compute the mean loss of a mini-batch, and its gradient by the logits.

    Parameters
    ----------
    logits : array of float, shape (batch, classes)
    labels : array of int, shape (batch,)

    Returns
    -------
    float
        Mean of ``-log(softmax(logits)[label])``.
    array of float, shape (batch, classes)
        ``(softmax(logits) - one_hot(labels)) / batch``.
    """
    rows = np.arange(len(labels))
    shifted = logits - logits.max(axis=1, keepdims=True)
    gradient = np.exp(shifted)
    total = gradient.sum(axis=1, keepdims=True)
    loss = np.mean(np.log(total[:, 0]) - shifted[rows, labels])
    gradient /= total
    gradient[rows, labels] -= 1
    gradient /= len(labels)
    return float(loss), gradient


class Dense:
    """Dense layer in float32, with or without ReLU.

    Parameters
    ----------
    weights : array of float32, shape (out, in)
        Initial weights; the bias starts at 0.
    has_relu : bool
        Whether ReLU follows.

    Attributes
    ----------
    parameters : dict of array of float32
        ``weights`` and ``bias``; an optimiser changes them in place.
    gradients : dict of array
        Gradients of the last backward pass, by the same names.
    """

    def __init__(self, weights: npt.NDArray[np.float32], has_relu: bool) -> None:
        self.parameters = {"weights": weights, "bias": np.zeros(len(weights), np.float32)}
        self.gradients: dict[str, npt.NDArray] = {}
        self.has_relu = has_relu

    def forward(self, x: npt.NDArray) -> npt.NDArray:
        """Compute the output, (batch, in) to (batch, out)."""
        output = dense(x, self.parameters["weights"], self.parameters["bias"])
        if self.has_relu:
            output = relu(output)
        self._x, self._output = x, output
        return output

    def backward(self, output_gradient: npt.NDArray) -> npt.NDArray:
        """Compute the gradient by the input, and set ``gradients``."""
        if self.has_relu:
            output_gradient = relu_backward(output_gradient, self._output)
        input_gradient, *gradients = dense_backward(
            output_gradient, self._x, self.parameters["weights"]
        )
        self.gradients = dict(zip(("weights", "bias"), gradients, strict=True))
        return input_gradient


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
        See :func:`golden.fp4_quantizer.quantize_fp4`.
    """

    fmt: Fp4Format
    mode: Fp4Mode
    phases: tuple[int, int] = (0, 0)
    odd_shift: int = 1
    underflow: Underflow = Underflow.MIDPOINT
    random_bits: int = 8


class QuantizedDense:
    """Dense layer whose products of matrices are 4-bit.

    Forward: INT4 weights and UINT4 activations with learned steps. Backward: by ``recipe``, or
    straight through in float32 without one.

    Parameters
    ----------
    name : str
        Name of the layer, the first part of the names of its tensors.
    weights : array of float32, shape (out, in)
        Initial master weights; the bias starts at 0.
    has_relu : bool
        Whether ReLU follows.
    x : array of float, shape (batch, in)
        First mini-batch, not negative; it sets the first step of the activations.
    recipe : GradientRecipe or None
        How output gradients become FP4.
    backend : Backend
        Who computes.
    noise : RandomBits
        Random bits of STOCHASTIC, in the order of a stream of 4 lanes.

    Attributes
    ----------
    parameters : dict of array of float32
        ``weights``, ``bias``, and the steps ``weight_step`` and ``activation_step`` (shape ()).
    gradients : dict of array
        Gradients of the last backward pass, by the same names.
    """

    def __init__(
        self,
        name: str,
        weights: npt.NDArray[np.float32],
        has_relu: bool,
        x: npt.NDArray,
        recipe: GradientRecipe | None,
        backend: Backend,
        noise: RandomBits,
    ) -> None:
        steps = {
            "weight_step": np.array(initial_step(weights, WEIGHTS), np.float32),
            "activation_step": np.array(initial_step(x, ACTIVATIONS), np.float32),
        }
        self.name = name
        self.parameters = {
            "weights": weights,
            "bias": np.zeros(len(weights), np.float32),
            **steps,
        }
        self.gradients: dict[str, npt.NDArray] = {}
        self.has_relu = has_relu
        self._least_steps = {key: step * np.float32(LEAST_STEP) for key, step in steps.items()}
        self._recipe = recipe
        self._backend = backend
        self._noise = noise

    def forward(self, x: npt.NDArray) -> npt.NDArray[np.float32]:
        """Compute the output, (batch, in) to (batch, out), numbers of the wide format."""
        backend = self._backend
        self._hold_steps()
        weight_step = float(self.parameters["weight_step"])
        activation_step = float(self.parameters["activation_step"])
        # The core receives the master weights in its wide format.
        wide_weights = round_float(self.parameters["weights"], backend.wide).values
        self._weights = backend.quantize(
            f"{self.name}.weights", wide_weights, Scale.from_float(1 / weight_step), WEIGHTS
        )
        self._activations = backend.quantize(
            f"{self.name}.activations", x, Scale.from_float(1 / activation_step), ACTIVATIONS
        )
        accumulators = backend.matmul(
            f"{self.name}.output",
            self._activations.codes,
            self._weights.codes,
            ShiftOperand.INT4,
            self._recipe.fmt if self._recipe else _RADIX2,
        )
        factor = Scale.from_float(weight_step * activation_step)
        self._output = backend.scale_to_float(
            f"{self.name}.output",
            accumulators,
            factor,
            bias=np.rint(self.parameters["bias"] / factor.value).astype(np.int64),
            relu=self.has_relu,
        ).values
        return self._output

    def backward(self, output_gradient: npt.NDArray) -> npt.NDArray:
        """Compute the gradient by the input, and set ``gradients``."""
        if self.has_relu:
            output_gradient = relu_backward(output_gradient, self._output)
        if self._recipe is None:
            dx, dw, dx_step, dw_step = self._straight_through(output_gradient)
        else:
            dx, dw, dx_step, dw_step = self._fp4_products(output_gradient, self._recipe)
        out_features, in_features = self.parameters["weights"].shape
        weight_factor = gradient_factor(out_features * in_features, WEIGHTS)
        activation_factor = gradient_factor(in_features, ACTIVATIONS)
        self.gradients = {
            "weights": dw * self._weights.in_range,
            "bias": output_gradient.sum(axis=0, dtype=np.float64),
            "weight_step": np.array(dw_step * weight_factor),
            "activation_step": np.array(dx_step * activation_factor),
        }
        return dx * self._activations.in_range

    def _straight_through(self, output_gradient):
        """Gradients of the dequantised operands and of the two steps, in float32."""
        gradient = output_gradient.astype(np.float32)
        weights = self._weights.codes * self.parameters["weight_step"]
        activations = self._activations.codes * self.parameters["activation_step"]
        dx, dw, _ = dense_backward(gradient, activations, weights)
        steps = (
            float(np.sum(upstream * quantized.derivative, dtype=np.float64))
            * 2.0**-quantized.residual_bits
            for upstream, quantized in ((dx, self._activations), (dw, self._weights))
        )
        return dx, dw, *steps

    def _fp4_products(self, output_gradient, recipe):
        """Gradients of the dequantised operands and of the two steps, by FP4 products."""
        # Ceiling rule: the largest gradient does not saturate.
        greatest = float(max(output_gradient.max(), -output_gradient.min()))
        exponent = scale_exponent(greatest, recipe.fmt, recipe.odd_shift)
        exponent = max(exponent, LEAST_EXPONENT)
        input_codes, input_exponent = self._quantize_gradient(
            output_gradient, exponent, recipe, recipe.phases[0]
        )
        if recipe.phases[0] == recipe.phases[1]:
            weight_codes, weight_exponent = input_codes, input_exponent
        else:
            weight_codes, weight_exponent = self._quantize_gradient(
                output_gradient, exponent, recipe, recipe.phases[1]
            )
        dx, dx_step = self._gradient_product(
            "input_gradient",
            recipe.fmt,
            self._weights.codes.T,
            input_codes,
            self._scale("weight_step", input_exponent),
            self._activations,
            "activations",
        )
        dw, dw_step = self._gradient_product(
            "weight_gradient",
            recipe.fmt,
            self._activations.codes.T,
            weight_codes.T,
            self._scale("activation_step", weight_exponent),
            self._weights,
            "weights",
        )
        return dx, dw, dx_step, dw_step

    def _quantize_gradient(self, output_gradient, exponent, recipe, phase):
        """Codes of the output gradient, and the exponent of their unit."""
        noise = None
        if recipe.mode is Fp4Mode.STOCHASTIC:
            noise = self._noise.elements(output_gradient.size, recipe.random_bits, lanes=4)
            noise = noise.reshape(output_gradient.shape)
        codes = self._backend.quantize_fp4(
            f"{self.name}.output_gradient",
            output_gradient,
            recipe.fmt,
            exponent,
            recipe.mode,
            phase=phase,
            odd_shift=recipe.odd_shift,
            underflow=recipe.underflow,
            noise=noise,
            random_bits=recipe.random_bits,
        ).codes
        return codes, exponent + phase * recipe.odd_shift

    def _gradient_product(self, tensor, fmt, integers, codes, factor, operand, operand_name):
        """Product in the wide format, (columns, rows), and the gradient of ``operand``'s step.

        The array's integer operand makes the rows of the result, so both gradients leave it
        transposed.
        """
        transposed = self._backend.matmul(
            f"{self.name}.{tensor}", integers, codes, ShiftOperand.FP4, fmt
        )
        accumulators = transposed.T
        product = self._backend.scale_to_float(
            f"{self.name}.{tensor}", accumulators, factor, bias=0, relu=False
        ).values
        total = self._backend.step_gradient(f"{self.name}.{operand_name}", accumulators, operand)
        return product, total * float(factor.value) * 2.0**-operand.residual_bits

    def _scale(self, step, exponent):
        return Scale.from_float(float(self.parameters[step])).times_power_of_two(exponent)

    def _hold_steps(self):
        for key, least in self._least_steps.items():
            np.maximum(self.parameters[key], least, out=self.parameters[key])
