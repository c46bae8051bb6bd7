# amaranth: UnusedElaboratable=no
"""A unit of the price list: one dot product of integers and FP4 codes, or of INT4 by digits."""

# Ref: US12443841B2, claim 1

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from nibblegrad.hdl.array.dot_product import DotProduct
from nibblegrad.hdl.array.lanes import lanes_of
from nibblegrad.hdl.array.structures import PIPELINED
from nibblegrad.hdl.units.dot_product_frame import delay_flags, frame_members, register_operands

__all__ = ["ShiftDotProduct"]


class ShiftDotProduct(wiring.Component):
    """Sum of products of integers and shift operands over vectors; nothing ever stalls.

    The same lanes, tree and accumulator as in the array, for one sum, so that they can be compared
    with units for other formats. The golden model is
    :func:`nibblegrad.golden.units.shift_dot_product.total`.

    The latency, from the last vector of a sum to ``done``, is ``latency`` cycles. The throughput is
    one vector per cycle; INT4 codes need two, one per digit.

    Parameters
    ----------
    fmt : GradientFormat
        Radix of FP4 codes.
    lanes : int
        Count of products in a vector.
    integer_bits : int
        Width of the signed integer operand.
    total_bits : int
        Width of the sum.
    structure : Structure
        What it is built of.
    digits : bool
        Whether codes may be INT4.

    Members
    -------
    valid, first, last : ``In(1)``
        Whether there is a vector, and whether it is the first or last one of a sum. A first one
        comes behind a last one, or a reset.
    a : ``In(ArrayLayout(signed(integer_bits), lanes))``, b : ``In(ArrayLayout(4, lanes))``
        Integers and codes.
    operand, digit : ``In(1)``
        Where ``digits``: a :class:`nibblegrad.golden.cores.shift_multiply_array.ShiftOperand`, and
        which digit.
    done : ``Out(1)``, total : ``Out(signed(total_bits))``
        Asserted for a cycle when a sum is complete, and that sum.
    """

    def __init__(
        self,
        fmt,
        lanes=16,
        integer_bits=4,
        total_bits=24,
        structure=PIPELINED,
        digits=False,
    ):
        self._fmt = fmt
        self._digits = digits
        self._structure = structure
        self._unit = DotProduct(structure, fmt, lanes, integer_bits, total_bits, digits)
        self.latency = 1 + self._unit.latency
        super().__init__(
            {
                **frame_members(lanes, signed(integer_bits), 4, total_bits),
                **({"operand": In(1), "digit": In(1)} if digits else {}),
            }
        )

    def elaborate(self, platform):
        m = Module()
        family = lanes_of(self._fmt)
        m.submodules.unit = unit = self._unit
        integers, codes = register_operands(m, self)
        if self._digits:
            # Of digits, what was decoded is kept, as in the array.
            codes = self.b
        for lane, (integer, code) in enumerate(zip(integers, codes, strict=True)):
            m.submodules[f"decoder_{lane}"] = decoder = family.decoder()
            m.submodules[f"control_{lane}"] = stages = family.controller(
                self._structure, self._digits
            )
            control = Signal(family.control(), name=f"shift_{lane}", reset_less=True)
            domain = m.d.sync if self._digits else m.d.comb
            domain += control.eq(decoder.control)
            m.d.comb += [
                decoder.code.eq(code),
                stages.control.eq(control),
                unit.integers[lane].eq(integer),
                unit.controls[lane].eq(stages.o),
            ]
            if self._digits:
                m.d.comb += [decoder.operand.eq(self.operand), decoder.digit.eq(self.digit)]
        valid, first, last = delay_flags(m, self, self.latency - 1)
        m.d.comb += [
            unit.valid.eq(valid),
            unit.first.eq(first),
            unit.last.eq(last),
            self.total.eq(unit.total),
        ]
        return m
