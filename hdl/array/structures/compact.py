"""For standard cells: few registers, which cost most there."""

from nibblegrad.hdl.array.structure import Structure

__all__ = ["STRUCTURE"]


class _Compact(Structure):
    name = "compact"
    registered = False
    levels_per_stage = 2


STRUCTURE = _Compact()
