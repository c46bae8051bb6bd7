"""How many cycles the layers of a network take on a training core, and what binds them.

No number is computed: the backend that drives a core makes its commands, and the clock that
:mod:`nibblegrad.golden.driver.scheduler` goes by tells when each of them starts and ends.
"""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from nibblegrad.golden.driver.clock import Span
from nibblegrad.golden.driver.cuts import LayerShape
from nibblegrad.golden.driver.device_backend import DeviceBackend, Entry
from nibblegrad.golden.engine.command import Command, CoreSize, Operation
from nibblegrad.golden.engine.timing import CoreTiming, TimingOnly
from nibblegrad.golden.errors import InputError
from nibblegrad.golden.numbers.formats import BFLOAT16
from nibblegrad.golden.training.convolution import KERNEL
from nibblegrad.golden.training.gradient_recipe import GradientRecipe
from nibblegrad.golden.training.methods import RECIPES, core_method
from nibblegrad.golden.training.networks import check_poolings
from nibblegrad.golden.training.passes import Weights
from nibblegrad.golden.training.recipes import Recipe

__all__ = [
    "PassReport",
    "StepReport",
    "convolution_layers",
    "core_recipe",
    "dense_layers",
    "largest_operands",
    "least_cycles",
    "pass_reports",
    "run_step",
    "step_cycles",
]


@dataclass(frozen=True)
class PassReport:
    """A pass of a layer, forward or backward.

    Attributes
    ----------
    layer, name : str
        Name of the layer; ``forward`` or ``backward``.
    cycles : int
        From the last result of the pass before to its own.
    passes, strips, beats, commands : int
        What its products take of the array, and of the way out; what is loaded for them, and how
        many commands there are. What comes before the first product of a pass counts for it.
    work : int
        Cycles in which its products have the array or the way out of it to themselves.
    drained : int
        Those of them in products that have more strips than passes.
    spans : list of Span
        Its commands in time; the step begins at 0.
    """

    layer: str
    name: str
    cycles: int
    passes: int
    strips: int
    beats: int
    commands: int
    work: int
    drained: int
    spans: list[Span] = field(repr=False)

    @property
    def busy(self) -> float:
        """Part of the cycles in which the lanes multiply."""
        return self.passes / self.cycles

    @property
    def bound_by(self) -> str:
        """What takes the most: ``load``, ``compute`` or ``drain``."""
        if self.beats > self.work:
            return "load"
        return "drain" if 2 * self.drained > self.work else "compute"


@dataclass(frozen=True)
class StepReport:
    """A training step.

    Attributes
    ----------
    size : CoreSize
        The core.
    passes : list of PassReport
        All passes, in their order.
    cycles : int
        Cycles in which the core has something to do, as its counter CYCLES has them.
    bound : int
        Cycles that no order of commands and no memory can go below; see :func:`least_cycles`.
    spans : list of Span
        All commands in time; the step begins at 0.
    words : dict of str to int
        Words of each operand memory that would hold the largest operand as a whole.
    """

    size: CoreSize
    passes: list[PassReport]
    cycles: int
    bound: int
    spans: list[Span]
    words: dict[str, int]

    @property
    def busy(self) -> float:
        """Part of the cycles in which the lanes multiply."""
        return sum(each.passes for each in self.passes) / self.cycles


def dense_layers(features: Sequence[int], batch: int) -> dict[str, LayerShape]:
    """Name the layers of a network of dense layers, as ``golden.training.networks`` does.

    Parameters
    ----------
    features : sequence of int
        Features of the input, of the hidden layers, and of the output.
    batch : int
        Rows of a mini-batch.
    """
    return {
        f"layer{number}": LayerShape(batch, inputs, outputs)
        for number, (inputs, outputs) in enumerate(itertools.pairwise(features))
    }


def core_recipe(size: CoreSize) -> Recipe:
    """Find the recipe of a core: the one of its format, and rounding as it does."""
    recipe = core_method(size.fmt).recipe
    gradient, last = (
        dataclasses.replace(
            _gradient(recipe, is_last),
            odd_shift=size.odd_shift,
            underflow=size.underflow,
            random_bits=size.random_bits,
        )
        for is_last in (False, True)
    )
    return dataclasses.replace(recipe, gradient=gradient, last_gradient=last)


