# amaranth: UnusedElaboratable=no
"""E2M1 dot products: model against ml_dtypes, hardware against model, bad parameters."""

import ml_dtypes
import numpy as np
import pytest

from nibblegrad.golden.errors import InputError
from nibblegrad.golden.units.e2m1_dot_product import HALVES, e2m1_dot_product
from nibblegrad.hdl.array.structures import PIPELINED, STRUCTURES
from nibblegrad.hdl.units.e2m1_dot_product import E2m1DotProduct


def test_every_product_is_that_of_ml_dtypes():
    numbers = np.arange(16, dtype=np.uint8).view(ml_dtypes.float4_e2m1fn).astype(np.float64)
    np.testing.assert_array_equal(HALVES / 2, numbers)
    for a in range(16):
        for b in range(16):
            assert e2m1_dot_product([a], [b]) == 4 * numbers[a] * numbers[b]


def test_sums_wrap_around():
    codes = np.full(910, 7)
    assert e2m1_dot_product(codes, codes, 18) == 910 * 144
    codes = np.full(911, 7)
    assert e2m1_dot_product(codes, codes, 18) == 911 * 144 - (1 << 18)


def test_different_shapes():
    with pytest.raises(InputError, match=r"^Operands must have one shape, not \(2,\) and \(3,\)$"):
        e2m1_dot_product([1, 2], [1, 2, 3])


@pytest.mark.parametrize(
    "lanes, accumulator_bits, structure",
    [
        (16, 24, STRUCTURES["ecp5"]),
        (1, 16, PIPELINED),
        (5, 18, PIPELINED),
        (5, 18, STRUCTURES["compact"]),
    ],
)
def test_rtl_matches_golden(sim, lanes, accumulator_bits, structure):
    core = E2m1DotProduct(lanes, accumulator_bits, structure)
    sim(
        core,
        "e2m1_dot_product",
        {
            "core": "e2m1_dot_product",
            "lanes": lanes,
            "accumulator_bits": accumulator_bits,
            "latency": core.latency,
        },
    )


@pytest.mark.parametrize(
    "parameters, message",
    [
        ((0, 24), r"^Lane count must be 1 to 64, not 0$"),
        ((16, 33), r"^Accumulator width must be 16 to 32, not 33$"),
    ],
)
def test_bad_parameters(parameters, message):
    with pytest.raises(ValueError, match=message):
        E2m1DotProduct(*parameters)
