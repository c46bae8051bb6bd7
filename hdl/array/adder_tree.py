"""Adder tree that finishes two's complement negations with its carry inputs."""

# A negative product arrives with its bits inverted and one still to be added. A tree of N terms
# and the accumulator behind it are N adders, each with a carry input: room for N ones.

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["AdderTree", "add_with_carry", "tree_depth"]


def tree_depth(terms, levels_per_stage=1):
    """Count the register stages of a tree."""
    return -(-(terms - 1).bit_length() // levels_per_stage)


def add_with_carry(a, b, carry):
    """Add two signed numbers and a carry in one adder.

    The carry enters through an extra bit below both numbers, where synthesis finds the carry
    input of the chain.
    """
    total = Cat(carry, a).as_signed() + Cat(carry, b).as_signed()
    return total[1:].as_signed()


class AdderTree(wiring.Component):
    """Sum of signed terms and of their pending ones, with register stages between its levels.

    The latency is :func:`tree_depth` cycles and the throughput one sum per cycle; nothing stalls.

    Parameters
    ----------
    terms : int
        Count of terms, 1 or more.
    width : int
        Width of a term.
    levels_per_stage : int
        How many levels come before a register; the last level always ends in one.

    Members
    -------
    terms : ``In(ArrayLayout(signed(width), terms))``
        Terms.
    pending : ``In(terms)``
        For each term, a one still to be added.
    total : ``Out(signed(width + levels))``
        Sum of the terms and of all but one of the ones; ``levels`` is ceil(log2(terms)).
    carry : ``Out(1)``
        The remaining one, for the accumulator's adder.
    """

    def __init__(self, terms, width, levels_per_stage=1):
        self._terms = terms
        self._width = width
        self._levels_per_stage = levels_per_stage
        self.latency = tree_depth(terms, levels_per_stage)
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
        level, levels = 0, tree_depth(self._terms)
        while len(values) > 1:
            level += 1
            ends_stage = (levels - level) % self._levels_per_stage == 0
            domain = m.d.sync if ends_stage else m.d.comb
            width = self._width + level
            sums = []
            waiting = list(pending)
            for k in range(0, len(values) - 1, 2):
                total = Signal(signed(width), name=f"level_{level}_sum_{k // 2}", reset_less=True)
                domain += total.eq(add_with_carry(values[k], values[k + 1], waiting.pop()))
                sums.append(total)
            if len(values) % 2:
                odd = Signal(signed(width), name=f"level_{level}_odd", reset_less=True)
                domain += odd.eq(values[-1])
                sums.append(odd)
            pending = []
            for k, one in enumerate(waiting):
                kept = Signal(name=f"level_{level}_pending_{k}", reset_less=True)
                domain += kept.eq(one)
                pending.append(kept)
            values = sums
        m.d.comb += [self.total.eq(values[0]), self.carry.eq(pending[0])]
        return m
