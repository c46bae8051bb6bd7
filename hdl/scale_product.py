"""Sums times a scale, exactly: what comes before a result is rounded."""

from functools import partial

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .pipeline import Flow, settled
from .shifter import normalize

__all__ = [
    "BIAS_BITS",
    "MAGNITUDE_BITS",
    "PRODUCT_BITS",
    "SCALE_BITS",
    "ScaleProduct",
    "add_bias",
]

BIAS_BITS = 32
SCALE_BITS = 16
MAGNITUDE_BITS = BIAS_BITS + 1
PRODUCT_BITS = MAGNITUDE_BITS + SCALE_BITS

#: Width of the lower part of a number that one multiplier of a common FPGA takes.
PART_BITS = 17


def add_bias(m, prefix, enables, number, bias, relu):
    """Add a bias and part the sum into sign and magnitude: two register stages.

    Parameters
    ----------
    m : Module
        Where the logic goes.
    prefix : str
        Prefix of signal names.
    enables : pair of Value
        Clock enables of the stages.
    number, bias : Value
        Signed, at most 32 bits.
    relu : Value
        Whether negative sums become zero.

    Returns
    -------
    (Value, Value)
        Sign, and magnitude of ``MAGNITUDE_BITS``.
    """
    total = Signal(signed(BIAS_BITS + 1), name=f"{prefix}_sum", reset_less=True)
    sign = Signal(name=f"{prefix}_sign")
    magnitude = Signal(MAGNITUDE_BITS, name=f"{prefix}_magnitude")
    with m.If(enables[0]):
        m.d.sync += total.eq(number + bias)
    with m.If(enables[1]):
        m.d.sync += [
            sign.eq(total[-1] & ~relu),
            magnitude.eq(Mux(total[-1], Mux(relu, 0, -total), total)),
        ]
    return sign, magnitude


