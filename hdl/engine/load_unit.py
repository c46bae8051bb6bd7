"""Loads: beats through the quantisers, or ready codes, into the memories."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from nibblegrad.golden.engine.command import ErrorCode, Operation, Store
from nibblegrad.hdl.base.countdown import Countdown
from nibblegrad.hdl.base.outlet import Outlet
from nibblegrad.hdl.base.pipeline import register
from nibblegrad.hdl.base.select import equals
from nibblegrad.hdl.base.stream import beat_signature
from nibblegrad.hdl.engine.commands import command_layout
from nibblegrad.hdl.engine.load_address import LoadAddress
from nibblegrad.hdl.engine.load_lanes import EVENTS, LoadLanes, loaded_codes
from nibblegrad.hdl.engine.store_ports import load_signature

__all__ = ["LoadUnit"]


def _matrix_layout(size):
    """Lay out the shape of a matrix, and how many of its columns a beat has."""
    return data.StructLayout(
        {
            "rows": size.count_bits,
            "columns": size.count_bits,
            "row_lanes": range(max(size.biases_per_beat, size.load_lanes) + 1),
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
    store : ``Out(load_signature(size))``
        Writes to the operand store. Their address counts words; of biases, it counts beats.
    busy : ``Out(1)``
        A load is under way.
    done : ``Out(1)``
        A load ends in this cycle, with the last write or an error.
    taken : ``Out(1)``
        A beat of a load is accepted in this cycle.
    error : ``Out(1)``, error_code : ``Out(8)``
        TLAST of the beat before was wrong: an :class:`nibblegrad.golden.engine.command.ErrorCode`.
    i_seed : ``In(stream.Signature(32))``
        New state of the random generator (radix 2), see
        :class:`nibblegrad.hdl.base.random_bits.RandomBits`.
    saturation_count, underflow_count, nonfinite_count : ``Out(32)``
        Events of all loads.
    clear_counts : ``In(1)``
        Clears the counts.
    """

    #: Stages from a beat that is taken to the outlet.
    outlet_stages = LoadLanes.latency
    # What leaves the outlet is kept, beside the address of its write.
    latency = outlet_stages + Outlet.latency + LoadAddress.latency
    #: Cycles of a load beside its beats and their way: until the first one is taken, and from the
    #: last write on until the next load can start.
    turnaround = 5

    def __init__(self, size):
        self._size = size
        super().__init__(
            {
                "command": In(stream.Signature(command_layout())),
                "i": In(beat_signature(data.ArrayLayout(size.wide_format.width, size.load_lanes))),
                "store": Out(load_signature(size)),
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
        m.submodules.lanes = lanes = LoadLanes(size)
        m.submodules.outlet = outlet = Outlet(len(lanes.data), self.outlet_stages)
        m.submodules.address = address = LoadAddress(size)
        command = Signal(command_layout())
        matrix = Signal(_matrix_layout(size))
        # The command is known, but not what is made of it.
        taking = Signal()
        starting = Signal()
        waiting = Signal()  # writes are still to come
        # What comes while nothing is under way may be anything, until it is valid.
        with m.If(self.command.ready):
            m.d.sync += [command.eq(self.command.payload), waiting.eq(self.command.valid)]
            self._take(m, matrix)
        with m.If(self.done):
            m.d.sync += waiting.eq(0)
        m.d.sync += [taking.eq(self.command.ready & self.command.valid), starting.eq(taking)]

        is_biases = register(m, "is_biases", self.store.memory == Store.BIASES)
        begin_row = Signal(signed(size.count_bits + 1), reset_less=True)
        m.d.sync += begin_row.eq(Countdown.first(matrix.columns, matrix.row_lanes))
        row = Countdown(m, "row", matrix.columns, matrix.row_lanes, begin_row)
        running, skipping = self._accept(m, matrix, row, starting, outlet)
        m.d.comb += [
            self.busy.eq(waiting),
            self.command.ready.eq(~waiting & ~skipping),
            self.done.eq(waiting & ~taking & ~starting & ~running & ~outlet.inside),
            lanes.command.eq(command),
            lanes.is_biases.eq(is_biases),
            # The beats of biases are those of one row.
            *(
                lanes.inside[k].eq(row.reaches(size.load_lanes, k) | is_biases)
                for k in range(size.load_lanes)
            ),
            address.start.eq(starting),
            address.next.eq(self._deliver(m, outlet)),
            address.base.eq(self._base(m, command)),
            address.columns.eq(matrix.columns),
            address.row_lanes.eq(matrix.row_lanes),
            address.begin_row.eq(begin_row),
            address.is_biases.eq(is_biases),
        ]
        self._connect(m, lanes, outlet, address)
        return m

    def _take(self, m, matrix):
        """Take memory and shape of a matrix from the command that is offered."""
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
                        self.store.memory.eq(which),
                        matrix.rows.eq(height),
                        matrix.columns.eq(width),
                        matrix.row_lanes.eq(size.biases_per_beat if biases else size.load_lanes),
                    ]

    def _accept(self, m, matrix, row, starting, outlet):
        """Accept the beats of a matrix, and refuse it where TLAST comes at the wrong time."""
        begin_rows = Signal(signed(len(matrix.rows) + 1), reset_less=True)
        m.d.sync += begin_rows.eq(Countdown.first(matrix.rows, 1))
        rows_left = Countdown(m, "rows", matrix.rows, 1, begin_rows, once=True)
        running = Signal()  # beats are still to come
        skipping = Signal()  # beats are thrown away
        ends = Signal()
        m.d.comb += [
            ends.eq(row.end & rows_left.end),
            self.i.ready.eq((running & outlet.room) | skipping),
            self.taken.eq(running & outlet.room & self.i.valid),
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
        with m.If(self.taken & ends & ~self.i.p.last):
            m.d.sync += skipping.eq(1)
        with m.Elif(skipping & self.i.valid & self.i.p.last):
            m.d.sync += skipping.eq(0)
        # An error is told a cycle later, while the beat is still inside.
        m.d.sync += [
            self.error.eq(self.taken & (ends ^ self.i.p.last)),
            self.error_code.eq(Mux(ends, ErrorCode.MISSING_LAST, ErrorCode.EARLY_LAST)),
        ]
        return running, skipping

    def _base(self, m, command):
        """Find where the matrix begins."""
        size = self._size
        # Words of biases are cut into beats.
        beats = size.columns // size.biases_per_beat
        bases = {
            Store.ACTIVATIONS: command.activation_base,
            Store.WEIGHTS: command.weight_base,
            Store.GRADIENTS: command.gradient_base,
            Store.BIASES: command.bias_base << (beats.bit_length() - 1),
        }
        base = Signal(size.load_address_bits)
        with m.Switch(self.store.memory):
            for which, first in bases.items():
                with m.Case(which):
                    m.d.comb += base.eq(first)
        return base

    def _deliver(self, m, outlet):
        """Write what waits; tells when it is written."""
        size, write = self._size, self.store.write
        layout = loaded_codes(size)
        leaving = Signal()
        m.d.comb += [
            leaving.eq(outlet.o.valid & ~self.store.wait),
            outlet.o.ready.eq(~self.store.wait),
        ]
        kept = register(m, "payload_kept", outlet.o.payload)
        codes = layout(kept[: layout.size])
        of_memory = register(
            m, "of_memory", Cat(equals(self.store.memory, which) for which in Store)
        )
        m.d.sync += write.memories.eq(of_memory & leaving.replicate(len(Store)))
        m.d.comb += [
            write.codes.eq(codes.codes),
            write.derivatives.eq(codes.derivatives),
            write.biases.eq(kept),
        ]
        return register(m, "written", leaving, reset=True)

    def _connect(self, m, lanes, outlet, address):
        """Tie the parts together."""
        wiring.connect(m, wiring.flipped(self.i_seed), lanes.i_seed)
        m.d.comb += [
            lanes.memory.eq(self.store.memory),
            lanes.taken.eq(self.taken),
            lanes.beat.eq(self.i.p.data),
            lanes.clear_counts.eq(self.clear_counts),
            outlet.entered.eq(self.taken),
            outlet.put.eq(lanes.put),
            outlet.data.eq(lanes.data),
        ]
        for event in EVENTS:
            count = f"{event}_count"
            m.d.comb += getattr(self, count).eq(getattr(lanes, count))
        for name in ("address", "row", "rows", "group", "groups"):
            m.d.comb += self.store.write[name].eq(getattr(address, name))
