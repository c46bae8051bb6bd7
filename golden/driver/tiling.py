"""Pieces of matrices, products of them, and where they lie in the memories of a training core."""

import itertools
from collections.abc import Callable, Collection, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from nibblegrad.golden.engine.command import Store

__all__ = [
    "Name",
    "Operand",
    "Product",
    "Tile",
    "TileCache",
    "cuts",
    "part",
    "streamed_pieces",
    "within",
]

Name = TypeVar("Name", bound=Hashable)


def cuts(count: int, step: int) -> list[tuple[int, int]]:
    """List beginning and size of the pieces of an axis."""
    return [(begin, min(step, count - begin)) for begin in range(0, count, step)]


def streamed_pieces(
    block: int, count: int, load: int, work: int, commands: tuple[int, int], busy: int = 0
) -> list[tuple[int, int]]:
    """Cut an axis so that products begin while the rest is loaded.

    Where loads take longer, the last piece is small, as its product follows all loads; where
    products do, the first one is. From there on pieces grow, so that none waits for the other.

    Parameters
    ----------
    block : int
        Pieces are multiples of it, but for the last one.
    count : int
        Size of the axis.
    load, work : int
        Cycles to load all of it, and to multiply all of it.
    commands : pair of int
        Cycles that each load, and each product, takes beside.
    busy : int
        Cycles in which the array has something else to do, while loads go on.

    Returns
    -------
    list of pair of int
        Beginning and size of each piece.
    """
    blocks = -(-count // block)
    load_block, work_block = load / blocks, work / blocks
    load_command, product_command = commands
    # What is loaded while the array is busy.
    head = min(max(int((busy - load_command) / load_block), 0), blocks)

    def end(sizes):
        loaded, ended = 0.0, float(busy)
        for size in sizes:
            loaded += load_block * size + load_command
            ended = max(ended, loaded) + work_block * size + product_command
        return ended

    def pieces(least, grows):
        sizes = []
        size, left = float(least), blocks - head
        while left:
            sizes.append(min(int(size), left))
            left -= sizes[-1]
            if grows:
                size = max((size * slow + command) / fast, size)
        if load >= work:
            sizes.reverse()
        return [head, *sizes] if head else sizes

    fast, slow = sorted((work_block, load_block))
    command = load_command if load >= work else product_command
    ways = [pieces(blocks, False)]
    least = 1
    while least < blocks - head:
        ways += [pieces(least, True), pieces(least, False)]
        least += max(1, least // 2)
    best = min(ways, key=end)
    begins = [block * sum(best[:k]) for k in range(len(best))]
    return [(b, min(size * block, count - b)) for b, size in zip(begins, best, strict=True)]


def within(rows: tuple[int, int], used: tuple[int, int]) -> tuple[int, int]:
    """Find beginning and size in the whole of what lies in a piece of it."""
    return rows[0] + used[0], used[1]


def part(
    matrix: npt.NDArray[np.float32], rows: tuple[int, int], columns: tuple[int, int]
) -> npt.NDArray[np.float32]:
    """Cut a piece out of a matrix, without a copy."""
    return matrix[rows[0] : sum(rows), columns[0] : sum(columns)]


@dataclass(eq=False)
class Operand:
    """Matrix on the host, whose pieces are loaded.

    Parameters
    ----------
    memory : Store
        Where the pieces go.
    matrix : array, shape (rows, columns)
        Numbers of the wide format; biases are one row of integers.
    settings : dict
        Fields of the load command.
    first_word : int
        Gradients: number of the random word that the first row begins with.
    """

    memory: Store
    matrix: npt.NDArray
    settings: dict[str, Any] = field(default_factory=dict)
    first_word: int = 0


@dataclass(frozen=True)
class Tile:
    """Piece of an operand.

    Parameters
    ----------
    operand : Operand
        The whole.
    rows, columns : pair of int
        Beginning and size.
    used : pair of int or None
        Rows of the piece that are used, from a multiple of ``block`` on; all of them if None.
    """

    operand: Operand
    rows: tuple[int, int]
    columns: tuple[int, int]
    used: tuple[int, int] | None = field(default=None, compare=False)

    @property
    def used_rows(self) -> tuple[int, int]:
        """Rows of the piece that are used: beginning and size."""
        return self.used or (0, self.rows[1])


@dataclass(frozen=True)
class Product:
    """Product of pieces.

    Parameters
    ----------
    tiles : sequence of Tile
        What must be in the memories, one for each memory at most.
    settings : dict
        Fields of the command but the bases.
    gradient_column, bias_column : int
        Where the columns of the gradient, and of the biases, that are used begin within their
        pieces.
    result : array of float32 or None
        What to fill with the result on the stream.
    """

    tiles: Sequence[Tile]
    settings: dict[str, Any]
    gradient_column: int = 0
    bias_column: int = 0
    result: npt.NDArray[np.float32] | None = None


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

    def copy(self) -> "TileCache[Name]":
        """Make another one with the same tiles."""
        other = TileCache[Name](self._depth)
        other._places, other._dropped = dict(self._places), set(self._dropped)
        return other

    @property
    def tiles(self) -> list[Name]:
        """What is there and not dropped; what was used the longest ago comes first."""
        return [tile for tile in self._places if tile not in self._dropped]

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
        # If it is there, it was dropped.
        before = self._places.pop(tile, None)
        taken = sorted(self._places.values())
        kept = set(keep) - self._dropped
        victims = itertools.chain(
            (other for other in self._places if other in self._dropped),
            (o for o in self._places if o not in self._dropped and o not in kept),
        )
        gone = []
        while (base := self._gap(taken, words)) is None:
            victim = next(victims, None)
            if victim is None:
                if before is not None:
                    self._places[tile] = before
                return None
            taken.remove(self._places[victim])
            gone.append(victim)
        for other in gone:
            del self._places[other]
        self._places[tile] = base, words
        self._dropped -= {tile, *gone}
        return base

    def drop(self, useless: Callable[[Name], bool]) -> None:
        """Forget the tiles that are not needed any more."""
        self._dropped |= {tile for tile in self._places if useless(tile)}

    def forget(self) -> None:
        """Give the room of all that was dropped back; nothing uses it any more."""
        for tile in self._dropped:
            del self._places[tile]
        self._dropped.clear()

    def _gap(self, taken, words):
        """First gap of so many words between places that are taken, in their order."""
        base = 0
        for begin, size in taken:
            if begin - base >= words:
                return base
            base = begin + size
        return base if self._depth - base >= words else None
