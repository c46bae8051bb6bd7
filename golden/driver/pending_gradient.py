"""Weight gradients that a training core works on while the host goes on to the next layer."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from nibblegrad.golden.driver.scheduler import Issued, Scheduler
from nibblegrad.golden.engine.command import Store
from nibblegrad.golden.numbers.formats import Scale

__all__ = ["PendingGradient"]


class PendingGradient:
    """Weight gradient of a layer that is under way, and the gradients by the layer's steps.

    Parameters
    ----------
    scheduler : Scheduler
        Who issued it.
    issued : sequence of Issued
        Its products.
    sections : array of float32, shape (sections, outputs, inputs)
        What they fill.
    input_factor, weight_factor : Scale
        Scales of the gradients by the input and by the weights.
    residual_bits : int
        Fraction bits of the residuals.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        issued: Sequence[Issued],
        sections: npt.NDArray[np.float32],
        input_factor: Scale,
        weight_factor: Scale,
        residual_bits: int,
    ) -> None:
        self._scheduler = scheduler
        self._issued = issued
        self._sections = sections
        self._units = {
            memory: float(factor.value) * 2.0**-residual_bits
            for memory, factor in (
                (Store.ACTIVATIONS, input_factor),
                (Store.WEIGHTS, weight_factor),
            )
        }
        self._activation_step: float | None = None
        self._result: tuple[npt.NDArray[np.float32], float, float] | None = None

    @property
    def has_activation_step(self) -> bool:
        """Whether the core may go on to another input gradient."""
        return self._activation_step is not None

    @property
    def is_collected(self) -> bool:
        """Whether it is under way no more."""
        return self._result is not None

    def read_activation_step(self, *, fetched: bool) -> float:
        """Read the gradient by the step of the activations; see ``Scheduler.step_gradient``."""
        self._activation_step = self._read(Store.ACTIVATIONS, fetched)
        return self._activation_step

    def collect(self) -> tuple[npt.NDArray[np.float32], float, float]:
        """Wait for gradient by the weights and gradients by the steps."""
        if self._result is None:
            self._scheduler.fetch(self._issued)
            activation_step = self._activation_step
            if activation_step is None:
                activation_step = self.read_activation_step(fetched=False)
            weight_step = self._read(Store.WEIGHTS, fetched=True)
            weights = sum(self._sections[1:], self._sections[0])
            self._result = weights, activation_step, weight_step
        return self._result

    def _read(self, memory, fetched):
        return self._scheduler.step_gradient(memory, fetched=fetched) * self._units[memory]
