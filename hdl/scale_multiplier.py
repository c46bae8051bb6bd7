"""Scale multiplier: accumulators back to wide floats, or straight to the next layer's codes."""

# Ref: Esser et al., arXiv 1902.08153v3, section 2; US11823054B2; US11847568B2

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from golden.formats import FloatFormat, Fp4Format, IntFormat
from golden.fp4_quantizer import Underflow
from golden.quantizer import InRange

from .event_counters import EventCounters, event_members
from .float_encoder import FloatEncoder
from .fp4_encoder import Fp4Encoder
from .integer_encoder import IntegerEncoder
from .parameters import check_integer, check_type
from .quantizer import integer_beat
from .random_bits import RandomBits
from .scale_product import BIAS_BITS, PRODUCT_BITS, SCALE_BITS, add_bias
from .shifter import normalize
from .stream import Pipeline, beat_signature

__all__ = ["EVENTS", "ScaleMultiplier", "scale_layout"]

EVENTS = ("saturation", "underflow")


def scale_layout():
    """Lay out the scale and bias of a channel, 56 bits."""
    return data.StructLayout(
        {"bias": signed(BIAS_BITS), "significand": SCALE_BITS, "exponent": signed(8)}
    )


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

    The golden models are those of :mod:`golden.scale_multiplier`.

    The latency is 7 cycles and the throughput one beat per cycle. ``i.ready`` depends
    combinationally on ``o.ready``.

    Parameters
    ----------
    target : FloatFormat, IntFormat or Fp4Format
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
    underflow : Underflow, odd_shift : int
        For FP4 codes: see :class:`hdl.fp4_quantizer.Fp4Quantizer`.
    seed : int
        Seed of the random bits after reset.

    Members
    -------
    i : ``In(beat_signature(ArrayLayout(signed(accumulator_bits), lanes)))``
        Accumulators.
    i_scale : ``In(beat_signature(ArrayLayout(scale_layout(), lanes)))``
        Bias, significand (its top bit set) and exponent of each channel of a group. Always ready;
        to be loaded between tensors.
    o : ``Out(...)``
        Codes of the target; for integers see :func:`hdl.quantizer.integer_beat`.
    relu : ``In(1)``
        Whether negative sums become zero. Stable while a tensor passes, like all below.
    mode : ``In(2)``
        Floats: a :class:`golden.rounding.RoundMode` but SELF_STOCHASTIC, which truncates.
    scale_exponent, stochastic, phase :
        FP4: see :class:`hdl.fp4_quantizer.Fp4Quantizer`.
    i_seed, seed_error :
        Floats and FP4 radix 2: see :class:`hdl.random_bits.RandomBits`.
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

    latency = 7

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
        if not isinstance(target, FloatFormat | IntFormat | Fp4Format):
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
            "relu": In(1),
            **event_members(EVENTS),
        }
        if isinstance(target, IntFormat):
            check_integer("Code width", target.bits, 2, 8)
            check_integer("Residual width", residual_bits, 1, 16 - target.bits)
            check_type("In-range rule", in_range_rule, InRange)
            members["o"] = Out(integer_beat(lanes, target.bits, residual_bits))
        elif isinstance(target, FloatFormat):
            members["o"] = Out(beat_signature(data.ArrayLayout(target.width, lanes)))
            members["mode"] = In(2)
        else:
            check_type("Underflow rule", underflow, Underflow)
            if odd_shift not in (1, -1):
                raise ValueError(f"Shift of the odd grid must be 1 or -1, not {odd_shift!r}")
            members["o"] = Out(beat_signature(data.ArrayLayout(4, lanes)))
            members["scale_exponent"] = In(signed(8))
            members["stochastic" if target.is_stochastic else "phase"] = In(1)
        self._random = isinstance(target, FloatFormat) or (
            isinstance(target, Fp4Format) and target.is_stochastic
        )
        if self._random:
            members |= {"i_seed": In(stream.Signature(32)), "seed_error": Out(1)}
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        m.submodules.counters = counters = EventCounters(EVENTS, self._lanes)
        hold = {}
        noise = None
        if self._random:
            random = RandomBits(self._lanes, self._random_bits, self._seed)
            m.submodules.random_bits = random
            hold = {6: ~random.o.valid}
            noise = random.o.payload
        pipeline = Pipeline(m, self.i, self.o, self.latency, hold)
        if self._random:
            random.connect(m, self, pipeline.enable[6] & pipeline.arriving[6])

        scales = self._look_up(m, pipeline)
        encoders = []
        for lane in range(self._lanes):
            product = self._multiply(m, pipeline, lane, self.i.p.data[lane], scales[lane])
            encoder = self._encode(m, lane, pipeline, *product)
            encoders.append(encoder)
            m.d.comb += [
                encoder.enable.eq(Cat(pipeline.enable[5:])),
                self.o.p.data[lane].eq(encoder.code),
            ]
            if noise is not None:
                m.d.comb += encoder.noise.eq(noise[lane])
        pipeline.carry(m, "last", self.i.p.last, self.o.p.last)
        floating = isinstance(self._target, FloatFormat)
        counters.connect(
            m,
            self,
            strobe=self.o.valid & self.o.ready,
            saturation=Cat(e.overflowed if floating else e.saturated for e in encoders),
            underflow=Cat(e.underflowed for e in encoders),
        )
        return m

    def _look_up(self, m, pipeline):
        """Keep the scales, and read the group of each beat: valid after the first stage."""
        layout = data.ArrayLayout(scale_layout(), self._lanes)
        depth = max(self._channel_groups, 2)  # an address needs a bit
        memory = Memory(shape=layout, depth=depth, init=[])
        m.submodules.scales = memory
        write = memory.write_port()
        read = memory.read_port()
        groups = Signal(range(depth), name="last_group")
        writing = Signal(range(depth), name="write_group")
        group = Signal(range(depth), name="group")
        following = Signal(range(depth), name="next_group")
        m.d.comb += [
            self.i_scale.ready.eq(1),
            write.en.eq(self.i_scale.valid),
            write.addr.eq(writing),
            write.data.eq(self.i_scale.p.data),
        ]
        with m.If(self.i_scale.valid):
            with m.If(self.i_scale.p.last):
                m.d.sync += [writing.eq(0), groups.eq(writing)]
            with m.Else():
                m.d.sync += writing.eq(writing + 1)
        taken = self.i.valid & self.i.ready
        with m.If(taken & (self.i.p.last | (group == groups))):
            m.d.comb += following.eq(0)
        with m.Elif(taken):
            m.d.comb += following.eq(group + 1)
        with m.Else():
            m.d.comb += following.eq(group)
        m.d.sync += group.eq(following)
        # The memory answers in the cycle after: what is read now belongs to the next beat. It is
        # read again when it was written, so that a scale is valid one cycle after it was loaded.
        m.d.comb += [read.addr.eq(following), read.en.eq(1)]
        scales = Signal(layout, name="scales")
        with m.If(pipeline.enable[0]):
            m.d.sync += scales.eq(read.data)
        return scales

    def _multiply(self, m, pipeline, lane, accumulator, scale):
        """Make sign, magnitude and exponent of the product: five stages with the next ones."""
        prefix = f"lane_{lane}"
        number = Signal(signed(self._accumulator_bits), name=f"{prefix}_accumulator")
        product_sign = Signal(name=f"{prefix}_product_sign")
        product = Signal(PRODUCT_BITS, name=f"{prefix}_product")
        significands = [Signal(SCALE_BITS, name=f"{prefix}_significand_{k}") for k in range(2)]
        exponents = [Signal(signed(8), name=f"{prefix}_exponent_{k}") for k in range(3)]
        with m.If(pipeline.enable[0]):
            m.d.sync += number.eq(accumulator)
        sign, magnitude = add_bias(m, prefix, pipeline.enable[1:3], number, scale.bias, self.relu)
        with m.If(pipeline.enable[1]):
            m.d.sync += [
                significands[0].eq(scale.significand),
                exponents[0].eq(scale.exponent),
            ]
        with m.If(pipeline.enable[2]):
            m.d.sync += [
                significands[1].eq(significands[0]),
                exponents[1].eq(exponents[0]),
            ]
        with m.If(pipeline.enable[3]):
            m.d.sync += [
                product_sign.eq(sign),
                product.eq(magnitude * significands[1]),
                exponents[2].eq(exponents[1]),
            ]
        return product_sign, product, exponents[2]

    def _encode(self, m, lane, pipeline, sign, product, exponent):
        """Feed the product to the encoder of the target, normalised where that is needed."""
        target = self._target
        width = len(product)
        top = Signal(signed(10), name=f"lane_{lane}_top_exponent")
        if isinstance(target, IntFormat):
            encoder = IntegerEncoder(
                width, SCALE_BITS - 1, signed(8), target.bits, self._residual_bits,
                self._in_range_rule,
            )  # fmt: skip
            m.d.comb += encoder.is_signed.eq(int(target.signed))
            m.d.comb += [
                self.o.p.user[lane].in_range.eq(encoder.in_range),
                self.o.p.user[lane].residual.eq(encoder.residual),
            ]
            with m.If(pipeline.enable[4]):
                m.d.sync += [
                    encoder.sign.eq(sign),
                    encoder.magnitude.eq(product),
                    encoder.exponent.eq(exponent),
                ]
        else:
            significand, distance = normalize(m, f"lane_{lane}_normal", product)
            m.d.comb += top.eq(exponent + (width - 1) - distance)
            if isinstance(target, FloatFormat):
                encoder = FloatEncoder(target, width, top.shape(), self._random_bits)
                m.d.comb += encoder.mode.eq(self.mode)
            else:
                encoder = Fp4Encoder(target, width, signed(11), self._random_bits, self._underflow)
                if target.is_stochastic:
                    m.d.comb += encoder.stochastic.eq(self.stochastic)
            unit = 0
            if isinstance(target, Fp4Format):
                unit = self.scale_exponent
                if target.phases == 2:
                    unit = unit + Mux(self.phase, self._odd_shift, 0)
            with m.If(pipeline.enable[4]):
                m.d.sync += [
                    encoder.sign.eq(sign),
                    encoder.significand.eq(significand),
                    encoder.exponent.eq(top - unit),
                ]
        m.submodules[f"encoder_{lane}"] = encoder
        return encoder
