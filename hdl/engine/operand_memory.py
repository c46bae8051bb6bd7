"""Memories of operands: codes that are read by row and by column, and what lies beside them."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from nibblegrad.hdl.array.structures import PLAIN
from nibblegrad.hdl.base.copies import fan_out
from nibblegrad.hdl.base.select import choose, equals

__all__ = ["COPIES", "UNCHECKED", "OperandMemory", "StripMemory"]

#: Attribute of a memory of which no word is read that is used and written in the same cycle: Yosys
#: then adds no logic for that case.
UNCHECKED = {"no_rw_check": 1}

#: Registers that hold what chooses rows or columns.
COPIES = 4


def _log2(count):
    assert count & (count - 1) == 0
    return count.bit_length() - 1


class OperandMemory(wiring.Component):
    """Four-bit codes of matrices, of which any part can be read by row or by column.

    A word is a square of ``block * block`` codes. Each group of ``group`` codes of a row of the
    square is a memory of its own, so that a group can be written; all of them are read at once.
    What is wanted of the square is a matter of multiplexers: ``by_row`` rows of ``lanes`` codes,
    or ``by_column`` columns of ``lanes`` codes.

    The latency from ``read_address`` to the codes is 3 cycles, as registers take what a block RAM
    gives late; they are there for one cycle. The choice of the part comes together with the
    address.

    Parameters
    ----------
    words : int
        Depth, 1 or more.
    block, group, lanes : int
        Powers of two; the group is the smallest part that is written.
    by_row, by_column : int
        Count of rows, and of columns, that are read at once; powers of two.

    Members
    -------
    write_address : ``In(range(words))``
        Square to write.
    write_groups : ``In(block // group).array(block)``
        Groups of each row that are written.
    write_data : ``In(ArrayLayout(4, block))``
        The row.
    read_address : ``In(range(words))``
        Square to read.
    read_row_part : ``In(range(block // by_row))``, read_row_lanes : ``In(range(block // lanes))``
        By row: which rows, and which lanes of them.
    read_column_part : ``In(range(block // by_column))``, read_column_lanes : \
``In(range(block // lanes))``
        By column: which columns, and which lanes of them.
    rows : ``Out(4 * group).array(by_row, lanes // group)``
        Codes by row: the groups of each row; see :meth:`row_code`.
    columns : ``Out(4 * group).array(lanes, by_column // group)``
        Codes by column: of each lane the groups of columns; see :meth:`column_code`.
    """

    latency = 3

    def __init__(self, words, block, group, lanes, by_row, by_column):
        self._words = max(words, 2)  # an address needs a bit
        self._block = block
        self._group = group
        self._lanes = lanes
        self._by_row = by_row
        self._by_column = by_column
        address = range(self._words)

        def part(size):
            return range(max(block // size, 2))

        super().__init__(
            {
                "write_address": In(address),
                "write_groups": In(block // group).array(block),
                "write_data": In(data.ArrayLayout(4, block)),
                "read_address": In(address),
                "read_row_part": In(part(by_row)),
                "read_row_lanes": In(part(lanes)),
                "read_column_part": In(part(by_column)),
                "read_column_lanes": In(part(lanes)),
                "rows": Out(4 * group).array(by_row, lanes // group),
                "columns": Out(4 * group).array(lanes, by_column // group),
            }
        )

    def elaborate(self, platform):
        m = Module()
        block, group, lanes = self._block, self._group, self._lanes
        width = 4 * group
        square = []
        for row in range(block):
            groups = []
            for column in range(block // group):
                memory = Memory(shape=width, depth=self._words, init=[], attrs=UNCHECKED)
                m.submodules[f"group_{row}_{column}"] = memory
                write = memory.write_port()
                read = memory.read_port()
                m.d.comb += [
                    write.en.eq(self.write_groups[row][column]),
                    write.addr.eq(self.write_address),
                    write.data.eq(self.write_data.as_value().word_select(column, width)),
                    read.addr.eq(self.read_address),
                    read.en.eq(1),
                ]
                kept = Signal(width, name=f"group_{row}_{column}", reset_less=True)
                m.d.sync += kept.eq(read.data)
                groups.append(kept)
            square.append(groups)

        by_row, by_column = self._by_row, self._by_column
        chosen = {}
        for name in ("row_part", "row_lanes", "column_part", "column_lanes"):
            bits = [
                fan_out(m, f"{name}_{k}", bit, COPIES, 2)
                for k, bit in enumerate(getattr(self, f"read_{name}"))
            ]
            chosen[name] = [Cat(copies) for copies in zip(*bits, strict=True)]
        for k in range(by_row):
            copy = k % COPIES
            choice = self._choice(chosen["row_part"][copy], chosen["row_lanes"][copy], by_row)
            for g in range(lanes // group):
                options = [
                    square[k + part * by_row][g + slot * (lanes // group)]
                    for part in range(block // by_row)
                    for slot in range(block // lanes)
                ]
                row = Signal(width, name=f"row_{k}_{g}", reset_less=True)
                m.d.sync += row.eq(choose(options, choice))
                m.d.comb += self.rows[k][g].eq(row)
        for lane in range(lanes):
            copy = lane % COPIES
            choice = self._choice(
                chosen["column_part"][copy], chosen["column_lanes"][copy], by_column
            )
            for g in range(by_column // group):
                options = [
                    square[lane + slot * lanes][g + part * (by_column // group)]
                    for part in range(block // by_column)
                    for slot in range(block // lanes)
                ]
                column = Signal(width, name=f"column_{lane}_{g}", reset_less=True)
                m.d.sync += column.eq(choose(options, choice))
                m.d.comb += self.columns[lane][g].eq(column)
        return m

    def row_code(self, row, lane):
        """Find the code of a lane of one of the rows that are read."""
        return self.rows[row][lane // self._group].word_select(lane % self._group, 4)

    def column_code(self, column, lane):
        """Find the code of a lane of one of the columns that are read."""
        return self.columns[lane][column // self._group].word_select(column % self._group, 4)

    def _choice(self, part, slot, size):
        """Join the bits of part and lanes that there are to an index into the options."""
        return Cat(slot[: _log2(self._block // self._lanes)], part[: _log2(self._block // size)])


class StripMemory(wiring.Component):
    """Memory whose words are strips of lanes, of which groups can be written.

    A deep one is made of banks, each with a register in it and one on the way, before one of them
    is chosen: they lie far apart.

    The latency from ``read_address`` to ``read_data`` is 4 cycles.

    Parameters
    ----------
    words : int
        Depth, 1 or more.
    lane : shape-like
        Shape of a lane.
    lanes : int
        Count of lanes in a strip.
    group : int
        Count of lanes that are written together.
    structure : Structure
        What says how deep a memory can be, and a bank.

    Members
    -------
    write_address : ``In(range(words))``, write_groups : ``In(lanes // group)``
        Strip to write, and which groups of it.
    write_data : ``In(ArrayLayout(lane, lanes))``
        The strip.
    read_address : ``In(range(words))``
        Strip to read.
    read_data : ``Out(ArrayLayout(lane, lanes))``
        The strip at ``read_address``.
    """

    latency = 4

    def __init__(self, words, lane, lanes, group, structure=PLAIN):
        self._words = max(words, 2)  # an address needs a bit
        self._lane = lane
        self._lanes = lanes
        self._group = group
        self._structure = structure
        strip = data.ArrayLayout(lane, lanes)
        super().__init__(
            {
                "write_address": In(range(self._words)),
                "write_groups": In(lanes // group),
                "write_data": In(strip),
                "read_address": In(range(self._words)),
                "read_data": Out(strip),
            }
        )

    def elaborate(self, platform):
        m = Module()
        width = Shape.cast(self._lane).width * self._group
        low = _log2(self._structure.bank_words)
        depths = self._structure.bank_depths(self._words)
        bits = [
            fan_out(m, f"bank_{k}", bit, COPIES, 3) for k, bit in enumerate(self.read_address[low:])
        ]
        banks = [Cat(copies) for copies in zip(*bits, strict=True)] or [Const(0, 1)] * COPIES
        read_address = self.read_address
        if len(depths) == 1:
            # With nothing to choose from, this costs less than a register behind it.
            read_address = Signal.like(self.read_address, name="address_kept", reset_less=True)
            m.d.sync += read_address.eq(self.read_address)
        for k in range(self._lanes // self._group):
            kept = []
            for number, depth in enumerate(depths):
                memory = Memory(shape=width, depth=depth, init=[], attrs=UNCHECKED)
                m.submodules[f"group_{k}_{number}"] = memory
                write = memory.write_port()
                read = memory.read_port()
                this = equals(self.write_address[low:], number) if len(depths) > 1 else Const(1)
                m.d.comb += [
                    write.en.eq(self.write_groups[k] & this),
                    write.addr.eq(self.write_address[: len(write.addr)]),
                    write.data.eq(self.write_data.as_value().word_select(k, width)),
                    read.addr.eq(read_address[: len(read.addr)]),
                    read.en.eq(1),
                ]
                kept.append(Signal(width, name=f"kept_{k}_{number}", reset_less=True))
                m.d.sync += kept[-1].eq(read.data)
                if len(depths) > 1:
                    near = Signal(width, name=f"near_{k}_{number}", reset_less=True)
                    m.d.sync += near.eq(kept[-1])
                    kept[-1] = near
            kept += [kept[0]] * ((1 << (len(kept) - 1).bit_length()) - len(kept))
            chosen = Signal(width, name=f"chosen_{k}", reset_less=True)
            for part, bank in enumerate(banks):
                some = slice(width * part // COPIES, width * (part + 1) // COPIES)
                m.d.sync += chosen[some].eq(choose([each[some] for each in kept], bank))
            m.d.comb += self.read_data.as_value().word_select(k, width).eq(chosen)
        return m
