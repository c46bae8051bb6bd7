"""``nibblegrad fit``: the fastest training core that fits a device, or whether one fits."""

import argparse
import dataclasses
from pathlib import Path

from nibblegrad.gen import config
from nibblegrad.gen.config import TrainingCoreConfig
from nibblegrad.gen.flow import advisor, throughput
from nibblegrad.gen.flow.families import TARGETS, add_own, find_target
from nibblegrad.gen.flow.family import RESOURCES, Target
from nibblegrad.gen.flow.search import Fit
from nibblegrad.gen.flow.throughput import Workload
from nibblegrad.gen.outputs import write_if_changed
from nibblegrad.gen.ranges import check_range
from nibblegrad.golden.errors import InputError

__all__ = [
    "MOST_PRODUCTS",
    "add_arguments",
    "add_core_arguments",
    "choose",
    "chosen_workload",
    "comparison",
    "proposals",
    "run",
    "speed",
    "table",
    "to_toml",
    "training_core",
]

#: Of more products in a step it is not said how long they take, as that takes minutes.
MOST_PRODUCTS = 20_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command to a parser."""
    add_own()
    add_core_arguments(
        parser, TARGETS, "say whether the training core of this TOML file fits, and how fast it is"
    )
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="write the core as a configuration"
    )


def add_core_arguments(parser: argparse.ArgumentParser, targets, purpose: str) -> None:
    """Add the options that choose a device and a core to a parser.

    Parameters
    ----------
    parser : argparse.ArgumentParser
        Of a command.
    targets : iterable of str
        Names of the devices.
    purpose : str
        What a configuration is for.
    """
    parser.add_argument(
        "--target",
        default="ecp5-25k",
        metavar="NAME",
        help=f"device: {', '.join(targets)} (default: %(default)s)",
    )
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help=f"{purpose} (default: the fastest core that fits)",
    )
    parser.add_argument(
        "--module",
        metavar="NAME",
        help="which training core of --config, where it has several",
    )
    parser.add_argument(
        "--layer",
        metavar="BATCHxINPUTSxOUTPUTS",
        help="layer by whose training step cores are compared (default: "
        f"{'x'.join(map(str, throughput.LAYER))})",
    )
    parser.add_argument(
        "--layers",
        metavar="INPUTS,...,OUTPUTS",
        help="instead of one layer, a network by the features of its layers, such as "
        "784,512,512,10",
    )
    parser.add_argument(
        "--batch",
        type=int,
        metavar="N",
        help=f"rows of a mini-batch of --layers (default: {throughput.BATCH})",
    )
    parser.add_argument(
        "--margin",
        type=float,
        default=advisor.MARGIN,
        metavar="SHARE",
        help="share of LUTs and flip-flops that a proposal leaves free (default: %(default)s)",
    )
    parser.add_argument(
        "--force",
        action="store_true",
        help="overwrite files that were not made here or have been changed since, and take cores "
        "of any size",
    )


def run(args: argparse.Namespace) -> int:
    """Print a proposal, or a verdict, with what it is predicted to take."""
    target = find_target(args.target)
    workload = chosen_workload(args)
    runners_up: list[Fit] = []
    if args.config is None:
        runners_up = proposals(args, target, workload)
        core, need = runners_up[0].config, runners_up[0].need
    else:
        core, need = choose(args, target, workload)
    text = to_toml(core)
    if args.output is not None:
        _write(args.output, text, args.force)
    print(f"# {core.rows} x {core.columns} x {core.lanes} on {target.name} ({target.part})")
    lines = [*table(need, target), *speed(core, workload)]
    if len(runners_up) > 1:
        lines += ["", *comparison(runners_up)]
    for line in lines:
        print(f"# {line}".rstrip())
    print(f"\n{text}", end="")
    return 0


def _write(path: Path, text: str, force: bool) -> None:
    """Write the configuration, unless a user's file is in its place."""
    try:
        if path.exists() and path.read_bytes() != text.encode() and not force:
            raise InputError(f"{path} is there already; name another file, or allow it by --force")
        write_if_changed(path, text)
    except OSError as error:
        raise InputError(f"Cannot write {path}: {error.strerror}") from error


