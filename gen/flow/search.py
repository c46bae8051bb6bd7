"""The memories with which an array is fastest on a device, found without trying all of them."""

import dataclasses
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from nibblegrad.gen.config import STRUCTURES, TrainingCoreConfig
from nibblegrad.gen.flow.family import RESOURCES, Target
from nibblegrad.gen.flow.memories import memory_use
from nibblegrad.gen.flow.sizing import predict
from nibblegrad.gen.flow.throughput import Workload, step_report
from nibblegrad.golden.errors import InputError

__all__ = ["DEPTHS", "Fit", "candidates", "fastest", "fits", "shortage"]

#: Memories whose depth is chosen.
DEPTHS = ("activation_words", "weight_words", "gradient_words", "partial_sum_strips")

# How many commands the steps of all memories that are tried may have together: of an array that may
# be the fastest, and of another one.
_COMMANDS, _FEW_COMMANDS = 4000, 1000
# How many are tried that promise the most, before those that are like the best of them.
_FIRST = 3
# Of those, only what promises so much of what the best did.
_LEAST_PROMISE = 1 / 8


@dataclass(frozen=True)
class Fit:
    """A training core for a target.

    Attributes
    ----------
    config : TrainingCoreConfig
        The core.
    target : Target
        Device.
    need : dict of str to int
        What it is predicted to take of each of :data:`nibblegrad.gen.flow.family.RESOURCES`.
    workload : Workload
        What it was chosen for.
    cycles : int
        What a training step is predicted to take.
    busy : float
        Part of these cycles in which the lanes multiply.
    """

    config: TrainingCoreConfig
    target: Target
    need: dict[str, int]
    workload: Workload
    cycles: int
    busy: float

    @property
    def rank(self) -> tuple[int, ...]:
        """What orders cores: the fastest, the fewest LUTs, the fewest block RAMs."""
        return self.cycles, self.need["luts"], self.need["block_rams"]


def shortage(need: dict[str, int], target: Target, margin: float) -> tuple[str, int] | None:
    """Find the resource of which most is missing, and how much may be used of it."""
    # Block RAMs and multipliers can be used up; LUTs and flip-flops have to be placed together.
    room = {"luts": 1 - margin, "flip_flops": 1 - margin}
    usable = {
        resource: int(getattr(target, resource) * room.get(resource, 1)) for resource in RESOURCES
    }
    short = [resource for resource in RESOURCES if need[resource] > usable[resource]]
    worst = max(short, key=lambda resource: need[resource] / max(usable[resource], 1), default=None)
    return (worst, usable[worst]) if worst else None


def fits(core: TrainingCoreConfig, target: Target, margin: float) -> bool:
    """Tell whether a core is predicted to fit a target."""
    return shortage(predict(core.size(), target), target, margin) is None


def fastest(
    smallest: TrainingCoreConfig,
    target: Target,
    workload: Workload,
    margin: float,
    *,
    thorough: bool = True,
) -> Fit | None:
    """Find the memories with which an array is fastest; None if none holds the workload.

    Only cores are tried of which no memory can be deeper: first those that promise the most, then
    those that are like the best of them, with more words of one memory and fewer of another. Where
    a step has few commands that are all; else they become few, and fewer if not ``thorough``.
    """
    commands, least_tries = (_COMMANDS, _FIRST) if thorough else (_FEW_COMMANDS, 1)
    cores = candidates(smallest, target, workload, margin)
    promises = {steps: _promise(core, workload) for steps, core in cores.items()}
    left = sorted(cores, key=promises.__getitem__, reverse=True)
    best: Fit | None = None
    place: tuple[int, ...] = ()
    tried = 0
    while left and (tried < least_tries or commands > 0):
        if tried >= _FIRST:
            # Of equally near ones, that which promises more comes first.
            left.sort(key=lambda steps: _distance(steps, place))
        steps = left.pop(0)
        if tried >= _FIRST and promises[steps][0] < _LEAST_PROMISE * promises[place][0]:
            continue
        try:
            report = step_report(cores[steps], workload)
        except InputError:
            continue
        tried += 1
        commands -= len(report.spans)
        need = predict(report.size, target)
        fit = Fit(cores[steps], target, need, workload, report.cycles, report.busy)
        if best is None or fit.rank < best.rank:
            best, place = fit, steps
    return best


