"""Commands for products of pieces: what is loaded where and when, and who waits for whom.

The operand memories are caches of pieces. Pieces are loaded ahead of their products, as far as
there is room and the load unit has nothing else to do: before a product is issued, a clock tells
whether the array or the load unit will be free first. Of a piece, only the rows that products have
asked for are loaded: a product may begin with some of them.

Commands start in order, and a load waits for the loads before it. So when a product starts, every
load that was issued before it has ended but the last; it waits only if it uses what that one
brings. A load waits for the products before it only if it overwrites what one of them uses.
"""

import dataclasses
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from nibblegrad.golden.driver.clock import Clock, Span
from nibblegrad.golden.driver.tiling import Operand, Product, Tile, TileCache, cuts
from nibblegrad.golden.engine.command import Command, CoreSize, Operation, Store
from nibblegrad.golden.engine.device import Device, pack_biases, pack_matrix, unpack_result
from nibblegrad.golden.engine.timing import CoreTiming
from nibblegrad.golden.numbers.random_bits import jump, seed_state

__all__ = ["Issued", "Scheduler"]


# Beats of a piece of what is loaded while nothing else is to be.
_CHUNK_BEATS = 128


@dataclass(frozen=True)
class _Place:
    """How the commands name the rows, the columns and the base of what a memory holds."""

    load: Operation
    rows: str
    columns: str
    base: str


