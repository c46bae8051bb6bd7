"""Ways to cut a layer: all of it, in pieces that fit, and the best of them by the clock."""

import dataclasses

import numpy as np
import pytest

from golden import device_backend
from golden.command import CoreSize
from golden.cuts import (
    BackwardCut,
    ForwardCut,
    LayerShape,
    backward_cuts,
    forward_cuts,
)
from golden.cycles import least_cycles, step_cycles
from golden.errors import InputError
from golden.tiling import streamed_pieces
from golden.timing import CoreTiming

SIZE = CoreSize(activation_words=4096, weight_words=1024, gradient_words=4096, max_terms=2048)
LAYER = LayerShape(64, 128, 128)
TIMING = CoreTiming(write=3, response=5, check=19, load=20, restart=5, drain=48)


def test_what_fits_is_not_cut():
    for way in forward_cuts(SIZE, LAYER, 48):
        assert (way.cut.rows, way.cut.inputs, way.cut.outputs) == (64, 128, 128)
    (way,) = backward_cuts(SIZE, LAYER, 64, 48)
    assert way.cut == BackwardCut(64, 128, 128)


@pytest.mark.parametrize(
    "memory, words, cut",
    [
        # Blocks of 16: activations take 4 x 8 words, weights 8 x 8; two pieces at once have room.
        ("activation_words", 31, lambda cut: SIZE.blocks(cut.rows, cut.inputs) * 2 <= 31),
        ("weight_words", 63, lambda cut: SIZE.blocks(cut.outputs, cut.inputs) * 2 <= 63),
        # Gradients take 8 words for 16 rows; there is no room for two pieces, so that one must do.
        ("gradient_words", 8, lambda cut: cut.rows == 16),
        # Sums of 128 terms in two commands.
        ("max_terms", 100, lambda cut: cut.outputs <= 64),
    ],
)
def test_what_does_not_fit_is_cut(memory, words, cut):
    size = dataclasses.replace(SIZE, **{memory: words})
    assert cut(backward_cuts(size, LAYER, 64, 48)[0].cut)


def test_layer_that_does_not_fit():
    size = dataclasses.replace(SIZE, gradient_words=3)
    with pytest.raises(
        InputError,
        match=r"^A layer of 8 rows, 8 inputs and 64 outputs does not fit the training core however "
        r"it is cut; make gradient_words, partial_sum_strips or max_terms larger$",
    ):
        backward_cuts(size, LayerShape(8, 8, 64), 8, 48)


def test_first_piece_of_the_outputs_fits_the_biases():
    size = dataclasses.replace(SIZE, weight_words=64, bias_words=3)
    cuts = [way.cut for way in forward_cuts(size, LayerShape(64, 64, 512), 48)]
    assert cuts and all(cut.first_outputs <= 3 * size.columns for cut in cuts)


@pytest.mark.parametrize("busy", [0, 1000])
@pytest.mark.parametrize("count, load, work", [(1000, 8000, 2000), (1000, 2000, 8000), (17, 5, 5)])
def test_streamed_pieces(count, load, work, busy):
    pieces = streamed_pieces(16, count, load, work, (20, 8), busy)
    assert [begin for begin, _ in pieces] == [
        sum(n for _, n in pieces[:k]) for k in range(len(pieces))
    ]
    assert sum(n for _, n in pieces) == count
    assert all(begin % 16 == 0 for begin, _ in pieces)

    def end(sizes):
        loaded, ended = 0.0, float(busy)
        for n in sizes:
            loaded += load * n / count + 20
            ended = max(ended, loaded) + work * n / count + 8
        return ended

    sizes = [n for _, n in pieces]
    # No worse than the whole, or than equal pieces of any size.
    for step in range(16, count + 16, 16):
        equal = [min(step, count - k) for k in range(0, count, step)]
        assert end(sizes) <= 1.02 * end(equal) + 16, (sizes, equal)
    if len(sizes) > 2 and not busy:
        small, large = (sizes[-1], sizes[0]) if load > work else (sizes[0], sizes[-2])
        assert small < large


def test_the_way_that_ends_first_is_taken(monkeypatch):
    """Trying all ways makes a step no faster."""
    size = dataclasses.replace(SIZE, activation_words=200, weight_words=60, gradient_words=300)
    rng = np.random.default_rng(3)
    for _ in range(4):
        layers = {"layer": LayerShape(*(int(n) for n in rng.integers(100, 400, 3)))}
        chosen = step_cycles(size, TIMING, layers).cycles
        monkeypatch.setattr(device_backend, "_TRIES", 1000)
        monkeypatch.setattr(device_backend, "_TRIED_PRODUCTS", 10**9)
        best = step_cycles(size, TIMING, layers).cycles
        monkeypatch.undo()
        assert least_cycles(size, layers) <= best <= chosen <= 1.05 * best


def test_rows_outside_or_inside():
    """Whichever operand has no room as a whole comes once, if the other one has."""
    size = dataclasses.replace(SIZE, weight_words=20)
    cuts = {way.cut for way in forward_cuts(size, LAYER, 48)}
    assert all(cut.rows == 64 for cut in cuts)
    size = dataclasses.replace(SIZE, activation_words=20)
    cuts = {way.cut for way in forward_cuts(size, LAYER, 48)}
    assert ForwardCut(32, 128, 128, 128) in cuts
    assert all(cut.rows < 64 or cut.inputs < 128 for cut in cuts)
