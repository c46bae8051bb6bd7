"""Backend that drives a training core: the golden one, a simulated one, or a board.

Each product of a layer becomes commands on pieces of the operands (:mod:`golden.tiling`), which
are issued so that loads overlap with products (:mod:`golden.scheduler`). What fits is loaded once:
weights for a whole step, activations for the forward and the backward pass, and the weights of the
next layer come while this one is multiplied.

A piece of a gradient that had to make room and is loaded again must get the random numbers that it
had at first; the generator is set back then. That happens only to a gradient that has no room as a
whole, in a layer whose weights are cut, too.
"""

import dataclasses
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .backend import Gradients
from .command import Command, CoreSize, Destination, Memory, Operation
from .conversions import (
    bias_integers,
    gradient_exponents,
    reciprocal_scale,
    section_rows,
    step_scale,
    wide_numbers,
)
from .device import Device
from .errors import InputError
from .formats import Scale
from .fp4_quantizer import Fp4Mode
from .gradient_recipe import GradientRecipe, check_core
from .pending_gradient import PendingGradient
from .scheduler import Issued, Operand, Product, Scheduler, Tile
from .tiling import Tiling, choose_step, choose_tiling, cuts, forward_cuts, part, within

__all__ = ["DeviceBackend", "Entry"]


@dataclass(frozen=True)
class Entry:
    """Product in the log of a backend.

    Attributes
    ----------
    layer : str
        Name of the layer.
    number : int
        Number that the device gave the product.
    command : Command
        The product.
    """

    layer: str
    number: int
    command: Command


@dataclass
class _Layer:
    """Operands of a layer, and their steps."""

    weights: Operand
    weight_step: float
    activations: Operand | None = None
    activation_step: float = 0.0


