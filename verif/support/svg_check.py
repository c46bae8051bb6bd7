"""Finds what is outside of an SVG picture's canvas, runs over its box, or covers a text.

Only the elements and attributes that the pictures of this project use are known; any other one is
refused, so that nothing is overlooked. Texts are measured in DejaVu Sans, which is wider than
Helvetica and Arial: what fits then, fits in any of the usual fonts.
"""

# Ref: W3C, Scalable Vector Graphics (SVG) 1.1, chapters 7 (transforms), 8 (paths), 10 (text)

import functools
import itertools
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass

import numpy as np
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

__all__ = ["faults"]

_NAMESPACE = "{http://www.w3.org/2000/svg}"
#: What a text keeps away from the frame of its box, and from its neighbours, in pixels.
MARGIN, GAP = 1.5, 0.5


@dataclass(frozen=True)
class Area:
    """An upright rectangle, in the units of the canvas."""

    left: float
    top: float
    right: float
    bottom: float

    @classmethod
    def around(cls, points, margin=0.0):
        """Make the smallest one around points, (n, 2), and a margin."""
        (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
        return cls(left - margin, top - margin, right + margin, bottom + margin)

    def holds(self, other, margin=0.0):
        return (
            self.left + margin <= other.left
            and self.top + margin <= other.top
            and other.right <= self.right - margin
            and other.bottom <= self.bottom - margin
        )

    def meets(self, other, gap=0.0):
        return (
            self.left - gap < other.right
            and other.left - gap < self.right
            and self.top - gap < other.bottom
            and other.top - gap < self.bottom
        )


@dataclass(frozen=True)
class Mark:
    """Something that is drawn.

    Attributes
    ----------
    kind : str
        ``text``, ``rect`` or ``path``.
    name : str
        What it is called in a fault.
    area : Area
        What it covers, strokes and arrow heads included.
    points : array of float, shape (n, 2)
        Corners, or ends of the lines of a path.
    anchor : array of float, shape (2,), or None
        Where a text belongs: its middle.
    framed : bool
        Whether it has a stroke.
    """

    kind: str
    name: str
    area: Area
    points: np.ndarray
    anchor: np.ndarray | None = None
    framed: bool = False


def faults(source: str) -> list[str]:
    """List what is wrong with a picture, a sentence for each.

    Parameters
    ----------
    source : str
        An SVG document.

    Raises
    ------
    ValueError
        If the picture has something that is not known here.
    """
    root = ElementTree.fromstring(source)
    canvas, marks = _read(root)
    found = [
        f"{mark.name} is outside of the canvas" for mark in marks if not canvas.holds(mark.area)
    ]
    texts = [mark for mark in marks if mark.kind == "text"]
    rects = [mark for mark in marks if mark.kind == "rect"]
    paths = [mark for mark in marks if mark.kind == "path"]
    for text in texts:
        around = [rect for rect in rects if _contains(Area.around(rect.points), text.anchor)]
        if around:
            own = min(around, key=lambda rect: np.prod(np.ptp(rect.points, axis=0)))
            if not Area.around(own.points).holds(text.area, MARGIN):
                found.append(f"{text.name} runs over {own.name}")
        for rect in rects:
            inside = Area.around(rect.points).holds(text.area)
            if rect.framed and rect not in around and not inside and rect.area.meets(text.area):
                found.append(f"{text.name} runs into {rect.name}")
        for path in paths:
            if any(_crosses(text.area, *line) for line in itertools.pairwise(path.points)):
                found.append(f"{text.name} is crossed by {path.name}")
    for one, other in itertools.combinations(texts, 2):
        if one.area.meets(other.area, GAP):
            found.append(f"{one.name} overlaps {other.name}")
    return found


def _contains(area, point):
    return area.left < point[0] < area.right and area.top < point[1] < area.bottom


def _crosses(area, begin, end):
    """Tell whether a line has a point in an area (Liang and Barsky)."""
    first, last = 0.0, 1.0
    for start, step, low, high in (
        (begin[0], end[0] - begin[0], area.left, area.right),
        (begin[1], end[1] - begin[1], area.top, area.bottom),
    ):
        if not step:
            if not low < start < high:
                return False
            continue
        enter, leave = sorted(((low - start) / step, (high - start) / step))
        first, last = max(first, enter), min(last, leave)
    return first < last


def _read(root):
    """Find the canvas and everything that is drawn on it."""
    left, top, width, height = map(float, root.get("viewBox").split())
    canvas = Area(left, top, left + width, top + height)
    styles, markers = {}, {}
    for node in root.iter():
        if node.tag == f"{_NAMESPACE}style":
            styles |= _styles(node.text)
        if node.tag == f"{_NAMESPACE}marker":
            markers[f"url(#{node.get('id')})"] = node
    marks = []
    _walk(root, np.eye(3), {}, styles, markers, marks)
    background = marks[0]
    if not (background.kind == "rect" and background.area.holds(canvas)):
        raise ValueError("The first thing drawn is no background of the size of the canvas")
    return canvas, marks[1:]


def _styles(text):
    """Read rules of classes: properties by class."""
    rules = {}
    for names, body in re.findall(r"([^{}]+)\{([^{}]*)\}", text):
        pairs = [pair.split(":") for pair in body.split(";") if pair.strip()]
        for name in names.split(","):
            own = rules.setdefault(name.strip().removeprefix("."), {})
            own |= {key.strip(): value.strip() for key, value in pairs}
    return rules


_INHERITED = ("font-size", "font-weight", "text-anchor", "stroke", "stroke-width")
_SILENT = {f"{_NAMESPACE}{name}" for name in ("title", "style", "defs")}


def _walk(node, matrix, above, styles, markers, marks):
    if node.tag in _SILENT:
        return
    matrix = matrix @ _transform(node.get("transform", ""))
    look = {key: above[key] for key in _INHERITED if key in above} | node.attrib
    if node.get("class"):
        look |= styles[node.get("class")]
    kind = node.tag.removeprefix(_NAMESPACE)
    if kind in ("svg", "g"):
        for child in node:
            _walk(child, matrix, look, styles, markers, marks)
        return
    if len(node) or kind not in _DRAWN:
        raise ValueError(f"Element {kind} is not known")
    mark = _DRAWN[kind](node, matrix, look, markers)
    if mark:
        marks.append(mark)


def _transform(text):
    matrix = np.eye(3)
    for name, numbers in re.findall(r"(\w+)\(([^)]*)\)", text):
        values = [float(number) for number in re.split(r"[\s,]+", numbers.strip())]
        if name == "translate":
            step = _moved(*values, *[0.0] * (2 - len(values)))
        elif name == "rotate":
            turn, centre = np.deg2rad(values[0]), values[1:] or [0.0, 0.0]
            step = np.eye(3)
            step[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
            step = _moved(*centre) @ step @ _moved(-centre[0], -centre[1])
        elif name == "scale":
            step = np.diag([values[0], values[-1], 1.0])
        else:
            raise ValueError(f"Transform {name} is not known")
        matrix = matrix @ step
    return matrix


def _moved(x, y):
    return np.array([[1.0, 0.0, x], [0.0, 1.0, y], [0.0, 0.0, 1.0]])


def _placed(matrix, points):
    return (np.column_stack([points, np.ones(len(points))]) @ matrix.T)[:, :2]


def _corners(left, top, right, bottom):
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]])


