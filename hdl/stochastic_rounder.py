"""Stochastic rounder: fixed point to integers, and wide floats to narrower ones."""

# Ref: US10684824B2

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from golden.formats import FloatFormat, IntFormat
from golden.stochastic_rounder import self_bits

from .event_counters import EventCounters, event_members
from .float_encoder import FloatEncoder
from .parameters import check_integer, check_type
from .random_bits import RandomBits
from .rounding import round_up
from .stream import Pipeline, beat_signature
from .wide_float import FloatDecoder

__all__ = ["EVENTS", "FixedRounder", "FloatRounder"]

EVENTS = ("saturation", "underflow", "nonfinite")


class FloatRounder(wiring.Component):
    """Round a stream of wide floats to a narrower format.

    Each beat on ``i`` is answered by a beat on ``o``, lane by lane and in order. Every accepted
    beat takes random bits, whatever the mode, so the result depends on seed and data alone. NaN
    and infinity stay what they are as far as the target can say so, and are counted.

    The golden model is :func:`golden.stochastic_rounder.round_float_codes`.

    The latency is 3 cycles and the throughput one beat per cycle. ``i.ready`` depends
    combinationally on ``o.ready``.

    Parameters
    ----------
    source, target : FloatFormat
        Formats; the target has fewer fraction bits.
    lanes : int
        Count of numbers in a beat, 1 to 64.
    random_bits : int
        Random bits per number, 1 to 24.
    seed : int
        Seed of the random bits after reset.

    Members
    -------
    i : ``In(beat_signature(ArrayLayout(source.width, lanes)))``
        Codes of ``source``.
    o : ``Out(beat_signature(ArrayLayout(target.width, lanes)))``
        Codes of ``target``.
    i_seed : ``In(stream.Signature(32))``
        Four words of a new random state; see :class:`hdl.random_bits.RandomBits`.
    mode : ``In(2)``
        A :class:`golden.rounding.RoundMode`; stable while a tensor passes.
    seed_error : ``Out(1)``
        Sticky: a seed of zeros was loaded.
    saturation_count, underflow_count, nonfinite_count : ``Out(32)``
        Numbers that became infinite, non-zero numbers that became 0, NaN and infinities.
    saturation_seen, underflow_seen, nonfinite_seen : ``Out(1)``
        Sticky: whether there was any.
    clear_counts : ``In(1)``
        Clears the counts and sticky bits.

    Raises
    ------
    TypeError, ValueError
        If a parameter is not what it must be.
    """

    latency = 3

    def __init__(self, source, target, lanes=4, random_bits=8, seed=1):
        check_type("Source format", source, FloatFormat)
        check_type("Target format", target, FloatFormat)
        check_integer("Lane count", lanes, 1, 64)
        check_integer("Random bit count", random_bits, 1, 24)
        check_integer("Seed", seed, 0, 2**64 - 1)
        if source.fraction_bits <= target.fraction_bits:
            raise ValueError(
                f"Target format must have fewer fraction bits than {source.name}, "
                f"and {target.name} has not"
            )
        self._source = source
        self._target = target
        self._lanes = lanes
        self._random_bits = random_bits
        self._seed = seed
        super().__init__(
            {
                "i": In(beat_signature(data.ArrayLayout(source.width, lanes))),
                "o": Out(beat_signature(data.ArrayLayout(target.width, lanes))),
                "i_seed": In(stream.Signature(32)),
                "mode": In(2),
                "seed_error": Out(1),
                **event_members(EVENTS),
            }
        )

    def elaborate(self, platform):
        m = Module()
        source, target = self._source, self._target
        m.submodules.random_bits = random = RandomBits(self._lanes, self._random_bits, self._seed)
        m.submodules.counters = counters = EventCounters(EVENTS, self._lanes)
        pipeline = Pipeline(m, self.i, self.o, self.latency, hold={2: ~random.o.valid})
        random.connect(m, self, pipeline.enable[2] & pipeline.arriving[2])

        own = self_bits(source.fraction_bits - target.fraction_bits, self._random_bits)
        encoders = []
        for lane in range(self._lanes):
            m.submodules[f"decoder_{lane}"] = number = FloatDecoder(source, normalized=True)
            m.submodules[f"encoder_{lane}"] = encoder = FloatEncoder(
                target,
                source.fraction_bits + 1,
                number.exponent.shape(),
                self._random_bits,
                own,
            )
            encoders.append(encoder)
            m.d.comb += [
                number.code.eq(self.i.p.data[lane]),
                encoder.enable.eq(Cat(pipeline.enable[1:])),
                encoder.mode.eq(self.mode),
                encoder.noise.eq(random.o.payload[lane]),
            ]
            with m.If(pipeline.enable[0]):
                m.d.sync += [
                    encoder.sign.eq(number.sign),
                    encoder.significand.eq(number.significand),
                    encoder.exponent.eq(number.exponent),
                    encoder.nonfinite.eq(number.nonfinite),
                    encoder.infinite.eq(number.infinite),
                ]
                if own:
                    m.d.sync += encoder.self_noise.eq(number.code[:own])
            m.d.comb += self.o.p.data[lane].eq(encoder.code)
        pipeline.carry(m, "last", self.i.p.last, self.o.p.last)
        counters.connect(
            m,
            self,
            strobe=self.o.valid & self.o.ready,
            saturation=Cat(encoder.overflowed for encoder in encoders),
            underflow=Cat(encoder.underflowed for encoder in encoders),
            nonfinite=Cat(encoder.was_nonfinite for encoder in encoders),
        )
        return m