class ScaleProduct(wiring.Component):
    """Compute ``(number + bias) * significand * 2**exponent``, exactly and normalised.

    The sum is normalised before it is multiplied, in as many stages as timing asks for; then the
    product needs one more step at most. It is given out once for each of several roundings that
    follow, each with as many bits as that rounding looks at: the lowest bit tells whether any bit
    from there on is set.

    The latency is 13 cycles and the throughput one number per cycle; nothing stalls.

    Parameters
    ----------
    widths : sequence of int
        Widths of the significands, 3 to ``PRODUCT_BITS``.

    Members
    -------
    number, bias : ``In(signed(32))``
        Sum, and what is added to it.
    relu : ``In(1)``
        Whether negative sums become zero. Stable while numbers are inside, like all below.
    factor_0, factor_1 : ``In(16)``
        Significand of the scale, its top bit set, from a register for each multiplier.
    exponent : ``In(signed(8))``
        Exponent of the scale.
    offset_{k} : ``In(signed(9))``
        What ``exponent_{k}`` is relative to.
    sign : ``Out(1)``
        Whether the product is negative.
    significand_{k} : ``Out(widths[k])``
        The product with its top bit set, or 0.
    exponent_{k} : ``Out(signed(10))``
        Exponent of that top bit, minus ``offset_{k}``; meaningless for 0.
    """

    #: Distances of the normalising shift that share a register stage. Two steps of 16 look at less
    #: than one of 32 would.
    _STEPS = ((16,), (16,), (8,), (4,), (2, 1))

    latency = 8 + len(_STEPS)

    def __init__(self, widths):
        self._widths = tuple(widths)
        assert all(3 <= width <= PRODUCT_BITS for width in self._widths)
        members = {
            "number": In(signed(32)),
            "bias": In(signed(BIAS_BITS)),
            "relu": In(1),
            "factor_0": In(SCALE_BITS),
            "factor_1": In(SCALE_BITS),
            "exponent": In(signed(8)),
            "sign": Out(1),
        }
        for k, width in enumerate(self._widths):
            members |= {
                f"offset_{k}": In(signed(9)),
                f"significand_{k}": Out(width),
                f"exponent_{k}": Out(signed(10)),
            }
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        flow = Flow(m)
        number, bias = flow.input("number", self.number), flow.input("bias", self.bias)
        total = flow.stage("total", lambda n, b: n + b, number, bias)
        sign, value = flow.stage("sign magnitude", self._part, total)
        distance = None
        for k, steps in enumerate(self._STEPS):
            value, distance = self._normalize(m, flow, k, steps, value, distance)
        distance = flow.stage("shifted_by", lambda d: Cat(d[:4], d[5] ^ d[4], d[4]), distance)

        # Two multipliers of 18 bits, and their sum. A multiplier takes most of a cycle: registers
        # of its own are around it, with nothing but wires to the next, so that they can lie close.
        factors = settled(m, "factor", self.factor_0, self.factor_1)
        value = flow.keep("normalized", value)
        low, high = flow.stage(
            "low high", lambda v: (v[:PART_BITS] * factors[0], v[PART_BITS:] * factors[1]), value
        )
        low, high = flow.keep("low_kept high_kept", low, high)
        product, low_set = flow.stage("product low_set", _add_parts, low, high)

        # Factors with their top bits set: the product has one of its two top bits set.
        normal, large = flow.stage(
            "normal large", lambda p: (Mux(p[-1], p, p << 1), p[-1]), product
        )
        outputs = {"sign": sign}
        for k, width in enumerate(self._widths):
            lost = PRODUCT_BITS - width + 1
            groups, next_bit = flow.stage(
                f"groups_{k} next_bit_{k}", partial(_lost_bits, lost), product, low_set
            )
            outputs[f"significand_{k}"] = flow.stage(
                f"significand_{k}",
                lambda g, b, n, lost=lost: Cat(g.any() | b, n[lost:])[:-1],
                groups,
                next_bit,
                normal,
            )
            offset = getattr(self, f"offset_{k}")
            origin = self.exponent - offset + (PRODUCT_BITS - 2)
            (origin,) = settled(m, f"origin_{k}", _exponent(origin))
            # The distance waits for the product, as it has fewer bits than the exponent.
            base = flow.stage(f"base_{k}", lambda d, _, o=origin: _exponent(o - d), distance, low)
            outputs[f"exponent_{k}"] = flow.stage(
                f"exponent_{k}", lambda b, more: _exponent(b + more), base, large
            )
        values = flow.close(self.latency, **outputs)
        m.d.comb += [getattr(self, n).eq(v) for n, v in zip(outputs, values, strict=True)]
        return m

    def _part(self, total):
        """Part a sum into sign and magnitude."""
        magnitude = Mux(total[-1], Mux(self.relu, 0, -total), total)
        return total[-1] & ~self.relu, magnitude[:MAGNITUDE_BITS]

    @staticmethod
    def _normalize(m, flow, k, steps, value, distance):
        """Shift by some of the distances, and note by which."""

        def shift(value, *before):
            shifted, flags = normalize(m, f"normal_{k}", value, steps)
            return shifted, Cat(flags, *before)

        before = [] if distance is None else [distance]
        return flow.stage(f"normal_{k} distance_{k}", shift, value, *before)


def _add_parts(low, high):
    """Add the products of both parts; tells whether any bit of the lower part is set."""
    return (low + (high << PART_BITS))[:PRODUCT_BITS], low[:PART_BITS].any()


def _lost_bits(lost, product, low_set):
    """Tell group by group whether any of the bits is set that are lost in any case, and whether
    that one is which is lost if the product has its top bit set."""
    groups = [low_set] if lost > PART_BITS else []
    first = PART_BITS if groups else 0
    groups += [product[at : min(at + 16, lost - 1)].any() for at in range(first, lost - 1, 16)]
    return Cat(groups), product[-1] & product[lost - 1]


def _exponent(value):
    return value[:10].as_signed()
