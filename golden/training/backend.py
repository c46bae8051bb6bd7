"""The golden backend: everything of a 4-bit training step between the host and its loss, in NumPy.

It keeps what the backward pass needs under the name of the layer.
"""

import numpy as np
import numpy.typing as npt

from nibblegrad.golden.cores.fp4_quantizer import Fp4Mode
from nibblegrad.golden.cores.quantizer import InRange, Quantized
from nibblegrad.golden.cores.shift_multiply_array import ShiftOperand
from nibblegrad.golden.numbers.formats import BFLOAT16, FloatFormat, Fp4Format, IntFormat
from nibblegrad.golden.numbers.random_bits import RandomBits, seed_state
from nibblegrad.golden.training.conversions import (
    bias_integers,
    gradient_exponents,
    reciprocal_scale,
    section_rows,
    step_scale,
)
from nibblegrad.golden.training.gradient_recipe import GradientRecipe
from nibblegrad.golden.training.operations import Operations
from nibblegrad.golden.training.passes import Backend, Gradients

__all__ = [
    "ACTIVATIONS",
    "WEIGHTS",
    "NumpyBackend",
]

#: Format of the weights: Q_N = 8, Q_P = 7.
WEIGHTS = IntFormat(4)
#: Format of the activations, which are not negative: Q_N = 0, Q_P = 15.
ACTIVATIONS = IntFormat(4, signed=False)

_RADIX2 = Fp4Format(1)


