"""Shifters that normalise, and shifters that remember what they lose."""

from amaranth import *

__all__ = ["RightShift", "normalize", "shift_right"]


class RightShift:
    """Shift right and keep the highest bits, and tell whether any bit lost was set.

    The work is in two parts, for pipelines that have a register stage between them: what the first
    one gives is what the second one takes. :func:`shift_right` does both at once.

    The result is ``value >> amount`` without its lowest bits beyond ``kept``: bit 0 of the result
    has the weight of bit ``len(value) - kept`` of ``value``.

    Parameters
    ----------
    m : Module
        Where the logic goes.
    name : str
        Prefix of signal names.
    kept : int
        Count of bits of the result.
    """

    #: What is between the parts.
    names = ("shifted", "lost", "out", "amount", "nonzero")

    def __init__(self, m, name, kept):
        self._m = m
        self._name = name
        self._kept = kept

    def far(self, value, amount):
        """Shift by the greater distances.

        Parameters
        ----------
        value : Value
            Unsigned number, or a signed one whose sign fills up.
        amount : Value
            Unsigned shift; for unsigned numbers any width, large shifts give zero.

        Returns
        -------
        (Value, Value, Value, Value, Value)
            The number so far; whether any bit lost was set, and whether all of them are lost; the
            rest of the shift; whether the number is other than 0.
        """
        stages = max(len(value).bit_length(), 1)
        assert not value.shape().signed or len(amount) <= stages
        nonzero = value.any()
        out = Const(0, 1)
        if len(amount) > stages:
            # Beyond the width: nothing is left.
            out = Signal(name=f"{self._name}_out")
            self._m.d.comb += out.eq(amount[stages:].any())
        count = min(stages, len(amount))
        near = count // 2
        value, lost = self._shift(value, Const(0, 1), amount[:count], range(near, count))
        return value, lost, out, amount[:near], nonzero

    def near(self, value, lost, out, amount, nonzero):
        """Shift by the smaller distances.

        Returns
        -------
        (Value, Value)
            The result, ``kept`` bits, and the sticky bit.
        """
        value, lost = self._shift(value, lost, amount, range(len(amount)))
        low = value[: len(value) - self._kept]
        result = Signal(self._kept, name=f"{self._name}_kept")
        any_lost = Signal(name=f"{self._name}_sticky")
        self._m.d.comb += [
            result.eq(Mux(out, 0, value[len(value) - self._kept :])),
            any_lost.eq(lost | low.any() | (out & nonzero)),
        ]
        return result, any_lost

    def _shift(self, value, lost, amount, bits):
        """Shift by what some bits of the amount say, the highest one first."""
        for k in reversed(bits):
            distance = 1 << k
            low = value[:distance] if distance < len(value) else value
            shifted = Signal(value.shape(), name=f"{self._name}_by_{distance}")
            dropped = Signal(name=f"{self._name}_lost_{distance}")
            self._m.d.comb += [
                shifted.eq(Mux(amount[k], value >> distance, value)),
                dropped.eq(lost | (amount[k] & low.any())),
            ]
            value, lost = shifted, dropped
        return value, lost


def shift_right(m, name, value, amount, kept):
    """Shift right at once; see :class:`RightShift`.

    Returns
    -------
    (Value, Value)
        The result, ``kept`` bits, and the sticky bit.
    """
    shift = RightShift(m, name, kept)
    return shift.near(*shift.far(value, amount))


def normalize(m, name, value, steps=None):
    """Shift left until the top bit is set.

    Parameters
    ----------
    m : Module
        Where the logic goes.
    name : str
        Prefix of signal names.
    value : Value
        Unsigned number.
    steps : sequence of int, optional
        Falling powers of two: how far to try to shift, in turn. All that are needed by default;
        some of them where register stages part the work.

    Returns
    -------
    (Value, Value)
        The number with its top bit set, or 0; and how far it was shifted (meaningless for 0), in
        units of the last step.
    """
    width = len(value)
    distances = []
    for distance in steps or [1 << k for k in reversed(range((width - 1).bit_length()))]:
        empty = Signal(name=f"{name}_top_{distance}_empty")
        shifted = Signal(width, name=f"{name}_left_{distance}")
        m.d.comb += [
            empty.eq(~value[width - distance :].any()),
            shifted.eq(Mux(empty, value << distance, value)),
        ]
        value = shifted
        distances.append(empty)
    return value, Cat(*reversed(distances))
