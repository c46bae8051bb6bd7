# amaranth: UnusedElaboratable=no
"""The stochastic rounder: hardware against model, and bad parameters."""

import pytest

from nibblegrad.golden.numbers.formats import BFLOAT16, FLOAT16, FLOAT32, IntFormat
from nibblegrad.hdl.cores.stochastic_rounder import FixedRounder, FloatRounder
from verif.support.benches import case
from verif.support.marks import slow


@pytest.mark.parametrize(
    "source, target, lanes, random_bits, seed",
    [
        ("float32", "bfloat16", 4, 8, 1),
        slow("float32", "float16", 3, 16, 2),
        ("float32", "dlfloat16", 1, 5, 3),
        ("float16", "bfloat16", 16, 8, 4),
        slow("dlfloat16", "bfloat16", 16, 2, 5),
    ],
)
def test_float_rtl_matches_golden(sim, source, target, lanes, random_bits, seed):
    keys = {"lanes": lanes, "random_bits": random_bits, "seed": seed}
    sim(*case("stochastic_rounder", source=source, target=target, **keys))


@pytest.mark.parametrize(
    "width, fraction_bits, target, lanes, random_bits, seed",
    [
        (16, 8, "int4", 16, 8, 1),
        slow(16, 5, "uint8", 16, 11, 2),
        slow(32, 12, "int16", 2, 8, 3),
        (48, 40, "int5", 1, 24, 4),
    ],
)
def test_fixed_rtl_matches_golden(sim, width, fraction_bits, target, lanes, random_bits, seed):
    keys = {"lanes": lanes, "random_bits": random_bits, "seed": seed, "target": target}
    sim(*case("fixed_rounder", width=width, fraction_bits=fraction_bits, **keys))


def test_bad_target():
    message = r"^Target format must have fewer fraction bits than bfloat16, and float16 has not$"
    with pytest.raises(ValueError, match=message):
        FloatRounder(BFLOAT16, FLOAT16)


def test_bad_random_bits():
    with pytest.raises(ValueError, match=r"^Random bit count must be 1 to 24, not 25$"):
        FloatRounder(FLOAT32, BFLOAT16, random_bits=25)


def test_bad_seed():
    with pytest.raises(ValueError, match=r"^Seed must be 0 to 18446744073709551615, not -1$"):
        FloatRounder(FLOAT32, BFLOAT16, seed=-1)


def test_bad_fraction_bits():
    with pytest.raises(ValueError, match=r"^Count of discarded bits must be 1 to 7, not 8$"):
        FixedRounder(8, 8, IntFormat(4))
