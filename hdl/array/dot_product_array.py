"""Rows times columns of dot products without a multiplier: lanes, adder trees, accumulators."""

# Ref: US12443841B2: integer register, gradient register, M x N processing units of binary
#      shifters and an adder tree

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from nibblegrad.hdl.array.dot_product import DotProduct, sum_latency
from nibblegrad.hdl.array.lanes import lanes_of
from nibblegrad.hdl.base.copies import fan_out

__all__ = ["DotProductArray", "array_operands_signature", "array_totals_signature", "pass_flags"]


def pass_flags():
    """Lay out what goes with a pass: whether there is one, and the first and last of a sum.

    ``last`` may come without a pass: the sum ends with the one before.
    """
    return data.StructLayout({"valid": 1, "first": 1, "last": 1})


def array_operands_signature(rows, columns, lanes, integer_bits):
    """Describe what a pass brings to an array, from the side that brings it.

    Parameters
    ----------
    rows, columns, lanes : int
        Size of the array.
    integer_bits : int
        Width of the signed integer operand.

    Returns
    -------
    wiring.Signature
        ``flags : Out(pass_flags())``
            Whether there is a pass, and whether it is the first or last one of the sums. A first
            one comes behind a last one, or a reset; ``last`` may come later, without a pass.
        ``operand : Out(columns)``
            What the codes are: a
            :class:`nibblegrad.golden.cores.shift_multiply_array.ShiftOperand`.
        ``digit : Out(columns)``
            Which digit of INT4.
        ``integers : Out(signed(integer_bits)).array(rows, lanes)``
            Integer operands.
        ``codes : Out(4).array(columns, lanes)``
            Shift operands. A code of zero adds nothing, whatever the integer is.
    """
    return wiring.Signature(
        {
            "flags": Out(pass_flags()),
            "operand": Out(columns),
            "digit": Out(columns),
            "integers": Out(signed(integer_bits)).array(rows, lanes),
            "codes": Out(4).array(columns, lanes),
        }
    )


def array_totals_signature(rows, columns, accumulator_bits):
    """Describe the sums of an array, from its side.

    Parameters
    ----------
    rows, columns : int
        Size of the array.
    accumulator_bits : int
        Width of a sum.

    Returns
    -------
    wiring.Signature
        ``done : Out(rows)``
            Whether the sums of each row are complete: of all rows at once.
        ``sums : Out(signed(accumulator_bits)).array(rows, columns)``
            Sums, valid in the cycle of ``done`` at least.
    """
    return wiring.Signature(
        {
            "done": Out(rows),
            "sums": Out(signed(accumulator_bits)).array(rows, columns),
        }
    )


class DotProductArray(wiring.Component):
    """Add up products of integer vectors and vectors of shift operands; nothing ever stalls.

    A pass brings ``lanes`` terms to each of ``rows`` times ``columns`` sums: FP4 codes take one
    pass, INT4 codes one per signed digit. The sums stand for one cycle at least when
    they are complete.

    The latency from ``last`` to ``done`` is ``latency`` cycles: 2, those of a lane, and those
    of the adder tree. The throughput is one pass per cycle.

    Parameters
    ----------
    fmt : GradientFormat
        Format of shift operands that are no digits.
    rows, columns, lanes : int
        Size of the array.
    integer_bits : int
        Width of the signed integer operand.
    accumulator_bits : int
        Width of a sum.
    structure : Structure
        What lanes, trees and accumulators are built of.

    Members
    -------
    operands : ``In(array_operands_signature(rows, columns, lanes, integer_bits))``
        Passes.
    totals : ``Out(array_totals_signature(rows, columns, accumulator_bits))``
        Sums, and when they are complete.
    """

    def __init__(
        self,
        fmt,
        rows,
        columns,
        lanes,
        integer_bits,
        accumulator_bits,
        structure,
    ):
        self._fmt = fmt
        self._rows = rows
        self._columns = columns
        self._lanes = lanes
        self._integer_bits = integer_bits
        self._accumulator_bits = accumulator_bits
        self._structure = structure
        self._sum_latency = sum_latency(structure, lanes, fmt)
        self.latency = self.cycles(fmt, lanes, structure)
        super().__init__(
            {
                "operands": In(array_operands_signature(rows, columns, lanes, integer_bits)),
                "totals": Out(array_totals_signature(rows, columns, accumulator_bits)),
            }
        )

    @staticmethod
    def cycles(fmt, lanes, structure):
        """Count the cycles of an array's latency."""
        return 2 + sum_latency(structure, lanes, fmt)

    def elaborate(self, platform):
        m = Module()
        integers, controls = self._decode(m)

        # The flags follow the operands through the lanes and the tree, and there is one of each
        # for each row in the end.
        valid, first, last = (
            fan_out(
                m,
                name,
                self.operands.flags[name],
                self._rows,
                1 + self._sum_latency,
                reset_less=False,
            )
            for name in ("valid", "first", "last")
        )
        for row in range(self._rows):
            for column in range(self._columns):
                m.submodules[f"unit_{row}_{column}"] = unit = DotProduct(
                    self._structure,
                    self._fmt,
                    self._lanes,
                    self._integer_bits,
                    self._accumulator_bits,
                    ends_late=True,
                )
                for lane in range(self._lanes):
                    m.d.comb += [
                        unit.integers[lane].eq(integers[row][lane]),
                        unit.controls[lane].eq(controls[column][lane]),
                    ]
                m.d.comb += [
                    unit.valid.eq(valid[row]),
                    unit.first.eq(first[row]),
                    unit.last.eq(last[row]),
                    self.totals.sums[row][column].eq(unit.total),
                ]
            m.d.sync += self.totals.done[row].eq(last[row])
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
        family = lanes_of(self._fmt)
        controls = [[None] * self._lanes for _ in range(self._columns)]
        for lane in range(self._lanes):
            for row in range(self._rows):
                m.d.sync += integers[row][lane].eq(self.operands.integers[row][lane])
            for column in range(self._columns):
                name = f"{column}_{lane}"
                decoder = family.decoder()
                stages = family.controller(self._structure)
                m.submodules[f"decoder_{name}"] = decoder
                m.submodules[f"control_{name}"] = stages
                control = Signal(family.control(), name=f"shift_{name}", reset_less=True)
                m.d.comb += [
                    decoder.code.eq(self.operands.codes[column][lane]),
                    decoder.operand.eq(self.operands.operand[column]),
                    decoder.digit.eq(self.operands.digit[column]),
                    stages.control.eq(control),
                ]
                m.d.sync += control.eq(decoder.control)
                controls[column][lane] = stages.o
        return integers, controls
