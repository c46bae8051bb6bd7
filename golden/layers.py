"""Dense layers, forward and backward side by side: in float, and with 4-bit matrix products.

Axes: ``batch`` rows of a mini-batch, ``in`` and ``out`` features of a layer. Weights are
``(out, in)``. A gradient has the shape of what it is the gradient of.
"""

# Ref: Esser et al., "Learned Step Size Quantization", ICLR 2020, arXiv 1902.08153v3
# Section: 2, equations 1 to 3

from typing import Protocol

import numpy as np
import numpy.typing as npt

from .backend import ACTIVATIONS, WEIGHTS, Backend, GradientRecipe
from .quantizer import gradient_factor, initial_step
from .stochastic_rounder import round_float

__all__ = [
    "Dense",
    "Layer",
    "QuantizedDense",
    "dense",
    "relu",
    "relu_backward",
    "softmax_cross_entropy",
]

#: A step size never falls below this part of its initial value: a step of zero has no reciprocal.
LEAST_STEP = 1 / 64

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


class Layer(Protocol):
    """What a trainer asks of every part of a network.

    Attributes
    ----------
    parameters : dict of array of float32
        What is learned, by name; an optimiser changes it in place.
    gradients : dict of array
        Gradients of the last backward pass, by the same names.
    """

    parameters: dict[str, npt.NDArray[np.float32]]

    @property
    def gradients(self) -> dict[str, npt.NDArray]: ...

    def prepare(self) -> None:
        """Announce the parameters for the passes to come, after each update."""

    def forward(self, x: npt.NDArray, *, training: bool = True) -> npt.NDArray:
        """Compute the output.

        Parameters
        ----------
        x : array of float, batch first
            Input.
        training : bool
            Whether this is a step of the training, and not its judgement.
        """

    def backward(
        self, output_gradient: npt.NDArray, *, want_input_gradient: bool = True
    ) -> npt.NDArray | None:
        """Compute the gradient by the input of the last forward pass, and set ``gradients``.

        Returns None if the gradient by the input is not wanted and costs anything.
        """


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

    def __init__(
        self, weights: npt.NDArray[np.float32], has_relu: bool, has_bias: bool = True
    ) -> None:
        self.parameters = _parameters(weights, has_bias)
        self.gradients: dict[str, npt.NDArray] = {}
        self.has_relu = has_relu

    def prepare(self) -> None:
        """Do nothing: the weights are here."""

    def forward(self, x: npt.NDArray, *, training: bool = True) -> npt.NDArray:
        """Compute the output, (batch, in) to (batch, out)."""
        output = dense(x, self.parameters["weights"], self.parameters.get("bias", _NO_BIAS))
        if self.has_relu:
            output = relu(output)
        self._x, self._output = x, output
        return output

    def backward(
        self, output_gradient: npt.NDArray, *, want_input_gradient: bool = True
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
    x : array of float, shape (batch, ...)
        First mini-batch, not negative; it sets the first step of the activations.
    recipe : GradientRecipe or None
        How output gradients become FP4.
    backend : Backend
        Who computes.
    has_bias : bool
        Whether a bias is added.

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
        has_bias: bool = True,
    ) -> None:
        steps = {
            "weight_step": np.array(initial_step(weights, WEIGHTS), np.float32),
            "activation_step": np.array(initial_step(x, ACTIVATIONS), np.float32),
        }
        self.name = name
        self.parameters = {**_parameters(weights, has_bias), **steps}
        self.has_relu = has_relu
        # Of the LSQ paper: N is the count of weights, or of features of one image.
        self._factors = {
            "weight_step": gradient_factor(weights.size, WEIGHTS),
            "activation_step": gradient_factor(x[0].size, ACTIVATIONS),
        }
        self._least_steps = {key: step * np.float32(LEAST_STEP) for key, step in steps.items()}
        self._recipe = recipe
        self._backend = backend

    def prepare(self) -> None:
        """Hand the weights to the backend, in the wide format of the core."""
        for key, least in self._least_steps.items():
            np.maximum(self.parameters[key], least, out=self.parameters[key])
        weights = round_float(self.parameters["weights"], self._backend.wide).values
        step = float(self.parameters["weight_step"])
        self._backend.load_weights(self.name, weights, step)

    def forward(self, x: npt.NDArray, *, training: bool = True) -> npt.NDArray[np.float32]:
        """Compute the output, (rows, in) to (rows, out), numbers of the wide format."""
        self._output = self._backend.forward(
            self.name,
            x,
            float(self.parameters["activation_step"]),
            self.parameters.get("bias"),
            relu=self.has_relu,
        )
        return self._output

    def backward(
        self, output_gradient: npt.NDArray, *, want_input_gradient: bool = True
    ) -> npt.NDArray | None:
        """Compute the gradient by the input; ``gradients`` has the others."""
        if self.has_relu:
            output_gradient = relu_backward(output_gradient, self._output)
        self._products = self._backend.backward(
            self.name, output_gradient, self._recipe, want_input_gradient=want_input_gradient
        )
        self._bias_gradient = output_gradient.sum(axis=0, dtype=np.float64)
        return self._products.inputs

    @property
    def gradients(self) -> dict[str, npt.NDArray]:
        """Gradients of the last backward pass; waits for a backend that is still at work."""
        products = self._products
        gradients = {
            "weights": products.weights,
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
