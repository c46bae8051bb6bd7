# amaranth: UnusedElaboratable=no
"""The FP4 quantisers: hardware against model, and bad parameters."""

import pytest

from golden.formats import BFLOAT16, WIDE_FORMATS, Fp4Format
from golden.fp4_quantizer import Underflow
from hdl.fp4_quantizer import Fp4Quantizer


@pytest.mark.parametrize(
    "wide_format, log2_radix, lanes, underflow, odd_shift, random_bits, seed",
    [
        ("bfloat16", 1, 16, "midpoint", 1, 8, 1),
        ("bfloat16", 2, 16, "midpoint", 1, 8, 1),
        ("bfloat16", 2, 3, "formula", -1, 8, 1),
        ("float32", 1, 3, "formula", 1, 16, 2),
        ("float16", 1, 1, "midpoint", 1, 5, 3),
        ("dlfloat16", 2, 8, "midpoint", 1, 8, 1),
    ],
)
def test_rtl_matches_golden(
    sim, wide_format, log2_radix, lanes, underflow, odd_shift, random_bits, seed
):
    core = Fp4Quantizer(
        WIDE_FORMATS[wide_format],
        Fp4Format(log2_radix),
        lanes,
        Underflow[underflow.upper()],
        odd_shift,
        random_bits,
        seed,
    )
    sim(
        core,
        "fp4_quantizer",
        {
            "core": f"fp4_quantizer (radix {1 << log2_radix})",
            "wide_format": wide_format,
            "log2_radix": log2_radix,
            "lanes": lanes,
            "underflow": underflow,
            "odd_shift": odd_shift,
            "random_bits": random_bits,
            "seed": seed,
            "latency": core.latency,
        },
    )


def test_bad_code_format():
    with pytest.raises(TypeError, match=r"^Code format must be a Fp4Format, not 1$"):
        Fp4Quantizer(BFLOAT16, 1)


def test_bad_odd_shift():
    with pytest.raises(ValueError, match=r"^Shift of the odd grid must be 1 or -1, not 2$"):
        Fp4Quantizer(BFLOAT16, Fp4Format(2), odd_shift=2)


def test_bad_random_bits():
    with pytest.raises(ValueError, match=r"^Random bit count must be 2 to 24, not 1$"):
        Fp4Quantizer(BFLOAT16, Fp4Format(1), random_bits=1)