class FixedRounder(wiring.Component):
    """Round a stream of fixed point numbers to integers.

    Each beat on ``i`` is answered by a beat on ``o``, lane by lane and in order. Every accepted
    beat takes random bits, whatever the mode.

    The golden model is :func:`golden.stochastic_rounder.round_fixed`.

    The latency is 2 cycles and the throughput one beat per cycle. ``i.ready`` depends
    combinationally on ``o.ready``.

    Parameters
    ----------
    width : int
        Width of the two's complement input, 2 to 48.
    fraction_bits : int
        Bits to discard, 1 to ``width - 1``.
    target : IntFormat
        Format of the output.
    lanes : int
        Count of numbers in a beat, 1 to 64.
    random_bits : int
        Random bits per number, 1 to 24.
    seed : int
        Seed of the random bits after reset.

    Members
    -------
    i : ``In(beat_signature(ArrayLayout(signed(width), lanes)))``
        Numbers in units of ``2**-fraction_bits``.
    o : ``Out(beat_signature(ArrayLayout(target.bits, lanes)))``
        Integers.
    i_seed, mode, seed_error, saturation_count, underflow_count, saturation_seen, \
underflow_seen, clear_counts :
        As in :class:`FloatRounder`; saturations are clipped numbers.

    Raises
    ------
    TypeError, ValueError
        If a parameter is not what it must be.
    """

    latency = 2

    def __init__(self, width, fraction_bits, target, lanes=4, random_bits=8, seed=1):
        check_integer("Input width", width, 2, 48)
        check_integer("Count of discarded bits", fraction_bits, 1, width - 1)
        check_type("Target format", target, IntFormat)
        check_integer("Lane count", lanes, 1, 64)
        check_integer("Random bit count", random_bits, 1, 24)
        check_integer("Seed", seed, 0, 2**64 - 1)
        self._width = width
        self._fraction_bits = fraction_bits
        self._target = target
        self._lanes = lanes
        self._random_bits = random_bits
        self._seed = seed
        super().__init__(
            {
                "i": In(beat_signature(data.ArrayLayout(signed(width), lanes))),
                "o": Out(beat_signature(data.ArrayLayout(target.bits, lanes))),
                "i_seed": In(stream.Signature(32)),
                "mode": In(2),
                "seed_error": Out(1),
                **event_members(EVENTS[:2]),
            }
        )

    def elaborate(self, platform):
        m = Module()
        bits, target = self._random_bits, self._target
        m.submodules.random_bits = random = RandomBits(self._lanes, bits, self._seed)
        m.submodules.counters = counters = EventCounters(EVENTS[:2], self._lanes)
        pipeline = Pipeline(m, self.i, self.o, self.latency, hold={0: ~random.o.valid})
        random.connect(m, self, pipeline.enable[0] & pipeline.arriving[0])

        own = self_bits(self._fraction_bits, bits)
        saturated = Signal(self._lanes)
        underflowed = Signal(self._lanes)
        for lane in range(self._lanes):
            number = self.i.p.data[lane]
            kept = number[self._fraction_bits :].as_signed()
            fraction = Cat(Const(0, bits), number[: self._fraction_bits])
            up = round_up(
                m,
                f"lane_{lane}",
                kept,
                fraction[-bits:],
                fraction[:-bits].any(),
                self.mode,
                random.o.payload[lane],
                number[:own] if own else None,
            )
            rounded = Signal(up.shape(), name=f"lane_{lane}_integer")
            nonzero = Signal(name=f"lane_{lane}_nonzero")
            clipped = Signal(Shape(target.bits, signed=target.signed), name=f"lane_{lane}_clipped")
            m.d.comb += clipped.eq(rounded)
            with m.If(rounded < target.least):
                m.d.comb += clipped.eq(target.least)
            with m.Elif(rounded > target.greatest):
                m.d.comb += clipped.eq(target.greatest)
            with m.If(pipeline.enable[0]):
                m.d.sync += [rounded.eq(up), nonzero.eq(number.any())]
            with m.If(pipeline.enable[1]):
                m.d.sync += [
                    self.o.p.data[lane].eq(clipped),
                    saturated[lane].eq(clipped != rounded),
                    underflowed[lane].eq(nonzero & ~clipped.any()),
                ]
        pipeline.carry(m, "last", self.i.p.last, self.o.p.last)
        counters.connect(
            m,
            self,
            strobe=self.o.valid & self.o.ready,
            saturation=saturated,
            underflow=underflowed,
        )
        return m
