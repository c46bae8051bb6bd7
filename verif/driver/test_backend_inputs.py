"""What comes to a backend, of every kind: the core and NumPy make the same bits of it, or refuse it
by the same sentence."""

import dataclasses
import re

import numpy as np
import pytest

from nibblegrad.golden.driver.device_backend import DeviceBackend
from nibblegrad.golden.engine.command import CoreSize
from nibblegrad.golden.engine.training_core import TrainingCore
from nibblegrad.golden.errors import InputError
from nibblegrad.golden.numbers.formats import WIDE_FORMATS
from nibblegrad.golden.training.backend import NumpyBackend
from nibblegrad.golden.training.data import Dataset
from nibblegrad.golden.training.networks import Settings
from nibblegrad.golden.training.passes import Weights
from nibblegrad.golden.training.trainer import RECIPES, Trainer

SEED = 5
ROWS, INPUTS, OUTPUTS = 9, 6, 5
SIZE = CoreSize(rows=2, columns=4, lanes=4, max_terms=256)


def backends(wide, recipe):
    size = dataclasses.replace(SIZE, wide_format=wide, fmt=recipe.gradient.fmt)
    return (
        NumpyBackend(wide, size.load_lanes, SEED, residual_bits=size.residual_bits),
        DeviceBackend(TrainingCore(size), SEED),
    )


def numbers(shape, seed=1, spread=1.0):
    """Floats of full precision, which no wide format but float32 has."""
    return np.random.default_rng(seed).normal(0, spread, shape)


def outcome(backend, recipe, weights, x, bias, gradient, steps, relu):
    """Bytes of all that a backend gives, or why it refuses."""
    try:
        with backend.begin({"first": Weights(weights, steps[0])}) as passes:
            output = passes.forward("first", x, steps[1], bias, relu=relu)
            found = passes.backward("first", gradient, recipe.gradient)
        return [
            (array.dtype, array.shape, array.tobytes())
            for array in (output, found.inputs, found.weights)
        ] + [found.activation_step, found.weight_step]
    except InputError as error:
        return str(error)


def with_number(array, number):
    changed = array.copy()
    changed[1, 2] = number
    return changed


SITUATION = {
    "weights": numbers((OUTPUTS, INPUTS), 1, 0.3),
    "x": np.abs(numbers((ROWS, INPUTS), 2)),
    "bias": numbers(OUTPUTS, 3, 0.1).astype(np.float32),
    "gradient": numbers((ROWS, OUTPUTS), 4, 0.01),
    "steps": (0.1, 0.15),
    "relu": True,
}
BEYOND = {key: SITUATION[key] for key in ("weights", "x", "gradient")}

