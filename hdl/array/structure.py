"""What the array asks of a structure: the same sums to the bit, made of different cells."""

from nibblegrad.hdl.array.accumulator import GatedAccumulator

__all__ = ["CarryTables", "Structure"]


class CarryTables:
    """What carry cells compute in front of their addition, where there are tables before them.

    Without them an addition needs a level of logic of its own for each of these. A structure whose
    family has such cells derives from this, and makes all of them.
    """

    def pair_adder(self, width):
        """Make the adder of two lanes, which does the last stage of a shift for one of them.

        Parameters
        ----------
        width : int
            Width of the operands.

        Returns
        -------
        wiring.Component
            ``a``, ``high``, ``low`` : ``In(signed(width))``, ``select``, ``carry`` : ``In(1)``,
            ``total`` : ``Out(signed(width + 1))``, which is
            ``a + (high if select else low) + carry``. Combinational.
        """
        raise NotImplementedError

    def joined_sum(self, m, name, pairs, ones):
        """Build ``(a | b) + (c | d)`` and a one in one addition.

        Parameters
        ----------
        m : Module
            Where the cells go.
        name : str
            Prefix of the cells.
        pairs : ((Value, Value), (Value, Value))
            Signed numbers a and b, c and d, of which one of each pair is 0.
        ones : (Value, Value)
            Two bits, of which one is 0: the one to be added.

        Returns
        -------
        Value
            The sum, signed, a bit wider than the widest number.
        """
        raise NotImplementedError

    def partial_product(self, m, name, number, low, high, is_top):
        """Build ``number * low + 2 * number * high`` in one addition.

        Parameters
        ----------
        m : Module
            Where the cells go.
        name : str
            Prefix of the cells.
        number : Value
            A signed number.
        low, high : Value
            Two bits.
        is_top : bool
            Whether ``high`` counts -2, as a sign does.

        Returns
        -------
        Value
            The product, two bits wider than the number.
        """
        raise NotImplementedError


class Structure:
    """How lanes, adder trees, accumulators and memories of the array are built.

    All structures compute the same; they differ in cells, clock frequency, latency and in how fast
    they are simulated. ``docs/lanes.md`` says which is for what. Each is a module of
    :mod:`nibblegrad.hdl.array.structures`, whose ``STRUCTURE`` is an object of a class derived from
    this.

    Attributes
    ----------
    name : str
        What a configuration calls it.
    family : str
        The family of FPGAs of whose cells it is made; empty if it suits any.
    staged : bool
        Whether a shift is cut into stages, each bit of which is a function of four.
    registered : bool
        Whether there are registers within a lane: behind each stage, or behind the product.
    levels_per_stage : int
        How many levels of an adder tree lie between registers.
    carry : CarryTables or None
        What its carry cells compute in front of an addition; None where that is nothing.
    bank_words, deepest_bank : int
        Words of a bank of a deep memory, a power of two; and of the deepest memory that needs no
        banks. The usual ones are those of block RAMs of 16 Kbit, 8 bits and 1 bit wide.
    multiplier_bits : int
        Width of the signed numbers that one multiplier takes, 18 or more.
    """

    name: str
    family = ""
    staged = True
    registered = True
    levels_per_stage = 1
    carry: CarryTables | None = None
    bank_words = 2048
    deepest_bank = 16384
    multiplier_bits = 18

    def __repr__(self):
        return f"<structure {self.name}>"

    def accumulator(self, term_bits, bits, ends_late=False):
        """Make the accumulator behind an adder tree.

        Parameters
        ----------
        term_bits, bits : int
            Width of a term and of the sum, which wraps.
        ends_late : bool
            Whether a sum may end without a term.

        Returns
        -------
        nibblegrad.hdl.array.accumulator.Accumulator
        """
        return GatedAccumulator(term_bits, bits, ends_late)

    def bank_depths(self, words):
        """List the depths of the banks of a memory of so many words.

        Block RAMs that are narrow enough to be as deep need nothing behind them, but come in powers
        of two only. Others are chosen from, by logic that must find its place behind their
        registers.
        """
        bank = self.bank_words
        if words <= bank or (words <= self.deepest_bank and words & (words - 1) == 0):
            return [words]
        return [min(bank, words - first) for first in range(0, words, bank)]
