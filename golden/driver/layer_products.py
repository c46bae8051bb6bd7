"""The products of a layer, piece by piece, with what each of them needs in the memories."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from nibblegrad.golden.driver.cuts import BackwardCut, ForwardCut, LayerShape, fits_whole
from nibblegrad.golden.driver.tiling import (
    Operand,
    Product,
    Tile,
    cuts,
    part,
    streamed_pieces,
    within,
)
from nibblegrad.golden.engine.command import Command, CoreSize, Destination, Operation
from nibblegrad.golden.engine.timing import CoreTiming
from nibblegrad.golden.training.conversions import section_rows

__all__ = ["LEAST_COMMAND", "LayerOperands", "LayerProducts"]

#: Cycles that a load or a product is taken to cost beside its work, whatever the pipelines.
LEAST_COMMAND = 8
#: Settings of the products that end a sum of a gradient.
_OF_GRADIENT = {"masked": True, "step_gradient": True}


@dataclass
class LayerOperands:
    """Operands of a layer, and their steps.

    Attributes
    ----------
    weights : Operand
        W, (outputs, inputs).
    weight_step : float
        Step of W.
    activations : Operand or None
        X, (rows, inputs), of the last forward pass.
    activation_step : float
        Step of X.
    x_rows : int
        Rows of the pieces of X in that pass.
    """

    weights: Operand
    weight_step: float
    activations: Operand | None = None
    activation_step: float = 0.0
    x_rows: int = 0

    @property
    def shape(self) -> LayerShape:
        """Sizes of the layer."""
        assert self.activations is not None, "forward comes before backward"
        outputs, inputs = self.weights.matrix.shape
        return LayerShape(len(self.activations.matrix), inputs, outputs)


class _Part(NamedTuple):
    """Rows of an operand: beginning and size of a tile, and of what is used of it."""

    tile: tuple[int, int]
    used: tuple[int, int]


def _parts(pieces, count, whole) -> list[_Part]:
    """Make a tile of each piece, or one of all of them if it has room as a whole."""
    if whole:
        return [_Part((0, count), piece) for piece in pieces]
    return [_Part(piece, (0, piece[1])) for piece in pieces]


class LayerProducts:
    """Makes the products of a layer.

    Parameters
    ----------
    size : CoreSize
        Parameters of the core.
    timing : CoreTiming
        What its pipelines take.
    layer : LayerOperands
        What is multiplied.
    holds : function
        Whether a tile is in the core as a whole.
    """

    def __init__(
        self,
        size: CoreSize,
        timing: CoreTiming,
        layer: LayerOperands,
        holds: Callable[[Tile], bool],
    ) -> None:
        assert layer.activations is not None, "forward comes before backward"
        self._size = size
        self._commands = max(timing.load, LEAST_COMMAND), max(timing.restart, LEAST_COMMAND)
        self._weights, self._activations = layer.weights, layer.activations
        self._shape = layer.shape
        self._holds = holds

    def forward(
        self,
        cut: ForwardCut,
        biases: Operand | None,
        last: dict[str, Any],
        output: npt.NDArray[np.float32],
    ) -> list[Product]:
        """Make the products of a forward pass.

        Parameters
        ----------
        cut : ForwardCut
            How they are cut.
        biases : Operand or None
            Biases.
        last : dict
            Settings of the products that end a sum.
        output : array of float32, shape (rows, outputs)
            What they fill.
        """
        shape, first = self._shape, cut.first_outputs
        whole_x, whole_w = fits_whole(self._size, shape)
        rest = [within((first, 0), n) for n in cuts(shape.outputs - first, cut.outputs)]
        rows = _parts(cuts(shape.rows, cut.rows), shape.rows, whole_x)
        columns = _parts([(0, first), *rest], shape.outputs, whole_w)
        pairs = [(row, column) for row in rows for column in columns]
        if not cut.rows_outside:
            pairs = [(row, column) for column in columns for row in rows]
        terms = cuts(shape.inputs, cut.inputs)
        products, seen = [], set()
        for row, column in pairs:
            for term in terms:
                is_last = term is terms[-1]
                w = Tile(self._weights, column.tile, term, column.used)
                x = Tile(self._activations, row.tile, term, row.used)
                fresh = {
                    tile
                    for tile in (w, x)
                    if (tile, tile.used) not in seen and not self._holds(tile)
                }
                seen |= {(w, w.used), (x, x.used)}
                used_rows, used_columns = [row.used], [column.used]
                sizes = (row.used[1], term[1], column.used[1])
                # In between, whole pieces are loaded while others are multiplied.
                streams = len(terms) == 1 and row in (rows[0], rows[-1])
                if streams and x in fresh and (cut.stream_rows or w not in fresh):
                    chunks = self._chunks(Operation.FORWARD, 0, sizes)
                    used_rows = [within(row.used, chunk) for chunk in chunks]
                elif streams and fresh == {w, x}:
                    chunks = self._chunks(Operation.FORWARD, 2, sizes)
                    used_columns = [within(column.used, chunk) for chunk in chunks]
                for used in used_rows:
                    for used_column in used_columns:
                        tiles = [
                            dataclasses.replace(w, used=used_column),
                            dataclasses.replace(x, used=used),
                        ]
                        # What comes piece by piece is loaded last.
                        if len(used_columns) > 1:
                            tiles.reverse()
                        place = within(column.tile, used_column)
                        bias, bias_column = self._bias_tile(biases, column, used_column)
                        products.append(
                            self._product(
                                Operation.FORWARD,
                                (within(row.tile, used), term, place),
                                [*bias, *tiles] if is_last else tiles,
                                last if is_last else None,
                                part(output, within(row.tile, used), place),
                                accumulate=term[0] > 0,
                                bias_column=bias_column,
                            )
                        )
        return products

    def _bias_tile(self, biases, column, used):
        """Find the tile of the biases of a part, and where those of what is used begin in it."""
        if biases is None:
            return [], 0
        begin, outputs = column.tile[0] + used[0], self._shape.outputs
        if -(-outputs // self._size.columns) <= self._size.bias_words:
            return [Tile(biases, (0, 1), (0, outputs))], begin
        piece = within(column.tile, column.used)
        return [Tile(biases, (0, 1), piece)], begin - piece[0]

    def to_inputs(
        self,
        cut: BackwardCut,
        gradient: Operand,
        last: dict[str, Any],
        result: npt.NDArray[np.float32] | None,
        busy: int,
    ) -> list[list[Product]]:
        """Make the products with the weights, those of each piece of the result in a list.

        Parameters
        ----------
        cut : BackwardCut
            How they are cut.
        gradient : Operand
            dY.
        last : dict
            Settings of the products that end a sum.
        result : array of float32, shape (rows, inputs), or None
            What they fill; without one, they are for the step gradient only.
        busy : int
            Cycles in which the array has something else to do, while dY is loaded.
        """
        shape = self._shape
        outputs = gradient.matrix.shape[1]
        terms = cuts(outputs, cut.outputs)
        pieces, clear, seen = [], True, False
        for row in self._row_pieces(cut):
            for column in cuts(shape.inputs, cut.inputs):
                products = []
                for term in terms:
                    is_last = term is terms[-1]
                    used_rows = [(0, row[1])]
                    if len(terms) == 1 and not seen:
                        sizes = (row[1], column[1], term[1])
                        used_rows = self._chunks(Operation.INPUT_GRADIENT, 0, sizes, busy)
                    seen = True
                    for used in used_rows:
                        tiles = [Tile(self._weights, term, column)]
                        if is_last:
                            tiles.append(Tile(self._activations, row, column, used))
                        tiles.append(Tile(gradient, row, (0, outputs), used))
                        ends = {**_OF_GRADIENT, "clear_step_gradient": clear}
                        products.append(
                            self._product(
                                Operation.INPUT_GRADIENT,
                                (used, column, term),
                                tiles,
                                {**last, **ends} if is_last else None,
                                None if result is None else part(result, within(row, used), column),
                                accumulate=term[0] > 0,
                            )
                        )
                        clear = clear and not is_last
                pieces.append(products)
        return pieces

    def to_weights(
        self,
        cut: BackwardCut,
        gradient: Operand,
        last: dict[str, Any],
        result: npt.NDArray[np.float32],
    ) -> list[list[Product]]:
        """Make the products with the activations, those of each piece in a list.

        Parameters
        ----------
        cut, gradient, last :
            As in :meth:`to_inputs`.
        result : array of float32, shape (sections, outputs, inputs)
            What they fill: a matrix for each section of the rows.
        """
        shape, rows = self._shape, self._shape.rows
        outputs = gradient.matrix.shape[1]
        section = section_rows(self._size.fmt)
        pieces: list[list[Product]] = []
        clear = True
        terms = self._row_pieces(cut)
        for row in cuts(outputs, cut.outputs):
            for column in cuts(shape.inputs, cut.inputs):
                for k, term in enumerate(terms):
                    end = sum(term)
                    if len(result) == 1:
                        is_first, is_last = k == 0, k == len(terms) - 1
                    else:
                        is_first = term[0] % section == 0
                        is_last = end == rows or end % section == 0
                    tiles = [
                        Tile(self._activations, term, column),
                        Tile(gradient, term, (0, outputs)),
                    ]
                    if is_last:
                        tiles.insert(0, Tile(self._weights, row, column))
                    ends = {**_OF_GRADIENT, "clear_step_gradient": clear}
                    product = self._product(
                        Operation.WEIGHT_GRADIENT,
                        (term, column, row),
                        tiles,
                        {**last, **ends} if is_last else None,
                        part(result[term[0] // section if len(result) > 1 else 0], row, column),
                        accumulate=not is_first,
                    )
                    clear = clear and not is_last
                    pieces.append([product])
        return pieces

    def first_operands(self, cut: BackwardCut) -> list[Tile]:
        """Find the weights and the activations that a backward pass begins with."""
        shape = self._shape
        column = (0, min(cut.inputs, shape.inputs))
        return [
            Tile(self._weights, (0, min(cut.outputs, shape.outputs)), column),
            Tile(self._activations, self._row_pieces(cut)[0], column),
        ]

    def _row_pieces(self, cut) -> list[tuple[int, int]]:
        """List pieces of the rows; what is still there of X comes first, if that saves loads."""
        pieces = cuts(self._shape.rows, cut.rows)
        if cut.inputs < self._shape.inputs or self._shape.rows > section_rows(self._size.fmt):
            return pieces
        there = [
            self._holds(Tile(self._activations, row, (0, self._shape.inputs))) for row in pieces
        ]
        # Behind the first one that is there, all must be: the random numbers come in their order.
        first = there.index(True) if any(there) else 0
        return pieces[first:] + pieces[:first]

    def _chunks(self, operation, axis, sizes, busy=0) -> list[tuple[int, int]]:
        """Cut rows or outputs so that products begin while the rest is loaded."""
        size = self._size
        command = Command(operation, *sizes)
        work = max(size.passes(command), size.strips(command))
        width = sizes[2] if operation == Operation.INPUT_GRADIENT else sizes[1]
        count = sizes[axis]
        load = count * -(-width // size.load_lanes)
        return streamed_pieces(size.block, count, load, work, self._commands, busy)

    @staticmethod
    def _product(operation, sizes, tiles, last, result, *, accumulate, bias_column=0) -> Product:
        """Make a product on pieces of batch, inputs and outputs.

        ``last`` are the settings of the product that ends a sum; None has the sum go on.
        """
        (_, batch), (_, inputs), (output, outputs) = sizes
        if last is None:
            destination, result = Destination.PARTIAL_SUMS, None
        elif result is None:
            destination = Destination.NOTHING
        else:
            destination = Destination.STREAM
        settings: dict[str, Any] = {
            "operation": operation,
            "batch": batch,
            "inputs": inputs,
            "outputs": outputs,
            "destination": destination,
            "accumulate": accumulate,
            **(last or {}),
        }
        return Product(tuple(tiles), settings, output, bias_column, result)
