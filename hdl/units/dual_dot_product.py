# amaranth: UnusedElaboratable=no
"""A unit of the price list: a multiplier and a shifter in each lane, for INT4 and for FP4."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from nibblegrad.golden.cores.shift_multiply_array import ShiftOperand
from nibblegrad.hdl.array.lanes import lanes_of
from nibblegrad.hdl.array.structures import PIPELINED
from nibblegrad.hdl.base.pipeline import delay
from nibblegrad.hdl.units.dot_product_frame import (
    add_up,
    frame_latency,
    frame_members,
    register_operands,
)
from nibblegrad.hdl.units.integer_multiplier import IntegerMultiplier, Multiplication

__all__ = ["DualDotProduct"]


class DualDotProduct(wiring.Component):
    """Sum of products of integers with FP4 codes or with INT4 numbers, one vector per cycle.

    What an array would be that does not do INT4 by digits: each lane has a multiplier for INT4
    beside the shifter for FP4. Whichever is not used gives zero, so that an OR joins them; where
    there are carry tables it is in the cells that add two lanes. The golden model is
    :func:`nibblegrad.golden.units.dual_dot_product.total`.

    The latency, from the last vector of a sum to ``done``, is ``latency`` cycles. The throughput is
    one vector per cycle with either operand.

    Parameters
    ----------
    fmt : GradientFormat
        Radix of FP4 codes.
    lanes : int
        Count of products in a vector, an even number.
    integer_bits : int
        Width of the signed integer operand.
    total_bits : int
        Width of the sum, which wraps.
    multiplication : Multiplication
        What the multipliers are built of.
    structure : Structure
        What the rest is built of.

    Members
    -------
    valid, first, last : ``In(1)``
        Whether there is a vector, and whether it is the first or last one of a sum. A first one
        comes behind a last one, or a reset.
    a : ``In(ArrayLayout(signed(integer_bits), lanes))``, b : ``In(ArrayLayout(4, lanes))``
        Integers and codes.
    operand : ``In(1)``
        What the codes are: a :class:`nibblegrad.golden.cores.shift_multiply_array.ShiftOperand`.
    done : ``Out(1)``, total : ``Out(signed(total_bits))``
        Asserted for a cycle when a sum is complete, and that sum.
    """

    def __init__(
        self,
        fmt,
        lanes=16,
        integer_bits=5,
        total_bits=24,
        multiplication=Multiplication.DIGITS,
        structure=PIPELINED,
    ):
        self._fmt = fmt
        self._structure = structure
        self._multipliers = [
            IntegerMultiplier(multiplication, structure, integer_bits, 4) for _ in range(lanes)
        ]
        self._lane_latency = max(
            lanes_of(fmt).latency(structure, False), self._multipliers[0].latency
        )
        self.latency = frame_latency(structure, lanes, self._lane_latency + 1)
        if structure.carry:
            self.latency -= 1  # the first level of the tree joins
        members = frame_members(lanes, signed(integer_bits), 4, total_bits)
        super().__init__({**members, "operand": In(1)})

    def elaborate(self, platform):
        m = Module()
        integers, _ = register_operands(m, self)
        pairs = [self._lane(m, lane, integer) for lane, integer in enumerate(integers)]
        if self._structure.carry:
            terms, pending = self._join_in_adders(m, pairs)
        else:
            terms, pending = self._join(m, pairs)
        add_up(m, self, self._structure, terms, pending, self._lane_latency + 1)
        return m

    def _lane(self, m, lane, integer):
        """Multiply by both; returns the product of each, with what is pending of it."""
        family = lanes_of(self._fmt)
        shifts = self.operand == ShiftOperand.FP4
        m.submodules[f"decoder_{lane}"] = decoder = family.decoder()
        control = Signal(family.control(), name=f"shift_{lane}", reset_less=True)
        number = Signal(signed(4), name=f"number_{lane}", reset_less=True)
        m.d.comb += [decoder.code.eq(self.b[lane]), decoder.operand.eq(ShiftOperand.FP4)]
        m.d.sync += [
            control.eq(decoder.control),
            number.eq(self.b[lane]),
        ]
        with m.If(~shifts):
            m.d.sync += [control.enable.eq(0), control.negate.eq(0)]
        with m.Else():
            m.d.sync += number.eq(0)
        m.submodules[f"control_{lane}"] = stages = family.controller(self._structure, False)
        m.submodules[f"lane_{lane}"] = shifter = family.lane(
            self._structure, len(integer), digits=False
        )
        m.submodules[f"multiplier_{lane}"] = multiplier = self._multipliers[lane]
        m.d.comb += [
            stages.control.eq(control),
            shifter.operand.eq(integer),
            shifter.control.eq(stages.o),
            multiplier.a.eq(integer),
            multiplier.b.eq(number),
        ]
        late = self._lane_latency - shifter.latency
        later = self._lane_latency - multiplier.latency
        return (
            delay(m, f"shifted_{lane}", shifter.product, late),
            delay(m, f"shifted_one_{lane}", stages.o.pending, late),
            delay(m, f"multiplied_{lane}", multiplier.product, later),
            delay(m, f"multiplied_one_{lane}", multiplier.pending, later),
        )

    def _join(self, m, pairs):
        """Join the two products of a lane by an OR."""
        terms, pending = [], []
        for lane, (shifted, shifted_one, multiplied, multiplied_one) in enumerate(pairs):
            term = Signal(signed(_width(pairs)), name=f"term_{lane}", reset_less=True)
            one = Signal(name=f"one_{lane}", reset_less=True)
            m.d.sync += [term.eq(shifted | multiplied), one.eq(shifted_one | multiplied_one)]
            terms.append(term)
            pending.append(one)
        return terms, pending

    def _join_in_adders(self, m, pairs):
        """Join the products of two lanes where they are added."""
        width = _width(pairs)
        terms, pending = [], []
        for k in range(0, len(pairs), 2):
            (a, a_one, b, b_one), (c, c_one, d, d_one) = pairs[k : k + 2]
            total = Signal(signed(width + 1), name=f"sum_{k // 2}", reset_less=True)
            one = Signal(name=f"one_{k // 2}", reset_less=True)
            joined = self._structure.carry.joined_sum(
                m, f"join_{k // 2}", ((a, b), (c, d)), (a_one, b_one)
            )
            m.d.sync += [total.eq(joined), one.eq(c_one | d_one)]
            terms.append(total)
            pending.append(one)
        return terms, pending


def _width(pairs):
    return max(len(value) for shifted, _, multiplied, _ in pairs for value in (shifted, multiplied))
