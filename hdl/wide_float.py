"""Unpacking of wide floats."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from golden.formats import FloatFormat

from .shifter import normalize

__all__ = ["FloatDecoder", "exponent_shape"]


def exponent_shape(fmt):
    """Find the shape of the exponent of a normalised number, subnormal ones included."""
    return Shape.cast(range(fmt.least_exponent - fmt.fraction_bits, fmt.greatest_exponent + 1))


class FloatDecoder(wiring.Component):
    """Split a code of a wide float into its parts. Combinational: the latency is 0 cycles.

    The number is ``(-1)**sign * significand * 2**(exponent - fraction_bits)``.

    Parameters
    ----------
    fmt : FloatFormat
        Format of the code.
    normalized : bool
        Whether the significand of a subnormal number is shifted until its top bit is set.

    Members
    -------
    code : ``In(fmt.width)``
        Code.
    sign : ``Out(1)``
        Sign bit.
    significand : ``Out(fmt.fraction_bits + 1)``
        Significand; 0 for zero, NaN and infinity.
    exponent : ``Out(exponent_shape(fmt))``
        Exponent of the significand's top bit.
    nonfinite, infinite : ``Out(1)``
        Whether the code is no number; whether it is infinity.
    """

    latency = 0

    def __init__(self, fmt, normalized):
        if not isinstance(fmt, FloatFormat):
            raise TypeError(f"Format must be a FloatFormat, not {fmt!r}")
        self._fmt = fmt
        self._normalized = normalized
        super().__init__(
            {
                "code": In(fmt.width),
                "sign": Out(1),
                "significand": Out(fmt.fraction_bits + 1),
                "exponent": Out(exponent_shape(fmt)),
                "nonfinite": Out(1),
                "infinite": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        fmt = self._fmt

        fraction = self.code[: fmt.fraction_bits]
        field = self.code[fmt.fraction_bits : -1]
        lowest = ~field.any()
        highest = field.all()
        hidden = Signal()
        number = Signal()
        if fmt.ibm:
            m.d.comb += [
                self.nonfinite.eq(highest & fraction.all()),
                hidden.eq(~lowest | fraction.any()),
                number.eq(hidden & ~self.nonfinite),
            ]
        else:
            m.d.comb += [
                self.nonfinite.eq(highest),
                self.infinite.eq(highest & ~fraction.any()),
                hidden.eq(~lowest),
                number.eq(~highest & (hidden | int(fmt.subnormals))),
            ]
        significand = Signal(fmt.fraction_bits + 1, name="raw_significand")
        exponent = Signal(self.exponent.shape(), name="raw_exponent")
        m.d.comb += [
            self.sign.eq(self.code[-1]),
            significand.eq(Mux(number, Cat(fraction, hidden), 0)),
            exponent.eq(
                field - fmt.bias if fmt.ibm else Mux(lowest, fmt.least_exponent, field - fmt.bias)
            ),
        ]
        if self._normalized and fmt.subnormals:
            shifted, distance = normalize(m, "normal", significand)
            m.d.comb += [self.significand.eq(shifted), self.exponent.eq(exponent - distance)]
        else:
            m.d.comb += [self.significand.eq(significand), self.exponent.eq(exponent)]
        return m
