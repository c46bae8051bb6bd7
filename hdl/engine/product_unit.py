"""Products: the order in which parts of the operands meet in the array."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from nibblegrad.golden.cores.shift_multiply_array import ShiftOperand
from nibblegrad.hdl.base.countdown import Countdown
from nibblegrad.hdl.base.pipeline import Flow
from nibblegrad.hdl.engine.commands import (
    command_layout,
    is_forward,
    is_input_gradient,
    is_weight_gradient,
)
from nibblegrad.hdl.engine.operand_walk import OperandWalk
from nibblegrad.hdl.engine.store_ports import pass_control, pass_read_signature
from nibblegrad.hdl.engine.tile_credits import tile_signature

__all__ = ["ProductUnit"]


def _step_layout():
    """Lay out how a walk goes on in one direction: to the first, to the next, or not at all."""
    return data.StructLayout({"first": 1, "next": 1})


def _product_layout(size):
    """Lay out the product that is under way: what it is, its extents, and where operands lie.

    The columns of the result run faster than its rows: columns of the array forward, and its rows
    for the gradients.
    """
    return data.StructLayout(
        {
            "operation": 4,
            "signed_activations": 1,
            "forward": 1,
            **dict.fromkeys(("terms", "fast", "slow"), size.count_bits),
            **dict.fromkeys(("integer_base", "code_base"), size.address_bits),
            **dict.fromkeys(("integer_width", "code_width"), size.count_bits),
        }
    )


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
    right. The last pass of a tile waits for room.

    The latency from a pass to ``read`` is ``latency`` cycles.

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
    tile : ``Out(tile_signature(size.strip))``
        Tiles, each issued with its last pass, which waits for room.
    read : ``Out(pass_read_signature(size))``
        Passes, and where their operands lie.
    macs : ``Out(20)``
        Products of two numbers that a pass completed, for the counter.
    """

    latency = 3
    #: Cycles from a command to its first pass: it is taken, taken apart, and a pass decided upon.
    first_pass = 3
    #: Cycles from the last pass of a product to ``command.ready``.
    release = 1

    def __init__(self, size):
        self._size = size
        super().__init__(
            {
                "command": In(stream.Signature(command_layout())),
                "busy": Out(1),
                "tile": Out(tile_signature(size.strip)),
                "read": Out(pass_read_signature(size)),
                "macs": Out(20),
            }
        )

    def elaborate(self, platform):
        m = Module()
        size = self._size
        starting = Signal()  # the command is known, but not yet what is made of it
        # A pass is decided upon in one cycle, by what is left. In the next one it waits until it
        # may leave, and with it the walks go on.
        passing = Signal(_pass_layout(size), init={"within": 1})
        move = Signal()
        m.d.comb += [
            move.eq(~passing.tile | self.tile.room),
            self.tile.issued.eq(passing.tile & self.tile.room),
            self.tile.strips.eq(passing.strips),
            self.tile.gap.eq(passing.gap),
            self.command.ready.eq(~self.busy),
        ]
        product = self._take(m, starting)
        with m.If(move & passing.end):
            m.d.sync += self.busy.eq(0)
        self._step(m, product, starting, passing, move)
        integers, codes = self._walk(m, product, starting, passing, move)
        self._send(m, passing, move, integers, codes)
        self._count(m, passing.rows, passing.columns, passing.lanes, move & passing.completes)
        return m

    def _take(self, m, starting):
        """Take shape and place of a product, and what it is."""
        command = self.command.payload
        product = Signal(_product_layout(self._size), reset_less=True)
        forward, by_input = is_forward(command.operation), is_input_gradient(command.operation)
        batch, inputs, outputs = command.batch, command.inputs, command.outputs
        m.d.sync += starting.eq(self.command.valid & self.command.ready)
        # What comes while nothing is under way may be anything, until it is valid.
        with m.If(~self.busy):
            m.d.sync += [
                self.busy.eq(self.command.valid),
                product.operation.eq(command.operation),
                product.signed_activations.eq(command.signed_activations),
                product.forward.eq(forward),
                product.slow.eq(Mux(forward | by_input, batch, outputs)),
                product.fast.eq(Mux(forward, outputs, inputs)),
                product.terms.eq(Mux(forward, inputs, Mux(by_input, outputs, batch))),
                product.integer_base.eq(
                    Mux(by_input, command.weight_base, command.activation_base)
                ),
                product.code_base.eq(Mux(forward, command.weight_base, command.gradient_base)),
                # Activations and weights are `inputs` wide.
                product.integer_width.eq(inputs),
                product.code_width.eq(Mux(forward, inputs, outputs)),
            ]
        return product

    def _step(self, m, product, starting, passing, move):
        """Go through the terms of each tile and the tiles of the result, a pass per step."""
        size, forward = self._size, product.forward
        running = Signal()
        first = Signal()
        final_digit = Signal()
        terms = Countdown(m, "terms", product.terms, size.lanes)
        fast = Countdown(m, "fast", product.fast, Mux(forward, size.columns, size.rows))
        slow = Countdown(m, "slow", product.slow, Mux(forward, size.rows, size.columns), once=True)
        # The same as `move`, from a register that others do not use.
        decide = passing.within | self.tile.room
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
            m.d.sync += [first.eq(1), final_digit.eq(~forward)]
            for extent in (terms, fast, slow):
                extent.start()
        with m.If(move):
            m.d.sync += [
                passing.valid.eq(running),
                passing.first.eq(first),
                passing.digit.eq(final_digit & forward),
                passing.forward.eq(forward),
                passing.operation.eq(product.operation),
                passing.signed_activations.eq(product.signed_activations),
            ]
            self._decide(m, passing, running & final_digit, forward, terms, fast, slow)

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

    def _walk(self, m, product, starting, passing, move):
        """Go along with the passes through both operands."""
        size = self._size
        log2_block = size.block.bit_length() - 1

        def across(value):
            return (value + (size.block - 1)) >> log2_block

        integers = OperandWalk(m, "integers", size, size.rows)
        codes = OperandWalk(m, "codes", size, size.columns)
        m.d.comb += [self.read.integers.eq(integers.read), self.read.codes.eq(codes.read)]
        with m.If(move):
            integers.move(passing.term, passing.integer_index)
            codes.move(passing.term, passing.code_index)
        with m.If(starting):
            # Forward reads both by row.
            by_weight = is_weight_gradient(product.operation)
            integers.start(product.integer_base, across(product.integer_width), ~product.forward)
            codes.start(product.code_base, across(product.code_width), by_weight)
        return integers, codes

    def _send(self, m, passing, move, integers, codes):
        """Let what goes with a pass follow it, until its words are addressed."""
        control = Signal(pass_control(self._size), name="control_decided")
        m.d.sync += [
            control.flags.valid.eq(passing.valid & move),
            control.flags.first.eq(passing.first),
            control.flags.last.eq(self.tile.issued),
            control.operation.eq(passing.operation),
            control.signed_activations.eq(passing.signed_activations),
            control.operand.eq(Mux(passing.forward, ShiftOperand.INT4, ShiftOperand.FP4)),
            control.digit.eq(passing.digit),
            control.lanes_used.eq(passing.lanes_used),
        ]
        # All that a pass is decided upon is there a cycle later, as are the parts of addresses.
        flow = Flow(m)
        decided = flow.input("control", control, 1, reset=True)
        by_code = control.operand == ShiftOperand.INT4
        parts = (
            flow.input(part, Mux(by_code, codes.parts[part], integers.parts[part]), 1)
            for part in ("matrix", "term")
        )
        matrix, term = flow.keep("weight_matrix weight_term", *parts)
        address = flow.stage(
            "weight_address",
            lambda matrix, term: (matrix + term)[: self._size.address_bits],
            matrix,
            term,
        )
        control, address = flow.close(self.latency, control=decided, weight_address=address)
        m.d.comb += [self.read.control.eq(control), self.read.weight_address.eq(address)]

    def _count(self, m, rows, columns, lanes, completes):
        """Tell how many products of two numbers the passes complete."""
        size = self._size
        bits = (size.rows * size.columns).bit_length()
        flow = Flow(m)
        # Both products are multipliers, with registers of their own around them.
        rows, columns, lanes = flow.keep(
            "macs_rows macs_columns macs_lanes",
            *(flow.input("size", value) for value in (rows, columns, lanes)),
        )
        units = flow.stage(
            "macs_units", lambda rows, columns: (rows * columns)[:bits], rows, columns
        )
        units, lanes = flow.keep("macs_units_factor macs_lanes_factor", units, lanes)
        macs = flow.stage("macs", lambda units, lanes: units * lanes, units, lanes)
        completes = flow.input("completes", completes, reset=True)
        macs, completes = flow.close(macs.cycle, macs=macs, completes=completes)
        m.d.comb += self.macs.eq(Mux(completes, macs, 0))
