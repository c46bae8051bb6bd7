"""How many cycles a training step of a layer takes on a core of some size."""

import itertools
import math
import re
from collections.abc import Iterator
from typing import NamedTuple

from golden.command import PRODUCTS, Command, CoreSize, Operation
from golden.errors import InputError
from golden.tiling import Tiling, choose_tiling

__all__ = ["LAYER", "Layer", "lane_cycles", "least_cycles", "parse_layer", "step_cycles"]

#: What it takes to start and to end a product that others follow.
COMMAND_CYCLES = 32

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

    The layer is cut as :mod:`golden.tiling` cuts it for the memories there are. A product takes as
    long as its passes or its strips, whichever are more, and operands are loaded meanwhile; so a
    pass takes as long as its products or its loads.

    Raises
    ------
    InputError
        If the layer does not fit the memories however it is cut.
    """
    tiling = choose_tiling(size, *layer)
    keeps_x = size.blocks(layer.batch, layer.inputs) <= size.activation_words
    keeps_w = size.blocks(layer.outputs, layer.inputs) <= size.weight_words
    load_x, load_w, load_dy = _loads(size, layer)
    # Each piece of the outputs needs all activations, and each piece of the rows all weights.
    load_x *= 1 if keeps_x else -(-layer.outputs // tiling.outputs)
    load_w *= 1 if keeps_w else -(-layer.batch // tiling.rows)
    again = (not keeps_x) * load_x + (not keeps_w) * load_w
    forward, to_inputs, to_weights = (
        _product(size, layer, tiling, operation) for operation in PRODUCTS
    )
    return max(forward, load_x + load_w) + max(to_inputs + to_weights, load_dy + again)


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


def _product(size: CoreSize, layer: Layer, tiling: Tiling, operation: Operation) -> int:
    """Count the cycles of a product, piece by piece."""
    axes = zip(layer, (tiling.rows, tiling.inputs, tiling.outputs), strict=True)
    total = 0
    for pieces in itertools.product(*(_pieces(count, step) for count, step in axes)):
        counts, (batch, inputs, outputs) = zip(*pieces, strict=True)
        command = Command(operation, batch, inputs, outputs)
        cycles = max(size.passes(command), size.strips(command)) + COMMAND_CYCLES
        total += math.prod(counts) * cycles
    return total


def _pieces(count: int, step: int) -> Iterator[tuple[int, int]]:
    """List how many pieces of an axis there are of each size."""
    if count >= step:
        yield count // step, step
    if count % step:
        yield 1, count % step
