"""Rounding of an exact number to a wide float."""

from functools import partial

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from nibblegrad.hdl.base.pipeline import Flow
from nibblegrad.hdl.encoders.rounding import round_by
from nibblegrad.hdl.encoders.shifter import RightShift

__all__ = ["FloatEncoder"]


class FloatEncoder(wiring.Component):
    """Round a normalised number to a wide float. The latency is 6 cycles; nothing stalls.

    The number is ``(-1)**sign * significand * 2**(exponent - len(significand) + 1)``. Its model
    is :func:`nibblegrad.golden.cores.stochastic_rounder.round_float`.

    Parameters
    ----------
    target : FloatFormat
        Format of the result.
    significand_bits : int
        Width of the significand; its top bit is set, or it is 0.
    exponent : Shape
        Shape of the exponent.
    random_bits : int
        Count of random bits.

    Members
    -------
    sign, significand, exponent : ``In``
        The number.
    nonfinite, infinite : ``In(1)``
        Whether the result is NaN, or infinity if both are set.
    mode : ``In(RoundMode)``
        Rounding mode. Stable while numbers are inside.
    noise : ``In(random_bits)``
        Bits to be added to those that are discarded, of the number that came ``noise_latency``
        cycles ago; zeros unless the mode is stochastic.
    code : ``Out(target.width)``
        Code.
    overflowed, underflowed, was_nonfinite : ``Out(1)``
        Events to count.
    """

    latency = 6
    noise_latency = 3

    def __init__(self, target, significand_bits, exponent, random_bits):
        self._target = target
        self._kept_bits = target.fraction_bits + 1
        self._random_bits = random_bits
        super().__init__(
            {
                "sign": In(1),
                "significand": In(significand_bits),
                "exponent": In(exponent),
                "nonfinite": In(1),
                "infinite": In(1),
                "mode": In(2),
                "noise": In(random_bits),
                "code": Out(target.width),
                "overflowed": Out(1),
                "underflowed": Out(1),
                "was_nonfinite": Out(1),
            }
        )

    @staticmethod
    def significand_bits(target, random_bits):
        """Count the bits of a significand that matter: the lowest one stands for all the rest."""
        return target.fraction_bits + 1 + random_bits + 1

    def elaborate(self, platform):
        m = Module()
        flow = Flow(m)
        sign, significand, exponent, nonfinite, infinite = (
            flow.input(name, getattr(self, name))
            for name in ("sign", "significand", "exponent", "nonfinite", "infinite")
        )
        kept, dropped, sticky, groups, nonzero = self._align(m, flow, significand, exponent)
        noise = flow.join("noise", self.noise, self.noise_latency, kept)
        to_nearest = flow.setting("to_nearest", ~self.mode.any())  # NEAREST_EVEN is 0
        rounded = flow.stage(
            "rounded more same below biased",
            partial(self._round, m), kept, dropped, sticky, groups, noise, to_nearest, exponent,
        )  # fmt: skip
        fraction, field, too_large, too_small = flow.stage(
            "fraction field too_large too_small", self._place, *rounded
        )
        code, overflowed, underflowed = flow.stage(
            "code overflowed underflowed",
            self._choose, fraction, field, too_large, too_small, sign, nonzero, nonfinite, infinite,
        )  # fmt: skip
        flow.deliver(
            self,
            self.latency,
            code=code,
            overflowed=overflowed,
            underflowed=underflowed,
            was_nonfinite=nonfinite,
        )
        return m

    def _align(self, m, flow, significand, exponent):
        """Part the significand into what is kept and what is discarded.

        Below the smallest normal number the last bit stays where it is: shift right.
        """
        wanted = self._kept_bits + self._random_bits
        if self._target.subnormals:
            shift = RightShift(m, "align", wanted)
            distance = flow.stage("distance", self._steps_below, exponent)
            parts = flow.stage(
                " ".join(shift.names),
                lambda number, far: shift.far(self._pad(number), far),
                significand,
                distance,
            )
            align = shift.near
        else:
            significand = flow.wait(significand, self.noise_latency - 1)
            parts = [significand]
            align = self._cut
        return flow.stage(
            "kept dropped sticky groups nonzero",
            lambda number, *parts: (*self._part(*align(*parts)), number.any()),
            significand,
            *parts,
        )

    def _steps_below(self, exponent):
        """Tell how far the number is below the smallest normal one."""
        steps = self._target.least_exponent - exponent
        return Mux(steps[-1], 0, steps).as_unsigned()

    def _pad(self, significand):
        """Give as many bits as are kept, and as many more as there are random bits."""
        missing = self._kept_bits + self._random_bits - len(significand)
        return Cat(Const(0, max(0, missing)), significand)

    def _cut(self, significand):
        """Cut off what is neither kept nor added to, without a shift."""
        number = self._pad(significand)
        cut = len(number) - self._kept_bits - self._random_bits
        return number[cut:], number[:cut].any()

    def _part(self, aligned, sticky):
        """Part what is kept from what is dropped, and sum up some of that beforehand."""
        dropped = aligned[: self._random_bits]
        rest = dropped[:-1]
        groups = Cat(rest[at : at + 4].any() for at in range(0, len(rest), 4))
        return aligned[self._random_bits :], dropped, sticky, groups

    def _round(self, m, kept, dropped, sticky, groups, noise, to_nearest, exponent):
        """Round the significand; compare and place the exponent as it is without the carry."""
        target = self._target
        rounded = round_by(m, "round", kept, dropped, groups.any() | sticky, noise, to_nearest)
        more = Cat(exponent > limit for limit in self._limits)
        same = Cat(exponent == limit for limit in self._limits)
        biased = (exponent + target.bias)[: target.exponent_bits]
        return rounded, more, same, exponent < target.least_exponent, biased

    @property
    def _limits(self):
        greatest, least = self._target.greatest_exponent, self._target.least_exponent
        return greatest, greatest - 1, least, least - 1

    def _place(self, rounded, more, same, below, biased):
        """Make the fields, and tell what is beyond the format."""
        target = self._target
        # A carry leaves a fraction of zeros, so the fraction bits need no shift.
        carry = rounded[self._kept_bits]
        normal = rounded[self._kept_bits - 1] | carry
        fraction = rounded[: target.fraction_bits]
        field = (biased + carry)[: target.exponent_bits]
        # Whether the exponent with the carry is beyond each of the limits.
        above_greatest, reaches_greatest, above_least, reaches_least = (
            more[k] | (same[k] & carry) for k in range(len(self._limits))
        )
        if target.ibm:
            above_greatest = above_greatest | (reaches_greatest & fraction.all())
            # The smallest power of two has the code of zero.
            too_small = ~reaches_least | (~above_least & ~fraction.any())
        elif target.subnormals:
            too_small = ~normal & ~fraction.any()
            # Below the normal numbers the exponent is the least; a carry makes it normal.
            field = Mux(below, normal, field)
        else:
            too_small = ~reaches_least
        return fraction, field, above_greatest, too_small

    def _choose(self, fraction, field, too_large, too_small, sign, nonzero, nonfinite, infinite):
        """Choose between the number, zero, infinity and no number, and tell the events."""
        target = self._target
        special = Const((1 << target.exponent_bits) - 1, target.exponent_bits)
        ones = (1 << target.fraction_bits) - 1
        quiet = ones if target.ibm else 1 << (target.fraction_bits - 1)
        infinity = ones if target.ibm else 0
        # The code for no number of an IBM format has no sign, nor has its zero.
        special_sign = Const(0, 1) if target.ibm else sign
        not_a_number = Cat(Const(quiet, target.fraction_bits), special, Const(0, 1))
        infinite_code = Cat(Const(infinity, target.fraction_bits), special, special_sign)
        zero = Cat(Const(0, target.width - 1), special_sign)
        code = Mux(~nonzero | too_small, zero, Cat(fraction, field, sign))
        code = Mux(nonfinite | (nonzero & too_large), infinite_code, code)
        code = Mux(nonfinite & ~infinite, not_a_number, code)
        return code, nonzero & too_large, nonzero & too_small
