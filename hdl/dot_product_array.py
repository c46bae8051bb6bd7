"""Rows times columns of dot products without a multiplier: lanes, adder trees, accumulators."""

# Ref: US12443841B2: integer register, gradient register, M x N processing units of binary
#      shifters and an adder tree

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from .adder_tree import AdderTree, add_with_carry, tree_depth
from .shift_lane import ShiftDecoder, ShiftLane, lane_bits, shift_control

__all__ = ["DotProductArray", "pass_flags"]


def pass_flags():
    """Lay out what goes with a pass: whether there is one, and the first and last of a sum."""
    return data.StructLayout({"valid": 1, "first": 1, "last": 1})


class DotProductArray(wiring.Component):
    """Add up products of integer vectors and vectors of shift operands; nothing ever stalls.

    A pass brings ``lanes`` terms to each of ``rows`` times ``columns`` sums: FP4 codes take one
    pass, INT4 codes one per signed digit. The sums are on ``sums`` when ``done``, for one cycle
    at least.

    The latency from the last pass to ``done`` is ``latency`` cycles: 3 and one per level of the
    adder tree. The throughput is one pass per cycle.

    Parameters
    ----------
    fmt : Fp4Format
        Radix of FP4 codes.
    rows, columns, lanes : int
        Size of the array.
    integer_bits : int
        Width of the signed integer operand.
    accumulator_bits : int
        Width of a sum.

    Members
    -------
    flags : ``In(pass_flags())``
        Whether there is a pass, and whether it is the first or last one of the sums.
    operand : ``In(1)``
        What the codes are: a :class:`golden.shift_multiply_array.ShiftOperand`.
    digit : ``In(1)``
        Which digit of INT4.
    lanes_used : ``In(lanes)``
        Lanes that have a term; the others add nothing.
    integers : ``In(signed(integer_bits)).array(rows, lanes)``
        Integer operands.
    codes : ``In(4).array(columns, lanes)``
        Shift operands.
    done : ``Out(1)``
        Whether the sums are complete.
    sums : ``Out(signed(accumulator_bits)).array(rows, columns)``
        Sums.
    """

    def __init__(self, fmt, rows, columns, lanes, integer_bits, accumulator_bits):
        self._fmt = fmt
        self._rows = rows
        self._columns = columns
        self._lanes = lanes
        self._integer_bits = integer_bits
        self._accumulator_bits = accumulator_bits
        self.latency = 3 + tree_depth(lanes)
        super().__init__(
            {
                "flags": In(pass_flags()),
                "operand": In(1),
                "digit": In(1),
                "lanes_used": In(lanes),
                "integers": In(signed(integer_bits)).array(rows, lanes),
                "codes": In(4).array(columns, lanes),
                "done": Out(1),
                "sums": Out(signed(accumulator_bits)).array(rows, columns),
            }
        )

    def elaborate(self, platform):
        m = Module()
        integers, controls = self._decode(m)

        # The flags follow the operands through the lanes and the tree.
        flags = self.flags
        for k in range(2 + tree_depth(self._lanes)):
            delayed = Signal.like(flags, name=f"flags_{k}")
            m.d.sync += delayed.eq(flags)
            flags = delayed
        negate = []
        for column in range(self._columns):
            signs = Signal(self._lanes, name=f"negate_{column}", reset_less=True)
            m.d.sync += signs.eq(Cat(controls[column][k].negate for k in range(self._lanes)))
            negate.append(signs)

        width = lane_bits(self._integer_bits, self._fmt.log2_radix)
        for row in range(self._rows):
            for column in range(self._columns):
                name = f"{row}_{column}"
                m.submodules[f"tree_{name}"] = tree = AdderTree(self._lanes, width)
                for lane in range(self._lanes):
                    m.submodules[f"lane_{name}_{lane}"] = unit = ShiftLane(
                        self._integer_bits, self._fmt.log2_radix
                    )
                    m.d.comb += [
                        unit.operand.eq(integers[row][lane]),
                        unit.control.eq(controls[column][lane]),
                        tree.terms[lane].eq(unit.product),
                    ]
                m.d.comb += tree.pending.eq(negate[column])
                total = Signal(signed(self._accumulator_bits), name=f"sum_{name}", reset_less=True)
                with m.If(flags.valid):
                    m.d.sync += total.eq(
                        add_with_carry(Mux(flags.first, 0, total), tree.total, tree.carry)
                    )
                m.d.comb += self.sums[row][column].eq(total)
        m.d.sync += self.done.eq(flags.valid & flags.last)
        return m

    def _decode(self, m):
        """Fill the integer register and the gradient register."""
        integers = [
            [
                Signal(signed(self._integer_bits), name=f"integer_{row}_{lane}", reset_less=True)
                for lane in range(self._lanes)
            ]
            for row in range(self._rows)
        ]
        controls = [
            [
                Signal(
                    shift_control(self._fmt.log2_radix),
                    name=f"control_{column}_{lane}",
                    reset_less=True,
                )
                for lane in range(self._lanes)
            ]
            for column in range(self._columns)
        ]
        for lane in range(self._lanes):
            for row in range(self._rows):
                m.d.sync += integers[row][lane].eq(self.integers[row][lane])
            for column in range(self._columns):
                decoder = ShiftDecoder(self._fmt.log2_radix)
                m.submodules[f"decoder_{column}_{lane}"] = decoder
                control = controls[column][lane]
                m.d.comb += [
                    decoder.code.eq(self.codes[column][lane]),
                    decoder.operand.eq(self.operand),
                    decoder.digit.eq(self.digit),
                ]
                m.d.sync += [
                    control.amount.eq(decoder.control.amount),
                    control.negate.eq(decoder.control.negate),
                    control.enable.eq(decoder.control.enable & self.lanes_used[lane]),
                ]
        return integers, controls
