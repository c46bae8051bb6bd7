"""Bench of :class:`nibblegrad.hdl.units.float_dot_product.FloatDotProduct`."""

import cocotb
import numpy as np

from nibblegrad.golden.numbers.formats import WIDE_FORMATS
from nibblegrad.golden.units.float_dot_product import DotProductFormat, Fp8, float_dot_product
from verif.support.coverage import Coverage, assert_equal
from verif.support.sim import bench_params
from verif.units.dot_products import run_sums

PARAMS = bench_params()
FMT = DotProductFormat(**{**PARAMS["format"], "result": WIDE_FORMATS[PARAMS["format"]["result"]]})
LANES, LATENCY = PARAMS["lanes"], PARAMS["latency"]
SIGN = 1 << (FMT.width - 1)
FIELD = FMT.width - 6 if FMT.hybrid else 10  # where the exponent starts
KINDS = "any near small large sparse cancelling tiny_after_huge nonfinite longest".split()


def operands(rng, kind, vectors):
    """Make codes of a kind, two arrays of (vectors, lanes)."""
    shape = (2, vectors, LANES)
    codes = rng.integers(0, SIGN, shape)
    fractions = codes & ((1 << FIELD) - 1)
    exponents = {"near": (12, 18), "small": (0, 3), "large": (26, 31)}.get(kind, (0, 31))
    codes = fractions | rng.integers(*exponents, shape) << FIELD
    if kind == "sparse":
        codes *= rng.random(shape) < 0.3
    if kind == "tiny_after_huge":
        order = np.argsort(rng.random(vectors))
        codes = (fractions | np.where(order % 2, 29, 1)[:, None] << FIELD)[:2]
    codes = codes % SIGN
    signs = rng.integers(2, size=shape) * SIGN
    if kind == "cancelling":
        codes[:, 1::2] = codes[:, : vectors // 2 * 2 : 2]
        signs[:, 1::2] = signs[:, : vectors // 2 * 2 : 2] ^ np.array([0, SIGN])[:, None, None]
    codes = codes | signs
    if kind == "nonfinite":
        codes[0, vectors - 1, rng.integers(LANES)] = SIGN - 1
    if kind == "longest":
        codes[:] = (30 << FIELD) | ((1 << FIELD) - 1)
    return codes


@cocotb.test()
async def matches_golden(dut):
    """Operands of every kind and format, sums of all lengths, without gaps and with gaps."""
    rng = np.random.default_rng(cocotb.RANDOM_SEED)
    bins = "gaps nan zero negative positive one_vector subnormal_or_least".split() + KINDS
    coverage = Coverage(PARAMS["core"], bins)
    nan = int(FMT.result.encode(np.nan))
    for case in range(6):
        sums, expected = [], []
        for k in range(20 * len(KINDS)):
            kind = KINDS[k % len(KINDS)]
            vectors = int(rng.integers(1, (2, 4, 12)[k % 7 % 3]))
            if kind == "longest" and case == k == 0:
                vectors = 1 << FMT.growth_bits
            a, b = operands(rng, kind, vectors)
            kinds = [Fp8(int(rng.integers(2))) for _ in "ab"]
            sums.append((a, b, {"a_format": int(kinds[0]), "b_format": int(kinds[1])}))
            expected.append(float_dot_product(FMT, a, b, *kinds))
            coverage.cover(
                **{kind: 1},
                one_vector=vectors == 1,
                subnormal_or_least=(a & (SIGN - 1)) >> FIELD == 0,
            )
        got = await run_sums(
            dut, sums, FMT.width, LATENCY, rng if case % 2 else None, a_format=0, b_format=0
        )
        assert_equal(f"totals of case {case}", got, expected, sum=np.arange(len(got)))
        top = FMT.result.width - 1
        codes = np.array(expected)
        coverage.cover(
            gaps=case % 2, nan=codes == nan, zero=codes == 0,
            negative=(codes >> top == 1), positive=(codes >> top == 0) & (codes > 0),
        )  # fmt: skip
        coverage.vectors(len(codes))
    coverage.close()


@cocotb.test()
async def adds_the_longest_sums(dut):
    """As many vectors as a sum may have, of the largest products, of both signs."""
    vectors = 1 << FMT.growth_bits
    codes = np.full((vectors, LANES), (30 << FIELD) | ((1 << FIELD) - 1))
    inputs = {"a_format": int(Fp8.BACKWARD), "b_format": int(Fp8.BACKWARD)}
    sums = [(codes, codes, inputs), (codes, codes | SIGN, inputs)]
    expected = [float_dot_product(FMT, a, b, Fp8.BACKWARD, Fp8.BACKWARD) for a, b, _ in sums]
    got = await run_sums(dut, sums, FMT.width, LATENCY, a_format=0, b_format=0)
    assert_equal("totals", got, expected)


@cocotb.test()
async def multiplies_codes_of_one_lane(dut):
    """Many pairs of codes, for hybrid FP8 in all four pairs of formats, each alone in its sum."""
    rng = np.random.default_rng(cocotb.RANDOM_SEED)
    coverage = Coverage(PARAMS["core"], ["alone"])
    for kinds in np.ndindex(2, 2) if FMT.hybrid else [(0, 0)]:
        if FMT.hybrid:
            pairs = np.stack(np.divmod(np.arange(1 << 16), 256))
            pairs = pairs[:, rng.permutation(1 << 16)[: PARAMS["pairs"]]]
        else:
            pairs = rng.integers(0, 1 << 16, (2, PARAMS["pairs"]))
        a, b = np.zeros((2, pairs.shape[1], 1, LANES), np.int64)
        lanes = rng.integers(LANES, size=pairs.shape[1])
        a[np.arange(len(a)), 0, lanes], b[np.arange(len(a)), 0, lanes] = pairs
        names = {"a_format": kinds[0], "b_format": kinds[1]}
        sums = [(x, y, names) for x, y in zip(a, b, strict=True)]
        formats = [Fp8(k) for k in kinds]
        expected = [float_dot_product(FMT, x, y, *formats) for x, y, _ in sums]
        got = await run_sums(dut, sums, FMT.width, LATENCY, a_format=0, b_format=0)
        assert_equal("totals", got, expected, a=pairs[0], b=pairs[1])
        coverage.cover(alone=len(sums))
        coverage.vectors(len(sums))
    coverage.close()
