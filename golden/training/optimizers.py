"""Stochastic gradient descent with momentum, its learning rate, and the bound of its gradients."""

# Ref: Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", ICLR 2017
# Section: 3, equation 5, without restarts, as Esser et al. (LSQ) train
# Ref: Goyal et al., "Accurate, Large Minibatch SGD", arXiv 1706.02677, section 2.2, for the warm-up
# Ref: Pascanu et al., "On the difficulty of training recurrent neural networks", ICML 2013
# Section: 3.2, for clipping by the norm

import math
from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt

from nibblegrad.golden.errors import InputError

__all__ = ["MomentumSGD", "clip_factor", "cosine_schedule"]


def cosine_schedule(initial: float, step: int, steps: int, warm_up: float = 0.0) -> float:
    """Compute the learning rate of one step: half a cosine from ``initial`` down to 0.

    Parameters
    ----------
    initial : float
        Learning rate that the cosine begins with.
    step, steps : int
        Number of the step, from 0, and count of all steps.
    warm_up : float
        Part of the steps, 0 to 1, in which the rate is multiplied by a ramp up to 1.
    """
    ramp = min(1.0, (step + 1) / max(warm_up * steps, 1.0))
    return ramp * 0.5 * initial * (1.0 + math.cos(math.pi * step / steps))


def clip_factor(gradients: Iterable[npt.NDArray], greatest: float) -> float:
    """Find what to multiply gradients by so that their norm is at most ``greatest``.

    Parameters
    ----------
    gradients : iterable of array of float
        Parts of one gradient.
    greatest : float
        Bound of the norm of the whole.

    Returns
    -------
    float
        1 or less; NaN if the norm is not finite.
    """
    norm = math.sqrt(sum(float(np.vdot(gradient, gradient)) for gradient in gradients))
    if not math.isfinite(norm):
        return math.nan
    return 1.0 if norm <= greatest else greatest / norm


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
        factor: float = 1.0,
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
        factor : float
            What gradients are multiplied by first, see :func:`clip_factor`.
        """
        for name, parameter in parameters.items():
            gradient = np.asarray(gradients[name], np.float32)
            if factor != 1:
                gradient = gradient * np.float32(factor)
            if self._weight_decay and name == "weights":
                gradient = gradient + self._weight_decay * parameter
            velocity = self._velocities.setdefault(name, np.zeros_like(parameter))
            velocity *= self._momentum
            velocity += gradient
            parameter -= np.float32(learning_rate) * velocity
