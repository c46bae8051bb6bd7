"""Bench of :class:`hdl.random_bits.RandomBits`."""

import random

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, RisingEdge

from golden.random_bits import RandomBits, seed_state
from verif.coverage import Coverage, assert_equal
from verif.packing import unpack
from verif.sim import bench_params
from verif.stream import PACES, Sink, Source, always, check_rules, reset, start

PARAMS = bench_params()
LANES, BITS, SEED = PARAMS["lanes"], PARAMS["bits"], PARAMS["seed"]

RELOADS = ["loaded_offering", "loaded_transferring", "loaded_loading", "loaded_priming"]
BINS = ["output_stalled", "seed_stalled", "zero_seed", *RELOADS]


async def check(dut, coverage, golden, count, pace=always):
    """Take beats, and compare with the golden model."""
    sink = Sink(dut)
    beats = await sink.receive(count, pace)
    expected = golden.elements(count * LANES, BITS, LANES).reshape(count, LANES)
    assert_equal("number", unpack(beats["tdata"], LANES, BITS), expected)
    coverage.vectors(expected.size)
    coverage.cover(output_stalled=sink.stalls)


async def load(dut, state, pace=always):
    """Load a state; nothing is on offer until its first numbers are."""
    await Source(dut, "s_axis_seed").send({"tdata": [int(word) for word in state]}, pace)
    for cycle in range(2):
        await RisingEdge(dut.aclk)
        assert not dut.m_axis_tvalid.value, f"offered {cycle} cycles after the seed"
    await RisingEdge(dut.aclk)
    assert dut.m_axis_tvalid.value, "not offered 2 cycles after the seed"


async def begin(dut):
    """Start the clock and reset; seeds withdraw an offer, so the rules are checked elsewhere."""
    Clock(dut.aclk, 10, unit="ns").start()
    await reset(dut)


@cocotb.test()
async def matches_golden(dut):
    """From the reset on, at every pace: a stall takes nothing."""
    await start(dut)
    coverage = Coverage(PARAMS["core"], BINS)
    golden = RandomBits(seed_state(SEED))
    await check(dut, coverage, golden, 10_000)
    for _, pace in PACES:
        await check(dut, coverage, golden, 500, pace)
        await ClockCycles(dut.aclk, random.randint(1, 20))
    # A second reset starts anew.
    await reset(dut)
    await check(dut, coverage, RandomBits(seed_state(SEED)), 100)
    await takes_seeds(dut, coverage)
    coverage.close()


async def takes_seeds(dut, coverage):
    """Load seeds at any time, slowly or not; a state of zeros is replaced and flagged."""
    raise NotImplementedError
