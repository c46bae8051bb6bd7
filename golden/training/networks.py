"""Networks that can be trained, and how: settings, and the layers made from them."""

# Ref: He et al., "Delving Deep into Rectifiers", ICCV 2015, for the initial weights
# Ref: Mishkin and Matas, "All you need is a good init", ICLR 2016, arXiv 1511.06422, for their
#      scaling by what some rows of the training set become

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nibblegrad.golden.errors import InputError
from nibblegrad.golden.numbers.random_bits import RandomBits, seed_state
from nibblegrad.golden.training.convolution import (
    BatchNormalization,
    Convolution,
    Flatten,
    MaxPool,
    Relu,
)
from nibblegrad.golden.training.data import Dataset
from nibblegrad.golden.training.gradient_recipe import GradientRecipe
from nibblegrad.golden.training.layers import Layer, ProductLayer, ProductRequest
from nibblegrad.golden.training.learned_step import find_step_rule
from nibblegrad.golden.training.passes import Backend
from nibblegrad.golden.training.recipes import Recipe

__all__ = [
    "FIRST_DEVIATION",
    "FIRST_ROWS",
    "GREATEST_GAIN",
    "JUDGED_ROWS",
    "LAST_LAYER",
    "MOST_ACTIVATIONS",
    "MOST_BATCH",
    "MOST_EPOCHS",
    "MOST_LAYERS",
    "MOST_WEIGHTS",
    "NETWORKS",
    "WHOLE_BATCH",
    "NetworkBuilder",
    "Settings",
    "build_network",
    "check_poolings",
    "check_size",
]

#: Networks by the name used on the command line.
NETWORKS = ("mlp", "cnn")

# Streams of the random generator, beside 0 and 1 of the backend.
_WEIGHT_STREAM = 1 << 16
_TERM_STREAM = 1 << 18

#: Channels that cameras have: grey, with or without transparency, colour, likewise.
_MOST_COLOURS = 4

#: Rows of a mini-batch whose gradients have the whole bound.
WHOLE_BATCH = 64
#: Rows of the training set, evenly spread, that initial biases, weights and steps are made from.
FIRST_ROWS = 256
#: Deviation of a hidden dense layer's sums from their mean on those rows, at first.
FIRST_DEVIATION = 0.5
#: What its initial weights are multiplied by at most to get there.
GREATEST_GAIN = 8.0
#: Bounds of what is asked for: a slip of the hand is said at once, not when memory or life is over.
MOST_LAYERS = 100
MOST_EPOCHS = 100_000
MOST_BATCH = 1_000_000
MOST_WEIGHTS = 1 << 26
#: Numbers that lie between the layers for a mini-batch, or for the rows that are judged at once.
MOST_ACTIVATIONS = 1 << 30
#: Rows that are judged at once.
JUDGED_ROWS = 512
#: What the initial weights of the last layer are multiplied by: the loss begins at guessing.
LAST_LAYER = 0.1


@dataclass(frozen=True)
class Settings:
    """Network and schedule, the same for all recipes.

    Parameters
    ----------
    network : str
        ``mlp``: dense layers with ReLU. ``cnn``: blocks of convolution 3 x 3, batch normalisation,
        ReLU and pooling 2 x 2, then a dense layer.
    hidden : tuple of int
        Features of the hidden layers of ``mlp``.
    channels : tuple of int
        Channels of the blocks of ``cnn``.
    epochs, batch : int
        Count of passes over the training set, and of images in a mini-batch.
    learning_rate : float
        Learning rate after the warm-up.
    momentum, weight_decay : float
        See :class:`nibblegrad.golden.training.optimizers.MomentumSGD`.
    warm_up : float
        Part of the training, 0 to 1, in which the learning rate rises.
    greatest_norm : float
        Bound of the gradient by all weights and biases together; longer ones are scaled down. It is
        meant for mini-batches of 64 rows or more, see :attr:`norm_bound`.
    step_rule : str
        How step sizes are learned: a name in
        :data:`nibblegrad.golden.training.learned_step.STEP_RULES`.

    Raises
    ------
    InputError
        If there is no such network or rule, or a number is out of range.
    """

    network: str = "mlp"
    hidden: tuple[int, ...] = (128, 128)
    channels: tuple[int, ...] = (16, 32)
    epochs: int = 20
    batch: int = 64
    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 0.0
    warm_up: float = 0.1
    greatest_norm: float = 1.25
    step_rule: str = "bounded"

    def __post_init__(self) -> None:
        if self.network not in NETWORKS:
            raise InputError(f"Network must be one of {', '.join(NETWORKS)}, not {self.network!r}")
        counts = [
            *(("Hidden layer size", size, None) for size in self.hidden),
            *(("Count of channels", count, None) for count in self.channels),
            ("Epochs", self.epochs, MOST_EPOCHS),
            ("Batch size", self.batch, MOST_BATCH),
            ("Count of hidden layers", max(len(self.hidden), 1), MOST_LAYERS),
            ("Count of convolutions", max(len(self.channels), 1), MOST_LAYERS),
        ]
        for what, count, most in counts:
            if count < 1:
                raise InputError(f"{what} must be at least 1, not {count}")
            if most and count > most:
                raise InputError(f"{what} must be at most {most:,}, not {count:,}")
        if not 0 < self.learning_rate < math.inf:
            raise InputError(f"Learning rate must be positive, not {self.learning_rate}")
        if not 0 <= self.warm_up <= 1:
            raise InputError(f"Warm-up must be a part of the steps, 0 to 1, not {self.warm_up}")
        if not self.greatest_norm > 0:
            raise InputError(f"Bound of the gradients must be positive, not {self.greatest_norm}")
        find_step_rule(self.step_rule)

    @property
    def norm_bound(self) -> float:
        """Bound of the gradients' norm: less by the fourth root for mini-batches below 64 rows.

        The fewer rows, the more of a gradient is noise, and the more steps add it up.
        """
        return self.greatest_norm * min(1.0, self.batch / WHOLE_BATCH) ** 0.25


