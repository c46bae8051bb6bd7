"""Sums times a scale, exactly: what comes before a result is rounded."""

from functools import partial

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from nibblegrad.hdl.base.pipeline import Flow
from nibblegrad.hdl.encoders.shifter import normalize

__all__ = [
    "BIAS_BITS",
    "MAGNITUDE_BITS",
    "PRODUCT_BITS",
    "SCALE_BITS",
    "ScaleProduct",
]

BIAS_BITS = 32
SCALE_BITS = 16
MAGNITUDE_BITS = BIAS_BITS + 1
PRODUCT_BITS = MAGNITUDE_BITS + SCALE_BITS


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
    multiplier_bits : int
        Width of the signed numbers that one of two multipliers takes, 18 to 32.
    own_scale : bool
        Whether each number has a scale of its own. Otherwise it is a setting.

    Members
    -------
    number, bias : ``In(signed(32))``
        Sum, and what is added to it.
    relu : ``In(1)``
        Whether negative sums become zero. Stable while numbers are inside, like ``offset_{k}``.
    factor_0, factor_1 : ``In(16)``
        Significand of the scale, its top bit set, from a register for each multiplier. Stable while
        numbers are inside; with ``own_scale``, that of the number that came ``scale_latency``
        cycles ago.
    exponent : ``In(signed(8))``
        Exponent of the scale, likewise.
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
    scale_latency = 2 + len(_STEPS)

    def __init__(self, widths, multiplier_bits, own_scale=False):
        self._widths = tuple(widths)
        self._own_scale = own_scale
        # The lower part of a magnitude has no sign.
        self._low_bits = multiplier_bits - 1
        assert 18 <= multiplier_bits <= 32
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
        value, *factors, origins = self._take_scale(flow, value)

        # Two multipliers, and their sum. A multiplier takes most of a cycle: registers of its own
        # are around it, with nothing but wires to the next, so that they can lie close.
        part = self._low_bits
        low, high = flow.stage(
            "low high", lambda v, a, b: (v[:part] * a, v[part:] * b), value, *factors
        )
        low, high = flow.keep("low_kept high_kept", low, high)
        product, low_set = flow.stage("product low_set", partial(_add_parts, part), low, high)
        # Where origins stand still, the distance waits, as it has fewer bits than the exponents.
        others = [distance] if self._own_scale else [distance, product]
        bases = [
            flow.stage(f"base_{k}", lambda o, d, *_: _exponent(o - d), origin, *others)
            for k, origin in enumerate(origins)
        ]

        # Factors with their top bits set: the product has one of its two top bits set.
        normal, large = flow.stage(
            "normal large", lambda p: (Mux(p[-1], p, p << 1), p[-1]), product
        )
        outputs = {"sign": sign}
        for k, width in enumerate(self._widths):
            outputs[f"significand_{k}"] = self._cut(flow, k, width, product, low_set, normal)
            outputs[f"exponent_{k}"] = flow.stage(
                f"exponent_{k}", lambda b, more: _exponent(b + more), bases[k], large
            )
        flow.deliver(self, self.latency, **outputs)
        return m

    def _take_scale(self, flow, value):
        """Let value and factors meet in registers; find each exponent before it is shifted."""
        offsets = [getattr(self, f"offset_{k}") for k in range(len(self._widths))]

        def place(exponent):
            return tuple(_exponent(exponent - each + (PRODUCT_BITS - 2)) for each in offsets)

        names = [f"origin_{k}" for k in range(len(offsets))]
        factors = {"factor_0": self.factor_0, "factor_1": self.factor_1}
        if not self._own_scale:
            value = flow.keep("normalized", value)
            factors = [flow.setting(name, factor) for name, factor in factors.items()]
            origins = [
                flow.setting(name, origin)
                for name, origin in zip(names, place(self.exponent), strict=True)
            ]
            return value, *factors, origins
        *factors, exponent = (
            flow.join(name, given, self.scale_latency, value)
            for name, given in {**factors, "exponent": self.exponent}.items()
        )
        origins = [
            flow.stage(name, lambda e, k=k: place(e)[k], exponent) for k, name in enumerate(names)
        ]
        return *flow.keep("normalized factor_0 factor_1", value, *factors), origins

    def _cut(self, flow, k, width, product, low_set, normal):
        """Cut the product to a width, with a bit for all that is lost."""
        lost = PRODUCT_BITS - width + 1
        groups, next_bit = flow.stage(
            f"groups_{k} next_bit_{k}", partial(_lost_bits, self._low_bits, lost), product, low_set
        )
        return flow.stage(
            f"significand_{k}",
            lambda g, b, n: Cat(g.any() | b, n[lost:])[:-1],
            groups,
            next_bit,
            normal,
        )

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


def _add_parts(part, low, high):
    """Add the products of both parts; tells whether any bit of the lower part is set."""
    return (low + (high << part))[:PRODUCT_BITS], low[:part].any()


def _lost_bits(part, lost, product, low_set):
    """Tell group by group whether any of the bits is set that are lost in any case, and whether
    that one is which is lost if the product has its top bit set."""
    groups = [low_set] if lost > part else []
    first = part if groups else 0
    groups += [product[at : min(at + 16, lost - 1)].any() for at in range(first, lost - 1, 16)]
    return Cat(groups), product[-1] & product[lost - 1]


def _exponent(value):
    return value[:10].as_signed()
