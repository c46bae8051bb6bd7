"""Shifters that normalise, and shifters that remember what they lose."""

from amaranth import *

from .pipeline import deepen

__all__ = ["normalize", "shift_right"]


def shift_right(m, name, value, amount, kept, deep=False):
    """Shift right and keep the highest bits, and tell whether any bit lost was set.

    The result is ``value >> amount`` without its lowest bits beyond ``kept``: bit 0 of the result
    has the weight of bit ``len(value) - kept`` of ``value``.

    Parameters
    ----------
    m : Module
        Where the logic goes.
    name : str
        Prefix of signal names.
    value : Value
        Unsigned number, or a signed one whose sign fills up.
    amount : Value
        Unsigned shift; for unsigned numbers any width, large shifts give zero.
    kept : int
        Count of bits of the result.
    deep : bool
        Whether there is a register stage in the middle, without a clock enable.

    Returns
    -------
    (Value, Value)
        The result, ``kept`` bits, and the sticky bit.
    """
    width = len(value)
    stages = max(width.bit_length(), 1)
    assert not value.shape().signed or len(amount) <= stages
    sticky = Const(0, 1)
    nonzero = value.any()
    if len(amount) > stages:
        # Beyond the width: nothing is left.
        out = Signal(name=f"{name}_out")
        m.d.comb += out.eq(amount[stages:].any())
    else:
        out = Const(0, 1)
    count = min(stages, len(amount))
    for k in reversed(range(count)):
        distance = 1 << k
        lost = value[:distance] if distance < width else value
        shifted = Signal(value.shape(), name=f"{name}_by_{distance}")
        dropped = Signal(name=f"{name}_lost_{distance}")
        m.d.comb += [
            shifted.eq(Mux(amount[k], value >> distance, value)),
            dropped.eq(sticky | (amount[k] & lost.any())),
        ]
        value, sticky = shifted, dropped
        if k == count // 2:
            middle = f"{name}_middle"
            value, sticky, out, amount, nonzero = deepen(
                m, deep, middle, value, sticky, out, amount, nonzero
            )
    low = value[: width - kept]
    result = Signal(kept, name=f"{name}_kept")
    any_lost = Signal(name=f"{name}_sticky")
    m.d.comb += [
        result.eq(Mux(out, 0, value[width - kept :])),
        any_lost.eq(sticky | low.any() | (out & nonzero)),
    ]
    return result, any_lost


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
