"""Float sums: terms with exponents go in, one float comes out."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from nibblegrad.golden.units.float_dot_product import WINDOW, DotProductFormat
from nibblegrad.hdl.base.parameters import check_type
from nibblegrad.hdl.base.pipeline import delay

__all__ = ["FloatSum"]


class FloatSum(wiring.Component):
    """Add up numbers ``term * 2**exponent`` in two windows of 32 exponents, and round the sum.

    The sum's lowest bit has the weight of the lower window until a term of the upper one comes:
    then what was added so far goes aside, shifted by 32, and the sum starts anew. That happens once
    at most, so nothing but an adder is in the loop. The latency is ``latency`` cycles and the
    throughput one term per cycle; nothing stalls.

    Parameters
    ----------
    fmt : DotProductFormat
        Result and range.
    term_bits : int
        Width of a term.

    Members
    -------
    valid, first, last : ``In(1)``
        Whether there is a term, and whether a sum starts and ends with it.
    term : ``In(signed(term_bits))``
        Term.
    exponent : ``In(6)``
        Its exponent.
    nonfinite : ``In(1)``
        Whether the sum is to be NaN.
    done : ``Out(1)``
        Whether a sum is complete.
    total : ``Out(fmt.result.width)``
        Code of the sum, while ``done``.
    """

    def __init__(self, fmt, term_bits):
        check_type("Format", fmt, DotProductFormat)
        self._fmt = fmt
        self._bits = term_bits + WINDOW - 1 + fmt.growth_bits
        self._steps = [1 << k for k in reversed(range((self._bits - 1).bit_length()))]
        # Shifts left, both parts, their sum, magnitude in two cycles; steps of the normaliser;
        # exponent and code.
        self.latency = 7 + sum(self._cycles(step) for step in self._steps) + 2
        super().__init__(
            {
                "valid": In(1),
                "first": In(1),
                "last": In(1),
                "term": In(signed(term_bits)),
                "exponent": In(6),
                "nonfinite": In(1),
                "done": Out(1),
                "total": Out(fmt.result.width),
            }
        )

    @staticmethod
    def _cycles(step):
        """Count the cycles of a step of the normaliser: many bits are looked at in one alone."""
        return 2 if step > 4 else 1

    def elaborate(self, platform):
        m = Module()
        bits = self._bits
        # Windows, a cycle after the term.
        valid = Signal()
        first = Signal()
        last = Signal()
        rises = Signal()
        upper = Signal()
        bad = Signal()
        lower = Signal()
        window = self.exponent[5]
        now_upper = Mux(self.first, window, upper | window)
        first_in = self.valid & self.first
        rises_in = Signal()
        m.d.comb += rises_in.eq(self.valid & ~self.first & window & ~upper)
        with m.If(self.valid):
            m.d.sync += [
                upper.eq(now_upper),
                bad.eq(Mux(self.first, self.nonfinite, bad | self.nonfinite)),
            ]
        m.d.sync += [
            valid.eq(self.valid),
            first.eq(first_in),
            last.eq(self.valid & self.last),
            rises.eq(rises_in),
            lower.eq(now_upper & ~window),
        ]

        # The place in the window, in three cycles.
        value = self.term
        place = self.exponent
        for k in range(2):
            for bit in (2 * k, 2 * k + 1):
                value = Mux(place[bit], value << (1 << bit), value)
            register = Signal(value.shape(), name=f"placed_{k}", reset_less=True)
            m.d.sync += register.eq(value)
            value, place = register, delay(m, f"place_{k}", place, 1)
        highest = Mux(place[4], value << 16, value)
        placed = Signal(highest.shape(), reset_less=True)
        m.d.sync += placed.eq(Mux(delay(m, "lower", lower, 1), highest >> WINDOW, highest))
        with m.If(~delay(m, "valid_1", valid, 1, reset=True)):
            m.d.sync += placed.eq(0)

        # The loop. Sum and term are there three cycles after the term came; the register is cleared
        # in the cycle before.
        first, rises = (
            delay(m, n, s, 1, reset=True) for n, s in (("first_1", first), ("rises_1", rises))
        )
        so_far = Signal(signed(bits), reset_less=True)
        aside = Signal(signed(bits - WINDOW), reset_less=True)
        following = (so_far + placed)[:bits].as_signed()
        m.d.sync += so_far.eq(following)
        with m.If(first | rises):
            m.d.sync += so_far.eq(0)
        with m.If(first):
            m.d.sync += aside.eq(0)
        with m.Elif(rises):
            m.d.sync += aside.eq(following >> WINDOW)

        # Both parts, their sum, its magnitude.
        part = Signal(signed(bits), reset_less=True)
        part_aside = Signal.like(aside, name="part_aside")
        both, inverted, magnitude = (
            Signal(signed(bits), name=name, reset_less=True)
            for name in ("both", "inverted", "magnitude")
        )
        negative = both[-1]
        sign = delay(m, "negative", negative, 1)
        m.d.sync += [
            part.eq(following),
            part_aside.eq(aside),
            both.eq(part + part_aside),
            inverted.eq(both ^ negative.replicate(bits)),
            magnitude.eq(inverted + sign),
        ]
        self._round(m, magnitude.as_unsigned(), delay(m, "sign", sign, 1), upper, bad, last)
        return m

    def _round(self, m, value, sign, upper, bad, last):
        """Normalise the magnitude, drop bits, and put the code together."""
        result = self._fmt.result
        distances = []
        for step in self._steps:
            empty = Signal(name=f"empty_{step}", reset_less=True)
            looked = ~value[-step:].any()
            if self._cycles(step) == 2:
                m.d.sync += empty.eq(looked)
                value = delay(m, f"looked_{step}", value, 1)
            else:
                m.d.comb += empty.eq(looked)
            width = min(len(value), result.fraction_bits + step)
            shifted = Mux(empty, value << step, value)[: len(value)]
            normal = Signal(width, name=f"normal_{step}", reset_less=True)
            m.d.sync += normal.eq(shifted[len(value) - width :])
            distances = [delay(m, f"distance_{step}_{k}", d, self._cycles(step))
                         for k, d in enumerate(distances)]  # fmt: skip
            distances.append(delay(m, f"distance_{step}", empty, 1))
            value = normal
        cycles = sum(self._cycles(step) for step in self._steps)
        sign = delay(m, "result_sign", sign, cycles)
        # `upper` and `bad` are a cycle behind the term, and magnitude is seven.
        upper = delay(m, "upper", upper, 6 + cycles)
        bad = delay(m, "bad", bad, 6 + cycles + 1)
        top = self._bits - 1 + self._fmt.least_exponent + result.bias
        field = Signal(signed(result.exponent_bits + 3), reset_less=True)
        m.d.sync += field.eq(Mux(upper, top + WINDOW, top) - Cat(*reversed(distances)))
        sign, value = delay(m, "field_sign", sign, 1), delay(m, "field_value", value, 1)

        body = Cat(value[:-1], field[: result.exponent_bits])
        small = ~value[-1] | (field < 0)
        large = field >= (1 << result.exponent_bits) - (0 if result.ibm else 1)
        special = result.width - 1
        nan = Const(int(result.encode(float("nan"))), result.width)
        code = Signal(result.width, reset_less=True)
        signless = (body.all() | ~body.any()) if result.ibm else C(0, 1)
        with m.If(bad | (~small & large)):
            m.d.sync += code.eq(nan)
        with m.Elif(small):
            m.d.sync += code.eq(0)
        with m.Else():
            m.d.sync += code.eq(Cat(body[:special], sign & ~signless))
        m.d.comb += self.total.eq(code)
        m.d.comb += self.done.eq(delay(m, "done", last, self.latency - 1, reset=True))