# Changes to the situation, and what is said if they are refused.
TAKEN = {
    "float64": {},
    "float32": {key: value.astype(np.float32) for key, value in BEYOND.items()},
    "float16": {key: value.astype(np.float16) for key, value in BEYOND.items()},
    "big-endian": {key: value.astype(">f4") for key, value in BEYOND.items()},
    "integers": {
        "x": np.arange(ROWS * INPUTS).reshape(ROWS, INPUTS),
        "weights": np.arange(OUTPUTS * INPUTS, dtype=np.int8).reshape(OUTPUTS, INPUTS) - 9,
        "steps": (1.5, 2.25),
    },
    "bytes": {"x": np.full((ROWS, INPUTS), 7, np.uint8), "steps": (0.1, 1.0)},
    "negative": {"x": -BEYOND["x"]},
    "minus zero": {key: -0.0 * value for key, value in BEYOND.items()},
    "zeros": {key: 0.0 * value for key, value in BEYOND.items()},
    "columns first": {key: np.asfortranarray(value) for key, value in BEYOND.items()},
    "strided": {
        key: np.repeat(np.repeat(value.astype(np.float32), 2, 0), 3, 1)[::2, ::3]
        for key, value in BEYOND.items()
    },
    "backwards": {key: value[::-1, ::-1] for key, value in BEYOND.items()},
    "read only": {key: np.broadcast_to(value[:1], value.shape) for key, value in BEYOND.items()},
    "one row": {"x": BEYOND["x"][:1], "gradient": BEYOND["gradient"][:1]},
    "one input": {"x": BEYOND["x"][:, :1], "weights": BEYOND["weights"][:, :1]},
    "one output": {
        "weights": BEYOND["weights"][:1],
        "gradient": BEYOND["gradient"][:, :1],
        "bias": SITUATION["bias"][:1],
    },
    "no bias, no ReLU": {"bias": None, "relu": False},
    "bias of float64": {"bias": SITUATION["bias"].astype(np.float64)[::-1]},
    "great bias": {"bias": np.full(OUTPUTS, -(2.0**31) * 0.015 * (1 - 2.0**-10))},
    "saturating": {"x": 1000 * BEYOND["x"], "weights": 1000 * BEYOND["weights"]},
    "tiny": {key: value * 2.0**-100 for key, value in BEYOND.items()} | {"bias": None},
    "below everything": {"x": BEYOND["x"] * 1e-300, "gradient": BEYOND["gradient"] * 1e-300},
    "great gradient": {"gradient": 1e4 * BEYOND["gradient"]},
}
REFUSED = {
    "NaN in x": (
        {"x": with_number(BEYOND["x"], np.nan)},
        r"must be finite, and element \(1, 2\) is nan",
    ),
    "infinite weight": (
        {"weights": with_number(BEYOND["weights"], -np.inf)},
        r"must be finite, and element \(1, 2\) is -inf",
    ),
    "NaN in the gradient": (
        {"gradient": with_number(BEYOND["gradient"], np.nan)},
        r"must be finite, and element \(1, 2\) is nan",
    ),
    "beyond the format": (
        {"x": with_number(BEYOND["x"], 1e39)},
        r"must be at most [\d.e+]+, the largest number of \w+, and element \(1, 2\) is 1e\+39",
    ),
    "no rows": ({"x": BEYOND["x"][:0]}, r"must have at least one element, not shape \(0, 6\)"),
    "bias beyond 32 bits": (
        {"bias": np.full(OUTPUTS, 2.0**31)},
        "Biases of first must fit 32 bits in units of the sums",
    ),
    "bias that is NaN": (
        {"bias": np.full(OUTPUTS, np.nan)},
        "Biases of first must fit 32 bits in units of the sums",
    ),
    "step 0": ({"steps": (0.1, 0.0)}, r"Step size must be a positive finite number, not 0\.0"),
    "step NaN": ({"steps": (np.nan, 1.0)}, "Step size must be a positive finite number, not nan"),
    "step out of range": ({"steps": (1e-40, 1.0)}, "Scale exponent must be -128 to 127, not .*"),
}  # fmt: skip


@pytest.mark.parametrize("recipe", ["luq", "two_phase"])
@pytest.mark.parametrize("wide", WIDE_FORMATS.values(), ids=WIDE_FORMATS)
@pytest.mark.parametrize("kind", TAKEN)
def test_same_bits_of_every_kind_of_input(kind, wide, recipe):
    recipe = RECIPES[recipe]
    inputs = {**SITUATION, **TAKEN[kind]}
    first, second = (outcome(each, recipe, **inputs) for each in backends(wide, recipe))
    assert not isinstance(first, str), first
    assert first == second


@pytest.mark.parametrize("wide", WIDE_FORMATS.values(), ids=WIDE_FORMATS)
@pytest.mark.parametrize("kind", REFUSED)
def test_same_sentence(kind, wide):
    change, sentence = REFUSED[kind]
    inputs = {**SITUATION, **change}
    recipe = RECIPES["luq"]
    first, second = (outcome(each, recipe, **inputs) for each in backends(wide, recipe))
    assert first == second
    assert isinstance(first, str) and re.search(f"{sentence}$", first), first


def data_sets():
    """Sets of floats as Python may give them to a trainer, with test rows far outside."""
    labels = np.arange(40) % 3
    pixels = np.random.default_rng(7).random((40, 36)) / 3
    yield "images", Dataset(pixels, labels, -9 * pixels, labels, 3, (6, 6, 1))
    table = numbers((40, 6), 8) * [1, 1e30, 1e-30, 1e300, 0, 7]
    yield "own units", Dataset(table, labels, 1e6 * table, labels, 3, own_units=True)
    yield "shared units", Dataset(np.float32(pixels), labels, pixels * 1e5, labels, 3)


SETS = dict(data_sets())


@pytest.mark.parametrize("wide", WIDE_FORMATS.values(), ids=WIDE_FORMATS)
@pytest.mark.parametrize("recipe", ["luq", "two_phase"])
@pytest.mark.parametrize("network, kind", [("cnn", "images"), *(("mlp", kind) for kind in SETS)])
def test_same_training_on_floats(network, kind, recipe, wide):
    dataset = SETS[kind]
    settings = Settings(network=network, hidden=(8,), channels=(2,), batch=16, epochs=1)
    recipe = RECIPES[recipe]
    runs = [Trainer(recipe, dataset, settings, SEED, backend) for backend in backends(wide, recipe)]
    histories = [run.run() for run in runs]
    assert histories[0] == histories[1]
    first, second = (run.parameters() for run in runs)
    for name, value in first.items():
        assert np.isfinite(value).all() and value.tobytes() == second[name].tobytes(), name
