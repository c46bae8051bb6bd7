# amaranth: UnusedElaboratable=no
"""The FP4 quantisers: hardware against model, and bad parameters."""

import pytest

from nibblegrad.golden.numbers.formats import BFLOAT16, Fp4Format
from nibblegrad.hdl.cores.fp4_quantizer import Fp4Quantizer
from verif.support.benches import case
from verif.support.marks import slow

RADIX_4 = {"fmt": "fp4_radix4"}


@pytest.mark.parametrize(
    "keys",
    [
        {"lanes": 16},
        {**RADIX_4, "lanes": 16},
        slow({**RADIX_4, "lanes": 3, "underflow": "formula", "odd_shift": -1}),
        {
            **{"wide_format": "float32", "lanes": 3, "underflow": "formula"},
            **{"random_bits": 16, "seed": 2},
        },
        slow({"wide_format": "float16", "lanes": 1, "random_bits": 5, "seed": 3}),
        {**RADIX_4, "wide_format": "dlfloat16", "lanes": 8},
    ],
)
def test_rtl_matches_golden(sim, keys):
    sim(*case("fp4_quantizer", f"fp4_quantizer ({keys.get('fmt', 'fp4_radix2')})", **keys))


def test_bad_code_format():
    with pytest.raises(TypeError, match=r"^Code format must be a GradientFormat, not 1$"):
        Fp4Quantizer(BFLOAT16, 1)


def test_bad_odd_shift():
    with pytest.raises(ValueError, match=r"^Shift of the odd grid must be 1 or -1, not 2$"):
        Fp4Quantizer(BFLOAT16, Fp4Format(2), odd_shift=2)


def test_bad_random_bits():
    with pytest.raises(ValueError, match=r"^Random bit count must be 2 to 24, not 1$"):
        Fp4Quantizer(BFLOAT16, Fp4Format(1), random_bits=1)
