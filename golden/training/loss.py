"""The loss of a network, on the host."""

import math

import numpy as np
import numpy.typing as npt

from nibblegrad.golden.training.passes import Passes

__all__ = ["CrossEntropy", "softmax_cross_entropy"]


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


class CrossEntropy:
    """Mean softmax cross-entropy of mini-batches.

    Parameters
    ----------
    in_double : bool
        Whether it is computed in float64, and not in the type of the logits.
    is_rounded : bool
        Whether its gradient is rounded as what goes to the backend.
    """

    def __init__(self, in_double: bool, is_rounded: bool) -> None:
        self._in_double = in_double
        self._is_rounded = is_rounded

    def __call__(
        self, logits: npt.NDArray, labels: npt.NDArray[np.integer], passes: Passes
    ) -> tuple[float, npt.NDArray]:
        """Compute the mean loss of a mini-batch and its gradient: :func:`softmax_cross_entropy`."""
        if self._in_double:
            logits = logits.astype(np.float64)
        loss, gradient = softmax_cross_entropy(logits, labels)
        if self._is_rounded and math.isfinite(loss):
            gradient = passes.to_wide("Gradient of the loss", gradient)
        return loss, gradient
