"""Registration of the toy core."""

from nibblegrad.gen.core import Core
from nibblegrad.gen.stimulus import BEATS, Run, event_counts, rows_of, tensor

from .hardware import ClippingAdder
from .model import add_and_clip

__all__ = ["CORE", "runs"]


def runs(p, chance):
    """Add a positive and a negative constant."""
    bits = p["bits"]
    for addend in (1, -(1 << (bits - 2))):
        numbers = chance.signed(bits, BEATS, p["lanes"])
        sums, saturations = add_and_clip(numbers, addend, bits)
        yield Run(
            f"add {addend}",
            {"addend": addend},
            {"s_axis": tensor(rows_of(numbers, bits)), "m_axis": tensor(rows_of(sums, bits))},
            event_counts(saturation=saturations),
        )


CORE = Core("clipping_adder", ClippingAdder, does="number plus a constant, clipped", runs=runs)
