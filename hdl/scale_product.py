"""Sums times a scale, exactly: what comes before a result is rounded."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .rounding import deepen
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
        always = Const(1)
        sign, value = add_bias(m, "lane", (always, always), self.number, self.bias, self.relu)

        distance = Const(0, 0)
        for stage, steps in enumerate(self._STEPS):
            shifted, flags = normalize(m, f"normal_{stage}", value, steps)
            value = Signal(MAGNITUDE_BITS, name=f"normal_{stage}", reset_less=True)
            shifts = Cat(flags, distance)
            distance = Signal(len(shifts), name=f"distance_{stage}", reset_less=True)
            m.d.sync += [value.eq(shifted), distance.eq(shifts)]

        # Two multipliers of 18 bits, and their sum. A multiplier takes most of a cycle: registers
        # of its own are around it, with nothing but wires to the next, so that they can lie close.
        factors = deepen(m, True, "factor", self.factor_0, self.factor_1)
        small, second = distance[:4], distance[4]
        distance = Cat(small, distance[5] ^ second, second)
        value, distance = deepen(m, True, "normalized", value, distance)
        low, high, distance = deepen(
            m,
            True,
            "part",
            value[:PART_BITS] * factors[0],
            value[PART_BITS:] * factors[1],
            distance,
        )
        low, high, distance = deepen(m, True, "kept_part", low, high, distance)
        product = Signal(PRODUCT_BITS, reset_less=True)
        low_set = Signal(reset_less=True)
        m.d.sync += [
            product.eq(low + (high << PART_BITS)),
            low_set.eq(low[:PART_BITS].any()),
        ]

        # Factors with their top bits set: the product has one of its two top bits set.
        normal, large = deepen(
            m, True, "normal_product", Mux(product[-1], product, product << 1), product[-1]
        )
        for k, width in enumerate(self._widths):
            lost = PRODUCT_BITS - width + 1
            # Whether any of those below is set, group by group.
            groups = [low_set] if lost > PART_BITS else []
            first = PART_BITS if groups else 0
            groups += [
                product[at : min(at + 16, lost - 1)].any() for at in range(first, lost - 1, 16)
            ]
            set_groups, next_bit = deepen(
                m, True, f"rest_{k}", Cat(groups), product[-1] & product[lost - 1]
            )
            origin = Signal(signed(10), name=f"origin_{k}", reset_less=True)
            base = Signal(signed(10), name=f"base_{k}", reset_less=True)
            base_kept = Signal(signed(10), name=f"base_kept_{k}", reset_less=True)
            offset = getattr(self, f"offset_{k}")
            m.d.sync += [
                origin.eq(self.exponent - offset + (PRODUCT_BITS - 2)),
                base.eq(origin - distance),
                base_kept.eq(base),
                getattr(self, f"exponent_{k}").eq(base_kept + large),
                getattr(self, f"significand_{k}").eq(
                    Cat(set_groups.any() | next_bit, normal[lost:])
                ),
            ]

        for k in range(len(self._STEPS) + 5):
            delayed = Signal(name=f"sign_{k}", reset_less=True)
            m.d.sync += delayed.eq(sign)
            sign = delayed
        m.d.sync += self.sign.eq(sign)
        return m
