"""Random networks on cores of random sizes: NumPy's bits, and no races, whatever has to be cut."""

import itertools

import numpy as np
import pytest

from nibblegrad.golden.driver.cycles import core_recipe, dense_layers
from nibblegrad.golden.driver.device_backend import DeviceBackend
from nibblegrad.golden.engine.command import CoreSize
from nibblegrad.golden.engine.timing import CoreTiming
from nibblegrad.golden.errors import InputError
from nibblegrad.golden.numbers.formats import Fp4Format
from nibblegrad.golden.training.backend import NumpyBackend
from nibblegrad.golden.training.conversions import wide_numbers
from nibblegrad.golden.training.passes import Weights
from nibblegrad.hdl.engine.timing import core_timing
from verif.driver.test_device_backend import AuditedCore

SEED = 3


def draw(rng, most):
    """Draw a number of which small ones are as likely as large ones."""
    return round(np.exp(rng.uniform(0, np.log(most))))


def draw_core(rng):
    """Draw a core, with memories that are small for its layers."""
    while True:
        rows, columns, lanes = (int(2 ** rng.integers(1, 5)) for _ in range(3))
        try:
            return CoreSize(
                fmt=Fp4Format(int(rng.integers(1, 3))),
                rows=rows,
                columns=columns,
                lanes=lanes,
                activation_words=draw(rng, 80),
                weight_words=draw(rng, 80),
                gradient_words=draw(rng, 80),
                bias_words=draw(rng, 20),
                partial_sum_strips=draw(rng, 2000),
                max_terms=max(lanes, draw(rng, 300)),
            )
        except InputError:
            continue


def train(backend, layers, recipe, numbers):
    """Go forward and backward; returns all that comes back, as bytes."""
    results, gradients, last = [], [], list(layers)[-1]
    weights = {name: Weights(matrix, 0.3) for name, (matrix, *_) in numbers.items()}
    with backend.begin(weights) as passes:
        for name, (_, x, bias, _) in numbers.items():
            results.append(passes.forward(name, x, 0.2, bias, relu=True))
        for name, (*_, gradient) in reversed(numbers.items()):
            how = recipe.last if name == last else recipe.gradient
            wanted = name != "layer0"
            gradients.append(passes.backward(name, gradient, how, want_input_gradient=wanted))
            results += [gradients[-1].inputs] if wanted else []
    for each in gradients:
        results += [each.weights, np.float64(each.activation_step), np.float64(each.weight_step)]
    return [result.tobytes() for result in results]


def compare(rng):
    """Train a network on a core and in NumPy; returns the core, or None if it does not fit."""
    size = draw_core(rng)
    core = AuditedCore(size)
    core.timing = core_timing(size) if rng.random() < 0.7 else CoreTiming()
    recipe = core_recipe(size)
    layers = dense_layers([draw(rng, 120) for _ in range(rng.integers(2, 5))], draw(rng, 200))
    backends = [
        NumpyBackend(size.wide_format, size.load_lanes, SEED),
        DeviceBackend(core, SEED),
    ]
    last = list(layers)[-1]
    for _ in range(2):
        numbers = {}
        for name, shape in layers.items():
            parts = (recipe.last if name == last else recipe.gradient).parts
            weights = rng.normal(size=(shape.outputs, shape.inputs))
            x = np.abs(rng.normal(size=(shape.rows, shape.inputs)))
            gradient = rng.normal(size=(shape.rows, shape.outputs * parts)) * 2.0**-4
            rounded = [
                wide_numbers(name, each, size.wide_format) for each in (weights, x, gradient)
            ]
            bias = rng.normal(size=shape.outputs).astype(np.float32)
            numbers[name] = (*rounded[:2], bias, rounded[2])
        try:
            expected, obtained = (train(each, layers, recipe, numbers) for each in backends)
        except InputError as error:
            assert "does not fit the training core however it is cut" in str(error)
            return None
        assert expected == obtained, (size, layers)
    return core


@pytest.mark.parametrize("count", [15, pytest.param(250, marks=pytest.mark.slow)])
def test_random_networks(count, request):
    rng = np.random.default_rng(request.config.getoption("--seed"))
    # Until so many have fitted.
    drawn = (compare(rng) for _ in itertools.count())
    assert len(list(itertools.islice(filter(None, drawn), count))) == count


def test_a_network_with_everything():
    """Loads overlap with products; sums go on; the generator is set anew."""
    core = compare(np.random.default_rng(6))
    assert core.overlaps > 100
    assert sum(command.accumulate for command in core.commands) > 100
    assert core.settings > 10