class NumpyBackend(Backend):
    """The golden model, as fast as NumPy can.

    Parameters
    ----------
    wide : FloatFormat
        Wide format of the core.
    load_lanes : int
        Count of gradients that are loaded in a beat. A beat takes whole random words and belongs
        to one row, so the random bits depend on it.
    seed : int
        Seed of the random bits, 0 to ``2**64 - 1``. All gradients take theirs from its stream 0,
        in the order in which they are loaded, row by row.
    residual_bits, in_range :
        See :func:`nibblegrad.golden.cores.quantizer.quantize`.
    operations : Operations or None
        What does the arithmetic; to record it, for example.
    """

    def __init__(
        self,
        wide: FloatFormat = BFLOAT16,
        load_lanes: int = 8,
        seed: int = 0,
        *,
        residual_bits: int = 8,
        in_range: InRange = InRange.UNROUNDED,
        operations: Operations | None = None,
    ) -> None:
        self.wide = wide
        self._load_lanes = load_lanes
        self._noise = RandomBits(seed_state(seed, 0))
        self._rule = {"residual_bits": residual_bits, "in_range": in_range}
        self._operations = operations or Operations()
        # Of each layer, the operand and its step.
        self._weights: dict[str, tuple[Quantized, float]] = {}
        self._activations: dict[str, tuple[Quantized, float]] = {}

    def _load_weights(self, layer: str, weights: npt.NDArray, step: float) -> None:
        self._weights[layer] = self._quantize(f"{layer}.weights", weights, step, WEIGHTS), step

    def _forward(
        self,
        layer: str,
        x: npt.NDArray,
        step: float,
        bias: npt.NDArray[np.float32] | None,
        *,
        relu: bool,
    ) -> npt.NDArray[np.float32]:
        activations = self._quantize(f"{layer}.activations", x, step, ACTIVATIONS)
        self._activations[layer] = activations, step
        weights, weight_step = self._weights[layer]
        accumulators = self._operations.matmul(
            f"{layer}.output", activations.codes, weights.codes, ShiftOperand.INT4, _RADIX2
        )
        factor = step_scale(weight_step, step)
        integers = 0 if bias is None else bias_integers(layer, bias, factor)
        return self._scale(f"{layer}.output", accumulators, factor, bias=integers, relu=relu)

    def _backward(
        self,
        layer: str,
        output_gradient: npt.NDArray,
        recipe: GradientRecipe | None,
        *,
        want_input_gradient: bool,
        exponent: int | None,
    ) -> Gradients:
        if recipe is None:
            return self._straight_through(layer, output_gradient)
        activations, activation_step = self._activations[layer]
        weights, weight_step = self._weights[layer]
        weights = weights.repeat(recipe.parts)
        exponent, input_exponent, weight_exponent = gradient_exponents(
            output_gradient, recipe, exponent
        )
        quantize = self._quantize_gradient
        tensor = f"{layer}.output_gradient"
        codes = quantize(tensor, output_gradient, recipe, exponent, recipe.phases[0])

        # The array's integer operand makes the rows of a result: both leave it transposed.
        factor = step_scale(weight_step).times_power_of_two(input_exponent)
        sums = self._fp4_product(f"{layer}.input_gradient", weights.codes, codes, recipe)
        total = self._operations.step_gradient(f"{layer}.activations", sums, activations)
        input_step = _step_value(total, factor, activations)
        inputs = None
        if want_input_gradient:
            inputs = self._masked(f"{layer}.input_gradient", sums, factor, activations)

        if recipe.phases[0] != recipe.phases[1]:
            codes = quantize(tensor, output_gradient, recipe, exponent, recipe.phases[1])
        factor = step_scale(activation_step).times_power_of_two(weight_exponent)
        gradients, total = [], 0
        for first in range(0, len(codes), section_rows(recipe.fmt)):
            rows = slice(first, first + section_rows(recipe.fmt))
            sums = self._fp4_product(
                f"{layer}.weight_gradient", activations.codes[rows], codes[rows].T, recipe
            )
            total += self._operations.step_gradient(f"{layer}.weights", sums, weights)
            gradients.append(self._masked(f"{layer}.weight_gradient", sums, factor, weights))
        weight_step = _step_value(total, factor, weights)
        others = sum(gradients[1:], gradients[0]), input_step, weight_step
        return Gradients(inputs, lambda: others)

    def _end(self) -> None:
        """Do nothing: nothing is under way."""

    def _quantize(self, tensor, x, step, fmt):
        return self._operations.quantize(tensor, x, reciprocal_scale(step), fmt, **self._rule)

    def _quantize_gradient(self, tensor, gradient, recipe, exponent, phase):
        """Codes of the output gradient."""
        noise = None
        # The core's generator runs with every beat, if there is one.
        if recipe.fmt.is_stochastic:
            noise = self._draw(gradient.shape, recipe.random_bits)
        return self._operations.quantize_fp4(
            tensor,
            gradient,
            recipe.fmt,
            exponent,
            recipe.mode,
            phase=phase,
            odd_shift=recipe.odd_shift,
            underflow=recipe.underflow,
            noise=noise if recipe.mode is Fp4Mode.STOCHASTIC else None,
            random_bits=recipe.random_bits,
        ).codes

    def _draw(self, shape, random_bits):
        """Random numbers of a matrix whose rows are padded to whole beats."""
        rows, columns = shape
        padded = -(-columns // self._load_lanes) * self._load_lanes
        noise = self._noise.elements(rows * padded, random_bits, self._load_lanes)
        return noise.reshape(rows, padded)[:, :columns]

    def _fp4_product(self, tensor, integers, codes, recipe):
        """Sums ``codes @ integers`` for codes (rows, terms) and integers (terms, columns)."""
        transposed = self._operations.matmul(
            tensor, integers.T, codes, ShiftOperand.FP4, recipe.fmt
        )
        return transposed.T

    def _masked(self, tensor, sums, factor, operand):
        return self._scale(tensor, sums * operand.in_range, factor)

    def _scale(self, tensor, accumulators, factor, *, bias=0, relu=False):
        scaled = self._operations.scale_to_float(
            tensor, accumulators, factor, self.wide, bias=bias, relu=relu
        )
        return np.ascontiguousarray(scaled.values)

    def _straight_through(self, layer, output_gradient):
        """Gradients of the dequantised operands, in float32."""
        gradient = output_gradient.astype(np.float32)
        (activations, activation_step), (weights, weight_step) = (
            self._activations[layer],
            self._weights[layer],
        )
        dx = gradient @ (weights.codes * np.float32(weight_step))
        dw = gradient.T @ (activations.codes * np.float32(activation_step))
        input_step, weight_step = (
            float(np.sum(upstream * quantized.derivative, dtype=np.float64))
            * 2.0**-quantized.residual_bits
            for upstream, quantized in ((dx, activations), (dw, weights))
        )
        others = dw * weights.in_range, input_step, weight_step
        return Gradients(dx * activations.in_range, lambda: others)


def _step_value(total, factor, operand):
    return total * float(factor.value) * 2.0**-operand.residual_bits
