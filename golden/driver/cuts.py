"""Ways to cut the products of a layer so that their operands fit the memories of a training core.

The operands of a layer, X (rows, inputs), W (outputs, inputs) and dY (rows, outputs), are cut along
the three axes. A product of whole operands is then a sum of products of pieces: along its inner
axis the pieces go through the partial sums of the core, which are exact, so the result does not
depend on the cuts.

X and W are loaded piece by piece. Forward, what has room as a whole stays one tile, and products
use parts of it, so that the backward pass finds it there. dY is loaded in whole rows, as its random
numbers come row by row; a piece of its columns is used in place. For that its words must lie side
by side in the memory: where outputs are cut, a piece has at most ``block`` rows.

Each way has a bound: cycles that it takes at least, whatever the order of its commands. Those that
promise the most come first: a low bound, and few products.
"""

import functools
import itertools
import math
from dataclasses import dataclass

from nibblegrad.golden.engine.command import Command, CoreSize, Operation
from nibblegrad.golden.errors import InputError
from nibblegrad.golden.training.conversions import section_rows

__all__ = [
    "BackwardCut",
    "Cut",
    "ForwardCut",
    "LayerShape",
    "Way",
    "backward_cuts",
    "fits_whole",
    "forward_cuts",
]

_GREATEST_SIZE = (1 << 16) - 1
#: Into how many pieces an axis is cut; where these do not fit, into twice as many, and so on.
_PARTS = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16)


@dataclass(frozen=True)
class LayerShape:
    """Sizes of a layer.

    Parameters
    ----------
    rows, inputs, outputs : int
        X is (rows, inputs), W (outputs, inputs), dY (rows, outputs).
    """

    rows: int
    inputs: int
    outputs: int


@dataclass(frozen=True)
class Cut:
    """Pieces of the products of a pass.

    Parameters
    ----------
    rows, inputs, outputs : int
        Greatest sizes of a piece, multiples of ``block`` where there are several.
    """

    rows: int
    inputs: int
    outputs: int


@dataclass(frozen=True)
class ForwardCut(Cut):
    """A way to cut the forward product.

    Parameters
    ----------
    first_outputs : int
        Size of the first piece of the outputs.
    rows_outside : bool
        Whether all outputs of some rows come before the next rows, or all rows of some outputs.
    stream_rows : bool
        Whether the first products begin with some rows of X, or with some rows of W, while the
        others are still loaded.
    """

    first_outputs: int
    rows_outside: bool = True
    stream_rows: bool = True


@dataclass(frozen=True)
class BackwardCut(Cut):
    """A way to cut the two products of the backward pass.

    Parameters
    ----------
    in_pairs : bool
        Whether both products of a piece come before the next piece.
    """

    in_pairs: bool = False


@dataclass(frozen=True)
class Way:
    """A way to cut the products of a pass.

    Attributes
    ----------
    cut : Cut
        How to cut them.
    bound : int
        Cycles that it takes at least.
    estimate : int
        Cycles that it takes about, beside those of each product.
    products : int
        About how many products it makes.
    """

    cut: Cut
    bound: int
    estimate: int
    products: int


def forward_cuts(size: CoreSize, shape: LayerShape, command: int) -> list[Way]:
    """List the ways to cut a forward product, those first that promise the most.

    Parameters
    ----------
    size : CoreSize
        Parameters of the core.
    shape : LayerShape
        Sizes of the layer.
    command : int
        Cycles that a product takes about beside those of its bound.

    Raises
    ------
    InputError
        If the layer does not fit however it is cut.
    """
    rows, inputs, outputs = shape.rows, shape.inputs, shape.outputs
    cuts = set()
    for row_step, input_step, output_step in _tilings(size, shape, _fits_forward):
        cuts_rows, cuts_outputs = row_step < rows, output_step < outputs
        firsts = {output_step}
        if cuts_outputs and input_step == inputs:
            # Behind a larger first piece there must be room for another one.
            free = size.weight_words - size.blocks(output_step, inputs)
            most = free // size.blocks(1, inputs) * size.block
            firsts |= {
                first
                for first in (2 * output_step, most)
                if output_step < first <= most
                and _fits_forward(size, shape, row_step, input_step, min(first, outputs))
            }
        orders = (True, False) if cuts_rows and cuts_outputs else (True,)
        for first, outside, stream in itertools.product(firsts, orders, (True, False)):
            first = min(first, outputs)
            cuts.add(ForwardCut(row_step, input_step, output_step, first, outside, stream))
    return _sorted([_forward_way(size, shape, cut) for cut in cuts], shape, command)


