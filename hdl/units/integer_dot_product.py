# amaranth: UnusedElaboratable=no
"""A unit of the price list: one dot product of two vectors of integers."""

from amaranth import *
from amaranth.lib import wiring

from nibblegrad.hdl.array.structures import PIPELINED
from nibblegrad.hdl.units.dot_product_frame import (
    add_up,
    frame_latency,
    frame_members,
    register_operands,
)
from nibblegrad.hdl.units.integer_multiplier import IntegerMultiplier, Multiplication

__all__ = ["IntegerDotProduct"]


class IntegerDotProduct(wiring.Component):
    """Sum of products of signed integers over vectors; nothing ever stalls.

    The golden model is :func:`nibblegrad.golden.units.integer_dot_product.total`.

    The latency, from the last vector of a sum to ``done``, is ``latency`` cycles. The throughput is
    one vector per cycle.

    Parameters
    ----------
    a_bits, b_bits : int
        Widths of the operands.
    lanes : int
        Count of products in a vector.
    total_bits : int
        Width of the sum, which wraps.
    multiplication : Multiplication
        What the multipliers are built of.
    structure : Structure
        What tree and accumulator are built of.

    Members
    -------
    valid, first, last : ``In(1)``
        Whether there is a vector, and whether it is the first or last one of a sum. A first one
        comes behind a last one, or a reset.
    a : ``In(ArrayLayout(signed(a_bits), lanes))``, b : ``In(ArrayLayout(signed(b_bits), lanes))``
        Operands.
    done : ``Out(1)``, total : ``Out(signed(total_bits))``
        Asserted for a cycle when a sum is complete, and that sum.
    """

    def __init__(
        self,
        a_bits,
        b_bits,
        lanes=16,
        total_bits=24,
        multiplication=Multiplication.OPERATOR,
        structure=PIPELINED,
    ):
        self._multipliers = [
            IntegerMultiplier(multiplication, structure, a_bits, b_bits) for _ in range(lanes)
        ]
        self._structure = structure
        self.latency = frame_latency(structure, lanes, self._multipliers[0].latency)
        super().__init__(frame_members(lanes, signed(a_bits), signed(b_bits), total_bits))

    def elaborate(self, platform):
        m = Module()
        a, b = register_operands(m, self)
        for lane, multiplier in enumerate(self._multipliers):
            m.submodules[f"multiplier_{lane}"] = multiplier
            m.d.comb += [multiplier.a.eq(a[lane]), multiplier.b.eq(b[lane])]
        add_up(
            m,
            self,
            self._structure,
            [multiplier.product for multiplier in self._multipliers],
            [multiplier.pending for multiplier in self._multipliers],
            self._multipliers[0].latency,
        )
        return m
