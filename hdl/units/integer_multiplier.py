"""Integer multipliers for the lanes of the price list: three structures of the same product."""

import enum

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from nibblegrad.hdl.array.adder_tree import add_with_carry

__all__ = ["IntegerMultiplier", "Multiplication"]


class Multiplication(enum.Enum):
    """Structure of a multiplier."""

    #: What synthesis makes of ``*``.
    OPERATOR = "operator"
    #: Signed digits in radix 4 (Booth): a row per digit, chosen by tables of four inputs.
    DIGITS = "digits"
    #: Carry cells with tables before them, each of which adds the products of two pairs of bits.
    CARRY = "carry"


class IntegerMultiplier(wiring.Component):
    """Multiply two signed integers; nothing stalls.

    The latency is ``latency`` cycles: for OPERATOR 1, or 0 in a structure without registers in
    lanes; for DIGITS and CARRY the rows, and a stage per level of their sum.

    Parameters
    ----------
    multiplication : Multiplication
        What it is built of.
    structure : Structure
        Structure of the unit around; one with carry tables for CARRY.
    a_bits, b_bits : int
        Widths of the operands; ``b_bits`` is 4 or 8 but for OPERATOR.

    Members
    -------
    a, b : ``In(signed(...))``
        Operands.
    product : ``Out(signed(a_bits + b_bits))``
        Product, but for ``pending``.
    pending : ``Out(1)``
        A one still to be added to it.
    """

    def __init__(self, multiplication, structure, a_bits, b_bits):
        self._multiplication = multiplication
        self._structure = structure
        self._a_bits = a_bits
        self._b_bits = b_bits
        if multiplication is Multiplication.OPERATOR:
            self.latency = 1 if structure.registered else 0
        else:
            rows = b_bits // 2
            recoding = 1 if multiplication is Multiplication.DIGITS else 0
            self.latency = recoding + 1 + (rows - 1).bit_length()
        super().__init__(
            {
                "a": In(signed(a_bits)),
                "b": In(signed(b_bits)),
                "product": Out(signed(a_bits + b_bits)),
                "pending": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        if self._multiplication is Multiplication.OPERATOR:
            domain = m.d.sync if self._structure.registered else m.d.comb
            product = Signal.like(self.product, name="product_register", reset_less=True)
            domain += product.eq(self.a * self.b)
            m.d.comb += self.product.eq(product)
        else:
            make = (
                self._digit_rows
                if self._multiplication is Multiplication.DIGITS
                else (self._carry_rows)
            )
            self._sum_rows(m, *make(m))
        return m

    def _sum_rows(self, m, rows, pending):
        """Add rows of falling weight by pairs, a stage per level; ``pending`` has their units."""
        distance = 2
        level = 0
        while len(rows) > 1:
            sums, ones = [], []
            for k in range(0, len(rows), 2):
                low, high = rows[k], rows[k + 1]
                name = f"level_{level}_{k // 2}"
                # The lowest bits meet nothing but, in weight, the one of the lower row: it waits.
                passed = Signal(distance, name=f"{name}_low", reset_less=True)
                width = len(high) + 1 if level == 0 else len(high)
                total = Signal(signed(width), name=f"{name}_high", reset_less=True)
                one = Signal(name=f"{name}_pending", reset_less=True)
                m.d.sync += [
                    passed.eq(low[:distance]),
                    total.eq(add_with_carry(low[distance:].as_signed(), high, pending[k + 1])),
                    one.eq(pending[k]),
                ]
                sums.append(Cat(passed, total).as_signed())
                ones.append(one)
            rows, pending = sums, ones
            distance *= 2
            level += 1
        m.d.comb += [self.product.eq(rows[0]), self.pending.eq(pending[0])]

    def _digit_rows(self, m):
        """Choose 0, a, 2a or their inverses by each digit of b: recode, then choose."""
        a = Signal.like(self.a, name="a_later", reset_less=True)
        m.d.sync += a.eq(self.a)
        wide = Cat(a, a[-1])
        twice = Cat(Const(0, 1), a)
        rows, pending = [], []
        for k in range(self._b_bits // 2):
            high, low = self.b[2 * k + 1], self.b[2 * k]
            below = self.b[2 * k - 1] if k else Const(0, 1)
            negate, two, some = (
                Signal(name=f"digit_{k}_{x}", reset_less=True) for x in ("negate", "two", "some")
            )
            row = Signal(signed(self._a_bits + 1), name=f"row_{k}", reset_less=True)
            one = Signal(name=f"row_{k}_pending", reset_less=True)
            m.d.sync += [
                negate.eq(high & ~(low & below)),
                two.eq(~(low ^ below)),
                some.eq((low ^ below) | (high ^ below)),
                row.eq(
                    (
                        (Mux(two, twice, wide) & some.replicate(len(wide)))
                        ^ negate.replicate(len(wide))
                    ).as_signed()
                ),
                one.eq(negate),
            ]
            rows.append(row)
            pending.append(one)
        return rows, pending

    def _carry_rows(self, m):
        """Multiply a by two bits of b in one chain of carry cells, for each pair of bits."""
        rows, count = [], self._b_bits // 2
        for k in range(count):
            row = Signal(signed(self._a_bits + 2), name=f"row_{k}", reset_less=True)
            low, high = self.b[2 * k], self.b[2 * k + 1]
            m.d.sync += row.eq(
                self._structure.carry.partial_product(
                    m, f"row_{k}_chain", self.a, low, high, k == count - 1
                )
            )
            rows.append(row)
        return rows, [Const(0, 1)] * count
