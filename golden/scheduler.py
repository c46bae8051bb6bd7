"""Commands for products of pieces: what is loaded where and when, and who waits for whom.

The operand memories are caches of pieces. The pieces of a product are asked for before the product
ahead of it is issued, so that they are loaded while that one is under way, if there is room. Of a
piece, only the rows that products have asked for are loaded: a product may begin with some of them.

Commands start in order, and a load waits for the loads before it. So when a product starts, every
load that was issued before it has ended but the last; it waits only if it uses what that one
brings. A load waits for the products before it only if it overwrites what one of them uses.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from .command import Command, Memory, Operation
from .device import Device, pack_biases, pack_matrix, unpack_result
from .random_bits import jump, seed_state
from .tiling import TileCache

__all__ = ["Issued", "Operand", "Product", "Scheduler", "Tile"]


@dataclass(frozen=True)
class _Place:
    """How the commands name the rows, the columns and the base of what a memory holds."""

    load: Operation
    rows: str
    columns: str
    base: str


_PLACES = {
    Memory.ACTIVATIONS: _Place(Operation.LOAD_ACTIVATIONS, "batch", "inputs", "activation_base"),
    Memory.WEIGHTS: _Place(Operation.LOAD_WEIGHTS, "outputs", "inputs", "weight_base"),
    Memory.GRADIENTS: _Place(Operation.LOAD_GRADIENTS, "batch", "outputs", "gradient_base"),
    # Biases are one row; the batch of their load means nothing.
    Memory.BIASES: _Place(Operation.LOAD_BIASES, "batch", "outputs", "bias_base"),
}


@dataclass(eq=False)
class Operand:
    """Matrix on the host, whose pieces are loaded.

    Parameters
    ----------
    memory : Memory
        Where the pieces go.
    matrix : array, shape (rows, columns)
        Numbers of the wide format; biases are one row of integers.
    settings : dict
        Fields of the load command.
    first_word : int
        Gradients: number of the random word that the first row begins with.
    """

    memory: Memory
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


@dataclass(frozen=True)
class Issued:
    """Product under way.

    Attributes
    ----------
    number : int
        Number that the device gave it.
    command : Command
        Its command.
    result : array of float32 or None
        What to fill with the result on the stream.
    """

    number: int
    command: Command
    result: npt.NDArray[np.float32] | None

    @property
    def is_input_gradient(self) -> bool:
        """Whether it is a gradient by the input of a layer."""
        return self.command.operation == Operation.INPUT_GRADIENT


@dataclass(frozen=True)
class _Region:
    """Words of a memory."""

    memory: Memory
    base: int
    words: int

    def overlaps(self, other: "_Region") -> bool:
        return (
            self.memory is other.memory
            and self.base < other.base + other.words
            and other.base < self.base + self.words
        )


class Scheduler:
    """Issues products and the loads that they need.

    Parameters
    ----------
    device : Device
        The core; nobody else may use it.
    seed : int
        Seed of the random bits of loads and results, 0 to ``2**64 - 1``.
    """

    def __init__(self, device: Device, seed: int) -> None:
        self._device = device
        self._size = size = device.size
        self._caches = {
            Memory.ACTIVATIONS: TileCache[Tile](size.activation_words),
            Memory.WEIGHTS: TileCache[Tile](size.weight_words),
            Memory.GRADIENTS: TileCache[Tile](size.gradient_words),
            Memory.BIASES: TileCache[Tile](size.bias_words),
        }
        # Rows of the pieces that have been loaded so far.
        self._loaded: dict[Tile, int] = {}
        # What the last load may touch, and the products under way, by their numbers.
        self._last_load: _Region | None = None
        self._in_use: list[tuple[int, _Region]] = []
        self._seed = seed
        self._set_generator(0)

    def issue(self, products: Sequence[Product], following: Sequence[Tile] = ()) -> list[Issued]:
        """Issue products, and what they need.

        Parameters
        ----------
        products : sequence of Product
            What to multiply, in order.
        following : sequence of Tile
            What will be needed next; it is loaded during the last product, if there is room.
        """
        issued = []
        ahead = [*(product.tiles for product in products[1:]), following]
        for product, next_tiles in zip(products, ahead, strict=True):
            for tile in product.tiles:
                self._place(tile)
            for tile in next_tiles:
                self._place(tile, keep=product.tiles)
            issued.append(self._multiply(product))
        return issued

    def fetch(self, issued: Sequence[Issued]) -> None:
        """Fill the results of products, in the order in which they were issued."""
        for product in issued:
            if product.result is None:
                continue
            codes = unpack_result(self._device.result(product.number), product.command, self._size)
            product.result[...] = self._size.wide_format.decode(codes)
            # Products end in order.
            self._release([entry for entry in self._in_use if entry[0] > product.number])

    def holds(self, tile: Tile) -> bool:
        """Tell whether a tile has been loaded, or is being loaded, as a whole."""
        cache = self._caches[tile.operand.memory]
        return cache.find(tile) is not None and self._loaded[tile] == tile.rows[1]

    def drop(self, operand: Operand | None) -> None:
        """Forget the pieces of an operand that is not needed any more."""
        if operand is not None:
            self._caches[operand.memory].drop(lambda tile: tile.operand is operand)
            self._loaded = {t: rows for t, rows in self._loaded.items() if t.operand is not operand}

    def step_gradient(self, memory: Memory, *, fetched: bool) -> int:
        """Read a step gradient.

        Parameters
        ----------
        memory : Memory
            Activations or weights.
        fetched : bool
            Whether the result of the product that made it was fetched; if not, wait for everything.
        """
        if not fetched:
            self._release([])
        return self._device.step_gradient(memory, finish=not fetched)

    def _release(self, in_use: list[tuple[int, _Region]]) -> None:
        """Note what the products under way still use."""
        self._in_use = in_use
        if not in_use:
            for cache in self._caches.values():
                cache.forget()

    def row_words(self, columns: int) -> int:
        """Count the random words that a row of gradients takes."""
        if self._size.fmt.log2_radix == 2:
            return 0
        return -(-columns // self._size.load_lanes) * self._size.load_words

    def _place(self, tile: Tile, keep: Collection[Tile] = ()) -> None:
        """Load of a tile what is not there, if it has room beside what is kept."""
        cache = self._caches[tile.operand.memory]
        base = cache.find(tile)
        if base is None:
            base = cache.allocate(tile, self._words(tile, tile.rows[1]), keep)
            if base is None:
                return
            self._loaded[tile] = 0
        first, end = self._loaded[tile], sum(tile.used_rows)
        if first < end:
            self._load(tile, base, first, end - first)
            self._loaded[tile] = end

    def _load(self, tile: Tile, base: int, first: int, rows: int) -> None:
        """Load some rows of a tile; the first one begins a block, or the tile is in the making."""
        operand, size = tile.operand, self._size
        place = _PLACES[operand.memory]
        row, (column, columns) = tile.rows[0] + first, tile.columns
        base += self._words(tile, first)
        matrix = operand.matrix[row : row + rows, column : column + columns]
        if operand.memory is Memory.BIASES:
            beats = pack_biases(matrix[0], size)
        else:
            beats = pack_matrix(size.wide_format.encode(matrix), size.load_lanes)
        if operand.memory is Memory.GRADIENTS:
            first_word = operand.first_word + row * self.row_words(columns)
            if self._word != first_word:
                self._set_generator(first_word)
            self._word += rows * self.row_words(columns)
        region = _Region(operand.memory, base, self._words(tile, rows))
        waits = any(region.overlaps(other) for _, other in self._in_use)
        if waits:
            self._release([])
        self._last_load = region
        sizes = {place.rows: rows, place.columns: columns, place.base: base}
        self._device.issue(
            Command(
                place.load,
                **{**operand.settings, **sizes},
                wait_for_loads=True,
                wait_for_products=waits,
            ),
            beats,
        )

    def _multiply(self, product: Product) -> Issued:
        bases, regions = {}, []
        for tile in product.tiles:
            memory = tile.operand.memory
            base = self._caches[memory].find(tile)
            assert base is not None, "there is room for one tile of each memory"
            first, rows = tile.used_rows
            base += self._words(tile, first)
            regions.append(_Region(memory, base, self._words(tile, rows)))
            if memory is Memory.GRADIENTS:
                base += product.gradient_column // self._size.block
            if memory is Memory.BIASES:
                base += product.bias_column // self._size.columns
            bases[_PLACES[memory].base] = base
        waits = self._last_load is not None and any(map(self._last_load.overlaps, regions))
        command = Command(
            **{**product.settings, **bases},
            wait_for_loads=waits,
            # Sums that go on must have been stored.
            wait_for_products=bool(product.settings.get("accumulate")),
        )
        number = self._device.issue(command)
        self._in_use += [(number, region) for region in regions]
        return Issued(number, command, product.result)

    def _words(self, tile: Tile, rows: int) -> int:
        """Count the words of the first rows of a tile."""
        if tile.operand.memory is Memory.BIASES:
            return -(-tile.columns[1] // self._size.columns) if rows else 0
        return self._size.blocks(rows, tile.columns[1])

    def _set_generator(self, word: int) -> None:
        """Let the next load of gradients begin with this random word; waits for everything."""
        loads, results = (seed_state(self._seed, stream) for stream in (0, 1))
        self._device.seed(jump(loads, word, 0), results)
        self._release([])
        self._word = word
