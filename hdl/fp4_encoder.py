"""Rounding of an exact number to an FP4 code."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from golden.fp4_quantizer import Underflow

from .pipeline import deepen
from .shifter import shift_right

__all__ = ["Fp4Encoder"]


class Fp4Encoder(wiring.Component):
    """Round a normalised number to FP4 [1,3,0]. The latency is 2 cycles, or 6 if ``deep``.

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
    deep : bool
        Whether there are four more register stages, for short paths where nothing stalls: these
        have no clock enables.

    Members
    -------
    enable : ``In(2)``
        Clock enables of the first and last stage; set if ``deep``.
    sign, significand, exponent, nonfinite : ``In``
        The number; a significand of 0 comes with ``nonfinite``.
    stochastic : ``In(1)``, noise : ``In(random_bits)``
        Rounding mode and random bits of the number in the first stage's registers, if ``deep`` the
        third's; radix 2.
    code : ``Out(4)``
        Code.
    saturated, underflowed, was_nonfinite : ``Out(1)``
        Events to count.
    """

    def __init__(self, fmt, significand_bits, exponent, random_bits, underflow, deep=False):
        self.latency = 6 if deep else 2
        self._deep = deep
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
        deep = self._deep

        # Below one unit the leading one is shifted into the dropped bits as well (radix 2).
        small = Signal()
        m.d.comb += small.eq(self.exponent < 0)
        sign_in, significand_in, exponent_in, nonfinite_in, distance = deepen(
            m, deep, "coming", self.sign, self.significand, self.exponent, self.nonfinite,
            Mux(small, (-self.exponent).as_unsigned(), 0) if binary else Const(0, 1),
        )  # fmt: skip
        number = significand_in
        sign_in, significand_in, exponent_in, nonfinite_in = deepen(
            m, deep, "shifting", sign_in, significand_in, exponent_in, nonfinite_in
        )
        sign = Signal(reset_less=True)
        nonzero = Signal(reset_less=True)
        nonfinite = Signal()
        exponent = Signal(self.exponent.shape())
        with m.If(self.enable[0]):
            m.d.sync += [
                sign.eq(sign_in),
                nonzero.eq(significand_in.any()),
                nonfinite.eq(nonfinite_in),
                exponent.eq(exponent_in),
            ]

        # Whether the number is at least half way between two powers of two (radix 2), or, in the
        # upper half of a step of the radix, half way to the next power of four (radix 4).
        fraction = significand_in[:-1]
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
            bits = self._random_bits
            padding = Const(0, max(0, bits - len(fraction)))
            number = Cat(padding, number)[-(bits + 1) :]
            shifted, _ = shift_right(m, "align", number, distance, bits + 1, deep)
            dropped = Signal(bits, reset_less=True)
            carry = Signal(bits + 1)
            with m.If(self.enable[0]):
                m.d.sync += dropped.eq(shifted[:bits])
            m.d.comb += carry.eq(dropped + self.noise)
            with m.If(self.stochastic):
                m.d.comb += up.eq(carry[-1])

        up, exponent, sign, nonzero, nonfinite = deepen(
            m, deep, "after_rounding", up, exponent, sign, nonzero, nonfinite
        )

        # The code without its limit: exponent over the logarithm of the radix, plus one, rounded.
        field = Signal(signed(len(exponent) + 2))
        whole = exponent if binary else exponent >> 1
        with m.If(exponent < 0):
            m.d.comb += field.eq(up)
        with m.Else():
            m.d.comb += field.eq(whole + 1 + up)
        zero = (exponent < 0) & ~up
        kept, underflowed = nonzero & ~zero, nonzero & zero
        field, kept, underflowed, sign, nonfinite = deepen(
            m, deep, "to_code", field, kept, underflowed, sign, nonfinite
        )
        # The field is not negative, so this is a short form of a comparison.
        saturated = field[3:].any()
        magnitude = Signal(3)
        m.d.comb += magnitude.eq(Mux(saturated, 7, field[:3]))
        with m.If(self.enable[1]):
            m.d.sync += [
                # Not chosen by `kept`: synthesis would make a reset of that, for these four alone.
                self.code.eq(Cat(magnitude, sign) & kept.replicate(4)),
                self.saturated.eq(kept & saturated),
                self.underflowed.eq(underflowed),
                self.was_nonfinite.eq(nonfinite),
            ]
        return m
