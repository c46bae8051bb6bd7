"""``python -m gen.flow.calibrate``: measure training cores, and fit what predicts the others."""

import argparse
import json
import math
import os
import sys
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ..config import TrainingCoreConfig
from ..door import require, run_guarded
from ..interrupts import put_off
from ..outputs import prepare_folder, write_if_changed
from ..ranges import check_range
from ..verilog import to_verilog
from . import cache, sizing, tools
from .memories import memory_use
from .parallel import ended, processes
from .synthesis import Synthesis, synthesize
from .targets import TARGETS, Target

__all__ = ["SHAPES", "add_arguments", "fit", "main", "measure"]

#: Rows, columns, lanes and residual bits.
Shape = tuple[int, int, int, int]

#: The cores that are measured, by family. Together they tell the terms apart, and so do the first
#: five of ECP5; the larger ones keep the error small where it matters.
SHAPES: dict[str, list[Shape]] = {
    "ecp5": [
        *((2, 2, 2, 8), (4, 4, 4, 8), (2, 4, 4, 8), (4, 4, 2, 8), (2, 2, 8, 8)),
        # The last one is the largest that fits a device of the family.
        *((4, 4, 8, 8), (8, 4, 4, 8), (8, 8, 8, 8), (8, 8, 16, 8)),
    ],
    "nexus": [
        *((2, 2, 2, 8), (4, 4, 4, 8), (2, 2, 4, 8), (4, 2, 4, 8), (4, 4, 2, 8)),
        *((2, 8, 4, 8), (4, 4, 8, 8)),
    ],
    "ice40": [(2, 2, 2, 8), (2, 2, 4, 8), (4, 4, 4, 8)],
    # The smallest takes more than there is.
    "gowin": [(2, 2, 2, 8)],
    "xilinx": [(2, 2, 2, 8), (4, 4, 4, 8), (4, 4, 8, 8), (4, 4, 2, 8)],
}

PROGRAM = "python -m gen.flow.calibrate"

#: The target of each family whose tools are used.
TARGET = {
    "ecp5": "ecp5-85k",
    "nexus": "nexus-40",
    "ice40": "ice40-up5k",
    "gowin": "gowin-9k",
    "xilinx": "xilinx",
}


def measure(config: TrainingCoreConfig, target: Target) -> Synthesis:
    """Synthesise the training core of a configuration."""
    verilog = to_verilog(config.build(), "training_core")
    return synthesize(verilog, "training_core", target, long_wires=True)


def _config(shape: Shape, target: Target) -> TrainingCoreConfig:
    rows, columns, lanes, residual_bits = shape
    return sizing.smallest_memories(rows, columns, lanes, target, residual_bits)


def counts(synthesis: Synthesis) -> dict[str, int]:
    """List what a synthesised core takes."""
    return {
        "luts": synthesis.placed_luts,
        "flip_flops": synthesis.flip_flops,
        "block_rams": synthesis.block_rams,
        "multipliers": synthesis.multipliers,
    }


