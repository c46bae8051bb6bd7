"""Rounding of an exact product to an integer code, with what the step gradient needs."""

from functools import partial

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from nibblegrad.golden.cores.quantizer import InRange
from nibblegrad.hdl.base.pipeline import Flow
from nibblegrad.hdl.encoders.shifter import RightShift

__all__ = ["IntegerEncoder"]


class IntegerEncoder(wiring.Component):
    """Round to the nearest integer, ties to even, and clip. The latency is 6 cycles.

    The number is ``(-1)**sign * magnitude * 2**exponent``. Its model is the second half of
    :func:`nibblegrad.golden.cores.quantizer.quantize`. The throughput is one number per cycle;
    nothing stalls.

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

    Members
    -------
    sign, magnitude, exponent, nonfinite : ``In``
        The number; a magnitude of 0 comes with ``nonfinite``.
    is_signed : ``In(1)``
        Whether codes are two's complement. Stable while numbers are inside.
    code : ``Out(bits)``
        Code.
    in_range, residual : ``Out``
        See :class:`nibblegrad.golden.cores.quantizer.Quantized`.
    saturated, underflowed, was_nonfinite : ``Out(1)``
        Events to count.
    """

    latency = 6

    def __init__(
        self, magnitude_bits, least_magnitude, exponent, bits, residual_bits, in_range_rule
    ):
        assert least_magnitude >= bits + residual_bits - 1
        self._bits = bits
        self._residual_bits = residual_bits
        self._in_range_rule = in_range_rule
        super().__init__(
            {
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

    @staticmethod
    def significand_bits(bits, residual_bits):
        """Count the bits of a normalised number that matter: the lowest one stands for the rest."""
        return bits + residual_bits + 1

    def elaborate(self, platform):
        m = Module()
        flow = Flow(m)
        sign, magnitude, exponent, nonfinite = (
            flow.input(name, getattr(self, name))
            for name in ("sign", "magnitude", "exponent", "nonfinite")
        )
        fixed, big, sticky = self._align(m, flow, magnitude, exponent)
        rounded, up, whole, fraction, nonzero = flow.stage(
            "rounded up whole fraction nonzero", self._round, fixed, big, sticky
        )
        magnitude, clipped, inside, difference, underflowed = flow.stage(
            "magnitude clipped inside difference underflowed",
            self._clip, rounded, up, whole, fraction, nonzero, big, sign, nonfinite,
        )  # fmt: skip
        code, residual = flow.stage(
            "code residual", self._give_sign, sign, magnitude, difference, inside
        )
        flow.deliver(
            self,
            self.latency,
            code=code,
            in_range=inside,
            residual=residual,
            saturated=clipped,
            underflowed=underflowed,
            was_nonfinite=nonfinite,
        )
        return m

    def _align(self, m, flow, magnitude, exponent):
        """Make fixed point with `residual_bits` below the point, as wide as a code allows.

        Also whether the number has any bit above that, and whether it has any below.
        """
        shift = RightShift(m, "align", len(self.magnitude))
        distance = flow.stage("distance", self._distance, exponent)
        parts = flow.stage(
            " ".join([*shift.names, "beyond"]),
            partial(self._shift_far, shift),
            magnitude,
            distance,
        )
        return flow.stage("fixed big sticky", partial(self._shift_near, shift), *parts)

    def _distance(self, exponent):
        """Tell how far to shift right; it is negative for numbers beyond any code."""
        return (-self._residual_bits - exponent)[: len(exponent) + 1]

    @staticmethod
    def _shift_far(shift, magnitude, distance):
        # What is beyond any code is clipped, whatever the shift makes of it.
        return *shift.far(magnitude, distance[:-1]), distance[-1] & magnitude.any()

    def _shift_near(self, shift, *parts):
        *parts, beyond = parts
        aligned, lost = shift.near(*parts)
        width = self._bits + self._residual_bits
        return aligned[:width], aligned[width:].any() | beyond, lost

    def _round(self, fixed, big, sticky):
        """Round the magnitude."""
        fraction = fixed[: self._residual_bits]
        whole = fixed[self._residual_bits :]
        rest = fraction[:-1].any() | sticky
        up = fraction[-1] & (rest | whole[0])
        # Both sums are there before it is known which of them counts.
        return Mux(up, whole + 1, whole), up, whole, fraction, fixed.any() | sticky | big

    def _clip(self, rounded, up, whole, fraction, nonzero, big, sign, nonfinite):
        """Clip; a negative number and an unsigned code have 0 for limit.

        Each limit is compared with by a look at the bits.
        """
        bits = self._bits
        limit = Mux(
            self.is_signed,
            Mux(sign, 1 << (bits - 1), (1 << (bits - 1)) - 1),
            Mux(sign, 0, (1 << bits) - 1),
        )
        above = Mux(
            self.is_signed,
            rounded[-1] | (rounded[-2] & (~sign | rounded[:-2].any())),
            Mux(sign, rounded.any(), rounded[-1]),
        )
        clipped = big | above
        magnitude = Mux(clipped, limit, rounded)[:bits]
        # Rounded minus exact, as the sign of the number has it.
        difference = Cat(Const(0, self._residual_bits), up) - fraction
        difference = difference[: self._residual_bits + 1].as_signed()
        inside = self._passes(clipped, whole, nonzero, big, sign) & ~nonfinite
        return magnitude, clipped, inside, difference, nonzero & ~rounded.any() & ~big

    def _passes(self, clipped, whole, nonzero, big, sign):
        """Tell whether the gradient passes."""
        if self._in_range_rule is InRange.ROUNDED:
            return ~clipped
        # Strictly inside; for unsigned codes, strictly above zero.
        below = Mux(
            self.is_signed,
            ~whole[-1] & (sign | ~whole[:-1].all()),
            ~sign & ~whole.all(),
        )
        return ~big & below & (self.is_signed | nonzero)

    def _give_sign(self, sign, magnitude, difference, inside):
        """Negate code and residual of a negative number; no residual out of range."""
        code = Mux(sign, -magnitude, magnitude)[: self._bits]
        residual = Mux(sign, -difference, difference)[: self._residual_bits + 1]
        # Not chosen by `inside`: synthesis would make a reset of that, for these alone.
        return code, residual & inside.replicate(self._residual_bits + 1)
