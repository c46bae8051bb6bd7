"""Component of the toy core."""

from amaranth import Cat, Module, Mux, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from nibblegrad.hdl.base.contracts import promise_steady
from nibblegrad.hdl.base.event_counters import EventCounters, event_members
from nibblegrad.hdl.base.outlet import Outlet, connect_outlet
from nibblegrad.hdl.base.parameters import check_integer
from nibblegrad.hdl.base.pipeline import register
from nibblegrad.hdl.base.stream import beat_signature

__all__ = ["ClippingAdder"]


class ClippingAdder(wiring.Component):
    """Add a constant to a stream of numbers, and clip.

    The golden model is :func:`.model.add_and_clip`. The latency is 3 cycles and the throughput one
    beat per cycle.

    Parameters
    ----------
    bits : int
        Width of a number, 2 to 16.
    lanes : int
        Count of numbers in a beat, 1 to 64.

    Members
    -------
    i : ``In(beat_signature(ArrayLayout(signed(bits), lanes)))``
        Numbers.
    o : ``Out(beat_signature(ArrayLayout(signed(bits), lanes)))``
        Clipped sums.
    addend : ``In(signed(bits))``
        Stable while a tensor passes.
    saturation_count, saturation_seen, clear_counts :
        See :class:`nibblegrad.hdl.base.event_counters.EventCounters`.
    """

    latency = 1 + Outlet.latency

    def __init__(self, bits=8, lanes=4):
        check_integer("Width", bits, 2, 16)
        check_integer("Lane count", lanes, 1, 64)
        self._bits = bits
        self._lanes = lanes
        numbers = beat_signature(data.ArrayLayout(signed(bits), lanes))
        super().__init__(
            {
                "i": In(numbers),
                "o": Out(numbers),
                "addend": In(signed(bits)),
                **event_members(["saturation"]),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.counters = counters = EventCounters(["saturation"], self._lanes)
        m.submodules.outlet = outlet = Outlet(self.o.p.shape(), 1)
        valid, last = connect_outlet(m, self, outlet, 1)
        m.d.comb += outlet.data.last.eq(last[-1])
        limit = 1 << (self._bits - 1)
        clipped = []
        for lane in range(self._lanes):
            total = register(m, f"total_{lane}", self.i.p.data[lane] + self.addend)
            above, below = total > limit - 1, total < -limit
            clipped.append(above | below)
            m.d.comb += outlet.data.data[lane].eq(Mux(above, limit - 1, Mux(below, -limit, total)))
        promise_steady(m, outlet.inside, "a tensor", addend=self.addend)
        counters.connect(m, self, strobe=valid[-1], saturation=Cat(clipped))
        return m
