# amaranth: UnusedElaboratable=no
"""Dot products of short floats: hybrid FP8 or binary16, with a float sum."""

# Ref: Sun et al., "Hybrid 8-bit Floating Point (HFP8)", NeurIPS 2019, and US12217158B2

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from nibblegrad.golden.units.float_dot_product import WINDOW, DotProductFormat
from nibblegrad.hdl.array.adder_tree import AdderTree, tree_depth
from nibblegrad.hdl.base.parameters import check_integer, check_type
from nibblegrad.hdl.base.pipeline import delay
from nibblegrad.hdl.units.float_product import FloatProduct
from nibblegrad.hdl.units.float_sum import FloatSum

__all__ = ["FloatDotProduct"]


class FloatDotProduct(wiring.Component):
    """Add up products of vectors of floats; nothing ever stalls.

    See :mod:`nibblegrad.golden.units.float_dot_product` for every bit. The exponents run ahead of
    the significands: the largest one of a vector is known when the products are, and the weight of
    the sum's lowest bit when the vector's total is, so that the loop is one adder. The latency from
    the last vector of a sum to ``done`` is ``latency`` cycles, and the throughput one vector per
    cycle.

    Parameters
    ----------
    fmt : DotProductFormat
        Operands and result.
    lanes : int
        Count of products per cycle, 1 to 64.

    Members
    -------
    valid, first, last : ``In(1)``
        Whether there is a vector, and whether a sum starts and ends with it.
    a, b : ``In(ArrayLayout(fmt.width, lanes))``
        Codes.
    a_format, b_format : ``In(1)``
        For hybrid FP8, a :class:`nibblegrad.golden.units.float_dot_product.Fp8` for all lanes; else
        ignored.
    done : ``Out(1)``
        Whether a sum is complete.
    total : ``Out(fmt.result.width)``
        Code of the sum, while ``done``; NaN if an operand was no number.
    """

    def __init__(self, fmt, lanes=16):
        check_type("Format", fmt, DotProductFormat)
        check_integer("Lane count", lanes, 1, 64)
        self._fmt = fmt
        self._lanes = lanes
        self._products = [FloatProduct(fmt) for _ in range(lanes)]
        self._term_bits = fmt.kept_bits + 1 + tree_depth(lanes)
        self._sum = FloatSum(fmt, self._term_bits)
        # When things are there: the largest exponent, shift distances, terms, the vector's total.
        self._largest_at = 2 + tree_depth(lanes)
        self._distance_at = max(self._largest_at + 1, self._products[0].latency)
        self._steps = [1 << k for k in reversed(range((fmt.kept_bits - 1).bit_length()))]
        self._terms_at = self._distance_at + -(-len(self._steps) // 2)
        self._total_at = self._terms_at + tree_depth(lanes) + 1
        self.latency = self._total_at + self._sum.latency
        super().__init__(
            {
                "valid": In(1),
                "first": In(1),
                "last": In(1),
                "a": In(data.ArrayLayout(fmt.width, lanes)),
                "b": In(data.ArrayLayout(fmt.width, lanes)),
                "a_format": In(1),
                "b_format": In(1),
                "done": Out(1),
                "total": Out(fmt.result.width),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.tree = tree = AdderTree(self._lanes, self._fmt.kept_bits + 1)
        exponents = []
        for k, product in enumerate(self._products):
            m.submodules[f"product_{k}"] = product
            m.d.comb += [
                product.a.eq(self.a[k]),
                product.b.eq(self.b[k]),
                product.a_format.eq(self.a_format),
                product.b_format.eq(self.b_format),
            ]
            exponents.append(product.exponent)
        largest = self._largest(m, exponents)
        waited = self._distance_at - self._largest_at - 1
        for k, product in enumerate(self._products):
            exponent = delay(m, f"exponent_{k}", product.exponent, tree_depth(self._lanes) + waited)
            distance = Signal(6, name=f"distance_{k}", reset_less=True)
            m.d.sync += distance.eq(delay(m, "largest", largest, waited) - exponent)
            term, negate = self._align(m, k, product, distance)
            m.d.comb += [tree.terms[k].eq(term), tree.pending[k].eq(negate)]

        nonfinite = Signal(reset_less=True)
        m.d.sync += nonfinite.eq(Cat(p.nonfinite for p in self._products).any())
        total = Signal(signed(self._term_bits), reset_less=True)
        m.d.sync += total.eq(tree.total + tree.carry)

        m.submodules.sum = unit = self._sum
        flags = delay(
            m, "flags", Cat(self.valid, self.first, self.last), self._total_at, reset=True
        )
        m.d.comb += [
            Cat(unit.valid, unit.first, unit.last).eq(flags),
            unit.term.eq(total),
            unit.exponent.eq(delay(m, "sum_exponent", largest, self._total_at - self._largest_at)),
            unit.nonfinite.eq(delay(m, "sum_nonfinite", nonfinite, self._total_at - 3)),
            self.done.eq(unit.done),
            self.total.eq(unit.total),
        ]
        return m

    def _largest(self, m, values):
        """Find the largest value, in a tree with a register after each comparison."""
        level = 0
        while len(values) > 1:
            level += 1
            larger = []
            for k in range(0, len(values), 2):
                one = Signal(6, name=f"largest_{level}_{k // 2}", reset_less=True)
                if k + 1 < len(values):
                    a, b = values[k : k + 2]
                    m.d.sync += one.eq(Mux(a < b, b, a))
                else:
                    m.d.sync += one.eq(values[k])
                larger.append(one)
            values = larger
        return values[0]

    def _align(self, m, lane, product, distance):
        """Shift a product right, two steps in a cycle, and invert it if negative."""
        kept = self._fmt.kept_bits
        value = delay(m, f"product_{lane}", product.product,
                      self._distance_at - product.latency)  # fmt: skip
        negate = delay(m, f"negate_{lane}", product.negate, self._terms_at - product.latency - 1)
        excess = len(value) - kept
        value = value[excess:] if excess > 0 else Cat(C(0, -excess), value)
        beyond = distance[len(self._steps) :].any()
        for k, step in enumerate(self._steps):
            shifted = Mux(distance[len(self._steps) - 1 - k], value >> step, value)
            if k == 0:
                shifted = Mux(beyond, 0, shifted)
            last = k == len(self._steps) - 1
            if not last and k % 2 == 0:
                value = shifted[:kept]
                continue
            register = Signal(kept + last, name=f"aligned_{lane}_{step}", reset_less=True)
            m.d.sync += register.eq(
                Cat(shifted[:kept], C(0, 1)) ^ negate.replicate(kept + 1) if last else shifted
            )
            value = register
            if not last:
                distance = delay(m, f"distance_{lane}_{step}", distance, 1)
        return value.as_signed(), delay(m, f"pending_{lane}", negate, 1)


assert WINDOW == 32  # five bits of the exponent are the place in the window, the sixth the window