def convolution_layers(
    image_shape: Sequence[int], channels: Sequence[int], classes: int, batch: int
) -> dict[str, LayerShape]:
    """Name the layers of a network of convolutions, as ``golden.training.networks`` does.

    Behind each convolution, which has no bias, is a pooling of 2 x 2, and behind all a dense layer.

    Parameters
    ----------
    image_shape : sequence of int
        Height, width and channels of the images.
    channels : sequence of int
        Channels of the convolutions.
    classes : int
        Outputs of the dense layer.
    batch : int
        Images of a mini-batch.

    Raises
    ------
    InputError
        If the images are too small for so many poolings.
    """
    check_poolings(image_shape, len(channels))
    height, width, before = image_shape
    layers = {}
    for number, count in enumerate(channels):
        rows = batch * height * width
        layers[f"convolution{number}"] = LayerShape(rows, KERNEL**2 * before, count)
        height, width, before = height // 2, width // 2, count
    layers["dense"] = LayerShape(batch, height * width * before, classes)
    return layers


def step_cycles(
    size: CoreSize,
    timing: CoreTiming,
    layers: Mapping[str, LayerShape],
    recipe: Recipe | None = None,
    without_bias: Sequence[str] = (),
) -> StepReport:
    """Predict a training step.

    Parameters
    ----------
    size, timing : CoreSize, CoreTiming
        The core, and what its pipelines take.
    layers : mapping of str to LayerShape
        Layers by name, first layer first. A convolution is the product of the neighbourhoods of
        all pixels, one in a row.
    recipe : Recipe, optional
        What is 4-bit; that of :func:`core_recipe` by default.
    without_bias : sequence of str
        Layers that have no bias.

    Raises
    ------
    InputError
        If a layer does not fit however it is cut.
    """
    recipe = recipe or core_recipe(size)
    backend = DeviceBackend(TimingOnly(size, timing))
    # Zeros are numbers of every format; those of this one are looked at without a copy.
    backend.wide = BFLOAT16
    # In the first step nothing is remembered.
    for _ in range(2):
        begin, busy = backend.clock.now, backend.clock.busy
        backend.log, backend.clock.spans = [], []
        run_step(backend, layers, recipe, without_bias)
    log, spans = backend.log or [], backend.clock.spans or []
    return StepReport(
        size,
        pass_reports(size, log, spans, begin),
        backend.clock.busy - busy,
        least_cycles(size, layers, recipe),
        [span.moved(-begin) for span in spans],
        largest_operands(size, layers, recipe),
    )


def run_step(
    backend: DeviceBackend,
    layers: Mapping[str, LayerShape],
    recipe: Recipe,
    without_bias: Sequence[str] = (),
) -> None:
    """Let a backend do what a trainer asks of it in a step, with zeros.

    Parameters
    ----------
    backend : DeviceBackend
        The backend.
    layers, recipe, without_bias :
        As in :func:`step_cycles`.
    """
    first, *_ = names = list(layers)
    last = names[-1]
    weights = {name: Weights(_zeros(s.outputs, s.inputs), 1.0) for name, s in layers.items()}
    with backend.begin(weights) as passes:
        for name, shape in layers.items():
            bias = None if name in without_bias else _zeros(shape.outputs)
            passes.forward(name, _zeros(shape.rows, shape.inputs), 1.0, bias, relu=name != last)
        for name, shape in reversed(list(layers.items())):
            gradient = _gradient(recipe, name == last)
            dy = _zeros(shape.rows, shape.outputs * gradient.parts)
            wanted = name != first
            passes.backward(name, dy, gradient, want_input_gradient=wanted, exponent=0)
    backend.finish()


def _zeros(*shape):
    """Zeros that take no memory."""
    return np.broadcast_to(np.float32(0), shape)


