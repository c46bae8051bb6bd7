"""Comparisons and choices whose Verilog no linter frowns at."""

from amaranth import *

__all__ = ["choose", "equals"]


def equals(value, number):
    """Compare an unsigned value with a constant; Yosys writes ``x == 0`` as a logical negation."""
    return ~value.any() if number == 0 else value == number


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
