"""How many cycles a training step of a layer takes on a core of some size."""

import re
from typing import NamedTuple

from golden import cycles
from golden.command import PRODUCTS, Command, CoreSize
from golden.cuts import LayerShape
from golden.errors import InputError
from hdl.timing import core_timing

__all__ = ["LAYER", "Layer", "lane_cycles", "least_cycles", "parse_layer", "step_cycles"]

#: Most rows, inputs or outputs of a layer.
GREATEST = 1 << 16


class Layer(NamedTuple):
    """A fully connected layer at a batch."""

    batch: int
    inputs: int
    outputs: int

    def __str__(self) -> str:
        return f"{self.inputs} -> {self.outputs} at batch {self.batch}"


#: The layer that cores are compared by where no other one is stated.
LAYER = Layer(64, 256, 256)


def parse_layer(text: str) -> Layer:
    """Read a layer, such as ``64x256x256``: batch, inputs and outputs, 1 to 65536 each.

    Raises
    ------
    InputError
        If the text is nothing of the kind.
    """
    sizes = (
        [int(size) for size in text.split("x")]
        if re.fullmatch("[0-9]{1,6}(x[0-9]{1,6}){2}", text)
        else []
    )
    if not sizes or not all(1 <= size <= GREATEST for size in sizes):
        raise InputError(
            f"Layer must be BATCHxINPUTSxOUTPUTS, 1 to {GREATEST} each, such as 64x256x256, not "
            f"{text!r}"
        )
    return Layer(*sizes)


def step_cycles(size: CoreSize, layer: Layer) -> int:
    """Predict the cycles of a training step of a layer: its forward and its backward pass.

    Raises
    ------
    InputError
        If the layer does not fit the memories however it is cut.
    """
    return cycles.step_cycles(size, core_timing(size), {"layer": LayerShape(*layer)}).cycles


def least_cycles(size: CoreSize, layer: Layer) -> int:
    """Find a bound of :func:`step_cycles` that holds for memories of any size.

    Nothing is cut and nothing loaded twice, and commands take no time.
    """
    load_x, load_w, load_dy = _loads(size, layer)
    forward, to_inputs, to_weights = _passes(size, layer)
    return max(forward, load_x + load_w) + max(to_inputs + to_weights, load_dy)


def lane_cycles(size: CoreSize, layer: Layer) -> int:
    """Count the cycles in which the lanes multiply in a training step of a layer."""
    return sum(_passes(size, layer))


def _passes(size: CoreSize, layer: Layer) -> list[int]:
    """Count the passes of the three products, where nothing is cut."""
    return [size.passes(Command(operation, *layer)) for operation in PRODUCTS]


def _loads(size: CoreSize, layer: Layer) -> tuple[int, int, int]:
    """Count the beats of activations, weights and output gradients, each loaded once."""
    across = -(-layer.inputs // size.load_lanes)
    gradients = layer.batch * -(-layer.outputs // size.load_lanes) * size.fmt.log2_radix
    return layer.batch * across, layer.outputs * across, gradients
