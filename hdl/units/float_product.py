# amaranth: UnusedElaboratable=no
"""Exact products of short floats: decoding, significands, exponents."""

# Ref: O. L. MacSorley, 1961, for the recoding to radix 4; here with digits -1, 0, 1 and 2

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from nibblegrad.golden.units.float_dot_product import BIAS, DotProductFormat
from nibblegrad.hdl.base.parameters import check_type
from nibblegrad.hdl.base.pipeline import delay

__all__ = ["FloatProduct", "SignificandMultiplier"]


class SignificandMultiplier(wiring.Component):
    """Multiply two unsigned numbers, with one table or one adder between registers.

    Four bits, of which the highest is known to be set: a table for each half of ``b``, and an
    adder; the latency is 2 cycles. Eleven bits: ``b`` is recoded to radix-4 digits -1, 0, 1 and 2,
    which adding 1 to each digit does, carries included; then a bit of a row is a function of two
    bits of ``a`` and of two of the digit, one table of four inputs. The ones that complete negative
    rows lie in empty places of other rows. The latency is 5 cycles. The throughput is one product
    per cycle.

    Parameters
    ----------
    bits : int
        Width of the numbers, 4 or 11.

    Members
    -------
    a, b : ``In(bits)``
        Numbers.
    zero : ``In(1)``
        For four bits, whether the product is zero all the same; a cycle after ``a`` and ``b``.
    product : ``Out(2 * bits)``
        Product.
    """

    def __init__(self, bits):
        if bits not in (4, 11):
            raise ValueError(f"Significands must have 4 or 11 bits, not {bits}")
        self._bits = bits
        self.latency = 2 if bits == 4 else 5
        super().__init__({"a": In(bits), "b": In(bits), "zero": In(1), "product": Out(2 * bits)})

    def elaborate(self, platform):
        m = Module()
        if self._bits == 4:
            self._multiply_tables(m)
        else:
            self._multiply_rows(m)
        return m

    def _multiply_tables(self, m):
        low = Signal(6, reset_less=True)
        high = Signal(6, reset_less=True)
        for half, digit, least in ((low, self.b[:2], 0), (high, self.b[2], 2)):
            index = Cat(self.a[:3], digit)
            products = [(8 + (k & 7)) * (least + (k >> 3)) for k in range(1 << len(index))]
            m.d.sync += half.eq(Array(products)[index])
        product = Signal(8, reset_less=True)
        m.d.sync += product.eq(Cat(low[:2], (low[2:] + high)[:6]))
        with m.If(self.zero):
            m.d.sync += product.eq(0)
        m.d.comb += self.product.eq(product)

    def _multiply_rows(self, m):
        digits = Signal(12, reset_less=True)
        m.d.sync += digits.eq(self.b + 0x555)
        a = Cat(delay(m, "multiplicand", self.a, 1), C(0, 1))
        rows, ones = [], []
        for k in range(6):
            digit = digits.word_select(k, 2)
            row = Signal(signed(13), name=f"row_{k}", reset_less=True)
            one = Signal(name=f"one_{k}", reset_less=True)
            double = Cat(C(0, 1), a[:11])
            for bit in range(12):
                once = a[bit]
                m.d.sync += row[bit].eq(
                    Mux(digit[1], Mux(digit[0], double[bit], once), ~digit[0] & ~once)
                )
            m.d.sync += [row[12].eq(~digit.any()), one.eq(~digit.any())]
            rows.append(row)
            ones.append(one)

        def add(name, low, high, width):
            """Add a number with four times a number; the two lowest bits need no adder."""
            total = Signal(signed(width), name=name, reset_less=True)
            upper = (low >> 2) + high
            m.d.sync += total.eq(Cat(low[:2], upper[: width - 2]))
            return total

        # The lowest bit of a row needs the one of the row itself, two places below the next row.
        pairs = []
        for k in range(3):
            pair = Signal(signed(17), name=f"pair_{k}", reset_less=True)
            m.d.sync += pair.eq(
                rows[2 * k] + Cat(ones[2 * k], C(0, 1), rows[2 * k + 1]).as_signed()
            )
            if k:
                one = delay(m, f"one_of_pair_{k}", ones[2 * k - 1], 1)
                pairs.append(Cat(one, C(0, 1), pair).as_signed())
            else:
                pairs.append(pair)
        quad = add("quad", pairs[0], pairs[1], 21)
        top = delay(m, "top", pairs[2], 1)
        product = Signal(22, reset_less=True)
        m.d.sync += product.eq(Cat(quad[:6], ((quad >> 6) + top)[:16]))
        m.d.comb += self.product.eq(product)


