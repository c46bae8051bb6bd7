"""The chart of a training step: what load unit, array and way out of the results do, over time."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from nibblegrad.gen.palette import PALETTE
from nibblegrad.golden.driver.clock import Span
from nibblegrad.golden.driver.cycles import StepReport
from nibblegrad.golden.engine.command import CoreSize

__all__ = ["LANES", "SUFFIXES", "figure", "save"]

#: What a picture's name may end with.
SUFFIXES = (".svg", ".png")
#: The lanes, from top to bottom.
LANES = ("load", "array", "drain")

#: Height of a lane, of 1 that there is; and colour of the cycles in which a unit waits.
_HEIGHT = 0.86
_WAITS = "#e4e4e4"
#: Black is left out: its pale shade would be the grey of waiting.
_COLOURS = PALETTE[1:]
#: Width of the figure in inches.
_WIDTH = 11.0


def figure(report: StepReport) -> Any:
    """Draw the commands of a step in three lanes.

    A bar goes from the cycle in which its unit begins with a command to that in which it ends. So
    much of its height has a colour as there are cycles in which the unit works, so that the
    coloured area of the array's lane is the busy share.

    Parameters
    ----------
    report : StepReport
        The step.

    Returns
    -------
    matplotlib.figure.Figure
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch
    from matplotlib.ticker import MaxNLocator, StrMethodFormatter

    layers = list(dict.fromkeys(each.layer for each in report.passes))
    colour_of = {layer: _COLOURS[k % len(_COLOURS)] for k, layer in enumerate(layers)}
    shown = {
        **colour_of,
        "pale: backward": _pale("#000000"),
        "has the unit, and waits": _WAITS,
    }
    handles = [Patch(color=colour, label=label) for label, colour in shown.items()]
    # So many entries of the legend have room beside each other.
    longest = max(map(len, shown))
    columns = min(max(int(0.9 * _WIDTH / (0.6 + 0.085 * longest)), 1), len(handles))
    legend_rows = -(-len(handles) // columns)
    drawn = Figure(figsize=(_WIDTH, 3.2 + 0.22 * legend_rows), layout="constrained")
    FigureCanvasAgg(drawn)
    axes = drawn.subplots()
    for each in report.passes:
        colour = colour_of[each.layer]
        for row, lane in enumerate(LANES):
            bars = [bar for span in each.spans for bar in _bars(report.size, span, lane)]
            whole = [(begin, end, 1.0) for begin, end, _ in bars]
            axes.add_patch(_patch(whole, row, _WAITS, zorder=1))
            shade = colour if each.name == "forward" else _pale(colour)
            axes.add_patch(_patch(bars, row, shade, zorder=2))
    end = max(span.out for each in report.passes for span in each.spans)
    axes.set_xlim(0, end)
    axes.set_ylim(len(LANES) - 0.5, -0.5)
    axes.set_yticks(range(len(LANES)), LANES)
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.set_xlabel("cycles")
    axes.set_title(
        f"A training step: {report.cycles:,} cycles, the lanes busy in {100 * report.busy:.1f} %",
        loc="left",
    )
    axes.spines[["top", "right", "left"]].set_visible(False)
    drawn.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False)
    return drawn


def _bars(size: CoreSize, span: Span, lane: str) -> Iterable[tuple[int, int, float]]:
    """Give begin and end of what a command does in a lane, and the share in which it works."""
    command = span.command
    is_product = command.is_product
    if is_product != (lane != "load"):
        return
    if lane == "load":
        begin, end, work = span.start, span.end, size.beats(command)
    elif lane == "array":
        begin, end, work = span.start, span.last + 1, size.passes(command)
    else:
        # From when a first tile can leave.
        begin, end, work = span.first, span.out, size.strips(command)
    yield begin, end, work / (end - begin)


def _patch(bars: list[tuple[int, int, float]], row: int, colour: str, zorder: int) -> Any:
    """Make one patch of all bars, each standing on the ground of its lane."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path as Outline

    ground = row + _HEIGHT / 2
    corners, codes = [], []
    for begin, end, share in bars:
        top = ground - share * _HEIGHT
        corners += [(begin, ground), (begin, top), (end, top), (end, ground), (begin, ground)]
        codes += [Outline.MOVETO, *[Outline.LINETO] * 3, Outline.CLOSEPOLY]
    outline = Outline(corners or [(0, 0)], codes or None)
    return PathPatch(outline, facecolor=colour, linewidth=0, zorder=zorder)


def _pale(colour: str) -> str:
    """Mix a colour, such as ``#0072B2``, with as much white."""
    parts = (int(colour[k : k + 2], 16) for k in (1, 3, 5))
    return "#" + "".join(f"{(part + 255) // 2:02x}" for part in parts)


def save(report: StepReport, path: Path) -> None:
    """Draw a step into a PNG or SVG; the same step gives the same bytes.

    The file says in words what it shows (``Description``), so that a picture which is older than
    its figures can be told.

    Parameters
    ----------
    report : StepReport
        The step.
    path : Path
        File to write.
    """
    import matplotlib

    words = [f"{each.layer} {each.name}: {each.cycles:,} cycles" for each in report.passes]
    metadata: dict[str, str | None] = {"Description": "; ".join(words)}
    if path.suffix == ".svg":
        metadata["Date"] = None
    with matplotlib.rc_context({"svg.hashsalt": "nibblegrad"}):
        figure(report).savefig(path, metadata=metadata)
