"""``python -m nibblegrad train``: train networks by each recipe, and compare the accuracies."""

import argparse
import dataclasses
import sys
from pathlib import Path

from nibblegrad.gen.door import INTERRUPTED, require
from nibblegrad.gen.outputs import OutputFolder
from nibblegrad.gen.ranges import parse_names, parse_sizes
from nibblegrad.gen.recipe_options import add_recipe_arguments, chosen_recipes
from nibblegrad.gen.training import report as train_report
from nibblegrad.gen.training.report import FILES
from nibblegrad.gen.training.runs import check, make_jobs, train
from nibblegrad.golden.errors import InputError
from nibblegrad.golden.training import data
from nibblegrad.golden.training.data import Dataset
from nibblegrad.golden.training.learned_step import STEP_RULES
from nibblegrad.golden.training.networks import NETWORKS, Settings

__all__ = ["add_arguments", "load_data", "make_settings", "run"]

_MOST_SEEDS = 1000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command to a parser."""
    defaults = Settings()
    parser.add_argument(
        "--network",
        default=defaults.network,
        metavar="NAMES",
        help="networks, separated by commas: mlp (dense layers) and cnn (convolutions with batch "
        "normalisation and pooling, then a dense layer) (default: %(default)s)",
    )
    add_recipe_arguments(parser)
    parser.add_argument(
        "--seeds",
        type=int,
        default=3,
        metavar="N",
        help="runs of each recipe, with seeds 0 to N-1 (default: %(default)s)",
    )
    parser.add_argument(
        "--epochs",
        type=int,
        default=defaults.epochs,
        metavar="N",
        help="passes over the training set; 0 only judges what --load names (default: %(default)s)",
    )
    parser.add_argument(
        "--hidden",
        default=",".join(map(str, defaults.hidden)),
        metavar="SIZES",
        help="features of the hidden layers of mlp, separated by commas (default: %(default)s)",
    )
    parser.add_argument(
        "--channels",
        default=",".join(map(str, defaults.channels)),
        metavar="COUNTS",
        help="channels of the convolutions of cnn, separated by commas (default: %(default)s)",
    )
    parser.add_argument(
        "--batch",
        type=int,
        default=defaults.batch,
        metavar="ROWS",
        help="rows of a mini-batch (default: %(default)s)",
    )
    parser.add_argument(
        "--learning-rate",
        type=float,
        default=defaults.learning_rate,
        metavar="RATE",
        help="learning rate after the warm-up, of all recipes (default: %(default)s)",
    )
    parser.add_argument(
        "--step-rule",
        default=defaults.step_rule,
        metavar="NAME",
        help=f"how step sizes are learned: {' or '.join(STEP_RULES)} (default: %(default)s)",
    )
    parser.add_argument(
        "--strict",
        action="store_true",
        help="stop with status 2 when a training goes wrong, instead of warning",
    )
    parser.add_argument(
        "--data",
        type=Path,
        metavar="FILE",
        help="what to train on: an .npz with x (images or rows of features, integers or floats) "
        "and y (labels) (default: the digits of scikit-learn)",
    )
    parser.add_argument(
        "--test",
        type=Path,
        metavar="FILE",
        help="what to judge on, an .npz like that of --data (default: a fifth of each class of it)",
    )
    parser.add_argument(
        "--save",
        type=Path,
        metavar="FILE",
        help="where to keep weights and steps: an .npz, or a .safetensors where that package is "
        "installed; of several runs, each gets a file of its own, such as FILE-mlp-luq-0.npz",
    )
    parser.add_argument(
        "--load",
        type=Path,
        metavar="FILE",
        help="weights and steps to go on from, as --save has named them",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("build/train"),
        metavar="DIR",
        help="where curves and numbers go: accuracy.png and accuracy.csv, layers.png and "
        "layers.csv (default: %(default)s)",
    )
    parser.add_argument(
        "--force",
        action="store_true",
        help="overwrite such files there that were not made here or have been changed since",
    )


def run(args: argparse.Namespace) -> int:
    """Train, print the table, and write curves and numbers.

    What has finished is printed and written whatever ends the rest.

    Returns
    -------
    int
        0, or 130 after an interrupt.

    Raises
    ------
    InputError
        If an option, the data or a folder cannot be used: nothing is trained then. If a run failed,
        or a strict one went wrong.
    """
    # What draws the charts is not needed before the end.
    require("threadpoolctl", "matplotlib")
    from threadpoolctl import threadpool_limits

    recipes = chosen_recipes(args)
    networks = parse_names("Network", args.network, NETWORKS)
    judge_only = _judges_only(args)
    settings = make_settings(args)
    if not 1 <= args.seeds <= _MOST_SEEDS:
        raise InputError(f"Count of seeds must be 1 to {_MOST_SEEDS}, not {args.seeds}")
    dataset = load_data(args)
    folder = OutputFolder(args.output, force=args.force)
    folder.check(FILES)
    by_network = [dataclasses.replace(settings, network=network) for network in networks]
    jobs = make_jobs(by_network, recipes, args.seeds, args.load, args.save)

    # One thread: the matrices are small, and the order of float32 sums must not depend on the
    # count of processors.
    with threadpool_limits(1):
        check(jobs, dataset)
        outcome = train(jobs, dataset, strict=args.strict, judge_only=judge_only)
    if outcome.runs:
        when = "of the loaded networks" if judge_only else "after the last epoch"
        print(train_report.table(outcome.runs, args.seeds, when))
        if not judge_only:
            contents = train_report.contents(outcome.runs)
            folder.install(contents, stale=[name for name in FILES if name not in contents])
            for name in contents:
                print(f"wrote {folder.path / name}")
    is_interrupted = isinstance(outcome.stopped, KeyboardInterrupt)
    if missing := outcome.missing(jobs):
        sys.stdout.flush()
        why = "interrupted: " if is_interrupted else ""
        print(f"nibblegrad train: {why}{missing}", file=sys.stderr)
    if is_interrupted:
        return INTERRUPTED
    if outcome.stopped:
        raise outcome.stopped
    if failures := outcome.failures(jobs):
        raise InputError(failures)
    return 0


def load_data(args: argparse.Namespace) -> Dataset:
    """Load the data set that the options ask for."""
    if args.data:
        return data.load(args.data, args.test)
    if args.test:
        raise InputError(f"--test {args.test} must go with a training set; name it with --data")
    return data.digits()


def make_settings(args: argparse.Namespace) -> Settings:
    """Make the settings that the options ask for; the network is left at its default."""
    return Settings(
        hidden=parse_sizes("Hidden layer sizes", args.hidden),
        channels=parse_sizes("Counts of channels", args.channels),
        epochs=1 if _judges_only(args) else args.epochs,
        batch=args.batch,
        learning_rate=args.learning_rate,
        step_rule=args.step_rule,
    )


def _judges_only(args: argparse.Namespace) -> bool:
    return args.load is not None and args.epochs == 0
