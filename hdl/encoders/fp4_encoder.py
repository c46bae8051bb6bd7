"""Rounding of an exact number to an FP4 code."""

from functools import partial

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from nibblegrad.golden.cores.fp4_quantizer import Underflow
from nibblegrad.hdl.base.pipeline import Flow
from nibblegrad.hdl.encoders.shifter import RightShift

__all__ = ["Fp4Encoder"]


class Fp4Encoder(wiring.Component):
    """Round a normalised number to FP4 [1,3,0]. The latency is 6 cycles; nothing stalls.

    The number is ``(-1)**sign * significand * 2**(exponent - len(significand) + 1)`` in units of
    the scale. No logarithm and no multiplier: the exponent is the code, and one bit tells whether
    it goes up. Its model is :func:`nibblegrad.golden.cores.fp4_quantizer.quantize_fp4`.

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
    sign, significand, exponent, nonfinite : ``In``
        The number; a significand of 0 comes with ``nonfinite``.
    stochastic : ``In(1)``
        Radix 2: LUQ's rounding rather than to the nearest. Stable while numbers are inside.
    noise : ``In(random_bits)``
        Radix 2: random bits of the number that came ``noise_latency`` cycles ago.
    code : ``Out(4)``
        Code.
    saturated, underflowed, was_nonfinite : ``Out(1)``
        Events to count.
    """

    latency = 6
    noise_latency = 3

    def __init__(self, fmt, significand_bits, exponent, random_bits, underflow):
        self._binary = fmt.log2_radix == 1
        self._random_bits = random_bits
        self._underflow = underflow
        members = {
            "sign": In(1),
            "significand": In(significand_bits),
            "exponent": In(exponent),
            "nonfinite": In(1),
            "code": Out(4),
            "saturated": Out(1),
            "underflowed": Out(1),
            "was_nonfinite": Out(1),
        }
        if self._binary:
            members |= {"stochastic": In(1), "noise": In(random_bits)}
        super().__init__(members)

    @staticmethod
    def significand_bits(random_bits):
        """Count the bits of a significand that matter: the lowest one stands for all the rest."""
        return max(random_bits + 1, 3) + 1

    def elaborate(self, platform):
        m = Module()
        flow = Flow(m)
        sign, significand, exponent, nonfinite = (
            flow.input(name, getattr(self, name))
            for name in ("sign", "significand", "exponent", "nonfinite")
        )
        above_middle, nonzero, *dropped = self._align(m, flow, significand, exponent)
        noise = []
        if self._binary:
            noise = [flow.join("noise", self.noise, self.noise_latency, *dropped)]
        up = flow.stage("up", self._goes_up, above_middle, exponent, *dropped, *noise)
        field, has_code, underflowed = flow.stage(
            "field has_code underflowed", self._place, up, exponent, nonzero
        )
        code, saturated = flow.stage("code saturated", self._limit, field, has_code, sign)
        flow.deliver(
            self,
            self.latency,
            code=code,
            saturated=saturated,
            underflowed=underflowed,
            was_nonfinite=nonfinite,
        )
        return m

    def _align(self, m, flow, significand, exponent):
        """Find whether the number is above the middle of a step, and whether it is any.

        The middle is half way between two powers of two (radix 2), or, in the upper half of a step
        of the radix, half way to the next power of four (radix 4). Radix 2: also the bits that a
        random number is added to; below one unit the leading one is shifted into them as well.
        """
        if not self._binary:
            significand = flow.wait(significand, self.noise_latency - 1)
            return flow.stage(
                "above_middle nonzero", lambda s: (s[-3:-1].any(), s.any()), significand
            )
        bits = self._random_bits
        shift = RightShift(m, "align", bits + 1)
        distance = flow.stage("distance", _below_unit, exponent)
        parts = flow.stage(
            " ".join(shift.names), partial(self._shift_far, shift), significand, distance
        )
        return flow.stage(
            "above_middle nonzero dropped",
            lambda s, *parts: (s[-2], s.any(), shift.near(*parts)[0][:bits]),
            significand,
            *parts,
        )

    def _shift_far(self, shift, significand, distance):
        """Begin to shift the leading one and the bits behind it, as many as there are random."""
        padding = Const(0, max(0, self._random_bits + 1 - len(significand)))
        return shift.far(Cat(padding, significand)[-(self._random_bits + 1) :], distance)

    def _goes_up(self, above_middle, exponent, dropped=None, noise=None):
        """Tell whether the exponent goes up: to the nearest, or by random bits."""
        half = exponent == -1  # the number is in [1/2, 1)
        up = above_middle if self._binary else above_middle & exponent[0]
        if self._underflow is Underflow.MIDPOINT:
            up = up | half
        up = up & ((exponent >= 0) | half)
        if self._binary:
            up = Mux(self.stochastic, (dropped + noise)[-1], up)
        return up

    def _place(self, up, exponent, nonzero):
        """Make the code without its limit, and tell a number that stays from one that vanishes."""
        # The exponent over the logarithm of the radix, plus one, rounded.
        whole = exponent if self._binary else exponent >> 1
        field = Mux(exponent < 0, up, whole + 1 + up)
        zero = (exponent < 0) & ~up
        return field, nonzero & ~zero, nonzero & zero

    @staticmethod
    def _limit(field, has_code, sign):
        """Clip the field, which is not negative, and join it with the sign."""
        saturated = field[3:].any()
        magnitude = Mux(saturated, 7, field[:3])
        # Not chosen by `has_code`: synthesis would make a reset of that, for these four alone.
        return Cat(magnitude, sign) & has_code.replicate(4), has_code & saturated


def _below_unit(exponent):
    """Tell how far the leading one is below one unit."""
    return Mux(exponent < 0, (-exponent).as_unsigned(), 0)