def backward_cuts(size: CoreSize, shape: LayerShape, x_rows: int, command: int) -> list[Way]:
    """List the ways to cut the products of a backward pass, those first that promise the most.

    Parameters
    ----------
    size : CoreSize
        Parameters of the core.
    shape : LayerShape
        Sizes of the layer.
    x_rows : int
        Rows of the pieces of X in the forward pass, which may still be there.
    command : int
        Cycles that a product takes about beside those of its bound.

    Raises
    ------
    InputError
        If the layer does not fit however it is cut.
    """
    cuts = set()
    # Pieces of a section have about the same sizes, too.
    more = [x_rows]
    if shape.rows > section_rows(size.fmt):
        more += _steps(size, section_rows(size.fmt))
    for row_step, input_step, output_step in _tilings(size, shape, _fits_backward, *more):
        cuts_rows, cuts_inputs = row_step < shape.rows, input_step < shape.inputs
        can_pair = output_step == shape.outputs and cuts_rows != cuts_inputs
        for in_pairs in (True, False) if can_pair else (False,):
            cuts.add(BackwardCut(row_step, input_step, output_step, in_pairs))
    return _sorted([_backward_way(size, shape, cut, x_rows) for cut in cuts], shape, command)


def _sorted(ways, shape, command):
    if not ways:
        raise InputError(
            f"A layer of {shape.rows} rows, {shape.inputs} inputs and {shape.outputs} outputs does "
            f"not fit the training core however it is cut; make gradient_words, "
            f"partial_sum_strips or max_terms larger"
        )
    # The order must not depend on that of a set.
    return sorted(ways, key=lambda way: (way.estimate + command * way.products, str(way.cut)))


def _tilings(size, shape, fits, *more_rows) -> list[tuple[int, int, int]]:
    """List the sizes of pieces that fit."""
    rows, inputs, outputs = shape.rows, shape.inputs, shape.outputs
    row_steps, input_steps, output_steps = (_steps(size, n) for n in (rows, inputs, outputs))
    row_steps = sorted({*row_steps, *(min(more, rows) for more in more_rows)}, reverse=True)
    return [
        steps
        for steps in itertools.product(row_steps, input_steps, output_steps)
        if fits(size, shape, *steps)
    ]


