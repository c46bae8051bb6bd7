"""What `nibblegrad train` shows: the table, the numbers, and the charts."""

import csv
import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from golden.trainer import History
from golden.watch import Finding, LayerFigures

from .train_charts import accuracy_figure, layers_figure

__all__ = ["Run", "Runs", "table", "write"]


@dataclass(frozen=True)
class Run:
    """One training.

    Attributes
    ----------
    history : History
        Losses and accuracies.
    figures : list of LayerFigures
        How each layer used its codes, by epoch.
    findings : list of Finding
        What went wrong.
    """

    history: History
    figures: list[LayerFigures]
    findings: list[Finding]


#: Runs of seeds 0, 1, ... by network and recipe.
Runs = dict[tuple[str, str], list[Run]]


def table(runs: Runs) -> str:
    """Lay out the accuracies of the last epoch, and which runs went wrong."""
    lines = [
        f"{'network':<7}  {'recipe':<10}  {'test accuracy':>13}  {'spread':>13}  {'to float32':>10}"
    ]
    wrong = False
    for (network, recipe), of_recipe in runs.items():
        final = _curves(of_recipe)[:, -1]
        reference = runs.get((network, "float32"))
        gap = f"{final.mean() - _curves(reference)[:, -1].mean():+.2f}" if reference else ""
        spread = f"{final.min():.2f}..{final.max():.2f}"
        bad = [str(seed) for seed, run in enumerate(of_recipe) if run.findings]
        wrong |= bool(bad)
        mark = f"  went wrong: seed {', '.join(bad)}" if bad else ""
        lines.append(
            f"{network:<7}  {recipe:<10}  {final.mean():>11.2f} %  {spread:>13}  {gap:>10}{mark}"
        )
    seeds = len(next(iter(runs.values())))
    lines.append(f"Mean and range over {seeds} seeds after the last epoch; differences in points.")
    if wrong:
        lines.append("Warnings and the column findings of accuracy.csv say what went wrong.")
    return "\n".join(lines)


def write(folder: Path, runs: Runs) -> Iterator[Path]:
    """Write curves and numbers into a folder, and give the path of each file.

    ``layers.*`` are about the quantised layers, and are left out where there are none.
    """
    writers: dict[str, Callable[[Path, Runs], None]] = {
        "accuracy.csv": _write_csv,
        "accuracy.png": _write_chart,
    }
    if any(run.figures for of_recipe in runs.values() for run in of_recipe):
        writers |= {"layers.csv": _write_layers_csv, "layers.png": _write_layers_chart}
    for name, writer in writers.items():
        writer(folder / name, runs)
        yield folder / name


def _curves(runs: list[Run]) -> npt.NDArray[np.float64]:
    """Accuracies in percent, (seeds, epochs)."""
    return 100 * np.array([run.history.accuracies for run in runs])


def _write_csv(path: Path, runs: Runs) -> None:
    with open(path, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(
            ["network", "recipe", "seed", "epoch", "accuracy_percent", "loss", "findings"]
        )
        for names, of_recipe in runs.items():
            for seed, run in enumerate(of_recipe):
                history = run.history
                for epoch, (accuracy, loss) in enumerate(
                    zip(history.accuracies, history.losses, strict=True), start=1
                ):
                    found = " | ".join(str(f) for f in run.findings if f.epoch == epoch)
                    row = [*names, seed, epoch, f"{100 * accuracy:.4f}", f"{loss:.6g}", found]
                    writer.writerow(row)


def _write_layers_csv(path: Path, runs: Runs) -> None:
    keys = [key.name for key in dataclasses.fields(LayerFigures)]
    with open(path, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["network", "recipe", "seed", *keys])
        for names, of_recipe in runs.items():
            for seed, run in enumerate(of_recipe):
                for figures in run.figures:
                    values = dataclasses.asdict(figures)
                    cells = [
                        f"{values[key]:.6g}" if isinstance(values[key], float) else values[key]
                        for key in keys
                    ]
                    writer.writerow([*names, seed, *cells])


def _write_chart(path: Path, runs: Runs) -> None:
    networks: dict[str, dict[str, list[npt.NDArray[np.float64]]]] = {}
    for (network, recipe), group in runs.items():
        networks.setdefault(network, {})[recipe] = list(_curves(group))
    accuracy_figure(networks).savefig(path, dpi=150)


def _write_layers_chart(path: Path, runs: Runs) -> None:
    shown = {names: group[0].figures for names, group in runs.items() if group[0].figures}
    layers_figure(shown).savefig(path, dpi=120)
