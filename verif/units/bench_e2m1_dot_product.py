"""Bench of :class:`nibblegrad.hdl.units.e2m1_dot_product.E2m1DotProduct`."""

import cocotb
import numpy as np

from nibblegrad.golden.units.e2m1_dot_product import e2m1_dot_product
from verif.support.coverage import Coverage, assert_equal
from verif.support.sim import bench_params
from verif.units.dot_products import run_sums

PARAMS = bench_params()
LANES, BITS, LATENCY = PARAMS["lanes"], PARAMS["accumulator_bits"], PARAMS["latency"]


async def run(dut, sums, rng=None):
    """Compare sums with the golden model."""
    got = await run_sums(dut, sums, 4, LATENCY, rng)
    expected = [e2m1_dot_product(a, b, BITS) for a, b in sums]
    assert_equal("totals", got, [total % (1 << BITS) for total in expected])
    return np.array(expected)


@cocotb.test()
async def multiplies_every_pair(dut):
    """All 256 pairs of codes in each lane, alone and with others."""
    pairs = np.arange(256)
    coverage = Coverage(PARAMS["core"], ["alone", "together"])
    for lane in range(LANES):
        a, b = np.zeros((2, 256, 1, LANES), np.int64)
        a[:, 0, lane], b[:, 0, lane] = pairs & 15, pairs >> 4
        await run(dut, list(zip(a, b, strict=True)))
        coverage.cover(alone=256)
    a = (pairs[:, None, None] * 7 + np.arange(LANES) * 37) % 256
    await run(dut, [(x & 15, x >> 4) for x in a])
    coverage.cover(together=256)
    coverage.vectors(256 * (LANES + 1))
    coverage.close()


@cocotb.test()
async def matches_golden(dut):
    """Sums of all lengths and extremes, without gaps and with gaps."""
    rng = np.random.default_rng(cocotb.RANDOM_SEED)
    coverage = Coverage(PARAMS["core"], "gaps wrapped zero negative positive cancelled".split())
    for case in range(8):
        sums = []
        for k in range(60):
            shape = (int(rng.integers(1, (2, 9, 40)[k % 3])), LANES)
            a, b = rng.integers(16, size=(2, *shape))
            if k % 5 == 1:
                a, b = np.full(shape, 7), np.full(shape, int(rng.choice([7, 15])))
            elif k % 5 == 2:
                b = b * rng.integers(2, size=shape)
            elif k % 5 == 3:
                a, b = np.concatenate([a, a]), np.concatenate([b, b ^ 8])
            sums.append((a, b))
        # Long enough to wrap around, where that does not take too long.
        if BITS <= 18:
            vectors = (1 << BITS) // (144 * LANES) + 2
            sums.append((np.full((vectors, LANES), 7), np.full((vectors, LANES), 7)))
            plain = 144 * LANES * vectors
            coverage.cover(wrapped=plain >= 1 << (BITS - 1))
        else:
            coverage.cover(wrapped=1)
        expected = await run(dut, sums, rng if case % 2 else None)
        coverage.cover(
            gaps=case % 2, zero=expected == 0, negative=expected < 0, positive=expected > 0,
            cancelled=expected[3:60:5] == 0,
        )  # fmt: skip
        coverage.vectors(len(expected))
    coverage.close()
