"""The door of every backend: one step of a network, its passes in their order, in wide numbers.

A backend computes what is 4-bit: it quantises the operands of a layer, multiplies them and scales
the sums back, forward and backward. Whoever trains begins a step with the weights of all layers,
takes each layer forward, first to last, then backward, last to first, and ends the step. A step
refuses any other order. All that goes in is rounded to the wide format here, and nowhere else.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nibblegrad.golden.errors import InputError
from nibblegrad.golden.numbers.formats import FloatFormat
from nibblegrad.golden.training.conversions import wide_numbers
from nibblegrad.golden.training.gradient_recipe import GradientRecipe

__all__ = ["Backend", "Gradients", "Passes", "Weights"]


@dataclass(frozen=True)
class Weights:
    """Weights of a layer, as a step begins with them.

    Attributes
    ----------
    matrix : array of float, shape (outputs, inputs)
        Any numbers; they are rounded to the wide format.
    step : float
        Their step size.
    """

    matrix: npt.NDArray[np.floating]
    step: float


class Gradients:
    """What a layer gets back from its backend.

    A device that works while the host does something else is waited for when one of the others
    but ``inputs`` is asked for.

    Parameters
    ----------
    inputs : array of float32, shape (rows, inputs), or None
        Gradient by the input, +0 where its quantiser was out of range; None if not wanted.
    others : function
        Returns ``weights``, ``activation_step`` and ``weight_step``.

    Attributes
    ----------
    inputs : array of float32, shape (rows, inputs), or None
        As given.
    weights : array of float32, shape (outputs * parts, inputs)
        Gradient by the weights, likewise.
    activation_step, weight_step : float
        Gradients by the steps, without the factor of the LSQ paper.
    """

    def __init__(
        self,
        inputs: npt.NDArray[np.float32] | None,
        others: Callable[[], tuple[npt.NDArray[np.float32], float, float]],
    ) -> None:
        self.inputs = inputs
        self._others = others

    @property
    def weights(self) -> npt.NDArray[np.float32]:
        return self._others()[0]

    @property
    def activation_step(self) -> float:
        return self._others()[1]

    @property
    def weight_step(self) -> float:
        return self._others()[2]


class Backend(ABC):
    """Who computes: the hardware, or its model. A subclass says how, behind the door.

    Attributes
    ----------
    wide : FloatFormat
        Format of all matrices that go in and come out.
    """

    wide: FloatFormat
    _passes: "Passes | None" = None

    def begin(self, layers: Mapping[str, Weights]) -> "Passes":
        """Begin a step.

        Parameters
        ----------
        layers : mapping of str to Weights
            The layers of the network, first layer first: all of them, so that a backend can bring
            the weights of one while it multiplies those of another.

        Raises
        ------
        InputError
            If the step before has not ended, or weights or a step size cannot be used.
        """
        if self._passes is not None and not self._passes.has_ended:
            raise InputError("A step is under way; end it before another one begins")
        for layer, weights in layers.items():
            matrix = wide_numbers(f"{layer}.weights", weights.matrix, self.wide)
            self._load_weights(layer, matrix, weights.step)
        self._passes = Passes(self, list(layers))
        return self._passes

    @abstractmethod
    def _load_weights(self, layer: str, weights: npt.NDArray, step: float) -> None:
        """Take the weights of a layer, wide numbers, for the passes to come."""

    @abstractmethod
    def _forward(
        self,
        layer: str,
        x: npt.NDArray,
        step: float,
        bias: npt.NDArray[np.float32] | None,
        *,
        relu: bool,
    ) -> npt.NDArray[np.float32]:
        """Do what :meth:`Passes.forward` says, with wide numbers."""

    @abstractmethod
    def _backward(
        self,
        layer: str,
        output_gradient: npt.NDArray,
        recipe: GradientRecipe | None,
        *,
        want_input_gradient: bool,
        exponent: int | None,
    ) -> Gradients:
        """Do what :meth:`Passes.backward` says, with wide numbers if there is a recipe."""

    @abstractmethod
    def _end(self) -> None:
        """Wait for what is under way."""


class Passes:
    """A step: the passes of its layers, in their order. Made by :meth:`Backend.begin`.

    Each layer goes forward, first to last; to judge more rows than are given at once, all of them
    may do so again. Then each goes backward, last to first. As a context, it ends itself.

    Parameters
    ----------
    backend : Backend
        Who computes.
    layers : list of str
        Names of the layers, first layer first.

    Attributes
    ----------
    layers : list of str
        As given.
    has_ended : bool
        Whether there are no more passes.
    """

    def __init__(self, backend: Backend, layers: list[str]) -> None:
        self.has_ended = False
        self._backend = backend
        self.layers = layers
        # Counts of passes so far.
        self._forward_passes = self._backward_passes = 0

    def forward(
        self,
        layer: str,
        x: npt.NDArray,
        step: float,
        bias: npt.NDArray[np.float32] | None,
        *,
        relu: bool,
    ) -> npt.NDArray[np.float32]:
        """Multiply by the transpose of the weights.

        Parameters
        ----------
        layer : str
            Name of the layer.
        x : array of float, shape (rows, inputs)
            Numbers, rounded to the wide format and quantised to UINT4.
        step : float
            Their step size.
        bias : array of float32, shape (outputs,), or None
            Added to each row, as multiples of the unit of the sums.
        relu : bool
            Whether negative sums become zero.

        Returns
        -------
        array of float32, shape (rows, outputs)
            Numbers of the wide format.

        Raises
        ------
        InputError
            If it is not the turn of this pass, or a number cannot be used.
        """
        self._check("forward", layer)
        if self._backward_passes:
            raise InputError(
                f"Layer {layer} cannot go forward once the backward passes have begun; end this "
                "step and begin another one"
            )
        self._check_turn("forward", layer, self._next_forward())
        x = wide_numbers(f"{layer}.activations", x, self._backend.wide)
        output = self._backend._forward(layer, x, step, bias, relu=relu)
        self._forward_passes += 1
        return output

    def backward(
        self,
        layer: str,
        output_gradient: npt.NDArray,
        recipe: GradientRecipe | None,
        *,
        want_input_gradient: bool = True,
        exponent: int | None = None,
    ) -> Gradients:
        """Compute the gradients of the last forward pass of a layer.

        Parameters
        ----------
        layer : str
            Name of the layer.
        output_gradient : array of float, shape (rows, outputs * parts)
            Numbers, rounded to the wide format; the parts of
            :func:`nibblegrad.golden.training.gradient_recipe.gradient_parts` side by side.
        recipe : GradientRecipe or None
            How they become FP4; None multiplies them as they are in float32, straight through.
        want_input_gradient : bool
            Whether the gradient by the input is needed; its step's always is.
        exponent : int or None
            Scale exponent of the codes; if not given, the one with which none saturates.

        Returns
        -------
        Gradients
            Of each part, the gradient by the weights, one below the other. The gradient by the
            input is that of their sum, and so are those by the steps.

        Raises
        ------
        InputError
            If it is not the turn of this pass, or a number or the recipe cannot be used.
        """
        self._check("backward", layer)
        if not self._forward_passes or self._forward_passes % len(self.layers):
            raise InputError(
                f"Layer {layer} cannot go backward before every layer has gone forward, and "
                f"{self._next_forward()} has not"
            )
        if self._backward_passes == len(self.layers):
            raise InputError(
                f"Layer {layer} cannot go backward twice in a step; end this one and begin another"
            )
        self._check_turn("backward", layer, self.layers[-1 - self._backward_passes])
        if recipe is not None:
            output_gradient = self.to_wide(f"Gradient of {layer}", output_gradient)
        gradients = self._backend._backward(
            layer,
            output_gradient,
            recipe,
            want_input_gradient=want_input_gradient,
            exponent=exponent,
        )
        self._backward_passes += 1
        return gradients

    def to_wide(self, what: str, x: npt.NDArray) -> npt.NDArray[np.floating]:
        """Round what the host has computed as what crosses to the backend is rounded.

        Parameters
        ----------
        what : str
            What the numbers are, as messages have it.
        x : array of float, any shape

        Returns
        -------
        array of float, same shape
            The same array if all are numbers of the wide format.

        Raises
        ------
        InputError
            As :func:`nibblegrad.golden.training.conversions.wide_numbers`.
        """
        return wide_numbers(what, x, self._backend.wide)

    def end(self) -> None:
        """Wait for what is under way. There are no passes any more; gradients stay."""
        if not self.has_ended:
            self.has_ended = True
            self._backend._end()

    def __enter__(self) -> "Passes":
        return self

    def __exit__(self, failure: type[BaseException] | None, *_: object) -> None:
        # After a failure, what is under way may never come.
        if failure is None:
            self.end()
        self.has_ended = True

    def _next_forward(self):
        return self.layers[self._forward_passes % len(self.layers)]

    def _check(self, direction, layer):
        """Refuse a pass of a step that has ended, or of a layer that it did not begin with."""
        if self.has_ended:
            raise InputError(
                f"Layer {layer} cannot go {direction} in a step that has ended; begin another one"
            )
        if layer not in self.layers:
            raise InputError(
                f"Layer {layer} cannot go {direction} in a step that began without its weights; "
                f"it has {', '.join(self.layers) or 'no layers'}"
            )

    def _check_turn(self, direction, layer, expected):
        if layer != expected:
            raise InputError(f"Layer {layer} cannot go {direction} before {expected}")
