# amaranth: UnusedElaboratable=no
"""The event counters, few bits wide so that they reach their end."""

import pytest

from nibblegrad.hdl.base.event_counters import EventCounters


@pytest.mark.parametrize("lanes, bits", [(4, 5), (3, 2)])
def test_rtl_counts_and_stops(sim, lanes, bits):
    sim(EventCounters(["hit"], lanes, bits), "event_counters", {"lanes": lanes, "bits": bits})
