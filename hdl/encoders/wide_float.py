"""Unpacking of wide floats."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from nibblegrad.golden.numbers.formats import FloatFormat
from nibblegrad.hdl.base.pipeline import Flow
from nibblegrad.hdl.encoders.shifter import normalize

__all__ = ["FloatDecoder", "exponent_shape"]


def exponent_shape(fmt):
    """Find the shape of the exponent of a normalised number, subnormal ones included."""
    return Shape.cast(range(fmt.least_exponent - fmt.fraction_bits, fmt.greatest_exponent + 1))


class FloatDecoder(wiring.Component):
    """Split a code of a wide float into its parts.

    The latency is the attribute ``latency``, 1 cycle, or 3 if ``normalized``; nothing stalls.

    The number is ``(-1)**sign * significand * 2**(exponent - fraction_bits)``. If ``normalized``,
    it is that times ``2**-distance``, and whoever wants the sum of the exponents makes it in a
    stage of its own.

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
        Exponent of the significand's top bit before it was shifted; it comes
        ``exponent_latency``, 1 cycle, after the code.
    distance : ``Out``
        If ``normalized``: how far the significand was shifted.
    nonfinite, infinite : ``Out(1)``
        Whether the code is no number; whether it is infinity.
    """

    exponent_latency = 1

    def __init__(self, fmt, normalized):
        if not isinstance(fmt, FloatFormat):
            raise TypeError(f"Format must be a FloatFormat, not {fmt!r}")
        self._fmt = fmt
        self._normalized = normalized
        self.latency = 3 if normalized else 1
        members = {
            "code": In(fmt.width),
            "sign": Out(1),
            "significand": Out(fmt.fraction_bits + 1),
            "exponent": Out(exponent_shape(fmt)),
            "nonfinite": Out(1),
            "infinite": Out(1),
        }
        if normalized:
            members["distance"] = Out(fmt.fraction_bits.bit_length())
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        flow = Flow(m)
        sign, significand, exponent, nonfinite, infinite = flow.stage(
            "sign significand exponent nonfinite infinite",
            self._split,
            flow.input("code", self.code),
        )
        outputs = {"sign": sign, "nonfinite": nonfinite, "infinite": infinite}
        if self._normalized:
            significand, outputs["distance"] = self._normalize(m, flow, significand)
        flow.deliver(self, self.latency, significand=significand, **outputs)
        m.d.comb += self.exponent.eq(flow.at(exponent, self.exponent_latency))
        return m

    def _split(self, code):
        """Take the fields apart, and find what they stand for."""
        fmt = self._fmt
        fraction = code[: fmt.fraction_bits]
        field = code[fmt.fraction_bits : -1]
        lowest = ~field.any()
        highest = field.all()
        if fmt.ibm:
            infinite = Const(0, 1)
            nonfinite = highest & fraction.all()
            hidden = ~lowest | fraction.any()
            is_number = hidden & ~nonfinite
            exponent = field - fmt.bias
        else:
            infinite = highest & ~fraction.any()
            nonfinite = highest
            hidden = ~lowest
            is_number = ~highest & (hidden | int(fmt.subnormals))
            exponent = Mux(lowest, fmt.least_exponent, field - fmt.bias)
        exponent = exponent[: len(self.exponent)].as_signed()
        return code[-1], Mux(is_number, Cat(fraction, hidden), 0), exponent, nonfinite, infinite

    def _normalize(self, m, flow, significand):
        """Shift in two register stages, the second one of at most three steps."""
        steps = [1 << k for k in reversed(range(self._fmt.fraction_bits.bit_length()))]
        if not self._fmt.subnormals:
            steps = []
        half = len(steps) // 2
        distance = []
        for stage, some in enumerate((steps[:half], steps[half:])):

            def shift(value, *before, stage=stage, some=some):
                flags = Const(0, 0)
                if some:
                    value, flags = normalize(m, f"normal_{stage}", value, some)
                return value, Cat(flags, *before)

            significand, shifted_by = flow.stage(
                f"normal_{stage} distance_{stage}", shift, significand, *distance
            )
            distance = [shifted_by]
        return significand, shifted_by