_PLACES = {
    Store.ACTIVATIONS: _Place(Operation.LOAD_ACTIVATIONS, "batch", "inputs", "activation_base"),
    Store.WEIGHTS: _Place(Operation.LOAD_WEIGHTS, "outputs", "inputs", "weight_base"),
    Store.GRADIENTS: _Place(Operation.LOAD_GRADIENTS, "batch", "outputs", "gradient_base"),
    # Biases are one row; the batch of their load means nothing.
    Store.BIASES: _Place(Operation.LOAD_BIASES, "batch", "outputs", "bias_base"),
}


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
    span : Span
        When it should start and end.
    """

    number: int
    command: Command
    result: npt.NDArray[np.float32] | None
    span: Span

    @property
    def is_input_gradient(self) -> bool:
        """Whether it is a gradient by the input of a layer."""
        return self.command.operation == Operation.INPUT_GRADIENT


class _Region(NamedTuple):
    """Words of a memory, from the first one to that behind the last one."""

    memory: Store
    base: int
    end: int

    def overlaps(self, other: "_Region") -> bool:
        return self.memory is other.memory and self.base < other.end and other.base < self.end


class Scheduler:
    """Issues products and the loads that they need.

    Parameters
    ----------
    size : CoreSize
        Parameters of the core.
    timing : CoreTiming
        What its pipelines take; only the order of commands depends on it.
    device : Device or None
        The core; nobody else may use it. Without one, nothing is done but the clock goes on.
    seed : int
        Seed of the random bits of loads and results, 0 to ``2**64 - 1``.

    Attributes
    ----------
    clock : Clock
        When everything should start and end.
    """

    def __init__(
        self, size: CoreSize, timing: CoreTiming, device: Device | None, seed: int
    ) -> None:
        self._device = device
        self._size = size
        self._timing = timing
        self.clock = Clock(size, timing)
        self._caches = {
            Store.ACTIVATIONS: TileCache[Tile](size.activation_words),
            Store.WEIGHTS: TileCache[Tile](size.weight_words),
            Store.GRADIENTS: TileCache[Tile](size.gradient_words),
            Store.BIASES: TileCache[Tile](size.bias_words),
        }
        # Rows of the pieces that have been loaded so far.
        self._loaded: dict[Tile, int] = {}
        # What the last load may touch, and what products under way use: the number of the last one.
        self._last_load: _Region | None = None
        self._in_use: dict[_Region, int] = {}
        self._issued = 0
        self._seed = seed
        self._set_generator(0)

    def fork(self) -> "Scheduler":
        """Make one that begins where this one is, and has no device: to try what would happen."""
        other = Scheduler.__new__(Scheduler)
        other.__dict__.update(self.__dict__)
        other._device = None
        other.clock = self.clock.fork()
        other._caches = {memory: cache.copy() for memory, cache in self._caches.items()}
        other._loaded = dict(self._loaded)
        other._in_use = dict(self._in_use)
        return other

    def issue(self, products: Sequence[Product], following: Sequence[Tile] = ()) -> list[Issued]:
        """Issue products, and what they need.

        Parameters
        ----------
        products : sequence of Product
            What to multiply, in order.
        following : sequence of Tile
            What will be needed next; it is loaded as long as products go on, if there is room.
        """
        issued: list[Issued] = []
        needed = [(k, tile) for k, product in enumerate(products) for tile in product.tiles]
        needed += [(len(products), chunk) for tile in following for chunk in self._chunks(tile)]
        # Everything before has been asked for.
        position = 0

        def kept(first: int) -> list[Tile]:
            """List what must stay for the products from here to that for which is loaded."""
            last = needed[position][0] if position < len(needed) else len(products)
            ahead = [tile for product in products[first : last + 1] for tile in product.tiles]
            return [*ahead, *following] if last == len(products) else ahead

        for k, product in enumerate(products):
            while position < len(needed) and needed[position][0] <= k:
                self._place(needed[position][1], kept(k))
                position += 1
            while position < len(needed) and self._place(needed[position][1], kept(k), product):
                position += 1
            issued.append(self._multiply(product))
        while position < len(needed) and self.clock.load_free < issued[-1].span.end:
            if not self._place(needed[position][1], kept(len(products) - 1)):
                break
            position += 1
        return issued

    def _chunks(self, tile: Tile) -> Iterator[Tile]:
        """Cut a tile into rows that are loaded one after the other."""
        beats = -(-tile.columns[1] // self._size.load_lanes)
        step = self._size.block * max(1, _CHUNK_BEATS // (beats * self._size.block))
        for rows in cuts(tile.rows[1], step):
            yield dataclasses.replace(tile, used=rows)

    def fetch(self, issued: Sequence[Issued]) -> None:
        """Fill the results of products, in the order in which they were issued."""
        for product in issued:
            if product.result is None:
                continue
            self.clock.wait(product.span)
            # Products end in order.
            self._release(product.number)
            if self._device is None:
                continue
            codes = unpack_result(self._device.result(product.number), product.command, self._size)
            product.result[...] = self._size.wide_format.decode(codes)

    def holds(self, tile: Tile) -> bool:
        """Tell whether what is used of a tile has been loaded, or is being loaded."""
        cache = self._caches[tile.operand.memory]
        return cache.find(tile) is not None and self._loaded[tile] >= sum(tile.used_rows)

    def there(self, operands: Collection[Operand | None]) -> tuple:
        """Tell which pieces of operands, or parts of them, have been loaded, or are being."""
        return tuple(
            (memory, tile.rows, tile.columns, self._loaded[tile])
            for memory, cache in self._caches.items()
            for tile in cache.tiles
            if tile.operand in operands
        )

    def drop(self, operand: Operand | None) -> None:
        """Forget the pieces of an operand that is not needed any more."""
        if operand is not None:
            self._caches[operand.memory].drop(lambda tile: tile.operand is operand)
            self._loaded = {t: rows for t, rows in self._loaded.items() if t.operand is not operand}

    def finish(self) -> None:
        """Wait until the core has done everything."""
        self.clock.finish()
        self._release()
        if self._device is not None:
            self._device.finish()

    def step_gradient(self, memory: Store, *, fetched: bool) -> int:
        """Read a step gradient.

        Parameters
        ----------
        memory : Store
            Activations or weights.
        fetched : bool
            Whether the result of the product that made it was fetched; if not, wait for everything.
        """
        if not fetched:
            self._release()
            self.clock.finish()
        self.clock.read(2)
        if self._device is None:
            return 0
        return self._device.step_gradient(memory, finish=not fetched)

    def _release(self, number: int | None = None) -> None:
        """Note that products have ended, up to one or all of them."""
        self._in_use = {
            region: user
            for region, user in self._in_use.items()
            if number is not None and user > number
        }
        if not self._in_use:
            for cache in self._caches.values():
                cache.forget()

    def row_words(self, columns: int) -> int:
        """Count the random words that a row of gradients takes."""
        if not self._size.fmt.is_stochastic:
            return 0
        return -(-columns // self._size.load_lanes) * self._size.load_words

    def _place(
        self, tile: Tile, keep: Collection[Tile] = (), ahead_of: Product | None = None
    ) -> bool:
        """Load of a tile what is not there, if it has room beside what is kept.

        Ahead of a product, only what does not keep the product from its start. Returns whether it
        is there, or will be.
        """
        cache = self._caches[tile.operand.memory]
        base = cache.find(tile)
        if base is None:
            base = cache.allocate(tile, self._words(tile, tile.rows[1]), keep)
            if base is None:
                return False
            self._loaded[tile] = 0
        first, end = self._loaded[tile], sum(tile.used_rows)
        if first >= end:
            return True
        region = self._region(tile, base, first, end)
        waits = any(map(region.overlaps, self._in_use))
        # What waits for the product under way must come first, or it would wait for this one, too.
        if ahead_of and not waits and self.clock.load_free > self._earliest(ahead_of):
            return False
        self._load(tile, region, waits, first, end - first)
        self._loaded[tile] = end
        return True

    def _earliest(self, product: Product) -> int:
        """Tell when a product could start whose operands have been asked for."""
        needs_last = self._last_load and any(
            self._last_load.overlaps(region) for region in self._regions(product)
        )
        return max(self.clock.array_free, self.clock.load_free if needs_last else 0)

    def _load(self, tile: Tile, region: _Region, waits: bool, first: int, rows: int) -> None:
        """Load some rows of a tile; the first one begins a block, or the tile is in the making."""
        operand = tile.operand
        place = _PLACES[operand.memory]
        row, columns = tile.rows[0] + first, tile.columns[1]
        if operand.memory is Store.GRADIENTS:
            first_word = operand.first_word + row * self.row_words(columns)
            if self._word != first_word:
                self._set_generator(first_word)
            self._word += rows * self.row_words(columns)
        if waits:
            self._release()
        self._last_load = region
        sizes = {place.rows: rows, place.columns: columns, place.base: region.base}
        command = Command(
            place.load,
            **{**operand.settings, **sizes},
            wait_for_loads=True,
            wait_for_products=waits,
        )
        self.clock.issue(command)
        if self._device is not None:
            self._device.issue(command, self._beats(tile, row, rows))

    def _beats(self, tile: Tile, row: int, rows: int) -> npt.NDArray[np.uint32]:
        column, columns = tile.columns
        size, matrix = self._size, tile.operand.matrix
        matrix = matrix[row : row + rows, column : column + columns]
        if tile.operand.memory is Store.BIASES:
            return pack_biases(matrix[0], size)
        return pack_matrix(size.wide_format.encode(matrix), size.load_lanes)

    def _regions(self, product: Product) -> list[_Region]:
        """List the words that a product uses, in the order of its tiles."""
        regions = []
        for tile in product.tiles:
            base = self._caches[tile.operand.memory].find(tile)
            assert base is not None, "there is room for one tile of each memory"
            first, rows = tile.used_rows
            regions.append(self._region(tile, base, first, first + rows))
        return regions

    def _region(self, tile: Tile, base: int, first: int, end: int) -> _Region:
        """Find the words of some rows of a tile; the first one begins a word."""
        begin, end = (base + self._words(tile, rows) for rows in (first, end))
        return _Region(tile.operand.memory, begin, end)

    def _multiply(self, product: Product) -> Issued:
        regions = self._regions(product)
        within = {
            Store.GRADIENTS: product.gradient_column // self._size.block,
            Store.BIASES: product.bias_column // self._size.columns,
        }
        bases = {
            _PLACES[region.memory].base: region.base + within.get(region.memory, 0)
            for region in regions
        }
        waits = self._last_load is not None and any(map(self._last_load.overlaps, regions))
        command = Command(
            **{**product.settings, **bases},
            wait_for_loads=waits,
            # Sums that go on must have been stored.
            wait_for_products=bool(product.settings.get("accumulate")),
        )
        span = self.clock.issue(command)
        number = self._issued
        if self._device is not None:
            number = self._device.issue(command)
        self._issued = number + 1
        self._in_use |= dict.fromkeys(regions, number)
        return Issued(number, command, product.result, span)

    def _words(self, tile: Tile, rows: int) -> int:
        """Count the words of the first rows of a tile."""
        if tile.operand.memory is Store.BIASES:
            return -(-tile.columns[1] // self._size.columns) if rows else 0
        return self._size.blocks(rows, tile.columns[1])

    def _set_generator(self, word: int) -> None:
        """Let the next load of gradients begin with this random word; waits for everything."""
        self.clock.seed()
        if self._device is not None:
            loads, results = (seed_state(self._seed, stream) for stream in (0, 1))
            self._device.seed(jump(loads, word, 0), results)
        self._release()
        self._word = word
