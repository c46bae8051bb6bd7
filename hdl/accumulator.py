"""Sums over time, without a multiplexer in the loop."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .adder_tree import add_with_carry

__all__ = ["Accumulator"]


class Accumulator(wiring.Component):
    """Add up terms, from a first one to a last one.

    The loop is one adder. The flags come a cycle before the term, so that the register of the sum
    is cleared, by its reset input, before a first term; what a last term completes goes to a
    register of its own. The latency is 2 cycles from the flags to ``done``, 1 from the term, and
    the throughput one term per cycle.

    Parameters
    ----------
    term_bits : int
        Width of a term.
    bits : int
        Width of the sum, which wraps around.

    Members
    -------
    valid, first, last : ``In(1)``
        Whether there is a term in the next cycle, and whether a sum starts and ends with it.
    term : ``In(signed(term_bits))``
        Term.
    carry : ``In(1)``
        One to be added to the term.
    done : ``Out(1)``
        Whether a sum is complete.
    total : ``Out(signed(bits))``
        Sum, while ``done``.
    """

    latency = 2

    def __init__(self, term_bits, bits):
        super().__init__(
            {
                "valid": In(1),
                "first": In(1),
                "last": In(1),
                "term": In(signed(term_bits)),
                "carry": In(1),
                "done": Out(1),
                "total": Out(signed(bits)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        bits = len(self.total)
        valid, last = Signal(), Signal()
        so_far = Signal(signed(bits), reset_less=True)
        total = add_with_carry(so_far, self.term, self.carry)[:bits]
        m.d.sync += [
            valid.eq(self.valid),
            last.eq(self.valid & self.last),
            self.total.eq(total),
            self.done.eq(last),
        ]
        with m.If(self.valid & self.first):
            m.d.sync += so_far.eq(0)
        with m.Elif(valid):
            m.d.sync += so_far.eq(total)
        return m
