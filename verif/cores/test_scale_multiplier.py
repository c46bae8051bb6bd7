# amaranth: UnusedElaboratable=no
"""The scale multiplier: hardware against model, and bad parameters."""

import pytest

from nibblegrad.golden.numbers.formats import IntFormat
from nibblegrad.hdl.cores.scale_multiplier import ScaleMultiplier
from verif.support.benches import case
from verif.support.marks import slow


@pytest.mark.parametrize(
    "target, keys",
    [
        ("bfloat16", {}),
        slow(
            "float32", {"lanes": 2, "accumulator_bits": 24, "channel_groups": 1, "random_bits": 16}
        ),
        ("float16", {"lanes": 3, "accumulator_bits": 20, "channel_groups": 5, "random_bits": 6}),
        slow("dlfloat16", {"lanes": 1, "channel_groups": 3}),
        ("int4", {"channel_groups": 4}),
        slow(
            "uint8",
            {
                **{"lanes": 2, "accumulator_bits": 16, "channel_groups": 1},
                **{"in_range_rule": "rounded", "residual_bits": 4},
            },
        ),
        ("fp4_radix2", {"accumulator_bits": 24, "channel_groups": 2}),
        (
            "fp4_radix4",
            {"lanes": 2, "channel_groups": 4, "underflow": "formula", "odd_shift": -1},
        ),
    ],
)
def test_rtl_matches_golden(sim, target, keys):
    sim(*case("scale_multiplier", f"scale_multiplier ({target})", target=target, **keys))


def test_bad_target():
    with pytest.raises(TypeError, match=r"^Target must be a format, not 'bfloat16'$"):
        ScaleMultiplier("bfloat16")


def test_bad_code_width():
    with pytest.raises(ValueError, match=r"^Code width must be 2 to 8, not 16$"):
        ScaleMultiplier(IntFormat(16))


def test_bad_channel_groups():
    with pytest.raises(ValueError, match=r"^Count of channel groups must be 1 to 4096, not 0$"):
        ScaleMultiplier(IntFormat(4), channel_groups=0)
