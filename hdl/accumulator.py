"""The accumulator behind an adder tree."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .adder_tree import add_with_carry
from .carry_adders import GatedAdder
from .structure import Structure

__all__ = ["Accumulator"]


class Accumulator(wiring.Component):
    """Add up terms; a sum follows another without a gap.

    The latency is 1 cycle and the throughput one term per cycle.

    Parameters
    ----------
    structure : Structure
        How a new sum begins: a gate in front of the adder, in its carry cells for ECP5; or, where
        a level of gates would make the longest path, a second register that is cleared.
    term_bits, bits : int
        Width of a term and of the sum, which wraps.
    ends_late : bool
        Whether a sum may end without a term; otherwise ``last`` says nothing without ``valid``.

    Members
    -------
    term : ``In(signed(term_bits))``, carry : ``In(1)``
        Term, and a one to be added.
    valid, first, last : ``In(1)``
        Whether there is a term, and whether it begins or ends a sum. A first one comes behind a
        last one, or a reset.
    total : ``Out(signed(bits))``
        Sum.
    """

    latency = 1

    def __init__(self, structure, term_bits, bits, ends_late=False):
        self._structure = structure
        self._ends_late = ends_late
        super().__init__(
            {
                "term": In(signed(term_bits)),
                "carry": In(1),
                "valid": In(1),
                "first": In(1),
                "last": In(1),
                "total": Out(signed(bits)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        total = Signal.like(self.total, name="sum", reset_less=True)
        m.d.comb += self.total.eq(total)
        following = Signal.like(total, name="following")
        if self._structure is Structure.ECP5:
            m.submodules.adder = adder = GatedAdder(len(self.term), len(total))
            m.d.comb += [
                adder.a.eq(self.term),
                adder.b.eq(total),
                adder.drop.eq(self.first),
                adder.carry.eq(self.carry),
                following.eq(adder.total),
            ]
        else:
            if self._structure is Structure.PIPELINED:
                before = Signal.like(total, name="running", reset_less=False)
                with m.If(self.valid):
                    m.d.sync += before.eq(Mux(self.last, 0, following))
                if self._ends_late:
                    with m.If(self.last):
                        m.d.sync += before.eq(0)
            else:
                before = Mux(self.first, 0, total)
            m.d.comb += following.eq(add_with_carry(before, self.term, self.carry))
        with m.If(self.valid):
            m.d.sync += total.eq(following)
        return m
