"""Colours of the charts: a recipe has the same one in all of them."""

from collections.abc import Iterable

from golden.methods import RECIPES

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
    """Give each name a colour: the recipes of the catalogue theirs, the others what is left.

    Parameters
    ----------
    names : iterable of str
        What a chart shows; beyond eight, colours come again.
    """
    names = list(names)
    order = [*RECIPES, *(name for name in names if name not in RECIPES)]
    return {name: PALETTE[order.index(name) % len(PALETTE)] for name in names}
