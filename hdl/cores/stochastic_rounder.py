"""Stochastic rounder: fixed point to integers, and wide floats to narrower ones."""

# Ref: US10684824B2

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from nibblegrad.golden.numbers.formats import FloatFormat, IntFormat
from nibblegrad.hdl.base.contracts import promise_steady
from nibblegrad.hdl.base.event_counters import EventCounters, event_members
from nibblegrad.hdl.base.outlet import Outlet, connect_outlet
from nibblegrad.hdl.base.parameters import check_integer, check_type
from nibblegrad.hdl.base.random_bits import RandomBits
from nibblegrad.hdl.base.stream import beat_signature
from nibblegrad.hdl.encoders.rounding_lanes import FixedLane, FloatLane

__all__ = ["EVENTS", "FixedRounder", "FloatRounder"]

EVENTS = ("saturation", "underflow", "nonfinite")


class FloatRounder(wiring.Component):
    """Round a stream of wide floats to a narrower format.

    Each beat on ``i`` is answered by a beat on ``o``, lane by lane and in order. Every accepted
    beat takes random bits, whatever the mode, so the result depends on seed and data alone. NaN
    and infinity stay what they are as far as the target can say so, and are counted.

    The golden model is :func:`nibblegrad.golden.cores.stochastic_rounder.round_float_codes`.

    The latency is 13 cycles and the throughput one beat per cycle; ready, valid and payload come
    from registers.

    Parameters
    ----------
    source, target : FloatFormat
        Formats; the target has fewer fraction bits.
    lanes : int
        Count of numbers in a beat, 1 to 64.
    random_bits : int
        Random bits per number, 1 to 24.
    seed : int
        Seed of the random bits after reset.

    Members
    -------
    i : ``In(beat_signature(ArrayLayout(source.width, lanes)))``
        Codes of ``source``.
    o : ``Out(beat_signature(ArrayLayout(target.width, lanes)))``
        Codes of ``target``.
    i_seed : ``In(stream.Signature(32))``
        Four words of a new random state; see :class:`nibblegrad.hdl.base.random_bits.RandomBits`.
    mode : ``In(2)``
        A :class:`nibblegrad.golden.numbers.rounding.RoundMode`; stable while a tensor passes.
    seed_error : ``Out(1)``
        Sticky: a seed of zeros was loaded.
    saturation_count, underflow_count, nonfinite_count : ``Out(32)``
        Numbers that became infinite, non-zero numbers that became 0, NaN and infinities.
    saturation_seen, underflow_seen, nonfinite_seen : ``Out(1)``
        Sticky: whether there was any.
    clear_counts : ``In(1)``
        Clears the counts and sticky bits.

    Raises
    ------
    TypeError, ValueError
        If a parameter is not what it must be.
    """

    latency = FloatLane.latency + Outlet.latency

    def __init__(self, source, target, lanes=4, random_bits=8, seed=1):
        check_type("Source format", source, FloatFormat)
        check_type("Target format", target, FloatFormat)
        check_integer("Lane count", lanes, 1, 64)
        check_integer("Random bit count", random_bits, 1, 24)
        check_integer("Seed", seed, 0, 2**64 - 1)
        if source.fraction_bits <= target.fraction_bits:
            raise ValueError(
                f"Target format must have fewer fraction bits than {source.name}, "
                f"and {target.name} has not"
            )
        self._source = source
        self._target = target
        self._lanes = lanes
        self._random_bits = random_bits
        self._seed = seed
        super().__init__(
            {
                "i": In(beat_signature(data.ArrayLayout(source.width, lanes))),
                "o": Out(beat_signature(data.ArrayLayout(target.width, lanes))),
                "i_seed": In(stream.Signature(32)),
                "mode": In(2),
                "seed_error": Out(1),
                **event_members(EVENTS),
            }
        )

    def elaborate(self, platform):
        m = Module()
        valid, outlet, random = _free_running(m, self, FloatLane, self._random_bits, self._seed)
        lanes = []
        for k in range(self._lanes):
            lane = FloatLane(self._source, self._target, self._random_bits)
            m.submodules[f"lane_{k}"] = lane
            lanes.append(lane)
            _connect_lane(m, self, lane, k, outlet, random)
        m.submodules.counters = counters = EventCounters(EVENTS, self._lanes)
        counters.connect(
            m,
            self,
            strobe=valid[-1],
            saturation=Cat(lane.overflowed for lane in lanes),
            underflow=Cat(lane.underflowed for lane in lanes),
            nonfinite=Cat(lane.was_nonfinite for lane in lanes),
        )
        return m


