"""Networks that can be trained, and how: settings, and the layers made from them."""

# Ref: He et al., "Delving Deep into Rectifiers", ICCV 2015, for the initial weights

import itertools
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .backend import Backend, GradientRecipe
from .convolution import BatchNormalization, Convolution, Flatten, MaxPool, Relu
from .data import Dataset
from .errors import InputError
from .layers import Dense, Layer, QuantizedDense
from .random_bits import RandomBits, seed_state

__all__ = ["NETWORKS", "NetworkBuilder", "Settings", "build_network"]

#: Networks by the name used on the command line.
NETWORKS = ("mlp", "cnn")

# Streams of the random generator, beside 0 and 1 of the backend.
_WEIGHT_STREAM = 1 << 16


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
        Learning rate of the first step.
    momentum, weight_decay : float
        See :class:`golden.optimizers.MomentumSGD`.

    Raises
    ------
    InputError
        If there is no such network, or a number is not positive.
    """

    network: str = "mlp"
    hidden: tuple[int, ...] = (128, 128)
    channels: tuple[int, ...] = (16, 32)
    epochs: int = 20
    batch: int = 64
    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        if self.network not in NETWORKS:
            raise InputError(f"Network must be one of {', '.join(NETWORKS)}, not {self.network!r}")
        counts = [
            *(("Hidden layer size", size) for size in self.hidden),
            *(("Count of channels", count) for count in self.channels),
            ("Epochs", self.epochs),
            ("Batch size", self.batch),
        ]
        for what, count in counts:
            if count < 1:
                raise InputError(f"{what} must be at least 1, not {count}")
        if not 0 < self.learning_rate < math.inf:
            raise InputError(f"Learning rate must be positive, not {self.learning_rate}")


def build_network(
    settings: Settings,
    dataset: Dataset,
    seed: int,
    *,
    quantized: bool,
    gradient: GradientRecipe | None,
    backend: Backend,
) -> dict[str, Layer]:
    """Make the layers of a network, by name, first layer first.

    The steps of the activations start from the first images, which go through the network once.

    Parameters
    ----------
    settings : Settings
        Which network.
    dataset : Dataset
        Images and labels.
    seed : int
        Seed of the initial weights.
    quantized : bool
        Whether products of matrices are 4-bit.
    gradient : GradientRecipe or None
        How output gradients become FP4, if they are.
    backend : Backend
        Who computes what is 4-bit.

    Raises
    ------
    InputError
        If ``cnn`` gets no images, or too small ones.
    """
    rows = dataset.train_x[: settings.batch]
    if settings.network == "cnn":
        rows = rows.reshape(-1, *_image_shape(dataset, len(settings.channels)))
    builder = NetworkBuilder(rows, seed, quantized, gradient, backend)
    if settings.network == "mlp":
        features = [*settings.hidden, dataset.classes]
        for number, count in enumerate(features):
            builder.add_dense(f"layer{number}", count, has_relu=number < len(settings.hidden))
        return builder.layers
    for number, channels in enumerate(settings.channels):
        builder.add_convolution(f"convolution{number}", channels)
        wide = backend.wide if quantized else None
        builder.add(f"normalization{number}", BatchNormalization(channels, wide))
        builder.add(f"relu{number}", Relu())
        builder.add(f"pool{number}", MaxPool())
    builder.add("flatten", Flatten())
    builder.add_dense("dense", dataset.classes, has_relu=False)
    return builder.layers


def _image_shape(dataset, poolings):
    shape = dataset.image_shape
    if shape is None:
        raise InputError(
            f"Network cnn needs images of shape (rows, height, width) or (rows, height, width, "
            f"channels), not {dataset.train_x.shape[1]} features in a row; choose network mlp"
        )
    least = 1 << poolings
    if min(shape[:2]) < least:
        raise InputError(
            f"Network cnn with {poolings} poolings needs images of at least {least} x {least} "
            f"pixels, not {shape[0]} x {shape[1]}"
        )
    return shape


class NetworkBuilder:
    """Layers so far, and what the first images have become.

    Parameters
    ----------
    x : array of float32, shape (batch, ...)
        First images.
    seed, quantized, gradient, backend :
        As in :func:`build_network`.

    Attributes
    ----------
    layers : dict of Layer
        By name, in order.
    """

    def __init__(
        self,
        x: npt.NDArray,
        seed: int,
        quantized: bool,
        gradient: GradientRecipe | None,
        backend: Backend,
    ) -> None:
        self.layers: dict[str, Layer] = {}
        self._x = x
        self._seed = seed
        self._quantized = quantized
        self._gradient = gradient
        self._backend = backend
        self._weight_streams = itertools.count(_WEIGHT_STREAM)

    def add(self, name: str, layer: Layer) -> None:
        """Append a layer, and send the images through it."""
        layer.prepare()
        self._x = layer.forward(self._x)
        self.layers[name] = layer

    def add_dense(self, name: str, features: int, *, has_relu: bool) -> None:
        """Append a dense layer."""
        self.add(name, self._product(name, features, self._x.shape[-1], has_relu, has_bias=True))

    def add_convolution(self, name: str, channels: int) -> None:
        """Append a convolution; it needs no bias before a normalisation."""
        in_features = 9 * self._x.shape[-1]
        product = self._product(name, channels, in_features, has_relu=False, has_bias=False)
        self.add(name, Convolution(product))

    def _product(self, name, out_features, in_features, has_relu, has_bias):
        words = RandomBits(seed_state(self._seed, next(self._weight_streams)))
        weights = _initial_weights(words, out_features, in_features)
        if not self._quantized:
            return Dense(weights, has_relu, has_bias)
        return QuantizedDense(
            name, weights, has_relu, self._x, self._gradient, self._backend, has_bias
        )


def _initial_weights(words, out_features, in_features):
    """He et al.: variance ``2 / in_features``, here of a uniform distribution."""
    uniform = words.words(out_features * in_features) * 2.0**-31 - 1.0
    weights = uniform * math.sqrt(6 / in_features)
    return weights.astype(np.float32).reshape(out_features, in_features)
