"""For simulation: a shifter per lane in one stage, a register per level of the tree."""

from nibblegrad.hdl.array.structure import Structure

__all__ = ["STRUCTURE"]


class _Plain(Structure):
    name = "plain"
    staged = False


STRUCTURE = _Plain()
