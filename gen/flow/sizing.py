"""What a training core of a size will take of a device."""

import functools
import json
from pathlib import Path

import numpy as np

from nibblegrad.gen.config import TrainingCoreConfig
from nibblegrad.gen.flow.families import TARGETS
from nibblegrad.gen.flow.family import RESOURCES, Target
from nibblegrad.gen.flow.memories import CODE, map_memory, memory_use
from nibblegrad.golden.engine.command import CoreSize
from nibblegrad.golden.errors import InputError

__all__ = [
    "SMALLEST_MATRIX",
    "TERMS",
    "forget",
    "is_measured",
    "predict",
    "smallest_memories",
    "terms",
]

#: Side of the square matrices that the smallest memories hold.
SMALLEST_MATRIX = 64

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


@functools.cache
def _coefficients(model: Path) -> dict[str, dict[str, float]] | None:
    if not model.exists():
        return None
    try:
        coefficients = json.loads(model.read_text())["coefficients"]
        return {
            resource: {term: float(coefficients[resource][term]) for term in TERMS}
            for resource in ("luts", "flip_flops", "multipliers")
        }
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{model} is no model of sizes; make it anew with "
            "`python -m nibblegrad.gen.flow.calibrate`"
        ) from error


def forget() -> None:
    """Read the coefficients anew when they are needed next."""
    _coefficients.cache_clear()


def is_measured(target: Target) -> bool:
    """Tell whether cores were measured for the family of a target."""
    return _coefficients(target.family.model) is not None


def predict(size: CoreSize, target: Target) -> dict[str, int]:
    """Predict what a training core takes after place and route, for each of ``RESOURCES``.

    Raises
    ------
    InputError
        If cores were not measured for the family of the target.
    """
    coefficients = _coefficients(target.family.model)
    if coefficients is None:
        raise InputError(_unmeasured(target))
    memories = memory_use(size, target)
    counts = terms(size)
    need = {
        resource: round(float(counts @ np.array([by_term[term] for term in TERMS])))
        for resource, by_term in coefficients.items()
    }
    need["luts"] += memories.luts
    need["block_rams"] = memories.block_rams
    if not target.multipliers:
        # Products are made of LUTs, which was not measured; what it takes at least is known.
        need["multipliers"] = 0
    return {resource: need[resource] for resource in RESOURCES}


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


def _unmeasured(target: Target) -> str:
    names = ", ".join(name for name, other in TARGETS.items() if is_measured(other))
    return (
        f"Training cores were not measured for {target.name}; run "
        f"`python -m nibblegrad.gen.flow.calibrate --family {target.family.name}`, which takes "
        "about an hour" + (f", or choose from {names}" if names else "")
    )
