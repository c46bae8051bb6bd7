"""What a training core of a size will take of a device, and the largest one that fits."""

import dataclasses
import functools
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from golden.command import CoreSize
from golden.errors import InputError

from ..config import TrainingCoreConfig
from .memories import CODE, map_memory, memory_use
from .targets import RESOURCES, TARGETS, Target

__all__ = [
    "MODEL",
    "TERMS",
    "Fit",
    "check_fits",
    "forget",
    "largest",
    "most_lanes",
    "predict",
    "smallest_memories",
    "terms",
]

#: The coefficients, which ``python -m gen.flow.calibrate`` writes.
MODEL = Path(__file__).with_name("model.json")

#: Share of a device that the advisor fills. Fuller ones are routed slowly, or not at all.
MARGIN = 0.1

#: Side of the square matrices that the smallest memories hold.
SMALLEST_MATRIX = 64

#: Fraction bits of residuals that are tried, in turn: fewer take fewer block RAMs, but make the
#: step gradient coarser, which the advisor does not decide.
RESIDUAL_BITS = (8,)

#: How many times the lanes of the largest measured core a proposal may have.
EXTRAPOLATION = 2

#: Words at which memories are deep enough for the layers that suit such a core.
DEEPEST = 4096

#: What cells are counted by: how often a part of the core is there.
TERMS = ("lanes", "accumulators", "operands", "squares", "strips", "load_lanes", "once")


def terms(size: CoreSize) -> np.ndarray:
    """Count how often each of :data:`TERMS` is in a core.

    ``operands`` are the lanes of rows and columns before they meet in the array; ``squares`` the
    codes in a word of an operand memory, of which multiplexers choose.
    """
    return np.array(
        [
            size.rows * size.columns * size.lanes,
            size.rows * size.columns,
            (size.rows + size.columns) * size.lanes,
            size.block**2,
            size.strip,
            size.load_lanes,
            1,
        ],
        dtype=float,
    )


@dataclass(frozen=True)
class Fit:
    """A training core for a target, with what it is predicted to take."""

    config: TrainingCoreConfig
    target: Target
    need: dict[str, int]


@functools.cache
def _models() -> dict:
    return json.loads(MODEL.read_text())["families"] if MODEL.exists() else {}


def forget() -> None:
    """Read the coefficients anew when they are needed next."""
    _models.cache_clear()


def predict(size: CoreSize, target: Target) -> dict[str, int]:
    """Predict what a training core takes after place and route, for each of ``RESOURCES``.

    Raises
    ------
    InputError
        If cores were not measured for the family of the target.
    """
    models = _models()
    if target.family.name not in models:
        names = [name for name, other in TARGETS.items() if other.family.name in models]
        hint = f"choose from {', '.join(names)}" if names else "run `python -m gen.flow.calibrate`"
        raise InputError(f"Training cores were not measured for {target.name}; {hint}")
    memories = memory_use(size, target)
    counts = terms(size)
    need = {
        resource: round(float(counts @ np.array([coefficients[term] for term in TERMS])))
        for resource, coefficients in models[target.family.name]["coefficients"].items()
    }
    need["luts"] += memories.luts
    need["block_rams"] = memories.block_rams
    if not target.multipliers:
        # Products are made of LUTs, which was not measured; what it takes at least is known.
        need["multipliers"] = 0
    return {resource: need[resource] for resource in RESOURCES}


def check_fits(config: TrainingCoreConfig, target: Target) -> dict[str, int]:
    """Predict what a core takes, and refuse it if the target does not have so much.

    Raises
    ------
    InputError
        If it does not fit.
    """
    need = predict(config.size(), target)
    for resource, words in RESOURCES.items():
        have = getattr(target, resource)
        if need[resource] > have:
            core = f"{config.rows} x {config.columns} x {config.lanes}"
            raise InputError(
                f"The {core} training core needs {need[resource]:,} {words}, and {target.name} has "
                f"{have:,}; {_advice(target)}"
            )
    return need


def _advice(target: Target) -> str:
    try:
        fit = largest(target).config
    except InputError:
        larger = [
            name
            for name, other in TARGETS.items()
            if other.family.name in _models() and _fits(smallest_memories(2, 2, 2, other), other, 0)
        ]
        return f"no training core fits it, choose from {', '.join(larger)}"
    memories = f"{fit.activation_words}, {fit.weight_words} and {fit.gradient_words} words"
    return f"{fit.rows} x {fit.columns} x {fit.lanes} with {memories} fits"