def _stroke(look):
    """Half the width of the stroke."""
    return _length(look.get("stroke-width", "1")) / 2 if look.get("stroke", "none") != "none" else 0


def _length(text):
    return float(text.removesuffix("px"))


@functools.cache
def _extent(words, size, bold):
    """Width, height above the baseline and depth below it of a text, in pixels."""
    font = FontProperties(family="DejaVu Sans", weight="bold" if bold else "normal", size=size)
    width, height, depth = text_to_path.get_text_width_height_descent(words, font, ismath=False)
    return width, height - depth, depth


def _text(node, matrix, look, markers):
    words = (node.text or "").strip()
    if not words:
        return None
    width, rise, depth = _extent(
        words, _length(look.get("font-size", "16")), look.get("font-weight") == "bold"
    )
    x, y = float(node.get("x", "0")), float(node.get("y", "0"))
    x -= width * {"start": 0.0, "middle": 0.5, "end": 1.0}[look.get("text-anchor", "start")]
    points = _placed(matrix, _corners(x, y - rise, x + width, y + depth))
    return Mark("text", f'Text "{words}"', Area.around(points), points, points.mean(axis=0))


def _rect(node, matrix, look, markers):
    x, y = float(node.get("x", "0")), float(node.get("y", "0"))
    right, bottom = x + float(node.get("width")), y + float(node.get("height"))
    points = _placed(matrix, _corners(x, y, right, bottom))
    stroke = _stroke(look)
    name = f"the box at {x:g}, {y:g}"
    return Mark("rect", name, Area.around(points, stroke), points, framed=bool(stroke))


def _path(node, matrix, look, markers):
    text = node.get("d")
    points = _placed(matrix, _path_points(text))
    area = Area.around(points, _stroke(look))
    arrow = look.get("marker-end")
    if arrow:
        arrow = _arrow(markers[arrow], points, _length(look.get("stroke-width", "1")))
        area = Area.around(np.vstack([_corners(*_sides(area)), arrow]))
    return Mark("path", f'the line "{text}"', area, points, framed=bool(_stroke(look)))


def _sides(area):
    return area.left, area.top, area.right, area.bottom


def _arrow(marker, points, width):
    """Corners of the head of an arrow at the end of a path."""
    _, _, box_width, box_height = map(float, marker.get("viewBox").split())
    scale = width * float(marker.get("markerWidth")) / box_width
    reference = np.array([float(marker.get("refX")), float(marker.get("refY"))])
    corners = (_corners(0.0, 0.0, box_width, box_height) - reference) * scale
    step = points[-1] - points[-2]
    turn = np.arctan2(step[1], step[0])
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return corners @ rotation.T + points[-1]


def _path_points(text):
    """Ends of the lines of a path of one piece."""
    points = []
    for name, numbers in re.findall(r"([A-Za-z])([^A-Za-z]*)", text):
        values = [float(number) for number in re.findall(r"-?[\d.]+", numbers)]
        if name in "ML" and len(values) == 2 and (name == "L" or not points):
            points.append(values)
        elif name == "H" and len(values) == 1:
            points.append([values[0], points[-1][1]])
        elif name == "V" and len(values) == 1:
            points.append([points[-1][0], values[0]])
        elif name in "Zz":
            points.append(points[0])
        else:
            raise ValueError(f"Part {name}{numbers} of a path is not known")
    return np.array(points)


_DRAWN = {"text": _text, "rect": _rect, "path": _path}
