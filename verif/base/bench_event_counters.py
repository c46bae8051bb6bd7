"""Bench of :class:`nibblegrad.hdl.base.event_counters.EventCounters`."""

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge

from verif.support.coverage import Coverage, assert_equal
from verif.support.sim import bench_params
from verif.support.stream import start

PARAMS = bench_params()
LANES, BITS = PARAMS["lanes"], PARAMS["bits"]
CYCLES = 3000


@cocotb.test()
async def counts_to_its_end_and_stays(dut):
    """A count is the number of lanes with the event, up to its largest value; clear resets it."""
    await start(dut, strobe=0, hit=0)
    rng = np.random.default_rng(cocotb.RANDOM_SEED)
    coverage = Coverage("event_counters", ["at_end", "stays_at_end", "cleared", "no_strobe"])
    greatest = (1 << BITS) - 1
    # Somewhere among what is drawn by chance the count comes to its end and stays there, events
    # without a strobe do not count, and a clear follows.
    calm = int(rng.integers(CYCLES // 2))
    full = range(calm, calm + greatest + 10)
    # The inputs of this cycle, and the lanes on their way to the count.
    inputs = (0, 0, 0)
    expected, seen, arriving, happened = 0, False, 0, 0
    for cycle in range(CYCLES):
        await RisingEdge(dut.aclk)
        # At the edge the ports show the values from before it.
        assert_equal("count", int(dut.hit_count.value), expected)
        assert_equal("seen", bool(dut.hit_seen.value), seen)
        strobe, lanes, clear = inputs
        coverage.vectors(1)
        coverage.cover(
            at_end=expected == greatest,
            stays_at_end=expected == greatest and arriving > 0,
            cleared=clear and expected > 0,
            no_strobe=lanes > 0 and not strobe,
        )
        expected = 0 if clear else min(expected + arriving, greatest)
        seen = not clear and (seen or arriving > 0)
        arriving, happened = happened, lanes.bit_count() if strobe else 0
        inputs = (
            int(rng.random() < 0.7),
            int(rng.integers(1 << LANES)) if rng.random() < 0.6 else 0,
            int(rng.random() < 0.01),
        )
        if cycle in full:
            inputs = (1, inputs[1] | 1, 0)
        elif cycle in (full.stop, full.stop + 1):
            inputs = (0, (1 << LANES) - 1, cycle - full.stop)
        dut.strobe.value, dut.hit.value, dut.clear_counts.value = inputs
    coverage.close()
