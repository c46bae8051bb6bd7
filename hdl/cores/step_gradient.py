"""Gradient of the loss by a learned step size: upstream gradient times derivative, summed."""

# Ref: Esser et al., "Learned Step Size Quantization", ICLR 2020, arXiv 1902.08153v3, section 2.1
# Ref: US11823054B2

from functools import partial

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from nibblegrad.hdl.array.adder_tree import AdderTree, tree_depth
from nibblegrad.hdl.array.structures import PLAIN
from nibblegrad.hdl.base.parameters import check_integer
from nibblegrad.hdl.base.pipeline import Flow
from nibblegrad.hdl.base.stream import beat_signature

__all__ = ["TOTAL_BITS", "ProductSum", "StepGradient", "derivative_layout"]

TOTAL_BITS = 64


def derivative_layout(residual_bits, bits=4):
    """Lay out what the derivative by the step is made of.

    ``value`` is the residual where ``in_range``, and elsewhere the code as a signed number, be it
    of an unsigned format or not.
    """
    return data.StructLayout({"value": signed(max(bits, residual_bits) + 1), "in_range": 1})


class ProductSum(wiring.Component):
    """Sum over lanes of numbers times derivatives, without stalls.

    The derivative is ``value`` where in range, and ``value << residual_bits`` elsewhere.

    The latency is the attribute ``latency``, 5 cycles and one per level of the tree of adders; the
    throughput is one sum per cycle.

    Parameters
    ----------
    lanes : int
        Count of products.
    accumulator_bits : int
        Width of a number.
    bits : int
        Width of a code.
    residual_bits : int
        Fraction bits of a residual.
    multiplier_bits : int
        Width of the signed numbers that one multiplier takes.

    Members
    -------
    numbers : ``In(ArrayLayout(signed(accumulator_bits), lanes))``
        Upstream gradients.
    derivatives : ``In(ArrayLayout(derivative_layout(residual_bits, bits), lanes))``
        Derivatives of the same elements.
    total : ``Out(...)``
        Sum, signed and as wide as it must be.
    """

    def __init__(
        self,
        lanes,
        accumulator_bits,
        bits,
        residual_bits,
        multiplier_bits=PLAIN.multiplier_bits,
    ):
        self._lanes = lanes
        self._accumulator_bits = accumulator_bits
        self._residual_bits = residual_bits
        self._multiplier_bits = multiplier_bits
        self._derivative_bits = bits + 1 + residual_bits
        self._product_bits = accumulator_bits + self._derivative_bits
        self.latency = 5 + tree_depth(lanes)
        self._layout = layout = derivative_layout(residual_bits, bits)
        super().__init__(
            {
                "numbers": In(data.ArrayLayout(signed(accumulator_bits), lanes)),
                "derivatives": In(data.ArrayLayout(layout, lanes)),
                "total": Out(signed(self._product_bits + tree_depth(lanes))),
            }
        )

    def elaborate(self, platform):
        m = Module()
        flow = Flow(m)
        m.submodules.tree = tree = AdderTree(self._lanes, self._product_bits)
        for lane in range(self._lanes):
            product = self._multiply(flow, lane)
            (term,) = flow.close(self.latency - tree.latency, product=product)
            m.d.comb += tree.terms[lane].eq(term)
        m.d.comb += self.total.eq(tree.total)
        return m

    def _multiply(self, flow, lane):
        """Choose the derivative, multiply parts between registers of their own, and add them."""
        prefix = f"lane_{lane}"
        names = f"{prefix}_number {prefix}_derivative"
        number, derivative = flow.stage(
            names,
            lambda number, given: (number, self._weigh(given)),
            flow.input("number", self.numbers[lane]),
            flow.input("given", self.derivatives[lane].as_value()),
        )
        number, derivative = flow.keep(f"{prefix}_factor {prefix}_weight", number, derivative)
        # The lower part has no sign.
        bits = self._multiplier_bits
        cut = bits - 1 if self._accumulator_bits > bits else 0
        parts = []
        for shift in sorted({0, cut}):
            end = cut if shift < cut else self._accumulator_bits
            product = flow.stage(
                f"{prefix}_part_{shift}", partial(self._part, shift, end), number, derivative
            )
            parts.append(flow.keep(f"{prefix}_kept_{shift}", product))
        return flow.stage(
            f"{prefix}_product",
            lambda low, *high: (low + sum(part << cut for part in high))[
                : self._product_bits
            ].as_signed(),
            *parts,
        )

    def _weigh(self, given):
        """Make a number of a derivative as it is laid out."""
        given = self._layout(given)
        weight = Mux(given.in_range, given.value, given.value << self._residual_bits)
        return weight[: self._derivative_bits].as_signed()

    def _part(self, start, end, number, derivative):
        """Multiply some bits of the number, with its sign if they are the highest ones."""
        part = number[start:end]
        if end == len(number):
            part = part.as_signed()
        return (part * derivative)[: len(part) + self._derivative_bits].as_signed()


