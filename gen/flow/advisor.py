"""The size advisor: which training core to put on a device, and whether one fits."""

import dataclasses
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from golden.errors import InputError

from ..config import TrainingCoreConfig
from .memories import memory_use
from .sizing import is_measured, most_lanes, predict, smallest_memories
from .targets import RESOURCES, TARGETS, Target
from .throughput import LAYER, Layer, least_cycles, step_cycles

__all__ = ["DEPTHS", "MARGIN", "Fit", "best", "candidates", "check_fits", "shapes"]

#: Share of a device that stays free. The fullest that were routed with every seed are 73 % full.
MARGIN = 0.25

#: Words at which operand memories are deep enough for the layers that suit such a core.
DEEPEST = 4096

#: Memories whose depth is chosen.
DEPTHS = ("activation_words", "weight_words", "gradient_words", "partial_sum_strips")


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
        What it is predicted to take of each of :data:`gen.flow.targets.RESOURCES`.
    layer : Layer
        The layer it was chosen for.
    cycles : int
        What a training step of the layer is predicted to take.
    """

    config: TrainingCoreConfig
    target: Target
    need: dict[str, int]
    layer: Layer
    cycles: int


def best(target: Target, layer: Layer = LAYER, margin: float = MARGIN) -> Fit:
    """Find the training core that is predicted to be the fastest of those that fit a target.

    All cores are taken to reach the same frequency, so what decides is the cycles of a training
    step of a layer. Of equally fast cores the one with the fewest LUTs is taken. Memories are as
    deep as they have to be for that, and then as deep as they can be at no cost in LUTs.

    Parameters
    ----------
    target : Target
        Device.
    layer : Layer
        What the core is to be fast at.
    margin : float
        Share of the LUTs and flip-flops that stays free, for routing and for what goes around.

    Raises
    ------
    InputError
        If no core fits, or none that fits can hold the layer, or the family was not measured.
    """
    found = None
    for bound, smallest in sorted(
        ((least_cycles(config.size(), layer), config) for config in shapes(target)),
        key=lambda pair: pair[0],
    ):
        if found is not None and bound > found.cycles:
            break
        for fit in candidates(smallest, target, layer, margin):
            if found is None or _rank(fit) < _rank(found):
                found = fit
    if found is not None:
        return _deepen(found, margin)
    need = predict(smallest_memories(2, 2, 2, target).size(), target)
    short = _shortage(need, target, margin)
    if short is None:
        raise InputError(
            f"No training core that fits {target.name} holds a layer {layer}, however it is cut; "
            f"choose a larger target or a smaller layer"
        )
    resource, _ = short
    have = getattr(target, resource)
    free = f", of which {margin:.0%} stay free" if need[resource] <= have else ""
    others = ", ".join(_large_enough(margin))
    raise InputError(
        f"Not even the 2 x 2 x 2 training core fits {target.name}: it needs {need[resource]:,} "
        f"{RESOURCES[resource]}, and there are {have:,}{free}; "
        + (f"choose from {others}" if others else f"leave less free than {margin:g}")
    )


def shapes(target: Target) -> Iterator[TrainingCoreConfig]:
    """List the cores that are considered, with the smallest memories worth having.

    They have as many lanes as predictions are trusted for, or fewer.

    Raises
    ------
    InputError
        If the family was not measured.
    """
    most = most_lanes(target)
    sizes = [1 << k for k in range(1, 7)]
    for rows, columns, lanes in itertools.product(sizes, repeat=3):
        if rows * columns * lanes <= most:
            yield smallest_memories(rows, columns, lanes, target)


def candidates(
    smallest: TrainingCoreConfig, target: Target, layer: Layer, margin: float = MARGIN
) -> Iterator[Fit]:
    """List the cores with the array of ``smallest`` that fit a target and hold a layer.

    Of the depths of a memory, powers of two, only those are tried that are the last before more
    block RAMs are needed, as shallower ones cost the same.
    """
    if _fit(smallest, target, layer, margin, needs_layer=False) is None:
        return
    # Biases of a whole layer stay where they are.
    biases = _power_of_two(-(-layer.outputs // smallest.columns))
    smallest = dataclasses.replace(
        smallest, bias_words=max(smallest.bias_words, min(biases, DEEPEST))
    )
    for depths in itertools.product(*(_depths(smallest, name, target) for name in DEPTHS)):
        deeper: dict[str, Any] = dict(zip(DEPTHS, depths, strict=True))
        fit = _fit(dataclasses.replace(smallest, **deeper), target, layer, margin)
        if fit is not None:
            yield fit


def check_fits(config: TrainingCoreConfig, target: Target, layer: Layer = LAYER) -> dict[str, int]:
    """Predict what a core takes, and refuse it if the target does not have so much.

    Raises
    ------
    InputError
        If it does not fit, or the family was not measured.
    """
    need = predict(config.size(), target)
    short = _shortage(need, target, 0)
    if short is not None:
        resource, have = short
        core = f"{config.rows} x {config.columns} x {config.lanes}"
        raise InputError(
            f"The {core} training core needs {need[resource]:,} {RESOURCES[resource]}, and "
            f"{target.name} has {have:,}; {_advice(target, layer)}"
        )
    return need


def _advice(target: Target, layer: Layer) -> str:
    try:
        fit = best(target, layer).config
    except InputError:
        others = list(_large_enough(MARGIN))
        if target.name in others:
            return f"no training core that fits it holds a layer {layer}, choose a smaller layer"
        return f"no training core fits it, choose from {', '.join(others)}"
    memories = f"{fit.activation_words}, {fit.weight_words} and {fit.gradient_words} words"
    return f"{fit.rows} x {fit.columns} x {fit.lanes} with {memories} fits"


def _large_enough(margin: float) -> Iterator[str]:
    """List the targets that the smallest core fits."""
    for name, target in TARGETS.items():
        if is_measured(target):
            need = predict(smallest_memories(2, 2, 2, target).size(), target)
            if _shortage(need, target, margin) is None:
                yield name


def _shortage(need: dict[str, int], target: Target, margin: float) -> tuple[str, int] | None:
    """Find the resource of which most is missing, and how much may be used of it."""
    # Block RAMs and multipliers can be used up; LUTs and flip-flops have to be placed together.
    room = {"luts": 1 - margin, "flip_flops": 1 - margin}
    usable = {
        resource: int(getattr(target, resource) * room.get(resource, 1)) for resource in RESOURCES
    }
    short = [resource for resource in RESOURCES if need[resource] > usable[resource]]
    worst = max(short, key=lambda resource: need[resource] / max(usable[resource], 1), default=None)
    return (worst, usable[worst]) if worst else None


def _fit(
    config: TrainingCoreConfig,
    target: Target,
    layer: Layer,
    margin: float,
    *,
    needs_layer: bool = True,
) -> Fit | None:
    """Look whether a core fits a target and, if it needs to, holds a layer."""
    need = predict(config.size(), target)
    if _shortage(need, target, margin) is not None:
        return None
    cycles = 0
    if needs_layer:
        try:
            cycles = step_cycles(config.size(), layer)
        except InputError:
            return None
    return Fit(config, target, need, layer, cycles)


def _rank(fit: Fit) -> tuple[int, ...]:
    """Order cores: the fastest, the fewest LUTs, the fewest block RAMs."""
    return fit.cycles, fit.need["luts"], fit.need["block_rams"]


def _depths(smallest: TrainingCoreConfig, name: str, target: Target) -> Iterator[int]:
    """List the depths of a memory that are worth trying."""

    def blocks(depth: Any) -> int:
        config = dataclasses.replace(smallest, **{name: depth})
        return memory_use(config.size(), target).block_rams

    depth = getattr(smallest, name)
    while depth < DEEPEST:
        if blocks(2 * depth) > blocks(depth):
            yield depth
        depth *= 2
    yield depth


def _power_of_two(count: int) -> int:
    return 1 << (count - 1).bit_length()


def _deepen(fit: Fit, margin: float) -> Fit:
    """Double memories as long as they fit: operands together, partial sums, then one by one.

    Deeper memories may take block RAMs, but no LUTs.
    """
    for names in (DEPTHS[:3], ("partial_sum_strips",), ("bias_words",), *zip(DEPTHS[:3])):
        deeper = fit.config
        while max(getattr(deeper, name) for name in names) < DEEPEST:
            doubled: dict[str, Any] = {name: 2 * getattr(deeper, name) for name in names}
            deeper = dataclasses.replace(deeper, **doubled)
            found = _fit(deeper, fit.target, fit.layer, margin)
            if found and found.need["luts"] <= fit.need["luts"] and found.cycles <= fit.cycles:
                fit = found
    return fit
