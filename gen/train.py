"""``python -m gen train``: train by each recipe, and compare the accuracies."""

import argparse
import csv
from pathlib import Path

import numpy as np
import numpy.typing as npt

from golden import data
from golden.errors import InputError
from golden.trainer import RECIPES, Recipe, Settings, Trainer

__all__ = ["add_arguments", "run"]

_MOST_SEEDS = 1000
# Colours that stay apart for colour-blind readers (Okabe and Ito, 2008), in the order of RECIPES.
_COLOURS = dict(zip(RECIPES, ("#000000", "#E69F00", "#0072B2", "#009E73"), strict=True))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command to a parser."""
    defaults = Settings()
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
        help="features of the hidden layers, separated by commas (default: %(default)s)",
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

    recipes = _recipes(args.recipes)
    settings = Settings(
        hidden=_sizes(args.hidden),
        epochs=args.epochs,
        batch=args.batch,
        learning_rate=args.learning_rate,
    )
    if not 1 <= args.seeds <= _MOST_SEEDS:
        raise InputError(f"Count of seeds must be 1 to {_MOST_SEEDS}, not {args.seeds}")
    if args.output.exists() and not args.output.is_dir():
        raise InputError(f"Output {args.output} must be a directory, and it is a file")
    dataset = data.load(args.data) if args.data else data.digits()

    # One thread: the matrices are small, and the order of float32 sums must not depend on the
    # count of processors.
    with threadpool_limits(1):
        accuracies = _train(recipes, args.seeds, dataset, settings)
    print(_table(accuracies))
    args.output.mkdir(parents=True, exist_ok=True)
    for name, write in (("accuracy.csv", _write_csv), ("accuracy.png", _write_chart)):
        write(args.output / name, accuracies)
        print(f"wrote {args.output / name}")
    return 0


def _recipes(names: str) -> list[Recipe]:
    recipes = []
    for name in names.split(","):
        if name not in RECIPES:
            raise InputError(f"Recipe must be one of {', '.join(RECIPES)}, not {name!r}")
        recipes.append(RECIPES[name])
    return recipes


def _sizes(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(size) for size in text.split(","))
    except ValueError:
        raise InputError(
            f"Hidden layer sizes must be whole numbers separated by commas, not {text!r}"
        ) from None


def _train(recipes, seeds, dataset, settings) -> dict[str, npt.NDArray[np.float64]]:
    """Accuracies in percent by recipe, (seeds, epochs)."""
    from tqdm import tqdm

    accuracies = {}
    # No bar where standard error is no terminal.
    with tqdm(total=len(recipes) * seeds * settings.epochs, unit="epoch", disable=None) as bar:
        for recipe in recipes:
            bar.set_description(recipe.name)
            histories = [
                Trainer(recipe, dataset, settings, seed).run(bar.update) for seed in range(seeds)
            ]
            accuracies[recipe.name] = 100 * np.array([h.accuracies for h in histories])
    return accuracies


def _table(accuracies) -> str:
    lines = [f"{'recipe':<10}  {'test accuracy':>13}  {'spread':>13}  {'to float32':>10}"]
    reference = accuracies.get("float32")
    for name, curves in accuracies.items():
        final = curves[:, -1]
        difference = "" if reference is None else f"{final.mean() - reference[:, -1].mean():+.2f}"
        spread = f"{final.min():.2f}..{final.max():.2f}"
        lines.append(f"{name:<10}  {final.mean():>11.2f} %  {spread:>13}  {difference:>10}")
    seeds = len(next(iter(accuracies.values())))
    lines.append(f"Mean and range over {seeds} seeds after the last epoch; differences in points.")
    return "\n".join(lines)


def _write_csv(path, accuracies):
    with open(path, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["recipe", "seed", "epoch", "accuracy_percent"])
        for name, curves in accuracies.items():
            for seed, curve in enumerate(curves):
                for epoch, accuracy in enumerate(curve, start=1):
                    writer.writerow([name, seed, epoch, f"{accuracy:.4f}"])


def _write_chart(path, accuracies):
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(8, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for name, curves in accuracies.items():
        epochs = np.arange(1, curves.shape[1] + 1)
        mean, colour = curves.mean(axis=0), _COLOURS[name]
        axes.fill_between(
            epochs, curves.min(axis=0), curves.max(axis=0), color=colour, alpha=0.15, linewidth=0
        )
        marker = "o" if len(epochs) == 1 else None
        label = f"{name}  {mean[-1]:.2f} %"
        axes.plot(epochs, mean, color=colour, linewidth=2, marker=marker, label=label)
    # The first epochs may be far below; the interesting part is the top.
    lowest = min(curves[:, -1].min() for curves in accuracies.values())
    axes.set_ylim(max(lowest - 10, 0), 100)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("epoch")
    axes.set_ylabel("test accuracy, %")
    seeds = len(next(iter(accuracies.values())))
    axes.set_title(f"Accuracy by recipe: mean and range over {seeds} seeds", loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right", frameon=False)
    figure.savefig(path, dpi=150)
