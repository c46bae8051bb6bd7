"""The watch: what goes wrong in a training, noticed while it happens, and in which layer.

A network that has stopped learning looks like any other from outside: its loss stays where it is.
So now and then the codes of every layer are looked at, and after every epoch the loss and the
predictions. What is looked at lies on the host already, whoever does the arithmetic.
"""

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nibblegrad.golden.cores.quantizer import quantize
from nibblegrad.golden.numbers.formats import IntFormat
from nibblegrad.golden.training.backend import ACTIVATIONS, WEIGHTS
from nibblegrad.golden.training.conversions import reciprocal_scale
from nibblegrad.golden.training.convolution import Convolution
from nibblegrad.golden.training.gradient_recipe import needed_exponent
from nibblegrad.golden.training.layers import Layer, QuantizedDense
from nibblegrad.golden.training.learned_step import LearnedStep, PublishedStep

__all__ = [
    "GUESSING",
    "LEARNED",
    "LEAST_HELD",
    "LEAST_INTERVAL",
    "MOST_SATURATED",
    "Finding",
    "LayerFigures",
    "Watch",
]

#: Steps between two looks at the codes: at least so many, and a quarter of an epoch.
LEAST_INTERVAL = 16
#: Loss, as a part of that of guessing, from which nothing has been learned.
GUESSING = 0.99
#: Part of the codes at a limit of the format beyond which a step is far too small.
MOST_SATURATED = 0.5
#: Updates in a row, and not less than an epoch, that a healthy step does not end at a bound.
LEAST_HELD = 100
#: Loss below which gradients may vanish because there is nothing left to learn.
LEARNED = 0.01


@dataclass(frozen=True)
class Finding:
    """Something that went wrong.

    Attributes
    ----------
    layer : str
        Name of the layer, or ``network``.
    epoch, step : int
        Since when, counted from 1: the epoch, and the step of the whole training.
    what, remedy : str
        What was seen, and what to try.
    """

    layer: str
    epoch: int
    step: int
    what: str
    remedy: str

    def __str__(self) -> str:
        since = f"since step {self.step} (epoch {self.epoch})"
        return f"{self.layer}: {self.what} {since}; {self.remedy}"


@dataclass(frozen=True)
class LayerFigures:
    """How a layer used its codes in an epoch: means of the looks at it.

    Attributes
    ----------
    epoch : int
        From 1.
    layer : str
        Name of the layer.
    weight_step, activation_step : float
        Step sizes.
    weight_zeros, activation_zeros : float
        Part of the codes that are 0.
    weight_saturated, activation_saturated : float
        Part of the numbers that were clipped.
    weight_held, activation_held : float
        Updates, up to the look, that ended at the floor or ceiling of the step.
    gradient_zeros : float
        Part of the output gradient that is 0, or below half of the smallest FP4 number.
    """

    epoch: int
    layer: str
    weight_step: float
    activation_step: float
    weight_zeros: float
    activation_zeros: float
    weight_saturated: float
    activation_saturated: float
    weight_held: float
    activation_held: float
    gradient_zeros: float


