"""Products: the order in which parts of the operands meet in the array."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from golden.command import Operation
from golden.shift_multiply_array import ShiftOperand

from .command_queue import command_layout
from .dot_product_array import pass_flags

__all__ = ["ProductUnit", "operand_read", "pass_control"]


def operand_read(size, wide):
    """Lay out the reading of an operand: address of a word, and part and lanes of it.

    Parameters
    ----------
    size : CoreSize
        Parameters of the core.
    wide : int
        Count of vectors that are read at once.
    """
    return data.StructLayout(
        {
            "address": 16,
            "part": range(max(size.block // wide, 2)),
            "lanes": range(max(size.block // size.lanes, 2)),
        }
    )


def pass_control(size):
    """Lay out what goes with a pass through memories and array."""
    return data.StructLayout(
        {
            "flags": pass_flags(),
            "operation": 4,
            "signed_activations": 1,
            "operand": 1,
            "digit": 1,
            "lanes_used": size.lanes,
        }
    )


class _Walk:
    """Address of the part of a matrix that meets the array: an index and a term count upward.

    The matrix is read by row (index is a row, terms are columns), or by column. The address is
    that of the word; additions of whole rows of words replace a multiplication.
    """

    def __init__(self, m, name, size, wide):
        self._m = m
        self._size = size
        self._parts = size.block // wide
        self._slots = size.block // size.lanes
        self.base = Signal(16, name=f"{name}_base")
        #: Words from one part, or one run of lanes, to the next, in the direction of each.
        self.index_stride = Signal(16, name=f"{name}_index_stride")
        self.term_stride = Signal(16, name=f"{name}_term_stride")
        self._index_word = Signal(16, name=f"{name}_index_word")
        self._term_word = Signal(16, name=f"{name}_term_word")
        self._part = Signal(range(max(self._parts, 2)), name=f"{name}_part")
        self._slot = Signal(range(max(self._slots, 2)), name=f"{name}_slot")
        self.read = Signal(operand_read(size, wide), name=f"{name}_read")
        m.d.sync += [
            self.read.address.eq(self.base + self._index_word + self._term_word),
            self.read.part.eq(self._part),
            self.read.lanes.eq(self._slot),
        ]

    def start(self, base, across, by_column):
        """Begin at the first word of a matrix that is ``across`` words wide."""
        self._m.d.sync += [
            self.base.eq(base),
            self.index_stride.eq(Mux(by_column, 1, across)),
            self.term_stride.eq(Mux(by_column, across, 1)),
        ]
        self.first_index()
        self.first_term()

    def first_index(self):
        self._m.d.sync += [self._index_word.eq(0), self._part.eq(0)]

    def first_term(self):
        self._m.d.sync += [self._term_word.eq(0), self._slot.eq(0)]

    def next_index(self):
        self._next(self._part, self._parts, self._index_word, self.index_stride)

    def next_term(self):
        self._next(self._slot, self._slots, self._term_word, self.term_stride)

    def _next(self, counter, count, word, stride):
        m = self._m
        with m.If(counter == count - 1):
            m.d.sync += [counter.eq(0), word.eq(word + stride)]
        with m.Else():
            m.d.sync += counter.eq(counter + 1)


class _Extent:
    """One direction of a product: its size, what is left of it, how much the array takes now."""

    def __init__(self, m, name, step):
        self._m = m
        self._step = step
        self.whole = Signal(16, name=name)
        self.left = Signal(16, name=f"{name}_left")
        self.used = Signal(range(step + 1), name=f"{name}_used")
        self.end = Signal(name=f"{name}_end")
        m.d.comb += [self.end.eq(self.left <= step), self.used.eq(Mux(self.end, self.left, step))]

    def start(self, whole):
        self._m.d.sync += [self.whole.eq(whole), self.left.eq(whole)]

    def next(self):
        self._m.d.sync += self.left.eq(Mux(self.end, self.whole, self.left - self._step))


class ProductUnit(wiring.Component):
    """Walk through the tiles of a product and the terms of each, one pass per cycle.

    The tiles come in the order of the results: rows of tiles, and in each the tiles from left to
    right. The last pass of a tile waits until ``room``.

    The latency from a pass to ``integers``, ``codes`` and ``control`` is ``latency`` cycles.

    Parameters
    ----------
    size : CoreSize
        Parameters of the core.

    Members
    -------
    command : ``In(stream.Signature(command_layout()))``
        Products to do; ready while none is under way.
    busy : ``Out(1)``
        Passes are still to come.
    room : ``In(1)``
        Whether the results of one more tile can be taken.
    tile : ``Out(1)``, tile_strips : ``Out(7)``
        The last pass of a tile, for which there was room, and how many rows of the result it has.
    integers : ``Out(operand_read(size, rows))``, codes : ``Out(operand_read(size, columns))``
        What to read of the integer and of the shift operand.
    control : ``Out(pass_control(size))``
        What goes with the pass.
    macs : ``Out(20)``
        Products of two numbers that the pass completes, for the counter.
    """

    latency = 1

    def __init__(self, size):
        self._size = size
        super().__init__(
            {
                "command": In(stream.Signature(command_layout())),
                "busy": Out(1),
                "room": In(1),
                "tile": Out(1),
                "tile_strips": Out(7),
                "integers": Out(operand_read(size, size.rows)),
                "codes": Out(operand_read(size, size.columns)),
                "control": Out(pass_control(size)),
                "macs": Out(20),
            }
        )

    def elaborate(self, platform):
        m = Module()
        size = self._size
        operation = Signal(4)
        signed_activations = Signal()
        forward = Signal()

        # What is left of the result, in the directions of rows and columns of the array, and of
        # the terms.
        rows = _Extent(m, "rows", size.rows)
        columns = _Extent(m, "columns", size.columns)
        terms = _Extent(m, "terms", size.lanes)
        integers = _Walk(m, "integers", size, size.rows)
        codes = _Walk(m, "codes", size, size.columns)
        m.d.comb += [self.integers.eq(integers.read), self.codes.eq(codes.read)]

        digit = Signal()
        first = Signal()
        final_digit = Signal()
        last_pass = Signal()
        go = Signal()
        advance = Signal()
        m.d.comb += [
            final_digit.eq(digit | ~forward),
            last_pass.eq(final_digit & terms.end),
            go.eq(self.busy & (~last_pass | self.room)),
            advance.eq(go & final_digit),
            self.tile.eq(go & last_pass),
            self.tile_strips.eq(Mux(forward, rows.used, columns.used)),
            self.command.ready.eq(~self.busy),
        ]
        with m.If(self.command.ready & self.command.valid):
            self._start(m, rows, columns, terms, integers, codes)
            coming = self.command.payload
            m.d.sync += [
                self.busy.eq(1),
                operation.eq(coming.operation),
                forward.eq(coming.operation == Operation.FORWARD),
                signed_activations.eq(coming.signed_activations),
                digit.eq(0),
                first.eq(1),
            ]
        with m.If(go):
            m.d.sync += [digit.eq(~final_digit), first.eq(last_pass)]
        with m.If(advance):
            terms.next()
            with m.If(terms.end):
                integers.first_term()
                codes.first_term()
                # The columns of the result run fastest: columns of the array forward, and its rows
                # for the gradients.
                with m.If(forward):
                    self._next_tile(m, (codes, columns), (integers, rows))
                with m.Else():
                    self._next_tile(m, (integers, rows), (codes, columns))
                with m.If(rows.end & columns.end):
                    m.d.sync += self.busy.eq(0)
            with m.Else():
                integers.next_term()
                codes.next_term()

        used = Signal(size.lanes)
        for lane in range(size.lanes):
            m.d.comb += used[lane].eq(terms.left > lane)
        m.d.sync += [
            self.control.flags.valid.eq(go),
            self.control.flags.first.eq(first),
            self.control.flags.last.eq(self.tile),
            self.control.operation.eq(operation),
            self.control.signed_activations.eq(signed_activations),
            self.control.operand.eq(Mux(forward, ShiftOperand.INT4, ShiftOperand.FP4)),
            self.control.digit.eq(digit),
            self.control.lanes_used.eq(used),
        ]

        # How many products of two numbers the passes complete.
        units = Signal(13)
        lanes_now = Signal.like(terms.used)
        m.d.sync += [
            units.eq(rows.used * columns.used),
            lanes_now.eq(Mux(advance, terms.used, 0)),
            self.macs.eq(units * lanes_now),
        ]
        return m

    def _next_tile(self, m, fast, slow):
        """Go on to the next tile along the first walk, at its end along the second one."""
        for (walk, extent), condition in ((fast, Const(1)), (slow, fast[1].end)):
            with m.If(condition):
                extent.next()
                with m.If(extent.end):
                    walk.first_index()
                with m.Else():
                    walk.next_index()

    def _start(self, m, rows, columns, terms, integers, codes):
        """Take shapes and places of a command."""
        command = self.command.payload
        block = self._size.block
        log2_block = block.bit_length() - 1
        forward = command.operation == Operation.FORWARD
        by_input = command.operation == Operation.INPUT_GRADIENT
        by_weight = command.operation == Operation.WEIGHT_GRADIENT

        def across(value):
            return (value + (block - 1)) >> log2_block

        rows.start(Mux(forward, command.batch, command.inputs))
        columns.start(Mux(by_input, command.batch, command.outputs))
        terms.start(Mux(forward, command.inputs, Mux(by_input, command.outputs, command.batch)))
        # Activations and weights are `inputs` wide; forward reads both by row.
        integers.start(
            Mux(by_input, command.weight_base, command.activation_base),
            across(command.inputs),
            ~forward,
        )
        codes.start(
            Mux(forward, command.weight_base, command.gradient_base),
            across(Mux(forward, command.inputs, command.outputs)),
            by_weight,
        )
