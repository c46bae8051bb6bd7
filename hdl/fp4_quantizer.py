"""Quantisers to FP4 [1,3,0]: LUQ (radix 2) and two-phase (radix 4)."""

# Ref: Chmiel et al., arXiv 2112.10769; Sun et al., NeurIPS 2020; US12443841B2

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from golden.formats import FloatFormat, Fp4Format
from golden.fp4_quantizer import Underflow

from .event_counters import EventCounters, event_members
from .fp4_encoder import Fp4Encoder
from .parameters import check_integer, check_type
from .random_bits import RandomBits
from .stream import Pipeline, beat_signature
from .wide_float import FloatDecoder

__all__ = ["EVENTS", "Fp4Quantizer"]

EVENTS = ("saturation", "underflow", "nonfinite")


class Fp4Quantizer(wiring.Component):
    """Quantise a stream of wide floats to FP4 codes, in units of a power of two.

    Each beat on ``i`` is answered by a beat on ``o``, lane by lane and in order. In radix 2 every
    accepted beat takes random bits, whatever the mode. NaN and infinity become code 0 and are
    counted. A tensor whose size is no multiple of the lanes is padded with zeros.

    The golden model is :func:`golden.fp4_quantizer.quantize_fp4`.

    The latency is 3 cycles and the throughput one beat per cycle. ``i.ready`` depends
    combinationally on ``o.ready``.

    Parameters
    ----------
    wide_format : FloatFormat
        Format of the input.
    fmt : Fp4Format
        Radix.
    lanes : int
        Count of numbers in a beat, 1 to 64.
    underflow : Underflow
        Threshold of zero for rounding to the nearest.
    odd_shift : int
        Radix 4: 1 or -1, the odd grid is the even one times ``2**odd_shift``.
    random_bits : int
        Radix 2: random bits per number, 2 to 24.
    seed : int
        Radix 2: seed of the random bits after reset.

    Members
    -------
    i : ``In(beat_signature(ArrayLayout(wide_format.width, lanes)))``
        Codes of ``wide_format``.
    o : ``Out(beat_signature(ArrayLayout(4, lanes)))``
        FP4 codes.
    scale_exponent : ``In(signed(8))``
        Exponent of the unit; stable while a tensor passes.
    stochastic : ``In(1)``
        Radix 2: LUQ's stochastic rounding rather than to the nearest; stable likewise.
    phase : ``In(1)``
        Radix 4: the odd grid rather than the even one; stable likewise.
    i_seed : ``In(stream.Signature(32))``, seed_error : ``Out(1)``
        Radix 2: see :class:`hdl.random_bits.RandomBits`.
    saturation_count, underflow_count, nonfinite_count : ``Out(32)``
        Numbers that rounded past the largest magnitude, non-zero numbers that became 0, NaN and
        infinities.
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

    def __init__(
        self,
        wide_format,
        fmt,
        lanes=4,
        underflow=Underflow.MIDPOINT,
        odd_shift=1,
        random_bits=8,
        seed=1,
    ):
        check_type("Wide format", wide_format, FloatFormat)
        check_type("Code format", fmt, Fp4Format)
        check_integer("Lane count", lanes, 1, 64)
        check_type("Underflow rule", underflow, Underflow)
        check_integer("Random bit count", random_bits, 2, 24)
        check_integer("Seed", seed, 0, 2**64 - 1)
        if odd_shift not in (1, -1):
            raise ValueError(f"Shift of the odd grid must be 1 or -1, not {odd_shift!r}")
        self._wide_format = wide_format
        self._fmt = fmt
        self._lanes = lanes
        self._underflow = underflow
        self._odd_shift = odd_shift
        self._random_bits = random_bits
        self._seed = seed
        members = {
            "i": In(beat_signature(data.ArrayLayout(wide_format.width, lanes))),
            "o": Out(beat_signature(data.ArrayLayout(4, lanes))),
            "scale_exponent": In(signed(8)),
            **event_members(EVENTS),
        }
        if fmt.log2_radix == 1:
            members |= {
                "stochastic": In(1),
                "i_seed": In(stream.Signature(32)),
                "seed_error": Out(1),
            }
        else:
            members["phase"] = In(1)
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        binary = self._fmt.log2_radix == 1
        m.submodules.counters = counters = EventCounters(EVENTS, self._lanes)
        hold = {}
        if binary:
            random = RandomBits(self._lanes, self._random_bits, self._seed)
            m.submodules.random_bits = random
            hold = {2: ~random.o.valid}
        pipeline = Pipeline(m, self.i, self.o, self.latency, hold)
        if binary:
            random.connect(m, self, pipeline.enable[2] & pipeline.arriving[2])

        unit = Signal(signed(9))
        m.d.comb += unit.eq(self.scale_exponent)
        if not binary:
            with m.If(self.phase):
                m.d.comb += unit.eq(self.scale_exponent + self._odd_shift)

        encoders = []
        for lane in range(self._lanes):
            m.submodules[f"decoder_{lane}"] = number = FloatDecoder(
                self._wide_format, normalized=True
            )
            m.submodules[f"encoder_{lane}"] = encoder = Fp4Encoder(
                self._fmt,
                self._wide_format.fraction_bits + 1,
                signed(max(len(number.exponent), len(unit)) + 1),
                self._random_bits,
                self._underflow,
            )
            encoders.append(encoder)
            m.d.comb += [
                number.code.eq(self.i.p.data[lane]),
                encoder.enable.eq(Cat(pipeline.enable[1:])),
                self.o.p.data[lane].eq(encoder.code),
            ]
            if binary:
                m.d.comb += [
                    encoder.stochastic.eq(self.stochastic),
                    encoder.noise.eq(random.o.payload[lane]),
                ]
            with m.If(pipeline.enable[0]):
                m.d.sync += [
                    encoder.sign.eq(number.sign),
                    encoder.significand.eq(number.significand),
                    encoder.exponent.eq(number.exponent - unit),
                    encoder.nonfinite.eq(number.nonfinite),
                ]
        pipeline.carry(m, "last", self.i.p.last, self.o.p.last)
        counters.connect(
            m,
            self,
            strobe=self.o.valid & self.o.ready,
            saturation=Cat(encoder.saturated for encoder in encoders),
            underflow=Cat(encoder.underflowed for encoder in encoders),
            nonfinite=Cat(encoder.was_nonfinite for encoder in encoders),
        )
        return m
