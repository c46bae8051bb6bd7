"""The charts of `nibblegrad train`: curves of the accuracies, and how layers use their codes."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from nibblegrad.gen.palette import PALETTE, looks
from nibblegrad.gen.recipe_options import label
from nibblegrad.golden.training.watch import LayerFigures

__all__ = ["Curves", "accuracy_figure", "layers_figure"]

#: Accuracies in percent of the seeds of a recipe, (epochs,) each; a run that ended early has fewer.
Curves = Sequence[npt.ArrayLike]

#: Points that the axis of the accuracies shows at least.
_LEAST_SPAN = 1.0


def _figure(widths: Sequence[float], heights: Sequence[float]) -> tuple[Any, Any]:
    """Make a figure and its charts, from the widths of columns and heights of rows in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(sum(widths), sum(heights)), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(len(heights), len(widths), squeeze=False)


def _legend(axes: Any, handles: Any = None, labels: Any = None) -> None:
    """Put a legend to the right of a chart, where it covers nothing."""
    if handles is None:
        handles, labels = axes.get_legend_handles_labels()
    axes.legend(handles, labels, loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)


def accuracy_figure(networks: Mapping[str, Mapping[str, Curves]]) -> Any:
    """Draw the accuracies of each network, one chart beside the other.

    Parameters
    ----------
    networks : mapping of str to mapping of str to sequence of array
        Accuracies in percent of each seed, by network and recipe.

    Returns
    -------
    matplotlib.figure.Figure
    """
    # Room for a legend that is as long as the names of the recipes want.
    longest = max(len(label(name)) for recipes in networks.values() for name in recipes)
    most = max(len(recipes) for recipes in networks.values())
    figure, charts = _figure([8 + 0.1 * longest] * len(networks), [max(5.0, 0.3 * most + 1)])
    for axes, (network, recipes) in zip(charts[0], networks.items(), strict=True):
        _draw_accuracies(axes, network, recipes)
    return figure


def _draw_accuracies(axes: Any, network: str, recipes: Mapping[str, Curves]) -> None:
    look_of = looks(recipes)
    for name, runs in recipes.items():
        # Epochs that all seeds have seen.
        epochs = min(np.size(run) for run in runs)
        curves = np.array([np.asarray(run)[:epochs] for run in runs])
        mean, look = curves.mean(axis=0), look_of[name]
        numbers = np.arange(1, epochs + 1)
        axes.fill_between(
            numbers,
            curves.min(axis=0),
            curves.max(axis=0),
            color=look.colour,
            alpha=0.15,
            linewidth=0,
        )
        marker = None
        if epochs == 1:
            # Neither a line nor an area is seen of one point.
            marker = look.marker
            axes.vlines(1, curves.min(), curves.max(), color=look.colour, alpha=0.5, linewidth=4)
        entry = f"{label(name)}  {mean[-1]:.2f} %"
        axes.plot(
            numbers,
            mean,
            look.line,
            color=look.colour,
            linewidth=2,
            marker=marker,
            label=entry,
        )
    every = np.concatenate([np.ravel(run) for runs in recipes.values() for run in runs])
    axes.set_ylim(*_accuracy_limits(every))
    counts = sorted({len(runs) for runs in recipes.values()})
    seeds = " to ".join(map(str, {counts[0]: None, counts[-1]: None}))
    plural = "" if counts[-1] == 1 else "s"
    _finish(axes, f"Accuracy of {network} by recipe: mean and range over {seeds} seed{plural}")
    axes.set_ylabel("test accuracy, %")
    _legend(axes)


def _accuracy_limits(accuracies: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Choose limits that show all accuracies, and next to nothing that no accuracy can be."""
    low, high = accuracies.min(), accuracies.max()
    missing = max(_LEAST_SPAN - (high - low), 0.0)
    low, high = max(low - missing, 0.0), min(high + missing, 100.0)
    margin = 0.04 * (high - low)
    return low - margin, high + margin


def layers_figure(shown: Mapping[tuple[str, str], list[LayerFigures]]) -> Any:
    """Draw, for each network and recipe, steps and use of codes by layer: seed 0.

    Parameters
    ----------
    shown : mapping of (str, str) to list of LayerFigures
        How the layers used their codes in seed 0, by network and recipe.

    Returns
    -------
    matplotlib.figure.Figure
    """
    longest = max(len(row.layer) for figures in shown.values() for row in figures)
    lines = [3 * len({row.layer for row in figures}) for figures in shown.values()]
    titles = max(len(f"{network} {recipe}") for network, recipe in shown)
    width = max(6.0, 3.6 + 0.1 * titles)
    figure, charts = _figure(
        [width, width, width + 0.07 * longest], [max(3.6, 0.25 * count + 0.5) for count in lines]
    )
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
        _legend(row[2], *row[1].get_legend_handles_labels())
    return figure


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

    # Half an epoch on both sides, so that a single one has its number, and no part of one.
    low, high = axes.dataLim.intervalx
    axes.set_xlim(low - 0.5, high + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlabel("epoch")
    axes.set_title(title, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.3)
