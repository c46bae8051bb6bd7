"""The accumulators behind an adder tree, by how a new sum begins."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from nibblegrad.hdl.array.adder_tree import add_with_carry

__all__ = ["Accumulator", "ClearedAccumulator", "GatedAccumulator"]


class Accumulator(wiring.Component):
    """Add up terms; a sum follows another without a gap.

    The latency is 1 cycle and the throughput one term per cycle. Derived classes say how a term is
    added, and with it how a new sum begins.

    Parameters
    ----------
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

    def __init__(self, term_bits, bits, ends_late=False):
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
        m.d.comb += following.eq(self.add(m, total, following))
        with m.If(self.valid):
            m.d.sync += total.eq(following)
        return m

    def add(self, m, total, following):
        """Build the addition of a term.

        Parameters
        ----------
        m : Module
            Where the logic goes.
        total : Signal
            The register of the sum.
        following : Signal
            What it will hold: what is returned.

        Returns
        -------
        Value
            The sum with the term, ``carry`` included; the term alone if it is the first.
        """
        raise NotImplementedError


class GatedAccumulator(Accumulator):
    """An accumulator with a gate in front of the adder, which keeps the sum before from it.

    The latency is 1 cycle and the throughput one term per cycle.

    Parameters
    ----------
    term_bits, bits, ends_late :
        As of :class:`Accumulator`.

    Members
    -------
    term, carry, valid, first, last, total :
        As of :class:`Accumulator`.
    """

    def add(self, m, total, following):
        """Build a gate and an adder."""
        return add_with_carry(Mux(self.first, 0, total), self.term, self.carry)


class ClearedAccumulator(Accumulator):
    """An accumulator with a second register, which is cleared where a sum ends.

    For FPGAs, where a level of gates would make the longest path.

    The latency is 1 cycle and the throughput one term per cycle.

    Parameters
    ----------
    term_bits, bits, ends_late :
        As of :class:`Accumulator`.

    Members
    -------
    term, carry, valid, first, last, total :
        As of :class:`Accumulator`.
    """

    def add(self, m, total, following):
        """Build the register and an adder."""
        running = Signal.like(total, name="running", reset_less=False)
        with m.If(self.valid):
            m.d.sync += running.eq(Mux(self.last, 0, following))
        if self._ends_late:
            with m.If(self.last):
                m.d.sync += running.eq(0)
        return add_with_carry(running, self.term, self.carry)
