# amaranth: UnusedElaboratable=no
"""Training on the Verilog of the training core: the same bits as in NumPy."""

import pytest

from nibblegrad.golden.training import data
from nibblegrad.golden.training.trainer import RECIPES
from verif.driver.test_device_backend import SETTINGS, compare
from verif.engine.core_scenarios import config
from verif.harness.build import build_core
from verif.harness.device import RtlDevice


@pytest.mark.parametrize("stalls", [(0.0, 0.0, 0.0), (0.3, 0.3, 0.3)], ids=["fast", "stalled"])
@pytest.mark.parametrize("network", SETTINGS)
def test_verilog_trains_to_the_same_bits(network, stalls):
    size = config("4x4x8").size()
    device = RtlDevice(size, build_core(size, 1), stalls=stalls)
    compare(data.digits(), network, RECIPES["luq"], device, steps=2)
    assert device.counters()["MACS"] > 0
