"""Integer multipliers for the lanes of the price list: three structures of the same product."""

import enum

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .adder_tree import add_with_carry
from .carry_adders import carry_chain
from .structure import Structure

__all__ = ["IntegerMultiplier", "Multiplication"]


class Multiplication(enum.Enum):
    """Structure of a multiplier."""

    #: What synthesis makes of ``*``.
    OPERATOR = "operator"
    #: Signed digits in radix 4 (Booth): a row per digit, chosen by tables of four inputs.
    DIGITS = "digits"
    #: Carry cells of ECP5, each of which adds the products of two pairs of bits.
    CARRY = "carry"


class IntegerMultiplier(wiring.Component):
    """Multiply two signed integers; nothing stalls.

    The latency is ``latency`` cycles: 1 or, in COMPACT structure, 0 for OPERATOR; for DIGITS and
    CARRY the rows, and a stage per level of their sum.

    Parameters
    ----------
    multiplication : Multiplication
        What it is built of.
    structure : Structure
        Structure of the unit around.
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
            self.latency = 0 if structure is Structure.COMPACT else 1
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
            domain = m.d.comb if self._structure is Structure.COMPACT else m.d.sync
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

    #: (a & b) ^ (c & d), generating a & b: two products of bits, added.
    PAIR = 0x7888
    #: (a & b) ^ (~c & d), generating a & b: the second one with c inverted.
    TOP_PAIR = 0x8788

    def _carry_rows(self, m):
        """Multiply a by two bits of b in one chain of carry cells, for each pair of bits."""
        n, rows = self._a_bits, []
        zero, one = Const(0, 1), Const(1, 1)
        for k in range(self._b_bits // 2):
            low, high = self.b[2 * k], self.b[2 * k + 1]
            is_top = k == self._b_bits // 2 - 1
            row = Signal(signed(n + 2), name=f"row_{k}", reset_less=True)
            name = f"row_{k}_chain"

            def bit(j, low=low, high=high):
                return (self.a[min(j, n - 1)], low, self.a[min(j - 1, n - 1)], high)

            if is_top:
                # -2a is twice the inverse, and a one: which is carried into bit 1.
                bits = [(high, high, zero, high), *(bit(j) for j in range(1, n + 2))]
                total = carry_chain(m, name, self.TOP_PAIR, bits)
                m.d.sync += row.eq(Cat(self.a[0] & low, total[1:]).as_signed())
            else:
                bits = [(self.a[0], low, zero, one), *(bit(j) for j in range(1, n + 2))]
                m.d.sync += row.eq(carry_chain(m, name, self.PAIR, bits).as_signed())
            rows.append(row)
        return rows, [zero] * len(rows)
