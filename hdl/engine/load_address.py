"""Places of the writes of a load: they count along with it."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from nibblegrad.hdl.base.countdown import Countdown
from nibblegrad.hdl.base.pipeline import register

__all__ = ["LoadAddress"]


class LoadAddress(wiring.Component):
    """Tell where a write of a load goes: its word, the row in it, and the group of that row.

    A matrix comes row by row, and a row in groups. It lies in words, squares of ``block * block``
    codes, row of words by row of words. Biases have no rows: each beat is a word of its own.

    The latency from ``next`` to the next place is 1 cycle.

    Parameters
    ----------
    size : CoreSize
        Parameters of the core.

    Members
    -------
    start : ``In(1)``
        The next write is the first one of a matrix.
    next : ``In(1)``
        A write is done.
    base : ``In(load_address_bits)``
        First word of the matrix; of biases, first beat.
    columns : ``In(count_bits)``, row_lanes : ``In(range(...))``
        Columns of the matrix, and how many of them a write takes.
    begin_row : ``In(signed(count_bits + 1))``
        What :meth:`nibblegrad.hdl.base.countdown.Countdown.first` makes of those two.
    is_biases : ``In(1)``
        Whether the matrix is biases. All of these stand still from the cycle before ``start``
        until the last write.
    address : ``Out(load_address_bits)``
        Word; of biases, beat.
    row : ``Out(range(block))``, rows : ``Out(block)``
        Row of the word, and the same with a bit for each.
    group : ``Out(range(groups))``, groups : ``Out(groups)``
        Group of the row, and the same with a bit for each.
    """

    latency = 1

    def __init__(self, size):
        self._size = size
        groups = size.block // size.load_lanes
        super().__init__(
            {
                "start": In(1),
                "next": In(1),
                "base": In(size.load_address_bits),
                "columns": In(size.count_bits),
                "row_lanes": In(range(max(size.biases_per_beat, size.load_lanes) + 1)),
                "begin_row": In(signed(size.count_bits + 1)),
                "is_biases": In(1),
                "address": Out(size.load_address_bits),
                "row": Out(range(size.block)),
                "rows": Out(size.block),
                "group": Out(range(max(groups, 2))),
                "groups": Out(groups),
            }
        )

    def elaborate(self, platform):
        m = Module()
        block = self._size.block
        log2_block = block.bit_length() - 1
        first_column = Signal.like(self.address)  # word of the first column
        next_row = Signal.like(self.address)  # that of the next row of words
        across = Signal(self._size.count_bits)
        base = register(m, "first_word", self.base)
        in_last_row = Signal()
        left = Countdown(m, "writes", self.columns, self.row_lanes, self.begin_row)
        m.d.sync += [
            across.eq((self.columns + (block - 1)) >> log2_block),
            next_row.eq(first_column + across),
        ]
        with m.If(self.start):
            left.start()
            self._go_to_row(m, 0)
            m.d.sync += [
                self.address.eq(base),
                first_column.eq(base),
                in_last_row.eq(0),
            ]
        with m.Elif(self.next):
            left.next()
            m.d.sync += [self.group.eq(self.group + 1), self.groups.eq(self.groups << 1)]
            with m.If(self.groups[-1] | self.is_biases):
                self._go_to_group_0(m)
                m.d.sync += self.address.eq(self.address + 1)
            with m.If(left.end & ~self.is_biases):
                self._go_to_group_0(m)
                m.d.sync += [
                    self.row.eq(self.row + 1),
                    self.rows.eq(self.rows.rotate_left(1)),
                    in_last_row.eq(self.rows[-2]),
                    self.address.eq(first_column),
                ]
                with m.If(in_last_row):
                    m.d.sync += [self.address.eq(next_row), first_column.eq(next_row)]
        return m

    def _go_to_row(self, m, row):
        m.d.sync += [self.row.eq(row), self.rows.eq(1 << row)]
        self._go_to_group_0(m)

    def _go_to_group_0(self, m):
        m.d.sync += [self.group.eq(0), self.groups.eq(1)]
