"""Stochastic gradient descent with momentum, and the cosine schedule."""

# Ref: Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", ICLR 2017
# Section: 3, equation 5, without restarts, as Esser et al. (LSQ) train

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from .errors import InputError

__all__ = ["MomentumSGD", "cosine_schedule"]


def cosine_schedule(initial: float, step: int, steps: int) -> float:
    """Compute the learning rate of one step: half a cosine from ``initial`` down to 0.

    Parameters
    ----------
    initial : float
        Learning rate of step 0.
    step, steps : int
        Number of the step, and count of all steps.
    """
    return 0.5 * initial * (1.0 + math.cos(math.pi * step / steps))


class MomentumSGD:
    """Gradient descent with momentum: ``v = momentum * v + g``, then ``w -= learning_rate * v``.

    Parameters
    ----------
    momentum : float
        0 or more, below 1.
    weight_decay : float
        0 or more; ``weight_decay * w`` is added to the gradients of parameters named
        ``weights``. Biases and step sizes do not decay.
    """

    def __init__(self, momentum: float = 0.9, weight_decay: float = 0.0) -> None:
        if not 0 <= momentum < 1:
            raise InputError(f"Momentum must be at least 0 and below 1, not {momentum}")
        if not 0 <= weight_decay < math.inf:
            raise InputError(f"Weight decay must be 0 or more, not {weight_decay}")
        self._momentum = np.float32(momentum)
        self._weight_decay = np.float32(weight_decay)
        self._velocities: dict[str, npt.NDArray[np.float32]] = {}

    def update(
        self,
        parameters: Mapping[str, npt.NDArray[np.float32]],
        gradients: Mapping[str, npt.NDArray],
        learning_rate: float,
    ) -> None:
        """Change parameters in place.

        Parameters
        ----------
        parameters : dict of array of float32
            Parameters of one layer, by name.
        gradients : dict of array of float
            Gradient of the loss by each parameter, same shapes; rounded to float32.
        learning_rate : float
            Learning rate of this step.
        """
        for name, parameter in parameters.items():
            gradient = np.asarray(gradients[name], np.float32)
            if self._weight_decay and name == "weights":
                gradient = gradient + self._weight_decay * parameter
            velocity = self._velocities.setdefault(name, np.zeros_like(parameter))
            velocity *= self._momentum
            velocity += gradient
            parameter -= np.float32(learning_rate) * velocity
