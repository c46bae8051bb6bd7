"""Rounding of an exact product to an integer code, with what the step gradient needs."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from golden.quantizer import InRange

from .pipeline import deepen
from .shifter import shift_right

__all__ = ["IntegerEncoder"]


class IntegerEncoder(wiring.Component):
    """Round to the nearest integer, ties to even, and clip. The latency is 2 cycles, 6 if ``deep``.

    The number is ``(-1)**sign * magnitude * 2**exponent``. Its model is the second half of
    :func:`golden.quantizer.quantize`.

    Parameters
    ----------
    magnitude_bits : int
        Width of the magnitude.
    least_magnitude : int
        Every magnitude but 0 is at least ``2**least_magnitude``, so that a positive exponent
        leaves the range of any code: at least ``bits + residual_bits - 1``.
    exponent : Shape
        Shape of the exponent.
    bits : int
        Width of a code, 2 to 8.
    residual_bits : int
        Fraction bits of the residual.
    in_range_rule : InRange
        Rule of ``in_range``.
    deep : bool
        Whether there are four more register stages, for short paths where nothing stalls: these
        have no clock enables.

    Members
    -------
    enable : ``In(2)``
        Clock enables of the first and last stage; set if ``deep``.
    sign, magnitude, exponent, nonfinite : ``In``
        The number; a magnitude of 0 comes with ``nonfinite``.
    is_signed : ``In(1)``
        Whether codes are two's complement. Stable while numbers are in flight.
    code : ``Out(bits)``
        Code.
    in_range, residual : ``Out``
        See :class:`golden.quantizer.Quantized`.
    saturated, underflowed, was_nonfinite : ``Out(1)``
        Events to count.
    """

    def __init__(
        self,
        magnitude_bits,
        least_magnitude,
        exponent,
        bits,
        residual_bits,
        in_range_rule,
        deep=False,
    ):
        self.latency = 6 if deep else 2
        self._deep = deep
        assert least_magnitude >= bits + residual_bits - 1
        self._bits = bits
        self._residual_bits = residual_bits
        self._in_range_rule = in_range_rule
        super().__init__(
            {
                "enable": In(2),
                "sign": In(1),
                "magnitude": In(magnitude_bits),
                "exponent": In(exponent),
                "nonfinite": In(1),
                "is_signed": In(1),
                "code": Out(bits),
                "in_range": Out(1),
                "residual": Out(signed(residual_bits + 1)),
                "saturated": Out(1),
                "underflowed": Out(1),
                "was_nonfinite": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        bits, residual_bits, deep = self._bits, self._residual_bits, self._deep

        # Align: fixed point with `residual_bits` below the point.
        distance = Signal(signed(len(self.exponent) + 1))
        m.d.comb += distance.eq(-residual_bits - self.exponent)
        sign_in, magnitude_in, nonfinite_in, distance = deepen(
            m, deep, "coming", self.sign, self.magnitude, self.nonfinite, distance
        )
        too_far_left = distance[-1]
        aligned, lost = shift_right(
            m, "align", magnitude_in, distance.as_unsigned()[:-1], len(magnitude_in), deep
        )
        sign_in, nonfinite_in, too_far_left, beyond = deepen(
            m, deep, "shifting", sign_in, nonfinite_in, too_far_left,
            too_far_left & magnitude_in.any(),
        )  # fmt: skip
        sign = Signal(reset_less=True)
        fixed = Signal(bits + residual_bits, reset_less=True)
        big = Signal(reset_less=True)
        sticky = Signal(reset_less=True)
        nonfinite = Signal()
        with m.If(self.enable[0]):
            m.d.sync += [
                sign.eq(sign_in),
                fixed.eq(aligned),
                big.eq(aligned[len(fixed) :].any() | beyond),
                sticky.eq(lost & ~too_far_left),
                nonfinite.eq(nonfinite_in),
            ]

        # Round the magnitude.
        fraction = fixed[:residual_bits]
        whole = fixed[residual_bits:]
        up = Signal()
        rounded = Signal(bits + 1)
        rest = fraction[:-1].any() | sticky
        m.d.comb += [
            up.eq(fraction[-1] & (rest | whole[0])),
            # Both sums are there before it is known which of them counts.
            rounded.eq(Mux(up, whole + 1, whole)),
        ]

        nonzero = fixed.any() | sticky | big
        rounded, up, whole, fraction, nonzero, big, sign, nonfinite = deepen(
            m, deep, "after_rounding", rounded, up, whole, fraction, nonzero, big, sign, nonfinite
        )

        # Clip. A negative number and an unsigned code have 0 for limit.
        limit = Signal(bits)
        m.d.comb += limit.eq(
            Mux(
                self.is_signed,
                Mux(sign, 1 << (bits - 1), (1 << (bits - 1)) - 1),
                Mux(sign, 0, (1 << bits) - 1),
            )
        )
        clipped = Signal()
        magnitude = Signal(bits)
        passes = Signal()
        # Each limit is compared with by a look at the bits.
        above = Mux(
            self.is_signed,
            rounded[-1] | (rounded[-2] & (~sign | rounded[:-2].any())),
            Mux(sign, rounded.any(), rounded[-1]),
        )
        below = Mux(
            self.is_signed,
            ~whole[-1] & (sign | ~whole[:-1].all()),
            ~sign & ~whole.all(),
        )
        m.d.comb += [
            clipped.eq(big | above),
            magnitude.eq(Mux(clipped, limit, rounded)),
        ]
        if self._in_range_rule is InRange.UNROUNDED:
            # Strictly inside; for unsigned codes, strictly above zero.
            m.d.comb += passes.eq(~big & below & (self.is_signed | nonzero))
        else:
            m.d.comb += passes.eq(~clipped)
        # Rounded minus exact, as the sign of the number has it.
        difference = Signal(signed(residual_bits + 1))
        m.d.comb += difference.eq(Cat(Const(0, residual_bits), up) - fraction)
        underflowed = nonzero & ~rounded.any() & ~big
        inside = passes & ~nonfinite
        magnitude, clipped, inside, difference, underflowed, sign, nonfinite = deepen(
            m, deep, "to_code", magnitude, clipped, inside, difference, underflowed, sign, nonfinite
        )
        with m.If(self.enable[1]):
            m.d.sync += [
                self.code.eq(Mux(sign, -magnitude, magnitude)),
                self.in_range.eq(inside),
                # Not chosen by `inside`: synthesis would make a reset of that, for these alone.
                self.residual.eq(
                    Mux(sign, -difference, difference) & inside.replicate(residual_bits + 1)
                ),
                self.saturated.eq(clipped),
                self.underflowed.eq(underflowed),
                self.was_nonfinite.eq(nonfinite),
            ]
        return m
