"""Rounding of an exact number to a wide float."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .pipeline import deepen
from .rounding import round_up
from .shifter import shift_right

__all__ = ["FloatEncoder"]


class FloatEncoder(wiring.Component):
    """Round a normalised number to a wide float. The latency is 2 cycles, or 6 if ``deep``.

    The number is ``(-1)**sign * significand * 2**(exponent - len(significand) + 1)``. Its model
    is :func:`golden.stochastic_rounder.round_float`.

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
    self_bits : int
        Count of bits for SELF_STOCHASTIC; 0 if the mode is never used, and if ``deep``.
    deep : bool
        Whether there are four more register stages, for short paths where nothing stalls: these
        have no clock enables.

    Members
    -------
    enable : ``In(2)``
        Clock enables of the first and last stage; set if ``deep``.
    sign, significand, exponent : ``In``
        The number.
    nonfinite, infinite : ``In(1)``
        Whether the result is NaN, or infinity if both are set.
    self_noise : ``In(self_bits)``
        Low bits of the number, with ``self_bits``.
    mode : ``In(RoundMode)``, noise : ``In(random_bits)``
        Rounding mode and random bits of the number in the first stage's registers, if ``deep`` the
        third's. If ``deep``, the random bits are zeros unless they are used.
    code : ``Out(target.width)``
        Code.
    overflowed, underflowed, was_nonfinite : ``Out(1)``
        Events to count.
    """

    def __init__(self, target, significand_bits, exponent, random_bits, self_bits=0, deep=False):
        assert not (deep and self_bits)
        self.latency = 6 if deep else 2
        self._deep = deep
        self._target = target
        self._significand_bits = significand_bits
        self._random_bits = random_bits
        self._self_bits = self_bits
        members = {
            "enable": In(2),
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
        if self_bits:
            members["self_noise"] = In(self_bits)
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        target, deep = self._target, self._deep
        kept_bits = target.fraction_bits + 1

        # Below the smallest normal number the last bit stays where it is: shift right.
        steps_below = target.least_exponent - self.exponent
        below = Signal(steps_below.shape())
        m.d.comb += below.eq(steps_below)
        shifting = target.subnormals and Shape.cast(self.exponent.shape()).width
        # What comes into the alignment.
        sign_in, significand_in, exponent_in, nonfinite_in, infinite_in, distance = deepen(
            m, deep, "coming", self.sign, self.significand, self.exponent, self.nonfinite,
            self.infinite, Mux(below[-1], 0, below).as_unsigned() if shifting else Const(0, 1),
        )  # fmt: skip
        extended = Cat(Const(0, max(0, kept_bits + self._random_bits - self._significand_bits)))
        number = Cat(extended, significand_in)
        if shifting:
            wanted = kept_bits + self._random_bits
            aligned, lost = shift_right(m, "align", number, distance, wanted, deep)
        sign_in, significand_in, exponent_in, nonfinite_in, infinite_in = deepen(
            m, deep, "shifting", sign_in, significand_in, exponent_in, nonfinite_in, infinite_in
        )
        if not shifting:
            number = Cat(extended, significand_in)
            cut = len(number) - kept_bits - self._random_bits
            aligned, lost = number[cut:], number[:cut].any()

        sign = Signal(reset_less=True)
        kept = Signal(kept_bits, reset_less=True)
        dropped = Signal(self._random_bits, reset_less=True)
        sticky = Signal(reset_less=True)
        nonzero = Signal(reset_less=True)
        nonfinite = Signal()
        infinite = Signal()
        exponent = Signal(self.exponent.shape())
        self_noise = Signal(self._self_bits, name="self_noise") if self._self_bits else None
        with m.If(self.enable[0]):
            m.d.sync += [
                sign.eq(sign_in),
                Cat(dropped, kept).eq(aligned),
                sticky.eq(lost),
                nonzero.eq(significand_in.any()),
                nonfinite.eq(nonfinite_in),
                infinite.eq(infinite_in),
                exponent.eq(exponent_in),
            ]
            if self._self_bits:
                m.d.sync += self_noise.eq(self.self_noise)

        to_nearest = rest = None
        if deep:
            # The mode stands still, and of what is dropped some is summed up beforehand.
            low = aligned[: self._random_bits - 1]
            groups = Cat(low[at : at + 4].any() for at in range(0, len(low), 4))
            to_nearest, groups = deepen(m, True, "to_nearest", ~self.mode.any(), groups)
            rest = groups.any()
        rounded = round_up(
            m, "round", kept, dropped, sticky, self.mode, self.noise, self_noise, to_nearest, rest
        )
        # Comparisons, and the field, for the exponent without the carry of the rounding.
        greatest, least = target.greatest_exponent, target.least_exponent
        limits = (greatest, greatest - 1, least, least - 1)
        more = Cat(exponent > limit for limit in limits)
        same = Cat(exponent == limit for limit in limits)
        below = exponent < least
        biased = Signal(target.exponent_bits)
        m.d.comb += biased.eq(exponent + target.bias)
        rounded, more, same, below, biased, sign, nonzero, nonfinite, infinite = deepen(
            m, deep, "after_rounding", rounded, more, same, below, biased, sign, nonzero, nonfinite,
            infinite,
        )  # fmt: skip
        # A carry leaves a fraction of zeros, so the fraction bits need no shift.
        carry = rounded[kept_bits]
        normal = rounded[kept_bits - 1] | carry
        # Whether the exponent with the carry is beyond each of the limits.
        above_greatest, reaches_greatest, above_least, reaches_least = (
            more[k] | (same[k] & carry) for k in range(len(limits))
        )
        fraction = rounded[: target.fraction_bits]
        final = Signal(target.exponent_bits)
        field = Signal(target.exponent_bits)
        too_large = Signal()
        too_small = Signal()
        m.d.comb += [final.eq(biased + carry), field.eq(final), too_large.eq(above_greatest)]
        if target.ibm:
            m.d.comb += [
                too_large.eq(above_greatest | (reaches_greatest & fraction.all())),
                # The smallest power of two has the code of zero.
                too_small.eq(~reaches_least | (~above_least & ~fraction.any())),
            ]
        elif target.subnormals:
            m.d.comb += [
                too_small.eq(~normal & ~fraction.any()),
                # Below the normal numbers the exponent is the least; a carry makes it normal.
                field.eq(Mux(below, normal, final)),
            ]
        else:
            m.d.comb += too_small.eq(~reaches_least)

        fraction, field, too_large, too_small, sign, nonzero, nonfinite, infinite = deepen(
            m, deep, "to_code", fraction, field, too_large, too_small, sign, nonzero, nonfinite,
            infinite,
        )  # fmt: skip
        special = (1 << target.exponent_bits) - 1
        ones = (1 << target.fraction_bits) - 1
        quiet = ones if target.ibm else 1 << (target.fraction_bits - 1)
        infinity = ones if target.ibm else 0
        # The code for no number of an IBM format has no sign, nor has its zero.
        signed_special = 0 if target.ibm else 1
        code = Signal(target.width)
        with m.If(nonfinite & ~infinite):
            m.d.comb += code.eq(Cat(Const(quiet, target.fraction_bits), Const(special)))
        with m.Elif(nonfinite | (nonzero & too_large)):
            m.d.comb += code.eq(
                Cat(
                    Const(infinity, target.fraction_bits),
                    Const(special, target.exponent_bits),
                    sign & signed_special,
                )
            )
        with m.Elif(~nonzero | too_small):
            m.d.comb += code.eq(Cat(Const(0, target.width - 1), sign & signed_special))
        with m.Else():
            m.d.comb += code.eq(Cat(fraction, field, sign))
        with m.If(self.enable[1]):
            m.d.sync += [
                self.code.eq(code),
                self.overflowed.eq(nonzero & too_large),
                self.underflowed.eq(nonzero & too_small),
                self.was_nonfinite.eq(nonfinite),
            ]
        return m
