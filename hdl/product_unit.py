"""Products: the order in which parts of the operands meet in the array."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from golden.command import Operation
from golden.shift_multiply_array import ShiftOperand

from .command_queue import command_layout
from .countdown import Countdown
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
        # Added up in two stages; what is chosen by comes along.
        matrix = Signal(16, name=f"{name}_matrix")
        term_word, part, slot = (
            Signal.like(value, name=f"{name}_{what}_before")
            for what, value in (
                ("term", self._term_word),
                ("part", self._part),
                ("slot", self._slot),
            )
        )
        m.d.sync += [
            matrix.eq(self.base + self._index_word),
            term_word.eq(self._term_word),
            part.eq(self._part),
            slot.eq(self._slot),
            self.read.address.eq(matrix + term_word),
            self.read.part.eq(part),
            self.read.lanes.eq(slot),
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
        Products of two numbers that a pass completed, for the counter.
    """

    latency = 2

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
        whole = {x: Signal(16, name=x, reset_less=True) for x in ("rows", "columns", "terms")}
        rows = Countdown(m, "rows", whole["rows"], size.rows)
        columns = Countdown(m, "columns", whole["columns"], size.columns)
        terms = Countdown(m, "terms", whole["terms"], size.lanes)
        integers = _Walk(m, "integers", size, size.rows)
        codes = _Walk(m, "codes", size, size.columns)
        m.d.comb += [self.integers.eq(integers.read), self.codes.eq(codes.read)]

        starting = Signal()  # the command is known, but not yet what is made of it
        running = Signal()
        digit = Signal()
        first = Signal()
        final_digit = Signal()
        last_pass = Signal()
        go = Signal()
        advance = Signal()
        m.d.comb += [
            final_digit.eq(digit | ~forward),
            last_pass.eq(final_digit & terms.end),
            go.eq(running & (~last_pass | self.room)),
            advance.eq(go & final_digit),
            self.tile.eq(go & last_pass),
            self.tile_strips.eq(Mux(forward, rows.used(size.rows), columns.used(size.columns))),
            self.command.ready.eq(~self.busy),
        ]
        m.d.sync += starting.eq(self.command.ready & self.command.valid)
        with m.If(self.command.ready & self.command.valid):
            coming = self.command.payload
            m.d.sync += [
                self.busy.eq(1),
                operation.eq(coming.operation),
                forward.eq(coming.operation == Operation.FORWARD),
                signed_activations.eq(coming.signed_activations),
            ]
        places = self._take(m, whole)
        with m.If(starting):
            m.d.sync += [running.eq(1), digit.eq(0), first.eq(1)]
            for extent in (rows, columns, terms):
                extent.start()
            self._start(forward, operation, places, integers, codes)
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
                    m.d.sync += [running.eq(0), self.busy.eq(0)]
            with m.Else():
                integers.next_term()
                codes.next_term()

        control = Signal(pass_control(size), name="control_before")
        m.d.sync += [
            control.flags.valid.eq(go),
            control.flags.first.eq(first),
            control.flags.last.eq(self.tile),
            control.operation.eq(operation),
            control.signed_activations.eq(signed_activations),
            control.operand.eq(Mux(forward, ShiftOperand.INT4, ShiftOperand.FP4)),
            control.digit.eq(digit),
            control.lanes_used.eq(Cat(terms.reaches(size.lanes, k) for k in range(size.lanes))),
            self.control.eq(control),
        ]
        self._count(m, rows.used(size.rows), columns.used(size.columns),
                    Mux(advance, terms.used(size.lanes), 0))  # fmt: skip
        return m

    def _count(self, m, rows, columns, lanes):
        """Tell how many products of two numbers the passes complete."""
        sizes = (self._size.rows, self._size.columns, self._size.lanes)
        used = [Signal(range(size + 1), name=f"used_{k}") for k, size in enumerate(sizes)]
        units = Signal(13)
        lanes_now = Signal.like(used[2])
        m.d.sync += [
            *(register.eq(now) for register, now in zip(used, (rows, columns, lanes), strict=True)),
            units.eq(used[0] * used[1]),
            lanes_now.eq(used[2]),
            self.macs.eq(units * lanes_now),
        ]

    def _next_tile(self, m, fast, slow):
        """Go on to the next tile along the first walk, at its end along the second one."""
        for (walk, extent), condition in ((fast, Const(1)), (slow, fast[1].end)):
            with m.If(condition):
                extent.next()
                with m.If(extent.end):
                    walk.first_index()
                with m.Else():
                    walk.next_index()

    def _take(self, m, whole):
        """Take shapes and places of a command; returns bases and widths of both operands."""
        command = self.command.payload
        forward = command.operation == Operation.FORWARD
        by_input = command.operation == Operation.INPUT_GRADIENT
        names = ("integer_base", "code_base", "integer_width", "code_width")
        places = [Signal(16, name=name, reset_less=True) for name in names]
        batch, inputs, outputs = command.batch, command.inputs, command.outputs
        # Activations and weights are `inputs` wide.
        values = (
            Mux(by_input, command.weight_base, command.activation_base),
            Mux(forward, command.weight_base, command.gradient_base),
            inputs,
            Mux(forward, inputs, outputs),
        )
        with m.If(self.command.ready & self.command.valid):
            m.d.sync += [
                whole["rows"].eq(Mux(forward, batch, inputs)),
                whole["columns"].eq(Mux(by_input, batch, outputs)),
                whole["terms"].eq(Mux(forward, inputs, Mux(by_input, outputs, batch))),
                *(place.eq(value) for place, value in zip(places, values, strict=True)),
            ]
        return places

    def _start(self, forward, operation, places, integers, codes):
        """Begin both walks."""
        integer_base, code_base, integer_width, code_width = places
        block = self._size.block
        log2_block = block.bit_length() - 1

        def across(value):
            return (value + (block - 1)) >> log2_block

        # Forward reads both by row.
        integers.start(integer_base, across(integer_width), ~forward)
        codes.start(code_base, across(code_width), operation == Operation.WEIGHT_GRADIENT)
