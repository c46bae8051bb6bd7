"""The chart of the price list."""

from pathlib import Path
from typing import Any

from nibblegrad.gen.cost.catalogue import FORMATS, REFERENCE
from nibblegrad.gen.cost.measure import Figures
from nibblegrad.gen.cost.report import best_of
from nibblegrad.gen.flow.families import FAMILIES

__all__ = ["figure", "save"]

#: Colours and what they stand for: lanes of this project, and what they are compared with.
_SHIFTS = "#1b7f5c", "shifts only: FP4 [1,3,0], and INT4 by digits"
_MULTIPLIES = "#9aa5b1", "multiplies; from the same generator and flow"


def figure(figures: list[Figures]) -> Any:
    """Draw LUT per MAC and MAC/s per LUT of the best structure of each format.

    Parameters
    ----------
    figures : list of Figures
        What was measured, one for :data:`nibblegrad.gen.cost.catalogue.REFERENCE` at least.

    Returns
    -------
    matplotlib.figure.Figure
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    items = list(best_of(figures, REFERENCE).values())[::-1]
    labels = [FORMATS[item.design.format].label.replace(", ", ",\n") for item in items]
    kinds = [
        _SHIFTS if item.design.format.startswith(("fp4", "digits")) else _MULTIPLIES
        for item in items
    ]
    drawn = Figure(figsize=(11, 0.42 * len(items) + 2.0), layout="constrained")
    FigureCanvasAgg(drawn)
    left, right = drawn.subplots(1, 2, sharey=True)
    for axes, values, title in (
        (left, [item.luts_per_mac for item in items], "LUT4 per MAC (less is better)"),
        (right, [item.macs_per_lut for item in items], "million MAC/s per LUT4 (more is better)"),
    ):
        bars = axes.barh(labels, values, color=[colour for colour, _ in kinds])
        axes.bar_label(bars, [f"{value:.3g}" for value in values], padding=3, fontsize=8)
        # From 0, so that the lengths of bars compare; with room for the longest one's label.
        axes.set_xlim(0, 1.2 * max(values) or 1)
        axes.set_title(title, fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8)
    drawn.suptitle(
        f"One multiply-accumulate on {FAMILIES[REFERENCE].label}, post-route, no hard multipliers",
        fontsize=11,
    )
    handles = [Patch(color=kind[0], label=kind[1]) for kind in (_SHIFTS, _MULTIPLIES)]
    drawn.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    return drawn


def save(figures: list[Figures], path: Path) -> None:
    """Draw the chart into a PNG or SVG; the same figures give the same bytes.

    The file says in words what it shows (``Description``), so that a picture which is older than
    its figures can be told.

    Parameters
    ----------
    figures : list of Figures
        See :func:`figure`.
    path : Path
        File to write.
    """
    import matplotlib

    words = [
        f"{FORMATS[item.design.format].label} ({item.design.structure}): "
        f"{item.luts_per_mac:.3g} LUT4 per MAC, {item.macs_per_lut:.3g} million MAC/s per LUT4"
        for item in best_of(figures, REFERENCE).values()
    ]
    metadata: dict[str, str | None] = {"Description": "; ".join(words)}
    if path.suffix == ".svg":
        metadata["Date"] = None
    with matplotlib.rc_context({"svg.hashsalt": "nibblegrad"}):
        figure(figures).savefig(path, metadata=metadata)
