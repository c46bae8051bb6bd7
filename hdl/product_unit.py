"""Products: the order in which parts of the operands meet in the array."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from golden.shift_multiply_array import ShiftOperand

from .commands import command_layout, is_forward, is_input_gradient, is_weight_gradient
from .countdown import Countdown
from .dot_product_array import pass_flags
from .operand_walk import OperandWalk, operand_read
from .pipeline import deepen, delay

__all__ = ["ProductUnit", "pass_control"]


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


def _step_layout():
    """Lay out how a walk goes on in one direction: to the first, to the next, or not at all."""
    return data.StructLayout({"first": 1, "next": 1})


def _pass_layout(size):
    """Lay out a pass that is decided upon, and how the walks go on after it."""
    return data.StructLayout(
        {
            "valid": 1,
            "tile": 1,
            "within": 1,
            "end": 1,
            "first": 1,
            "digit": 1,
            "forward": 1,
            "operation": 4,
            "signed_activations": 1,
            "rows": range(size.rows + 1),
            "columns": range(size.columns + 1),
            "strips": range(size.strip + 1),
            "gap": range(size.strip + 1),
            "lanes": range(size.lanes + 1),
            "lanes_used": size.lanes,
            "completes": 1,
            "term": _step_layout(),
            "integer_index": _step_layout(),
            "code_index": _step_layout(),
        }
    )


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
    tile : ``Out(1)``, tile_strips : ``Out(7)``, tile_gap : ``Out(7)``
        The last pass of a tile, for which there was room, how many rows of the result it has, and
        how many cycles must pass before the next one: as many, less 1, and one more at the end.
    integers : ``Out(operand_read(size, rows))``, codes : ``Out(operand_read(size, columns))``
        What to read of the integer and of the shift operand.
    weight_address : ``Out(16)``
        Word of the weights to read: of the shift operand forward, of the integers backward.
    control : ``Out(pass_control(size))``
        What goes with the pass.
    macs : ``Out(20)``
        Products of two numbers that a pass completed, for the counter.
    """

    latency = 3
    #: Cycles from the last pass of a product to the start of the next one, whose first pass it is.
    turnaround = 5

    def __init__(self, size):
        self._size = size
        super().__init__(
            {
                "command": In(stream.Signature(command_layout())),
                "busy": Out(1),
                "room": In(1),
                "tile": Out(1),
                "tile_strips": Out(7),
                "tile_gap": Out(7),
                "integers": Out(operand_read(size, size.rows)),
                "codes": Out(operand_read(size, size.columns)),
                "weight_address": Out(16),
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
        starting = Signal()  # the command is known, but not yet what is made of it
        running = Signal()
        first = Signal()
        final_digit = Signal()
        # A pass is decided upon in one cycle, by what is left. In the next one it waits until it
        # may leave, and with it the walks go on.
        passing = Signal(_pass_layout(size), init={"within": 1})
        move = Signal()
        m.d.comb += [
            move.eq(~passing.tile | self.room),
            self.tile.eq(passing.tile & self.room),
            self.tile_strips.eq(passing.strips),
            self.tile_gap.eq(passing.gap),
            self.command.ready.eq(~self.busy),
        ]

        # What is left of the terms, and of the result. Its columns run fastest: columns of the
        # array forward, and its rows for the gradients.
        whole = {x: Signal(16, name=x, reset_less=True) for x in ("terms", "fast", "slow")}
        terms = Countdown(m, "terms", whole["terms"], size.lanes)
        fast = Countdown(m, "fast", whole["fast"], Mux(forward, size.columns, size.rows))
        slow = Countdown(m, "slow", whole["slow"], Mux(forward, size.rows, size.columns), once=True)
        # The same as `move`, from a register that others do not use.
        decide = passing.within | self.room
        with m.If(decide):
            m.d.sync += first.eq(final_digit & terms.end)
            m.d.sync += final_digit.eq(~(final_digit & forward))
            with m.If(final_digit):
                terms.next()
            with m.If(final_digit & terms.end):
                fast.next()
            with m.If(final_digit & terms.end & fast.end):
                slow.next()
        ends = decide & final_digit & terms.end & fast.end & slow.end
        m.d.sync += running.eq(starting | (running & ~ends))
        with m.If(starting):
            m.d.sync += [starting.eq(0), first.eq(1), final_digit.eq(~forward)]
            for extent in (terms, fast, slow):
                extent.start()

        with m.If(move):
            m.d.sync += [
                passing.valid.eq(running),
                passing.first.eq(first),
                passing.digit.eq(final_digit & forward),
                passing.forward.eq(forward),
                passing.operation.eq(operation),
                passing.signed_activations.eq(signed_activations),
            ]
            self._decide(m, passing, running & final_digit, forward, terms, fast, slow)

        integers = OperandWalk(m, "integers", size, size.rows)
        codes = OperandWalk(m, "codes", size, size.columns)
        m.d.comb += [self.integers.eq(integers.read), self.codes.eq(codes.read)]
        places = self._take(m, whole)
        with m.If(move):
            integers.move(passing.term, passing.integer_index)
            codes.move(passing.term, passing.code_index)
        with m.If(starting):
            self._start(forward, operation, places, integers, codes)
        with m.If(move & passing.end):
            m.d.sync += self.busy.eq(0)
        with m.If(~self.busy):
            coming = self.command.payload
            m.d.sync += [
                operation.eq(coming.operation),
                forward.eq(is_forward(coming.operation)),
                signed_activations.eq(coming.signed_activations),
            ]
            with m.If(self.command.valid):
                m.d.sync += [self.busy.eq(1), starting.eq(1)]

        self._send(m, passing, move, integers, codes)
        self._count(m, passing.rows, passing.columns, passing.lanes, move & passing.completes)
        return m

    def _decide(self, m, passing, end, forward, terms, fast, slow):
        """Find how large a pass and its tile are, and how the walks go on; ``end`` of a term."""
        size = self._size
        tile_end = end & terms.end
        row_end = tile_end & fast.end
        m.d.sync += [
            passing.tile.eq(tile_end),
            passing.within.eq(~tile_end),
            passing.end.eq(row_end & slow.end),
            passing.rows.eq(Mux(forward, slow.used(size.rows), fast.used(size.rows))),
            passing.columns.eq(Mux(forward, fast.used(size.columns), slow.used(size.columns))),
            passing.strips.eq(Mux(forward, slow.used(size.rows), slow.used(size.columns))),
            passing.gap.eq(
                Mux(
                    forward,
                    Mux(slow.end, slow.rest(size.rows) + fast.end, size.rows - 1),
                    Mux(slow.end, slow.rest(size.columns) + fast.end, size.columns - 1),
                )
            ),
            passing.lanes.eq(terms.used(size.lanes)),
            passing.lanes_used.eq(Cat(terms.reaches(size.lanes, k) for k in range(size.lanes))),
            passing.completes.eq(end),
            passing.term.first.eq(tile_end),
            passing.term.next.eq(end & ~terms.end),
        ]
        for step, is_fast in (
            (passing.integer_index, ~forward),
            (passing.code_index, forward),
        ):
            m.d.sync += [
                step.first.eq(Mux(is_fast, row_end, row_end & slow.end)),
                step.next.eq(Mux(is_fast, tile_end & ~fast.end, row_end & ~slow.end)),
            ]

    def _send(self, m, passing, move, integers, codes):
        """Let what goes with a pass follow it, until its words are addressed."""
        size = self._size
        decided, kept = (
            Signal(pass_control(size), name=f"control_{x}") for x in ("decided", "kept")
        )
        weights = Signal.like(integers.parts, name="weight_parts", reset_less=True)
        m.d.sync += [
            decided.flags.valid.eq(passing.valid & move),
            decided.flags.first.eq(passing.first),
            decided.flags.last.eq(self.tile),
            decided.operation.eq(passing.operation),
            decided.signed_activations.eq(passing.signed_activations),
            decided.operand.eq(Mux(passing.forward, ShiftOperand.INT4, ShiftOperand.FP4)),
            decided.digit.eq(passing.digit),
            decided.lanes_used.eq(passing.lanes_used),
            kept.eq(decided),
            self.control.eq(kept),
        ]
        for part in ("matrix", "term"):
            by_code = decided.operand == ShiftOperand.INT4
            m.d.sync += weights[part].eq(Mux(by_code, codes.parts[part], integers.parts[part]))
        m.d.sync += self.weight_address.eq(weights.matrix + weights.term)

    def _count(self, m, rows, columns, lanes, completes):
        """Tell how many products of two numbers the passes complete."""
        size = self._size
        units = Signal(range(size.rows * size.columns + 1), reset_less=True)
        product = Signal.like(self.macs, name="product", reset_less=True)
        # Both products are multipliers, with registers of their own around them.
        rows, columns, lanes = deepen(m, True, "counted", rows, columns, lanes)
        (lanes,) = deepen(m, True, "kept", lanes)
        lanes, factor = deepen(m, True, "factor", lanes, units)
        m.d.sync += [units.eq(rows * columns), product.eq(factor * lanes)]
        completes = delay(m, "completed", completes, 4, reset=True)
        m.d.comb += self.macs.eq(Mux(completes, product, 0))

    def _take(self, m, whole):
        """Take shapes and places of a command; returns bases and widths of both operands."""
        command = self.command.payload
        forward, by_input = is_forward(command.operation), is_input_gradient(command.operation)
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
        # What comes while nothing is under way may be anything, until it is valid.
        with m.If(~self.busy):
            m.d.sync += [
                whole["slow"].eq(Mux(forward | by_input, batch, outputs)),
                whole["fast"].eq(Mux(forward, outputs, inputs)),
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
        codes.start(code_base, across(code_width), is_weight_gradient(operation))
