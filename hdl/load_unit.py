"""Loads: beats through the quantisers, or ready codes, into the memories."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from golden.command import ErrorCode, Memory, Operation

from .command_queue import command_layout
from .fp4_quantizer import Fp4Quantizer
from .quantizer import Quantizer
from .step_gradient import derivative_layout
from .stream import Pipeline, beat_signature

__all__ = ["EVENTS", "LoadUnit", "load_write"]

EVENTS = ("saturation", "underflow", "nonfinite")


def load_write(size):
    """Lay out one write of a load, of ``load_lanes`` codes or of a beat of biases."""
    return data.StructLayout(
        {
            "memory": 2,
            "address": 22,
            "row": range(size.block),
            "group": range(max(size.block // size.load_lanes, 2)),
            "codes": data.ArrayLayout(4, size.load_lanes),
            "derivatives": data.ArrayLayout(derivative_layout(size.residual_bits), size.load_lanes),
            "biases": data.ArrayLayout(32, size.biases_per_beat),
        }
    )


class LoadUnit(wiring.Component):
    """Bring a matrix, beat by beat, into its memory.

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
    o : ``Out(stream.Signature(load_write(size)))``
        Writes to the memories. ``address`` counts words; of biases, it counts beats.
    busy : ``Out(1)``
        A load is under way.
    done : ``Out(1)``
        A load ends in this cycle, with the last write or an error.
    taken : ``Out(1)``
        A beat of a load is accepted in this cycle.
    error : ``Out(1)``, error_code : ``Out(8)``
        TLAST was wrong: an :class:`golden.command.ErrorCode`.
    i_seed : ``In(stream.Signature(32))``
        New state of the random generator (radix 2), see :class:`hdl.random_bits.RandomBits`.
    saturation_count, underflow_count, nonfinite_count : ``Out(32)``
        Events of all loads.
    clear_counts : ``In(1)``
        Clears the counts.
    """

    latency = 5

    def __init__(self, size):
        self._size = size
        super().__init__(
            {
                "command": In(stream.Signature(command_layout())),
                "i": In(beat_signature(data.ArrayLayout(size.wide_format.width, size.load_lanes))),
                "o": Out(stream.Signature(load_write(size))),
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
        memory = Signal(Memory)
        rows, columns = Signal(16), Signal(16)

        # Beats of a row; those of biases are beats of one row as well.
        row_lanes = Signal(16)
        is_biases = memory == Memory.BIASES
        m.d.comb += row_lanes.eq(size.load_lanes)
        with m.If(is_biases):
            m.d.comb += row_lanes.eq(size.biases_per_beat)

        running = Signal()  # beats are still to come
        waiting = Signal()  # writes are still to come
        skipping = Signal()  # beats are thrown away
        columns_left = Signal(16)
        rows_left = Signal(16)
        row_ends = Signal()
        ends = Signal()
        m.d.comb += [
            row_ends.eq(columns_left <= row_lanes),
            ends.eq(row_ends & (rows_left == 1)),
            self.busy.eq(running | waiting),
            self.command.ready.eq(~running & ~waiting & ~skipping),
        ]
        flow = self._quantize(m, command, memory, columns_left)
        go = Signal()
        m.d.comb += [
            go.eq(running & flow.ready),
            flow.valid.eq(running & self.i.valid),
            self.i.ready.eq(go | skipping),
            self.taken.eq(go & self.i.valid),
        ]

        with m.If(self.command.ready & self.command.valid):
            m.d.sync += [command.eq(self.command.payload), running.eq(1), waiting.eq(1)]
            self._start(m, memory, rows, columns, rows_left, columns_left)
        with m.If(self.taken):
            m.d.sync += columns_left.eq(columns_left - row_lanes)
            with m.If(row_ends):
                m.d.sync += [columns_left.eq(columns), rows_left.eq(rows_left - 1)]
            with m.If(ends | self.i.p.last):
                m.d.sync += running.eq(0)
            with m.If(ends & ~self.i.p.last):
                m.d.sync += skipping.eq(1)
                m.d.comb += [self.error.eq(1), self.error_code.eq(ErrorCode.MISSING_LAST)]
            with m.Elif(~ends & self.i.p.last):
                m.d.comb += [self.error.eq(1), self.error_code.eq(ErrorCode.EARLY_LAST)]
        with m.If(skipping & self.i.valid & self.i.p.last):
            m.d.sync += skipping.eq(0)

        # What left the input and is not written yet.
        inside = Signal(range(self.latency + 2))
        written = Signal()
        m.d.comb += [
            written.eq(self.o.valid & self.o.ready),
            self.done.eq(waiting & ~running & ~inside.any()),
        ]
        m.d.sync += inside.eq(inside + self.taken - written)
        with m.If(self.done):
            m.d.sync += waiting.eq(0)

        self._place(m, written, command, memory, columns, row_lanes)
        return m

    def _start(self, m, memory, rows, columns, rows_left, columns_left):
        """Take shape and memory of a command."""
        command = self.command.payload
        of_operation = {
            Operation.LOAD_ACTIVATIONS: (Memory.ACTIVATIONS, command.batch, command.inputs),
            Operation.LOAD_WEIGHTS: (Memory.WEIGHTS, command.outputs, command.inputs),
            Operation.LOAD_GRADIENTS: (Memory.GRADIENTS, command.batch, command.outputs),
            Operation.LOAD_BIASES: (Memory.BIASES, 1, command.outputs),
        }
        with m.Switch(command.operation):
            for operation, (which, height, width) in of_operation.items():
                case = m.Default() if operation is Operation.LOAD_BIASES else m.Case(operation)
                with case:
                    m.d.sync += [
                        memory.eq(which),
                        rows.eq(height),
                        columns.eq(width),
                        rows_left.eq(height),
                        columns_left.eq(width),
                    ]

    def _quantize(self, m, command, memory, columns_left):
        """Make codes of the beats that are offered; returns their stream and drives the writes."""
        size = self._size
        width, lanes = size.wide_format.width, size.load_lanes
        m.submodules.quantizer = quantizer = Quantizer(
            size.wide_format, 4, lanes, size.residual_bits, size.in_range_rule
        )
        m.submodules.fp4_quantizer = fp4 = Fp4Quantizer(
            size.wide_format,
            size.fmt,
            lanes,
            size.underflow,
            size.odd_shift,
            size.random_bits,
            size.seed,
        )
        beat = stream.Signature(data.ArrayLayout(width, lanes)).create(path=("offered",))
        kept = stream.Signature(data.ArrayLayout(width, lanes)).create(path=("kept",))
        is_biases = memory == Memory.BIASES
        to_fp4 = ~command.codes & (memory == Memory.GRADIENTS)
        to_integer = ~command.codes & ~is_biases & ~to_fp4
        raw = command.codes | is_biases

        # Lanes beyond the last column are zero, and so count as nothing.
        for lane in range(lanes):
            inside = Signal(name=f"inside_{lane}")
            m.d.comb += [
                inside.eq((columns_left > lane) | is_biases),
                beat.payload[lane].eq(self.i.p.data[lane] & inside.replicate(width)),
            ]
        # A register right behind the input.
        pipeline = Pipeline(m, beat, kept, 1)
        with m.If(pipeline.enable[0]):
            m.d.sync += kept.payload.eq(beat.payload)
        m.d.comb += [
            quantizer.i.p.data.eq(kept.payload),
            quantizer.i.valid.eq(kept.valid & to_integer),
            quantizer.is_signed.eq((memory == Memory.WEIGHTS) | command.signed_activations),
            quantizer.reciprocal_significand.eq(command.significand),
            quantizer.reciprocal_exponent.eq(command.exponent),
            fp4.i.p.data.eq(kept.payload),
            fp4.i.valid.eq(kept.valid & to_fp4),
            fp4.scale_exponent.eq(command.fp4_exponent),
        ]
        if size.fmt.log2_radix == 1:
            m.d.comb += fp4.stochastic.eq(command.stochastic)
            wiring.connect(m, wiring.flipped(self.i_seed), fp4.i_seed)
        else:
            m.d.comb += [fp4.phase.eq(command.phase), self.i_seed.ready.eq(1)]

        # What needs no quantiser passes by.
        full = kept.valid & raw
        m.d.comb += kept.ready.eq(
            Mux(raw, self.o.ready, Mux(to_fp4, fp4.i.ready, quantizer.i.ready))
        )

        write = self.o.payload
        m.d.comb += [
            self.o.valid.eq(full | fp4.o.valid | quantizer.o.valid),
            fp4.o.ready.eq(self.o.ready),
            quantizer.o.ready.eq(self.o.ready),
            write.biases.eq(kept.payload.as_value()),
        ]
        for lane in range(lanes):
            side = quantizer.o.p.user[lane]
            code = quantizer.o.p.data[lane]
            is_signed = quantizer.is_signed
            m.d.comb += [
                write.codes[lane].eq(
                    Mux(full, kept.payload[lane][:4], Mux(fp4.o.valid, fp4.o.p.data[lane], code))
                ),
                write.derivatives[lane].in_range.eq(side.in_range | full),
                write.derivatives[lane].value.eq(
                    Mux(
                        full,
                        0,
                        Mux(
                            side.in_range,
                            side.residual,
                            Cat(code, code[-1] & is_signed).as_signed(),
                        ),
                    )
                ),
            ]

        m.d.comb += [
            quantizer.clear_counts.eq(self.clear_counts),
            fp4.clear_counts.eq(self.clear_counts),
        ]
        for event in EVENTS:
            both = Signal(33, name=f"{event}_both")
            m.d.comb += both.eq(
                getattr(quantizer, f"{event}_count") + getattr(fp4, f"{event}_count")
            )
            m.d.sync += getattr(self, f"{event}_count").eq(Mux(both[-1], 0xFFFF_FFFF, both))
        return beat

    def _place(self, m, written, command, memory, columns, row_lanes):
        """Count words, rows of a word and groups of a row along with the writes."""
        size = self._size
        log2_block = size.block.bit_length() - 1
        groups = size.block // size.load_lanes
        write = self.o.payload
        row_begin = Signal(22)  # word of the first column
        word = Signal(22)
        row = Signal(range(size.block))
        group = Signal(range(max(groups, 2)))
        left = Signal(16)
        across = Signal(16)
        m.d.comb += [
            across.eq((columns + (size.block - 1)) >> log2_block),
            write.memory.eq(memory),
            write.address.eq(word),
            write.row.eq(row),
            write.group.eq(group),
        ]
        start = self.command.ready & self.command.valid
        with m.If(start):
            coming = self.command.payload
            m.d.sync += [row.eq(0), group.eq(0)]
            bases = {
                Operation.LOAD_ACTIVATIONS: (coming.activation_base, coming.inputs),
                Operation.LOAD_WEIGHTS: (coming.weight_base, coming.inputs),
                Operation.LOAD_GRADIENTS: (coming.gradient_base, coming.outputs),
                # Words of biases are cut into beats.
                Operation.LOAD_BIASES: (
                    coming.bias_base << ((size.columns // size.biases_per_beat).bit_length() - 1),
                    coming.outputs,
                ),
            }
            with m.Switch(coming.operation):
                for operation, (base, width) in bases.items():
                    case = m.Default() if operation is Operation.LOAD_BIASES else m.Case(operation)
                    with case:
                        m.d.sync += [word.eq(base), row_begin.eq(base), left.eq(width)]
        with m.Elif(written):
            m.d.sync += [group.eq(group + 1), left.eq(left - row_lanes)]
            with m.If((group == groups - 1) | (memory == Memory.BIASES)):
                m.d.sync += [group.eq(0), word.eq(word + 1)]
            with m.If((left <= row_lanes) & (memory != Memory.BIASES)):
                m.d.sync += [group.eq(0), left.eq(columns), row.eq(row + 1), word.eq(row_begin)]
                with m.If(row == size.block - 1):
                    m.d.sync += [word.eq(row_begin + across), row_begin.eq(row_begin + across)]
