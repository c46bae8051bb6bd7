"""What `nibblegrad train` shows: the table, the numbers, and the charts."""

import csv
import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from golden.trainer import History
from golden.watch import Finding, LayerFigures

from .palette import PALETTE, colours

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


def _figure(rows: int, columns: int, size: tuple[float, float]) -> tuple[Any, Any]:
    """Make a figure and its charts; ``size`` is that of a chart in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(size[0] * columns, size[1] * rows), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False)


def _write_chart(path: Path, runs: Runs) -> None:
    """Draw one chart for each network, side by side."""
    networks = list(dict.fromkeys(network for network, _ in runs))
    figure, charts = _figure(1, len(networks), (8, 5))
    for axes, network in zip(charts[0], networks, strict=True):
        own = {recipe: _curves(group) for (of, recipe), group in runs.items() if of == network}
        _draw(axes, network, own)
    figure.savefig(path, dpi=150)


def _draw(axes: Any, network: str, by_recipe: dict[str, npt.NDArray[np.float64]]) -> None:
    colour_of = colours(by_recipe)
    for name, curves in by_recipe.items():
        epochs = np.arange(1, curves.shape[1] + 1)
        mean, colour = curves.mean(axis=0), colour_of[name]
        axes.fill_between(
            epochs, curves.min(axis=0), curves.max(axis=0), color=colour, alpha=0.15, linewidth=0
        )
        marker = "o" if len(epochs) == 1 else None
        label = f"{name}  {mean[-1]:.2f} %"
        axes.plot(epochs, mean, color=colour, linewidth=2, marker=marker, label=label)
    # The first epochs may be far below; the interesting part is the top.
    lowest = min(curves[:, -1].min() for curves in by_recipe.values())
    axes.set_ylim(max(lowest - 10, 0), 100)
    seeds = len(next(iter(by_recipe.values())))
    _finish(axes, f"Accuracy of {network} by recipe: mean and range over {seeds} seeds")
    axes.set_ylabel("test accuracy, %")
    axes.legend(loc="lower right", frameon=False)


def _write_layers_chart(path: Path, runs: Runs) -> None:
    """Draw, for each network and recipe, steps and use of codes by layer: seed 0."""
    shown = {names: group[0].figures for names, group in runs.items() if group[0].figures}
    figure, charts = _figure(len(shown), 3, (6, 3.6))
    for (network, recipe), row in zip(shown, charts, strict=True):
        figures = shown[network, recipe]
        title = f"{network} {recipe}, seed 0"
        _draw_layers(row[0], figures, ("activation_step", "weight_step"), 1, f"{title}: step sizes")
        row[0].set_yscale("log")
        _draw_layers(
            row[1],
            figures,
            ("activation_zeros", "weight_zeros", "gradient_zeros"),
            100,
            f"{title}: codes that are 0, %",
        )
        _draw_layers(
            row[2],
            figures,
            ("activation_saturated", "weight_saturated"),
            100,
            f"{title}: numbers that are clipped, %",
        )
        handles, labels = row[1].get_legend_handles_labels()
        row[2].legend(handles, labels, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    figure.savefig(path, dpi=120)


_STYLES = {"activation": "-", "weight": "--", "gradient": ":"}


def _draw_layers(
    axes: Any, figures: list[LayerFigures], keys: tuple[str, ...], factor: float, title: str
) -> None:
    layers = list(dict.fromkeys(row.layer for row in figures))
    for number, layer in enumerate(layers):
        own = [row for row in figures if row.layer == layer]
        for key in keys:
            tensor = key.partition("_")[0]
            axes.plot(
                [row.epoch for row in own],
                [factor * getattr(row, key) for row in own],
                _STYLES[tensor],
                color=PALETTE[number % len(PALETTE)],
                marker="o" if len(own) == 1 else None,
                label=f"{layer}, {tensor}s",
            )
    _finish(axes, title)


def _finish(axes: Any, title: str) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("epoch")
    axes.set_title(title, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.3)
