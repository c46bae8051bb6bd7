"""Dense layers, forward and backward side by side: in float, and with 4-bit matrix products.

Axes: ``batch`` rows of a mini-batch, ``in`` and ``out`` features of a layer. Weights are
``(out, in)``. A gradient has the shape of what it is the gradient of.
"""

# Ref: Esser et al., "Learned Step Size Quantization", ICLR 2020, arXiv 1902.08153v3
# Section: 2, equations 1 to 3

from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from nibblegrad.golden.cores.quantizer import gradient_factor
from nibblegrad.golden.numbers.random_bits import RandomBits, seed_state
from nibblegrad.golden.training.backend import ACTIVATIONS, WEIGHTS
from nibblegrad.golden.training.gradient_recipe import (
    GradientRecipe,
    GradScale,
    gradient_parts,
    needed_exponent,
)
from nibblegrad.golden.training.learned_step import BoundedStep, LearnedStep, PublishedStep
from nibblegrad.golden.training.passes import Passes, Weights

__all__ = [
    "ACTIVATION_MEMORY",
    "Dense",
    "Layer",
    "ProductLayer",
    "ProductRequest",
    "QuantizedDense",
    "dense",
    "relu",
    "relu_backward",
]

#: Weight of the batches before in what the steps of activations take for the size of the tensor.
ACTIVATION_MEMORY = 0.9

_NO_BIAS = np.float32(0)


def dense(x: npt.NDArray, weights: npt.NDArray, bias: npt.ArrayLike) -> npt.NDArray:
    """Compute ``x @ weights.T + bias``, (batch, in) to (batch, out)."""
    return x @ weights.T + bias


def relu(x: npt.NDArray) -> npt.NDArray:
    """Replace negative numbers by zero."""
    return np.maximum(x, 0)


def relu_backward(output_gradient: npt.NDArray, output: npt.NDArray) -> npt.NDArray:
    """Compute the gradient by the input of :func:`relu`, given its output; 0 where that is 0."""
    return output_gradient * (output > 0)


class Layer(Protocol):
    """What a trainer asks of every part of a network.

    Attributes
    ----------
    parameters : dict of array of float32
        What is learned, by name; an optimiser changes it in place.
    gradients : dict of array
        Gradients of the last backward pass, by the same names.
    steps : dict of LearnedStep
        Parameters that are step sizes and learned by a rule of their own, by the same names.
    statistics : dict of array
        What else is kept from step to step, and goes into a checkpoint.
    """

    parameters: dict[str, npt.NDArray[np.float32]]
    steps: dict[str, LearnedStep]
    statistics: dict[str, npt.NDArray]

    @property
    def gradients(self) -> dict[str, npt.NDArray]: ...

    def announce(self) -> dict[str, Weights]:
        """Give the weights that a step of the backend begins with, by name; none if it has none."""

    def forward(self, x: npt.NDArray, passes: Passes, *, training: bool = True) -> npt.NDArray:
        """Compute the output.

        Parameters
        ----------
        x : array of float, batch first
            Input.
        passes : Passes
            The step that has begun with what the layer has announced.
        training : bool
            Whether this is a step of the training, and not its judgement.
        """

    def backward(
        self, output_gradient: npt.NDArray, passes: Passes, *, want_input_gradient: bool = True
    ) -> npt.NDArray | None:
        """Compute the gradient by the input of the last forward pass, and set ``gradients``.

        Returns None if the gradient by the input is not wanted and costs anything.
        """


@dataclass(frozen=True)
class ProductRequest:
    """What a network wants of a method where it has weights: a layer that multiplies by them.

    Attributes
    ----------
    name : str
        Name of the layer.
    weights : array of float32, shape (out, in)
        Initial weights; the layer may keep and change them. The bias starts at 0.
    x : array of float, shape (rows, ...)
        Some inputs.
    has_relu, has_bias : bool
        Whether ReLU follows, and whether a bias is added.
    gradient : GradientRecipe or None
        How output gradients become FP4.
    step_rule : type of LearnedStep
        How step sizes are learned, if there are any.
    noise : RandomBits
        Random words of this layer.
    """

    name: str
    weights: npt.NDArray[np.float32]
    x: npt.NDArray
    has_relu: bool
    has_bias: bool
    gradient: GradientRecipe | None
    step_rule: type[BoundedStep] | type[PublishedStep]
    noise: RandomBits


