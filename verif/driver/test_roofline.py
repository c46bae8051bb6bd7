# amaranth: UnusedElaboratable=no
"""What the Verilog takes for a training step, pass by pass, beside what is predicted."""

import math

import pytest

from nibblegrad.golden.driver.cycles import step_cycles
from nibblegrad.golden.training import data
from nibblegrad.golden.training.methods import RECIPES
from nibblegrad.golden.training.networks import Settings
from verif.driver.roofline import layer_report, network_layers
from verif.engine.core_scenarios import config
from verif.harness.build import build_core
from verif.harness.device import RtlDevice

SETTINGS = {
    "mlp": Settings(hidden=(32, 24), batch=32),
    "cnn": Settings(network="cnn", channels=(4, 20), batch=8),
}


@pytest.mark.parametrize("network", SETTINGS)
def test_measured_step(network):
    size = config("4x4x8").size()
    device = RtlDevice(size, build_core(size, 1))
    dataset, settings = data.digits(), SETTINGS[network]
    measured = layer_report(device, RECIPES["luq"], dataset, settings, seed=3)
    layers = network_layers(settings, dataset)
    without_bias = [name for name in layers if name.startswith("convolution")]
    predicted = step_cycles(size, device.timing, layers, without_bias=without_bias)
    # Each in its place, with the very same commands.
    for one, other in zip(measured.passes, predicted.passes, strict=True):
        assert (one.layer, one.name) == (other.layer, other.name)
        work = [(each.passes, each.strips, each.beats, each.commands) for each in (one, other)]
        assert work[0] == work[1]
        assert one.cycles == pytest.approx(other.cycles, rel=0.05)
        assert one.bound_by == other.bound_by
    assert measured.cycles == pytest.approx(predicted.cycles, rel=0.02)
    assert sum(each.passes for each in measured.passes) * math.prod(
        (size.rows, size.columns, size.lanes)
    ) >= sum(each.rows * each.inputs * each.outputs for each in layers.values())
    # The bound is one of the network and the core, and is not beaten.
    assert measured.bound == predicted.bound <= measured.cycles
    assert measured.words == predicted.words