def build_network(
    settings: Settings, dataset: Dataset, seed: int, recipe: Recipe, backend: Backend
) -> dict[str, Layer]:
    """Make the layers of a network, by name, first layer first.

    Some rows, evenly spread over the training set, go through the network once. They set the
    steps of the activations; the scale of the weights of hidden dense layers, whose sums deviate
    by 1/2 from their means; and the biases of dense layers, which make these means 0.

    Parameters
    ----------
    settings : Settings
        Which network.
    dataset : Dataset
        Images and labels.
    seed : int
        Seed of the initial weights, and of gradients of two terms.
    recipe : Recipe
        What is 4-bit.
    backend : Backend
        Who computes what is 4-bit.

    Raises
    ------
    InputError
        If ``cnn`` gets no images, too small ones, or ones whose channels seem to come first.
    """
    count = len(dataset.train_x)
    rows = dataset.train_x[np.arange(min(FIRST_ROWS, count)) * count // min(FIRST_ROWS, count)]
    if settings.network == "cnn":
        rows = rows.reshape(-1, *_image_shape(dataset, len(settings.channels)))
    builder = NetworkBuilder(rows, seed, recipe, backend, settings.step_rule)
    if settings.network == "mlp":
        for number, count in enumerate(settings.hidden):
            builder.add_dense(f"layer{number}", count)
        builder.add_last(f"layer{len(settings.hidden)}", dataset.classes)
        return builder.layers
    for number, channels in enumerate(settings.channels):
        builder.add_convolution(f"convolution{number}", channels)
        builder.add(f"normalization{number}", BatchNormalization(channels, recipe.quantized))
        builder.add(f"relu{number}", Relu())
        builder.add(f"pool{number}", MaxPool())
    builder.add("flatten", Flatten())
    builder.add_last("dense", dataset.classes)
    return builder.layers


def check_size(settings: Settings, dataset: Dataset) -> None:
    """Refuse a network that takes more memory than there may be, before any of it is taken.

    Raises
    ------
    InputError
        If it has too many weights, or too many numbers lie between its layers; if ``cnn`` gets no
        images, too small ones, or ones whose channels seem to come first.
    """
    if settings.network == "mlp":
        sizes = (dataset.train_x.shape[1], *settings.hidden, dataset.classes)
        weights = sum(a * b for a, b in itertools.pairwise(sizes))
        per_row = sum(sizes)
    else:
        height, width, before = _image_shape(dataset, len(settings.channels))
        weights = per_row = 0
        for channels in settings.channels:
            weights += 9 * before * channels
            # The neighbourhoods, and what becomes of them.
            per_row += height * width * (9 * before + channels)
            height, width, before = height // 2, width // 2, channels
        weights += height * width * before * dataset.classes
    rows = max(min(settings.batch, len(dataset.train_x)), FIRST_ROWS, JUDGED_ROWS)
    for count, what, most, remedy in (
        (weights, "weights", MOST_WEIGHTS, "make its layers smaller"),
        (
            rows * per_row,
            f"numbers between its layers for {rows:,} rows",
            MOST_ACTIVATIONS,
            "make its layers, the images or the mini-batches smaller",
        ),
    ):
        if count > most:
            raise InputError(
                f"Network {settings.network} would have {count:,} {what}, and {most:,} are the "
                f"most that are taken; {remedy}"
            )


def _image_shape(dataset, poolings):
    shape = dataset.image_shape
    if shape is None:
        raise InputError(
            f"Network cnn needs images of shape (rows, height, width) or (rows, height, width, "
            f"channels), not {dataset.train_x.shape[1]} features in a row; choose network mlp"
        )
    if shape[0] <= _MOST_COLOURS < min(shape[1:]):
        dimensions = ", ".join(map(str, shape))
        raise InputError(
            f"Network cnn needs images of shape (rows, height, width, channels), and in (rows, "
            f"{dimensions}) the channels seem to come first; save x.transpose(0, 2, 3, 1) instead, "
            "or choose network mlp"
        )
    check_poolings(shape, poolings)
    return shape


def check_poolings(image_shape: Sequence[int], poolings: int) -> None:
    """Refuse images, (height, width, ...), of which nothing would be left after the poolings.

    Raises
    ------
    InputError
        If they are too small.
    """
    height, width = image_shape[:2]
    least = 1 << poolings
    if min(height, width) < least:
        raise InputError(
            f"Network cnn with {poolings} poolings needs images of at least {least} x {least} "
            f"pixels, not {height} x {width}"
        )


class NetworkBuilder:
    """Layers so far, and what the first rows have become.

    Parameters
    ----------
    x : array of float32, shape (rows, ...)
        First rows.
    seed, recipe, backend :
        As in :func:`build_network`.
    step_rule : str
        As in :class:`Settings`.

    Attributes
    ----------
    layers : dict of Layer
        By name, in order.
    """

    def __init__(
        self,
        x: npt.NDArray,
        seed: int,
        recipe: Recipe,
        backend: Backend,
        step_rule: str = "bounded",
    ) -> None:
        self.layers: dict[str, Layer] = {}
        self._x = x
        self._seed = seed
        self._recipe = recipe
        self._backend = backend
        self._step_rule = find_step_rule(step_rule)
        # Layers with weights have random streams of their own, by their number.
        self._numbers = itertools.count()

    def add(self, name: str, layer: Layer) -> None:
        """Append a layer, and send the rows through it."""
        with self._backend.begin(layer.announce()) as passes:
            self._x = layer.forward(self._x, passes)
        self.layers[name] = layer

    def add_dense(self, name: str, features: int) -> None:
        """Append a hidden dense layer with ReLU."""
        number = next(self._numbers)
        weights = self._weights(number, features, self._x.shape[-1])
        deviation = math.sqrt((self._x @ weights.T).var(axis=0, dtype=np.float64).mean())
        weights *= np.float32(FIRST_DEVIATION / max(deviation, FIRST_DEVIATION / GREATEST_GAIN))
        self._add_centred(name, number, weights, self._recipe.gradient, has_relu=True)

    def add_last(self, name: str, classes: int) -> None:
        """Append the dense layer whose outputs are the logits."""
        number = next(self._numbers)
        weights = self._weights(number, classes, self._x.shape[-1])
        weights *= np.float32(LAST_LAYER)
        self._add_centred(name, number, weights, self._recipe.last, has_relu=False)

    def add_convolution(self, name: str, channels: int) -> None:
        """Append a convolution; it needs no bias before a normalisation."""
        number = next(self._numbers)
        weights = self._weights(number, channels, 9 * self._x.shape[-1])
        product = self._product(
            name, number, weights, self._recipe.gradient, has_relu=False, has_bias=False
        )
        self.add(name, Convolution(product))

    def _add_centred(self, name, number, weights, gradient, has_relu):
        layer = self._product(name, number, weights, gradient, has_relu, has_bias=True)
        layer.parameters["bias"][:] = -(self._x @ weights.T).mean(axis=0, dtype=np.float64)
        self.add(name, layer)

    def _weights(self, number, out_features, in_features):
        """He et al.: variance ``2 / in_features``, here of a uniform distribution."""
        words = RandomBits(seed_state(self._seed, _WEIGHT_STREAM + number))
        uniform = words.words(out_features * in_features) * 2.0**-31 - 1.0
        weights = uniform * math.sqrt(6 / in_features)
        return weights.astype(np.float32).reshape(out_features, in_features)

    def _product(
        self,
        name: str,
        number: int,
        weights: npt.NDArray[np.float32],
        gradient: GradientRecipe | None,
        has_relu: bool,
        has_bias: bool,
    ) -> ProductLayer:
        return self._recipe.layer.make(
            ProductRequest(
                name,
                weights,
                self._x,
                has_relu,
                has_bias,
                gradient,
                self._step_rule,
                RandomBits(seed_state(self._seed, _TERM_STREAM + number)),
            )
        )
