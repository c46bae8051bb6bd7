"""Rounding of an exact number to an FP4 code."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from golden.fp4_quantizer import Underflow

from .shifter import shift_right

__all__ = ["Fp4Encoder"]


class Fp4Encoder(wiring.Component):
    """Round a normalised number to FP4 [1,3,0]. The latency is 2 cycles.

    The number is ``(-1)**sign * significand * 2**(exponent - len(significand) + 1)`` in units of
    the scale. No logarithm and no multiplier: the exponent is the code, and one bit tells whether
    it goes up. Its model is :func:`golden.fp4_quantizer.quantize_fp4`.

    Parameters
    ----------
    fmt : Fp4Format
        Radix.
    significand_bits : int
        Width of the significand; its top bit is set, or it is 0.
    exponent : Shape
        Shape of the exponent.
    random_bits : int
        Count of random bits; radix 2 only.
    underflow : Underflow
        Threshold of zero for rounding to the nearest.

    Members
    -------
    enable : ``In(2)``
        Clock enables of the two stages.
    sign, significand, exponent, nonfinite : ``In``
        The number; a significand of 0 comes with ``nonfinite``.
    stochastic : ``In(1)``, noise : ``In(random_bits)``
        Rounding mode and random bits of the number in the first stage's registers; radix 2.
    code : ``Out(4)``
        Code.
    saturated, underflowed, was_nonfinite : ``Out(1)``
        Events to count.
    """

    latency = 2

    def __init__(self, fmt, significand_bits, exponent, random_bits, underflow):
        self._fmt = fmt
        self._random_bits = random_bits
        self._underflow = underflow
        members = {
            "enable": In(2),
            "sign": In(1),
            "significand": In(significand_bits),
            "exponent": In(exponent),
            "nonfinite": In(1),
            "code": Out(4),
            "saturated": Out(1),
            "underflowed": Out(1),
            "was_nonfinite": Out(1),
        }
        if fmt.log2_radix == 1:
            members |= {"stochastic": In(1), "noise": In(random_bits)}
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        binary = self._fmt.log2_radix == 1

        sign = Signal()
        nonzero = Signal()
        nonfinite = Signal()
        exponent = Signal(self.exponent.shape())
        with m.If(self.enable[0]):
            m.d.sync += [
                sign.eq(self.sign),
                nonzero.eq(self.significand.any()),
                nonfinite.eq(self.nonfinite),
                exponent.eq(self.exponent),
            ]

        # Whether the number is at least half way between two powers of two (radix 2), or, in the
        # upper half of a step of the radix, half way to the next power of four (radix 4).
        fraction = self.significand[:-1]
        above_middle = Signal()
        with m.If(self.enable[0]):
            m.d.sync += above_middle.eq(fraction[-1] if binary else fraction[-2:].any())

        up = Signal()
        half = Signal()  # the number is in [1/2, 1)
        m.d.comb += half.eq(exponent == -1)
        if binary:
            m.d.comb += up.eq(above_middle)
        else:
            m.d.comb += up.eq(above_middle & exponent[0])
        if self._underflow is Underflow.MIDPOINT:
            with m.If(half):
                m.d.comb += up.eq(1)
        with m.If((exponent < 0) & ~half):
            m.d.comb += up.eq(0)

        if binary:
            # Below one unit the leading one is shifted into the dropped bits as well.
            bits = self._random_bits
            small = Signal()
            m.d.comb += small.eq(self.exponent < 0)
            padding = Const(0, max(0, bits - len(fraction)))
            number = Cat(padding, self.significand)[-(bits + 1) :]
            distance = Mux(small, (-self.exponent).as_unsigned(), 0)
            shifted, _ = shift_right(m, "align", number, distance, bits + 1)
            dropped = Signal(bits)
            carry = Signal(bits + 1)
            with m.If(self.enable[0]):
                m.d.sync += dropped.eq(shifted[:bits])
            m.d.comb += carry.eq(dropped + self.noise)
            with m.If(self.stochastic):
                m.d.comb += up.eq(carry[-1])

        # The code without its limit: exponent over the logarithm of the radix, plus one, rounded.
        field = Signal(signed(len(exponent) + 2))
        whole = exponent if binary else exponent >> 1
        with m.If(exponent < 0):
            m.d.comb += field.eq(up)
        with m.Else():
            m.d.comb += field.eq(whole + 1 + up)
        magnitude = Signal(3)
        m.d.comb += magnitude.eq(Mux(field > 7, 7, field[:3]))
        with m.If(self.enable[1]):
            m.d.sync += [
                self.code.eq(Mux(nonzero & magnitude.any(), Cat(magnitude, sign), 0)),
                self.saturated.eq(nonzero & (field > 7)),
                self.underflowed.eq(nonzero & ~magnitude.any()),
                self.was_nonfinite.eq(nonfinite),
            ]
        return m
