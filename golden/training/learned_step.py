"""Learned step sizes: where they start, how they change, and the bounds that they keep.

This is their one home: whoever trains applies the same rule, on the host. A core only gets steps,
and gives the sums that their gradients are made of.
"""

# Ref: Esser et al., "Learned Step Size Quantization", ICLR 2020, arXiv 1902.08153v3
# Section: 2.1 for the gradient and the published start
# Ref: Jain et al., "Trained Quantization Thresholds for Accurate and Efficient Fixed-Point
#      Inference of Deep Neural Networks", MLSys 2020, arXiv 1903.08066
# Section: appendix B, for training the logarithm by a gradient that is divided by its own size

import math
from typing import Protocol

import numpy as np
import numpy.typing as npt

from nibblegrad.golden.cores.quantizer import check_tensor, initial_step
from nibblegrad.golden.errors import InputError
from nibblegrad.golden.numbers.formats import IntFormat

__all__ = [
    "STEP_RULES",
    "BoundedStep",
    "LearnedStep",
    "PublishedStep",
    "find_step_rule",
    "least_squares_step",
]

#: Elements that are looked at, at most, to find where a step starts.
_MOST_ELEMENTS = 1 << 16


def least_squares_step(x: npt.NDArray[np.floating], fmt: IntFormat) -> float:
    """Find the step whose codes come closest to a tensor, by the sum of squared errors.

    Of the steps ``max(abs(x)) / Q_P * 2**(-k / 4)`` for k = 0 to 28, the best one; the larger of
    two that are as good. Large tensors are judged by a part of their elements, evenly spread. A
    tensor of zeros gets step 1.

    Parameters
    ----------
    x : array of float, any shape
    fmt : IntFormat
        Format of the codes.

    Raises
    ------
    InputError
        If ``x`` is empty or not finite.
    """
    check_tensor("Tensor to quantise", x)
    greatest = float(np.abs(x).max())
    if greatest == 0:
        return 1.0
    stride = -(-x.size // _MOST_ELEMENTS)
    some = x.reshape(-1)[::stride].astype(np.float64)
    best = (math.inf, 1.0)
    for k in range(29):
        step = greatest / fmt.greatest * 2.0 ** (-k / 4)
        codes = np.rint(some / step).clip(fmt.least, fmt.greatest)
        error = float(np.square(codes * step - some).sum())
        if error < best[0]:
            best = error, step
    return best[1]


class LearnedStep(Protocol):
    """Step size in training.

    Attributes
    ----------
    value : array of float32, shape ()
        The step; it is changed in place.
    first : float
        Where it started.
    floor, ceiling : float
        Bounds of the step as they are now.
    held : int
        Count of updates, up to the last one, that ended at a bound without a break.
    """

    value: npt.NDArray[np.float32]
    first: float
    floor: float
    ceiling: float
    held: int

    def observe(self, x: npt.NDArray[np.floating]) -> None:
        """Take note of the tensor that is quantised now."""

    @property
    def state(self) -> npt.NDArray[np.float64]:
        """What the rule goes on from, beside the value."""

    def restore(self, value: npt.ArrayLike, state: npt.NDArray[np.float64]) -> None:
        """Go on from the value and state of another step of the same rule."""

    def update(self, gradient: float, learning_rate: float) -> None:
        """Change the step.

        Parameters
        ----------
        gradient : float
            Gradient of the loss by the step, with the factor of the LSQ paper.
        learning_rate : float
            Learning rate of the weights in this update.
        """


class _Restorable:
    """Step whose state is some of its attributes."""

    _STATE: tuple[str, ...]
    value: npt.NDArray[np.float32]
    held: int

    @property
    def state(self) -> npt.NDArray[np.float64]:
        """What the rule goes on from, beside the value."""
        return np.array([getattr(self, name) for name in self._STATE], np.float64)

    def restore(self, value: npt.ArrayLike, state: npt.NDArray[np.float64]) -> None:
        """Go on from the value and state of another step of the same rule."""
        self.value[...] = value
        for name, number in zip(self._STATE, state.tolist(), strict=True):
            setattr(self, name, number)
        self.held = int(self.held)


class BoundedStep(_Restorable):
    """The rule by default: the step follows the tensor, and learns by small relative changes.

    A step is a ratio times ``rms``, the root mean square of the tensor, so that it grows with
    weights that grow. The logarithm of the ratio is what is learned. Its gradient, ``g = gradient *
    step``, is divided by its own root mean square so far, so that neither the size of the loss nor
    that of the tensor matters::

        square    = 0.99 * square + 0.01 * g**2           from 0, without its bias
        log ratio = log ratio - min(learning_rate / 4, 0.05) * tanh(g / sqrt(square))

    After each update, the step lies between ``rms / Q_P``, where numbers of usual size still have
    different codes, and ``3 * max / Q_P``, where the largest magnitude still has a code of a third
    of ``Q_P``. So a tensor that is not zero never has zeros for all of its codes. ``rms`` and
    ``max`` are those of the weights as they are, and running averages for activations.

    Parameters
    ----------
    x : array of float, any shape
        Tensor that the step starts from, by :func:`least_squares_step`.
    fmt : IntFormat
        Format of the codes.
    memory : float
        Weight of what was seen before in the running averages, 0 to 1: 0 for weights.

    Attributes
    ----------
    value, first, floor, ceiling, held :
        As in :class:`LearnedStep`.
    """

    #: Part of the learning rate by which the logarithm changes at most.
    RATE = 0.25
    #: Greatest change of the logarithm in one update, whatever the learning rate.
    GREATEST_CHANGE = 0.05
    #: Weight of the past in the mean square of the gradient.
    DECAY = 0.99
    #: Bounds, as multiples of the root mean square and of the maximum, divided by Q_P.
    FLOOR, CEILING = 1.0, 3.0

    _STATE = ("first", "floor", "ceiling", "held", "_square", "_weight", "_rms", "_greatest")

    def __init__(self, x: npt.NDArray[np.floating], fmt: IntFormat, memory: float = 0.0) -> None:
        self.first = least_squares_step(x, fmt)
        self.value = np.array(self.first, np.float32)
        self.held = 0
        self._levels, self._is_signed = fmt.greatest, fmt.signed
        self._memory = memory
        self._square, self._weight = 0.0, 0.0
        self._bound(*self._size(x))
        # What the step follows: nothing before the first tensor is quantised.
        self._rms = 0.0

    def observe(self, x: npt.NDArray[np.floating]) -> None:
        """Follow the tensor that is quantised now; one of zeros changes nothing."""
        rms, greatest = self._size(x)
        # NaN and infinity are refused by the quantiser.
        if not (0 < rms < math.inf and greatest > 0):
            return
        if self._rms:
            rms += self._memory * (self._rms - rms)
            greatest += self._memory * (self._greatest - greatest)
            self.value *= np.float32(rms / self._rms)
        self._rms = rms
        self._bound(rms, greatest)

    def _size(self, x):
        """Root mean square and greatest magnitude; unsigned codes do without the sign."""
        flat = x.reshape(-1)
        rms = math.sqrt(float(np.dot(flat, flat)) / flat.size)
        return rms, float(max(flat.max(), -flat.min()) if self._is_signed else flat.max())

    def _bound(self, rms, greatest):
        self._greatest = greatest
        self.floor = self.FLOOR * rms / self._levels
        # Zeros alone say nothing of what is to come.
        self.ceiling = self.CEILING * greatest / self._levels if greatest > 0 else math.inf

    def update(self, gradient: float, learning_rate: float) -> None:
        """Change the step; see :meth:`LearnedStep.update`."""
        step = float(self.value)
        g = gradient * step
        self._square += (1 - self.DECAY) * (g * g - self._square)
        self._weight += (1 - self.DECAY) * (1 - self._weight)
        usual = math.sqrt(self._square / self._weight)
        if usual > 0:
            change = min(self.RATE * learning_rate, self.GREATEST_CHANGE)
            step *= math.exp(-change * math.tanh(g / usual))
        bounded = min(max(step, self.floor), self.ceiling)
        self.held = 0 if bounded == step else self.held + 1
        self.value[...] = bounded


class PublishedStep(_Restorable):
    """The rule of the LSQ paper: gradient descent with momentum, as for the weights.

    It starts at ``2 * mean(abs(x)) / sqrt(Q_P)`` and has one bound, 1/64 of that: a step of zero
    has no reciprocal. On many data sets its steps run away; it is here to be compared with.

    Parameters
    ----------
    x, fmt :
        As in :class:`BoundedStep`.
    memory : float
        Not used.

    Attributes
    ----------
    value, first, floor, ceiling, held :
        As in :class:`LearnedStep`; there is no ceiling.
    """

    MOMENTUM = 0.9
    FLOOR = 1 / 64

    # Its momentum begins anew, as that of the weights does.
    _STATE = ("first", "floor", "ceiling", "held")

    def __init__(self, x: npt.NDArray[np.floating], fmt: IntFormat, memory: float = 0.0) -> None:
        self.first = initial_step(x, fmt)
        self.value = np.array(self.first, np.float32)
        self.floor, self.ceiling, self.held = self.FLOOR * self.first, math.inf, 0
        self._velocity = np.float32(0)

    def observe(self, x: npt.NDArray[np.floating]) -> None:
        """Do nothing."""

    def update(self, gradient: float, learning_rate: float) -> None:
        """Change the step; see :meth:`LearnedStep.update`."""
        self._velocity = np.float32(self.MOMENTUM) * self._velocity + np.float32(gradient)
        step = float(self.value - np.float32(learning_rate) * self._velocity)
        self.held = 0 if step > self.floor else self.held + 1
        self.value[...] = max(step, self.floor)


#: Rules by the name used on the command line.
STEP_RULES: dict[str, type[BoundedStep] | type[PublishedStep]] = {
    "bounded": BoundedStep,
    "published": PublishedStep,
}


def find_step_rule(name: str) -> type[BoundedStep] | type[PublishedStep]:
    """Find a rule by its name.

    Raises
    ------
    InputError
        If there is no such rule.
    """
    if name not in STEP_RULES:
        raise InputError(f"Rule of the steps must be one of {', '.join(STEP_RULES)}, not {name!r}")
    return STEP_RULES[name]