class FixedRounder(wiring.Component):
    """Round a stream of fixed point numbers to integers.

    Each beat on ``i`` is answered by a beat on ``o``, lane by lane and in order. Every accepted
    beat takes random bits, whatever the mode.

    The golden model is :func:`nibblegrad.golden.cores.stochastic_rounder.round_fixed`.

    The latency is 6 cycles and the throughput one beat per cycle; ready, valid and payload come
    from registers.

    Parameters
    ----------
    width : int
        Width of the two's complement input, 2 to 48.
    fraction_bits : int
        Bits to discard, 1 to ``width - 1``.
    target : IntFormat
        Format of the output.
    lanes : int
        Count of numbers in a beat, 1 to 64.
    random_bits : int
        Random bits per number, 1 to 24.
    seed : int
        Seed of the random bits after reset.

    Members
    -------
    i : ``In(beat_signature(ArrayLayout(signed(width), lanes)))``
        Numbers in units of ``2**-fraction_bits``.
    o : ``Out(beat_signature(ArrayLayout(target.bits, lanes)))``
        Integers.
    i_seed, mode, seed_error, saturation_count, underflow_count, saturation_seen, \
underflow_seen, clear_counts :
        As in :class:`FloatRounder`; saturations are clipped numbers.

    Raises
    ------
    TypeError, ValueError
        If a parameter is not what it must be.
    """

    latency = FixedLane.latency + Outlet.latency

    def __init__(self, width, fraction_bits, target, lanes=4, random_bits=8, seed=1):
        check_integer("Input width", width, 2, 48)
        check_integer("Count of discarded bits", fraction_bits, 1, width - 1)
        check_type("Target format", target, IntFormat)
        check_integer("Lane count", lanes, 1, 64)
        check_integer("Random bit count", random_bits, 1, 24)
        check_integer("Seed", seed, 0, 2**64 - 1)
        self._width = width
        self._fraction_bits = fraction_bits
        self._target = target
        self._lanes = lanes
        self._random_bits = random_bits
        self._seed = seed
        super().__init__(
            {
                "i": In(beat_signature(data.ArrayLayout(signed(width), lanes))),
                "o": Out(beat_signature(data.ArrayLayout(target.bits, lanes))),
                "i_seed": In(stream.Signature(32)),
                "mode": In(2),
                "seed_error": Out(1),
                **event_members(EVENTS[:2]),
            }
        )

    def elaborate(self, platform):
        m = Module()
        valid, outlet, random = _free_running(m, self, FixedLane, self._random_bits, self._seed)
        lanes = []
        for k in range(self._lanes):
            lane = FixedLane(self._width, self._fraction_bits, self._target, self._random_bits)
            m.submodules[f"lane_{k}"] = lane
            lanes.append(lane)
            _connect_lane(m, self, lane, k, outlet, random)
        m.submodules.counters = counters = EventCounters(EVENTS[:2], self._lanes)
        counters.connect(
            m,
            self,
            strobe=valid[-1],
            saturation=Cat(lane.saturated for lane in lanes),
            underflow=Cat(lane.underflowed for lane in lanes),
        )
        return m


def _free_running(m, core, lane, random_bits, seed):
    """Let beats of a core through lanes of a class into an outlet.

    Returns
    -------
    (list of Value, Outlet, RandomBits)
        Whether a beat is in a stage; the outlet; what brings random bits to the lanes.
    """
    lanes = core.i.p.data.shape().length
    m.submodules.random_bits = random = RandomBits(lanes, random_bits, seed)
    m.submodules.outlet = outlet = Outlet(core.o.p.shape(), lane.latency)
    valid, last = connect_outlet(m, core, outlet, lane.latency, random.admit(m))
    random.connect(m, core, valid[lane.noise_latency])
    m.d.comb += outlet.data.last.eq(last[-1])
    promise_steady(m, outlet.inside, "a tensor", mode=core.mode)
    return valid, outlet, random


def _connect_lane(m, core, lane, k, outlet, random):
    """Wire a lane of a core between its input, its outlet and its random bits."""
    m.d.comb += [
        lane.number.eq(core.i.p.data[k]),
        lane.mode.eq(core.mode),
        lane.noise.eq(random.o.payload[k]),
        outlet.data.data[k].eq(lane.code),
    ]
