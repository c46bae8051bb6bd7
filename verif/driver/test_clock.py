"""The model of cycles against the counters of the Verilog: whole steps, and every pass."""

import numpy as np
import pytest

from nibblegrad.golden.driver.cuts import LayerShape
from nibblegrad.golden.driver.cycles import core_recipe, dense_layers, run_step, step_cycles
from nibblegrad.golden.driver.device_backend import DeviceBackend
from nibblegrad.golden.engine.command import Operation
from nibblegrad.golden.errors import InputError
from nibblegrad.hdl.engine.timing import core_timing
from verif.engine.core_scenarios import CORES, config
from verif.harness.build import build_core
from verif.harness.device import RtlDevice

#: Most that model and counters may differ, of a step and of a pass; of short ones, in cycles.
OF_STEP, OF_PASS, SHORT = 0.02, 0.05, 30


def measure(size, layers, without_bias=(), optimize=1):
    """Run two steps in the Verilog, and compare the second one with its prediction."""
    recipe = core_recipe(size)
    report = step_cycles(size, core_timing(size), layers, recipe, without_bias)
    device = RtlDevice(size, build_core(size, optimize))
    backend = DeviceBackend(device)
    run_step(backend, layers, recipe, without_bias)
    device.clear_counters()
    device.ended, backend.log, begin = {}, [], device.cycles
    run_step(backend, layers, recipe, without_bias)
    ended, device.ended = device.ended, None
    counters = device.counters()
    assert abs(report.cycles - counters["CYCLES"]) <= OF_STEP * counters["CYCLES"], layers
    assert sum(each.passes for each in report.passes) == counters["PASSES"]
    assert sum(each.strips for each in report.passes) == counters["STRIPS"]
    assert report.bound <= counters["CYCLES"]
    ends = {}
    for entry in backend.log:
        name = "forward" if entry.command.operation == Operation.FORWARD else "backward"
        if entry.number in ended:
            ends[entry.layer, name] = ended[entry.number]
    for each in report.passes:
        end = ends[each.layer, each.name]
        cycles, begin = end - begin, end
        assert abs(each.cycles - cycles) <= max(OF_PASS * cycles, SHORT), (layers, each, cycles)
    return counters


def draw_layers(rng, size):
    """Draw a network of dense layers, or of two convolutions, as their products, that fits."""

    def draw(most):
        return round(np.exp(rng.uniform(0, np.log(most))))

    for _ in range(1000):
        batch, side, channels = draw(8), int(rng.integers(4, 14)), draw(24)
        layers = {
            "convolution0": LayerShape(batch * side * side, 9, channels),
            "convolution1": LayerShape(batch * (side // 2) ** 2, 9 * channels, draw(32)),
            "dense": LayerShape(batch, (side // 4) ** 2 * 32, draw(12)),
        }
        if rng.random() < 0.6:
            layers = dense_layers([draw(500) for _ in range(rng.integers(2, 5))], draw(200))
        try:
            step_cycles(size, core_timing(size), layers)
        except InputError as error:
            assert "does not fit" in str(error)
        else:
            return layers
    raise AssertionError("no network fits")


@pytest.fixture
def rng(request):
    return np.random.default_rng(request.config.getoption("--seed"))


QUICK = ("4x4x8", "8x2x4 radix 4")


@pytest.mark.parametrize(
    "core",
    [core if core in QUICK else pytest.param(core, marks=pytest.mark.slow) for core in CORES],
)
def test_random_networks(core, rng):
    size = config(core).size()
    for _ in range(2):
        measure(size, draw_layers(rng, size))


def test_layers_that_have_no_room():
    """Everything is cut; loads wait for products, and products for sums."""
    size = config("8x2x4 radix 4").size()
    measure(size, dense_layers((90, 100, 12), 60))


@pytest.mark.slow
def test_twenty_random_networks(rng):
    size = config("8x8x16").size()
    for _ in range(20):
        measure(size, draw_layers(rng, size), optimize=2)


#: Networks of which the documents have figures, and cycles of a step at most.
STEPS = {
    "digits, mlp": (dense_layers((64, 128, 128, 10), 64), 13_000),
    "digits, cnn": (
        {
            "convolution0": LayerShape(64 * 64, 9, 16),
            "convolution1": LayerShape(64 * 16, 144, 32),
            "dense": LayerShape(64, 128, 10),
        },
        63_200,
    ),
    "28 x 28, cnn": (
        {
            "convolution0": LayerShape(64 * 784, 9, 16),
            "convolution1": LayerShape(64 * 196, 144, 32),
            "dense": LayerShape(64, 1568, 10),
        },
        856_000,
    ),
    "784-512-512-10": (dense_layers((784, 512, 512, 10), 256), 742_000),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", STEPS)
def test_steps_of_the_documents(name):
    layers, most = STEPS[name]
    without_bias = [layer for layer in layers if layer.startswith("convolution")]
    counters = measure(config("8x8x16").size(), layers, without_bias, optimize=2)
    assert counters["CYCLES"] <= most
