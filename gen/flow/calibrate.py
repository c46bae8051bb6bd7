"""``python -m gen.flow.calibrate``: measure training cores, and fit what predicts the others."""

import argparse
import concurrent.futures
import json
import math
import os
import sys
from pathlib import Path

import numpy as np
from sklearn.linear_model import LinearRegression
from tqdm import tqdm

from ..config import TrainingCoreConfig
from ..verilog import to_verilog
from . import sizing
from .memories import memory_use
from .synthesis import Synthesis, synthesize
from .targets import TARGETS, Target

__all__ = ["SHAPES", "fit", "main", "measure"]

#: Rows, columns, lanes and residual bits of the cores that are measured, by family. Together they
#: tell the terms apart, and so do the first five of ECP5; the larger ones keep the error small
#: where it matters. Residual bits are those that the advisor has to choose.
SHAPES: dict[str, list[tuple[int, int, int, int]]] = {
    "ecp5": [
        *((2, 2, 2, 8), (4, 4, 4, 8), (2, 4, 4, 8), (4, 4, 2, 8), (2, 2, 8, 8)),
        *((4, 4, 8, 8), (8, 4, 4, 8)),
    ],
    "nexus": [
        *((2, 2, 2, 8), (4, 4, 4, 8), (2, 2, 4, 8), (4, 2, 4, 8), (4, 4, 2, 8)),
        *((2, 8, 4, 8), (4, 4, 8, 8)),
    ],
    "ice40": [(2, 2, 2, 8), (2, 2, 4, 8), (4, 4, 4, 8)],
}

#: The target of each family whose tools are used.
TARGET = {"ecp5": "ecp5-85k", "nexus": "nexus-40", "ice40": "ice40-up5k"}


def measure(config: TrainingCoreConfig, target: Target) -> Synthesis:
    """Synthesise the training core of a configuration."""
    verilog = to_verilog(config.build(), "training_core")
    return synthesize(verilog, "training_core", target, long_wires=True)


def _config(shape: tuple[int, int, int, int], target: Target) -> TrainingCoreConfig:
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


def main(argv: list[str] | None = None) -> int:
    """Measure the families, and write :data:`gen.flow.sizing.MODEL`."""
    parser = argparse.ArgumentParser(prog="python -m gen.flow.calibrate", description=__doc__)
    parser.add_argument("--family", choices=SHAPES, action="append", help="default: every family")
    parser.add_argument(
        "--cores", type=int, metavar="N", help="measure the first N cores of each family only"
    )
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, metavar="N", help="how many at a time"
    )
    args = parser.parse_args(argv)
    families = args.family or list(SHAPES)
    shapes = {family: SHAPES[family][: args.cores] for family in families}
    model: Path = sizing.MODEL
    known = json.loads(model.read_text())["families"] if model.exists() else {}
    jobs = [(family, shape) for family in families for shape in shapes[family]]
    # The largest first: they take longest.
    order = sorted(jobs, key=lambda job: math.prod(job[1][:3]), reverse=True)
    results: dict[str, list[Synthesis]] = {}
    with (
        concurrent.futures.ProcessPoolExecutor(args.jobs) as pool,
        tqdm(total=len(jobs), desc="synthesis", unit="core", disable=None) as progress,
    ):
        futures = {}
        for family, shape in order:
            target = TARGETS[TARGET[family]]
            futures[family, shape] = pool.submit(measure, _config(shape, target), target)
        for future in concurrent.futures.as_completed(futures.values()):
            future.result()
            progress.update()
        for family, shape in jobs:
            results.setdefault(family, []).append(futures[family, shape].result())
    for family in families:
        target = TARGETS[TARGET[family]]
        configs = [_config(shape, target) for shape in shapes[family]]
        measured = [counts(synthesis) for synthesis in results[family]]
        known[family] = {
            "version": results[family][0].version,
            "coefficients": fit(configs, measured, target),
            "measured": {
                "{} x {} x {}, {}".format(*shape): each
                for shape, each in zip(shapes[family], measured, strict=True)
            },
        }
    document = {"made by": "python -m gen.flow.calibrate", "families": known}
    partial = model.with_name(model.name + ".part")
    partial.write_text(json.dumps(document, indent=1) + "\n")
    partial.replace(model)
    sizing.forget()
    for family in families:
        _report(family)
    return 0


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
