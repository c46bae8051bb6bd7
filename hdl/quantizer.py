"""Quantiser with a learned step size (LSQ)."""

# Ref: Esser et al., "Learned Step Size Quantization", ICLR 2020, arXiv 1902.08153v3
# Ref: US11823054B2

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from golden.formats import FloatFormat
from golden.quantizer import InRange

from .event_counters import EventCounters, event_members
from .integer_encoder import IntegerEncoder
from .parameters import check_integer, check_type
from .stream import Pipeline, beat_signature
from .wide_float import FloatDecoder

__all__ = ["EVENTS", "Quantizer", "integer_beat", "residual_layout"]

EVENTS = ("saturation", "underflow", "nonfinite")


def residual_layout(residual_bits):
    """Lay out what belongs to a code: whether its gradient passes, and the residual."""
    return data.StructLayout({"in_range": 1, "residual": signed(residual_bits + 1)})


def integer_beat(lanes, bits, residual_bits):
    """Describe a stream of integer codes with their residuals."""
    return beat_signature(
        data.ArrayLayout(bits, lanes), data.ArrayLayout(residual_layout(residual_bits), lanes)
    )


class Quantizer(wiring.Component):
    """Quantise a stream of wide floats to integer codes.

    Each beat on ``i`` is answered by a beat on ``o``, lane by lane and in order:
    ``clip(round(x * reciprocal), -Q_N, Q_P)``, rounded to the nearest, ties to even, with what
    the step gradient needs beside it. NaN and infinity become code 0, out of range, and are
    counted. A tensor whose size is no multiple of the lanes is padded with zeros, which count as
    nothing.

    The golden model is :func:`golden.quantizer.quantize`.

    The latency is 3 cycles and the throughput one beat per cycle. ``i.ready`` depends
    combinationally on ``o.ready``.

    Parameters
    ----------
    wide_format : FloatFormat
        Format of the input.
    bits : int
        Width of a code, 2 to 8.
    lanes : int
        Count of numbers in a beat, 1 to 64.
    residual_bits : int
        Fraction bits of the residual, 1 to ``16 - bits``.
    in_range_rule : InRange
        Which number decides whether the gradient passes.

    Members
    -------
    i : ``In(beat_signature(ArrayLayout(wide_format.width, lanes)))``
        Codes of ``wide_format``.
    o : ``Out(integer_beat(lanes, bits, residual_bits))``
        Integer codes; ``in_range`` and ``residual`` in the sideband.
    reciprocal_significand : ``In(16)``
        Significand of the reciprocal step, its top bit set; see :class:`golden.formats.Scale`.
    reciprocal_exponent : ``In(signed(8))``
        Exponent of the reciprocal step.
    is_signed : ``In(1)``
        Whether codes are two's complement. These three are stable while a tensor passes.
    saturation_count, underflow_count, nonfinite_count : ``Out(32)``
        Clipped numbers, non-zero numbers that became 0, NaN and infinities.
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
        self, wide_format, bits=4, lanes=4, residual_bits=8, in_range_rule=InRange.UNROUNDED
    ):
        check_type("Wide format", wide_format, FloatFormat)
        check_integer("Code width", bits, 2, 8)
        check_integer("Lane count", lanes, 1, 64)
        check_integer("Residual width", residual_bits, 1, 16 - bits)
        check_type("In-range rule", in_range_rule, InRange)
        self._wide_format = wide_format
        self._bits = bits
        self._lanes = lanes
        self._residual_bits = residual_bits
        self._in_range_rule = in_range_rule
        super().__init__(
            {
                "i": In(beat_signature(data.ArrayLayout(wide_format.width, lanes))),
                "o": Out(integer_beat(lanes, bits, residual_bits)),
                "reciprocal_significand": In(16),
                "reciprocal_exponent": In(signed(8)),
                "is_signed": In(1),
                **event_members(EVENTS),
            }
        )

    def elaborate(self, platform):
        m = Module()
        fmt = self._wide_format
        pipeline = Pipeline(m, self.i, self.o, self.latency)
        m.submodules.counters = counters = EventCounters(EVENTS, self._lanes)

        encoders = []
        magnitude_bits = fmt.fraction_bits + 1 + 16
        least = fmt.least_exponent - fmt.fraction_bits - 128
        greatest = fmt.greatest_exponent - fmt.fraction_bits + 127
        exponent = Shape.cast(range(least, greatest + 1))
        for lane in range(self._lanes):
            m.submodules[f"decoder_{lane}"] = number = FloatDecoder(fmt, normalized=False)
            m.submodules[f"encoder_{lane}"] = encoder = IntegerEncoder(
                magnitude_bits,
                15,
                exponent,
                self._bits,
                self._residual_bits,
                self._in_range_rule,
            )
            encoders.append(encoder)
            m.d.comb += [
                number.code.eq(self.i.p.data[lane]),
                encoder.enable.eq(Cat(pipeline.enable[1:])),
                encoder.is_signed.eq(self.is_signed),
            ]
            # Multiply by the reciprocal step.
            with m.If(pipeline.enable[0]):
                m.d.sync += [
                    encoder.sign.eq(number.sign),
                    encoder.magnitude.eq(number.significand * self.reciprocal_significand),
                    encoder.exponent.eq(
                        number.exponent - fmt.fraction_bits + self.reciprocal_exponent
                    ),
                    encoder.nonfinite.eq(number.nonfinite),
                ]
            m.d.comb += [
                self.o.p.data[lane].eq(encoder.code),
                self.o.p.user[lane].in_range.eq(encoder.in_range),
                self.o.p.user[lane].residual.eq(encoder.residual),
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
