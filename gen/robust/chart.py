"""The chart of the bench."""

from pathlib import Path
from typing import Any

from nibblegrad.gen.palette import looks
from nibblegrad.gen.recipe_options import label
from nibblegrad.gen.robust.measure import SKLEARN
from nibblegrad.gen.robust.report import REFERENCE, Results

__all__ = ["figure", "save"]

#: Points below float32 where the chart ends; what lies beyond is drawn at its edge, with its number
#: beside it.
_FLOOR = -15.0
#: Width of the figure in inches, and what share of the chart a number at the edge takes.
_WIDTH, _NUMBER = 10.0, 0.055


def figure(results: Results) -> Any:
    """Draw how far each recipe is from float32 in each case, mean and worst seed.

    Parameters
    ----------
    results : Results
        Any, complete or not.

    Returns
    -------
    matplotlib.figure.Figure
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shown = looks(results.recipes)
    names = {recipe: "scikit-learn" if recipe == SKLEARN else label(recipe) for recipe in shown}
    # So many entries of the legend have room beside each other.
    longest = max(map(len, names.values()), default=0)
    columns = max(int(0.95 * _WIDTH / (0.6 + 0.085 * longest)), 1)
    legend_rows = -(-len(names) // columns)
    height = 0.42 * len(results.cases) + 1.8 + 0.2 * legend_rows
    drawn = Figure(figsize=(_WIDTH, height), layout="constrained")
    FigureCanvasAgg(drawn)
    axes = drawn.subplots()
    most = 0
    for row, case in enumerate(results.cases):
        if row % 2:
            axes.axhspan(row - 0.5, row + 0.5, color="#f2f2f2", linewidth=0, zorder=0)
        most = max(most, _draw_case(axes, results, case, row, shown))
    for recipe, look in shown.items():
        style = f"{look.marker}{look.line}"
        axes.plot([], [], style, color=look.colour, markersize=5, linewidth=1, label=names[recipe])
    axes.axvline(0, color="#888888", linewidth=0.8, zorder=1)
    if most:
        left, right = axes.get_xlim()
        share = min(_NUMBER * most, 0.75)
        axes.set_xlim(left - share / (1 - share) * (right - left), right)
    axes.set_yticks(range(len(results.cases)), list(results.cases))
    axes.set_ylim(max(len(results.cases), 1) - 0.5, -0.5)
    axes.set_xlabel("points above float32: mean of the seeds (dot) and worst seed (end of line)")
    axes.set_title("Test accuracy by data set and recipe", loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x", alpha=0.3)
    if shown:
        drawn.legend(loc="outside lower center", ncols=min(columns, len(shown)), frameon=False)
    return drawn


def save(results: Results, path: Path) -> None:
    """Draw the chart into a file.

    Parameters
    ----------
    results : Results
        See :func:`figure`.
    path : Path
        File to write.
    """
    figure(results).savefig(path, dpi=150)


def _draw_case(axes, results, case, row, shown):
    """Draw the recipes of a case below each other; returns how many are beyond the edge."""
    step = 0.7 / len(shown) if shown else 0.0
    beyond = 0
    for place, (recipe, look) in enumerate(shown.items()):
        gap, reference = results.gap(case, recipe), results.centre(case, REFERENCE)
        if gap is None or reference is None:
            continue
        y = row + (place - (len(shown) - 1) / 2) * step
        worst = min(results.accuracies(case, recipe)) - reference
        ends = [max(worst, _FLOOR), max(gap, _FLOOR)]
        axes.plot(ends, [y, y], look.line, color=look.colour, linewidth=1, zorder=2)
        if gap >= _FLOOR:
            axes.plot(gap, y, look.marker, color=look.colour, markersize=5, zorder=3)
        if worst < _FLOOR:
            _draw_number(axes, worst, y, look.colour, beyond)
            beyond += 1
    return beyond


def _draw_number(axes, worst, y, colour, before):
    """Say how far beyond the edge a seed is, left of what other recipes of the case say."""
    axes.plot(_FLOOR, y, "<", color=colour, markersize=5, zorder=3)
    axes.annotate(
        f"{worst:.0f}",
        (_FLOOR, y),
        xytext=(-6 - 26 * before, 0),
        textcoords="offset points",
        ha="right",
        va="center",
        fontsize=8,
        color=colour,
    )
