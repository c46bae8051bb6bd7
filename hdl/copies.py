"""Registers that hold the same, so that each user has one close by.

Tools merge registers that always hold the same, but not those that follow different ones or start
from different values.
"""

from amaranth import *

__all__ = ["fan_out", "spread", "spread_cycles"]


def spread(m, name, value, count, ways=2):
    """Register a setting for each of its users, so that none of the wires is long.

    Each register is followed by ``ways`` others, 2 or 4, and no two of those start from the same
    value, so that tools merge none of them. The last ones follow ``spread_cycles(count, ways)``
    cycles after ``value``.
    """
    ones = (1 << len(value)) - 1
    starts = [0, ones, ones // 3, ones - ones // 3][:ways]
    assert len(set(starts)) == ways, f"{name} has too few bits to start in {ways} ways"
    copies = []
    for k in range(count):
        start = starts[k % ways]
        copy = Signal(len(value), name=f"{name}_{k}", init=start, reset_less=True)
        m.d.sync += copy.eq(copies[(k - 1) // ways] if k else value)
        copies.append(copy)
    return copies


def spread_cycles(count, ways=2):
    """Count the cycles until the last copy of :func:`spread` has followed."""
    cycles, last = 1, count - 1
    while last:
        cycles, last = cycles + 1, (last - 1) // ways
    return cycles


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
