"""For ECP5: as for other FPGAs, with what fits in front of its carry cells for nothing.

The carry cells take over one stage of every second lane, and the clearing of the accumulators.
"""

# A CCU2C is two four-input tables in front of a carry chain: what a table says is propagated, and
# its lowest quarter (inputs A and B) is generated where nothing is.

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from nibblegrad.hdl.array.accumulator import Accumulator
from nibblegrad.hdl.array.structure import CarryTables, Structure

__all__ = ["STRUCTURE", "CarryAccumulator", "GatedAdder", "SelectingAdder", "carry_chain"]


def carry_chain(m, name, table, bits):
    """Build a chain of carry cells. Returns a bit of the sum for each bit.

    Parameters
    ----------
    m : Module
        Where the cells go.
    name : str
        Prefix of the cells.
    table : int
        The table of each bit: bit ``8 * d + 4 * c + 2 * b + a`` says whether a carry is propagated;
        where not, bit ``2 * b + a`` is the carry.
    bits : sequence of (Value, Value, Value, Value)
        Inputs a, b, c and d, from the lowest bit.

    Returns
    -------
    Value
        The sum, as wide as there are bits.
    """
    total = Signal(len(bits) + len(bits) % 2, name=f"{name}_total")
    padded = [*bits, (Const(0, 1),) * 4] if len(bits) % 2 else list(bits)
    carry = Const(0, 1)
    for k in range(0, len(padded), 2):
        following = Signal(name=f"{name}_carry_{k}")
        ports = {
            f"i_{port}{half}": value
            for half in range(2)
            for port, value in zip("ABCD", padded[k + half], strict=True)
        }
        m.submodules[f"{name}_cell_{k // 2}"] = Instance(
            "CCU2C",
            p_INIT0=Const(table, 16),
            p_INIT1=Const(table, 16),
            p_INJECT1_0="NO",
            p_INJECT1_1="NO",
            i_CIN=carry,
            **ports,
            o_S0=total[k],
            o_S1=total[k + 1],
            o_COUT=following,
        )
        carry = following
    return total[: len(bits)]


class SelectingAdder(wiring.Component):
    """Compute ``a + (high if select else low) + carry``. Combinational: the latency is 0 cycles.

    The choice is made by the tables of the carry cells, in front of the addition.

    Parameters
    ----------
    width : int
        Width of the operands.

    Members
    -------
    a, high, low : ``In(signed(width))``
        Operands.
    select, carry : ``In(1)``
        Which operand; a one to be added.
    total : ``Out(signed(width + 1))``
        Sum.
    """

    latency = 0

    #: a ^ (d ? b : c), generating a.
    TABLE = 0x665A

    def __init__(self, width):
        self._width = width
        operand = In(signed(width))
        super().__init__(
            {
                "a": operand,
                "high": operand,
                "low": operand,
                "select": In(1),
                "carry": In(1),
                "total": Out(signed(width + 1)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        one = Const(1, 1)
        # Below the lowest bit, the carry is added to itself.
        bits = [(self.carry, self.carry, self.carry, one)]
        for k in range(self._width + 1):
            j = min(k, self._width - 1)
            bits.append((self.a[j], self.high[j], self.low[j], self.select))
        m.d.comb += self.total.eq(carry_chain(m, "chain", self.TABLE, bits)[1:].as_signed())
        return m


class GatedAdder(wiring.Component):
    """Compute ``a + (0 if drop else b) + carry``. Combinational: the latency is 0 cycles.

    Parameters
    ----------
    a_width, width : int
        Width of ``a``, and of ``b`` and the sum, which wraps.

    Members
    -------
    a : ``In(signed(a_width))``, b : ``In(signed(width))``
        Operands.
    drop, carry : ``In(1)``
        Whether ``b`` is left out; a one to be added.
    total : ``Out(signed(width))``
        Sum.
    """

    latency = 0

    #: a ^ (b & ~c) where d, generating a.
    TABLE = 0xA6AA

    def __init__(self, a_width, width):
        self._a_width = a_width
        self._width = width
        super().__init__(
            {
                "a": In(signed(a_width)),
                "b": In(signed(width)),
                "drop": In(1),
                "carry": In(1),
                "total": Out(signed(width)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        one = Const(1, 1)
        bits = [(self.carry, self.carry, Const(0, 1), one)]
        for k in range(self._width):
            bits.append((self.a[min(k, self._a_width - 1)], self.b[k], self.drop, one))
        m.d.comb += self.total.eq(carry_chain(m, "chain", self.TABLE, bits)[1:].as_signed())
        return m


class CarryAccumulator(Accumulator):
    """An accumulator whose gate is in the carry cells of its adder.

    The latency is 1 cycle and the throughput one term per cycle.

    Parameters
    ----------
    term_bits, bits, ends_late :
        As of :class:`nibblegrad.hdl.array.accumulator.Accumulator`.

    Members
    -------
    term, carry, valid, first, last, total :
        As of :class:`nibblegrad.hdl.array.accumulator.Accumulator`.
    """

    def add(self, m, total, following):
        """Build the adder."""
        m.submodules.adder = adder = GatedAdder(len(self.term), len(total))
        m.d.comb += [
            adder.a.eq(self.term),
            adder.b.eq(total),
            adder.drop.eq(self.first),
            adder.carry.eq(self.carry),
        ]
        return adder.total


class _Carry(CarryTables):
    """What a CCU2C computes in front of its addition."""

    #: (a | b) ^ (c | d), generating a | b.
    JOINING = 0x111E
    #: (a & b) ^ (c & d), generating a & b: two products of bits, added.
    PAIR = 0x7888
    #: (a & b) ^ (~c & d), generating a & b: the second one with c inverted.
    TOP_PAIR = 0x8788

    def pair_adder(self, width):
        return SelectingAdder(width)

    def joined_sum(self, m, name, pairs, ones):
        values = [value for pair in pairs for value in pair]
        bits = [(*ones, *ones)]
        for k in range(max(len(value) for value in values) + 1):
            bits.append(tuple(value[min(k, len(value) - 1)] for value in values))
        return carry_chain(m, name, self.JOINING, bits)[1:].as_signed()

    def partial_product(self, m, name, number, low, high, is_top):
        n = len(number)
        zero, one = Const(0, 1), Const(1, 1)

        def bit(k):
            return number[min(k, n - 1)], low, number[min(k - 1, n - 1)], high

        rest = [bit(k) for k in range(1, n + 2)]
        if is_top:
            # -2a is twice the inverse, and a one: which is carried into bit 1.
            total = carry_chain(m, name, self.TOP_PAIR, [(high, high, zero, high), *rest])
            return Cat(number[0] & low, total[1:]).as_signed()
        return carry_chain(m, name, self.PAIR, [(number[0], low, zero, one), *rest]).as_signed()


class _Ecp5(Structure):
    name = "ecp5"
    family = "ecp5"
    carry = _Carry()

    def accumulator(self, term_bits, bits, ends_late=False):
        return CarryAccumulator(term_bits, bits, ends_late)


STRUCTURE = _Ecp5()
