"""Adder tree that finishes two's complement negations with its carry inputs."""

# A negative product arrives with its bits inverted and one still to be added. A tree of N terms
# and the accumulator behind it are N adders, each with a carry input: room for N ones.

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["AdderTree", "add_with_carry", "tree_depth"]


def tree_depth(terms):
    """Count the register stages of a tree."""
    return (terms - 1).bit_length()


def add_with_carry(a, b, carry):
    """Add two signed numbers and a carry in one adder.

    The carry enters through an extra bit below both numbers, where synthesis finds the carry
    input of the chain.
    """
    total = Cat(carry, a).as_signed() + Cat(carry, b).as_signed()
    return total[1:].as_signed()


class AdderTree(wiring.Component):
    """Sum of signed terms and of their pending ones, a register stage per level of the tree.

    The latency is :func:`tree_depth` cycles and the throughput one sum per cycle; nothing stalls.

    Parameters
    ----------
    terms : int
        Count of terms, 1 or more.
    width : int
        Width of a term.

    Members
    -------
    terms : ``In(ArrayLayout(signed(width), terms))``
        Terms.
    pending : ``In(terms)``
        For each term, a one still to be added.
    total : ``Out(signed(width + tree_depth(terms)))``
        Sum of the terms and of all but one of the ones.
    carry : ``Out(1)``
        The remaining one, for the accumulator's adder.
    """

    def __init__(self, terms, width):
        self._terms = terms
        self._width = width
        self.latency = tree_depth(terms)
        super().__init__(
            {
                "terms": In(data.ArrayLayout(signed(width), terms)),
                "pending": In(terms),
                "total": Out(signed(width + tree_depth(terms))),
                "carry": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        values = [self.terms[k] for k in range(self._terms)]
        pending = [self.pending[k] for k in range(self._terms)]
        level = 0
        while len(values) > 1:
            level += 1
            width = self._width + level
            sums = []
            waiting = list(pending)
            for k in range(0, len(values) - 1, 2):
                total = Signal(signed(width), name=f"level_{level}_sum_{k // 2}", reset_less=True)
                m.d.sync += total.eq(add_with_carry(values[k], values[k + 1], waiting.pop()))
                sums.append(total)
            if len(values) % 2:
                odd = Signal(signed(width), name=f"level_{level}_odd", reset_less=True)
                m.d.sync += odd.eq(values[-1])
                sums.append(odd)
            pending = []
            for k, one in enumerate(waiting):
                register = Signal(name=f"level_{level}_pending_{k}", reset_less=True)
                m.d.sync += register.eq(one)
                pending.append(register)
            values = sums
        m.d.comb += [self.total.eq(values[0]), self.carry.eq(pending[0])]
        return m
