"""Lanes that round one number per cycle: wide floats to narrower ones, fixed point to integers."""

from functools import partial

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from nibblegrad.golden.cores.stochastic_rounder import self_bits
from nibblegrad.hdl.base.pipeline import Flow
from nibblegrad.hdl.encoders.float_encoder import FloatEncoder
from nibblegrad.hdl.encoders.rounding import choose_addend, round_by
from nibblegrad.hdl.encoders.wide_float import FloatDecoder

__all__ = ["FixedLane", "FloatLane"]

_NUMBER = ("sign", "significand", "nonfinite", "infinite")


class FloatLane(wiring.Component):
    """Round one number to a narrower format; nothing stalls. The latency is 11 cycles.

    Parameters
    ----------
    source, target, random_bits :
        See :class:`nibblegrad.hdl.cores.stochastic_rounder.FloatRounder`.

    Members
    -------
    number : ``In(source.width)``
        Code of ``source``.
    mode : ``In(2)``
        A :class:`nibblegrad.golden.numbers.rounding.RoundMode`. Stable while numbers are inside.
    noise : ``In(random_bits)``
        Random bits of the number that came ``noise_latency`` cycles ago.
    code, overflowed, underflowed, was_nonfinite :
        See :class:`nibblegrad.hdl.encoders.float_encoder.FloatEncoder`.
    """

    #: Cycles until the encoder: the number is registered, taken apart, normalised in two, and gets
    #: its exponent.
    _TO_ENCODER = 5

    latency = _TO_ENCODER + FloatEncoder.latency
    # What is added is chosen a cycle before.
    noise_latency = _TO_ENCODER + FloatEncoder.noise_latency - 1

    def __init__(self, source, target, random_bits):
        self._source = source
        self._target = target
        self._random_bits = random_bits
        super().__init__(
            {
                "number": In(source.width),
                "mode": In(2),
                "noise": In(random_bits),
                "code": Out(target.width),
                "overflowed": Out(1),
                "underflowed": Out(1),
                "was_nonfinite": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        flow = Flow(m)
        source = self._source
        m.submodules.decoder = decoder = FloatDecoder(source, normalized=True)
        m.submodules.encoder = encoder = FloatEncoder(
            self._target, source.fraction_bits + 1, decoder.exponent.shape(), self._random_bits
        )
        number = flow.keep("number", flow.input("number", self.number))
        m.d.comb += [decoder.code.eq(number.value), encoder.mode.eq(self.mode)]
        exponent = flow.input("exponent", decoder.exponent, number.cycle + decoder.exponent_latency)
        distance, *parts = (
            flow.input(name, getattr(decoder, name), number.cycle + decoder.latency)
            for name in ("distance", *_NUMBER)
        )
        exponent = flow.stage(
            "exponent",
            lambda e, d: (e - d)[: len(encoder.exponent)].as_signed(),
            exponent,
            distance,
        )
        flow.deliver(
            encoder,
            self._TO_ENCODER,
            exponent=exponent,
            **dict(zip(_NUMBER, parts, strict=True)),
        )
        addend = self._choose(m, flow, number)
        m.d.comb += encoder.noise.eq(flow.at(addend, self._TO_ENCODER + FloatEncoder.noise_latency))
        for name in ("code", "overflowed", "underflowed", "was_nonfinite"):
            m.d.comb += getattr(self, name).eq(getattr(encoder, name))
        return m

    def _choose(self, m, flow, number):
        """Choose what is added to the bits that are dropped: random ones, the number's own."""
        dropped = self._source.fraction_bits - self._target.fraction_bits
        own = flow.input("own", number.value[: self_bits(dropped, self._random_bits)], number.cycle)
        own = flow.wait(own, self.noise_latency)
        noise = flow.join("random", self.noise, self.noise_latency, own)
        return flow.stage(
            "addend",
            partial(choose_addend, m, "addend", self._random_bits),
            flow.setting("mode", self.mode),
            noise,
            own,
        )


class FixedLane(wiring.Component):
    """Round one number to an integer, and clip it; nothing stalls. The latency is 4 cycles.

    Parameters
    ----------
    width, fraction_bits, target, random_bits :
        See :class:`nibblegrad.hdl.cores.stochastic_rounder.FixedRounder`.

    Members
    -------
    number : ``In(signed(width))``
        Number in units of ``2**-fraction_bits``.
    mode : ``In(2)``
        A :class:`nibblegrad.golden.numbers.rounding.RoundMode`. Stable while numbers are inside.
    noise : ``In(random_bits)``
        Random bits of the number that came ``noise_latency`` cycles ago.
    code : ``Out(target.bits)``
        Integer.
    saturated, underflowed : ``Out(1)``
        Events to count.
    """

    latency = 4
    noise_latency = 1

    def __init__(self, width, fraction_bits, target, random_bits):
        self._fraction_bits = fraction_bits
        self._target = target
        self._random_bits = random_bits
        super().__init__(
            {
                "number": In(signed(width)),
                "mode": In(2),
                "noise": In(random_bits),
                "code": Out(target.bits),
                "saturated": Out(1),
                "underflowed": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        flow = Flow(m)
        number = flow.keep("number", flow.input("number", self.number))
        mode = flow.setting("mode", self.mode)
        to_nearest = flow.setting("to_nearest", ~self.mode.any())  # NEAREST_EVEN is 0
        kept, dropped, groups, nonzero = flow.stage(
            "kept dropped groups nonzero", self._part, number
        )
        addend = flow.stage(
            "addend",
            lambda mode, noise, number: choose_addend(
                m,
                "addend",
                self._random_bits,
                mode,
                noise,
                number[: self_bits(self._fraction_bits, self._random_bits)],
            ),
            mode,
            flow.join("random", self.noise, self.noise_latency, number),
            number,
        )
        rounded = flow.stage(
            "rounded",
            lambda kept, dropped, groups, *rest: round_by(
                m, "round", kept, dropped, groups.any(), *rest
            ),
            kept,
            dropped,
            groups,
            addend,
            to_nearest,
        )
        code, saturated, underflowed = flow.stage(
            "code saturated underflowed", self._clip, rounded, nonzero
        )
        flow.deliver(self, self.latency, code=code, saturated=saturated, underflowed=underflowed)
        return m

    def _part(self, number):
        """Part what is kept from what is dropped, and sum up some of what is below."""
        bits = self._random_bits
        fraction = Cat(Const(0, bits), number[: self._fraction_bits])
        rest = fraction[:-1]
        groups = Cat(rest[at : at + 4].any() for at in range(0, len(rest), 4))
        kept = number[self._fraction_bits :].as_signed()
        return kept, fraction[-bits:], groups, number.any()

    def _clip(self, rounded, nonzero):
        """Clip to the format; each limit is compared with by a look at the bits."""
        target = self._target
        negative = rounded[-1]
        high = rounded[target.bits - target.signed : -1]
        above = ~negative & high.any()
        below = negative & ~high.all() if target.signed else negative
        clipped = Mux(above, target.greatest, Mux(below, target.least, rounded))
        code = clipped[: target.bits]
        return code, above | below, nonzero & ~code.any()