class Watch:
    """Looks after a training.

    Parameters
    ----------
    layers : dict of Layer
        The network.
    labels : array of int, shape (rows,)
        Labels of the training set; guessing has the loss of their shares.
    epochs, steps : int
        Count of epochs, and of steps in one.

    Attributes
    ----------
    findings : list of Finding
        What went wrong, in the order in which it was noticed; each once.
    figures : list of LayerFigures
        One for each quantised layer and epoch that has ended.
    """

    def __init__(
        self,
        layers: Mapping[str, Layer],
        labels: npt.NDArray[np.integer],
        epochs: int,
        steps: int,
    ) -> None:
        self.findings: list[Finding] = []
        self.figures: list[LayerFigures] = []
        products = {
            name: layer.product if isinstance(layer, Convolution) else layer
            for name, layer in layers.items()
        }
        self._layers = {
            name: layer for name, layer in products.items() if isinstance(layer, QuantizedDense)
        }
        shares = np.bincount(labels) / len(labels)
        self._guessing = -sum(share * math.log(share) for share in shares if share)
        self._epochs, self._steps = epochs, steps
        self._interval = max(LEAST_INTERVAL, steps // 4)
        self._step = self._epoch = 0
        self._looks: dict[str, list[tuple[float, ...]]] = {name: [] for name in self._layers}
        self._single = 0
        self._known: set[tuple[str, str]] = set()

    def after_step(self, loss: float) -> None:
        """Count a step, and look at the codes if it is time."""
        self._step += 1
        if self._step % self._interval == 0:
            self._look(loss)

    def after_epoch(self, loss: float, predicted: int) -> None:
        """Look at the codes, the loss and the predictions.

        Parameters
        ----------
        loss : float
            Mean loss of the epoch.
        predicted : int
            Count of the classes that the test set was given.
        """
        self._look(loss)
        self._epoch += 1
        for name, looks in self._looks.items():
            self.figures.append(LayerFigures(self._epoch, name, *np.mean(looks, axis=0).tolist()))
            looks.clear()
        is_last = self._epoch == self._epochs
        has_begun = self._epoch > max(1, self._epochs // 4)
        remedy = "try another learning rate or more epochs"
        # The shares of a single class have no loss to be compared with.
        if (has_begun or is_last) and 0 < GUESSING * self._guessing <= loss:
            self._find("network", "loss", f"the loss is {loss:.2f}, that of guessing", remedy)
        self._single = self._single + 1 if predicted == 1 else 0
        if self._single > 1 or (self._single and is_last):
            self._find("network", "class", "every test row gets the same class", remedy)

    def _look(self, loss):
        for name, layer in self._layers.items():
            weights = _use(layer.parameters["weights"], layer.steps["weight_step"], WEIGHTS)
            activations = _use(layer.input, layer.steps["activation_step"], ACTIVATIONS)
            lost = _lost(layer)
            pairs = zip(weights.figures, activations.figures, strict=True)
            self._looks[name].append((*itertools.chain(*pairs), lost))
            self._judge_codes(name, "weight", weights)
            self._judge_codes(name, "activation", activations)
            if lost == 1 and loss > LEARNED:
                self._find(name, "gradient", "no gradient arrives", "try a lower learning rate")

    def _judge_codes(self, name, tensor, use):
        size = f"(step {use.step:.3g}, {use.step / use.first:.3g} times the first one)"
        if use.only is not None:
            what = f"every {tensor} code is {use.only} {size}"
        elif use.saturated > MOST_SATURATED:
            what = f"{100 * use.saturated:.0f} % of the {tensor}s are clipped {size}"
        elif use.held >= max(LEAST_HELD, self._steps):
            what = f"the {tensor} step has been at its {use.bound} for {use.held} updates {size}"
        else:
            return
        remedy = "try a lower learning rate"
        self._find(name, tensor, what, remedy if use.is_bounded else f"{remedy} or bounded steps")

    def _find(self, layer, kind, what, remedy):
        """Report something, unless something of its kind was."""
        if (layer, kind) not in self._known:
            self._known.add((layer, kind))
            epoch = (self._step - 1) // self._steps + 1
            self.findings.append(Finding(layer, epoch, self._step, what, remedy))


@dataclass(frozen=True)
class _Use:
    """How a tensor uses its codes.

    ``only`` is the code that all have, if they have the same; ``bound`` the one that is nearer.
    """

    step: float
    first: float
    zeros: float
    saturated: float
    held: int
    bound: str
    only: int | None
    is_bounded: bool

    @property
    def figures(self):
        return self.step, self.zeros, self.saturated, self.held


def _use(values: npt.NDArray, step: LearnedStep, fmt: IntFormat) -> _Use:
    size = float(step.value)
    quantized = quantize(values, reciprocal_scale(size), fmt)
    codes = quantized.codes
    least = int(codes.min())
    return _Use(
        size,
        step.first,
        np.count_nonzero(codes == 0) / codes.size,
        quantized.saturations / codes.size,
        step.held,
        "floor" if size / step.floor < step.ceiling / size else "ceiling",
        least if least == codes.max() else None,
        not isinstance(step, PublishedStep),
    )


def _lost(layer: QuantizedDense) -> float:
    """Find the part of the output gradient that is zero, or will be."""
    gradient, least = layer.output_gradient, 0.0
    if layer.recipe:
        least = 0.5 * 2.0 ** needed_exponent(gradient, layer.recipe)
    return np.count_nonzero((gradient == 0) | (np.abs(gradient) < least)) / gradient.size
