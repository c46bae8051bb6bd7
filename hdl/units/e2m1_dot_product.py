# amaranth: UnusedElaboratable=no
"""Dot products of four-bit floats E2M1, accumulated exactly."""

# Ref: OCP Microscaling Formats (MX) v1.0, section 5.3.3, for FP4 E2M1

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from nibblegrad.hdl.array.structure import Structure
from nibblegrad.hdl.array.structures import PIPELINED
from nibblegrad.hdl.base.parameters import check_integer, check_type
from nibblegrad.hdl.units.dot_product_frame import add_up, frame_latency, frame_members

__all__ = ["E2m1DotProduct", "E2m1Lane"]


class E2m1Lane(wiring.Component):
    """Multiply two numbers E2M1: two-bit significands, then two shifts, then the sign.

    A number is ``(-1)**sign * significand * 2**shift`` halves: the significand is
    ``{exponent is not 0, mantissa}`` and the shift is the exponent minus one, or 0. The product of
    the significands is one of 0, 1, 2, 3, 4, 6 and 9 and the shift of the product is 0 to 4, done
    as 0, 2 or 3 and then 0 or 1. That way each bit of each stage has four inputs at most, sign
    included. The latency is 3 cycles, or 1 in a structure without registers in lanes, and the
    throughput one product per cycle.

    Parameters
    ----------
    structure : Structure
        Structure of the unit around.

    Members
    -------
    a, b : ``In(4)``
        Codes.
    product : ``Out(signed(9))``
        Product in quarters, -144 to 144; a negative one still lacks the addition of 1.
    negate : ``Out(1)``
        Whether the product is negative: the one still to be added.
    """

    def __init__(self, structure):
        self._structure = structure
        self.latency = 3 if structure.registered else 1
        super().__init__(
            {"a": In(4), "b": In(4), "product": Out(signed(9)), "negate": Out(1)},
        )

    def elaborate(self, platform):
        m = Module()
        high_a, low_a, high_b, low_b = (
            Signal(name=name, reset_less=True) for name in ("high_a", "low_a", "high_b", "low_b")
        )
        exponents = Cat(self.a[1:3], self.b[1:3])
        shifts = [max(k & 3, 1) + max(k >> 2, 1) - 2 for k in range(16)]

        def shift_is(name, *which):
            """Decode the shift of the product, in one table of both exponents."""
            flag = Signal(name=name, reset_less=True)
            m.d.sync += flag.eq(Array(shift in which for shift in shifts)[exponents])
            return flag

        # The first shift is 2 in the middle, 3 at the greatest and 0 otherwise.
        middle = shift_is("first_by_two", 2, 3)
        greatest = shift_is("first_by_three", 4)
        last = shift_is("then_by_one", 1, 3, 4)
        negate = Signal(reset_less=True)
        m.d.sync += [
            high_a.eq(self.a[1:3].any()),
            low_a.eq(self.a[0]),
            high_b.eq(self.b[1:3].any()),
            low_b.eq(self.b[0]),
            negate.eq(self.a[3] ^ self.b[3]),
        ]
        q0 = low_a & low_b
        q1 = (low_a & high_b) ^ (high_a & low_b)
        q2 = high_a & high_b & ~q0
        q3 = high_a & high_b & q0

        # Decoded operands are always registered, what follows where registers are cheap.
        domain = m.d.sync if self._structure.registered else m.d.comb

        # Where the shift is greatest, neither significand is 0 or 1: their product is 4, 6 or 9,
        # so that bits 0 and 3 are alike, and bit 2 is the inverse of both.
        shifted = Signal(6, reset_less=True)
        least = ~middle & ~greatest
        domain += [
            shifted[0].eq(least & q0),
            shifted[1].eq(least & q1),
            shifted[2].eq(Mux(middle, q0, q2 & ~greatest)),
            shifted[3].eq(Mux(middle, q1, q3)),
            shifted[4].eq(Mux(middle, q2, q1 & greatest)),
            shifted[5].eq(Mux(middle, q3, q2 & greatest)),
        ]
        greatest_1, last_1, negate_1 = (
            Signal(name=f"{signal.name}_1", reset_less=True) for signal in (greatest, last, negate)
        )
        domain += [greatest_1.eq(greatest), last_1.eq(last), negate_1.eq(negate)]
        magnitude = Mux(last_1, shifted << 1, shifted)
        top = greatest_1 & ~shifted[5]
        product = Signal(9, reset_less=True)
        domain += product.eq(Cat(magnitude[:7], top, C(0, 1)) ^ negate_1.replicate(9))
        m.d.comb += [self.product.eq(product), self.negate.eq(product[8])]
        return m


class E2m1DotProduct(wiring.Component):
    """Add up products of vectors of numbers E2M1, exactly; nothing ever stalls.

    The latency from the last vector of a sum to ``done`` is ``latency`` cycles. The throughput is
    one vector per cycle.

    Parameters
    ----------
    lanes : int
        Count of products per cycle, 1 to 64.
    accumulator_bits : int
        Width of the sum, 16 to 32. It wraps around: 24 bits hold 58,254 products of the largest
        numbers.
    structure : Structure
        What it is built of.

    Members
    -------
    valid, first, last : ``In(1)``
        Whether there is a vector, and whether a sum starts and ends with it. A first one comes
        behind a last one, or a reset.
    a, b : ``In(ArrayLayout(4, lanes))``
        Codes.
    done : ``Out(1)``
        Whether a sum is complete.
    total : ``Out(signed(accumulator_bits))``
        Sum in quarters, while ``done``.
    """

    def __init__(self, lanes=16, accumulator_bits=24, structure=PIPELINED):
        check_integer("Lane count", lanes, 1, 64)
        check_integer("Accumulator width", accumulator_bits, 16, 32)
        check_type("Structure", structure, Structure)
        self._structure = structure
        self._lanes = [E2m1Lane(structure) for _ in range(lanes)]
        # The lanes hold the registers of the operands.
        self._product_latency = self._lanes[0].latency - 1
        self.latency = frame_latency(structure, lanes, self._product_latency)
        super().__init__(frame_members(lanes, 4, 4, accumulator_bits))

    def elaborate(self, platform):
        m = Module()
        for k, lane in enumerate(self._lanes):
            m.submodules[f"lane_{k}"] = lane
            m.d.comb += [lane.a.eq(self.a[k]), lane.b.eq(self.b[k])]
        add_up(
            m,
            self,
            self._structure,
            [lane.product for lane in self._lanes],
            [lane.negate for lane in self._lanes],
            self._product_latency,
        )
        return m
