"""For FPGAs: one level of four-input tables, or one carry chain, between registers."""

from nibblegrad.hdl.array.accumulator import ClearedAccumulator
from nibblegrad.hdl.array.structure import Structure

__all__ = ["STRUCTURE"]


class _Pipelined(Structure):
    name = "pipelined"

    def accumulator(self, term_bits, bits, ends_late=False):
        return ClearedAccumulator(term_bits, bits, ends_late)


STRUCTURE = _Pipelined()
