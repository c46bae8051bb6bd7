# amaranth: UnusedElaboratable=no
"""Results: strips from the array through partial sums and scale to stream or operand memory."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from golden.command import Destination, Operation

from .command_queue import command_layout
from .level import Level
from .operand_memory import UNCHECKED, StripMemory
from .outlet import Outlet
from .result_pipeline import ResultPipeline, Target
from .select import assign_all
from .step_gradient import derivative_layout
from .stream import beat_signature
from .tile_drain import TileDrain

__all__ = ["ResultUnit", "derivative_address_bits", "result_write"]


#: Strips of tiles for which there was room, and which are not subtracted from it yet.
_LATE = 4


def derivative_address_bits(size):
    """Width of the number of a strip of derivatives: of a word of the memory, and in the word."""
    return 16 + (size.block * size.block // size.strip - 1).bit_length()


def result_write(size):
    """Lay out the writing of a strip of codes to an operand memory."""
    return data.StructLayout(
        {
            "address": 16,
            "row": range(size.block),
            "column": range(size.block),
            "codes": data.ArrayLayout(4, size.strip),
            "derivatives": data.ArrayLayout(derivative_layout(size.residual_bits), size.strip),
        }
    )


def _compare(m, command, coming):
    """Tell, 2 cycles later, whether the results of two commands go the same way, alike in all."""
    names = (
        "operation destination mode signed_result relu bias masked step_gradient stochastic phase "
        "significand exponent fp4_exponent"
    ).split()
    same = Signal(len(names))
    sums, alike = Signal(), Signal()
    to_sums = command.destination == Destination.PARTIAL_SUMS
    m.d.sync += [
        same.eq(Cat(command[name] == coming[name] for name in names)),
        sums.eq(command.accumulate | coming.accumulate | to_sums | coming.clear_step_gradient),
        alike.eq(same.all() & ~sums),
    ]
    return alike


class ResultUnit(wiring.Component):
    """Take tiles of sums from the array, strip by strip, and bring them where they belong.

    Nothing behind the array ever stalls: a tile is begun only when ``room`` says that its strips
    will find their place. While the results of one command pass through, the next command waits,
    and so does the first tile of it.

    The latency from ``done`` to the first strip on ``o`` is ``latency`` cycles; the throughput is
    one strip per cycle.

    Parameters
    ----------
    size : CoreSize
        Parameters of the core.
    accumulator_bits : int
        Width of the sums of the array.
    flight : int
        Cycles from the last pass of a tile to ``done``.

    Members
    -------
    command : ``In(stream.Signature(command_layout()))``
        Products whose results are to come; ready when the next one can be remembered.
    room : ``Out(1)``
        Whether the results of one more tile can be taken.
    tile : ``In(1)``, tile_strips : ``In(7)``
        A tile was begun for which there was room, and how many strips it has.
    done : ``In(1)``, sums : ``In(...)``
        A tile is complete; see :class:`hdl.dot_product_array.DotProductArray`.
    bias_address : ``Out(16)``, biases : ``In(ArrayLayout(signed(32), columns))``
        Reading of biases, a cycle later.
    derivative_address : ``Out(derivative_address_bits(size))``
        Strip of the derivatives to read.
    activation_derivatives, weight_derivatives : ``In(ArrayLayout(derivative_layout, strip))``
        What is read, a cycle later.
    o : ``Out(beat_signature(ArrayLayout(wide_format.width, strip)))``
        Strips of wide floats.
    write : ``Out(result_write(size))``, write_activations, write_gradients : ``Out(1)``
        Strips of codes, to be written in the same cycle.
    busy : ``Out(1)``
        Results are still to come from the array, or on their way.
    pending : ``Out(1)``
        Strips wait to leave through ``o``.
    ended : ``Out(1)``
        The last strip of a command is stored, or waits to leave.
    strip_taken : ``Out(1)``
        A strip leaves the array.
    step_gradients : ``Out(ArrayLayout(signed(64), 2))``
        Step gradients of activations and weights.
    i_seed : ``In(stream.Signature(32))``
        New state of the random generator, see :class:`hdl.random_bits.RandomBits`.
    saturation_count, underflow_count : ``Out(32)``
        Events of all results.
    clear_counts : ``In(1)``
        Clears the counts.
    """

    def __init__(self, size, accumulator_bits, flight):
        self._size = size
        self._accumulator_bits = accumulator_bits
        self._flight = flight
        derivatives = data.ArrayLayout(derivative_layout(size.residual_bits), size.strip)
        sums = In(signed(accumulator_bits)).array(size.rows, size.columns)
        self._tag = data.StructLayout(
            {"last": 1, "address": 16, "row": range(size.block), "column": range(size.block)}
        )
        self._pipeline = ResultPipeline(size, self._tag.size)
        #: Cycles of a strip from the array to the end of the pipeline.
        self._way = 5 + self._pipeline.latency
        self.latency = self._way + 3 + Outlet.latency
        # Strips that are under way in the steady state, and the tiles before and behind them.
        under_way = flight + self.latency + 4 * size.strip + _LATE
        self._depth = 1 << (under_way - 1).bit_length()
        super().__init__(
            {
                "command": In(stream.Signature(command_layout())),
                "room": Out(1),
                "tile": In(1),
                "tile_strips": In(7),
                "done": In(1),
                "sums": sums,
                "bias_address": Out(16),
                "biases": In(data.ArrayLayout(signed(32), size.columns)),
                "derivative_address": Out(derivative_address_bits(size)),
                "activation_derivatives": In(derivatives),
                "weight_derivatives": In(derivatives),
                "o": Out(beat_signature(data.ArrayLayout(size.wide_format.width, size.strip))),
                "write": Out(result_write(size)),
                "write_activations": Out(1),
                "write_gradients": Out(1),
                "busy": Out(1),
                "pending": Out(1),
                "ended": Out(1),
                "strip_taken": Out(1),
                "step_gradients": Out(data.ArrayLayout(signed(64), 2)),
                "i_seed": In(stream.Signature(32)),
                "saturation_count": Out(32),
                "underflow_count": Out(32),
                "clear_counts": In(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        command = Signal(command_layout())
        forward, by_weight = Signal(), Signal()
        to_stream, to_operand, to_sums = Signal(), Signal(), Signal()
        active = Signal()  # `command` has results to come
        coming = Signal(command_layout())
        remembered = Signal()  # `coming` is the next command
        known = Signal(2)  # and has been for one cycle, and for two
        all_popped = Signal()  # the last strip of `command` has left the array
        m.submodules.drain = drain = TileDrain(self._size, self._accumulator_bits, self._flight)
        m.d.comb += [self.command.ready.eq(~remembered), self.busy.eq(active | remembered)]
        with m.If(self.command.ready & self.command.valid):
            m.d.sync += [coming.eq(self.command.payload), remembered.eq(1)]
        begin = Signal()
        alike = _compare(m, command, coming)
        # The next command needs no other settings: no gap between them.
        follows = Signal()
        begin_first = Signal()
        m.d.comb += begin.eq(begin_first | (follows & (drain.final | all_popped)))
        m.d.sync += [
            follows.eq(known[1] & alike & ~begin),
            begin_first.eq(known[1] & ~active & ~begin),
        ]
        m.d.sync += known.eq(Mux(begin, 0, Cat(remembered, known[0])))
        with m.If(begin):
            m.d.sync += [
                command.eq(coming),
                forward.eq(coming.operation == Operation.FORWARD),
                by_weight.eq(coming.operation == Operation.WEIGHT_GRADIENT),
                to_stream.eq(coming.destination == Destination.STREAM),
                to_operand.eq(coming.destination == Destination.OPERAND),
                to_sums.eq(coming.destination == Destination.PARTIAL_SUMS),
                active.eq(1),
                remembered.eq(0),
            ]

        m.submodules.pipeline = pipeline = self._pipeline
        m.d.comb += [
            drain.begin.eq(begin),
            drain.command.eq(command),
            drain.coming.eq(coming),
            drain.tile_strips.eq(self.tile_strips),
            drain.done.eq(self.done),
            *assign_all(drain.sums, self.sums),
        ]
        popped, final = drain.popped, drain.final
        self._feed(m, pipeline, drain, command, by_weight, to_sums)
        self._configure(m, pipeline, command, forward, by_weight, to_stream, to_operand)
        clearing = Signal()
        m.d.sync += clearing.eq(begin & coming.clear_step_gradient)
        m.d.comb += [
            pipeline.clear_step.eq(Mux(clearing, Cat(~by_weight, by_weight), 0)),
            self.strip_taken.eq(popped),
        ]

        # The end of a command: its last strip has come out of the pipeline.
        inside = Level(m, "inside", self._way)
        inside.change(popped, pipeline.o_valid)
        with m.If(final):
            m.d.sync += all_popped.eq(1)
        stored = active & all_popped & ~inside.any
        with m.If(begin):
            m.d.sync += all_popped.eq(0)
        with m.Elif(stored):
            m.d.sync += [active.eq(0), all_popped.eq(0)]
        # Where another one follows at once, the end comes when the strips are through.
        overtaken = begin & active & ~stored
        for k in range(self._way):
            delayed = Signal(name=f"overtaken_{k}")
            m.d.sync += delayed.eq(overtaken)
            overtaken = delayed
        m.d.comb += self.ended.eq(stored | overtaken)

        self._deliver(m, pipeline, to_stream, to_operand, forward)
        self._admit(m, active & (~remembered | follows), to_stream)
        return m

    def _feed(self, m, pipeline, drain, command, by_weight, to_sums):
        """Bring together what belongs to a strip: partial sums, biases, derivatives."""
        size = self._size
        strip, position = size.strip, drain.strip
        m.submodules.partial_sums = memory = StripMemory(
            size.partial_sum_strips, signed(32), strip, strip
        )
        # The memories answer a cycle later, and their answer waits in a register.
        strip_of_word = Cat(position.column[strip.bit_length() - 1 :], position.row)
        m.d.comb += [
            memory.read_address.eq(position.number),
            self.bias_address.eq(position.bias),
            self.derivative_address.eq(Cat(strip_of_word, position.element)),
        ]
        read = Signal.like(position, name="position_read")
        kept = Signal.like(position, name="position_kept")
        m.d.sync += [read.eq(position), kept.eq(read)]
        numbers = []
        for lane, number in enumerate(drain.numbers):
            number_read = Signal.like(number, name=f"number_read_{lane}", reset_less=True)
            number_kept = Signal.like(number, name=f"number_kept_{lane}", reset_less=True)
            m.d.sync += [number_read.eq(number), number_kept.eq(number_read)]
            numbers.append(number_kept)

        partial, biases, of_weights, of_activations = (
            Signal.like(value, name=f"{name}_kept", reset_less=True)
            for name, value in (
                ("partial", memory.read_data),
                ("biases", self.biases),
                ("weight_derivatives", self.weight_derivatives),
                ("activation_derivatives", self.activation_derivatives),
            )
        )
        m.d.sync += [
            partial.eq(memory.read_data),
            biases.eq(self.biases),
            of_weights.eq(self.weight_derivatives),
            of_activations.eq(self.activation_derivatives),
        ]
        # A strip of the gradients is as wide as the array has rows.
        parts = strip // size.rows
        part = kept.column[size.rows.bit_length() - 1 : strip.bit_length() - 1]
        for lane in range(strip):
            options = [
                Mux(by_weight, of_weights[k].as_value(), of_activations[k].as_value())
                for k in range(lane % size.rows, strip, size.rows)
            ]
            value = options[0] if parts == 1 else Array(options)[part]
            m.d.sync += pipeline.derivatives[lane].eq(value)

        total = Signal(data.ArrayLayout(signed(32), strip), name="total")
        final = Signal.like(position, name="position_final")
        m.d.sync += final.eq(kept)
        for lane in range(strip):
            added = Mux(command.accumulate, partial[lane], 0)
            whole = Signal(signed(32), name=f"whole_{lane}")
            m.d.comb += whole.eq(numbers[lane] + added)
            m.d.sync += [
                total[lane].eq(Mux(kept.lanes_used[lane], whole, 0)),
                pipeline.biases[lane].eq(biases[lane] if lane < size.columns else 0),
            ]
        m.d.comb += [
            memory.write_address.eq(final.number),
            memory.write_data.eq(total),
            memory.write_groups.eq(final.valid & to_sums),
            pipeline.valid.eq(final.valid),
            pipeline.sums.eq(total),
            pipeline.lanes_used.eq(final.lanes_used),
            self._tag(pipeline.tag).last.eq(final.last),
            self._tag(pipeline.tag).address.eq(final.result),
            self._tag(pipeline.tag).row.eq(final.row),
            self._tag(pipeline.tag).column.eq(final.column),
        ]

    def _configure(self, m, pipeline, command, forward, by_weight, to_stream, to_operand):
        """Pass the settings of the command on."""
        target = Signal(2)
        with m.If(to_stream):
            m.d.sync += target.eq(Target.FLOAT)
        with m.Elif(to_operand):
            m.d.sync += target.eq(Mux(forward, Target.INTEGER, Target.FP4))
        with m.Else():
            m.d.sync += target.eq(Target.NONE)
        m.d.comb += [
            pipeline.target.eq(target),
            pipeline.significand.eq(command.significand),
            pipeline.exponent.eq(command.exponent),
            pipeline.fp4_exponent.eq(command.fp4_exponent),
            pipeline.use_bias.eq(command.bias),
            pipeline.relu.eq(command.relu),
            pipeline.masked.eq(command.masked),
            pipeline.signed_result.eq(command.signed_result),
            pipeline.stochastic.eq(command.stochastic),
            pipeline.phase.eq(command.phase),
            pipeline.mode.eq(command.mode),
            pipeline.step_gradient.eq(command.step_gradient),
            pipeline.step_select.eq(by_weight),
            self.step_gradients.eq(pipeline.step_gradients),
            self.saturation_count.eq(pipeline.saturation_count),
            self.underflow_count.eq(pipeline.underflow_count),
            pipeline.clear_counts.eq(self.clear_counts),
        ]
        wiring.connect(m, wiring.flipped(self.i_seed), pipeline.i_seed)

    def _deliver(self, m, pipeline, to_stream, to_operand, forward):
        """Write codes where they belong; let wide floats wait for the output."""
        size = self._size
        tag = self._tag(pipeline.o_tag)
        m.d.sync += [
            self.write.address.eq(tag.address),
            self.write.row.eq(tag.row),
            self.write.column.eq(tag.column),
            self.write.codes.eq(pipeline.o_codes),
            self.write.derivatives.eq(pipeline.o_derivatives),
            self.write_activations.eq(pipeline.o_valid & to_operand & forward),
            self.write_gradients.eq(pipeline.o_valid & to_operand & ~forward),
        ]
        # A block RAM, with a register behind it, and the outlet that it needs to be stopped.
        width = size.strip * size.wide_format.width + 1
        m.submodules.buffer = buffer = Memory(
            shape=width, depth=self._depth, init=[], attrs=UNCHECKED
        )
        m.submodules.outlet = outlet = Outlet(width, 2)
        write, read = buffer.write_port(), buffer.read_port()
        kept = Signal(width, name="buffer_kept", reset_less=True)
        moved = Signal(2)
        waiting = Level(m, "waiting", self._depth)
        waiting.change(write.en, outlet.entered)
        m.d.comb += [
            write.data.eq(Cat(pipeline.o_floats, tag.last)),
            write.en.eq(pipeline.o_valid & to_stream),
            read.en.eq(1),
            outlet.entered.eq(outlet.room & waiting.any),
            outlet.put.eq(moved[1]),
            outlet.data.eq(kept),
            Cat(self.o.p.data.as_value(), self.o.p.last).eq(outlet.o.payload),
            self.o.valid.eq(outlet.o.valid),
            outlet.o.ready.eq(self.o.ready),
            self.pending.eq(waiting.any | outlet.inside),
        ]
        m.d.sync += [
            write.addr.eq(write.addr + write.en),
            read.addr.eq(read.addr + outlet.entered),
            moved.eq(Cat(outlet.entered, moved[0])),
            kept.eq(read.data),
        ]

    def _admit(self, m, current, to_stream):
        """Tell whether one more tile finds room, behind the array and in front of the output."""
        size = self._size
        spacing = Signal(range(size.strip + 1))
        spaced = Signal()
        with m.If(self.tile):
            m.d.sync += spacing.eq(self.tile_strips - 1)
            m.d.comb += spaced.eq(self.tile_strips == 1)
        with m.Else():
            m.d.sync += spacing.eq(Mux(spacing.any(), spacing - 1, 0))
            m.d.comb += spaced.eq(~spacing[1:].any())
        # Strips of tiles are subtracted two cycles later, and seen in `roomy` and in `room` one
        # each: as tiles are spaced, those that do not count yet have no more than _LATE strips.
        free = Signal(range(self._depth + 1), init=self._depth)
        taken = Signal(range(size.strip + 1))
        change = Signal(signed(len(taken) + 1))
        roomy = Signal()
        m.d.sync += [
            taken.eq(Mux(self.tile & to_stream, self.tile_strips, 0)),
            change.eq((self.o.valid & self.o.ready) - taken),
            free.eq(free + change),
            roomy.eq(free >= size.strip + _LATE),
            self.room.eq(current & spaced & (~to_stream | roomy)),
        ]
