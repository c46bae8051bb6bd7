"""A training method of one's own: LUQ, of which each layer keeps the larger half of its weights.

``nibblegrad train --methods docs/examples/methods --recipes float32,luq,pruned`` trains by it.
"""

import numpy as np

from nibblegrad.golden.training.layers import QuantizedDense
from nibblegrad.golden.training.methods import RECIPES
from nibblegrad.golden.training.passes import Weights
from nibblegrad.golden.training.recipes import Hook, Method, Recipe

__all__ = ["METHOD", "PrunedDense", "Pruning"]


class PrunedDense(QuantizedDense):
    """Layer of which a mask says which weights are multiplied; it goes into checkpoints."""

    def __init__(self, *args):
        super().__init__(*args)
        self.statistics = {"mask": np.ones(self.parameters["weights"].shape, bool)}

    def announce(self):
        """Give the weights that are left, and the step of all."""
        return {
            name: Weights(weights.matrix * self.statistics["mask"], weights.step)
            for name, weights in super().announce().items()
        }


class Pruning(Hook):
    """Says before each step which weights are left; the others keep learning, and may come back."""

    def before_step(self, step):
        """Leave the larger half of each layer."""
        for layer in self.layers.values():
            if "mask" in layer.statistics:
                magnitudes = np.abs(layer.parameters["weights"])
                layer.statistics["mask"][...] = magnitudes >= np.median(magnitudes)


METHOD = Method(
    Recipe("pruned", PrunedDense, RECIPES["luq"].gradient, hooks=(Pruning,)),
    forward="as `int4`, with the larger half of the weights",
    backward="as `luq`",
)
