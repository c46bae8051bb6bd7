"""The model of cycles against the counters of the Verilog: whole steps, and every pass."""


import numpy as np
import pytest

from golden.command import Operation
from golden.cuts import LayerShape
from golden.cycles import dense_layers, run_step, step_cycles
from golden.device_backend import DeviceBackend
from golden.recipes import RECIPES
from hdl.timing import core_timing
from verif.core_scenarios import CORES, config
from verif.harness.build import build_core
from verif.harness.device import RtlDevice

#: Most that model and counters may differ, of a step and of a pass; of short ones, in cycles.
OF_STEP, OF_PASS, SHORT = 0.02, 0.05, 30


def measure(size, layers, without_bias=(), optimize=1):
    """Run two steps in the Verilog, and compare the second one with its prediction."""
    recipe = RECIPES["luq" if size.fmt.log2_radix == 1 else "two_phase"]
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
    assert sum(each.beats for each in report.passes) == counters["LOAD_BEATS"]
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
    return report, counters


def random_layers(rng):
    """Draw a network of dense layers, or of two convolutions, as their products."""

    def draw(most):
        return round(np.exp(rng.uniform(0, np.log(most))))

    if rng.random() < 0.6:
        return dense_layers([draw(500) for _ in range(rng.integers(2, 5))], draw(200))
    batch, side, channels = draw(8), int(rng.integers(4, 14)), draw(24)
    return {
        "convolution0": LayerShape(batch * side * side, 9, channels),
        "convolution1": LayerShape(batch * (side // 2) ** 2, 9 * channels, draw(32)),
        "dense": LayerShape(batch, (side // 4) ** 2 * 32 or 1, draw(12)),
    }


@pytest.mark.parametrize("core", CORES)
def test_random_networks(core, rng):
    for _ in range(2):
        measure(config(core).size(), random_layers(rng))
