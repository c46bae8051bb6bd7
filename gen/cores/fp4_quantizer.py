"""The quantisers of FP4 gradients."""

from collections.abc import Iterator
from typing import Any

from nibblegrad.gen.choices import FP4, UNDERFLOW, UNDERFLOW_NOTE, WIDE_FORMATS
from nibblegrad.gen.core import Core, Sample
from nibblegrad.gen.stimulus import (
    BEATS,
    Chance,
    Run,
    event_counts,
    fp4_settings,
    noise_of,
    rows_of,
    tensor,
)
from nibblegrad.golden.cores.fp4_quantizer import Fp4Mode, quantize_fp4
from nibblegrad.hdl.cores.fp4_quantizer import Fp4Quantizer

__all__ = ["CORE", "runs"]


def runs(p: dict[str, Any], chance: Chance) -> Iterator[Run]:
    """Choose tensors, and compute what becomes of them."""
    exponent = -4
    for title, setting in fp4_settings(p["fmt"]):
        codes = chance.floats(
            p["wide_format"], exponent + 5 * p["fmt"].log2_radix, BEATS, p["lanes"]
        )
        golden = quantize_fp4(
            p["wide_format"].decode(codes), p["fmt"], exponent,
            Fp4Mode(setting.get("stochastic", 0)), phase=setting.get("phase", 0),
            odd_shift=p["odd_shift"], underflow=p["underflow"], noise=noise_of(p, codes.shape),
            random_bits=p["random_bits"], check_finite=False,
        )  # fmt: skip
        yield Run(
            title,
            {"scale_exponent": exponent, **setting},
            {
                "s_axis": tensor(rows_of(codes, p["wide_format"].width)),
                "m_axis": tensor(rows_of(golden.codes, 4)),
            },
            event_counts(
                saturation=golden.saturations,
                underflow=golden.underflows,
                nonfinite=golden.nonfinite,
            ),
        )


CORE = Core(
    "fp4_quantizer",
    Fp4Quantizer,
    does="wide float to FP4: LUQ (radix 2) or two-phase (radix 4)",
    runs=runs,
    choices={"wide_format": WIDE_FORMATS, "fmt": FP4, "underflow": UNDERFLOW},
    defaults={"wide_format": "bfloat16", "fmt": "fp4_radix2"},
    notes={"underflow": UNDERFLOW_NOTE},
    samples={
        "fp4_quantizer": Sample(
            "Wide floats to FP4 [1,3,0] gradients, radix 2: stochastic (LUQ) or to the nearest."
        ),
        "two_phase_quantizer": Sample(
            "The same in radix 4: two-phase rounding to even or odd powers of two.",
            {"fmt": "fp4_radix4"},
        ),
    },
    order=40,
)
