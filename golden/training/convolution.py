"""Layers of convolutional networks: convolution, batch normalisation, ReLU and pooling.

Images are arrays (batch, height, width, channels). What is not a product of matrices is computed on
the host, in float.
"""

# Ref: Ioffe and Szegedy, "Batch Normalization", ICML 2015, arXiv 1502.03167
# Section: 3, algorithm 1 and the gradients below it

import numpy as np
import numpy.typing as npt

from nibblegrad.golden.training.layers import Layer, relu, relu_backward
from nibblegrad.golden.training.learned_step import LearnedStep
from nibblegrad.golden.training.passes import Passes, Weights

__all__ = [
    "KERNEL",
    "BatchNormalization",
    "Convolution",
    "Flatten",
    "MaxPool",
    "Relu",
    "col2im",
    "im2col",
]

#: Height and width of the window of a convolution.
KERNEL = 3


def im2col(x: npt.NDArray) -> npt.NDArray:
    """Lay out the 3 x 3 neighbourhood of every pixel as a row, with zeros beyond the edges.

    Parameters
    ----------
    x : array, shape (batch, height, width, channels)

    Returns
    -------
    array, shape (batch * height * width, channels * 9)
        The nine of a channel lie side by side, row by row of the window.
    """
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (KERNEL, KERNEL), (1, 2))
    return windows.reshape(x[..., 0].size, -1)


def col2im(columns: npt.NDArray, shape: tuple[int, int, int, int]) -> npt.NDArray:
    """Add up the rows of :func:`im2col` at the pixels they came from; its transpose.

    Parameters
    ----------
    columns : array, shape (batch * height * width, channels * 9)
    shape : tuple of int
        Batch, height, width and channels.

    Returns
    -------
    array, shape (batch, height, width, channels)
        Sums in the order of the window, row by row.
    """
    batch, height, width, channels = shape
    windows = columns.reshape(batch, height, width, channels, KERNEL, KERNEL)
    padded = np.zeros((batch, height + 2, width + 2, channels), columns.dtype)
    for row in range(KERNEL):
        for column in range(KERNEL):
            padded[:, row : row + height, column : column + width] += windows[..., row, column]
    return np.ascontiguousarray(padded[:, 1:-1, 1:-1])


class _Parameterless:
    """Layer without anything to learn."""

    def __init__(self) -> None:
        self.parameters: dict[str, npt.NDArray[np.float32]] = {}
        self.gradients: dict[str, npt.NDArray] = {}
        self.steps: dict[str, LearnedStep] = {}
        self.statistics: dict[str, npt.NDArray] = {}

    def announce(self) -> dict[str, Weights]:
        """Give nothing."""
        return {}


class Convolution:
    """Convolution 3 x 3 of the same size: a dense layer on the neighbourhood of every pixel.

    Parameters
    ----------
    product : Dense or QuantizedDense
        Layer from ``channels * 9`` features to the new channels.

    Attributes
    ----------
    product : Dense or QuantizedDense
        As given.
    parameters, gradients, steps, statistics : dict
        Those of the product.
    """

    def __init__(self, product: Layer) -> None:
        self.parameters = product.parameters
        self.steps = product.steps
        self.statistics = product.statistics
        self.product = product

    @property
    def gradients(self) -> dict[str, npt.NDArray]:
        """Those of the product."""
        return self.product.gradients

    def announce(self) -> dict[str, Weights]:
        """Give the weights of the product."""
        return self.product.announce()

    def forward(self, x: npt.NDArray, passes: Passes, *, training: bool = True) -> npt.NDArray:
        """Compute the output, (batch, height, width, channels) with other channels."""
        self._shape = x.shape
        output = self.product.forward(im2col(x), passes, training=training)
        return output.reshape(*x.shape[:3], -1)

    def backward(
        self, output_gradient: npt.NDArray, passes: Passes, *, want_input_gradient: bool = True
    ) -> npt.NDArray | None:
        """Compute the gradient by the input, and set ``gradients``."""
        rows = output_gradient.reshape(-1, output_gradient.shape[-1])
        columns = self.product.backward(rows, passes, want_input_gradient=want_input_gradient)
        return None if columns is None else col2im(columns, self._shape)