class ProductLayer(Layer, Protocol):
    """Layer with weights: from rows of features to rows of others.

    Attributes
    ----------
    is_quantized : bool
        Whether its products are made by the backend, from INT4 codes.
    """

    is_quantized: ClassVar[bool]

    @classmethod
    def make(cls, wanted: ProductRequest) -> "ProductLayer":
        """Make the layer that a network wants."""


class Dense:
    """Dense layer in float32, with or without ReLU.

    Parameters
    ----------
    weights : array of float32, shape (out, in)
        Initial weights; the bias starts at 0.
    has_relu : bool
        Whether ReLU follows.
    has_bias : bool
        Whether a bias is added.

    Attributes
    ----------
    parameters : dict of array of float32
        ``weights`` and ``bias``; an optimiser changes them in place.
    gradients : dict of array
        Gradients of the last backward pass, by the same names.
    """

    is_quantized: ClassVar[bool] = False

    @classmethod
    def make(cls, wanted: ProductRequest) -> "Dense":
        """Make the layer that a network wants."""
        return cls(wanted.weights, wanted.has_relu, wanted.has_bias)

    def __init__(
        self, weights: npt.NDArray[np.float32], has_relu: bool, has_bias: bool = True
    ) -> None:
        self.parameters = _parameters(weights, has_bias)
        self.gradients: dict[str, npt.NDArray] = {}
        self.steps: dict[str, LearnedStep] = {}
        self.statistics: dict[str, npt.NDArray] = {}
        self.has_relu = has_relu

    def announce(self) -> dict[str, Weights]:
        """Give nothing: the weights are multiplied here."""
        return {}

    def forward(
        self, x: npt.NDArray, passes: Passes | None = None, *, training: bool = True
    ) -> npt.NDArray:
        """Compute the output, (batch, in) to (batch, out)."""
        output = dense(x, self.parameters["weights"], self.parameters.get("bias", _NO_BIAS))
        if self.has_relu:
            output = relu(output)
        self._x, self._output = x, output
        return output

    def backward(
        self,
        output_gradient: npt.NDArray,
        passes: Passes | None = None,
        *,
        want_input_gradient: bool = True,
    ) -> npt.NDArray | None:
        """Compute the gradient by the input, and set ``gradients``."""
        if self.has_relu:
            output_gradient = relu_backward(output_gradient, self._output)
        self.gradients = {"weights": output_gradient.T @ self._x}
        if "bias" in self.parameters:
            self.gradients["bias"] = output_gradient.sum(axis=0)
        return output_gradient @ self.parameters["weights"] if want_input_gradient else None


