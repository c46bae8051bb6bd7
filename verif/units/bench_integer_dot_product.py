"""Bench of the dot products of integers, of integers and shift operands, and of both."""

import cocotb
import numpy as np

from nibblegrad.golden.cores.shift_multiply_array import ShiftOperand
from nibblegrad.golden.numbers.formats import Fp4Format
from nibblegrad.golden.units import dual_dot_product, integer_dot_product, shift_dot_product
from verif.support.coverage import Coverage, assert_equal
from verif.support.sim import bench_params
from verif.units.dot_products import run_sums

PARAMS = bench_params()
KIND = PARAMS["kind"]
LANES, LATENCY, BITS = PARAMS["lanes"], PARAMS["latency"], PARAMS["total_bits"]
A_BITS, B_BITS = PARAMS["a_bits"], PARAMS["b_bits"]
FMT = Fp4Format(PARAMS["log2_radix"])
OPERANDS = [ShiftOperand(k) for k in PARAMS["operands"]]
GOLDEN = {"shift": shift_dot_product, "dual": dual_dot_product}


def expected(a, b, operand):
    """Ask the golden model; codes are unsigned."""
    a = (a ^ (1 << (A_BITS - 1))) - (1 << (A_BITS - 1))
    if KIND == "integer":
        b = (b ^ (1 << (B_BITS - 1))) - (1 << (B_BITS - 1))
        return integer_dot_product.total(a, b, BITS)
    return GOLDEN[KIND].total(a, b, operand, FMT, BITS)


async def run(dut, sums, rng=None):
    """Compare sums, triples of operands and their kind, with the golden model."""
    beats = []
    for a, b, operand in sums:
        settings = {"operand": int(operand)} if PARAMS["operands"] != [0] else {}
        beats.append((a, b, settings))
    widths = {"a_width": A_BITS, "b_width": B_BITS}
    digits = bool(PARAMS["digits"])
    start = {"operand": 0} if PARAMS["operands"] != [0] else {}
    if digits:
        start["digit"] = 0
    got = await run_sums(dut, beats, None, LATENCY, rng, digits=digits, **widths, **start)
    totals = [expected(*one) for one in sums]
    assert_equal("totals", got, [total % (1 << BITS) for total in totals])
    return np.array(totals)


@cocotb.test()
async def multiplies_every_pair(dut):
    """All pairs of codes in some lane, alone, and in every lane with others."""
    pairs = np.arange(1 << (A_BITS + B_BITS))
    coverage = Coverage(PARAMS["core"], ["alone", "together"])
    for operand in OPERANDS:
        a, b = np.zeros((2, len(pairs), 1, LANES), np.int64)
        lane = pairs % LANES
        a[pairs, 0, lane], b[pairs, 0, lane] = pairs % (1 << A_BITS), pairs >> A_BITS
        await run(dut, [(x, y, operand) for x, y in zip(a, b, strict=True)])
        coverage.cover(alone=len(pairs))
        some = (pairs[:, None, None] * 7 + np.arange(LANES) * 37) % len(pairs)
        await run(dut, [(x % (1 << A_BITS), x >> A_BITS, operand) for x in some[:4096]])
        coverage.cover(together=len(some))
        coverage.vectors(len(pairs))
    coverage.close()


@cocotb.test()
async def matches_golden(dut):
    """Sums of all lengths and extremes, without gaps and with gaps; operands of both kinds."""
    rng = np.random.default_rng(cocotb.RANDOM_SEED)
    coverage = Coverage(PARAMS["core"], "gaps zero negative positive extreme mixed".split())
    least, greatest = 1 << (A_BITS - 1), (1 << (A_BITS - 1)) - 1
    for case in range(4):
        sums = []
        for k in range(60):
            shape = (int(rng.integers(1, (2, 9, 40)[k % 3])), LANES)
            a, b = (rng.integers(1 << bits, size=shape) for bits in (A_BITS, B_BITS))
            if k % 5 == 1:
                a = np.full(shape, rng.choice([least, greatest]))
                b = np.full(shape, rng.choice([0, 7, 8, 15, (1 << B_BITS) - 1]) % (1 << B_BITS))
                coverage.cover(extreme=1)
            elif k % 5 == 2:
                b = b * rng.integers(2, size=shape)
            elif k % 5 == 3:
                a = np.zeros(shape, int)
            sums.append((a, b, OPERANDS[int(rng.integers(len(OPERANDS)))]))
        totals = await run(dut, sums, rng if case % 2 else None)
        kinds = len({int(operand) for _, _, operand in sums})
        coverage.cover(
            gaps=case % 2, zero=totals == 0, negative=totals < 0, positive=totals > 0,
            mixed=kinds == len(OPERANDS),
        )  # fmt: skip
        coverage.vectors(len(totals))
    coverage.close()
