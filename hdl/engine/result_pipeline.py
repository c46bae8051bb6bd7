"""Results of the training core on their way out: masked, scaled, rounded once, and counted."""

# Ref: Esser et al., arXiv 1902.08153v3, section 2; US11823054B2; US11847568B2

import enum

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from nibblegrad.golden.engine.command import CoreSize
from nibblegrad.golden.engine.geometry import CODE_BITS, SUM_BITS
from nibblegrad.golden.numbers.rounding import RoundMode
from nibblegrad.hdl.array.structures import PLAIN
from nibblegrad.hdl.base.contracts import promise_steady
from nibblegrad.hdl.base.copies import spread
from nibblegrad.hdl.base.event_counters import EventCounters, event_members
from nibblegrad.hdl.base.parameters import check_integer, check_type
from nibblegrad.hdl.base.pipeline import Flow
from nibblegrad.hdl.base.random_bits import RandomBits
from nibblegrad.hdl.cores.step_gradient import TOTAL_BITS, ProductSum, derivative_layout
from nibblegrad.hdl.encoders.float_encoder import FloatEncoder
from nibblegrad.hdl.encoders.gradient_encoder import encoder_of
from nibblegrad.hdl.encoders.integer_encoder import IntegerEncoder
from nibblegrad.hdl.encoders.scale_product import SCALE_BITS, ScaleProduct

__all__ = ["EVENTS", "RANDOM_STREAM", "SETTINGS", "ResultPipeline", "Target"]

EVENTS = ("saturation", "underflow")
#: Members that stand still while strips are inside.
SETTINGS = (
    *("target", "significand", "exponent", "fp4_exponent", "use_bias", "relu", "masked"),
    *("signed_result", "mode", "stochastic", "phase"),
)
#: Stream of the seed; stream 0 belongs to the loads.
RANDOM_STREAM = 1


class Target(enum.IntEnum):
    """What is made of sums. The value is the code in hardware."""

    #: Nothing that counts; the step gradient may be wanted.
    NONE = 0
    #: Wide floats.
    FLOAT = 1
    #: UINT4 or INT4 codes, and their derivatives.
    INTEGER = 2
    #: FP4 codes.
    FP4 = 3


