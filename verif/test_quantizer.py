# amaranth: UnusedElaboratable=no
"""The quantiser: hardware against model, and bad parameters."""

import pytest

from golden.formats import BFLOAT16, WIDE_FORMATS
from golden.quantizer import InRange
from hdl.quantizer import Quantizer

CORNERS = [
    # wide format, bits, lanes, residual bits, in-range rule, all codes
    ("bfloat16", 4, 16, 8, "unrounded", True),
    ("bfloat16", 8, 16, 8, "rounded", True),
    ("bfloat16", 2, 1, 12, "rounded", False),
    ("float16", 4, 5, 8, "rounded", False),
    ("float32", 4, 4, 8, "unrounded", False),
    ("dlfloat16", 3, 8, 1, "unrounded", False),
]


@pytest.mark.parametrize("wide_format, bits, lanes, residual_bits, rule, exhaustive", CORNERS)
def test_rtl_matches_golden(sim, wide_format, bits, lanes, residual_bits, rule, exhaustive):
    core = Quantizer(WIDE_FORMATS[wide_format], bits, lanes, residual_bits, InRange[rule.upper()])
    sim(
        core,
        "quantizer",
        {
            "wide_format": wide_format,
            "bits": bits,
            "lanes": lanes,
            "residual_bits": residual_bits,
            "in_range_rule": rule,
            "exhaustive": exhaustive,
            "latency": core.latency,
        },
    )


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