class DeviceBackend:
    """Training core as a :class:`golden.backend.Backend`.

    Parameters
    ----------
    device : Device
        The core; nobody else may use it.
    seed : int
        Seed of the random bits, as in :class:`golden.backend.NumpyBackend`.

    Attributes
    ----------
    wide : FloatFormat
        Wide format of the core.
    log : list of Entry or None
        Set it to a list to have every product added.
    """

    def __init__(self, device: Device, seed: int = 0) -> None:
        self.wide = device.size.wide_format
        self.log: list[Entry] | None = None
        self._size: CoreSize = device.size
        self._scheduler = Scheduler(device, seed)
        self._layers: dict[str, _Layer] = {}
        # Random word that the next gradient begins with.
        self._word = 0
        # The weight gradient that is under way.
        self._pending: PendingGradient | None = None

    def load_weights(self, layer: str, weights: npt.NDArray[np.float32], step: float) -> None:
        if layer in self._layers:
            self._scheduler.drop(self._layers[layer].weights)
        weights = wide_numbers(f"{layer}.weights", weights, self.wide)
        operand = Operand(Memory.WEIGHTS, weights, _scale_fields(reciprocal_scale(step)))
        self._layers[layer] = _Layer(operand, step)

    def forward(
        self,
        layer: str,
        x: npt.NDArray,
        step: float,
        bias: npt.NDArray[np.float32] | None,
        *,
        relu: bool,
    ) -> npt.NDArray[np.float32]:
        state = self._layers[layer]
        x = wide_numbers(f"{layer}.activations", x, self.wide)
        self._scheduler.drop(state.activations)
        fields = {"signed_activations": False, **_scale_fields(reciprocal_scale(step))}
        state.activations = Operand(Memory.ACTIVATIONS, x, fields)
        state.activation_step = step
        factor = step_scale(state.weight_step, step)
        biases = None
        if bias is not None:
            biases = Operand(Memory.BIASES, bias_integers(layer, bias, factor)[None])
        output = np.empty((len(x), len(state.weights.matrix)), np.float32)
        last = {"relu": relu, "bias": bias is not None, **_scale_fields(factor)}
        products = list(self._forward_products(state, biases, last, output))
        issued = self._issue(layer, products, self._weights_after(layer))
        self._scheduler.drop(biases)
        self._scheduler.fetch(issued)
        return output

    def backward(
        self,
        layer: str,
        output_gradient: npt.NDArray,
        recipe: GradientRecipe | None,
        *,
        want_input_gradient: bool = True,
        exponent: int | None = None,
    ) -> Gradients:
        if recipe is None:
            raise InputError(
                "A training core multiplies gradients in FP4 only; choose a recipe that does"
            )
        check_core(recipe, self._size)
        output_gradient = wide_numbers(f"Gradient of {layer}", output_gradient, self.wide)
        state = self._layers[layer]
        if recipe.parts > 1:
            repeated = np.concatenate([state.weights.matrix] * recipe.parts)
            operand = dataclasses.replace(state.weights, matrix=repeated)
            state = dataclasses.replace(state, weights=operand)
        exponent, *units = gradient_exponents(output_gradient, recipe, exponent)
        first, second = self._gradient_operands(output_gradient, recipe, exponent)
        input_factor = step_scale(state.weight_step).times_power_of_two(units[0])
        weight_factor = step_scale(state.activation_step).times_power_of_two(units[1])

        assert state.activations is not None, "forward comes before backward"
        inputs = np.empty(state.activations.matrix.shape, np.float32)
        rows, sections = len(inputs), section_rows(recipe.fmt)
        weights = np.empty((-(-rows // sections), *state.weights.matrix.shape), np.float32)
        tiling = self._tiling(state, rows)
        before, self._pending = self._pending, None
        hidden = before.cycles(self._size) if before and not before.is_collected else 0
        to_inputs = list(
            self._input_products(state, tiling, first, _scale_fields(input_factor), inputs, hidden)
            if want_input_gradient
            else self._input_products(state, tiling, first, {}, None, hidden)
        )
        to_weights = list(
            self._weight_products(state, tiling, second, _scale_fields(weight_factor), weights)
        )
        if before and not before.has_activation_step:
            before.collect()
        whole_weights = tiling.outputs >= weights.shape[1] and tiling.inputs >= weights.shape[2]
        if tiling.rows < rows and whole_weights:
            # Weights in one piece: both products of some rows, before the next rows are loaded.
            if before:
                before.collect()
            pairs = zip(to_inputs, to_weights, strict=True)
            issued = self._issue(layer, [product for pair in pairs for product in pair])
        else:
            # The input gradient begins while the weight gradient of the layer behind goes on. Its
            # step is read before this layer's weight gradient begins.
            issued = self._issue(layer, to_inputs, to_weights[0].tiles)
            if before:
                before.collect()
            issued += self._issue(layer, to_weights)
        others = [product for product in issued if not product.is_input_gradient]
        self._pending = pending = PendingGradient(
            self._scheduler, others, weights, input_factor, weight_factor, self._size.residual_bits
        )
        if want_input_gradient:
            self._scheduler.fetch([product for product in issued if product.is_input_gradient])
            pending.read_activation_step(fetched=True)
        for operand in (first, second, state.activations):
            self._scheduler.drop(operand)
        if recipe.parts > 1:
            self._scheduler.drop(state.weights)
        return Gradients(inputs if want_input_gradient else None, pending.collect)

    def _forward_products(self, state, biases, last, output) -> Iterator[Product]:
        weights, activations = state.weights, state.activations
        tiling = self._tiling(state, len(output))
        outputs, inputs = weights.matrix.shape
        if tiling == Tiling(len(output), inputs, outputs):
            yield from self._whole_forward_products(state, biases, last, output)
            return
        for row in cuts(len(output), tiling.rows):
            for column in cuts(output.shape[1], tiling.outputs):
                *others, final = cuts(inputs, tiling.inputs)
                for term in (*others, final):
                    tiles = [Tile(weights, column, term), Tile(activations, row, term)]
                    if term is final and biases is not None:
                        tiles.insert(0, Tile(biases, (0, 1), column))
                    yield self._product(
                        Operation.FORWARD,
                        (row, term, column),
                        tiles,
                        last if term is final else None,
                        part(output, row, column),
                        accumulate=term[0] > 0,
                    )

    def _whole_forward_products(self, state, biases, last, output) -> Iterator[Product]:
        """Products of operands that fit, of some rows or of some outputs each."""
        rows, (outputs, inputs) = len(output), state.weights.matrix.shape
        weights = Tile(state.weights, (0, outputs), (0, inputs))
        activations = Tile(state.activations, (0, rows), (0, inputs))
        others = [] if biases is None else [Tile(biases, (0, 1), (0, outputs))]
        row_cuts, output_cuts = forward_cuts(
            self._size, rows, inputs, outputs, self._scheduler.holds(weights)
        )
        for row, column in itertools.product(row_cuts, output_cuts):
            tiles = [
                dataclasses.replace(weights, used=column),
                dataclasses.replace(activations, used=row),
            ]
            yield self._product(
                Operation.FORWARD,
                (row, (0, inputs), column),
                # What is cut is loaded last.
                [*others, *(reversed(tiles) if len(output_cuts) > 1 else tiles)],
                last,
                part(output, row, column),
                accumulate=False,
                bias_column=column[0],
            )

    def _input_products(self, state, tiling, gradient, last, result, hidden) -> Iterator[Product]:
        """Products with the weights; without a result, for the step gradient only."""
        rows, outputs = gradient.matrix.shape
        clear = True
        for row in cuts(rows, tiling.rows):
            for column in cuts(state.weights.matrix.shape[1], tiling.inputs):
                *others, final = cuts(outputs, tiling.outputs)
                for term in (*others, final):
                    sizes = {"batch": row[1], "inputs": column[1], "outputs": term[1]}
                    whole = tiling.rows >= rows and not others
                    for used in self._rows(sizes, whole, hidden):
                        tiles = [
                            Tile(state.weights, term, column),
                            Tile(gradient, row, (0, outputs), used),
                        ]
                        if term is final:
                            tiles.append(Tile(state.activations, row, column, used))
                        ends = {"masked": True, "step_gradient": True, "clear_step_gradient": clear}
                        yield self._product(
                            Operation.INPUT_GRADIENT,
                            (used, column, term),
                            tiles,
                            {**last, **ends} if term is final else None,
                            None if result is None else part(result, within(row, used), column),
                            accumulate=term[0] > 0,
                        )
                        clear = clear and term is not final

    def _rows(self, sizes, whole, hidden) -> list[tuple[int, int]]:
        """Rows of a gradient that each product takes; all of them if the sums go on.

        The first ones are loaded while something else is multiplied, for ``hidden`` cycles.
        """
        rows, size = sizes["batch"], self._size
        if not whole:
            return [(0, rows)]
        command = Command(Operation.INPUT_GRADIENT, **sizes)
        beats = -(-sizes["outputs"] // size.load_lanes)
        first = min(hidden // beats, rows)
        first -= first % size.block if first < rows else 0
        work = max(size.passes(command), size.strips(command)) * (rows - first) // rows
        left = rows - first
        step = choose_step(size, left, left * beats, work)[0] if left else 1
        pieces = [(first + begin, count) for begin, count in cuts(left, step)]
        return [(0, first), *pieces] if first else pieces

    def _weight_products(self, state, tiling, gradient, last, result) -> Iterator[Product]:
        """Products with the activations; ``result`` has a matrix for each section of rows."""
        rows, outputs = gradient.matrix.shape
        section = section_rows(self._size.fmt)
        clear = True
        for row in cuts(outputs, tiling.outputs):
            for column in cuts(state.weights.matrix.shape[1], tiling.inputs):
                for term in cuts(rows, tiling.rows):
                    end = sum(term)
                    is_last = end == rows or end % section == 0
                    tiles = [
                        Tile(state.activations, term, column),
                        Tile(gradient, term, (0, outputs)),
                    ]
                    if is_last:
                        tiles.append(Tile(state.weights, row, column))
                    ends = {"masked": True, "step_gradient": True, "clear_step_gradient": clear}
                    yield self._product(
                        Operation.WEIGHT_GRADIENT,
                        (term, column, row),
                        tiles,
                        {**last, **ends} if is_last else None,
                        part(result[term[0] // section], row, column),
                        accumulate=term[0] % section > 0,
                    )
                    clear = clear and not is_last

    def _product(
        self, operation, sizes, tiles, last, result, *, accumulate, bias_column=0
    ) -> Product:
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

    def _gradient_operands(self, output_gradient, recipe, exponent) -> list[Operand]:
        """Operands of the two phases; the same one if the phases are the same."""
        operands = []
        for phase in dict.fromkeys(recipe.phases):
            fields = {
                "fp4_exponent": exponent,
                "phase": bool(phase),
                "stochastic": recipe.mode is Fp4Mode.STOCHASTIC,
            }
            operands.append(Operand(Memory.GRADIENTS, output_gradient, fields, self._word))
        rows, outputs = output_gradient.shape
        self._word += rows * self._scheduler.row_words(outputs)
        return [operands[0], operands[-1]]

    def _weights_after(self, layer) -> list[Tile]:
        """Weights of the next layer, if they fit as a whole."""
        names = list(self._layers)
        this, *others = names[names.index(layer) :]
        state, size = self._layers[this], self._size
        assert state.activations is not None
        outputs, inputs = state.weights.matrix.shape
        rows = len(state.activations.matrix)
        work = size.passes(Command(Operation.FORWARD, rows, inputs, outputs))
        following = []
        for name in others[:1]:
            weights = self._layers[name].weights
            outputs, inputs = weights.matrix.shape
            beats = outputs * -(-inputs // size.load_lanes)
            # Activations come behind what is loaded now, and so must not wait long.
            if size.blocks(outputs, inputs) <= size.weight_words and beats <= work // 2:
                following.append(Tile(weights, (0, outputs), (0, inputs)))
        return following

    def _tiling(self, state, rows) -> Tiling:
        outputs, inputs = state.weights.matrix.shape
        return choose_tiling(self._size, rows, inputs, outputs)

    def _issue(self, layer: str, products, following=()) -> list[Issued]:
        issued = self._scheduler.issue(products, following)
        if self.log is not None:
            self.log += [Entry(layer, product.number, product.command) for product in issued]
        return issued


def _scale_fields(scale: Scale) -> dict[str, int]:
    return {"significand": int(scale.significand), "exponent": int(scale.exponent)}
