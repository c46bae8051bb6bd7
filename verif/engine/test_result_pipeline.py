# amaranth: UnusedElaboratable=no
"""The result pipeline: hardware against model, and bad parameters."""

import pytest

from nibblegrad.golden.cores.fp4_quantizer import Underflow
from nibblegrad.golden.cores.quantizer import InRange
from nibblegrad.golden.engine.command import CoreSize
from nibblegrad.golden.numbers.formats import WIDE_FORMATS, Fp4Format
from nibblegrad.hdl.engine.result_pipeline import ResultPipeline
from verif.support.marks import slow

SMALL = {"rows": 2, "columns": 4, "lanes": 2}


@pytest.mark.parametrize(
    "wide_format, log2_radix, size, tag_bits",
    [
        ("bfloat16", 1, SMALL, 9),
        (
            "float32",
            2,
            {
                "rows": 2,
                "columns": 2,
                "lanes": 4,
                "random_bits": 24,
                "residual_bits": 12,
                "in_range_rule": InRange.ROUNDED,
                "underflow": Underflow.FORMULA,
                "odd_shift": -1,
                "seed": 5,
            },
            1,
        ),
        slow("float32", 1, {**SMALL, "random_bits": 11, "underflow": Underflow.FORMULA}, 3),
        slow("bfloat16", 2, {**SMALL, "random_bits": 2, "residual_bits": 1, "max_terms": 64}, 3),
    ],
)
def test_rtl_matches_golden(sim, wide_format, log2_radix, size, tag_bits):
    core = ResultPipeline(
        CoreSize(wide_format=WIDE_FORMATS[wide_format], fmt=Fp4Format(log2_radix), **size), tag_bits
    )
    sim(
        core,
        "result_pipeline",
        {
            "core": f"result_pipeline ({wide_format}, radix {1 << log2_radix})",
            "size": {**size, "wide_format": wide_format, "fmt": log2_radix},
            "tag_bits": tag_bits,
            "latency": core.latency,
        },
    )


def test_bad_size():
    with pytest.raises(TypeError, match=r"^Size must be a CoreSize, not 8$"):
        ResultPipeline(8)


def test_bad_tag_width():
    with pytest.raises(ValueError, match=r"^Tag width must be 1 to 256, not 0$"):
        ResultPipeline(CoreSize(), 0)
