"""Bench of :class:`nibblegrad.hdl.cores.step_gradient.StepGradient`."""

import cocotb
import numpy as np
from cocotb.triggers import ClockCycles, RisingEdge

from nibblegrad.golden.cores.quantizer import InRange, quantize
from nibblegrad.golden.cores.step_gradient import step_gradient
from nibblegrad.golden.numbers.formats import IntFormat, Scale
from verif.support.benches import benched_module
from verif.support.coverage import Coverage, assert_equal
from verif.support.packing import pack
from verif.support.sim import bench_params
from verif.support.stream import Source, always, burst, last_of, sometimes, start

LABEL = bench_params()["core"]
PARAMETERS = benched_module().arguments()
LANES, WIDTH, BITS = (PARAMETERS[key] for key in ("lanes", "accumulator_bits", "bits"))
RESIDUAL_BITS, LATENCY = PARAMETERS["residual_bits"], bench_params()["latency"]
VALUE_BITS = max(BITS, RESIDUAL_BITS) + 1
REACH = 1 << (WIDTH - 1)
ONE = Scale(1 << 15, -15)
BINS = "positive negative in_range out_of_range signed unsigned widest pause throughput complete"


def beats_of(numbers, value, in_range):
    """Pack numbers and derivatives, arrays of (beats, lanes), into beats of one tensor."""
    side = in_range.astype(np.int64) << VALUE_BITS | value & ((1 << VALUE_BITS) - 1)
    return {
        "tdata": pack(numbers, WIDTH),
        "tuser": pack(side, VALUE_BITS + 1),
        "tlast": last_of(len(numbers)),
    }


def total_of(dut):
    """Read the sum."""
    return dut.total.value.to_signed()


async def clear(dut):
    """Set the sum to zero for the next tensor."""
    dut.clear.value = 1
    await RisingEdge(dut.aclk)
    dut.clear.value = 0
    await RisingEdge(dut.aclk)
    assert_equal("cleared total", total_of(dut), 0)
    assert_equal("complete", int(dut.complete.value), 0)


@cocotb.test()
async def matches_golden(dut):
    """Operands of both signs and rules, upstream gradients of every size, at any pace."""
    rng = np.random.default_rng(cocotb.RANDOM_SEED)
    coverage = Coverage(LABEL, BINS.split())
    await start(dut, clear=0)
    source = Source(dut)
    # Two sums of a known sign: numbers of one sign, and activations all too large.
    signs = dict(zip(rng.permutation(48)[:2].tolist(), (1, -1), strict=True))
    for case in range(48):
        fmt = IntFormat(BITS, signed=bool(case & 1))
        magnitude = (4, WIDTH // 2, WIDTH)[case % 3]
        pace = (always, sometimes, burst)[case // 3 % 3]
        shape = (int(rng.integers(1, 100)), LANES)
        numbers = rng.integers(-REACH, REACH, shape) >> (WIDTH - magnitude)
        x = rng.normal(size=shape).astype(np.float32) * fmt.greatest
        if case in signs:
            numbers[:], x[:] = signs[case], 2 * fmt.greatest
        operand = quantize(
            x, ONE, fmt, in_range=InRange(case >> 2 & 1), residual_bits=RESIDUAL_BITS
        )
        inside = operand.in_range
        value = np.where(inside, operand.residual, operand.codes).astype(np.int64)
        await source.send(beats_of(numbers, value, inside), pace)
        await ClockCycles(dut.aclk, LATENCY)
        # By rows, the model is exact for the largest numbers as well.
        expected = sum(
            step_gradient(row, quantize(part, ONE, fmt, in_range=InRange(case >> 2 & 1),
                                        residual_bits=RESIDUAL_BITS))
            for row, part in zip(numbers, x, strict=True)
        )  # fmt: skip
        assert_equal(f"total of case {case}", total_of(dut), expected)
        assert_equal("complete", int(dut.complete.value), 1)
        await clear(dut)
        coverage.vectors(numbers.size)
        coverage.cover(
            positive=expected > 0,
            negative=expected < 0,
            in_range=inside,
            out_of_range=~inside,
            signed=fmt.signed,
            unsigned=not fmt.signed,
            widest=magnitude == WIDTH,
            pause=pace is not always,
            throughput=not source.stalls,
            complete=1,
        )
    coverage.close()


@cocotb.test()
async def adds_the_extremes(dut):
    """The largest products of both signs, code and residual."""
    await start(dut, clear=0)
    greatest = (1 << BITS) - 1
    residual = 1 << RESIDUAL_BITS
    cases = [(greatest, 0, greatest * residual), (-(1 << BITS - 1), 0, -residual << BITS - 1)]
    cases += [(residual - 1, 1, residual - 1), (-residual, 1, -residual)]
    for number in (-REACH, REACH - 1, -1, 0):
        for value, in_range, derivative in cases:
            fill = np.full((50, LANES), 1)
            await Source(dut).send(beats_of(number * fill, value * fill, in_range * fill))
            await ClockCycles(dut.aclk, LATENCY)
            assert total_of(dut) == number * derivative * fill.size, (number, value, in_range)
            await clear(dut)


@cocotb.test()
async def goes_on_until_cleared(dut):
    """Tensors add up; a clear keeps what is inside; the latency is what is stated."""
    await start(dut, clear=0)
    one = np.ones((1, LANES), np.int64)
    beat = beats_of(5 * one, one, one)
    source = Source(dut)
    for tensors in (1, 2):
        await source.send(beat)
        for _ in range(LATENCY):
            assert total_of(dut) == 5 * LANES * (tensors - 1)
            await RisingEdge(dut.aclk)
        assert total_of(dut) == 5 * LANES * tensors
    # Cleared in every cycle until it is added, a beat is added all the same.
    await source.send({**beat, "tlast": [0]})
    dut.clear.value = 1
    await ClockCycles(dut.aclk, LATENCY - 1)
    dut.clear.value = 0
    await RisingEdge(dut.aclk)
    assert total_of(dut) == 5 * LANES and not dut.complete.value
    await clear(dut)