class ResultPipeline(wiring.Component):
    """Make results of sums, a strip per cycle, and sum up step gradients.

    Nothing stalls: a strip that is given in a cycle with ``valid`` comes out ``latency`` cycles
    later with ``o_valid``. What it was given is rounded to floats, to integer and to FP4 codes at
    once; ``target`` decides which of them counts. A strip with target FLOAT or FP4 takes random
    bits, whatever the mode; others take none.

    The golden models are those of :mod:`nibblegrad.golden.cores.scale_multiplier` and
    :func:`nibblegrad.golden.cores.step_gradient.step_gradient`.

    The latency is 20 cycles and the throughput one strip per cycle. Events are counted three cycles
    after ``o_valid``; a step gradient holds a strip when it comes out, at the latest.

    Parameters
    ----------
    size : CoreSize
        Parameters of the training core.
    tag_bits : int
        Width of the tag, 1 to 256.
    structure : Structure
        What says how wide a multiplier is.

    Members
    -------
    valid : ``In(1)``
        Whether a strip is given.
    tag : ``In(tag_bits)``
        Anything that is to come out with the strip.
    sums : ``In(ArrayLayout(signed(32), size.strip))``
        Sums of the strip.
    lanes_used : ``In(size.strip)``
        Which lanes are inside the result. The others come out as 0 and count as nothing.
    derivatives : ``In(ArrayLayout(derivative_layout(size.residual_bits), size.strip))``
        Of the elements that the strip is the gradient of.
    biases : ``In(ArrayLayout(signed(32), size.strip))``
        Biases.
    target : ``In(2)``
        A :class:`Target`. Stable while strips are inside, like all settings that follow.
    significand, exponent : ``In(16)``, ``In(signed(8))``
        Scale; see :class:`nibblegrad.golden.numbers.formats.Scale`.
    fp4_exponent : ``In(signed(8))``
        Exponent of the unit of FP4 codes.
    use_bias, relu : ``In(1)``
        Whether biases are added; whether negative sums become zero.
    masked : ``In(1)``
        Whether sums of elements out of range become zero, before the bias.
    signed_result : ``In(1)``
        Whether integer codes are INT4 rather than UINT4.
    mode : ``In(2)``
        Floats: a :class:`nibblegrad.golden.numbers.rounding.RoundMode` but SELF_STOCHASTIC.
    stochastic, phase : ``In(1)``
        FP4: LUQ's rounding (radix 2), the odd grid (radix 4).
    step_gradient, step_select : ``In(1)``
        Whether sums, before mask and bias, times derivatives are added to a step gradient; to that
        of the activations (0) or of the weights (1). These two are sampled with each strip.
    clear_step : ``In(2)``
        Sets step gradients to zero. Strips that are inside are still added.
    step_gradients : ``Out(ArrayLayout(signed(64), 2))``
        Step gradients of activations (0) and weights (1).
    i_seed, seed_error :
        See :class:`nibblegrad.hdl.base.random_bits.RandomBits`. To be loaded while no strip is
        inside, nor comes within 4 cycles.
    o_valid : ``Out(1)``, o_soon : ``Out(1)``
        Whether a strip comes out now, and whether one does in the next cycle.
    o_tag : ``Out(tag_bits)``
        Its tag.
    o_floats : ``Out(ArrayLayout(size.wide_format.width, size.strip))``
        Its wide floats.
    o_codes : ``Out(ArrayLayout(4, size.strip))``
        Its codes: integers with target INTEGER, else FP4.
    o_derivatives : ``Out(...)``
        What belongs to its integer codes, laid out like ``derivatives``.
    saturation_count, underflow_count : ``Out(32)``
        Clipped numbers or infinite results, and non-zero numbers that became 0.
    saturation_seen, underflow_seen : ``Out(1)``
        Sticky: whether there was any.
    clear_counts : ``In(1)``
        Clears the counts and sticky bits.
    """

    #: Cycles until the encoders: one stage to choose what is scaled, and the product.
    _TO_ENCODERS = 1 + ScaleProduct.latency
    #: Cycles until random bits are added. FP4 codes and floats share them.
    _NOISE = _TO_ENCODERS + FloatEncoder.noise_latency

    latency = _TO_ENCODERS + FloatEncoder.latency
    assert FloatEncoder.latency == IntegerEncoder.latency

    def __init__(self, size, tag_bits=1, structure=PLAIN):
        check_type("Size", size, CoreSize)
        check_integer("Tag width", tag_bits, 1, 256)
        self._size = size
        self._multiplier_bits = structure.multiplier_bits
        # As many bits of a product as each encoder looks at.
        self._float_bits = FloatEncoder.significand_bits(size.wide_format, size.random_bits)
        self._integer_bits = IntegerEncoder.significand_bits(CODE_BITS, size.residual_bits)
        self._encoder = encoder_of(size.fmt)
        self._fp4_bits = self._encoder.significand_bits(size.random_bits)
        strip = size.strip
        derivatives = data.ArrayLayout(derivative_layout(size.residual_bits), strip)
        sums = data.ArrayLayout(signed(SUM_BITS), strip)
        super().__init__(
            {
                "valid": In(1),
                "tag": In(tag_bits),
                "sums": In(sums),
                "lanes_used": In(strip),
                "derivatives": In(derivatives),
                "biases": In(sums),
                "target": In(2),
                "significand": In(SCALE_BITS),
                "exponent": In(signed(8)),
                "fp4_exponent": In(signed(8)),
                "use_bias": In(1),
                "relu": In(1),
                "masked": In(1),
                "signed_result": In(1),
                "mode": In(2),
                "stochastic": In(1),
                "phase": In(1),
                "step_gradient": In(1),
                "step_select": In(1),
                "clear_step": In(2),
                "step_gradients": Out(data.ArrayLayout(signed(TOTAL_BITS), 2)),
                "i_seed": In(stream.Signature(32)),
                "seed_error": Out(1),
                "o_valid": Out(1),
                "o_soon": Out(1),
                "o_tag": Out(tag_bits),
                "o_floats": Out(data.ArrayLayout(size.wide_format.width, strip)),
                "o_codes": Out(data.ArrayLayout(CODE_BITS, strip)),
                "o_derivatives": Out(derivatives),
                **event_members(EVENTS),
            }
        )

    def elaborate(self, platform):
        m = Module()
        size = self._size
        flow = Flow(m)
        valid = flow.input("valid", self.valid, reset=True)
        m.d.comb += [
            self.o_valid.eq(flow.at(valid, self.latency)),
            self.o_soon.eq(flow.at(valid, self.latency - 1)),
            self.o_tag.eq(flow.at(flow.input("tag", self.tag), self.latency)),
        ]
        noise = self._draw(m, flow, valid)
        # For each lane registers of its own, behind those of the command.
        factors = spread(m, "factor", self.significand, 2 * size.strip)
        settings = zip(
            spread(m, "use_bias", self.use_bias, size.strip),
            spread(m, "masked", self.masked, size.strip),
            factors[::2],
            factors[1::2],
            strict=True,
        )
        encoders = []
        for lane, (use_bias, masked, *factors) in enumerate(settings):
            product = self._scale(m, flow, lane, use_bias, masked, factors)
            encoders.append(self._encode(m, flow, lane, product, noise[lane]))
            self._give_out(m, lane, *encoders[-1])
        events = [
            Cat(lane) for lane in zip(*(self._events(each) for each in encoders), strict=True)
        ]
        m.submodules.counters = counters = EventCounters(EVENTS, size.strip)
        counters.connect(
            m,
            self,
            strobe=self.o_valid & self.target.any(),
            saturation=events[0],
            underflow=events[1],
        )
        self._sum_up(m, flow, valid)
        inside = Cat(flow.at(valid, k) for k in range(self.latency + 1)).any()
        settings = {name: getattr(self, name) for name in SETTINGS}
        promise_steady(m, inside, "a strip", **settings)
        return m

    def _draw(self, m, flow, valid):
        """Draw random bits for strips that take some; zeros for floats that are not stochastic."""
        size = self._size
        m.submodules.random_bits = random = RandomBits(
            size.strip, size.random_bits, size.seed, RANDOM_STREAM
        )
        by_float = self.target == Target.FLOAT
        uses_random = flow.setting("uses_random", by_float | (self.target == Target.FP4))
        silent = flow.setting("silent", by_float & (self.mode != RoundMode.STOCHASTIC))
        # Drawn by a register, and added from registers.
        drawing = flow.stage(
            "drawing",
            lambda given, uses: given & uses,
            flow.wait(valid, self._NOISE - 2),
            uses_random,
            reset=True,
        )
        random.connect(m, self, drawing.value)
        words = flow.join("words", random.o.payload.as_value(), self._NOISE - 1, drawing)
        noise = flow.stage("noise", lambda bits, none: Mux(none, 0, bits), words, silent)
        return data.View(random.o.payload.shape(), flow.at(noise, self._NOISE))

    def _scale(self, m, flow, lane, use_bias, masked, factors):
        """Choose what the lane works on, and multiply it by the scale."""
        size = self._size
        unit = self.fp4_exponent
        if size.fmt.phases == 2:
            unit = unit + Mux(self.phase, size.odd_shift, 0)
        offsets = (0, self._integer_bits - 1, unit)
        product = ScaleProduct(
            (self._float_bits, self._integer_bits, self._fp4_bits),
            self._multiplier_bits,
        )
        m.submodules[f"product_{lane}"] = product
        used = self.lanes_used[lane]
        kept = used & ~(masked & ~self.derivatives[lane].in_range)
        number, bias = flow.stage(
            f"number_{lane} bias_{lane}",
            lambda total, bias: (
                Mux(kept, total, 0).as_signed(),
                Mux(used & use_bias, bias, 0).as_signed(),
            ),
            flow.input("sum", self.sums[lane]),
            flow.input("bias", self.biases[lane]),
        )
        flow.deliver(product, self._TO_ENCODERS - product.latency, number=number, bias=bias)
        m.d.comb += [
            product.relu.eq(self.relu),
            product.factor_0.eq(factors[0]),
            product.factor_1.eq(factors[1]),
            product.exponent.eq(self.exponent),
            *(getattr(product, f"offset_{k}").eq(offset) for k, offset in enumerate(offsets)),
        ]
        return product

    def _encode(self, m, flow, lane, product, noise):
        """Feed the product of a lane to the three encoders."""
        size = self._size
        exponent = product.exponent_0.shape()
        floats = FloatEncoder(size.wide_format, self._float_bits, exponent, size.random_bits)
        integers = IntegerEncoder(
            self._integer_bits, self._integer_bits - 1, exponent, CODE_BITS, size.residual_bits,
            size.in_range_rule,
        )  # fmt: skip
        fp4 = self._encoder(size.fmt, self._fp4_bits, exponent, size.random_bits, size.underflow)
        m.submodules[f"floats_{lane}"] = floats
        m.submodules[f"integers_{lane}"] = integers
        m.submodules[f"fp4_{lane}"] = fp4
        m.d.comb += [
            *(each.sign.eq(product.sign) for each in (floats, integers, fp4)),
            floats.significand.eq(product.significand_0),
            floats.exponent.eq(product.exponent_0),
            floats.mode.eq(self.mode),
            floats.noise.eq(noise),
            integers.magnitude.eq(product.significand_1),
            integers.exponent.eq(product.exponent_1),
            integers.is_signed.eq(self.signed_result),
            fp4.significand.eq(product.significand_2),
            fp4.exponent.eq(product.exponent_2),
        ]
        if size.fmt.is_stochastic:
            m.d.comb += [fp4.stochastic.eq(self.stochastic), fp4.noise.eq(noise)]
        return floats, integers, fp4

    def _give_out(self, m, lane, floats, integers, fp4):
        """Choose between the results of a lane."""
        code = Cat(integers.code, integers.code[-1] & self.signed_result).as_signed()
        derivative = self.o_derivatives[lane]
        m.d.comb += [
            self.o_floats[lane].eq(floats.code),
            self.o_codes[lane].eq(Mux(self.target == Target.INTEGER, integers.code, fp4.code)),
            derivative.in_range.eq(integers.in_range),
            derivative.value.eq(Mux(integers.in_range, integers.residual, code)),
        ]

    def _events(self, encoders):
        """Choose the events of the target: saturation, underflow."""
        floats, integers, fp4 = encoders
        is_float = self.target == Target.FLOAT
        chosen = self.target == Target.INTEGER
        saturated = Mux(chosen, integers.saturated, fp4.saturated)
        underflowed = Mux(chosen, integers.underflowed, fp4.underflowed)
        return (
            Mux(is_float, floats.overflowed, saturated),
            Mux(is_float, floats.underflowed, underflowed),
        )

    def _sum_up(self, m, flow, valid):
        """Add sums times derivatives to the step gradient that was chosen."""
        size = self._size
        m.submodules.products = products = ProductSum(
            size.strip, SUM_BITS, CODE_BITS, size.residual_bits, self._multiplier_bits
        )
        # A step gradient takes three cycles more.
        assert products.latency + 3 <= self.latency
        m.d.comb += products.numbers.eq(self.sums)
        for lane in range(size.strip):
            given = self.derivatives[lane].as_value()
            m.d.comb += (
                products.derivatives[lane].as_value().eq(Mux(self.lanes_used[lane], given, 0))
            )
        for which in range(2):
            chosen = valid.value & self.step_gradient & (self.step_select == which)
            adding = flow.input(f"step_{which}", chosen, reset=True)
            addend = flow.stage(
                f"step_{which}_addend",
                lambda adding, total: Mux(adding, total, 0).as_signed(),
                adding,
                flow.input("total", products.total, products.latency),
                # What is given up by a reset must not be added after it.
                reset=True,
            )
            self._accumulate(m, which, addend.value)

    def _accumulate(self, m, which, number):
        """Add to a step gradient in two halves, the upper one a cycle later.

        What a clear finds between them is gone.
        """
        total = self.step_gradients[which]
        clear = self.clear_step[which]
        half = TOTAL_BITS // 2
        low, high = total[:half], total[half:]
        sum_low = Signal(half + 1, name=f"step_{which}_low")
        addend = Signal(TOTAL_BITS, name=f"step_{which}_extended")
        carry = Signal(name=f"step_{which}_carry")
        addend_high = Signal(signed(len(number) - half), name=f"step_{which}_high")
        sum_high = Cat(Const(1, 1), high) + Cat(carry, addend_high).as_signed()
        m.d.comb += [
            addend.eq(number),
            sum_low.eq(Mux(clear, 0, low) + addend[:half]),
        ]
        m.d.sync += [
            low.eq(sum_low),
            carry.eq(sum_low[-1]),
            addend_high.eq(addend[half:]),
            high.eq(Mux(clear, 0, sum_high[1:])),
        ]