class FloatProduct(wiring.Component):
    """Decode two operands and multiply them exactly.

    The exponent is there 2 cycles after the operands, the product ``latency`` cycles; the
    throughput is one product per cycle. The number is ``(-1)**negate * product *
    2**(exponent - 2 * (BIAS + fraction_bits))``.

    Parameters
    ----------
    fmt : DotProductFormat
        What the operands are.

    Members
    -------
    a, b : ``In(fmt.width)``
        Codes.
    a_format, b_format : ``In(1)``
        For hybrid FP8, a :class:`nibblegrad.golden.units.float_dot_product.Fp8`.
    exponent : ``Out(6)``
        Sum of the biased exponents; 0 for a product that is zero.
    nonfinite : ``Out(1)``
        Whether an operand is no number; with ``exponent``.
    product : ``Out(2 * fmt.fraction_bits + 2)``
        Magnitude.
    negate : ``Out(1)``
        Whether the product is negative; with ``product``.
    """

    def __init__(self, fmt):
        check_type("Format", fmt, DotProductFormat)
        self._fmt = fmt
        self._multiplier = SignificandMultiplier(fmt.fraction_bits + 1)
        self.latency = 1 + self._multiplier.latency
        super().__init__(
            {
                "a": In(fmt.width),
                "b": In(fmt.width),
                "a_format": In(1),
                "b_format": In(1),
                "exponent": Out(6),
                "nonfinite": Out(1),
                "product": Out(2 * fmt.fraction_bits + 2),
                "negate": Out(1),
            }
        )

    def _decode(self, m, name, code, kind):
        """Register the significand and the exponent; tell whether it is zero or no number."""
        fmt = self._fmt
        significand = Signal(fmt.fraction_bits + 1, name=f"significand_{name}", reset_less=True)
        exponent = Signal(5, name=f"exponent_{name}", reset_less=True)
        if fmt.hybrid:
            m.d.sync += [
                significand.eq(Cat(Mux(kind, Cat(C(0, 1), code[:2]), code[:3]), C(1, 1))),
                exponent.eq(Mux(kind, code[2:7], code[3:7] + (BIAS - fmt.forward_bias))),
            ]
            return significand, exponent, ~code[:7].any(), code[:7].all()
        field = code[10:15]
        normal = field.any()
        m.d.sync += [
            significand.eq(Cat(code[:10], normal)),
            exponent.eq(Cat(field[0] | ~normal, field[1:])),
        ]
        return significand, exponent, ~code[:15].any(), field.all()

    def elaborate(self, platform):
        m = Module()
        m.submodules.multiplier = multiplier = self._multiplier
        a, a_exponent, a_zero, a_bad = self._decode(m, "a", self.a, self.a_format)
        b, b_exponent, b_zero, b_bad = self._decode(m, "b", self.b, self.b_format)
        zero = Signal(reset_less=True)
        bad = Signal(reset_less=True)
        m.d.sync += [zero.eq(a_zero | b_zero), bad.eq(a_bad | b_bad)]
        exponent = Signal(6, reset_less=True)
        m.d.sync += exponent.eq(a_exponent + b_exponent)
        with m.If(zero):
            m.d.sync += exponent.eq(0)
        m.d.comb += [
            multiplier.a.eq(a),
            multiplier.b.eq(b),
            multiplier.zero.eq(delay(m, "zero", zero, 1) if self._fmt.hybrid else 0),
            self.exponent.eq(exponent),
            self.nonfinite.eq(delay(m, "nonfinite", bad, 1)),
            self.product.eq(multiplier.product),
            self.negate.eq(delay(m, "negate", self.a[-1] ^ self.b[-1], self.latency)),
        ]
        return m
