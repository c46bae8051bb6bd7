# amaranth: UnusedElaboratable=no
"""The training core on its pins: hardware against model."""

import pytest

from verif.engine.core_scenarios import CORES, config
from verif.support.benches import bench_of

#: What `make test` has time for. The largest cores are tested by test_training_core_device.py only.
QUICK = ("4x4x8",)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] * (name not in QUICK))
        for name in CORES
        if not name.startswith("8x8x16")
    ],
)
def test_rtl_matches_golden(sim, name):
    module = config(name)
    sim(module.build(), *bench_of(module, f"training_core {name}"))
