"""One dot product without a multiplier: lanes, adder tree and accumulator."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from nibblegrad.hdl.array.adder_tree import AdderTree, tree_depth
from nibblegrad.hdl.array.lanes import lanes_of
from nibblegrad.hdl.base.pipeline import register

__all__ = ["DotProduct", "sum_latency"]


def sum_latency(structure, lanes, fmt, digits=True):
    """Count the cycles from the operands of a pass to the cycle in which their sum is added."""
    in_lane = lanes_of(fmt).latency(structure, digits)
    return in_lane + tree_depth(lanes, structure.levels_per_stage)


class DotProduct(wiring.Component):
    """Add up products of integers and shift operands; nothing ever stalls.

    The latency, from the operands of a pass to the sum, is ``latency`` cycles. The throughput is
    one pass of ``lanes`` products per cycle.

    Parameters
    ----------
    structure : Structure
        What it is built of.
    fmt : GradientFormat
        Format of shift operands that are no digits.
    lanes : int
        Count of products in a pass.
    integer_bits : int
        Width of the signed integer operand.
    accumulator_bits : int
        Width of the sum.
    digits : bool
        Whether the shift operands may be digits of INT4.
    ends_late : bool
        Whether a sum may end without a pass; see
        :class:`nibblegrad.hdl.array.accumulator.Accumulator`.

    Members
    -------
    integers : ``In(signed(integer_bits)).array(lanes)``
        Integer operands.
    controls : ``In(lanes_of(fmt).stage_control(structure, digits)).array(lanes)``
        Shift operands, each part in time.
    valid, first, last : ``In(1)``
        ``latency - 1`` cycles after the operands: whether there is a pass, and whether it is the
        first or last one of a sum. The first one comes behind a last one, or a reset.
    total : ``Out(signed(accumulator_bits))``
        Sum.
    """

    def __init__(
        self,
        structure,
        fmt,
        lanes,
        integer_bits,
        accumulator_bits,
        digits=True,
        ends_late=False,
    ):
        self._structure = structure
        self._ends_late = ends_late
        self._family = lanes_of(fmt)
        self._lanes = lanes
        self._integer_bits = integer_bits
        self._accumulator_bits = accumulator_bits
        self._digits = digits
        self.latency = sum_latency(structure, lanes, fmt, digits) + 1
        control = self._family.stage_control(structure, digits)
        super().__init__(
            {
                "integers": In(signed(integer_bits)).array(lanes),
                "controls": In(control).array(lanes),
                "valid": In(1),
                "first": In(1),
                "last": In(1),
                "total": Out(signed(accumulator_bits)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        terms, pending = self._products(m)
        width = max(len(term) for term in terms)
        m.submodules.tree = tree = AdderTree(len(terms), width, self._structure.levels_per_stage)
        m.submodules.accumulator = accumulator = self._structure.accumulator(
            len(tree.total), self._accumulator_bits, self._ends_late
        )
        m.d.comb += [
            *(mine.eq(term) for mine, term in zip(tree.terms, terms, strict=True)),
            tree.pending.eq(Cat(pending)),
            accumulator.term.eq(tree.total),
            accumulator.carry.eq(tree.carry),
            accumulator.valid.eq(self.valid),
            accumulator.first.eq(self.first),
            accumulator.last.eq(self.last),
            self.total.eq(accumulator.total),
        ]
        return m

    def _products(self, m):
        """Multiply; returns terms, and as many pending ones. In pairs where that is cheaper."""
        carry = self._structure.carry
        terms, pending = [], []
        for lane in range(self._lanes):
            folded = carry is not None and lane % 2 == 1
            m.submodules[f"lane_{lane}"] = unit = self._family.lane(
                self._structure, self._integer_bits, self._digits, folded
            )
            control = self.controls[lane]
            m.d.comb += [unit.operand.eq(self.integers[lane]), unit.control.eq(control)]
            if folded:
                m.submodules[f"pair_{lane // 2}"] = adder = carry.pair_adder(len(unit.product))
                m.d.comb += [
                    adder.a.eq(terms.pop()),
                    adder.high.eq(unit.shifted),
                    adder.low.eq(unit.product),
                    adder.select.eq(control.fold),
                    adder.carry.eq(pending.pop()),
                ]
                terms.append(register(m, f"sum_{lane // 2}", adder.total))
                pending.append(register(m, f"pending_{lane // 2}", control.pending))
            else:
                terms.append(unit.product)
                pending.append(control.pending)
        if carry is not None and self._lanes % 2 and self._lanes > 1:
            # The last lane has no partner, but comes in time with the sums of the others.
            terms[-1] = register(m, "alone", terms[-1])
            pending[-1] = register(m, "alone_pending", pending[-1])
        return terms, pending
