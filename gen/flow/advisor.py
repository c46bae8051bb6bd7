"""The size advisor: which training core to put on a device, and whether one fits."""

import itertools
from collections.abc import Iterator
from typing import Any

from nibblegrad.gen.config import TrainingCoreConfig
from nibblegrad.gen.flow.families import TARGETS
from nibblegrad.gen.flow.family import RESOURCES, Target
from nibblegrad.gen.flow.search import Fit, fastest, fits, shortage
from nibblegrad.gen.flow.sizing import is_measured, predict, smallest_memories
from nibblegrad.gen.flow.throughput import LAYER, Workload, least_cycles
from nibblegrad.golden.errors import InputError

__all__ = ["FAR", "MARGIN", "best", "check_fits", "ranking", "shapes"]

#: Share of a device that stays free. The fullest that were routed with every seed are 73 % full.
MARGIN = 0.25

# What was found before, by all that it depends on: it takes seconds.
_RANKINGS: dict[Any, list[Fit]] = {}

#: How many times as long a step may take on an array that is worth a line in a table.
FAR = 3


def best(target: Target, workload: Workload = LAYER, margin: float = MARGIN) -> Fit:
    """Find the training core that is predicted to be the fastest of those that fit a target.

    It is the first of :func:`ranking`.
    """
    return ranking(target, workload, margin, 1)[0]


def ranking(
    target: Target, workload: Workload = LAYER, margin: float = MARGIN, count: int = 5
) -> list[Fit]:
    """Find the arrays that are predicted to be the fastest of those that fit, the fastest first.

    All cores are taken to reach the same frequency, so what decides is the cycles of a training
    step. Of equally fast cores the one with the fewest LUTs comes first. Each array has the
    memories that make it fastest.

    Parameters
    ----------
    target : Target
        Device.
    workload : Layer or Network
        What the core is to be fast at.
    margin : float
        Share of the LUTs and flip-flops that stays free, for routing and for what goes around.
    count : int
        How many arrays at most; those that take :data:`FAR` times as long are left out.

    Raises
    ------
    InputError
        If no core fits, or none that fits can hold a layer, or the family was not measured.
    """
    model = target.family.model
    written = model.stat().st_mtime_ns if model.exists() else 0
    key = repr(target), workload, margin, count, str(model), written
    if key not in _RANKINGS:
        _RANKINGS[key] = _rank(target, workload, margin, count)
    return list(_RANKINGS[key])


def _rank(target, workload, margin, count) -> list[Fit]:
    found: list[Fit] = []
    arrays = [core for core in shapes(target) if fits(core, target, margin)]
    # A bound that no memories can beat.
    bounds = [least_cycles(core, workload) for core in arrays]
    for bound, smallest in sorted(zip(bounds, arrays, strict=True), key=lambda pair: pair[0]):
        if len(found) == count and bound > found[-1].cycles:
            break
        if found and bound > FAR * found[0].cycles:
            break
        thorough = not found or bound <= found[0].cycles
        fit = fastest(smallest, target, workload, margin, thorough=thorough)
        if fit is not None:
            found = sorted([*found, fit], key=lambda each: each.rank)[:count]
    if not found:
        raise InputError(_none(target, workload, margin))
    return found


def _none(target: Target, workload: Workload, margin: float) -> str:
    """Say why there is no core."""
    need = predict(smallest_memories(2, 2, 2, target).size(), target)
    short = shortage(need, target, margin)
    if short is None:
        return (
            f"No training core that fits {target.name} holds a {workload}, however it is cut; "
            f"choose a larger target or a smaller layer"
        )
    resource, _ = short
    have = getattr(target, resource)
    free = f", of which {margin:.0%} stay free" if need[resource] <= have else ""
    others = ", ".join(_large_enough(margin))
    return (
        f"Not even the 2 x 2 x 2 training core fits {target.name}: it needs {need[resource]:,} "
        f"{RESOURCES[resource]}, and there are {have:,}{free}; "
        + (f"choose from {others}" if others else f"leave less free than {margin:g}")
    )


def shapes(target: Target) -> Iterator[TrainingCoreConfig]:
    """List the arrays that are considered, with the smallest memories worth having.

    Raises
    ------
    InputError
        If the family was not measured.
    """
    sizes = [1 << k for k in range(1, 7)]
    for rows, columns, lanes in itertools.product(sizes, repeat=3):
        yield smallest_memories(rows, columns, lanes, target)


def check_fits(
    config: TrainingCoreConfig, target: Target, workload: Workload = LAYER
) -> dict[str, int]:
    """Predict what a core takes, and refuse it if the target does not have so much.

    Raises
    ------
    InputError
        If it does not fit, or the family was not measured.
    """
    need = predict(config.size(), target)
    short = shortage(need, target, 0)
    if short is not None:
        resource, have = short
        core = f"{config.rows} x {config.columns} x {config.lanes}"
        raise InputError(
            f"The {core} training core needs {need[resource]:,} {RESOURCES[resource]}, and "
            f"{target.name} has {have:,}; {_advice(target, workload)}"
        )
    return need


def _advice(target: Target, workload: Workload) -> str:
    try:
        fit = best(target, workload).config
    except InputError:
        others = list(_large_enough(MARGIN))
        if target.name in others:
            return f"no training core that fits it holds a {workload}, choose a smaller layer"
        return f"no training core fits it, choose from {', '.join(others)}"
    memories = f"{fit.activation_words}, {fit.weight_words} and {fit.gradient_words} words"
    return f"{fit.rows} x {fit.columns} x {fit.lanes} with {memories} fits"


def _large_enough(margin: float) -> Iterator[str]:
    """List the targets that the smallest core fits."""
    for name, target in TARGETS.items():
        if is_measured(target):
            need = predict(smallest_memories(2, 2, 2, target).size(), target)
            if shortage(need, target, margin) is None:
                yield name
