"""Recipes: training methods put together from slots, and what is registered of a method."""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy.typing as npt

from nibblegrad.golden.errors import InputError
from nibblegrad.golden.training.gradient_recipe import GradientRecipe
from nibblegrad.golden.training.layers import Dense, Layer, ProductLayer, QuantizedDense
from nibblegrad.golden.training.loss import CrossEntropy
from nibblegrad.golden.training.optimizers import MomentumSGD

__all__ = ["Hook", "Method", "Recipe"]


class Hook:
    """What a method does around a training step. A subclass overrides what it needs.

    One is made for each training, so it may keep what it likes; what is to be in a checkpoint
    belongs into ``parameters`` or ``statistics`` of a layer.

    Parameters
    ----------
    layers : mapping of str to Layer
        The network, first layer first.
    """

    def __init__(self, layers: Mapping[str, Layer]) -> None:
        self.layers = layers

    def before_step(self, step: int) -> None:
        """Act before the layers announce their weights to the backend.

        Parameters
        ----------
        step : int
            Number of the step in the training, from 0.
        """

    def before_update(self, gradients: dict[str, dict[str, npt.NDArray]]) -> None:
        """Change gradients, by layer and parameter, before they are clipped and applied."""

    def after_update(self, step: int) -> None:
        """Act when weights and step sizes have changed, and before the step counts as done."""


@dataclass(frozen=True)
class Recipe:
    """Training method, as a trainer takes it: a choice for each slot.

    Parameters
    ----------
    name : str
        Name used on the command line and in files.
    layer : type of ProductLayer
        What has the weights of a network: :class:`nibblegrad.golden.training.layers.Dense` in
        float32, :class:`nibblegrad.golden.training.layers.QuantizedDense` in INT4, or a class with
        the same methods.
    gradient : GradientRecipe or None
        How output gradients become FP4; None trains straight through in float32.
    last_gradient : GradientRecipe, None or "same"
        The same for the last layer, whose output gradient is that of the loss.
    loss : type of CrossEntropy
        What computes the loss and its gradient; one of its kind is made for each training.
    optimizer : type of MomentumSGD
        What updates weights and biases; one is made for each layer.
    hooks : tuple of function
        What is done around a step: each makes a :class:`Hook` from the layers of a network. They
        act in their order.

    Raises
    ------
    InputError
        If gradients are to become FP4 in a forward pass that is not INT4.
    """

    name: str
    layer: type[ProductLayer] = QuantizedDense
    gradient: GradientRecipe | None = None
    last_gradient: GradientRecipe | Literal["same"] | None = "same"
    loss: type[CrossEntropy] = CrossEntropy
    optimizer: type[MomentumSGD] = MomentumSGD
    hooks: tuple[Callable[[Mapping[str, Layer]], Hook], ...] = ()

    def __post_init__(self) -> None:
        if not self.quantized and (self.gradient or self.last):
            raise InputError("FP4 gradients need a quantised forward pass")

    @property
    def quantized(self) -> bool:
        """Whether the forward pass is INT4."""
        return self.layer.is_quantized

    @property
    def last(self) -> GradientRecipe | None:
        """How output gradients of the last layer become FP4."""
        return self.gradient if self.last_gradient == "same" else self.last_gradient

    def about(self) -> dict[str, Any]:
        """Say what it consists of, JSON-serialisable, for checkpoints."""
        about: dict[str, Any] = {
            "name": self.name,
            "quantized": self.quantized,
            "gradient": _fields(self.gradient),
            "last_gradient": _fields(self.last_gradient),
        }
        for slot, usual in (
            ("layer", (Dense, QuantizedDense)),
            ("loss", (CrossEntropy,)),
            ("optimizer", (MomentumSGD,)),
        ):
            if getattr(self, slot) not in usual:
                about[slot] = getattr(self, slot).__qualname__
        if self.hooks:
            about["hooks"] = [getattr(hook, "__qualname__", repr(hook)) for hook in self.hooks]
        return about


def _fields(gradient):
    return dataclasses.asdict(gradient) if isinstance(gradient, GradientRecipe) else gradient


@dataclass(frozen=True)
class Method:
    """Registration of a training method: ``METHOD`` of a module of ``golden.training.methods``.

    Parameters
    ----------
    recipe : Recipe
        What is trained by its name.
    forward, backward : str
        How the products of a forward and of a backward pass are computed, for tables.
    variants : tuple of Recipe
        The same with one choice made otherwise, to see what it is worth and what it costs.
    label : str
        What it is called in the legends of charts; the recipe's name if empty.
    greatest_gaps : pair of float, or None
        Bars of ``nibblegrad robust``: how many points it may be below float32, in the mean of all
        cases and in any case; there are none if not given.
    rank : int
        Place in tables, and among the colours of charts: lower ones first, equal ones by name.
    is_core_default : bool
        Whether training cores of its gradients' format are trained by it where none is named.
    """

    recipe: Recipe
    forward: str
    backward: str
    variants: tuple[Recipe, ...] = ()
    label: str = ""
    greatest_gaps: tuple[float, float] | None = None
    rank: int = 100
    is_core_default: bool = False

    @property
    def name(self) -> str:
        """Name of the recipe."""
        return self.recipe.name