def fit(
    configs: list[TrainingCoreConfig], measured: list[dict[str, int]], target: Target
) -> dict[str, dict[str, float]]:
    """Fit the coefficients of :data:`gen.flow.sizing.TERMS` to what was measured.

    No part of a core makes it smaller, so no coefficient is negative. What counts is the relative
    error. LUTs of distributed memory are known without fitting.
    """
    # Only here, as it takes an extra of this project.
    from sklearn.linear_model import LinearRegression

    matrix = np.array([sizing.terms(config.size()) for config in configs])
    coefficients = {}
    for resource in ("luts", "flip_flops", "multipliers"):
        values = np.array([float(each[resource]) for each in measured])
        if resource == "luts":
            values -= [memory_use(config.size(), target).luts for config in configs]
        weight = 1 / np.maximum(values, 1)
        regression = LinearRegression(positive=True, fit_intercept=False)
        regression.fit(matrix * weight[:, None], values * weight)
        coefficients[resource] = {
            term: round(float(value), 3)
            for term, value in zip(sizing.TERMS, regression.coef_, strict=True)
        }
    return coefficients


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command to a parser."""
    parser.add_argument("--family", choices=SHAPES, action="append", help="default: every family")
    parser.add_argument(
        "--cores", type=int, metavar="N", help="measure the first N cores of each family only"
    )
    parser.add_argument(
        "--missing", action="store_true", help="measure only what is not in the model yet"
    )
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, metavar="N", help="how many at a time"
    )
    parser.add_argument(
        "--debug", action="store_true", help="show where in the program a mistake of it happens"
    )


def main(argv: list[str] | None = None) -> int:
    """Measure the families, write :data:`gen.flow.sizing.MODEL`, and return the exit status."""
    parser = argparse.ArgumentParser(prog=PROGRAM, description=__doc__)
    add_arguments(parser)
    args = parser.parse_args(argv)
    return run_guarded(PROGRAM, lambda: _run(args), args.debug)


def _run(args: argparse.Namespace) -> int:
    check_range("--cores", args.cores, 1, 1000)
    check_range("--jobs", args.jobs, 1, 256)
    require("sklearn")
    tools.require("yosys")
    prepare_folder(sizing.MODEL.parent, remedy="install the package where you may write")
    cache.prepare()
    families = args.family or list(SHAPES)
    try:
        _calibrate({family: SHAPES[family][: args.cores] for family in families}, args)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"; the model is as it was. {cache.KEPT}") from None
    for family in families:
        _report(family)
    return 0


def _calibrate(shapes: dict[str, list[Shape]], args: argparse.Namespace) -> None:
    """Measure cores of each family, fit the coefficients, and write the model."""
    model: Path = sizing.MODEL
    known = json.loads(model.read_text())["families"] if model.exists() else {}
    measured: dict[str, dict[str, dict[str, int]]] = {
        family: known[family]["measured"] if args.missing and family in known else {}
        for family in shapes
    }
    jobs = [
        (family, shape)
        for family in shapes
        for shape in shapes[family]
        if _name(shape) not in measured[family]
    ]
    # The largest first: they take longest.
    jobs.sort(key=lambda job: math.prod(job[1][:3]), reverse=True)
    with (
        processes(args.jobs) as pool,
        tqdm(total=len(jobs), desc="synthesis", unit="core", disable=None) as progress,
    ):
        futures = {}
        with put_off():
            for family, shape in jobs:
                target = TARGETS[TARGET[family]]
                futures[pool.submit(measure, _config(shape, target), target)] = family, shape
        for future in ended(futures):
            family, shape = futures[future]
            measured[family] = {**measured[family], _name(shape): counts(future.result())}
            progress.update()
    for family, cores in shapes.items():
        target = TARGETS[TARGET[family]]
        found = {_name(shape): measured[family][_name(shape)] for shape in cores}
        known[family] = {
            "version": tools.tool_version("yosys"),
            "coefficients": fit(
                [_config(shape, target) for shape in cores], list(found.values()), target
            ),
            "measured": found,
        }
    document = {"made by": "python -m gen.flow.calibrate", "families": known}
    write_if_changed(model, json.dumps(document, indent=1) + "\n")
    sizing.forget()


def _name(shape: Shape) -> str:
    """Make the name by which the model knows a core."""
    return "{} x {} x {}, {}".format(*shape)


def _report(family: str) -> None:
    """Print how far the predictions are from what was measured."""
    target = TARGETS[TARGET[family]]
    measured = json.loads(sizing.MODEL.read_text())["families"][family]["measured"]
    for name, each in measured.items():
        rows, columns, lanes, residual_bits = map(int, name.replace(",", " x").split(" x "))
        config = _config((rows, columns, lanes, residual_bits), target)
        need = sizing.predict(config.size(), target)
        errors = ", ".join(
            f"{resource} {value:,} ({need[resource] - value:+,})"
            for resource, value in each.items()
        )
        print(f"{family} {name}: {errors}")


if __name__ == "__main__":
    sys.exit(main())
