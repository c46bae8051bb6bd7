"""Colours of the charts: a recipe has the same one in all of them."""

from collections.abc import Iterable

from golden.methods import METHODS

__all__ = ["PALETTE", "colours"]

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


def colours(names: Iterable[str]) -> dict[str, str]:
    """Give each name a colour: registered methods theirs, in their order, others what is left.

    Parameters
    ----------
    names : iterable of str
        What a chart shows; beyond eight, colours come again.
    """
    names = list(names)
    order = [*METHODS, *(name for name in names if name not in METHODS)]
    return {name: PALETTE[order.index(name) % len(PALETTE)] for name in names}
