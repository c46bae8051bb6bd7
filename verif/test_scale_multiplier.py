# amaranth: UnusedElaboratable=no
"""The scale multiplier: hardware against model, and bad parameters."""

import pytest

from golden.formats import WIDE_FORMATS, Fp4Format, IntFormat
from golden.fp4_quantizer import Underflow
from golden.quantizer import InRange
from hdl.scale_multiplier import ScaleMultiplier

TARGETS = {
    **WIDE_FORMATS,
    "int4": IntFormat(4),
    "uint8": IntFormat(8, signed=False),
    "fp4_radix2": Fp4Format(1),
    "fp4_radix4": Fp4Format(2),
}


@pytest.mark.parametrize(
    "target, lanes, accumulator_bits, channel_groups, random_bits, options",
    [
        ("bfloat16", 4, 32, 16, 8, {}),
        ("float32", 2, 24, 1, 16, {}),
        ("float16", 3, 20, 5, 6, {}),
        ("dlfloat16", 1, 32, 3, 8, {}),
        ("int4", 4, 32, 4, 8, {}),
        ("uint8", 2, 16, 1, 8, {"in_range_rule": "rounded", "residual_bits": 4}),
        ("fp4_radix2", 4, 24, 2, 8, {}),
        ("fp4_radix4", 2, 32, 4, 8, {"underflow": "formula", "odd_shift": -1}),
    ],
)
def test_rtl_matches_golden(
    sim, target, lanes, accumulator_bits, channel_groups, random_bits, options
):
    settings = {
        "residual_bits": 8,
        "in_range_rule": "unrounded",
        "underflow": "midpoint",
        "odd_shift": 1,
        "seed": 1,
        **options,
    }
    core = ScaleMultiplier(
        TARGETS[target],
        lanes,
        accumulator_bits,
        channel_groups,
        random_bits,
        settings["residual_bits"],
        InRange[settings["in_range_rule"].upper()],
        Underflow[settings["underflow"].upper()],
        settings["odd_shift"],
        settings["seed"],
    )
    sim(
        core,
        "scale_multiplier",
        {
            "core": f"scale_multiplier ({target})",
            "target": target,
            "lanes": lanes,
            "accumulator_bits": accumulator_bits,
            "channel_groups": channel_groups,
            "random_bits": random_bits,
            "latency": core.latency,
            **settings,
        },
    )


def test_bad_target():
    with pytest.raises(TypeError, match=r"^Target must be a format, not 'bfloat16'$"):
        ScaleMultiplier("bfloat16")


def test_bad_code_width():
    with pytest.raises(ValueError, match=r"^Code width must be 2 to 8, not 16$"):
        ScaleMultiplier(IntFormat(16))


def test_bad_channel_groups():
    with pytest.raises(ValueError, match=r"^Count of channel groups must be 1 to 4096, not 0$"):
        ScaleMultiplier(IntFormat(4), channel_groups=0)
