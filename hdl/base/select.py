"""Comparisons and choices whose Verilog passes every linter."""

from amaranth import *

__all__ = ["assign_all", "choose", "equals"]


def equals(value, number):
    """Compare an unsigned value with a constant; Yosys writes ``x == 0`` as a logical negation."""
    return ~value.any() if number == 0 else value == number


def assign_all(targets, sources):
    """List the statements that assign nested lists of signals, each to its like.

    Arrays of ports are separate signals, not one wide one: a simulator moves words, and every part
    of a wide signal costs it shifts.
    """
    if isinstance(targets, list):
        pairs = zip(targets, sources, strict=True)
        return [one for target, source in pairs for one in assign_all(target, source)]
    return [targets.eq(sources)]


def choose(options, choice):
    """Choose one of a power of two of options by a tree of multiplexers.

    Parameters
    ----------
    options : list of Value
        What there is, of one width.
    choice : Value
        Which of them; its lowest bits count.
    """
    for bit in range((len(options) - 1).bit_length()):
        pairs = zip(options[::2], options[1::2], strict=True)
        options = [Mux(choice[bit], high, low) for low, high in pairs]
    return options[0]
