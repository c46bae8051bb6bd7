"""The multiplier-free lane: decoding of the shift operand, and the shifter."""

# Ref: US12443841B2, claim 1 (binary shifters; exponent bits for shift input)

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from golden.shift_multiply_array import ShiftOperand

__all__ = ["ShiftDecoder", "ShiftLane", "lane_bits", "shift_control"]


def shift_control(log2_radix):
    """Lay out what drives a shifter: ``(-1)**negate * (integer << amount)``, or zero."""
    return data.StructLayout({"enable": 1, "negate": 1, "amount": 2 + log2_radix})


def lane_bits(integer_bits, log2_radix):
    """Find the width of a product."""
    return integer_bits + 6 * log2_radix


class ShiftDecoder(wiring.Component):
    """Decode a shift operand: an FP4 code, or one signed digit of an INT4 number.

    Shared by the rows of the array. Combinational: the latency is 0 cycles. Digit 0 of INT4 is
    -2 to 1 from bits 0 and 1; digit 1 is -2 to 2 from bits 1 to 3, with weight 4.

    Parameters
    ----------
    log2_radix : int
        Radix of FP4 codes.

    Members
    -------
    code : ``In(4)``
        FP4 code or INT4 number.
    operand : ``In(1)``
        A :class:`golden.shift_multiply_array.ShiftOperand`.
    digit : ``In(1)``
        Which digit of INT4.
    control : ``Out(shift_control(log2_radix))``
        What drives the shifter.
    """

    latency = 0

    def __init__(self, log2_radix):
        self._log2_radix = log2_radix
        super().__init__(
            {
                "code": In(4),
                "operand": In(1),
                "digit": In(1),
                "control": Out(shift_control(log2_radix)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        # Booth: the digit of bits (high, low) with the bit below is -2 * high + low + below.
        high = Mux(self.digit, self.code[3], self.code[1])
        low = Mux(self.digit, self.code[2], self.code[0])
        below = self.digit & self.code[1]
        single = low ^ below
        exponent = self.code[:3]
        with m.If(self.operand == ShiftOperand.INT4):
            m.d.comb += [
                self.control.negate.eq(high & ~(low & below)),
                self.control.enable.eq(single | (high ^ below)),
                # 2 * digit + (magnitude is 2)
                self.control.amount.eq(Cat(~single, self.digit)),
            ]
        with m.Else():
            m.d.comb += [
                self.control.enable.eq(exponent.any()),
                self.control.negate.eq(self.code[3] & exponent.any()),
                self.control.amount.eq((exponent - 1)[:3] << (self._log2_radix - 1)),
            ]
        return m


class ShiftLane(wiring.Component):
    """Shift an integer, and invert it for a negative product. The latency is 1 cycle.

    Parameters
    ----------
    integer_bits : int
        Width of the signed integer.
    log2_radix : int
        Radix of FP4 codes.

    Members
    -------
    operand : ``In(signed(integer_bits))``
        Integer operand.
    control : ``In(shift_control(log2_radix))``
        Decoded shift operand.
    product : ``Out(signed(lane_bits(integer_bits, log2_radix)))``
        Product; a negative one still lacks the addition of 1.
    """

    latency = 1

    def __init__(self, integer_bits, log2_radix):
        self._log2_radix = log2_radix
        super().__init__(
            {
                "operand": In(signed(integer_bits)),
                "control": In(shift_control(log2_radix)),
                "product": Out(signed(lane_bits(integer_bits, log2_radix))),
            }
        )

    def elaborate(self, platform):
        m = Module()
        width = len(self.product)
        kept = Signal.like(self.operand, name="kept")
        shifted = Signal(signed(width), name="shifted")
        product = Signal(signed(width), name="product_register", reset_less=True)
        m.d.comb += [
            kept.eq(self.operand & self.control.enable.replicate(len(kept))),
            shifted.eq(kept << self.control.amount),
            self.product.eq(product),
        ]
        m.d.sync += product.eq(shifted ^ self.control.negate.replicate(width))
        return m
