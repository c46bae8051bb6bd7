"""Where the operands of a pass lie: addresses that count along with it."""

from amaranth import *
from amaranth.lib import data

from nibblegrad.hdl.engine.store_ports import operand_read

__all__ = ["OperandWalk"]


class OperandWalk:
    """Address of the part of a matrix that meets the array: an index and a term count upward.

    The matrix is read by row (index is a row, terms are columns), or by column. The address is
    that of the word; additions of whole rows of words replace a multiplication.

    Parameters
    ----------
    m : Module
        Where the registers go.
    name : str
        Prefix of their names.
    size : CoreSize
        Parameters of the core.
    wide : int
        Count of vectors that are read at once.
    """

    def __init__(self, m, name, size, wide):
        self._m = m
        self._size = size
        self._parts = size.block // wide
        self._slots = size.block // size.lanes
        self.base = Signal(size.address_bits, name=f"{name}_base", reset_less=True)
        #: Words from one part, or one run of lanes, to the next, in the direction of each.
        self.index_stride = Signal(size.address_bits, name=f"{name}_index_stride", reset_less=True)
        self.term_stride = Signal(size.address_bits, name=f"{name}_term_stride", reset_less=True)
        self._index_word = Signal(size.address_bits, name=f"{name}_index_word", reset_less=True)
        self._term_word = Signal(size.address_bits, name=f"{name}_term_word", reset_less=True)
        self._part = Signal(range(max(self._parts, 2)), name=f"{name}_part", reset_less=True)
        self._slot = Signal(range(max(self._slots, 2)), name=f"{name}_slot", reset_less=True)
        self.read = Signal(operand_read(size, wide), name=f"{name}_read")
        # Added up in two stages, and kept in between; what is chosen by comes along.
        adding = data.StructLayout(
            {
                "matrix": size.address_bits,
                "term": size.address_bits,
                "part": self._part.shape(),
                "slot": self._slot.shape(),
            }
        )
        #: The two parts of the address of the word, two cycles before it is in `read`.
        self.parts = Signal(adding, name=f"{name}_parts", reset_less=True)
        kept = Signal(adding, name=f"{name}_kept", reset_less=True)
        m.d.sync += [
            self.parts.matrix.eq(self.base + self._index_word),
            self.parts.term.eq(self._term_word),
            self.parts.part.eq(self._part),
            self.parts.slot.eq(self._slot),
            kept.eq(self.parts),
            self.read.address.eq(kept.matrix + kept.term),
            self.read.part.eq(kept.part),
            self.read.lanes.eq(kept.slot),
        ]

    def start(self, base, across, by_column):
        """Begin at the first word of a matrix that is ``across`` words wide."""
        self._m.d.sync += [
            self.base.eq(base),
            self.index_stride.eq(Mux(by_column, 1, across)),
            self.term_stride.eq(Mux(by_column, across, 1)),
            Cat(self._index_word, self._part, self._term_word, self._slot).eq(0),
        ]

    def move(self, terms, indices):
        """Go on, or back to the first: the steps of terms and indices."""
        self._step(terms, self._slot, self._slots, self._term_word, self.term_stride)
        self._step(indices, self._part, self._parts, self._index_word, self.index_stride)

    def _step(self, step, counter, count, word, stride):
        m = self._m
        with m.If(step.first):
            m.d.sync += [counter.eq(0), word.eq(0)]
        with m.Elif(step.next & (counter == count - 1)):
            m.d.sync += [counter.eq(0), word.eq(word + stride)]
        with m.Elif(step.next):
            m.d.sync += counter.eq(counter + 1)
