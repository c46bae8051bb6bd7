"""Loads: beats through the quantisers, or ready codes, into the memories."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from golden.command import ErrorCode, Operation, Store

from .commands import command_layout
from .copies import spread
from .countdown import Countdown
from .event_counters import EventCounters
from .fp4_quantizer import Fp4Lane
from .outlet import Outlet
from .quantizer import IntegerLane
from .random_bits import RandomBits
from .select import equals
from .step_gradient import derivative_layout
from .store_ports import load_write
from .stream import beat_signature

__all__ = ["EVENTS", "LoadUnit"]

EVENTS = ("saturation", "underflow", "nonfinite")
#: What a lane calls them.
#: Outputs of the lanes, in the order of the events that they are counted as.
_FLAGS = ("saturated", "underflowed", "was_nonfinite")


def _quantized(size):
    """Lay out a beat of codes that waits to be written; beats of biases wait as they are."""
    return data.StructLayout(
        {
            "codes": data.ArrayLayout(4, size.load_lanes),
            "derivatives": data.ArrayLayout(derivative_layout(size.residual_bits), size.load_lanes),
        }
    )


class LoadUnit(wiring.Component):
    """Bring a matrix, beat by beat, into its memory.

    Beats go through the quantisers, which never stall, into an outlet from which they are written.

    The latency from a beat to its write is at most ``latency`` cycles; the throughput is one beat
    per cycle.

    Parameters
    ----------
    size : CoreSize
        Parameters of the core.

    Members
    -------
    command : ``In(stream.Signature(command_layout()))``
        Loads to do; ready while none is under way.
    i : ``In(beat_signature(ArrayLayout(wide_format.width, load_lanes)))``
        Beats.
    write : ``Out(load_write(size))``
        Write to a memory. ``address`` counts words; of biases, it counts beats.
    memory : ``Out(Store)``
        To which memory the load under way goes.
    wait : ``In(1)``
        There will be no write in the next cycle.
    busy : ``Out(1)``
        A load is under way.
    done : ``Out(1)``
        A load ends in this cycle, with the last write or an error.
    taken : ``Out(1)``
        A beat of a load is accepted in this cycle.
    error : ``Out(1)``, error_code : ``Out(8)``
        TLAST of the beat before was wrong: an :class:`golden.command.ErrorCode`.
    i_seed : ``In(stream.Signature(32))``
        New state of the random generator (radix 2), see :class:`hdl.random_bits.RandomBits`.
    saturation_count, underflow_count, nonfinite_count : ``Out(32)``
        Events of all loads.
    clear_counts : ``In(1)``
        Clears the counts.
    """

    latency = 3 + Fp4Lane.latency + Outlet.latency
    #: Stages from a beat that is taken to the outlet.
    outlet_stages = latency - 1 - Outlet.latency
    #: Cycles of a load beside its beats and their way: until the first one is taken, and from the
    #: last write on until the next load can start.
    turnaround = 5

    def __init__(self, size):
        self._size = size
        super().__init__(
            {
                "command": In(stream.Signature(command_layout())),
                "i": In(beat_signature(data.ArrayLayout(size.wide_format.width, size.load_lanes))),
                "write": Out(load_write(size)),
                "memory": Out(Store),
                "wait": In(1),
                "busy": Out(1),
                "done": Out(1),
                "taken": Out(1),
                "error": Out(1),
                "error_code": Out(8),
                "i_seed": In(stream.Signature(32)),
                **{f"{event}_count": Out(32) for event in EVENTS},
                "clear_counts": In(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        size = self._size
        command = Signal(command_layout())
        memory = self.memory
        rows = Signal(16)
        columns = Signal(16)
        is_biases = Signal()
        # Lanes of a beat; the beats of biases are those of one row.
        row_lanes = Signal(range(max(size.biases_per_beat, size.load_lanes) + 1))
        # The command is known, but not what is made of it.
        taking = Signal()
        starting = Signal()
        running = Signal()  # beats are still to come
        waiting = Signal()  # writes are still to come
        skipping = Signal()  # beats are thrown away
        # What comes while nothing is under way may be anything, until it is valid.
        with m.If(self.command.ready):
            m.d.sync += [command.eq(self.command.payload), waiting.eq(self.command.valid)]
            self._start(m, memory, rows, columns, row_lanes)
        begin_row, begin_rows = (
            Signal(signed(17), name=f"begin_{x}", reset_less=True) for x in ("row", "rows")
        )
        m.d.sync += [
            taking.eq(self.command.ready & self.command.valid),
            starting.eq(taking),
            begin_row.eq(Countdown.first(columns, row_lanes)),
            begin_rows.eq(Countdown.first(rows, 1)),
            is_biases.eq(memory == Store.BIASES),
        ]

        row = Countdown(m, "row", columns, row_lanes, begin_row)
        rows_left = Countdown(m, "rows", rows, 1, begin_rows, once=True)
        ends = Signal()
        m.d.comb += ends.eq(row.end & rows_left.end)

        width = max(size.load_lanes * size.wide_format.width, _quantized(size).size)
        m.submodules.outlet = outlet = Outlet(width, self.outlet_stages)
        m.d.comb += [
            self.i.ready.eq((running & outlet.room) | skipping),
            self.taken.eq(running & outlet.room & self.i.valid),
            outlet.entered.eq(self.taken),
            self.busy.eq(waiting),
            self.command.ready.eq(~waiting & ~skipping),
            self.done.eq(waiting & ~taking & ~starting & ~running & ~outlet.inside),
        ]
        with m.If(starting):
            m.d.sync += running.eq(1)
            row.start()
            rows_left.start()
        with m.If(self.taken):
            row.next()
            with m.If(row.end):
                rows_left.next()
            with m.If(ends | self.i.p.last):
                m.d.sync += running.eq(0)
        with m.If(self.done):
            m.d.sync += waiting.eq(0)
        with m.If(self.taken & ends & ~self.i.p.last):
            m.d.sync += skipping.eq(1)
        with m.Elif(skipping & self.i.valid & self.i.p.last):
            m.d.sync += skipping.eq(0)
        # An error is told a cycle later, while the beat is still inside.
        m.d.sync += [
            self.error.eq(self.taken & (ends ^ self.i.p.last)),
            self.error_code.eq(Mux(ends, ErrorCode.MISSING_LAST, ErrorCode.EARLY_LAST)),
        ]

        # Lanes beyond the last column are zero, and so count as nothing.
        lanes = []
        for lane in range(size.load_lanes):
            inside = Signal(name=f"inside_{lane}")
            number = Signal(size.wide_format.width, name=f"number_{lane}", reset_less=True)
            m.d.comb += inside.eq(row.reaches(size.load_lanes, lane) | is_biases)
            m.d.sync += number.eq(self.i.p.data[lane] & inside.replicate(len(number)))
            lanes.append(number)
        self._quantize(m, command, memory, is_biases, lanes, outlet)
        written = self._deliver(m, outlet, memory)
        left = Countdown(m, "writes", columns, row_lanes, begin_row)
        self._place(m, starting, written, command, memory, is_biases, columns, left)
        return m

    def _start(self, m, memory, rows, columns, row_lanes):
        """Take shape and memory of a command."""
        size, command = self._size, self.command.payload
        of_operation = {
            Operation.LOAD_ACTIVATIONS: (Store.ACTIVATIONS, command.batch, command.inputs),
            Operation.LOAD_WEIGHTS: (Store.WEIGHTS, command.outputs, command.inputs),
            Operation.LOAD_GRADIENTS: (Store.GRADIENTS, command.batch, command.outputs),
            Operation.LOAD_BIASES: (Store.BIASES, 1, command.outputs),
        }
        with m.Switch(command.operation):
            for operation, (which, height, width) in of_operation.items():
                biases = operation is Operation.LOAD_BIASES
                with m.Default() if biases else m.Case(operation):
                    m.d.sync += [
                        memory.eq(which),
                        rows.eq(height),
                        columns.eq(width),
                        row_lanes.eq(size.biases_per_beat if biases else size.load_lanes),
                    ]

    def _quantize(self, m, command, memory, is_biases, numbers, outlet):
        """Make codes of the beats, or let them pass as they are; then they wait to be written."""
        size = self._size
        binary = size.fmt.log2_radix == 1
        raw, to_fp4, is_signed = (Signal(name=name) for name in ("raw", "to_fp4", "is_signed"))
        m.d.sync += [
            raw.eq(command.codes | is_biases),
            to_fp4.eq(memory == Store.GRADIENTS),
            is_signed.eq((memory == Store.WEIGHTS) | command.signed_activations),
        ]
        valid = [self.taken]
        for k in range(1 + Fp4Lane.latency):
            valid.append(Signal(name=f"valid_{k}"))
            # What passes by leaves no trace behind it, where beats of the next load come.
            m.d.sync += valid[-1].eq(valid[-2] & ~raw if k == 1 else valid[-2])
        of_codes = valid[0] & raw
        of_fp4 = valid[Fp4Lane.latency] & to_fp4
        of_integers = valid[IntegerLane.latency] & ~to_fp4
        put = Signal()
        counting = Signal()
        data_now = Signal.like(outlet.data, name="data_now")
        data_put = Signal.like(outlet.data, name="data_put", reset_less=True)
        put_now = Signal()
        m.d.sync += [
            put_now.eq(of_codes | of_fp4 | of_integers),
            counting.eq(of_fp4 | of_integers),
            put.eq(put_now),
            data_put.eq(data_now),
        ]
        m.d.comb += [outlet.put.eq(put), outlet.data.eq(data_put)]
        if binary:
            m.submodules.random_bits = random = RandomBits(
                size.load_lanes, size.random_bits, size.seed
            )
            wiring.connect(m, wiring.flipped(self.i_seed), random.i_seed)
            drawing = Signal()
            m.d.sync += drawing.eq(valid[Fp4Lane.noise_latency] & to_fp4)
            m.d.comb += random.o.ready.eq(drawing)
        else:
            m.d.comb += self.i_seed.ready.eq(1)

        kept = _quantized(size)(data_now[: _quantized(size).size])
        events = {event: [] for event in EVENTS}
        significands = spread(m, "significand", command.significand, size.load_lanes)
        for k, number in enumerate(numbers):
            m.submodules[f"integer_{k}"] = integer = IntegerLane(
                size.wide_format, 4, size.residual_bits, size.in_range_rule
            )
            m.submodules[f"fp4_{k}"] = fp4 = Fp4Lane(
                size.wide_format, size.fmt, size.underflow, size.odd_shift, size.random_bits
            )
            # Some of those start with ones, which no multiplier of an FPGA has inside.
            factor = Signal.like(significands[k], name=f"factor_{k}", init=0)
            m.d.sync += factor.eq(significands[k])
            m.d.comb += [
                integer.number.eq(number),
                integer.reciprocal_significand.eq(factor),
                integer.reciprocal_exponent.eq(command.exponent),
                integer.is_signed.eq(is_signed),
                fp4.number.eq(number),
                fp4.scale_exponent.eq(command.fp4_exponent),
            ]
            if binary:
                m.d.comb += [
                    fp4.stochastic.eq(command.stochastic),
                    fp4.noise.eq(random.o.payload[k]),
                ]
            else:
                m.d.comb += fp4.phase.eq(command.phase)
            code = Cat(integer.code, integer.code[-1] & is_signed).as_signed()
            derivative = Mux(integer.in_range, integer.residual, code)
            m.d.comb += [
                kept.codes[k].eq(Mux(raw, number[:4], Mux(to_fp4, fp4.code, integer.code))),
                kept.derivatives[k].in_range.eq(raw | integer.in_range),
                kept.derivatives[k].value.eq(Mux(raw, 0, derivative)),
            ]
            for event, name in zip(EVENTS, _FLAGS, strict=True):
                events[event].append(Mux(to_fp4, getattr(fp4, name), getattr(integer, name)))
        with m.If(is_biases):
            m.d.comb += data_now.eq(Cat(numbers))
        m.submodules.counters = counters = EventCounters(EVENTS, size.load_lanes)
        m.d.comb += [
            counters.strobe.eq(counting),
            counters.clear_counts.eq(self.clear_counts),
        ]
        for event in EVENTS:
            m.d.comb += [
                getattr(counters, event).eq(Cat(events[event])),
                getattr(self, f"{event}_count").eq(getattr(counters, f"{event}_count")),
            ]

    def _deliver(self, m, outlet, memory):
        """Write what waits; tells when it is written."""
        size, write = self._size, self.write
        kept = Signal(len(outlet.o.payload), name="payload_kept", reset_less=True)
        codes = _quantized(size)(kept[: _quantized(size).size])
        written = Signal()
        leaving = Signal()
        of_memory = Signal(len(Store))
        m.d.sync += [
            kept.eq(outlet.o.payload),
            written.eq(leaving),
            *(of_memory[which].eq(equals(memory, which)) for which in Store),
            write.memories.eq(of_memory & leaving.replicate(len(Store))),
        ]
        m.d.comb += [
            leaving.eq(outlet.o.valid & ~self.wait),
            outlet.o.ready.eq(~self.wait),
            write.codes.eq(codes.codes),
            write.derivatives.eq(codes.derivatives),
            write.biases.eq(kept),
        ]
        return written

    def _place(self, m, starting, written, command, memory, is_biases, columns, left):
        """Count words, rows of a word and groups of a row along with the writes."""
        size = self._size
        log2_block = size.block.bit_length() - 1
        groups = size.block // size.load_lanes
        word = Signal(22)
        row_begin = Signal(22)  # word of the first column
        below = Signal(22)  # that of the next row of words
        across = Signal(16)
        row = Signal(range(size.block))
        last_row = Signal()
        group = Signal(range(max(groups, 2)))
        # The same, with a bit for each.
        row_bits = Signal(size.block)
        group_bits = Signal(groups)
        m.d.sync += [
            across.eq((columns + (size.block - 1)) >> log2_block),
            below.eq(row_begin + across),
        ]
        m.d.comb += [
            self.write.address.eq(word),
            self.write.row.eq(row),
            self.write.rows.eq(row_bits),
            self.write.group.eq(group),
            self.write.groups.eq(group_bits),
        ]
        base = Signal(22, reset_less=True)
        bases = {
            Store.ACTIVATIONS: command.activation_base,
            Store.WEIGHTS: command.weight_base,
            Store.GRADIENTS: command.gradient_base,
            # Words of biases are cut into beats.
            Store.BIASES: command.bias_base
            << ((size.columns // size.biases_per_beat).bit_length() - 1),
        }
        with m.Switch(memory):
            for which, first in bases.items():
                with m.Case(which):
                    m.d.sync += base.eq(first)
        with m.If(starting):
            m.d.sync += [word.eq(base), row_begin.eq(base)]
            m.d.sync += [row.eq(0), row_bits.eq(1), last_row.eq(0)]
            m.d.sync += [group.eq(0), group_bits.eq(1)]
            left.start()
        with m.Elif(written):
            left.next()
            m.d.sync += [group.eq(group + 1), group_bits.eq(group_bits << 1)]
            with m.If(group_bits[-1] | is_biases):
                m.d.sync += [group.eq(0), group_bits.eq(1), word.eq(word + 1)]
            with m.If(left.end & ~is_biases):
                m.d.sync += [group.eq(0), group_bits.eq(1)]
                m.d.sync += [row.eq(row + 1), row_bits.eq(row_bits.rotate_left(1))]
                m.d.sync += [last_row.eq(row_bits[-2]), word.eq(row_begin)]
                with m.If(last_row):
                    m.d.sync += [word.eq(below), row_begin.eq(below)]