def candidates(
    smallest: TrainingCoreConfig, target: Target, workload: Workload, margin: float
) -> dict[tuple[int, ...], TrainingCoreConfig]:
    """List the cores with the array of ``smallest`` that fit, and no memory of which can be deeper.

    Of the depths of a memory, powers of two, only those count that are the last before more block
    RAMs are needed, as shallower ones cost the same.

    Returns
    -------
    dict of tuple of int to TrainingCoreConfig
        The cores, by which of the depths each memory has.
    """
    if not fits(smallest, target, margin):
        return {}
    smallest = _with_biases(smallest, target, workload)
    depths = [list(_depths(smallest, name, target)) for name in DEPTHS]
    found = {}
    for steps in itertools.product(*(range(len(each)) for each in depths)):
        deeper: dict[str, Any] = {
            name: each[step] for name, each, step in zip(DEPTHS, depths, steps, strict=True)
        }
        core = dataclasses.replace(smallest, **deeper)
        if fits(core, target, margin):
            found[steps] = core
    return {steps: core for steps, core in found.items() if not _one_deeper(steps) & found.keys()}


def _one_deeper(steps):
    return {(*steps[:k], steps[k] + 1, *steps[k + 1 :]) for k in range(len(steps))}


def _distance(one, other):
    return sum(abs(a - b) for a, b in zip(one, other, strict=True))


def _promise(core: TrainingCoreConfig, workload: Workload) -> tuple[float, int]:
    """Tell how far the memories go, from what the largest operands take."""
    size, shapes = core.size(), workload.shapes.values()
    x, w, dy = (
        words / max(size.blocks(*operand(shape)) for shape in shapes)
        for words, operand in (
            (core.activation_words, lambda shape: (shape.rows, shape.inputs)),
            (core.weight_words, lambda shape: (shape.outputs, shape.inputs)),
            (core.gradient_words, lambda shape: (shape.rows, shape.outputs)),
        )
    )
    # With room for two, one is loaded while the other is used.
    promise = math.sqrt(min(x, 2) * min(w, 2))
    if dy < 1:
        # Then rows are cut, and what each piece of them gives to a gradient of the weights is kept
        # as partial sums: of all outputs of a block of inputs, or there will be very many pieces.
        strips = max(shape.outputs for shape in shapes) * size.block // size.rows
        promise *= 0.1 * dy**2 * min(core.partial_sum_strips / strips, 1) ** 2
    return promise, core.partial_sum_strips


def _with_biases(core: TrainingCoreConfig, target: Target, workload: Workload):
    """Let the biases of a whole layer stay where they are, and more of them at no cost."""
    outputs = max(shape.outputs for shape in workload.shapes.values())
    deepest = STRUCTURES[core.structure].deepest_bank
    words = 1 << (-(-outputs // core.columns) - 1).bit_length()
    core = dataclasses.replace(core, bias_words=max(core.bias_words, min(words, deepest)))
    use = memory_use(core.size(), target)
    while core.bias_words < deepest:
        deeper = dataclasses.replace(core, bias_words=2 * core.bias_words)
        if memory_use(deeper.size(), target) != use:
            break
        core = deeper
    return core


def _depths(smallest: TrainingCoreConfig, name: str, target: Target) -> Iterator[int]:
    """List the depths of a memory that are worth trying."""

    def blocks(depth: Any) -> int:
        core = dataclasses.replace(smallest, **{name: depth})
        return memory_use(core.size(), target).block_rams

    depth = getattr(smallest, name)
    deepest = STRUCTURES[smallest.structure].deepest_bank
    while depth < deepest:
        if blocks(2 * depth) > blocks(depth):
            yield depth
        depth *= 2
    yield depth
