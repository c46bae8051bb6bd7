"""The lanes of a load: what makes codes of the numbers of a beat, or lets it pass as it is."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from nibblegrad.golden.engine.command import Store
from nibblegrad.golden.engine.geometry import CODE_BITS
from nibblegrad.hdl.base.copies import spread
from nibblegrad.hdl.base.event_counters import EventCounters
from nibblegrad.hdl.base.pipeline import Flow, register
from nibblegrad.hdl.base.random_bits import RandomBits
from nibblegrad.hdl.cores.fp4_quantizer import EVENTS, Fp4Lane
from nibblegrad.hdl.cores.quantizer import IntegerLane
from nibblegrad.hdl.cores.step_gradient import derivative_layout
from nibblegrad.hdl.engine.commands import command_layout

__all__ = ["EVENTS", "MOST_COPIES", "LoadLanes", "loaded_codes"]

#: Outputs of a lane, in the order of the events that they are counted as.
_FLAGS = ("saturated", "underflowed", "was_nonfinite")

#: Copies of the scale, each of which follows another one, in as many cycles as there are for it: it
#: is known two cycles before the first beat, and the lanes, behind one more register each, multiply
#: by it in the fourth cycle after that beat. Where there are more lanes, some share a copy.
MOST_COPIES = (1 << 2 + 4 - 1) - 1


def loaded_codes(size):
    """Lay out a beat of codes that waits to be written; beats of biases wait as they are."""
    return data.StructLayout(
        {
            "codes": data.ArrayLayout(CODE_BITS, size.load_lanes),
            "derivatives": data.ArrayLayout(derivative_layout(size.residual_bits), size.load_lanes),
        }
    )


class LoadLanes(wiring.Component):
    """Make integer codes, or FP4 codes, of beats; ready codes and biases pass as they are.

    Nothing stalls. Beats of a load all go the same way, and the ways have different lengths: all
    beats of a load must have come through before one of the next load enters.

    The latency from ``taken`` to ``put`` is at most ``latency`` cycles; the throughput is one beat
    per cycle.

    Parameters
    ----------
    size : CoreSize
        Parameters of the core.

    Members
    -------
    command : ``In(command_layout())``, memory : ``In(Store)``
        The load under way, and where it goes. Stable from two cycles before the first beat until
        the last one has come through.
    is_biases : ``In(1)``
        Whether it goes to the biases, a cycle later.
    taken : ``In(1)``
        Asserted while a beat enters.
    beat : ``In(ArrayLayout(wide_format.width, load_lanes))``
        Wide floats of the beat that enters.
    inside : ``In(load_lanes)``
        Lanes that are not beyond the last column; the others become zero, and count as nothing.
    put : ``Out(1)``, data : ``Out(width)``
        A beat has come through: ``loaded_codes(size)``, or biases as they came.
    i_seed : ``In(stream.Signature(32))``
        New state of the random generator (radix 2), see
        :class:`nibblegrad.hdl.base.random_bits.RandomBits`.
    saturation_count, underflow_count, nonfinite_count : ``Out(32)``
        Events of all loads.
    clear_counts : ``In(1)``
        Clears the counts.
    """

    # The numbers are kept, go through the longest of the lanes, and are chosen.
    latency = 1 + max(IntegerLane.latency, Fp4Lane.latency) + 1

    def __init__(self, size):
        self._size = size
        width = max(size.load_lanes * size.wide_format.width, loaded_codes(size).size)
        super().__init__(
            {
                "command": In(command_layout()),
                "memory": In(Store),
                "is_biases": In(1),
                "taken": In(1),
                "beat": In(data.ArrayLayout(size.wide_format.width, size.load_lanes)),
                "inside": In(size.load_lanes),
                "put": Out(1),
                "data": Out(width),
                "i_seed": In(stream.Signature(32)),
                **{f"{event}_count": Out(32) for event in EVENTS},
                "clear_counts": In(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        is_raw = register(m, "is_raw", self.command.codes | self.is_biases)
        to_fp4 = register(m, "to_fp4", self.memory == Store.GRADIENTS)
        flow = Flow(m)
        numbers = self._numbers(flow)
        cycle = numbers[0].cycle
        of_integers, of_fp4 = cycle + IntegerLane.latency, cycle + Fp4Lane.latency
        taken = flow.input("taken", self.taken, reset=True)
        # What passes by leaves no trace behind it, where beats of the next load come.
        arrived = flow.stage("arrived", lambda taken: taken, taken, reset=True)
        inside = flow.stage("inside", lambda arrived: arrived & ~is_raw, arrived, reset=True)

        draw = flow.at(inside, cycle + Fp4Lane.noise_latency - 1) & to_fp4
        noise = self._noise(m, register(m, "drawing", draw, reset=True))
        made, events = self._make(m, [number.value for number in numbers], noise, is_raw, to_fp4)
        # A cycle before they leave the lanes.
        leaves = Mux(to_fp4, flow.at(inside, of_fp4 - 1), flow.at(inside, of_integers - 1))
        passes = flow.at(taken, cycle - 1) & is_raw
        is_made = register(m, "is_made", leaves | passes, reset=True)
        self._count(m, register(m, "counting", leaves, reset=True), events)

        # Whatever way they went, it is the longest that counts.
        longest = max(of_integers, of_fp4)
        put = flow.input("is_made", is_made, longest, reset=True)
        put = flow.stage("put_kept", lambda is_made: is_made, put, reset=True)
        kept = flow.keep("data_kept", flow.input("made", made, longest))
        put, kept = flow.close(self.latency, put=put, data=kept)
        m.d.comb += [self.put.eq(put), self.data.eq(kept)]
        return m

    def _numbers(self, flow):
        """Take the numbers of a beat; those of lanes beyond the last column are zero."""

        def take(number, inside):
            return number & inside.replicate(len(number))

        return [
            flow.stage(
                f"number_{k}",
                take,
                flow.input(f"beat_{k}", self.beat[k]),
                flow.input(f"inside_{k}", self.inside[k]),
            )
            for k in range(self._size.load_lanes)
        ]

    def _noise(self, m, draw):
        """Draw random bits for each lane, where the format needs any."""
        size = self._size
        if not size.fmt.is_stochastic:
            m.d.comb += self.i_seed.ready.eq(1)
            return None
        random = RandomBits(size.load_lanes, size.random_bits, size.seed)
        m.submodules.random_bits = random
        wiring.connect(m, wiring.flipped(self.i_seed), random.i_seed)
        m.d.comb += random.o.ready.eq(draw)
        return random.o.payload

    def _make(self, m, numbers, noise, is_raw, to_fp4):
        """Make what is written of the numbers; list the events of each lane beside it."""
        size = self._size
        is_signed = (self.memory == Store.WEIGHTS) | self.command.signed_activations
        is_signed = register(m, "is_signed", is_signed)
        made = Signal.like(self.data, name="made")
        kept = loaded_codes(size)(made[: loaded_codes(size).size])
        events = {event: [] for event in EVENTS}
        copies = min(size.load_lanes, MOST_COPIES)
        significands = spread(m, "significand", self.command.significand, copies)
        for k, number in enumerate(numbers):
            integer = self._integer_lane(m, k, number, significands[k % copies], is_signed)
            fp4 = self._fp4_lane(m, k, number, noise)
            code = Cat(integer.code, integer.code[-1] & is_signed).as_signed()
            derivative = Mux(integer.in_range, integer.residual, code)
            m.d.comb += [
                kept.codes[k].eq(
                    Mux(is_raw, number[:CODE_BITS], Mux(to_fp4, fp4.code, integer.code))
                ),
                kept.derivatives[k].in_range.eq(is_raw | integer.in_range),
                kept.derivatives[k].value.eq(Mux(is_raw, 0, derivative)),
            ]
            for event, name in zip(EVENTS, _FLAGS, strict=True):
                events[event].append(Mux(to_fp4, getattr(fp4, name), getattr(integer, name)))
        with m.If(self.is_biases):
            m.d.comb += made.eq(Cat(numbers))
        return made, events

    def _integer_lane(self, m, k, number, significand, is_signed):
        size = self._size
        m.submodules[f"integer_{k}"] = lane = IntegerLane(
            size.wide_format, CODE_BITS, size.residual_bits, size.in_range_rule
        )
        # Some of those start with ones, which no multiplier of an FPGA has inside.
        factor = register(m, f"factor_{k}", significand)
        m.d.comb += [
            lane.number.eq(number),
            lane.reciprocal_significand.eq(factor),
            lane.reciprocal_exponent.eq(self.command.exponent),
            lane.is_signed.eq(is_signed),
        ]
        return lane

    def _fp4_lane(self, m, k, number, noise):
        size, command = self._size, self.command
        m.submodules[f"fp4_{k}"] = lane = Fp4Lane(
            size.wide_format, size.fmt, size.underflow, size.odd_shift, size.random_bits
        )
        m.d.comb += [lane.number.eq(number), lane.scale_exponent.eq(command.fp4_exponent)]
        if noise is not None:
            m.d.comb += [lane.stochastic.eq(command.stochastic), lane.noise.eq(noise[k])]
        else:
            m.d.comb += lane.phase.eq(command.phase)
        return lane

    def _count(self, m, strobe, events):
        """Count the events of beats that have come through."""
        m.submodules.counters = counters = EventCounters(EVENTS, self._size.load_lanes)
        m.d.comb += [counters.strobe.eq(strobe), counters.clear_counts.eq(self.clear_counts)]
        for event in EVENTS:
            m.d.comb += [
                getattr(counters, event).eq(Cat(events[event])),
                getattr(self, f"{event}_count").eq(getattr(counters, f"{event}_count")),
            ]
