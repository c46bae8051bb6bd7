"""Scale multiplier: accumulators back to wide floats, or straight to the next layer's codes."""

# Ref: Esser et al., arXiv 1902.08153v3, section 2; US11823054B2; US11847568B2

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from nibblegrad.golden.cores.fp4_quantizer import Underflow
from nibblegrad.golden.cores.quantizer import InRange
from nibblegrad.golden.numbers.formats import FloatFormat, IntFormat
from nibblegrad.golden.numbers.gradient_format import GradientFormat
from nibblegrad.golden.numbers.rounding import RoundMode
from nibblegrad.hdl.array.structures import PLAIN
from nibblegrad.hdl.base.contracts import promise_steady
from nibblegrad.hdl.base.event_counters import EventCounters, event_members
from nibblegrad.hdl.base.outlet import Outlet, connect_outlet
from nibblegrad.hdl.base.parameters import check_integer, check_type
from nibblegrad.hdl.base.pipeline import Flow, register
from nibblegrad.hdl.base.random_bits import RandomBits
from nibblegrad.hdl.base.stream import beat_signature
from nibblegrad.hdl.cores.quantizer import integer_beat
from nibblegrad.hdl.cores.scale_table import ScaleTable, scale_layout
from nibblegrad.hdl.encoders.float_encoder import FloatEncoder
from nibblegrad.hdl.encoders.gradient_encoder import encoder_of
from nibblegrad.hdl.encoders.integer_encoder import IntegerEncoder
from nibblegrad.hdl.encoders.scale_product import ScaleProduct

__all__ = ["EVENTS", "ScaleMultiplier"]

EVENTS = ("saturation", "underflow")


