"""Bench of :class:`nibblegrad.hdl.base.random_bits.RandomBits`."""

import random

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, RisingEdge

from nibblegrad.golden.numbers.random_bits import RandomBits, seed_state
from verif.support.coverage import Coverage, assert_equal
from verif.support.packing import unpack
from verif.support.sim import bench_params
from verif.support.stream import PACES, Sink, Source, always, burst, reset, sometimes, start

PARAMS = bench_params()
LANES, BITS = PARAMS["lanes"], PARAMS["bits"]
START = seed_state(PARAMS["seed"], PARAMS["stream"])


def check(coverage, beats, golden):
    """Compare beats with the next numbers of the golden model."""
    expected = golden.elements(len(beats) * LANES, BITS, LANES).reshape(-1, LANES)
    assert_equal("number", unpack(beats, LANES, BITS), expected)
    coverage.vectors(expected.size)


async def receive(dut, coverage, golden, count, pace=always):
    """Take beats and compare them; count the cycles in which they were not taken."""
    sink = Sink(dut)
    beats = await sink.receive(count, pace)
    check(coverage, beats["tdata"], golden)
    return sink.stalls


async def start_unchecked(dut):
    """Start the clock and reset, for tests of seeds: they take back offers, against the rules."""
    Clock(dut.aclk, 10, unit="ns").start()
    await reset(dut)


async def record(dut, events):
    """List forever what every cycle transfers; of a seed's word, also what ``o`` was doing."""
    while True:
        await RisingEdge(dut.aclk)
        offered, taken = bool(dut.m_axis_tvalid.value), bool(dut.m_axis_tready.value)
        if offered and taken:
            events.append(("beat", int(dut.m_axis_tdata.value)))
        if dut.s_axis_seed_tvalid.value:
            assert dut.s_axis_seed_tready.value, "a seed had to wait"
            doing = ("offering", "transferring")[taken] if offered else "making_words"
            events.append((doing, int(dut.s_axis_seed_tdata.value)))


def replay(coverage, events):
    """Compare what was recorded with the golden model, which takes the same seeds."""
    golden, beats, state = RandomBits(START), [], []
    for kind, value in events:
        if kind == "beat":
            assert not state, "numbers came amidst a seed"
            beats.append(value)
            continue
        if not state:
            coverage.cover(**{f"seeded_while_{kind}": 1})
        state.append(value)
        if len(state) == 4:
            check(coverage, beats, golden)
            golden, beats, state = RandomBits(np.array(state, np.uint32)), [], []
    check(coverage, beats, golden)


@cocotb.test()
async def matches_golden(dut):
    """From the reset on, every pace of the sink: what is not transferred is not lost."""
    await start(dut)
    coverage = Coverage(PARAMS["core"], ["output_stalled", "reset"])
    golden = RandomBits(START)
    await receive(dut, coverage, golden, 10_000)
    for _, pace in PACES:
        stalls = await receive(dut, coverage, golden, 500, pace)
        coverage.cover(output_stalled=stalls)
        await ClockCycles(dut.aclk, random.randint(1, 20))
    await reset(dut)
    await receive(dut, coverage, RandomBits(START), 100)
    coverage.cover(reset=1)
    coverage.close()


@cocotb.test()
async def takes_seeds(dut):
    """A loaded state starts its own sequence, whatever it interrupts."""
    await start_unchecked(dut)
    bins = [f"seeded_while_{kind}" for kind in ("offering", "transferring", "making_words")]
    coverage = Coverage(PARAMS["core"], bins)
    events = []
    cocotb.start_soon(record(dut, events))
    source, sink = Source(dut, "s_axis_seed"), Sink(dut)
    states = [[0, 0, 0, 1 << 31], [1, 0, 0, 0], [0, 1 << 16, 0, 0], [0, 0, 1, 0]]
    states += [seed_state(random.getrandbits(64)).tolist() for _ in range(16)]
    random.shuffle(states)
    directed = random.randrange(len(states))
    for number, state in enumerate(states):
        if number == directed:
            # While numbers are on offer and nobody takes them, and right behind another seed.
            await ClockCycles(dut.aclk, 5)
            for _ in range(2):
                await source.send({"tdata": state})
            # While a number is taken in every cycle.
            receiving = cocotb.start_soon(sink.receive(200))
            await ClockCycles(dut.aclk, 20)
            await source.send({"tdata": state})
            await receiving
        for sink_pace in (always, sometimes, burst):
            receiving = cocotb.start_soon(sink.receive(200, sink_pace))
            await ClockCycles(dut.aclk, random.randint(1, 30))
            for words in [random.choice(states)] * random.randint(0, 2) + [state]:
                await source.send({"tdata": words}, random.choice([always, sometimes, burst]))
                await ClockCycles(dut.aclk, random.randint(0, 2))
            await receiving
    assert not dut.seed_error.value
    replay(coverage, events)
    coverage.close()


@cocotb.test()
async def makes_words_in_three_cycles(dut):
    """Numbers are on offer after reset at once, and three cycles after a seed."""
    await start_unchecked(dut)
    assert dut.m_axis_tvalid.value
    await Sink(dut).receive(1)
    await Source(dut, "s_axis_seed").send({"tdata": [1, 2, 3, 4]})
    offered = []
    for _ in range(4):
        await RisingEdge(dut.aclk)
        offered.append(int(dut.m_axis_tvalid.value))
    assert offered == [0, 0, 0, 1]


@cocotb.test()
async def replaces_zeros(dut):
    """A state of zeros becomes 0, 0, 0, 1, and is flagged until the next reset."""
    await start_unchecked(dut)
    coverage = Coverage(PARAMS["core"], ["zero_seed"])
    source = Source(dut, "s_axis_seed")
    for state in ([1, 2, 3, 4], [0, 0, 0, 0], [0, 0, 0, 0]):
        await source.send({"tdata": state})
        await ClockCycles(dut.aclk, 3)
        assert dut.seed_error.value == (not any(state)), f"seed_error after {state}"
        used = state if any(state) else [0, 0, 0, 1]
        await receive(dut, coverage, RandomBits(np.array(used, np.uint32)), 50, sometimes)
        coverage.cover(zero_seed=not any(state))
    await source.send({"tdata": [5, 6, 7, 8]})
    await ClockCycles(dut.aclk, 2)
    assert dut.seed_error.value, "seed_error is not sticky"
    await reset(dut)
    assert not dut.seed_error.value, "seed_error outlives a reset"
    coverage.close()
