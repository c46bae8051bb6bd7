"""Colours and lines of the charts: a recipe has the same ones in all of them."""

from collections.abc import Iterable
from dataclasses import dataclass

from nibblegrad.golden.training.methods import METHODS

__all__ = ["PALETTE", "Look", "looks"]

#: Colours that stay apart for colour-blind readers (Okabe and Ito, 2008).
PALETTE = (
    "#000000",
    "#E69F00",
    "#0072B2",
    "#009E73",
    "#CC79A7",
    "#D55E00",
    "#56B4E9",
    "#F0E442",
)


#: Lines and markers of the first eight names, of the next eight, and so on.
_LINES, _MARKERS = ("-", "--", ":", "-."), ("o", "s", "^", "D")


@dataclass(frozen=True)
class Look:
    """How what has a name is drawn.

    Attributes
    ----------
    colour : str
        One of :data:`PALETTE`.
    line, marker : str
        Style of its lines, and shape of its points, as Matplotlib names them.
    """

    colour: str
    line: str
    marker: str


def looks(names: Iterable[str]) -> dict[str, Look]:
    """Give each name a look: registered methods theirs, in their order, others what is left.

    Parameters
    ----------
    names : iterable of str
        What a chart shows. Beyond eight, colours come again, with another line and marker; beyond
        32, all of that does.
    """
    names = list(names)
    order = [*METHODS, *(name for name in names if name not in METHODS)]
    found = {}
    for name in names:
        lap, colour = divmod(order.index(name), len(PALETTE))
        found[name] = Look(PALETTE[colour], _LINES[lap % 4], _MARKERS[lap % 4])
    return found
