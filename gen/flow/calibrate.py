"""``python -m nibblegrad.gen.flow.calibrate``: measure training cores, and fit a model."""

import argparse
import json
import math
import os
import sys

import numpy as np
from tqdm import tqdm

from nibblegrad.gen.config import TrainingCoreConfig
from nibblegrad.gen.door import require, run_guarded
from nibblegrad.gen.emission.verilog import to_verilog
from nibblegrad.gen.flow import cache, sizing, tools
from nibblegrad.gen.flow.families import FAMILIES, TARGETS, add_own, find_target
from nibblegrad.gen.flow.family import Family, Shape, Target
from nibblegrad.gen.flow.memories import memory_use
from nibblegrad.gen.flow.parallel import ended, processes
from nibblegrad.gen.flow.synthesis import Synthesis, synthesize
from nibblegrad.gen.interrupts import put_off
from nibblegrad.gen.outputs import prepare_folder, write_if_changed
from nibblegrad.gen.ranges import check_range

__all__ = [
    "PROGRAM",
    "add_arguments",
    "configuration",
    "core_name",
    "counts",
    "fit",
    "main",
    "measure",
]

PROGRAM = "python -m nibblegrad.gen.flow.calibrate"


def measure(config: TrainingCoreConfig, target: Target) -> Synthesis:
    """Synthesise the training core of a configuration."""
    verilog = to_verilog(config.build(), "training_core")
    return synthesize(verilog, "training_core", target, long_wires=True)


def configuration(shape: Shape, target: Target) -> TrainingCoreConfig:
    """Make the core that is measured for a shape, with the smallest memories worth having."""
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
    """Fit the coefficients of :data:`nibblegrad.gen.flow.sizing.TERMS` to what was measured.

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
    add_own()
    measured = [name for name, family in FAMILIES.items() if family.shapes]
    parser.add_argument("--family", choices=measured, action="append", help="default: every family")
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
    """Measure the families, write the model of each, and return the exit status."""
    arguments = sys.argv[1:] if argv is None else argv
    return run_guarded(PROGRAM, lambda: _main(arguments), "--debug" in arguments)


def _main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog=PROGRAM, description=__doc__)
    add_arguments(parser)
    return _run(parser.parse_args(arguments))


def _run(args: argparse.Namespace) -> int:
    check_range("--cores", args.cores, 1, 1000)
    check_range("--jobs", args.jobs, 1, 256)
    require("sklearn")
    tools.require("yosys")
    families = [
        family
        for name, family in FAMILIES.items()
        if (name in args.family if args.family else family.shapes)
    ]
    for family in families:
        prepare_folder(family.model.parent, remedy="install the package where you may write")
    cache.prepare()
    try:
        _calibrate({family: family.shapes[: args.cores] for family in families}, args)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"; the models are as they were. {cache.KEPT}") from None
    for family in families:
        _report(family)
    return 0


def _calibrate(shapes: dict[Family, tuple[Shape, ...]], args: argparse.Namespace) -> None:
    """Measure cores of each family, fit the coefficients, and write the models."""
    measured: dict[Family, dict[str, dict[str, int]]] = {
        family: _measured(family) if args.missing else {} for family in shapes
    }
    jobs = [
        (family, shape)
        for family in shapes
        for shape in shapes[family]
        if core_name(shape) not in measured[family]
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
                futures[pool.submit(_counts, shape, family.measured_on)] = family, shape
        for future in ended(futures):
            family, shape = futures[future]
            measured[family][core_name(shape)] = future.result()
            progress.update()
    for family, cores in shapes.items():
        target = TARGETS[family.measured_on]
        found = {core_name(shape): measured[family][core_name(shape)] for shape in cores}
        configs = [configuration(shape, target) for shape in cores]
        document = {
            "made by": PROGRAM,
            "version": tools.tool_version("yosys"),
            "coefficients": fit(configs, list(found.values()), target),
            "measured": found,
        }
        write_if_changed(family.model, json.dumps(document, indent=1) + "\n")
    sizing.forget()


def _counts(shape: Shape, name: str) -> dict[str, int]:
    """Measure a core in a process of its own, to which a target is known by its name."""
    add_own()
    target = find_target(name)
    return counts(measure(configuration(shape, target), target))


def _measured(family: Family) -> dict[str, dict[str, int]]:
    """Read what was measured before."""
    return json.loads(family.model.read_text())["measured"] if family.model.exists() else {}


def core_name(shape: Shape) -> str:
    """Make the name by which the model knows a core."""
    return "{} x {} x {}, {}".format(*shape)


def _report(family: Family) -> None:
    """Print how far the predictions are from what was measured."""
    target = TARGETS[family.measured_on]
    for name, each in _measured(family).items():
        rows, columns, lanes, residual_bits = map(int, name.replace(",", " x").split(" x "))
        config = configuration((rows, columns, lanes, residual_bits), target)
        need = sizing.predict(config.size(), target)
        errors = ", ".join(
            f"{resource} {value:,} ({need[resource] - value:+,})"
            for resource, value in each.items()
        )
        print(f"{family.name} {name}: {errors}")


if __name__ == "__main__":
    sys.exit(main())
