"""``python -m gen train``: train networks by each recipe, and compare the accuracies."""

import argparse
import csv
import dataclasses
import itertools
from collections.abc import Collection
from pathlib import Path

import numpy as np
import numpy.typing as npt

from golden import data
from golden.errors import InputError
from golden.networks import NETWORKS
from golden.trainer import RECIPES, Settings, Trainer

__all__ = ["add_arguments", "make_settings", "run"]

_MOST_SEEDS = 1000
# Colours that stay apart for colour-blind readers (Okabe and Ito, 2008), in the order of RECIPES.
_COLOURS = dict(zip(RECIPES, ("#000000", "#E69F00", "#0072B2", "#009E73"), strict=True))

#: Accuracies in percent by network and recipe, (seeds, epochs).
Accuracies = dict[tuple[str, str], npt.NDArray[np.float64]]


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
        help="learning rate of the first step, of all recipes (default: %(default)s)",
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
        help="where accuracy.png and accuracy.csv go (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    """Train, print the table, and write curves and numbers.

    Raises
    ------
    InputError
        If an option or the data cannot be used; nothing is written then.
    """
    from threadpoolctl import threadpool_limits

    recipes = [RECIPES[name] for name in _names("Recipe", args.recipes, RECIPES)]
    networks = _names("Network", args.network, NETWORKS)
    settings = make_settings(args)
    if not 1 <= args.seeds <= _MOST_SEEDS:
        raise InputError(f"Count of seeds must be 1 to {_MOST_SEEDS}, not {args.seeds}")
    if args.output.exists() and not args.output.is_dir():
        raise InputError(f"Output {args.output} must be a directory, and it is a file")
    dataset = data.load(args.data) if args.data else data.digits()

    # One thread: the matrices are small, and the order of float32 sums must not depend on the
    # count of processors.
    with threadpool_limits(1):
        accuracies = _train(networks, recipes, args.seeds, dataset, settings)
    print(_table(accuracies))
    args.output.mkdir(parents=True, exist_ok=True)
    for name, write in (("accuracy.csv", _write_csv), ("accuracy.png", _write_chart)):
        write(args.output / name, accuracies)
        print(f"wrote {args.output / name}")
    return 0


def make_settings(args: argparse.Namespace) -> Settings:
    """Make the settings that the options ask for; the network is left at its default."""
    return Settings(
        hidden=_sizes("Hidden layer sizes", args.hidden),
        channels=_sizes("Counts of channels", args.channels),
        epochs=args.epochs,
        batch=args.batch,
        learning_rate=args.learning_rate,
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


def _train(networks, recipes, seeds, dataset, settings) -> Accuracies:
    from tqdm import tqdm

    by_network = [dataclasses.replace(settings, network=network) for network in networks]
    for own in by_network:
        # Data that do not fit a network are refused before another one is trained.
        Trainer(recipes[0], dataset, own)
    accuracies = {}
    total = len(networks) * len(recipes) * seeds * settings.epochs
    # No bar where standard error is no terminal.
    with tqdm(total=total, unit="epoch", disable=None) as bar:
        for own, recipe in itertools.product(by_network, recipes):
            bar.set_description(f"{own.network} {recipe.name}")
            histories = [
                Trainer(recipe, dataset, own, seed).run(bar.update) for seed in range(seeds)
            ]
            accuracies[own.network, recipe.name] = 100 * np.array([h.accuracies for h in histories])
    return accuracies


def _table(accuracies: Accuracies) -> str:
    lines = [
        f"{'network':<7}  {'recipe':<10}  {'test accuracy':>13}  {'spread':>13}  {'to float32':>10}"
    ]
    for (network, recipe), curves in accuracies.items():
        final = curves[:, -1]
        reference = accuracies.get((network, "float32"))
        gap = "" if reference is None else f"{final.mean() - reference[:, -1].mean():+.2f}"
        spread = f"{final.min():.2f}..{final.max():.2f}"
        lines.append(
            f"{network:<7}  {recipe:<10}  {final.mean():>11.2f} %  {spread:>13}  {gap:>10}"
        )
    seeds = len(next(iter(accuracies.values())))
    lines.append(f"Mean and range over {seeds} seeds after the last epoch; differences in points.")
    return "\n".join(lines)


def _write_csv(path, accuracies: Accuracies):
    with open(path, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["network", "recipe", "seed", "epoch", "accuracy_percent"])
        for names, curves in accuracies.items():
            for seed, curve in enumerate(curves):
                for epoch, accuracy in enumerate(curve, start=1):
                    writer.writerow([*names, seed, epoch, f"{accuracy:.4f}"])


def _write_chart(path, accuracies: Accuracies):
    """Draw one chart for each network, side by side."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    networks = list(dict.fromkeys(network for network, _ in accuracies))
    figure = Figure(figsize=(8 * len(networks), 5), layout="constrained")
    FigureCanvasAgg(figure)
    charts = figure.subplots(1, len(networks), squeeze=False)[0]
    for axes, network in zip(charts, networks, strict=True):
        own = {recipe: curves for (of, recipe), curves in accuracies.items() if of == network}
        _draw(axes, network, own)
    figure.savefig(path, dpi=150)


def _draw(axes, network: str, by_recipe: dict[str, npt.NDArray[np.float64]]):
    from matplotlib.ticker import MaxNLocator

    for name, curves in by_recipe.items():
        epochs = np.arange(1, curves.shape[1] + 1)
        mean, colour = curves.mean(axis=0), _COLOURS[name]
        axes.fill_between(
            epochs, curves.min(axis=0), curves.max(axis=0), color=colour, alpha=0.15, linewidth=0
        )
        marker = "o" if len(epochs) == 1 else None
        label = f"{name}  {mean[-1]:.2f} %"
        axes.plot(epochs, mean, color=colour, linewidth=2, marker=marker, label=label)
    # The first epochs may be far below; the interesting part is the top.
    lowest = min(curves[:, -1].min() for curves in by_recipe.values())
    axes.set_ylim(max(lowest - 10, 0), 100)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("epoch")
    axes.set_ylabel("test accuracy, %")
    seeds = len(next(iter(by_recipe.values())))
    title = f"Accuracy of {network} by recipe: mean and range over {seeds} seeds"
    axes.set_title(title, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right", frameon=False)
