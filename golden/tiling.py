"""How a layer is cut so that its operands fit the memories of a training core.

The operands of a layer, X (rows, inputs), W (outputs, inputs) and dY (rows, outputs), are cut along
the three axes into pieces of the same sizes, the last ones smaller. A product of whole operands is
then a sum of products of pieces: along its inner axis the pieces go through the partial sums of the
core, which are exact, so the result does not depend on the cuts.

X and W are loaded piece by piece. dY is loaded in whole rows, as its random numbers come row by
row; a piece of its columns is used in place. For that its words must lie side by side in the
memory: where outputs are cut, a piece has at most ``block`` rows.
"""

import functools
import itertools
from collections.abc import Callable, Collection, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from .command import Command, CoreSize, Operation
from .errors import InputError

__all__ = [
    "TileCache",
    "Tiling",
    "choose_step",
    "choose_tiling",
    "cuts",
    "forward_cuts",
    "part",
    "within",
]

_GREATEST_SIZE = (1 << 16) - 1
# What it takes about to start and to end a product.
_COMMAND_CYCLES = 32
# The same where one follows another with the same settings.
_SHORT_COMMAND_CYCLES = 8

Name = TypeVar("Name", bound=Hashable)


@dataclass(frozen=True)
class Tiling:
    """Sizes of the pieces of a layer.

    Parameters
    ----------
    rows, inputs, outputs : int
        Greatest sizes of a piece, multiples of ``block`` where there are several.
    """

    rows: int
    inputs: int
    outputs: int


def cuts(count: int, step: int) -> list[tuple[int, int]]:
    """List beginning and size of the pieces of an axis."""
    return [(begin, min(step, count - begin)) for begin in range(0, count, step)]


def within(rows: tuple[int, int], used: tuple[int, int]) -> tuple[int, int]:
    """Find beginning and size in the whole of what lies in a piece of it."""
    return rows[0] + used[0], used[1]


def part(
    matrix: npt.NDArray[np.float32], rows: tuple[int, int], columns: tuple[int, int]
) -> npt.NDArray[np.float32]:
    """Cut a piece out of a matrix, without a copy."""
    return matrix[rows[0] : sum(rows), columns[0] : sum(columns)]


@functools.cache
def choose_tiling(size: CoreSize, rows: int, inputs: int, outputs: int) -> Tiling:
    """Choose the cuts that should take the least time.

    What fits is not cut. Otherwise two pieces of a memory shall have room at once, so that one is
    loaded while the other is used; only if there are no such cuts, one is enough.

    Parameters
    ----------
    size : CoreSize
        Parameters of the core.
    rows, inputs, outputs : int
        Sizes of the layer.

    Raises
    ------
    InputError
        If the layer does not fit however it is cut.
    """
    whole = Tiling(rows, inputs, outputs)
    if _fits(size, (rows, inputs, outputs), whole, 2):
        return whole
    axes = [_steps(size, count) for count in (rows, inputs, outputs)]
    for at_once in (2, 1):
        tilings = [
            tiling
            for tiling in itertools.starmap(Tiling, itertools.product(*axes))
            if _fits(size, (rows, inputs, outputs), tiling, at_once)
        ]
        if tilings:
            return min(tilings, key=lambda t: _cycles(size, (rows, inputs, outputs), t))
    raise InputError(
        f"A layer of {rows} rows, {inputs} inputs and {outputs} outputs does not fit the training "
        f"core however it is cut; make gradient_words, partial_sum_strips or max_terms larger"
    )


