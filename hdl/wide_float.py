"""Unpacking of wide floats."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from golden.formats import FloatFormat

from .pipeline import deepen
from .shifter import normalize

__all__ = ["FloatDecoder", "exponent_shape"]


def exponent_shape(fmt):
    """Find the shape of the exponent of a normalised number, subnormal ones included."""
    return Shape.cast(range(fmt.least_exponent - fmt.fraction_bits, fmt.greatest_exponent + 1))


class FloatDecoder(wiring.Component):
    """Split a code of a wide float into its parts. Combinational: the latency is 0 cycles.

    If ``deep``, the latency is 1 cycle, or 3 if ``normalized`` as well.

    The number is ``(-1)**sign * significand * 2**(exponent - fraction_bits)``. If ``deep`` and
    ``normalized``, it is that times ``2**-distance``, and whoever wants the sum of the exponents
    makes it in a stage of its own.

    Parameters
    ----------
    fmt : FloatFormat
        Format of the code.
    normalized : bool
        Whether the significand of a subnormal number is shifted until its top bit is set.
    deep : bool
        Whether there are register stages, without clock enables.

    Members
    -------
    code : ``In(fmt.width)``
        Code.
    sign : ``Out(1)``
        Sign bit.
    significand : ``Out(fmt.fraction_bits + 1)``
        Significand; 0 for zero, NaN and infinity.
    exponent : ``Out(exponent_shape(fmt))``
        Exponent of the significand's top bit. If ``deep`` and ``normalized``, two cycles ahead.
    distance : ``Out``
        If ``deep`` and ``normalized``: how far the significand was shifted.
    nonfinite, infinite : ``Out(1)``
        Whether the code is no number; whether it is infinity.
    """

    def __init__(self, fmt, normalized, deep=False):
        if not isinstance(fmt, FloatFormat):
            raise TypeError(f"Format must be a FloatFormat, not {fmt!r}")
        self._fmt = fmt
        self._normalized = normalized
        self._deep = deep
        self.latency = (3 if normalized else 1) if deep else 0
        members = {
            "code": In(fmt.width),
            "sign": Out(1),
            "significand": Out(fmt.fraction_bits + 1),
            "exponent": Out(exponent_shape(fmt)),
            "nonfinite": Out(1),
            "infinite": Out(1),
        }
        if deep and normalized:
            members["distance"] = Out(fmt.fraction_bits.bit_length())
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        fmt = self._fmt

        fraction = self.code[: fmt.fraction_bits]
        field = self.code[fmt.fraction_bits : -1]
        lowest = ~field.any()
        highest = field.all()
        hidden = Signal()
        number = Signal()
        nonfinite, infinite = Signal(name="raw_nonfinite"), Signal(name="raw_infinite")
        if fmt.ibm:
            m.d.comb += [
                nonfinite.eq(highest & fraction.all()),
                hidden.eq(~lowest | fraction.any()),
                number.eq(hidden & ~nonfinite),
            ]
        else:
            m.d.comb += [
                nonfinite.eq(highest),
                infinite.eq(highest & ~fraction.any()),
                hidden.eq(~lowest),
                number.eq(~highest & (hidden | int(fmt.subnormals))),
            ]
        significand = Signal(fmt.fraction_bits + 1, name="raw_significand")
        exponent = Signal(self.exponent.shape(), name="raw_exponent")
        m.d.comb += [
            significand.eq(Mux(number, Cat(fraction, hidden), 0)),
            exponent.eq(
                field - fmt.bias if fmt.ibm else Mux(lowest, fmt.least_exponent, field - fmt.bias)
            ),
        ]
        sign, significand, exponent, nonfinite, infinite = deepen(
            m, self._deep, "parts", self.code[-1], significand, exponent, nonfinite, infinite
        )
        if self._deep and self._normalized:
            m.d.comb += self.exponent.eq(exponent)
            sign, significand, nonfinite, infinite = self._normalize(
                m, sign, significand, nonfinite, infinite
            )
        elif self._normalized and fmt.subnormals:
            significand, distance = normalize(m, "normal", significand)
            m.d.comb += self.exponent.eq(exponent - distance)
        else:
            m.d.comb += self.exponent.eq(exponent)
        m.d.comb += [
            self.sign.eq(sign),
            self.significand.eq(significand),
            self.nonfinite.eq(nonfinite),
            self.infinite.eq(infinite),
        ]
        return m

    def _normalize(self, m, sign, significand, *rest):
        """Shift in two register stages, the second one of at most three steps."""
        steps = [1 << k for k in reversed(range(self._fmt.fraction_bits.bit_length()))]
        if not self._fmt.subnormals:
            steps = []
        half = len(steps) // 2
        distance = Const(0, 0)
        for stage, some in enumerate((steps[:half], steps[half:])):
            flags = Const(0, 0)
            if some:
                significand, flags = normalize(m, f"normal_{stage}", significand, some)
            sign, significand, distance, *rest = deepen(
                m, True, f"normal_{stage}", sign, significand, Cat(flags, distance), *rest
            )
        m.d.comb += self.distance.eq(distance)
        return sign, significand, *rest
