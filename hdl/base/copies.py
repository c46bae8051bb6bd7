"""Registers that hold the same, so that each user has one close by.

Tools merge registers that always hold the same, but not those that follow different ones or start
from different values.
"""

from amaranth import *

__all__ = ["fan_out", "spread"]


def spread(m, name, value, count):
    """Register a setting for each of its users, so that none of the wires is long.

    Each register follows another one, and no two that do so start from the same value, so that
    tools merge none of them. The last ones follow ``count.bit_length()`` cycles after ``value``.
    """
    copies = []
    for k in range(count):
        start = (1 << len(value)) - 1 if k % 2 else 0
        copy = Signal(len(value), name=f"{name}_{k}", init=start, reset_less=True)
        m.d.sync += copy.eq(copies[(k - 1) // 2] if k else value)
        copies.append(copy)
    return copies


def fan_out(m, name, value, count, cycles, reset_less=True):
    """Delay a bit, and end in ``count`` registers for as many users.

    Each register is followed by two in the next cycle, one of them inverted, so that there are no
    more than ``2**cycles``; where more are asked for, several users get the same one.
    """
    last = [value]
    for cycle in range(cycles):
        following = []
        for k in range(min(count, 2 * len(last))):
            inverted = k // len(last)
            copy = Signal(name=f"{name}_{cycle}_{k}", init=inverted, reset_less=reset_less)
            m.d.sync += copy.eq(last[k % len(last)] ^ inverted)
            following.append(~copy if inverted else copy)
        last = following
    return [last[k % len(last)] for k in range(count)]
