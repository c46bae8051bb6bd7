# amaranth: UnusedElaboratable=no
"""The quantiser: hardware against model, and bad parameters."""

import pytest

from nibblegrad.golden.numbers.formats import BFLOAT16
from nibblegrad.hdl.cores.quantizer import Quantizer
from verif.support.benches import case

CORNERS = [
    # Keys of the configuration, and whether all codes are tried.
    ({"lanes": 16}, True),
    ({"bits": 8, "lanes": 16, "in_range_rule": "rounded"}, True),
    ({"bits": 2, "lanes": 1, "residual_bits": 12, "in_range_rule": "rounded"}, False),
    ({"wide_format": "float16", "lanes": 5, "in_range_rule": "rounded"}, False),
    ({"wide_format": "float32"}, False),
    ({"wide_format": "dlfloat16", "bits": 3, "lanes": 8, "residual_bits": 1}, False),
]


@pytest.mark.parametrize("keys, exhaustive", CORNERS)
def test_rtl_matches_golden(sim, keys, exhaustive):
    core, bench, params = case("quantizer", **keys)
    sim(core, bench, params | {"exhaustive": exhaustive})


def test_bad_wide_format():
    with pytest.raises(TypeError, match=r"^Wide format must be a FloatFormat, not 'bfloat16'$"):
        Quantizer("bfloat16")


@pytest.mark.parametrize("bits", [1, 9])
def test_bad_bits(bits):
    with pytest.raises(ValueError, match=rf"^Code width must be 2 to 8, not {bits}$"):
        Quantizer(BFLOAT16, bits)


def test_bad_lanes():
    with pytest.raises(TypeError, match=r"^Lane count must be an integer, not 2\.0$"):
        Quantizer(BFLOAT16, 4, 2.0)


def test_bad_residual_bits():
    with pytest.raises(ValueError, match=r"^Residual width must be 1 to 8, not 9$"):
        Quantizer(BFLOAT16, 8, residual_bits=9)
