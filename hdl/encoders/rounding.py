"""The rounding adder, shared by everything that discards bits."""

from amaranth import *

from nibblegrad.golden.numbers.rounding import RoundMode

__all__ = ["choose_addend", "round_by", "round_up"]


def choose_addend(m, name, width, mode, noise, own=None):
    """Choose what is added to the bits that are discarded: zeros unless the mode is stochastic.

    Parameters
    ----------
    m : Module
        Where the logic goes.
    name : str
        Prefix of signal names.
    width : int
        Count of random bits.
    mode : Value
        A :class:`nibblegrad.golden.numbers.rounding.RoundMode`.
    noise : Value or None
        Random bits; None if the mode is never STOCHASTIC.
    own : Value, optional
        For SELF_STOCHASTIC: low bits of the number, or none of them; None if the mode is never
        used.

    Returns
    -------
    Value
        As wide as the random bits.
    """
    addend = Signal(width, name=f"{name}_noise")
    if noise is not None:
        with m.If(mode == RoundMode.STOCHASTIC):
            m.d.comb += addend.eq(noise)
    if own is not None and len(own):
        # They take the place of the highest random bits.
        with m.If(mode == RoundMode.SELF_STOCHASTIC):
            m.d.comb += addend[width - len(own) :].eq(own)
    return addend


def round_by(m, name, kept, dropped, rest, addend, to_nearest):
    """Round an unsigned or two's complement number whose low bits are to be discarded.

    One adder: the carry out of the dropped bits plus the addend does stochastic rounding, an
    explicit carry in does rounding to the nearest; see :mod:`nibblegrad.golden.numbers.rounding`.

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
    rest : Value
        Whether any bit to be discarded is set but the highest one.
    addend : Value
        What :func:`choose_addend` gives.
    to_nearest : Value
        Whether the mode is NEAREST_EVEN.

    Returns
    -------
    Value
        The rounded number, one bit wider than ``kept``.
    """
    width = len(dropped)
    nearest = Signal(name=f"{name}_nearest_up")
    total = Signal(Shape(len(kept) + width + 1, signed=kept.shape().signed), name=f"{name}_rounded")
    with m.If(to_nearest):
        m.d.comb += nearest.eq(dropped[-1] & (rest | kept[0]))
    number = Cat(dropped, kept)
    if kept.shape().signed:
        number = number.as_signed()
    m.d.comb += total.eq(number + Cat(addend, nearest))
    rounded = total[width:]
    return rounded.as_signed() if kept.shape().signed else rounded


def round_up(m, name, kept, dropped, sticky, mode, noise):
    """Round at once, in one of the modes but SELF_STOCHASTIC; see :func:`round_by`.

    ``sticky`` is whether any bit below ``dropped`` is set.
    """
    addend = choose_addend(m, name, len(dropped), mode, noise)
    rest = dropped[:-1].any() | sticky
    # NEAREST_EVEN is 0.
    return round_by(m, name, kept, dropped, rest, addend, ~mode.any())
