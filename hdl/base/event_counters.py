"""Counters of what must not go unseen: saturations, underflows, NaN."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["EventCounters", "event_members"]


def event_members(names, bits=32):
    """List the members of a core that counts the named events; see :class:`EventCounters`."""
    return {
        **{f"{name}_count": Out(bits) for name in names},
        **{f"{name}_seen": Out(1) for name in names},
        "clear_counts": In(1),
    }


class EventCounters(wiring.Component):
    """Count, per name, the lanes in which an event happened.

    A count stops at its largest value instead of wrapping. The latency is 3 cycles from a
    ``strobe`` to the count.

    Parameters
    ----------
    names : iterable of str
        Names of the events.
    lanes : int
        Count of lanes.
    bits : int
        Width of a count.

    Members
    -------
    strobe : ``In(1)``
        Whether a beat counts in this cycle.
    {name} : ``In(lanes)``
        Lanes of the beat in which the event happened.
    {name}_count : ``Out(bits)``
        Count since reset or the last clear.
    {name}_seen : ``Out(1)``
        Sticky: whether the event happened since reset or the last clear.
    clear_counts : ``In(1)``
        Sets every count and sticky bit to zero.
    """

    latency = 3

    def __init__(self, names, lanes, bits=32):
        self._names = tuple(names)
        super().__init__(
            {
                "strobe": In(1),
                **{name: In(lanes) for name in self._names},
                **event_members(self._names, bits),
            }
        )

    def elaborate(self, platform):
        m = Module()
        for name in self._names:
            events = getattr(self, name)
            count = getattr(self, f"{name}_count")
            seen = getattr(self, f"{name}_seen")
            happened = Signal(len(events), name=f"{name}_happened")
            arriving = Signal(range(len(events) + 1), name=f"{name}_arriving")
            number = Signal(len(count), name=f"{name}_number")
            full = Signal(name=f"{name}_full")
            total = Signal(len(count) + 1, name=f"{name}_total")
            m.d.sync += [
                happened.eq(Mux(self.strobe, events, 0)),
                arriving.eq(sum(happened[k] for k in range(len(events)))),
                number.eq(total),
                full.eq(full | total[-1]),
                seen.eq(seen | arriving.any()),
            ]
            # What overflowed is all ones, whatever the number does.
            m.d.comb += [
                total.eq(number + arriving),
                count.eq(number | full.replicate(len(count))),
            ]
            with m.If(self.clear_counts):
                m.d.sync += [number.eq(0), full.eq(0), seen.eq(0)]
        return m

    def connect(self, m, core, strobe, **events):
        """Wire the counters to the members of ``core`` that :func:`event_members` made."""
        m.d.comb += [self.strobe.eq(strobe), self.clear_counts.eq(core.clear_counts)]
        for name, lanes in events.items():
            m.d.comb += [
                getattr(self, name).eq(lanes),
                getattr(core, f"{name}_count").eq(getattr(self, f"{name}_count")),
                getattr(core, f"{name}_seen").eq(getattr(self, f"{name}_seen")),
            ]