class ScaleMultiplier(wiring.Component):
    """Compute ``(x + bias) * scale`` of a stream of accumulators, and round it once.

    Each beat on ``i`` is answered by a beat on ``o``, lane by lane and in order. Sum and product
    are exact. Scale and bias belong to a channel: lane ``l`` of beat ``n`` is channel
    ``n * lanes + l``, counted from the beginning of the tensor and modulo the channels; a tensor
    scale is the case of one group of equal lanes. Scales are loaded through ``i_scale``, one
    group of ``lanes`` channels per beat, the last one with ``last``.

    The target decides on the output: a wide float; integer codes with residuals, for which the
    scale includes the reciprocal step of the next layer; or FP4 codes. With a random generator,
    every accepted beat takes random bits, whatever the mode.

    The golden models are those of :mod:`nibblegrad.golden.cores.scale_multiplier`.

    The latency is 22 cycles and the throughput one beat per cycle; ready, valid and payload come
    from registers.

    Parameters
    ----------
    target : FloatFormat, IntFormat or GradientFormat
        Format of the output.
    lanes : int
        Count of numbers in a beat, 1 to 64.
    accumulator_bits : int
        Width of an accumulator, 8 to 32.
    channel_groups : int
        Most groups of channels, 1 to 4096.
    random_bits : int
        Random bits per number for floats and FP4 radix 2, 2 to 24.
    residual_bits : int
        Fraction bits of the residual for integer codes, 1 to ``16 - bits``.
    in_range_rule : InRange
        For integer codes: which number decides whether the gradient passes.
    underflow : Underflow
        For FP4 codes: threshold of zero for rounding to the nearest.
    odd_shift : int
        For FP4 codes of radix 4: 1 or -1, the odd grid is the even one times ``2**odd_shift``.
    seed : int
        Seed of the random bits after reset.

    Members
    -------
    i : ``In(beat_signature(ArrayLayout(signed(accumulator_bits), lanes)))``
        Accumulators.
    i_scale : ``In(beat_signature(ArrayLayout(scale_layout(), lanes)))``
        Bias, significand (its top bit set) and exponent of each channel of a group, to be loaded
        between tensors. Not ready while a beat is on its way to its scale, 6 cycles.
    o : ``Out(...)``
        Codes of the target; for integers see :func:`nibblegrad.hdl.cores.quantizer.integer_beat`.
    relu : ``In(1)``
        Whether negative sums become zero. Stable while a tensor passes, like all below.
    mode : ``In(2)``
        Floats: a :class:`nibblegrad.golden.numbers.rounding.RoundMode` but SELF_STOCHASTIC, which
        truncates.
    scale_exponent, stochastic, phase :
        FP4: see :class:`nibblegrad.hdl.cores.fp4_quantizer.Fp4Quantizer`.
    i_seed, seed_error :
        Floats and FP4 radix 2: see :class:`nibblegrad.hdl.base.random_bits.RandomBits`.
    saturation_count, underflow_count : ``Out(32)``
        Clipped numbers or infinite results, and non-zero numbers that became 0.
    saturation_seen, underflow_seen : ``Out(1)``
        Sticky: whether there was any.
    clear_counts : ``In(1)``
        Clears the counts and sticky bits.

    Raises
    ------
    TypeError, ValueError
        If a parameter is not what it must be.
    """

    #: Cycles until sum and bias meet, both from registers.
    _TO_PRODUCT = 1
    #: Cycles until the encoder, through the encoder, and until random bits are added.
    _TO_ENCODER = _TO_PRODUCT + ScaleProduct.latency
    _LANES = _TO_ENCODER + FloatEncoder.latency
    _NOISE = _TO_ENCODER + FloatEncoder.noise_latency
    assert FloatEncoder.latency == IntegerEncoder.latency

    latency = _LANES + Outlet.latency

    def __init__(
        self,
        target,
        lanes=4,
        accumulator_bits=32,
        channel_groups=16,
        random_bits=8,
        residual_bits=8,
        in_range_rule=InRange.UNROUNDED,
        underflow=Underflow.MIDPOINT,
        odd_shift=1,
        seed=1,
    ):
        if not isinstance(target, FloatFormat | IntFormat | GradientFormat):
            raise TypeError(f"Target must be a format, not {target!r}")
        check_integer("Lane count", lanes, 1, 64)
        check_integer("Accumulator width", accumulator_bits, 8, 32)
        check_integer("Count of channel groups", channel_groups, 1, 4096)
        check_integer("Random bit count", random_bits, 2, 24)
        check_integer("Seed", seed, 0, 2**64 - 1)
        self._target = target
        self._lanes = lanes
        self._accumulator_bits = accumulator_bits
        self._channel_groups = channel_groups
        self._random_bits = random_bits
        self._residual_bits = residual_bits
        self._in_range_rule = in_range_rule
        self._underflow = underflow
        self._odd_shift = odd_shift
        self._seed = seed
        members = {
            "i": In(beat_signature(data.ArrayLayout(signed(accumulator_bits), lanes))),
            "i_scale": In(beat_signature(data.ArrayLayout(scale_layout(), lanes))),
            **event_members(EVENTS),
        }
        settings = {"relu": In(1)}
        if isinstance(target, IntFormat):
            check_integer("Code width", target.bits, 2, 8)
            check_integer("Residual width", residual_bits, 1, 16 - target.bits)
            check_type("In-range rule", in_range_rule, InRange)
            members["o"] = Out(integer_beat(lanes, target.bits, residual_bits))
        elif isinstance(target, FloatFormat):
            members["o"] = Out(beat_signature(data.ArrayLayout(target.width, lanes)))
            settings["mode"] = In(2)
        else:
            check_type("Underflow rule", underflow, Underflow)
            if odd_shift not in (1, -1):
                raise ValueError(f"Shift of the odd grid must be 1 or -1, not {odd_shift!r}")
            members["o"] = Out(beat_signature(data.ArrayLayout(4, lanes)))
            settings["scale_exponent"] = In(signed(8))
            settings["stochastic" if target.is_stochastic else "phase"] = In(1)
        self._random = isinstance(target, FloatFormat) or (
            isinstance(target, GradientFormat) and target.is_stochastic
        )
        if self._random:
            members |= {"i_seed": In(stream.Signature(32)), "seed_error": Out(1)}
        self._settings = tuple(settings)
        super().__init__({**members, **settings})

    def elaborate(self, platform):
        m = Module()
        m.submodules.counters = counters = EventCounters(EVENTS, self._lanes)
        m.submodules.outlet = outlet = Outlet(self.o.p.shape(), self._LANES)
        m.submodules.table = table = ScaleTable(
            self._lanes, self._channel_groups, self._TO_PRODUCT + ScaleProduct.scale_latency
        )
        ready = 1
        if self._random:
            random = RandomBits(self._lanes, self._random_bits, self._seed)
            m.submodules.random_bits = random
            ready = random.admit(m)
        valid, last = connect_outlet(m, self, outlet, self._LANES, ready)
        noise = self._draw(m, random, valid) if self._random else None
        wiring.connect(m, table.i, wiring.flipped(self.i_scale))
        m.d.comb += [
            table.entered.eq(outlet.entered),
            table.last.eq(self.i.p.last),
            outlet.data.last.eq(last[-1]),
        ]
        encoders = []
        for lane in range(self._lanes):
            encoders.append(self._lane(m, lane, table))
            m.d.comb += outlet.data.data[lane].eq(encoders[-1].code)
            if noise is not None:
                m.d.comb += encoders[-1].noise.eq(noise[lane])
            if isinstance(self._target, IntFormat):
                m.d.comb += [
                    outlet.data.user[lane].in_range.eq(encoders[-1].in_range),
                    outlet.data.user[lane].residual.eq(encoders[-1].residual),
                ]
        floating = isinstance(self._target, FloatFormat)
        counters.connect(
            m,
            self,
            strobe=valid[-1],
            saturation=Cat(e.overflowed if floating else e.saturated for e in encoders),
            underflow=Cat(e.underflowed for e in encoders),
        )
        settings = {name: getattr(self, name) for name in self._settings}
        promise_steady(m, outlet.inside, "a tensor", **settings)
        return m

    def _draw(self, m, random, valid):
        """Draw random bits for each beat, to be added from registers; for floats where they count.

        What takes them is one cycle ahead of the encoders.
        """
        random.connect(m, self, valid[self._NOISE - 1])
        words = random.o.payload.as_value()
        if isinstance(self._target, FloatFormat):
            flow = Flow(m)
            stochastic = flow.setting("stochastic", self.mode == RoundMode.STOCHASTIC)
            words = Mux(stochastic.value, words, 0)
        return data.View(random.o.payload.shape(), register(m, "noise", words))

    def _lane(self, m, lane, table):
        """Build a lane: its product, and the encoder of the target behind it."""
        encoder, significand, offset = self._encoder(m)
        product = ScaleProduct([len(significand)], PLAIN.multiplier_bits, own_scale=True)
        m.submodules[f"product_{lane}"] = product
        m.submodules[f"encoder_{lane}"] = encoder
        flow = Flow(m)
        flow.deliver(
            product,
            self._TO_PRODUCT,
            number=flow.keep(f"number_{lane}", flow.input("number", self.i.p.data[lane])),
            bias=flow.input("bias", table.biases[lane], table.latency),
        )
        factor = table.factors[lane]
        m.d.comb += [
            product.relu.eq(self.relu),
            product.factor_0.eq(factor.significand),
            product.factor_1.eq(factor.significand),
            product.exponent.eq(factor.exponent),
            product.offset_0.eq(offset),
            encoder.sign.eq(product.sign),
            significand.eq(product.significand_0),
            encoder.exponent.eq(product.exponent_0),
        ]
        return encoder

    def _encoder(self, m):
        """Make an encoder, with where its number goes and what its exponent is relative to."""
        target, exponent = self._target, signed(10)
        if isinstance(target, FloatFormat):
            width = FloatEncoder.significand_bits(target, self._random_bits)
            encoder = FloatEncoder(target, width, exponent, self._random_bits)
            m.d.comb += encoder.mode.eq(self.mode)
            return encoder, encoder.significand, 0
        if isinstance(target, IntFormat):
            width = IntegerEncoder.significand_bits(target.bits, self._residual_bits)
            encoder = IntegerEncoder(
                width, width - 1, exponent, target.bits, self._residual_bits, self._in_range_rule
            )
            m.d.comb += encoder.is_signed.eq(int(target.signed))
            return encoder, encoder.magnitude, width - 1
        kind = encoder_of(target)
        width = kind.significand_bits(self._random_bits)
        encoder = kind(target, width, exponent, self._random_bits, self._underflow)
        if target.is_stochastic:
            m.d.comb += encoder.stochastic.eq(self.stochastic)
            return encoder, encoder.significand, self.scale_exponent
        shift = Mux(self.phase, self._odd_shift, 0)
        return encoder, encoder.significand, self.scale_exponent + shift