def _steps(size, count) -> list[int]:
    """Sizes of pieces to choose from, the whole first: multiples of a block, about equal."""
    blocks = -(-count // size.block)
    parts = itertools.chain(_PARTS, (16 << k for k in itertools.count(1)))
    steps = [count]
    for pieces in itertools.takewhile(lambda pieces: pieces < 2 * blocks, parts):
        step = -(-blocks // min(pieces, blocks)) * size.block
        if step < steps[-1]:
            steps.append(step)
    return steps


def _counts(shape, rows, inputs, outputs):
    return -(-shape.rows // rows), -(-shape.inputs // inputs), -(-shape.outputs // outputs)


def _fits_forward(size, shape, rows, inputs, outputs):
    _, input_cuts, _ = _counts(shape, rows, inputs, outputs)
    return (
        max(rows, inputs, outputs) <= _GREATEST_SIZE
        and inputs <= size.max_terms
        and shape.inputs <= size.chain_terms
        and size.blocks(rows, inputs) <= size.activation_words
        and size.blocks(outputs, inputs) <= size.weight_words
        and -(-outputs // size.columns) <= size.bias_words
        and (input_cuts == 1 or rows * -(-outputs // size.columns) <= size.partial_sum_strips)
    )


def _fits_backward(size, shape, rows, inputs, outputs):
    row_cuts, _, output_cuts = _counts(shape, rows, inputs, outputs)
    across = -(-inputs // size.rows)
    section = section_rows(size.fmt)
    return (
        max(rows, inputs, outputs) <= _GREATEST_SIZE
        and max(rows, outputs) <= size.max_terms
        and shape.outputs <= size.chain_terms
        and size.blocks(rows, inputs) <= size.activation_words
        and size.blocks(outputs, inputs) <= size.weight_words
        and size.blocks(rows, shape.outputs) <= size.gradient_words
        and (output_cuts == 1 or rows <= size.block)
        and (shape.rows <= section or section % rows == 0)
        and (output_cuts == 1 or rows * across <= size.partial_sum_strips)
        and (row_cuts == 1 or outputs * across <= size.partial_sum_strips)
    )


def _forward_way(size, shape, cut):
    row_cuts, input_cuts, output_cuts = _counts(shape, cut.rows, cut.inputs, cut.outputs)
    x, w = _beats(size, shape.rows, shape.inputs), _beats(size, shape.outputs, shape.inputs)
    keeps_x, keeps_w = whole_x, whole_w = fits_whole(size, shape)
    # What is outside stays, if all its terms fit; what is inside comes again for each of these.
    if cut.rows_outside or row_cuts == 1:
        keeps_x |= size.blocks(cut.rows, shape.inputs) <= size.activation_words
    else:
        keeps_w |= size.blocks(cut.outputs, shape.inputs) <= size.weight_words
    bound = x + w
    x *= 1 if keeps_x else output_cuts
    w *= 1 if keeps_w else row_cuts
    array = _array(size, shape, cut.rows, cut.inputs, cut.outputs, Operation.FORWARD)
    # A piece can be loaded beside the one that is used.
    x_twice = whole_x or 2 * _words(size, cut.rows, cut) <= size.activation_words
    second = size.blocks(cut.outputs, cut.inputs)
    w_twice = whole_w or (
        max(size.blocks(cut.first_outputs, cut.inputs), second) + second <= size.weight_words
    )
    alone = (not x_twice) * x + (not w_twice) * w
    estimate = alone + max(x + w - alone, array)
    return Way(cut, max(bound, array), estimate, row_cuts * input_cuts * output_cuts)


def _backward_way(size, shape, cut, x_rows):
    row_cuts, input_cuts, output_cuts = _counts(shape, cut.rows, cut.inputs, cut.outputs)
    x, w = _beats(size, shape.rows, shape.inputs), _beats(size, shape.outputs, shape.inputs)
    dy = bound = _beats(size, shape.rows, shape.outputs) * size.fmt.phases
    whole_x, whole_w = fits_whole(size, shape)
    # The pieces of the forward pass may be there still, if these are the same.
    keeps_x = whole_x and (cut.rows, cut.inputs) == (x_rows, shape.inputs)
    keeps_w = whole_w and (cut.outputs, cut.inputs) == (shape.outputs, shape.inputs)
    keeps_dy = size.blocks(shape.rows, shape.outputs) <= size.gradient_words
    if not cut.in_pairs:
        # Masks of the one product, operands of the other one, in pieces of the result.
        x *= 1 if whole_x else 1 + output_cuts
        w *= 1 if whole_w else 1 + row_cuts
        dy *= 1 if keeps_dy else 1 + output_cuts * input_cuts
    x *= not keeps_x
    w *= not keeps_w
    array = sum(
        _array(size, shape, cut.rows, cut.inputs, cut.outputs, operation)
        for operation in (Operation.INPUT_GRADIENT, Operation.WEIGHT_GRADIENT)
    )
    x_twice = whole_x or 2 * _words(size, cut.rows, cut) <= size.activation_words
    w_twice = whole_w or 2 * _words(size, cut.outputs, cut) <= size.weight_words
    dy_twice = keeps_dy or 2 * size.blocks(cut.rows, shape.outputs) <= size.gradient_words
    alone = (not x_twice) * x + (not w_twice) * w + (not dy_twice) * dy
    estimate = alone + max(x + w + dy - alone, array)
    return Way(cut, max(bound, array), estimate, 2 * row_cuts * input_cuts * output_cuts)


def fits_whole(size: CoreSize, shape: LayerShape) -> tuple[bool, bool]:
    """Tell whether X and W fit the memories as a whole."""
    return (
        size.blocks(shape.rows, shape.inputs) <= size.activation_words,
        size.blocks(shape.outputs, shape.inputs) <= size.weight_words,
    )


def _words(size, rows, cut):
    return size.blocks(rows, cut.inputs)


def _beats(size, rows, columns):
    return rows * -(-columns // size.load_lanes)


# Many cuts have the same pieces, in another order.
@functools.lru_cache(maxsize=1 << 14)
def _array(size, shape, rows, inputs, outputs, operation):
    """Count the cycles in which the array, or the way out of it, is needed."""
    axes = ((shape.rows, rows), (shape.inputs, inputs), (shape.outputs, outputs))
    total = 0
    for pieces in itertools.product(*(_pieces(count, step) for count, step in axes)):
        counts, sizes = zip(*pieces, strict=True)
        command = Command(operation, *sizes)
        total += math.prod(counts) * max(size.passes(command), size.strips(command))
    return total


def _pieces(count, step):
    """List how many pieces of an axis there are of each size."""
    whole, rest = divmod(count, step)
    return [(n, k) for n, k in ((whole, step), (1, rest)) if n and k]
