"""The rounder of wide floats to narrower ones."""

from collections.abc import Iterator
from typing import Any

from nibblegrad.gen.choices import WIDE_FORMATS
from nibblegrad.gen.core import Core, Sample
from nibblegrad.gen.stimulus import (
    BEATS,
    Chance,
    Run,
    event_counts,
    noise_of,
    rows_of,
    seed_beats,
    tensor,
)
from nibblegrad.golden.cores.stochastic_rounder import round_float_codes
from nibblegrad.golden.numbers.rounding import RoundMode
from nibblegrad.hdl.cores.stochastic_rounder import FloatRounder

__all__ = ["CORE", "runs"]


def runs(p: dict[str, Any], chance: Chance) -> Iterator[Run]:
    """Choose tensors, and compute what becomes of them."""
    source, target = p["source"], p["target"]
    for mode in RoundMode:
        codes = chance.floats(source, 0, BEATS, p["lanes"])
        noise = noise_of(p, codes.shape, mode)
        rounded, golden = round_float_codes(codes, source, target, mode, noise, p["random_bits"])
        yield Run(
            mode.name,
            {"mode": mode},
            {
                **seed_beats(mode),
                "s_axis": tensor(rows_of(codes, source.width)),
                "m_axis": tensor(rows_of(rounded, target.width)),
            },
            event_counts(
                saturation=golden.saturations,
                underflow=golden.underflows,
                nonfinite=golden.nonfinite,
            )
            | {"seed_error": 0},
        )


CORE = Core(
    "stochastic_rounder",
    FloatRounder,
    does="wide to narrower float, in four modes",
    runs=runs,
    choices={"source": WIDE_FORMATS, "target": WIDE_FORMATS},
    defaults={"source": "float32", "target": "bfloat16"},
    notes={
        "source": "format of the input",
        "target": "format of the output, with fewer fraction bits",
    },
    samples={
        "stochastic_rounder": Sample(
            "Wide floats to narrower ones: to the nearest, stochastic, self-stochastic or "
            "truncated."
        )
    },
    order=20,
)
