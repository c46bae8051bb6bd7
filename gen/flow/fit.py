"""``python -m gen fit``: the largest training core for a device, or whether one fits."""

import argparse
import dataclasses
from pathlib import Path

from golden.errors import InputError

from .. import config
from ..config import TrainingCoreConfig
from . import sizing
from .targets import RESOURCES, TARGETS, Target, find_target

__all__ = ["add_arguments", "run", "table", "to_toml", "training_core"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command to a parser."""
    parser.add_argument(
        "--target",
        default="ecp5-25k",
        metavar="NAME",
        help=f"device: {', '.join(TARGETS)} (default: %(default)s)",
    )
    parser.add_argument(
        "--margin",
        type=float,
        default=sizing.MARGIN,
        metavar="SHARE",
        help="share of LUTs and flip-flops that stays free (default: %(default)s)",
    )
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="say whether the training core of this TOML file fits, instead of proposing one",
    )
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="write the proposal as a configuration"
    )


def run(args: argparse.Namespace) -> int:
    """Print a proposal, or a verdict, with what it is predicted to take."""
    target = find_target(args.target)
    if not 0 <= args.margin < 1:
        raise InputError(f"Margin must be 0 or more and less than 1, not {args.margin}")
    if args.config is not None:
        core = training_core(args.config)
        need = sizing.check_fits(core, target)
    else:
        fit = sizing.largest(target, args.margin)
        core, need = fit.config, fit.need
    print(f"# {core.rows} x {core.columns} x {core.lanes} on {target.name} ({target.part})")
    for line in table(need, target):
        print(f"# {line}")
    text = to_toml(core)
    print(f"\n{text}", end="")
    if args.output is not None:
        try:
            args.output.write_text(text)
        except OSError as error:
            raise InputError(f"Cannot write {args.output}: {error.strerror}") from error
    return 0


def training_core(path: Path) -> TrainingCoreConfig:
    """Find the training core of a configuration file.

    Raises
    ------
    InputError
        If there is none, or more than one.
    """
    cores = [core for core in config.load(path).values() if isinstance(core, TrainingCoreConfig)]
    if len(cores) != 1:
        found = "no training_core" if not cores else f"{len(cores)} training cores"
        raise InputError(f"{path} has {found}; the FPGA flow takes exactly one")
    return cores[0]


def table(need: dict[str, int], target: Target) -> list[str]:
    """List the lines of a table of what is needed, and of what there is."""
    lines = [f"{'predicted':12} {'needs':>8} {'has':>8} {'used':>6}"]
    for resource, words in RESOURCES.items():
        have = getattr(target, resource)
        share = f"{need[resource] / have:.0%}" if have else "-"
        lines.append(f"{words:12} {need[resource]:>8,} {have:>8,} {share:>6}")
    return lines


def to_toml(core: TrainingCoreConfig) -> str:
    """Write a training core as a configuration."""
    lines = ["[modules.training_core]", 'core = "training_core"']
    for field in dataclasses.fields(core):
        value = getattr(core, field.name)
        lines.append(f"{field.name} = " + (f'"{value}"' if isinstance(value, str) else str(value)))
    return "\n".join(lines) + "\n"
