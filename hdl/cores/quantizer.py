"""Quantiser with a learned step size (LSQ)."""

# Ref: Esser et al., "Learned Step Size Quantization", ICLR 2020, arXiv 1902.08153v3
# Ref: US11823054B2

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from nibblegrad.golden.cores.quantizer import InRange
from nibblegrad.golden.numbers.formats import FloatFormat
from nibblegrad.hdl.base.contracts import promise_steady
from nibblegrad.hdl.base.copies import spread
from nibblegrad.hdl.base.event_counters import EventCounters, event_members
from nibblegrad.hdl.base.outlet import Outlet, connect_outlet
from nibblegrad.hdl.base.parameters import check_integer, check_type
from nibblegrad.hdl.base.pipeline import Flow
from nibblegrad.hdl.base.stream import beat_signature
from nibblegrad.hdl.encoders.integer_encoder import IntegerEncoder
from nibblegrad.hdl.encoders.wide_float import FloatDecoder

__all__ = ["EVENTS", "IntegerLane", "Quantizer", "integer_beat", "residual_layout"]

EVENTS = ("saturation", "underflow", "nonfinite")


def residual_layout(residual_bits):
    """Lay out what belongs to a code: whether its gradient passes, and the residual."""
    return data.StructLayout({"in_range": 1, "residual": signed(residual_bits + 1)})


def integer_beat(lanes, bits, residual_bits):
    """Describe a stream of integer codes with their residuals."""
    return beat_signature(
        data.ArrayLayout(bits, lanes), data.ArrayLayout(residual_layout(residual_bits), lanes)
    )


class IntegerLane(wiring.Component):
    """Quantise one number; nothing stalls. The latency is 10 cycles.

    Parameters
    ----------
    wide_format, bits, residual_bits, in_range_rule :
        See :class:`Quantizer`.

    Members
    -------
    number : ``In(wide_format.width)``
        Code of ``wide_format``.
    reciprocal_significand, reciprocal_exponent, is_signed :
        See :class:`Quantizer`.
    code, in_range, residual, saturated, underflowed, was_nonfinite :
        See :class:`nibblegrad.hdl.encoders.integer_encoder.IntegerEncoder`.
    """

    #: Cycles until the encoder: the number is registered, taken apart and multiplied between
    #: registers of its own.
    _TO_ENCODER = 4

    latency = _TO_ENCODER + IntegerEncoder.latency

    def __init__(self, wide_format, bits, residual_bits, in_range_rule):
        self._wide_format = wide_format
        self._parameters = (bits, residual_bits, in_range_rule)
        super().__init__(
            {
                "number": In(wide_format.width),
                "reciprocal_significand": In(16),
                "reciprocal_exponent": In(signed(8)),
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
        flow = Flow(m)
        fmt = self._wide_format
        m.submodules.decoder = decoder = FloatDecoder(fmt, normalized=False)
        least = fmt.least_exponent - fmt.fraction_bits - 128
        greatest = fmt.greatest_exponent - fmt.fraction_bits + 127
        m.submodules.encoder = encoder = IntegerEncoder(
            fmt.fraction_bits + 1 + 16,
            15,
            Shape.cast(range(least, greatest + 1)),
            *self._parameters,
        )
        number = flow.keep("number", flow.input("number", self.number))
        m.d.comb += [decoder.code.eq(number.value), encoder.is_signed.eq(self.is_signed)]
        sign, significand, exponent, nonfinite = (
            flow.input(name, getattr(decoder, name), number.cycle + decoder.latency)
            for name in ("sign", "significand", "exponent", "nonfinite")
        )
        offset = flow.setting("offset", self.reciprocal_exponent - fmt.fraction_bits)
        exponent = flow.stage("exponent_sum", lambda e, o: e + o, exponent, offset)
        significand = flow.keep("factor", significand)
        product = flow.stage("product", lambda s: s * self.reciprocal_significand, significand)
        flow.deliver(
            encoder,
            self._TO_ENCODER,
            sign=sign,
            magnitude=product,
            exponent=exponent,
            nonfinite=nonfinite,
        )
        for name in ("code", "in_range", "residual", "saturated", "underflowed", "was_nonfinite"):
            m.d.comb += getattr(self, name).eq(getattr(encoder, name))
        return m


class Quantizer(wiring.Component):
    """Quantise a stream of wide floats to integer codes.

    Each beat on ``i`` is answered by a beat on ``o``, lane by lane and in order:
    ``clip(round(x * reciprocal), -Q_N, Q_P)``, rounded to the nearest, ties to even, with what
    the step gradient needs beside it. NaN and infinity become code 0, out of range, and are
    counted. A tensor whose size is no multiple of the lanes is padded with zeros, which count as
    nothing.

    The golden model is :func:`nibblegrad.golden.cores.quantizer.quantize`.

    The latency is 12 cycles and the throughput one beat per cycle; ready, valid and payload come
    from registers.

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
        Significand of the reciprocal step, its top bit set; see
        :class:`nibblegrad.golden.numbers.formats.Scale`.
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

    latency = IntegerLane.latency + Outlet.latency

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
        m.submodules.counters = counters = EventCounters(EVENTS, self._lanes)
        m.submodules.outlet = outlet = Outlet(self.o.p.shape(), IntegerLane.latency)
        valid, last = connect_outlet(m, self, outlet, IntegerLane.latency)
        m.d.comb += outlet.data.last.eq(last[-1])
        significands = spread(m, "significand", self.reciprocal_significand, self._lanes)
        lanes = []
        for k in range(self._lanes):
            m.submodules[f"lane_{k}"] = lane = IntegerLane(
                self._wide_format, self._bits, self._residual_bits, self._in_range_rule
            )
            lanes.append(lane)
            m.d.comb += [
                lane.number.eq(self.i.p.data[k]),
                lane.reciprocal_significand.eq(significands[k]),
                lane.reciprocal_exponent.eq(self.reciprocal_exponent),
                lane.is_signed.eq(self.is_signed),
                outlet.data.data[k].eq(lane.code),
                outlet.data.user[k].in_range.eq(lane.in_range),
                outlet.data.user[k].residual.eq(lane.residual),
            ]
        promise_steady(
            m,
            outlet.inside,
            "a tensor",
            reciprocal_significand=self.reciprocal_significand,
            reciprocal_exponent=self.reciprocal_exponent,
            is_signed=self.is_signed,
        )
        counters.connect(
            m,
            self,
            strobe=valid[-1],
            saturation=Cat(lane.saturated for lane in lanes),
            underflow=Cat(lane.underflowed for lane in lanes),
            nonfinite=Cat(lane.was_nonfinite for lane in lanes),
        )
        return m
