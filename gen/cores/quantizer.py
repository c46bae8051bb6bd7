"""The quantiser of learned steps."""

from collections.abc import Iterator
from typing import Any

from nibblegrad.gen.choices import IN_RANGE, IN_RANGE_NOTE, WIDE_FORMATS
from nibblegrad.gen.core import Core, Sample
from nibblegrad.gen.stimulus import BEATS, Chance, Run, event_counts, residuals, rows_of, tensor
from nibblegrad.golden.cores.quantizer import quantize
from nibblegrad.golden.numbers.formats import IntFormat, Scale
from nibblegrad.hdl.cores.quantizer import Quantizer

__all__ = ["CORE", "runs"]


def runs(p: dict[str, Any], chance: Chance) -> Iterator[Run]:
    """Choose tensors, and compute what becomes of them."""
    reciprocal = Scale(43691, -14)
    for fmt in (IntFormat(p["bits"]), IntFormat(p["bits"], signed=False)):
        codes = chance.floats(p["wide_format"], p["bits"] - 2, BEATS, p["lanes"])
        golden = quantize(
            p["wide_format"].decode(codes), reciprocal, fmt, in_range=p["in_range_rule"],
            residual_bits=p["residual_bits"], check_finite=False,
        )  # fmt: skip
        yield Run(
            fmt.name,
            {
                "reciprocal_significand": int(reciprocal.significand),
                "reciprocal_exponent": int(reciprocal.exponent),
                "is_signed": fmt.signed,
            },
            {
                "s_axis": tensor(rows_of(codes, p["wide_format"].width)),
                "m_axis": tensor(
                    rows_of(golden.codes, p["bits"]), tuser=residuals(golden, p["residual_bits"])
                ),
            },
            event_counts(
                saturation=golden.saturations,
                underflow=golden.underflows,
                nonfinite=golden.nonfinite,
            ),
        )


CORE = Core(
    "quantizer",
    Quantizer,
    does="wide float to INT4 by a learned step, with what the step gradient needs",
    runs=runs,
    choices={"wide_format": WIDE_FORMATS, "in_range_rule": IN_RANGE},
    defaults={"wide_format": "bfloat16"},
    notes={"in_range_rule": IN_RANGE_NOTE},
    samples={
        "quantizer": Sample(
            "Wide floats to INT4 weights or UINT4 activations by a learned step size (LSQ)."
        )
    },
    order=10,
)
