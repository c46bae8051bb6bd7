"""A step of a backend: its passes in order, numbers rounded at its door, and nothing left over."""

import contextlib
import re

import numpy as np
import pytest

from nibblegrad.golden.cores.stochastic_rounder import round_float
from nibblegrad.golden.driver.device_backend import DeviceBackend
from nibblegrad.golden.engine.command import CoreSize
from nibblegrad.golden.engine.training_core import TrainingCore
from nibblegrad.golden.errors import InputError
from nibblegrad.golden.numbers.formats import BFLOAT16
from nibblegrad.golden.training.backend import NumpyBackend
from nibblegrad.golden.training.methods import RECIPES
from nibblegrad.golden.training.operations import RecordingOperations
from nibblegrad.golden.training.passes import Weights

RECIPE = RECIPES["luq"].gradient
SIZES = {"first": (6, 5), "second": (5, 4), "third": (4, 3)}
ROWS = 8
MAKERS = {"NumPy": NumpyBackend, "core": lambda: DeviceBackend(TrainingCore(CoreSize()))}
BOTH = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)


def numbers(*shape, seed=1):
    return np.random.default_rng(seed).random(shape).astype(np.float32)


def begin(backend):
    return backend.begin(
        {name: Weights(numbers(*shape[::-1]) - 0.5, 0.1) for name, shape in SIZES.items()}
    )


def forward(passes, *names):
    return [
        passes.forward(name, numbers(ROWS, SIZES[name][0]), 0.1, None, relu=False) for name in names
    ]


def backward(passes, *names):
    return [passes.backward(name, numbers(ROWS, SIZES[name][1]) - 0.5, RECIPE) for name in names]


UPON = {
    "forward, not the first": (
        lambda p: forward(p, "second"),
        "Layer second cannot go forward before first",
    ),
    "forward, one left out": (
        lambda p: forward(p, "first", "third"),
        "Layer third cannot go forward before second",
    ),
    "forward, twice": (
        lambda p: forward(p, "first", "first"),
        "Layer first cannot go forward before second",
    ),
    "forward, unknown": (
        lambda p: p.forward("fourth", numbers(2, 2), 0.1, None, relu=False),
        "Layer fourth cannot go forward in a step that began without its weights; it has first, "
        "second, third",
    ),
    "backward at once": (
        lambda p: backward(p, "third"),
        "Layer third cannot go backward before every layer has gone forward, and first has not",
    ),
    "backward too early": (
        lambda p: (forward(p, "first", "second"), backward(p, "second")),
        "Layer second cannot go backward before every layer has gone forward, and third has not",
    ),
    "backward from the front": (
        lambda p: (forward(p, *SIZES), backward(p, "first")),
        "Layer first cannot go backward before third",
    ),
    "backward, unknown": (
        lambda p: (forward(p, *SIZES), p.backward("fourth", numbers(2, 2), RECIPE)),
        "Layer fourth cannot go backward in a step that began without its weights; it has first, "
        "second, third",
    ),
    "backward once more": (
        lambda p: (forward(p, *SIZES), backward(p, "third", "second", "first", "third")),
        "Layer third cannot go backward twice in a step; end this one and begin another",
    ),
    "forward after backward": (
        lambda p: (forward(p, *SIZES), backward(p, "third"), forward(p, "first")),
        "Layer first cannot go forward once the backward passes have begun; end this step and "
        "begin another one",
    ),
    "forward after the end": (
        lambda p: (p.end(), forward(p, "first")),
        "Layer first cannot go forward in a step that has ended; begin another one",
    ),
    "backward after the end": (
        lambda p: (forward(p, *SIZES), p.end(), backward(p, "third")),
        "Layer third cannot go backward in a step that has ended; begin another one",
    ),
}


@BOTH
@pytest.mark.parametrize("order", UPON)
def test_a_wrong_order_is_refused(order, make):
    act, sentence = UPON[order]
    with pytest.raises(InputError, match=f"^{re.escape(sentence)}$"):
        act(begin(make()))


@BOTH
def test_one_step_at_a_time(make):
    backend = make()
    passes = begin(backend)
    with pytest.raises(
        InputError, match=r"^A step is under way; end it before another one begins$"
    ):
        begin(backend)
    passes.end()
    begin(backend)


@BOTH
def test_a_step_that_fails_makes_room_for_another(make):
    backend = make()
    with contextlib.suppress(InputError), begin(backend) as passes:
        outputs = forward(passes, *SIZES)
        backward(passes, "third")
        passes.backward("second", np.full((ROWS, 4), np.nan), RECIPE)
    assert passes.has_ended
    with begin(backend) as passes:
        again = forward(passes, *SIZES)
        gradients = backward(passes, *reversed(SIZES))
    assert all(np.array_equal(*pair) for pair in zip(outputs, again, strict=True))
    assert all(gradient.weights.any() for gradient in gradients)


@BOTH
def test_all_layers_may_go_forward_again_before_any_goes_backward(make):
    with begin(make()) as passes:
        first, second = forward(passes, *SIZES), forward(passes, *SIZES)
        backward(passes, *reversed(SIZES))
    assert all(np.array_equal(*pair) for pair in zip(first, second, strict=True))


def test_the_end_waits_for_the_core():
    backend = DeviceBackend(TrainingCore(CoreSize()))
    with begin(backend) as passes:
        forward(passes, *SIZES)
        gradients = backward(passes, *reversed(SIZES))
        assert not backend._pending.is_collected
    assert backend._pending.is_collected
    expected = NumpyBackend()
    with begin(expected) as passes:
        forward(passes, *SIZES)
        for mine, theirs in zip(gradients, backward(passes, *reversed(SIZES)), strict=True):
            for key in ("inputs", "weights", "activation_step", "weight_step"):
                assert np.array_equal(getattr(mine, key), getattr(theirs, key))


def test_what_goes_in_is_rounded():
    """Weights, activations and gradients of full precision; straight through nothing is."""
    operations = RecordingOperations()
    backend = NumpyBackend(operations=operations)
    given = {
        "layer.weights": numbers(3, 4),
        "layer.activations": numbers(ROWS, 4),
        "layer.output_gradient": numbers(ROWS, 3, seed=2),
    }
    weights, x, gradient = given.values()
    with backend.begin({"layer": Weights(weights, 0.1)}) as passes:
        passes.forward("layer", x, 0.1, None, relu=False)
        passes.backward("layer", gradient, RECIPE)
    seen = {call.tensor: call.arguments["x"] for call in operations.calls if "x" in call.arguments}
    for name, value in given.items():
        rounded = round_float(value, BFLOAT16).values
        assert not np.array_equal(rounded, value)
        assert np.array_equal(seen[name], rounded)
        assert np.array_equal(passes.to_wide(name, value), rounded)
    with backend.begin({"layer": Weights(weights, 0.1)}) as passes:
        passes.forward("layer", x, 0.1, None, relu=False)
        straight = passes.backward("layer", gradient, None)
    codes, _ = backend._weights["layer"]
    inside = backend._activations["layer"][0].in_range
    expected = gradient @ (codes.codes * np.float32(0.1)) * inside
    assert np.array_equal(straight.inputs, expected)
