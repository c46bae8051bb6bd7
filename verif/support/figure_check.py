"""Finds what a chart of matplotlib draws outside of its figure, or on top of something else."""

import itertools

import numpy as np
from matplotlib.text import Text
from matplotlib.transforms import Bbox

__all__ = ["faults"]

#: Pixels by which neighbours may overlap, as boxes of texts have some room around the letters.
SLACK = 1.0


def faults(figure) -> list[str]:
    """List what is wrong with a chart, a sentence for each.

    Texts and legends must lie inside of the figure, and what is written at data inside of its
    chart; texts must not overlap each other, and a legend must not lie on a text or on anything
    that shows data.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        A figure with an Agg canvas.
    """
    figure.canvas.draw()
    renderer = figure.canvas.get_renderer()
    texts = [(f'Text "{text.get_text()}"', text.get_window_extent(renderer))
             for text in _texts(figure)]  # fmt: skip
    legends = [legend.get_window_extent(renderer) for legend in _legends(figure)]
    found = [
        f"{name} is outside of the figure"
        for name, box in [*texts, *(("A legend", box) for box in legends)]
        if not _holds(figure.bbox, box)
    ]
    found += [
        f'Text "{text.get_text()}" is outside of its chart'
        for axes in figure.axes
        for text in axes.texts
        if not _holds(axes.bbox, text.get_window_extent(renderer))
    ]
    for (one, box), (other, other_box) in itertools.combinations(texts, 2):
        if _meet(box, other_box):
            found.append(f"{one} overlaps {other}")
    for box in legends:
        found += [f"{name} lies under a legend" for name, other in texts if _meet(box, other)]
        for axes in figure.axes:
            found += [f"{artist} lies under a legend" for artist in _data_under(axes, box)]
    found += [
        "Two legends overlap" for one, other in itertools.combinations(legends, 2)
        if _meet(one, other)
    ]  # fmt: skip
    return found


def _holds(outer, inner):
    return (
        outer.x0 - SLACK <= inner.x0
        and outer.y0 - SLACK <= inner.y0
        and inner.x1 <= outer.x1 + SLACK
        and inner.y1 <= outer.y1 + SLACK
    )


def _meet(one, other):
    overlap = Bbox.intersection(one, other)
    return overlap is not None and overlap.width > SLACK and overlap.height > SLACK


def _legends(figure):
    own = [axes.get_legend() for axes in figure.axes]
    return [*figure.legends, *(legend for legend in own if legend)]


def _texts(figure):
    """Texts that are drawn, but those in legends."""
    found = list(figure.findobj(Text))
    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        low, high = sorted(axis.get_view_interval())
        for tick in [*axis.get_major_ticks(), *axis.get_minor_ticks()]:
            # Ticks beyond the end of an axis are kept, but not drawn.
            if not low <= tick.get_loc() <= high:
                found = [text for text in found if text not in (tick.label1, tick.label2)]
    inside = {id(text) for legend in _legends(figure) for text in legend.findobj(Text)}
    return [
        text
        for text in found
        if text.get_visible() and text.get_text().strip() and id(text) not in inside
    ]


def _data_under(axes, box):
    """Lines, areas and bars of a chart that are drawn in a box."""
    seen = Bbox.intersection(axes.bbox, box)
    if seen is None or not (seen.width > 0 and seen.height > 0):
        return
    for line in axes.lines:
        path = line.get_transform().transform_path(line.get_path())
        radius = line.get_markersize() if line.get_marker() not in ("None", None, "") else 0.0
        if path.intersects_bbox(seen, filled=False) or any(
            seen.padded(radius).contains(x, y) for x, y in path.vertices
        ):
            yield line
    for collection in axes.collections:
        transform = collection.get_transform()
        if any(
            transform.transform_path(path).intersects_bbox(seen) for path in collection.get_paths()
        ):
            yield collection
    for patch in axes.patches:
        if np.prod(patch.get_window_extent().size) and _meet(patch.get_window_extent(), seen):
            yield patch