class BatchNormalization:
    """Normalise each channel to mean 0 and variance 1, then scale and shift it.

    Training uses the statistics of the mini-batch; evaluation uses their running averages. The
    statistics are computed in float64.

    Parameters
    ----------
    channels : int
        Count of channels.
    is_rounded : bool
        Whether the output and the gradient by the input are rounded as what goes to the backend.
    momentum : float
        Weight of a mini-batch in the running averages.
    epsilon : float
        Added to the variance.

    Attributes
    ----------
    parameters : dict of array of float32, shape (channels,)
        ``scale``, at first 1, and ``shift``, at first 0.
    gradients : dict of array
        Gradients of the last backward pass, by the same names.
    statistics : dict of array of float64, shape (channels,)
        Running averages ``mean`` and ``variance`` (of the samples, unbiased).
    """

    def __init__(
        self,
        channels: int,
        is_rounded: bool = False,
        momentum: float = 0.1,
        epsilon: float = 1e-5,
    ) -> None:
        self.parameters = {
            "scale": np.ones(channels, np.float32),
            "shift": np.zeros(channels, np.float32),
        }
        self.gradients: dict[str, npt.NDArray] = {}
        self.steps: dict[str, LearnedStep] = {}
        self.statistics = {"mean": np.zeros(channels), "variance": np.ones(channels)}
        self._is_rounded = is_rounded
        self._momentum = momentum
        self._epsilon = epsilon

    def announce(self) -> dict[str, Weights]:
        """Give nothing: this runs on the host."""
        return {}

    def forward(
        self, x: npt.NDArray, passes: Passes | None = None, *, training: bool = True
    ) -> npt.NDArray:
        """Compute the output, same shape (..., channels)."""
        mean, variance = self._statistics(x) if training else self.statistics.values()
        self._deviation = np.sqrt(variance + self._epsilon)
        centred = x - mean.astype(x.dtype)
        self._normal = centred * (1 / self._deviation).astype(x.dtype)
        output = self._normal * self.parameters["scale"] + self.parameters["shift"]
        return self._round("Normalised sums", output, passes)

    def backward(
        self,
        output_gradient: npt.NDArray,
        passes: Passes | None = None,
        *,
        want_input_gradient: bool = True,
    ) -> npt.NDArray | None:
        """Compute the gradient by the input, and set ``gradients``."""
        gradient, normal = output_gradient, self._normal
        axes = tuple(range(gradient.ndim - 1))
        self.gradients = {
            "scale": (gradient * normal).sum(axis=axes, dtype=np.float64),
            "shift": gradient.sum(axis=axes, dtype=np.float64),
        }
        if not want_input_gradient:
            return None
        count = gradient[..., 0].size
        # The mean and the variance depend on the input as well.
        along_mean = (self.gradients["shift"] / count).astype(gradient.dtype)
        along_normal = (self.gradients["scale"] / count).astype(gradient.dtype)
        factor = (self.parameters["scale"] / self._deviation).astype(gradient.dtype)
        input_gradient = (gradient - along_mean - normal * along_normal) * factor
        return self._round("Gradient of a normalisation", input_gradient, passes)

    def _statistics(self, x):
        """Mean and variance of the mini-batch, which go into the running averages."""
        axes = tuple(range(x.ndim - 1))
        count = x[..., 0].size
        mean = x.mean(axis=axes, dtype=np.float64)
        variance = np.square(x - mean).mean(axis=axes)
        unbiased = variance * (count / max(count - 1, 1))
        for key, value in (("mean", mean), ("variance", unbiased)):
            self.statistics[key] += self._momentum * (value - self.statistics[key])
        return mean, variance

    def _round(self, what, x, passes):
        return passes.to_wide(what, x) if self._is_rounded else x


class Relu(_Parameterless):
    """Replace negative numbers by zero."""

    def forward(
        self, x: npt.NDArray, passes: Passes | None = None, *, training: bool = True
    ) -> npt.NDArray:
        """Compute the output, same shape."""
        self._output = relu(x)
        return self._output

    def backward(
        self,
        output_gradient: npt.NDArray,
        passes: Passes | None = None,
        *,
        want_input_gradient: bool = True,
    ) -> npt.NDArray | None:
        """Compute the gradient by the input."""
        return relu_backward(output_gradient, self._output)


class MaxPool(_Parameterless):
    """The greatest of every 2 x 2 pixels; of equals, the first gets the gradient.

    The last row of an odd height is left out, and so is the last column of an odd width.
    """

    def forward(
        self, x: npt.NDArray, passes: Passes | None = None, *, training: bool = True
    ) -> npt.NDArray:
        """Compute the output, (batch, height // 2, width // 2, channels)."""
        self._shape = x.shape
        corners = np.stack([x[view] for view in self._views()])
        self._choice = corners.argmax(axis=0)
        return corners.max(axis=0)

    def backward(
        self,
        output_gradient: npt.NDArray,
        passes: Passes | None = None,
        *,
        want_input_gradient: bool = True,
    ) -> npt.NDArray | None:
        """Compute the gradient by the input: that of the output where it came from."""
        gradient = np.zeros(self._shape, output_gradient.dtype)
        for corner, view in enumerate(self._views()):
            gradient[view] = np.where(self._choice == corner, output_gradient, 0)
        return gradient

    def _views(self):
        """The four pixels of every window, row by row, as slices of the image."""
        height, width = self._shape[1] // 2 * 2, self._shape[2] // 2 * 2
        return [
            (slice(None), slice(row, height, 2), slice(column, width, 2))
            for row in range(2)
            for column in range(2)
        ]


class Flatten(_Parameterless):
    """Images to rows of features."""

    def forward(
        self, x: npt.NDArray, passes: Passes | None = None, *, training: bool = True
    ) -> npt.NDArray:
        """Compute the output, (batch, height * width * channels)."""
        self._shape = x.shape
        return x.reshape(len(x), -1)

    def backward(
        self,
        output_gradient: npt.NDArray,
        passes: Passes | None = None,
        *,
        want_input_gradient: bool = True,
    ) -> npt.NDArray | None:
        """Compute the gradient by the input."""
        return output_gradient.reshape(self._shape)
