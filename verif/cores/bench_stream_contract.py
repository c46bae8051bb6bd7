"""What holds for every core with streams, whatever it computes.

Benches of cores import these tests, so that every configuration that one runs on is held to them:
runs of the registration at every pace, with the rules of streams; throughput and latency to the
cycle; a reset in mid-stream. Whatever memories hold at power-up (:mod:`verif.support.sim`),
settings and side streams that are not in use are zero.
"""

import dataclasses

import cocotb
from cocotb.triggers import ClockCycles, RisingEdge

from nibblegrad.gen.packaging.interface import describe
from verif.support.benches import benched_module
from verif.support.coverage import Coverage, assert_equal
from verif.support.sim import bench_params
from verif.support.stream import PACES, Sink, Source, always, sometimes, start

__all__ = [
    "keeps_its_latency",
    "matches_runs",
    "recovers_from_reset_in_mid_stream",
    "sustains_throughput",
]

LABEL, LATENCY = bench_params()["core"], bench_params()["latency"]
MODULE = benched_module()
PORTS = describe("dut", MODULE)
IDLE = {port.name: 0 for port in PORTS.settings}
PER_TENSOR = MODULE.registration.per_tensor
#: How often the tensors of a run are sent to see whether a core can go on without end.
REPEATS = 16
#: Cycles after which everything is out, counts included.
SETTLED = LATENCY + 4


def columns(beats):
    """Turn beats into values per signal, as sources take them."""
    return {signal: [beat[signal] for beat in beats] for signal in beats[0]}


def split(run):
    """Tell the streams of a run apart: those by the side, and those that go out."""
    sides = [name for name in run.beats if name.startswith("s_axis_")]
    return sides, [name for name in run.beats if name.startswith("m_axis")]


async def begin(dut, run):
    """Reset, and send what must come before the tensors."""
    await start(dut, **IDLE | run.settings)
    for name in split(run)[0]:
        await Source(dut, name).send(columns(run.beats[name]))
        await ClockCycles(dut.aclk, SETTLED)


def send(dut, run, paces):
    """Begin to send tensors and to take results; returns the tasks of both."""
    sinks = {
        name: cocotb.start_soon(Sink(dut, name).receive(len(run.beats[name]), paces[1]))
        for name in split(run)[1]
    }
    return cocotb.start_soon(Source(dut).send(columns(run.beats["s_axis"]), paces[0])), sinks


def differences(dut, results):
    """List the outputs without a stream that do not say what they must."""
    wrong = []
    for name, value in results.items():
        port = getattr(dut, name)
        expected = int(value) & ((1 << len(port)) - 1)
        if int(port.value) != expected:
            wrong.append(f"{name} is {int(port.value)}, not {expected}")
    return wrong


async def compare(dut, run, sending, sinks):
    """Wait for all of a run, and compare every bit."""
    for name, receiving in sinks.items():
        received = await receiving
        for signal, expected in columns(run.beats[name]).items():
            assert_equal(f"{run.title}: {name}_{signal}", received[signal], expected)
    await sending
    await ClockCycles(dut.aclk, SETTLED)
    wrong = differences(dut, run.results)
    assert not wrong, f"{run.title}: {'; '.join(wrong)}"


@cocotb.test()
async def matches_runs(dut):
    """Every run of the registration, at every pace."""
    coverage = Coverage(LABEL, ["runs"])
    for run in MODULE.runs():
        for paces in PACES:
            await begin(dut, run)
            await compare(dut, run, *send(dut, run, paces))
            coverage.vectors(len(run.beats["s_axis"]))
            coverage.cover(runs=1)
    coverage.close()


async def transfers(dut, prefix, found, cycle=0):
    """Note the cycle of every transfer of a stream, and whether it was the last one."""
    valid, ready, last = (
        getattr(dut, f"{prefix}_{signal}") for signal in "tvalid tready tlast".split()
    )
    while True:
        await RisingEdge(dut.aclk)
        cycle += 1
        if valid.value and ready.value:
            found.append((cycle, bool(last.value)))


@cocotb.test()
async def keeps_its_latency(dut):
    """What the registration expects comes after the stated latency, to the cycle.

    What belongs to a tensor comes after its last beat.
    """
    for run in MODULE.runs():
        await begin(dut, run)
        taken, given = [], []
        cocotb.start_soon(transfers(dut, "s_axis", taken))
        sending, sinks = send(dut, run, (always, always))
        for name in sinks:
            cocotb.start_soon(transfers(dut, name, given))
        if not sinks:
            await sending
            await ClockCycles(dut.aclk, LATENCY - 1)
            assert differences(dut, run.results), f"{run.title}: in less than {LATENCY} cycles"
            await RisingEdge(dut.aclk)
            wrong = differences(dut, run.results)
            assert not wrong, f"{run.title}: after {LATENCY} cycles {'; '.join(wrong)}"
        await compare(dut, run, sending, sinks)
        if given:
            start = next(cycle for cycle, last in taken if last or not PER_TENSOR)
            latency = given[0][0] - start
            assert latency == LATENCY, f"{run.title}: latency {latency}, not {LATENCY}"


@cocotb.test()
async def sustains_throughput(dut):
    """With nobody pausing, a beat per cycle, for longer than anything inside has room.

    How long it takes from tensor to tensor, where these are answered, is the business of the core's
    own bench.
    """
    for run in MODULE.runs():
        outputs = split(run)[1]
        if PER_TENSOR and outputs:
            continue
        many = dataclasses.replace(
            run, beats={name: beats * REPEATS for name, beats in run.beats.items()}
        )
        await begin(dut, run)
        found = {name: [] for name in ("s_axis", *outputs)}
        for name, transferred in found.items():
            cocotb.start_soon(transfers(dut, name, transferred))
        sending, sinks = send(dut, many, (always, always))
        for task in (*sinks.values(), sending):
            await task
        await RisingEdge(dut.aclk)
        for name, transferred in found.items():
            count = len(many.beats[name])
            cycles = transferred[-1][0] - transferred[0][0] + 1
            said = f"{run.title}: {name} takes {cycles} cycles for {count} beats"
            assert len(transferred) == count == cycles, said


@cocotb.test()
async def recovers_from_reset_in_mid_stream(dut):
    """A reset empties the core, clears what it counted, and leaves nothing of what was inside."""
    for run in MODULE.runs():
        for cycles in (2, LATENCY, LATENCY + 7):
            await begin(dut, run)
            sending, sinks = send(dut, run, (always, sometimes))
            await ClockCycles(dut.aclk, cycles)
            for task in (sending, *sinks.values()):
                task.cancel()
            await start(dut, **IDLE)
            waiting = [name for name in sinks if getattr(dut, f"{name}_tvalid").value]
            assert not waiting, f"{run.title}: {waiting} after a reset {cycles} cycles in"
            for _ in range(SETTLED):
                await RisingEdge(dut.aclk)
                wrong = differences(dut, {port.name: 0 for port in PORTS.results})
                assert not wrong, f"{run.title}: after a reset {cycles} cycles in, {wrong}"
                waiting = [name for name in sinks if getattr(dut, f"{name}_tvalid").value]
                assert not waiting, f"{run.title}: {waiting} after a reset {cycles} cycles in"
            await begin(dut, run)
            await compare(dut, run, *send(dut, run, (always, sometimes)))
