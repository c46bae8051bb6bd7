"""Backend that drives a training core: the golden one, a simulated one, or a board.

Each product of a layer becomes commands on pieces of the operands
(:mod:`nibblegrad.golden.driver.layer_products`), which are issued so that loads overlap with
products (:mod:`nibblegrad.golden.driver.scheduler`). Of all ways to cut a product
(:mod:`nibblegrad.golden.driver.cuts`) the one is taken that the clock says is the fastest from here
on, and remembered. What fits is loaded once: weights for a whole step, activations for the forward
and the backward pass; and what the next layer needs comes while this one is multiplied.

A piece of a gradient that had to make room and is loaded again must get the random numbers that it
had at first; the generator is set back then. That happens only to a gradient that has no room as a
whole, in a layer whose weights are cut, too.
"""

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nibblegrad.golden.cores.fp4_quantizer import Fp4Mode
from nibblegrad.golden.driver.clock import Clock, Span
from nibblegrad.golden.driver.cuts import BackwardCut, Way, backward_cuts, fits_whole, forward_cuts
from nibblegrad.golden.driver.layer_products import LayerOperands, LayerProducts
from nibblegrad.golden.driver.pending_gradient import PendingGradient
from nibblegrad.golden.driver.scheduler import Issued, Scheduler
from nibblegrad.golden.driver.tiling import Operand, Product, Tile
from nibblegrad.golden.engine.command import Command, CoreSize, Store
from nibblegrad.golden.engine.device import Device
from nibblegrad.golden.engine.timing import TimingOnly
from nibblegrad.golden.errors import InputError
from nibblegrad.golden.numbers.formats import Scale
from nibblegrad.golden.training.conversions import (
    bias_integers,
    gradient_exponents,
    reciprocal_scale,
    section_rows,
    step_scale,
)
from nibblegrad.golden.training.gradient_recipe import GradientRecipe, check_core
from nibblegrad.golden.training.passes import Backend, Gradients

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
    span : Span
        When it should start and end.
    """

    layer: str
    number: int
    command: Command
    span: Span


#: How many ways to cut a product are tried, those that promise the most, and how many products in
#: all of them.
_TRIES = 24
_TRIED_PRODUCTS = 400


class DeviceBackend(Backend):
    """Training core as a :class:`nibblegrad.golden.training.passes.Backend`.

    Parameters
    ----------
    device : Device or TimingOnly
        The core; nobody else may use it. With the latter, results are not written.
    seed : int
        Seed of the random bits, as in :class:`nibblegrad.golden.training.backend.NumpyBackend`.

    Attributes
    ----------
    wide : FloatFormat
        Wide format of the core.
    log : list of Entry or None
        Set it to a list to have every product added.
    """

    def __init__(self, device: Device | TimingOnly, seed: int = 0) -> None:
        self.wide = device.size.wide_format
        self.log: list[Entry] | None = None
        self._size: CoreSize = device.size
        self._timing = device.timing
        real = None if isinstance(device, TimingOnly) else device
        self._scheduler = Scheduler(device.size, device.timing, real, seed)
        self._layers: dict[str, LayerOperands] = {}
        # Random word that the next gradient begins with.
        self._word = 0
        # The weight gradient that is under way.
        self._pending: PendingGradient | None = None
        # Cuts that were chosen, and those of the last pass of each layer.
        self._cuts: dict[Any, Any] = {}
        self._last_cuts: dict[tuple[str, str], Any] = {}

    def finish(self) -> None:
        """Wait until the core has done everything."""
        self._scheduler.finish()

    @property
    def clock(self) -> Clock:
        """The clock of the core and its host."""
        return self._scheduler.clock

    def _load_weights(self, layer: str, weights: npt.NDArray, step: float) -> None:
        if layer in self._layers:
            self._scheduler.drop(self._layers[layer].weights)
        operand = Operand(Store.WEIGHTS, weights, _scale_fields(reciprocal_scale(step)))
        self._layers[layer] = LayerOperands(operand, step)

    def _forward(
        self,
        layer: str,
        x: npt.NDArray,
        step: float,
        bias: npt.NDArray[np.float32] | None,
        *,
        relu: bool,
    ) -> npt.NDArray[np.float32]:
        state = self._layers[layer]
        self._scheduler.drop(state.activations)
        fields = {"signed_activations": False, **_scale_fields(reciprocal_scale(step))}
        state.activations = Operand(Store.ACTIVATIONS, x, fields)
        state.activation_step = step
        factor = step_scale(state.weight_step, step)
        biases = None
        if bias is not None:
            biases = Operand(Store.BIASES, bias_integers(layer, bias, factor)[None])
        output = np.empty((len(x), len(state.weights.matrix)), np.float32)
        last = {"relu": relu, "bias": bias is not None, **_scale_fields(factor)}
        make = self._products(state)
        cut = self._choose(
            ("forward", layer, state.shape, self._there(state)),
            lambda: forward_cuts(self._size, state.shape, self._timing.drain),
            lambda scheduler, cut: _last_end(
                scheduler.issue(make.forward(cut, biases, last, output))
            ),
        )
        self._last_cuts["forward", layer] = cut
        state.x_rows = len(x) if fits_whole(self._size, state.shape)[0] else cut.rows
        products = make.forward(cut, biases, last, output)
        issued = self._issue(layer, products, self._weights_after(layer))
        self._scheduler.drop(biases)
        self._scheduler.fetch(issued)
        return output

    def _backward(
        self,
        layer: str,
        output_gradient: npt.NDArray,
        recipe: GradientRecipe | None,
        *,
        want_input_gradient: bool,
        exponent: int | None,
    ) -> Gradients:
        if recipe is None:
            raise InputError(
                "A training core multiplies gradients in FP4 only; choose a recipe that does"
            )
        check_core(recipe, self._size)
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
        before, self._pending = self._pending, None
        if before and not before.has_activation_step:
            before.collect()
        make = self._products(state)
        fields = _scale_fields(input_factor) if want_input_gradient else {}
        to_stream = inputs if want_input_gradient else None

        busy = max(self.clock.array_free - max(self.clock.load_free, self.clock.now), 0)

        def products(cut: BackwardCut) -> tuple[list[Product], list[Product]]:
            """List the products up to the first weight gradient, and the others."""
            first_ones, *others = make.to_inputs(cut, first, fields, to_stream, busy)
            last_ones = make.to_weights(cut, second, _scale_fields(weight_factor), weights)
            if not cut.in_pairs:
                return _flat([first_ones, *others]), _flat(last_ones)
            return first_ones, _flat(_alternate(last_ones, others))

        cut = self._choose(
            ("backward", layer, state.shape, want_input_gradient, recipe, self._there(state)),
            lambda: backward_cuts(self._size, state.shape, state.x_rows, self._timing.drain),
            lambda scheduler, cut: self._backward_time(scheduler, layer, *products(cut)),
        )
        self._last_cuts["backward", layer] = cut
        # The input gradient begins while the weight gradient of the layer behind goes on. Its step
        # is read before this layer's weight gradient begins.
        head, tail = products(cut)
        issued = self._issue(layer, head, tail[0].tiles)
        if before:
            before.collect()
        issued += self._issue(layer, tail, self._operands_before(layer))
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

    def _end(self) -> None:
        if self._pending:
            self._pending.collect()

    def _names(self) -> list[str]:
        """Name the layers of the step, first layer first."""
        assert self._passes is not None, "there is a step while its layers go through"
        return self._passes.layers

    def _products(self, state: LayerOperands) -> LayerProducts:
        return LayerProducts(self._size, self._timing, state, self._scheduler.holds)

    def _choose(
        self,
        key: Any,
        list_ways: Callable[[], list[Way]],
        time: Callable[[Scheduler, Any], int],
    ) -> Any:
        """Choose the cut with which a pass should end first, and remember it."""
        if key in self._cuts:
            return self._cuts[key]
        ways = list_ways()
        best, least, products = ways[0].cut, None, 0
        for way in ways[:_TRIES]:
            products += way.products
            if len(ways) == 1 or products > _TRIED_PRODUCTS:
                break
            if least is not None and self.clock.now + way.bound >= least:
                continue
            end = time(self._scheduler.fork(), way.cut)
            if least is None or end < least:
                best, least = way.cut, end
        self._cuts[key] = best
        return best

    def _there(self, state: LayerOperands) -> tuple:
        """Tell what is in the core of the operands of a layer."""
        return self._scheduler.there([state.weights, state.activations])

    def _backward_time(self, scheduler, layer, head, tail) -> int:
        """Find when the products of a backward pass end, and the next one can begin."""
        issued = [*scheduler.issue(head, tail[0].tiles), *scheduler.issue(tail)]
        return _last_end(issued)

    def _gradient_operands(self, output_gradient, recipe, exponent) -> list[Operand]:
        """Operands of the two phases; the same one if the phases are the same."""
        operands = []
        for phase in dict.fromkeys(recipe.phases):
            fields = {
                "fp4_exponent": exponent,
                "phase": bool(phase),
                "stochastic": recipe.mode is Fp4Mode.STOCHASTIC,
            }
            operands.append(Operand(Store.GRADIENTS, output_gradient, fields, self._word))
        rows, outputs = output_gradient.shape
        self._word += rows * self._scheduler.row_words(outputs)
        return [operands[0], operands[-1]]

    def _weights_after(self, layer) -> list[Tile]:
        """Weights that the next layer needs first."""
        names, tiles = self._names(), []
        for name in names[names.index(layer) + 1 :][:1]:
            weights = self._layers[name].weights
            outputs, inputs = weights.matrix.shape
            cut = self._last_cuts.get(("forward", name))
            fits = self._size.blocks(outputs, inputs) <= self._size.weight_words
            rows = (0, cut.first_outputs if cut and not fits else outputs)
            columns = (0, min(cut.inputs, inputs) if cut else inputs)
            tiles.append(Tile(weights, rows, columns))
        return tiles

    def _operands_before(self, layer) -> list[Tile]:
        """Weights and activations that the layer before needs first in its backward pass."""
        names, tiles = self._names(), []
        for name in names[: names.index(layer)][-1:]:
            state, cut = self._layers[name], self._last_cuts.get(("backward", name))
            if cut is None or state.activations is None:
                continue
            tiles = self._products(state).first_operands(cut)
        return tiles

    def _issue(self, layer: str, products, following=()) -> list[Issued]:
        issued = self._scheduler.issue(products, following)
        if self.log is not None:
            self.log += [Entry(layer, p.number, p.command, p.span) for p in issued]
        return issued


def _last_end(issued: Sequence[Issued]) -> int:
    return max(product.span.out for product in issued)


def _flat(lists: Sequence[list]) -> list:
    return list(itertools.chain.from_iterable(lists))


def _alternate(*lists: list) -> list:
    """Take one of each list in turn; the first one is the longest."""
    return [item for items in itertools.zip_longest(*lists) for item in items if item]


def _scale_fields(scale: Scale) -> dict[str, int]:
    return {"significand": int(scale.significand), "exponent": int(scale.exponent)}
