"""Quantisers to FP4 [1,3,0]: LUQ (radix 2) and two-phase (radix 4)."""

# Ref: Chmiel et al., arXiv 2112.10769; Sun et al., NeurIPS 2020; US12443841B2

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from nibblegrad.golden.cores.fp4_quantizer import Underflow
from nibblegrad.golden.numbers.formats import FloatFormat
from nibblegrad.golden.numbers.gradient_format import GradientFormat
from nibblegrad.hdl.base.contracts import promise_steady
from nibblegrad.hdl.base.event_counters import EventCounters, event_members
from nibblegrad.hdl.base.outlet import Outlet, connect_outlet
from nibblegrad.hdl.base.parameters import check_integer, check_type
from nibblegrad.hdl.base.pipeline import Flow
from nibblegrad.hdl.base.random_bits import RandomBits
from nibblegrad.hdl.base.stream import beat_signature
from nibblegrad.hdl.encoders.float_encoder import FloatEncoder
from nibblegrad.hdl.encoders.gradient_encoder import encoder_of
from nibblegrad.hdl.encoders.wide_float import FloatDecoder

__all__ = ["EVENTS", "Fp4Lane", "Fp4Quantizer"]

EVENTS = ("saturation", "underflow", "nonfinite")


class Fp4Lane(wiring.Component):
    """Quantise one number; nothing stalls. The latency is 11 cycles.

    Parameters
    ----------
    wide_format, fmt, underflow, odd_shift, random_bits :
        See :class:`Fp4Quantizer`.

    Members
    -------
    number : ``In(wide_format.width)``
        Code of ``wide_format``.
    scale_exponent, stochastic, phase :
        See :class:`Fp4Quantizer`.
    noise : ``In(random_bits)``
        Radix 2: random bits of the number that came ``noise_latency`` cycles ago.
    code, saturated, underflowed, was_nonfinite :
        See :class:`nibblegrad.hdl.encoders.fp4_encoder.Fp4Encoder`.
    """

    #: Cycles until the encoder: the number is registered, taken apart, normalised in two, and gets
    #: its exponent.
    _TO_ENCODER = 5

    latency = _TO_ENCODER + FloatEncoder.latency
    noise_latency = _TO_ENCODER + FloatEncoder.noise_latency

    def __init__(self, wide_format, fmt, underflow, odd_shift, random_bits):
        self._wide_format = wide_format
        self._fmt = fmt
        self._underflow = underflow
        self._odd_shift = odd_shift
        self._random_bits = random_bits
        members = {
            "number": In(wide_format.width),
            "scale_exponent": In(signed(8)),
            "code": Out(4),
            "saturated": Out(1),
            "underflowed": Out(1),
            "was_nonfinite": Out(1),
        }
        if fmt.is_stochastic:
            members |= {"stochastic": In(1), "noise": In(random_bits)}
        else:
            members["phase"] = In(1)
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        flow = Flow(m)
        is_stochastic = self._fmt.is_stochastic
        shift = 0 if is_stochastic else Mux(self.phase, self._odd_shift, 0)
        unit = flow.setting("unit", (self.scale_exponent + shift)[:9].as_signed())
        m.submodules.decoder = decoder = FloatDecoder(self._wide_format, normalized=True)
        exponent_shape = signed(max(len(decoder.exponent), len(unit.value)) + 1)
        m.submodules.encoder = encoder = encoder_of(self._fmt)(
            self._fmt,
            self._wide_format.fraction_bits + 1,
            exponent_shape,
            self._random_bits,
            self._underflow,
        )
        number = flow.keep("number", flow.input("number", self.number))
        m.d.comb += decoder.code.eq(number.value)
        exponent = flow.input("exponent", decoder.exponent, number.cycle + decoder.exponent_latency)
        sign, significand, distance, nonfinite = (
            flow.input(name, getattr(decoder, name), number.cycle + decoder.latency)
            for name in ("sign", "significand", "distance", "nonfinite")
        )
        above_unit = flow.stage("above_unit", lambda e, u: e - u, exponent, unit)
        exponent = flow.stage(
            "exponent",
            lambda a, d: (a - d)[: len(encoder.exponent)].as_signed(),
            above_unit,
            distance,
        )
        flow.deliver(
            encoder,
            self._TO_ENCODER,
            sign=sign,
            significand=significand,
            exponent=exponent,
            nonfinite=nonfinite,
        )
        if is_stochastic:
            m.d.comb += [encoder.stochastic.eq(self.stochastic), encoder.noise.eq(self.noise)]
        for name in ("code", "saturated", "underflowed", "was_nonfinite"):
            m.d.comb += getattr(self, name).eq(getattr(encoder, name))
        return m


class Fp4Quantizer(wiring.Component):
    """Quantise a stream of wide floats to FP4 codes, in units of a power of two.

    Each beat on ``i`` is answered by a beat on ``o``, lane by lane and in order. In radix 2 every
    accepted beat takes random bits, whatever the mode. NaN and infinity become code 0 and are
    counted. A tensor whose size is no multiple of the lanes is padded with zeros.

    The golden model is :func:`nibblegrad.golden.cores.fp4_quantizer.quantize_fp4`.

    The latency is 13 cycles and the throughput one beat per cycle; ready, valid and payload come
    from registers.

    Parameters
    ----------
    wide_format : FloatFormat
        Format of the input.
    fmt : GradientFormat
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
        Radix 2: see :class:`nibblegrad.hdl.base.random_bits.RandomBits`.
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

    latency = Fp4Lane.latency + Outlet.latency

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
        check_type("Code format", fmt, GradientFormat)
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
        if fmt.is_stochastic:
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
        is_stochastic = self._fmt.is_stochastic
        m.submodules.counters = counters = EventCounters(EVENTS, self._lanes)
        m.submodules.outlet = outlet = Outlet(self.o.p.shape(), Fp4Lane.latency)
        ready = 1
        if is_stochastic:
            random = RandomBits(self._lanes, self._random_bits, self._seed)
            m.submodules.random_bits = random
            ready = random.admit(m)
        valid, last = connect_outlet(m, self, outlet, Fp4Lane.latency, ready)
        m.d.comb += outlet.data.last.eq(last[-1])
        if is_stochastic:
            random.connect(m, self, valid[Fp4Lane.noise_latency])
        lanes = []
        for k in range(self._lanes):
            m.submodules[f"lane_{k}"] = lane = Fp4Lane(
                self._wide_format, self._fmt, self._underflow, self._odd_shift, self._random_bits
            )
            lanes.append(lane)
            m.d.comb += [
                lane.number.eq(self.i.p.data[k]),
                lane.scale_exponent.eq(self.scale_exponent),
                outlet.data.data[k].eq(lane.code),
            ]
            if is_stochastic:
                m.d.comb += [
                    lane.stochastic.eq(self.stochastic),
                    lane.noise.eq(random.o.payload[k]),
                ]
            else:
                m.d.comb += lane.phase.eq(self.phase)
        choice = {"stochastic": self.stochastic} if is_stochastic else {"phase": self.phase}
        settings = {"scale_exponent": self.scale_exponent, **choice}
        promise_steady(m, outlet.inside, "a tensor", **settings)
        counters.connect(
            m,
            self,
            strobe=valid[-1],
            saturation=Cat(lane.saturated for lane in lanes),
            underflow=Cat(lane.underflowed for lane in lanes),
            nonfinite=Cat(lane.was_nonfinite for lane in lanes),
        )
        return m
