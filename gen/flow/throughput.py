"""How many cycles a training step takes on a core, by the model of ``golden.driver.cycles``."""

import dataclasses
import re
from typing import NamedTuple

from nibblegrad.gen.config import STRUCTURES, TrainingCoreConfig
from nibblegrad.gen.ranges import check_range
from nibblegrad.golden.driver import cycles
from nibblegrad.golden.driver.cuts import LayerShape, backward_cuts, forward_cuts
from nibblegrad.golden.driver.cycles import StepReport
from nibblegrad.golden.engine.command import CoreSize
from nibblegrad.golden.engine.timing import CoreTiming
from nibblegrad.golden.errors import InputError
from nibblegrad.hdl.array.structure import Structure
from nibblegrad.hdl.engine.timing import core_timing

__all__ = [
    "BATCH",
    "GREATEST",
    "LARGE",
    "LAYER",
    "MOST_LAYERS",
    "Layer",
    "Network",
    "Workload",
    "count_products",
    "least_cycles",
    "parse_layer",
    "parse_network",
    "step_cycles",
    "step_report",
]

#: Most rows, inputs or outputs of a layer.
GREATEST = 1 << 16
#: Weights of a layer that is looked at twice.
LARGE = 1 << 24
#: Most layers of a network.
MOST_LAYERS = 64
#: Rows of a mini-batch of a network, where nothing else is said.
BATCH = 64


class Layer(NamedTuple):
    """A fully connected layer at a batch."""

    batch: int
    inputs: int
    outputs: int

    def __str__(self) -> str:
        return f"layer {self.inputs} -> {self.outputs} at batch {self.batch}"

    @property
    def shapes(self) -> dict[str, LayerShape]:
        """The layers by name: this one."""
        return {"layer": LayerShape(*self)}


class Network(NamedTuple):
    """Fully connected layers at a batch."""

    batch: int
    features: tuple[int, ...]

    def __str__(self) -> str:
        return f"network {'-'.join(map(str, self.features))} at batch {self.batch}"

    @property
    def shapes(self) -> dict[str, LayerShape]:
        """The layers by name, first layer first."""
        return cycles.dense_layers(self.features, self.batch)


#: What a core is to be fast at.
Workload = Layer | Network

#: The layer that cores are compared by where nothing else is stated.
LAYER = Layer(64, 256, 256)


def parse_layer(text: str) -> Layer:
    """Read a layer, such as ``64x256x256``: batch, inputs and outputs, 1 to 65536 each.

    Raises
    ------
    InputError
        If the text is nothing of the kind.
    """
    sizes = _sizes(text, "x") if text.count("x") == 2 else []
    if not sizes:
        raise InputError(
            f"Layer must be BATCHxINPUTSxOUTPUTS, 1 to {GREATEST} each, such as 64x256x256, not "
            f"{text!r}"
        )
    return Layer(*sizes)


def parse_network(text: str, batch: int = BATCH) -> Network:
    """Read the features of a network, such as ``784,512,512,10``: 1 to 65536 each.

    Raises
    ------
    InputError
        If the text is nothing of the kind, or the batch is not 1 to 65536.
    """
    check_range("--batch", batch, 1, GREATEST)
    features = _sizes(text, ",") if 1 <= text.count(",") <= MOST_LAYERS else []
    if not features:
        raise InputError(
            f"Layers must be the features of the input, of the hidden layers and of the output, "
            f"1 to {GREATEST} each, of at most {MOST_LAYERS} layers, such as 784,512,512,10, not "
            f"{text!r}"
        )
    return Network(batch, tuple(features))


def _sizes(text: str, separator: str) -> list[int]:
    """Read numbers of 1 to GREATEST; none if there is anything else."""
    words = text.split(separator)
    sizes = [int(word) for word in words if re.fullmatch("[0-9]{1,6}", word)]
    good = len(sizes) == len(words) and all(1 <= size <= GREATEST for size in sizes)
    return sizes if good else []


def count_products(core: TrainingCoreConfig, workload: Workload) -> int:
    """Count about how many products a training step is cut into.

    Raises
    ------
    InputError
        If a layer does not fit the memories however it is cut.
    """
    size, total = core.size(), 0
    command = _timing(size, STRUCTURES[core.structure]).drain
    for shape in workload.shapes.values():
        forward = forward_cuts(size, shape, command)[0]
        backward = backward_cuts(size, shape, forward.cut.rows, command)[0]
        total += forward.products + backward.products
    return total


def step_report(core: TrainingCoreConfig, workload: Workload) -> StepReport:
    """Predict a training step: the forward and the backward pass of each layer.

    Raises
    ------
    InputError
        If a layer does not fit the memories however it is cut.
    """
    size = core.size()
    if any(shape.inputs * shape.outputs > LARGE for shape in workload.shapes.values()):
        # Says at once if a layer does not fit, before zeros of its size are made.
        count_products(core, workload)
    return cycles.step_cycles(size, _timing(size, STRUCTURES[core.structure]), workload.shapes)


def step_cycles(core: TrainingCoreConfig, workload: Workload) -> int:
    """Predict the cycles of a training step, as in :func:`step_report`."""
    return step_report(core, workload).cycles


def least_cycles(core: TrainingCoreConfig, workload: Workload) -> int:
    """Find a bound of :func:`step_cycles` that holds for memories of any size."""
    return cycles.least_cycles(core.size(), workload.shapes)


def _timing(size: CoreSize, structure: Structure) -> CoreTiming:
    """Find what the pipelines take, which does not depend on the memories: once for an array."""
    shallow = dataclasses.replace(
        size,
        activation_words=64,
        weight_words=64,
        gradient_words=64,
        bias_words=64,
        partial_sum_strips=64,
    )
    return core_timing(shallow, structure)
