"""``python -m gen train``: train networks by each recipe, and compare the accuracies."""

import argparse
import dataclasses
import itertools
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

from golden import data
from golden.errors import InputError
from golden.learned_step import STEP_RULES
from golden.networks import NETWORKS
from golden.trainer import RECIPES, Settings, Trainer
from golden.watch import Finding

from . import train_report
from .outputs import prepare_folder
from .train_report import Run, Runs

__all__ = ["add_arguments", "make_settings", "run"]

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
    parser.add_argument(
        "--recipes",
        default=",".join(RECIPES),
        metavar="NAMES",
        help="training methods, separated by commas (default: %(default)s)",
    )
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
        help="passes over the training set (default: %(default)s)",
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
        help="images to train on: an .npz with x (uint8 images) and y (labels) "
        "(default: the digits of scikit-learn)",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("build/train"),
        metavar="DIR",
        help="where curves and numbers go: accuracy.png and accuracy.csv, layers.png and "
        "layers.csv (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    """Train, print the table, and write curves and numbers.

    Raises
    ------
    InputError
        If an option or the data cannot be used, or a strict training goes wrong; nothing is
        written then.
    """
    from threadpoolctl import threadpool_limits

    recipes = [RECIPES[name] for name in _names("Recipe", args.recipes, RECIPES)]
    networks = _names("Network", args.network, NETWORKS)
    settings = make_settings(args)
    if not 1 <= args.seeds <= _MOST_SEEDS:
        raise InputError(f"Count of seeds must be 1 to {_MOST_SEEDS}, not {args.seeds}")
    dataset = data.load(args.data) if args.data else data.digits()
    prepare_folder(args.output)

    # One thread: the matrices are small, and the order of float32 sums must not depend on the
    # count of processors.
    with threadpool_limits(1):
        runs = _train(networks, recipes, args.seeds, dataset, settings, args.strict)
    print(train_report.table(runs))
    for path in train_report.write(args.output, runs):
        print(f"wrote {path}")
    return 0


def make_settings(args: argparse.Namespace) -> Settings:
    """Make the settings that the options ask for; the network is left at its default."""
    return Settings(
        hidden=_sizes("Hidden layer sizes", args.hidden),
        channels=_sizes("Counts of channels", args.channels),
        epochs=args.epochs,
        batch=args.batch,
        learning_rate=args.learning_rate,
        step_rule=args.step_rule,
    )


def _names(what: str, text: str, known: Collection[str]) -> list[str]:
    names = text.split(",")
    for name in names:
        if name not in known:
            raise InputError(f"{what} must be one of {', '.join(known)}, not {name!r}")
    return names


def _sizes(what: str, text: str) -> tuple[int, ...]:
    try:
        return tuple(int(size) for size in text.split(","))
    except ValueError:
        raise InputError(
            f"{what} must be whole numbers separated by commas, not {text!r}"
        ) from None


def _train(networks, recipes, seeds, dataset, settings, strict) -> Runs:
    from tqdm import tqdm

    by_network = [dataclasses.replace(settings, network=network) for network in networks]
    for own in by_network:
        # Data that do not fit a network are refused before another one is trained.
        Trainer(recipes[0], dataset, own)
    runs: Runs = {}
    total = len(networks) * len(recipes) * seeds * settings.epochs
    # No bar where standard error is no terminal.
    with tqdm(total=total, unit="epoch", disable=None) as bar:
        for own, recipe, seed in itertools.product(by_network, recipes, range(seeds)):
            name = f"{own.network} {recipe.name}"
            bar.set_description(name)
            trainer = Trainer(recipe, dataset, own, seed, strict=strict)
            report = _Report(f"{name}, seed {seed}", trainer.watch.findings, bar)
            history = trainer.run(report.epoch)
            of_recipe = runs.setdefault((own.network, recipe.name), [])
            of_recipe.append(Run(history, trainer.watch.figures, trainer.watch.findings))
    return runs


@dataclasses.dataclass
class _Report:
    """Progress of a training, and the first thing that goes wrong: others mostly follow from it."""

    name: str
    findings: list[Finding]
    bar: Any
    is_said: bool = False

    def epoch(self) -> None:
        if self.findings and not self.is_said:
            self.bar.write(f"warning: {self.name}: {self.findings[0]}", file=sys.stderr)
            self.is_said = True
        self.bar.update()
