"""The rounding adder, shared by everything that discards bits."""

from amaranth import *

from golden.rounding import RoundMode

__all__ = ["round_up"]


def round_up(
    m, name, kept, dropped, sticky, mode, noise, self_noise=None, to_nearest=None, rest=None
):
    """Round an unsigned or two's complement number whose low bits are to be discarded.

    One adder: the carry out of the dropped bits plus the random bits does stochastic rounding, an
    explicit carry in does rounding to the nearest; see :mod:`golden.rounding`.

    Parameters
    ----------
    m : Module
        Where the logic goes.
    name : str
        Prefix of signal names.
    kept : Value
        Bits to keep, unsigned or signed.
    dropped : Value
        The highest bits to be discarded, as many as there are random bits.
    sticky : Value
        Whether any bit below ``dropped`` is set.
    mode : Value
        A :class:`golden.rounding.RoundMode`.
    noise : Value or None
        Random bits; None if the mode is never STOCHASTIC.
    self_noise : Value, optional
        For SELF_STOCHASTIC: low bits of the number, aligned with the top of ``dropped``; None if
        the mode is never used.
    to_nearest, rest : Value, optional
        Whether the mode is NEAREST_EVEN, and whether any of ``dropped`` but its top bit is set,
        where these are known beforehand; then ``noise`` is 0 unless the mode is STOCHASTIC.

    Returns
    -------
    Value
        The rounded number, one bit wider than ``kept``.
    """
    width = len(dropped)
    known = to_nearest is not None
    if not known:
        to_nearest = ~mode.any()  # NEAREST_EVEN is 0
    addend = Signal(width, name=f"{name}_noise")
    nearest = Signal(name=f"{name}_nearest_up")
    total = Signal(Shape(len(kept) + width + 1, signed=kept.shape().signed), name=f"{name}_rounded")
    if noise is not None:
        with m.If(Const(1) if known else mode == RoundMode.STOCHASTIC):
            m.d.comb += addend.eq(noise)
    if self_noise is not None:
        with m.If(mode == RoundMode.SELF_STOCHASTIC):
            m.d.comb += addend[width - len(self_noise) :].eq(self_noise)
    with m.If(to_nearest):
        rest = dropped[:-1].any() if rest is None else rest
        m.d.comb += nearest.eq(dropped[-1] & (rest | sticky | kept[0]))
    number = Cat(dropped, kept)
    if kept.shape().signed:
        number = number.as_signed()
    m.d.comb += total.eq(number + Cat(addend, nearest))
    rounded = total[width:]
    return rounded.as_signed() if kept.shape().signed else rounded