def pass_reports(
    size: CoreSize, log: Sequence[Entry], spans: Sequence[Span], begin: int
) -> list[PassReport]:
    """Gather the products of each pass of a step, and what comes before them.

    Parameters
    ----------
    size : CoreSize
        The core.
    log : sequence of Entry
        Products that the backend has logged.
    spans : sequence of Span
        All commands of its clock, in their order.
    begin : int
        When the step begins.
    """
    start = begin
    owners = {id(entry.span): (entry.layer, _name(entry.command)) for entry in log}
    parts: dict[tuple[str, str], list[Span]] = {}
    before: list[Span] = []
    for span in spans:
        before.append(span)
        if id(span) in owners:
            parts.setdefault(owners[id(span)], []).extend(before)
            before = []
    reports = []
    for (layer, name), its in parts.items():
        commands = [span.command for span in its]
        products = [command for command in commands if command.is_product]
        loads = [command for command in commands if command.is_load]
        end = max(span.out for span in its if span.command.is_product)
        reports.append(
            PassReport(
                layer,
                name,
                end - begin,
                sum(map(size.passes, products)),
                sum(map(size.strips, products)),
                sum(map(size.beats, loads)),
                len(commands),
                sum(max(size.passes(c), size.strips(c)) for c in products),
                sum(size.strips(c) for c in products if size.strips(c) > size.passes(c)),
                [span.moved(-start) for span in its],
            )
        )
        begin = end
    return reports


def _name(command):
    return "forward" if command.operation == Operation.FORWARD else "backward"


def largest_operands(
    size: CoreSize, layers: Mapping[str, LayerShape], recipe: Recipe
) -> dict[str, int]:
    """Count the words of each operand memory that would hold the largest operand as a whole."""
    last = list(layers)[-1]
    parts = {name: _gradient(recipe, name == last).parts for name in layers}
    shapes = layers.items()
    return {
        "activations": max(size.blocks(s.rows, s.inputs) for _, s in shapes),
        "weights": max(size.blocks(s.outputs * parts[n], s.inputs) for n, s in shapes),
        "gradients": max(size.blocks(s.rows, s.outputs * parts[n]) for n, s in shapes),
    }


def least_cycles(
    size: CoreSize, layers: Mapping[str, LayerShape], recipe: Recipe | None = None
) -> int:
    """Find a bound of a step that holds for every order of commands and for memories of any size.

    Commands take no time, nothing is cut and every operand is loaded once, as early as it can be
    known: the activations of a layer when the layer before is done, the gradient of its output
    when the input gradient of the layer behind is. Loads, array and the way out of it all work at
    once; still none of them does more than one thing in a cycle.
    """
    recipe = recipe or core_recipe(size)
    last = list(layers)[-1]
    time = loads = array = 0
    for shape in layers.values():
        across = -(-shape.inputs // size.load_lanes)
        x, w = shape.rows * across, shape.outputs * across
        work = _work(size, shape, Operation.FORWARD)
        loads, array = loads + x + w, array + work
        time = max(time + max(x, work), loads, array)
    # Of each layer, the last one first: beats for the input gradient, and for both; the products.
    left = []
    for name, shape in reversed(list(layers.items())):
        gradient = _gradient(recipe, name == last)
        dy = LayerShape(shape.rows, shape.inputs, shape.outputs * gradient.parts)
        phases = len(set(gradient.phases))
        beats = dy.rows * -(-dy.outputs // size.load_lanes)
        to_inputs = _work(size, dy, Operation.INPUT_GRADIENT)
        to_weights = _work(size, dy, Operation.WEIGHT_GRADIENT)
        left.append((beats, phases * beats, to_inputs, to_weights))
    end = array + sum(to_inputs + to_weights for _, _, to_inputs, to_weights in left)
    for k, (beats, _, to_inputs, _) in enumerate(left):
        # All that is left to load and to multiply comes after the gradient of this layer is known.
        _, both, *products = map(sum, zip(*left[k:], strict=True))
        end = max(end, time + both, time + sum(products))
        time += max(beats, to_inputs)
    return max(end, time)


def _work(size, shape, operation):
    """Count the cycles that a product needs the array, or the way out of it."""
    command = Command(operation, shape.rows, shape.inputs, shape.outputs)
    return max(size.passes(command), size.strips(command))


def _gradient(recipe: Recipe, is_last: bool) -> GradientRecipe:
    """Find how the output gradients of a layer become FP4."""
    gradient = recipe.last if is_last else recipe.gradient
    if gradient is None:
        raise InputError(
            f"Recipe {recipe.name} has no FP4 gradients, and a training core multiplies no others; "
            f"choose {' or '.join(name for name, each in RECIPES.items() if each.gradient)}"
        )
    return gradient
