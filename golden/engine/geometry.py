"""What follows from the shape of a core: its words, its beats, and how wide its numbers are."""

import functools

from nibblegrad.golden.numbers.formats import FloatFormat
from nibblegrad.golden.numbers.random_bits import words_per_beat

__all__ = [
    "ADDRESS_BITS",
    "CODE_BITS",
    "COUNT_BITS",
    "GREATEST_SIDE",
    "INTEGER_BITS",
    "SUM_BITS",
    "Geometry",
]

#: Width of a signed integer operand of a lane: holds INT4 and UINT4.
INTEGER_BITS = 5
#: Width of a code, integer or FP4.
CODE_BITS = 4
#: Width of a partial sum, and of a bias.
SUM_BITS = 32
#: Width of a size in a command, and of what counts along with it.
COUNT_BITS = 16
#: Width of the address of a word, and of the first one in a command.
ADDRESS_BITS = 16
#: Most rows, columns and lanes.
GREATEST_SIDE = 64


class Geometry:
    """What parts of a core ask of its size.

    Widths do not depend on the parameters yet: registers have the same fields in every core.

    Attributes
    ----------
    rows, columns, lanes, wide_format, random_bits :
        Parameters; see :class:`nibblegrad.golden.engine.command.CoreSize`.
    """

    rows: int
    columns: int
    lanes: int
    wide_format: FloatFormat
    random_bits: int

    @functools.cached_property
    def block(self) -> int:
        """Side of the square of codes that is a word of an operand memory."""
        return max(self.rows, self.columns, self.lanes)

    @functools.cached_property
    def load_lanes(self) -> int:
        """Count of numbers in a beat of a load."""
        return min(self.rows, self.columns, self.lanes)

    @functools.cached_property
    def strip(self) -> int:
        """Count of numbers in a beat of a result: a strip of one of its rows."""
        return max(self.rows, self.columns)

    @property
    def biases_per_beat(self) -> int:
        """Count of biases in a beat of LOAD_BIASES."""
        return self.load_lanes * self.wide_format.width // SUM_BITS

    @property
    def load_words(self) -> int:
        """Random words that a beat of LOAD_GRADIENTS takes (radix 2)."""
        return words_per_beat(self.load_lanes, self.random_bits)

    @property
    def result_words(self) -> int:
        """Random words that a strip of a result takes."""
        return words_per_beat(self.strip, self.random_bits)

    @property
    def count_bits(self) -> int:
        """Width of a count of rows, columns or terms of a matrix, and of words across it."""
        return COUNT_BITS

    @property
    def address_bits(self) -> int:
        """Width of the address of a word."""
        return ADDRESS_BITS

    @property
    def load_address_bits(self) -> int:
        """Width of the address of a load: of a word, or of a beat, of which biases have several."""
        return ADDRESS_BITS + GREATEST_SIDE.bit_length() - 1

    @property
    def strip_count_bits(self) -> int:
        """Width of a count of the strips of a tile."""
        return GREATEST_SIDE.bit_length()

    @property
    def sum_bits(self) -> int:
        """Width of a partial sum, and of a bias."""
        return SUM_BITS

    def blocks(self, rows: int, columns: int) -> int:
        """Count the words of an operand memory that a matrix takes."""
        return -(-rows // self.block) * -(-columns // self.block)