class QuantizedDense:
    """Dense layer whose products of matrices are 4-bit, made by a backend.

    Forward: INT4 weights and UINT4 activations with learned steps. Backward: by ``recipe``, or
    straight through in float32 without one.

    Parameters
    ----------
    name : str
        Name of the layer, for the backend.
    weights : array of float32, shape (out, in)
        Initial master weights; the bias starts at 0.
    has_relu : bool
        Whether ReLU follows.
    x : array of float, shape (rows, ...)
        Some inputs, not negative; they set the first step of the activations.
    recipe : GradientRecipe or None
        How output gradients become FP4.
    has_bias : bool
        Whether a bias is added.
    step_rule : type of LearnedStep
        How the steps are learned.
    noise : RandomBits or None
        Random words for gradients of two terms; those of seed 0 if not given.

    Attributes
    ----------
    parameters : dict of array of float32
        ``weights``, ``bias``, and the steps ``weight_step`` and ``activation_step`` (shape ()).
    gradients : dict of array
        Gradients of the last backward pass, by the same names.
    steps : dict of LearnedStep
        ``weight_step`` and ``activation_step``; their values are those in ``parameters``.
    recipe : GradientRecipe or None
        As given.
    input, output_gradient : array of float
        What the last pass forward, and backward behind the ReLU, has got.
    """

    is_quantized: ClassVar[bool] = True

    @classmethod
    def make(cls, wanted: ProductRequest) -> "QuantizedDense":
        """Make the layer that a network wants."""
        return cls(
            wanted.name,
            wanted.weights,
            wanted.has_relu,
            wanted.x,
            wanted.gradient,
            wanted.has_bias,
            wanted.step_rule,
            wanted.noise,
        )

    def __init__(
        self,
        name: str,
        weights: npt.NDArray[np.float32],
        has_relu: bool,
        x: npt.NDArray,
        recipe: GradientRecipe | None,
        has_bias: bool = True,
        step_rule: type[BoundedStep] | type[PublishedStep] = BoundedStep,
        noise: RandomBits | None = None,
    ) -> None:
        self.steps: dict[str, LearnedStep] = {
            "weight_step": step_rule(weights, WEIGHTS),
            "activation_step": step_rule(x, ACTIVATIONS, ACTIVATION_MEMORY),
        }
        self.name = name
        self.parameters = _parameters(weights, has_bias)
        self.parameters |= {key: step.value for key, step in self.steps.items()}
        self.statistics: dict[str, npt.NDArray] = {}
        self.has_relu = has_relu
        self.recipe = recipe
        # Of the LSQ paper: N is the count of weights, or of features of one image.
        self._factors = {
            "weight_step": gradient_factor(weights.size, WEIGHTS),
            "activation_step": gradient_factor(x[0].size, ACTIVATIONS),
        }
        self._noise = noise or RandomBits(seed_state(0))
        self._scale = GradScale() if recipe and recipe.grad_scale else None
        self._backward_passes = 0

    def announce(self) -> dict[str, Weights]:
        """Give the weights, and let their step follow them."""
        weights = self.parameters["weights"]
        self.steps["weight_step"].observe(weights)
        return {self.name: Weights(weights, float(self.parameters["weight_step"]))}

    def forward(
        self, x: npt.NDArray, passes: Passes, *, training: bool = True
    ) -> npt.NDArray[np.float32]:
        """Compute the output, (rows, in) to (rows, out), numbers of the wide format."""
        if training:
            self.steps["activation_step"].observe(x)
            self.input = x
        self._output = passes.forward(
            self.name,
            x,
            float(self.parameters["activation_step"]),
            self.parameters.get("bias"),
            relu=self.has_relu,
        )
        return self._output

    def backward(
        self, output_gradient: npt.NDArray, passes: Passes, *, want_input_gradient: bool = True
    ) -> npt.NDArray | None:
        """Compute the gradient by the input; ``gradients`` has the others."""
        if self.has_relu:
            output_gradient = relu_backward(output_gradient, self._output)
        self.output_gradient = output_gradient
        gradient, recipe, exponent = output_gradient, self.recipe, None
        if recipe:
            exponent = needed_exponent(gradient, recipe)
            if self._scale:
                exponent = self._scale.follow(exponent)
            gradient = gradient_parts(gradient, recipe, exponent, self._noise)
            recipe = recipe.in_step(self._backward_passes)
            self._backward_passes += 1
        self._products = passes.backward(
            self.name, gradient, recipe, want_input_gradient=want_input_gradient, exponent=exponent
        )
        self._bias_gradient = output_gradient.sum(axis=0, dtype=np.float64)
        return self._products.inputs

    @property
    def gradients(self) -> dict[str, npt.NDArray]:
        """Gradients of the last backward pass; waits for a backend that is still at work."""
        products = self._products
        weights = products.weights
        if self.recipe and self.recipe.parts > 1:
            weights = weights.reshape(self.recipe.parts, -1, weights.shape[1]).sum(axis=0)
        gradients = {
            "weights": weights,
            "weight_step": np.array(products.weight_step * self._factors["weight_step"]),
            "activation_step": np.array(
                products.activation_step * self._factors["activation_step"]
            ),
        }
        if "bias" in self.parameters:
            gradients["bias"] = self._bias_gradient
        return gradients


def _parameters(weights, has_bias):
    bias = {"bias": np.zeros(len(weights), np.float32)} if has_bias else {}
    return {"weights": weights, **bias}