@functools.cache
def choose_step(size: CoreSize, count: int, load: int, work: int) -> tuple[int, float]:
    """Choose how much of an axis one product takes, so that loads overlap with products.

    Parameters
    ----------
    size : CoreSize
        Parameters of the core.
    count : int
        Size of the axis.
    load, work : int
        Cycles to load all of it, and to multiply all of it.

    Returns
    -------
    int
        All of it, or a multiple of ``block``.
    float
        About the cycles that it takes.
    """

    def cycles(step):
        pieces = -(-count // step)
        overlapped = max(load, work) * (pieces - 1)
        return (load + overlapped + work) / pieces + _SHORT_COMMAND_CYCLES * pieces

    step = min(_steps(size, count), key=cycles)
    return step, cycles(step)


def forward_cuts(
    size: CoreSize, rows: int, inputs: int, outputs: int, weights_loaded: bool
) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Choose the pieces of a forward product whose operands fit.

    Pieces of what is loaded last overlap with products: of the weights, output by output, or of
    the activations, row by row, always if the weights have come before.

    Parameters
    ----------
    size : CoreSize
        Parameters of the core.
    rows, inputs, outputs : int
        Sizes of the layer.
    weights_loaded : bool
        Whether the weights need not be loaded.

    Returns
    -------
    list of pair of int
        Beginning and size of the pieces of the rows.
    list of pair of int
        The same of the outputs. One of the axes is in one piece.
    """
    command = Command(Operation.FORWARD, rows, inputs, outputs)
    work = max(size.passes(command), size.strips(command))
    beats = -(-inputs // size.load_lanes)
    row_step, row_cycles = choose_step(size, rows, rows * beats, work)
    output_step, output_cycles = choose_step(size, outputs, outputs * beats, work)
    if weights_loaded or outputs * beats + row_cycles <= rows * beats + output_cycles:
        return cuts(rows, row_step), [(0, outputs)]
    return [(0, rows)], cuts(outputs, output_step)


def _steps(size, count):
    """Sizes of pieces to choose from: the whole, or a block times a power of two."""
    doubled = itertools.takewhile(
        lambda step: step < count, (size.block << k for k in itertools.count())
    )
    return [count, *doubled]


def _counts(sizes, tiling):
    steps = (tiling.rows, tiling.inputs, tiling.outputs)
    return [-(-count // step) for count, step in zip(sizes, steps, strict=True)]


def _cycles(size, sizes, tiling):
    """Estimate the cycles of both passes of a layer; only good enough to compare tilings.

    A product takes as long as its passes or its strips, whichever are more. Sums that go on leave
    the array once for each piece of their inner axis. While one piece is used, the next is loaded.
    """
    rows, inputs, outputs = sizes
    row_cuts, input_cuts, output_cuts = _counts(sizes, tiling)
    products = row_cuts * input_cuts * output_cuts

    def beats(height, width):
        return height * -(-width // size.load_lanes)

    def array(tile_rows, tile_columns, terms, passes, strips):
        tiles = -(-tile_rows // size.rows) * -(-tile_columns // size.columns)
        work = tiles * -(-terms // size.lanes) * passes
        return max(work, strips) + _COMMAND_CYCLES * products

    def overlapped(load, work, pieces):
        return (load + work + (pieces - 1) * max(load, work)) / pieces

    resident_x = size.blocks(rows, inputs) <= size.activation_words
    resident_w = size.blocks(outputs, inputs) <= size.weight_words
    load_x = beats(rows, inputs) * (1 if resident_x else output_cuts)
    load_w = beats(outputs, inputs) * (1 if resident_w else row_cuts)
    load_dy = beats(rows, outputs) * size.fmt.log2_radix
    across = -(-inputs // size.rows)
    output_strips = rows * -(-outputs // size.columns) * input_cuts
    forward = array(rows, outputs, inputs, 2, output_strips)
    to_inputs = array(inputs, rows, outputs, 1, rows * across * output_cuts)
    to_weights = array(inputs, outputs, rows, 1, outputs * across * row_cuts)
    # Backward, activations and weights come again if they have not stayed.
    again = (not resident_x) * load_x + (not resident_w) * load_w
    pieces = row_cuts * (input_cuts if not resident_x else 1)
    return overlapped(load_x + load_w, forward, pieces) + overlapped(
        load_dy + again, to_inputs + to_weights, row_cuts
    )


def _fits(size, sizes, tiling, at_once):
    _, all_inputs, all_outputs = sizes
    rows, inputs, outputs = tiling.rows, tiling.inputs, tiling.outputs
    row_cuts, input_cuts, output_cuts = _counts(sizes, tiling)
    # Radix 4 loads every gradient in two phases.
    gradients = row_cuts * size.fmt.log2_radix
    return (
        max(rows, inputs, outputs) <= min(size.max_terms, _GREATEST_SIZE)
        and max(all_inputs, all_outputs) <= size.chain_terms
        and size.blocks(rows, inputs) * min(at_once, row_cuts * input_cuts) <= size.activation_words
        and size.blocks(outputs, inputs) * min(at_once, output_cuts * input_cuts)
        <= size.weight_words
        and size.blocks(rows, all_outputs) * min(at_once, gradients) <= size.gradient_words
        and (output_cuts == 1 or rows <= size.block)
        and -(-outputs // size.columns) <= size.bias_words
        # Strips of the three products, if their sums go on.
        and (input_cuts > 1) * rows * -(-outputs // size.columns) <= size.partial_sum_strips
        and (output_cuts > 1) * rows * -(-inputs // size.rows) <= size.partial_sum_strips
        and (row_cuts > 1) * outputs * -(-inputs // size.rows) <= size.partial_sum_strips
    )


class TileCache(Generic[Name]):
    """What lies where in a memory of the core; what was used the longest ago makes room first.

    What was dropped makes room before all others, but not until it must: a product under way may
    still use it, and a load that takes other words need not wait for that.

    Parameters
    ----------
    words : int
        Depth of the memory.
    """

    def __init__(self, words: int) -> None:
        self._depth = words
        # Base and size in words, in the order of use.
        self._places: dict[Name, tuple[int, int]] = {}
        self._dropped: set[Name] = set()

    def find(self, tile: Name) -> int | None:
        """Find the base of a tile that is used now, or None if it is not there."""
        if tile not in self._places or tile in self._dropped:
            return None
        self._places[tile] = place = self._places.pop(tile)
        return place[0]

    def allocate(self, tile: Name, words: int, keep: Collection[Name] = ()) -> int | None:
        """Find room for a tile.

        Parameters
        ----------
        tile : hashable
            Name of the tile.
        words : int
            Its size, at most the depth of the memory.
        keep : collection of hashable
            Tiles that must stay.

        Returns
        -------
        int or None
            Its base; None, and nothing changes, if there is no room beside those that must stay.
        """
        places = {other: at for other, at in self._places.items() if other != tile}
        victims = [other for other in places if other in self._dropped]
        victims += [other for other in places if other not in self._dropped and other not in keep]
        while (base := self._gap(places, words)) is None:
            if not victims:
                return None
            del places[victims.pop(0)]
        self._places = {**places, tile: (base, words)}
        self._dropped &= places.keys()
        return base

    def drop(self, useless: Callable[[Name], bool]) -> None:
        """Forget the tiles that are not needed any more."""
        self._dropped |= {tile for tile in self._places if useless(tile)}

    def forget(self) -> None:
        """Give the room of all that was dropped back; nothing uses it any more."""
        self._places = {t: at for t, at in self._places.items() if t not in self._dropped}
        self._dropped.clear()

    def _gap(self, places, words):
        """First gap of so many words."""
        base = 0
        for begin, taken in sorted(places.values()):
            if begin - base >= words:
                return base
            base = begin + taken
        return base if self._depth - base >= words else None
