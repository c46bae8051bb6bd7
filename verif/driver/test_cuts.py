"""Ways to cut a layer: all of it, in pieces that fit, and the best of them by the clock."""

import dataclasses

import numpy as np
import pytest

from nibblegrad.golden.driver import device_backend
from nibblegrad.golden.driver.cuts import ForwardCut, LayerShape, backward_cuts, forward_cuts
from nibblegrad.golden.driver.cycles import dense_layers, least_cycles, step_cycles
from nibblegrad.golden.driver.layer_products import LayerOperands, LayerProducts
from nibblegrad.golden.driver.scheduler import Scheduler
from nibblegrad.golden.driver.tiling import Operand, streamed_pieces
from nibblegrad.golden.engine.command import CoreSize, Store
from nibblegrad.golden.engine.timing import CoreTiming
from nibblegrad.golden.errors import InputError

SIZE = CoreSize(activation_words=4096, weight_words=1024, gradient_words=4096, max_terms=2048)
LAYER = LayerShape(64, 128, 128)
TIMING = CoreTiming(write=3, response=5, check=19, load=20, restart=5, drain=48)


def test_what_fits_is_loaded_once():
    """However its products are cut: what has room is one tile, of which they use parts."""
    ways = forward_cuts(SIZE, LAYER, 48)
    assert len({(way.cut.rows, way.cut.outputs) for way in ways}) > 4
    zeros = np.zeros((128, 128), np.float32)
    for way in ways:
        layer = LayerOperands(Operand(Store.WEIGHTS, zeros), 1.0)
        layer.activations = Operand(Store.ACTIVATIONS, zeros[:64])
        products = LayerProducts(SIZE, TIMING, layer, lambda tile: False)
        scheduler = Scheduler(SIZE, TIMING, None, 0)
        scheduler.clock.spans = []
        scheduler.issue(products.forward(way.cut, None, {}, np.empty((64, 128), np.float32)))
        commands = [span.command for span in scheduler.clock.spans]
        beats = sum(SIZE.beats(each) for each in commands if each.is_load)
        assert beats == (64 + 128) * 128 // SIZE.load_lanes, way
    step = step_cycles(SIZE, TIMING, {"layer": LAYER}, without_bias=["layer"])
    assert sum(each.beats for each in step.passes) == (64 + 128 + 64) * 128 // SIZE.load_lanes


def test_more_memory_is_not_slower():
    """Whatever fits: a step on twice the memory takes no more cycles, but for a few."""
    rng = np.random.default_rng(11)
    for _ in range(30):
        rows, columns, lanes = (int(2**n) for n in rng.integers(2, 5, 3))
        memories = ("activation_words", "weight_words", "gradient_words")
        words = {name: int(2 ** rng.integers(7, 12)) for name in memories}
        small = dataclasses.replace(SIZE, rows=rows, columns=columns, lanes=lanes, **words)
        large = dataclasses.replace(small, **{name: 2 * n for name, n in words.items()})
        batch, *features = (int(n) for n in 2 ** rng.uniform(3, 9, rng.integers(3, 6)))
        layers = dense_layers(features, batch)
        before, after = (step_cycles(size, TIMING, layers).cycles for size in (small, large))
        assert after <= 1.02 * before, (small, layers)


@pytest.mark.parametrize(
    "memory, words, fits",
    [
        # Blocks of 16: activations take 4 x 8 words, weights 8 x 8.
        ("activation_words", 31, lambda cut: SIZE.blocks(cut.rows, cut.inputs) <= 31),
        ("weight_words", 63, lambda cut: SIZE.blocks(cut.outputs, cut.inputs) <= 63),
        # Gradients, which come in whole rows, take 8 words for 16 of them.
        ("gradient_words", 8, lambda cut: cut.rows == 16),
        # Sums of 128 terms in two commands.
        ("max_terms", 100, lambda cut: cut.outputs <= 100 and cut.rows <= 100),
    ],
)
def test_what_does_not_fit_is_cut(memory, words, fits):
    size = dataclasses.replace(SIZE, **{memory: words})
    ways = backward_cuts(size, LAYER, 64, 48)
    assert len(ways) > 4 and all(fits(way.cut) for way in ways)


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


def test_either_operand_can_stay():
    """Pieces of the one pass by the other one, if that has room as a whole."""
    size = dataclasses.replace(SIZE, weight_words=20)
    cuts = {way.cut for way in forward_cuts(size, LAYER, 48)}
    assert ForwardCut(64, 128, 32, 32) in cuts
    assert all(cut.outputs < 128 or cut.inputs < 128 for cut in cuts)
    size = dataclasses.replace(SIZE, activation_words=20)
    cuts = {way.cut for way in forward_cuts(size, LAYER, 48)}
    assert ForwardCut(32, 128, 128, 128) in cuts
    assert all(cut.rows < 64 or cut.inputs < 128 for cut in cuts)