def chosen_workload(args: argparse.Namespace) -> Workload:
    """Find the layer or the network that the options of :func:`add_core_arguments` mean.

    Raises
    ------
    InputError
        If they mean both, or neither can be meant.
    """
    if args.layers is None:
        if args.batch is not None:
            check_range("--batch", args.batch, 1, throughput.GREATEST)
            raise InputError(
                f"--batch {args.batch} is of a network; name its layers with --layers, or write "
                f"--layer BATCHxINPUTSxOUTPUTS"
            )
        return throughput.LAYER if args.layer is None else throughput.parse_layer(args.layer)
    if args.layer is not None:
        raise InputError(
            f"--layer {args.layer} and --layers {args.layers} are both there; leave out one of them"
        )
    batch = throughput.BATCH if args.batch is None else args.batch
    return throughput.parse_network(args.layers, batch)


def proposals(args: argparse.Namespace, target: Target, workload: Workload) -> list[Fit]:
    """Find the fastest arrays that fit a target, the fastest first.

    Raises
    ------
    InputError
        If there is none, or the margin is none.
    """
    _check(args)
    return advisor.ranking(target, workload, args.margin)


def _check(args: argparse.Namespace) -> None:
    if not 0 <= args.margin < 1:
        raise InputError(f"Margin must be 0 or more and less than 1, not {args.margin}")
    if args.config is None and args.module is not None:
        raise InputError(f"Module {args.module!r} is of no file; name one with --config")


def choose(
    args: argparse.Namespace, target: Target, workload: Workload
) -> tuple[TrainingCoreConfig, dict[str, int]]:
    """Find the core that the options of :func:`add_core_arguments` mean, and what it takes.

    Raises
    ------
    InputError
        If there is no such core, or it does not fit the target, or the margin is none.
    """
    _check(args)
    if args.config is None:
        fit = advisor.best(target, workload, args.margin)
        return fit.config, fit.need
    core = training_core(args.config, args.module, force=args.force).with_structure(
        target.family.structure
    )
    if config.STRUCTURES[core.structure].family not in ("", target.family.name):
        raise InputError(
            f"{args.config}: structure {core.structure!r} is made of cells that {target.name} has "
            "not; choose 'auto'"
        )
    return core, advisor.check_fits(core, target, workload)


def training_core(
    path: Path, module: str | None = None, *, force: bool = False
) -> TrainingCoreConfig:
    """Find a training core of a configuration file.

    Parameters
    ----------
    path : Path
        The file.
    module : str, optional
        Its module, where there are several training cores.
    force : bool
        Whether it may be huge; see :func:`nibblegrad.gen.config.parse`.

    Raises
    ------
    InputError
        If there is none, or more than one and none was chosen, or the chosen one is none.
    """
    modules = config.load(path, force=force)
    cores = {name: core for name, core in modules.items() if isinstance(core, TrainingCoreConfig)}
    names = ", ".join(cores)
    if not cores:
        raise InputError(f"{path} has no training_core; name a file that has one")
    if module is None and len(cores) > 1:
        raise InputError(
            f"{path} has {len(cores)} training cores; choose one with --module: {names}"
        )
    if module is not None and module not in cores:
        given = f"is a {modules[module].core}" if module in modules else "is not there"
        raise InputError(f"{path}: module {module!r} {given}; choose from {names}")
    return cores[module] if module is not None else next(iter(cores.values()))


def speed(core: TrainingCoreConfig, workload: Workload) -> list[str]:
    """Say how long a core takes for a training step, in lines."""
    try:
        products = throughput.count_products(core, workload)
        if products > MOST_PRODUCTS:
            return [
                f"A training step of a {workload} becomes about {products:,} products, so small",
                "are these memories; deeper ones, partial_sum_strips first, are worth while.",
            ]
        report = throughput.step_report(core, workload)
    except InputError:
        return [f"A {workload} does not fit its memories, however it is cut."]
    return [
        f"A training step of a {workload} takes about {report.cycles:,} cycles;",
        f"the lanes multiply in {report.busy:.0%} of them.",
    ]


def comparison(ranked: list[Fit]) -> list[str]:
    """List the lines of a table of arrays, the fastest first."""
    head = ("words of X, W, dY", "sums", "LUTs", "RAMs", "cycles", "busy", "ratio")
    row = "{:12} {:>18} {:>6} {:>5} {:>5} {:>12} {:>5} {:>6}"
    lines = [row.format("array", *head)]
    for fit in ranked:
        core = fit.config
        lines.append(
            row.format(
                f"{core.rows} x {core.columns} x {core.lanes}",
                f"{core.activation_words}, {core.weight_words}, {core.gradient_words}",
                core.partial_sum_strips,
                f"{fit.need['luts'] / fit.target.luts:.0%}",
                fit.need["block_rams"],
                f"{fit.cycles:,}",
                f"{fit.busy:.0%}",
                f"{fit.cycles / ranked[0].cycles:.2f}",
            )
        )
    return lines


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
