"""The rounder of fixed point to integers."""

from collections.abc import Iterator
from typing import Any

from nibblegrad.gen.choices import INTEGERS
from nibblegrad.gen.core import Core, Sample
from nibblegrad.gen.stimulus import BEATS, Chance, Run, event_counts, noise_of, rows_of, tensor
from nibblegrad.golden.cores.stochastic_rounder import round_fixed
from nibblegrad.golden.numbers.rounding import RoundMode
from nibblegrad.hdl.cores.stochastic_rounder import FixedRounder

__all__ = ["CORE", "runs"]


def runs(p: dict[str, Any], chance: Chance) -> Iterator[Run]:
    """Choose tensors, and compute what becomes of them."""
    for mode in RoundMode:
        x = chance.signed(p["width"], BEATS, p["lanes"])
        # Half of them small, so that not all are clipped.
        x[::2] >>= max(p["width"] - p["fraction_bits"] - p["target"].bits, 0)
        noise = noise_of(p, x.shape)
        golden = round_fixed(x, p["fraction_bits"], p["target"], mode, noise, p["random_bits"])
        yield Run(
            mode.name,
            {"mode": mode},
            {
                "s_axis": tensor(rows_of(x, p["width"])),
                "m_axis": tensor(rows_of(golden.values, p["target"].bits)),
            },
            event_counts(saturation=golden.saturations, underflow=golden.underflows)
            | {"seed_error": 0},
        )


CORE = Core(
    "fixed_rounder",
    FixedRounder,
    does="fixed point to integer, in the same modes",
    runs=runs,
    choices={"target": INTEGERS},
    defaults={"width": 24, "fraction_bits": 8, "target": "int16"},
    notes={"target": "format of the output, int2 to int32, or uint2 to uint32"},
    samples={"fixed_rounder": Sample("Fixed point to integers, in the same four modes.")},
    order=30,
)