def smallest_memories(
    rows: int, columns: int, lanes: int, target: Target, residual_bits: int = 8
) -> TrainingCoreConfig:
    """Make the configuration of a size with the smallest memories worth having.

    They hold matrices of 64 x 64, and are deep enough for codes to be in block RAMs.
    """
    block = max(rows, columns, lanes)
    words = max(SMALLEST_MATRIX // block, 1) ** 2
    while not map_memory(words, CODE * min(rows, columns, lanes), target).block_rams:
        words *= 2
    return TrainingCoreConfig(
        rows=rows,
        columns=columns,
        lanes=lanes,
        activation_words=words,
        weight_words=words,
        gradient_words=words,
        bias_words=-(-SMALLEST_MATRIX // columns),
        partial_sum_strips=16,
        residual_bits=residual_bits,
        structure=target.family.structure,
    )


def _fits(config: TrainingCoreConfig, target: Target, margin: float) -> Fit | None:
    need = predict(config.size(), target)
    # Block RAMs and multipliers can be used up; LUTs and flip-flops have to be placed together.
    room = {"luts": 1 - margin, "flip_flops": 1 - margin}
    for resource in RESOURCES:
        if need[resource] > getattr(target, resource) * room.get(resource, 1):
            return None
    return Fit(config, target, need)


def largest(target: Target, margin: float = MARGIN) -> Fit:
    """Find the training core with the most lanes that fits a target, and give it what memory fits.

    Of cores with as many lanes, the one with the most squarely shaped array is taken, since loads
    and results then keep up best.

    Parameters
    ----------
    target : Target
        Device.
    margin : float
        Share of the LUTs and flip-flops that stays free, for routing and for what goes around.

    Raises
    ------
    InputError
        If not even 2 x 2 x 2 fits, or the family was not measured.
    """
    shapes = [shape for shape in _shapes() if math.prod(shape) <= most_lanes(target)]
    for shape in sorted(shapes, key=_preference, reverse=True):
        for residual_bits in RESIDUAL_BITS:
            fit = _fits(smallest_memories(*shape, target, residual_bits), target, margin)
            if fit is not None:
                return _deepen(fit, margin)
    need = predict(smallest_memories(2, 2, 2, target).size(), target)
    short = next(
        (
            (resource, words)
            for resource, words in RESOURCES.items()
            if need[resource] > getattr(target, resource) * (1 - margin)
        ),
    )
    raise InputError(
        f"Not even the 2 x 2 x 2 training core fits {target.name}: it needs "
        f"{need[short[0]]:,} {short[1]}, and there are {getattr(target, short[0]):,}; "
        f"choose a larger target"
    )


def most_lanes(target: Target) -> int:
    """Count the lanes up to which predictions are trusted: a multiple of what was measured."""
    predict(smallest_memories(2, 2, 2, target).size(), target)  # refuses what was not measured
    measured = _models()[target.family.name]["measured"]
    shapes = (map(int, name.partition(",")[0].split(" x ")) for name in measured)
    return EXTRAPOLATION * max(math.prod(shape) for shape in shapes)


def _shapes() -> Iterator[tuple[int, int, int]]:
    sizes = [1 << k for k in range(1, 7)]
    return ((r, c, n) for r in sizes for c in sizes for n in sizes)


def _preference(shape: tuple[int, int, int]) -> tuple:
    """Rank shapes: the most lanes, the fastest loads, the smallest words, rather lanes."""
    rows, columns, lanes = shape
    return rows * columns * lanes, min(shape), -max(shape), -abs(rows - columns), lanes


def _deepen(fit: Fit, margin: float) -> Fit:
    """Double memories as long as they fit: operands together, partial sums, then one by one.

    Deeper memories may take block RAMs, but no LUTs.
    """
    for names in (
        ("activation_words", "weight_words", "gradient_words"),
        ("partial_sum_strips",),
        ("bias_words",),
        ("activation_words",),
        ("weight_words",),
        ("gradient_words",),
    ):
        deeper = fit.config
        while max(getattr(deeper, name) for name in names) < DEEPEST:
            deeper = dataclasses.replace(
                deeper, **{name: 2 * getattr(deeper, name) for name in names}
            )
            found = _fits(deeper, fit.target, margin)
            if found is not None and found.need["luts"] <= fit.need["luts"]:
                fit = found
    return fit