class StepGradient(wiring.Component):
    """Sum a stream of upstream gradients times derivatives by the step.

    Each beat on ``i`` brings accumulators of the GEMM that made the gradient of a quantised
    operand, and what its quantiser gave for the same elements. A tensor whose size is no multiple
    of the lanes is padded with zeros. The sum is exact, and its order does not matter; beyond 64
    bits it wraps.

    The golden model is :func:`nibblegrad.golden.cores.step_gradient.step_gradient`.

    The latency, from an accepted beat to ``total``, is 6 cycles and ceil(log2(lanes)) more; see the
    attribute ``latency``. The throughput is one beat per cycle.

    Parameters
    ----------
    lanes : int
        Count of numbers in a beat, 1 to 64.
    accumulator_bits : int
        Width of an upstream gradient, 8 to 32.
    bits : int
        Width of a code, 2 to 8.
    residual_bits : int
        Fraction bits of the residual, 1 to ``16 - bits``.

    Members
    -------
    i : ``In(beat_signature(...))``
        Upstream gradients, ``signed(accumulator_bits)``; in the sideband what
        :func:`derivative_layout` says. Always ready.
    total : ``Out(signed(64))``
        Sum since reset or the last clear, in units of the GEMM's scale times
        ``2**-residual_bits``.
    complete : ``Out(1)``
        Sticky: ``total`` holds a beat that had ``last``, the end of a tensor.
    clear : ``In(1)``
        Sets ``total`` to zero and ``complete`` to 0. Beats that are inside are still added.

    Raises
    ------
    TypeError, ValueError
        If a parameter is not what it must be.
    """

    def __init__(self, lanes=4, accumulator_bits=32, bits=4, residual_bits=8):
        check_integer("Lane count", lanes, 1, 64)
        check_integer("Accumulator width", accumulator_bits, 8, 32)
        check_integer("Code width", bits, 2, 8)
        check_integer("Residual width", residual_bits, 1, 16 - bits)
        self._lanes = lanes
        self._parameters = (lanes, accumulator_bits, bits, residual_bits)
        self.latency = 6 + tree_depth(lanes)
        layout = derivative_layout(residual_bits, bits)
        super().__init__(
            {
                "i": In(
                    beat_signature(
                        data.ArrayLayout(signed(accumulator_bits), lanes),
                        data.ArrayLayout(layout, lanes),
                    )
                ),
                "total": Out(signed(TOTAL_BITS)),
                "complete": Out(1),
                "clear": In(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.products = products = ProductSum(*self._parameters)
        m.d.comb += [
            self.i.ready.eq(1),
            products.numbers.eq(self.i.p.data),
            products.derivatives.eq(self.i.p.user),
        ]
        flow = Flow(m)
        valid = flow.at(flow.input("valid", self.i.valid, reset=True), products.latency)
        last = flow.at(flow.input("last", self.i.p.last), products.latency)
        m.d.sync += [
            self.total.eq(Mux(self.clear, 0, self.total) + Mux(valid, products.total, 0)),
            self.complete.eq((self.complete & ~self.clear) | (valid & last)),
        ]
        return m
