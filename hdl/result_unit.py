# amaranth: UnusedElaboratable=no
"""Results: strips from the array through partial sums and scale to stream or operand memory."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from golden.command import Destination, Operation

from .commands import command_layout
from .copies import spread
from .level import Level
from .operand_memory import StripMemory
from .output_buffer import OutputBuffer
from .pipeline import delay
from .result_pipeline import ResultPipeline, Target
from .select import assign_all
from .step_gradient import derivative_layout
from .stream import beat_signature
from .tile_drain import TileDrain

__all__ = ["ResultUnit", "derivative_address_bits", "result_write"]


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
    sums = Signal()
    alike = Signal()
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
    tile : ``In(1)``, tile_strips : ``In(7)``, tile_gap : ``In(7)``
        A tile was begun for which there was room, how many strips it has, and how many cycles
        must pass before the next one: as many, less 1, and one more at the end of a product.
    done : ``In(rows)``, sums : ``In(...)``
        A tile is complete; see :class:`hdl.dot_product_array.DotProductArray`.
    bias_address : ``Out(16)``, biases : ``In(ArrayLayout(signed(32), columns))``
        Reading of biases, 4 cycles later.
    derivative_address : ``Out(derivative_address_bits(size))``
        Strip of the derivatives to read.
    activation_derivatives, weight_derivatives : ``In(ArrayLayout(derivative_layout, strip))``
        What is read, 4 cycles later.
    o : ``Out(beat_signature(ArrayLayout(wide_format.width, strip)))``
        Strips of wide floats.
    write : ``Out(result_write(size))``, write_activations, write_gradients : ``Out(1)``
        Strips of codes, to be written in the same cycle.
    will_write_activations, will_write_gradients : ``Out(1)``
        The same, a cycle before.
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

    #: Cycles from the start of a product to the last pass of its first tile, at least.
    first_tile = 5
    #: Cycles from the end of a product to a tile of the next one with other settings.
    turnaround = 1
    #: Cycles of a strip from the array to the end of the pipeline.
    _way = 8 + ResultPipeline.latency
    latency = _way + OutputBuffer.latency

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
        #: Cycles from the last pass of a product to its end, beside the strips of its last tile.
        self.drain = flight + 6 + self._way
        self._buffer = OutputBuffer(
            size.strip * size.wide_format.width + 1, size.strip, flight + self.latency
        )
        super().__init__(
            {
                "command": In(stream.Signature(command_layout())),
                "room": Out(1),
                "tile": In(1),
                "tile_strips": In(7),
                "tile_gap": In(7),
                "done": In(size.rows),
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
                "will_write_activations": Out(1),
                "will_write_gradients": Out(1),
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
        forward = Signal()
        by_weight = Signal()
        to_stream = Signal()
        to_operand = Signal()
        to_sums = Signal()
        active = Signal()  # `command` has results to come
        coming = Signal(command_layout())
        remembered = Signal()  # `coming` is the next command
        known = Signal(2)  # and has been for one cycle, and for two
        all_popped = Signal()  # the last strip of `command` has left the array
        m.submodules.drain = drain = TileDrain(self._size, self._accumulator_bits, self._flight)
        # What begins is known two cycles before `command` is the new one.
        begin = Signal()
        begun = Signal()
        alone = Signal()
        m.d.comb += [self.command.ready.eq(~remembered), self.busy.eq(active | remembered)]
        # What comes while none is remembered may be anything, until it is valid.
        with m.If(~remembered):
            m.d.sync += [coming.eq(self.command.payload), remembered.eq(self.command.valid)]
        alike = _compare(m, command, coming)
        # The next command needs no other settings: no gap between them.
        follows = Signal()
        # It begins after a gap, when the one before is through, or at least its strips have left.
        begin_late = Signal()
        late = Signal()  # `begin`, and after a gap
        m.d.sync += [
            follows.eq(known[1] & alike & ~begin),
            begin_late.eq(known[1] & (~active | (alike & all_popped)) & ~begin & ~begin_late),
            begin.eq(begin_late | (follows & drain.final)),
            late.eq(begin_late),
            known.eq(Mux(begin, 0, Cat(remembered, known[0]))),
            begun.eq(begin),
            alone.eq(late),
        ]
        with m.If(begin):
            m.d.sync += [active.eq(1), remembered.eq(0)]
        with m.If(begun):
            m.d.sync += [
                command.eq(coming),
                forward.eq(coming.operation == Operation.FORWARD),
                by_weight.eq(coming.operation == Operation.WEIGHT_GRADIENT),
                to_stream.eq(coming.destination == Destination.STREAM),
                to_operand.eq(coming.destination == Destination.OPERAND),
                to_sums.eq(coming.destination == Destination.PARTIAL_SUMS),
            ]

        m.submodules.pipeline = pipeline = self._pipeline
        m.d.comb += [
            drain.begin.eq(begin),
            drain.coming.eq(coming),
            drain.tile.eq(self.tile),
            drain.tile_strips.eq(self.tile_strips),
            drain.done.eq(self.done),
            *assign_all(drain.sums, self.sums),
        ]
        popped, final = drain.popped, drain.final
        self._feed(m, pipeline, drain, command, by_weight, to_sums)
        self._configure(m, pipeline, command, forward, by_weight, to_stream, to_operand)
        clearing = Signal()
        m.d.sync += clearing.eq(begun & coming.clear_step_gradient)
        m.d.comb += [
            pipeline.clear_step.eq(Mux(clearing, Cat(~by_weight, by_weight), 0)),
            self.strip_taken.eq(popped),
        ]

        # The end of a command: its last strip has come out of the pipeline.
        inside = Level(m, "inside", self._way)
        inside.change(popped, pipeline.o_valid)
        stored = active & all_popped & ~inside.any
        m.d.sync += all_popped.eq((all_popped | (final & ~follows)) & ~begin_late & ~stored)
        with m.If(stored):
            m.d.sync += active.eq(0)
        # Where another one follows at once, the end comes when the strips are through.
        overtaken = delay(m, "overtaken", begin & active, self._way - 1, reset=True)
        m.d.comb += self.ended.eq(stored | overtaken)

        may_begin = active & ~alone & (~remembered | follows)
        self._deliver(m, pipeline, to_stream, to_operand, forward, may_begin)
        return m

    def _feed(self, m, pipeline, drain, command, by_weight, to_sums):
        """Bring together what belongs to a strip: partial sums, biases, derivatives."""
        size = self._size
        strip, position = size.strip, drain.strip
        m.submodules.partial_sums = memory = StripMemory(
            size.partial_sum_strips, signed(32), strip, strip
        )
        # The memories answer four cycles later.
        strip_of_word = Cat(position.column[strip.bit_length() - 1 :], position.row)
        m.d.comb += [
            memory.read_address.eq(position.number),
            self.bias_address.eq(position.bias),
            self.derivative_address.eq(Cat(strip_of_word, position.element)),
        ]
        places, numbers = [position], list(drain.numbers)
        for name in ("addressed", "read", "kept", "chosen", "gathered", "final"):
            place = Signal.like(position, name=f"position_{name}")
            m.d.sync += place.eq(places[-1])
            places.append(place)
            if name != "final":
                delayed = [
                    Signal.like(number, name=f"number_{name}_{lane}", reset_less=True)
                    for lane, number in enumerate(numbers)
                ]
                m.d.sync += [mine.eq(number) for mine, number in zip(delayed, numbers, strict=True)]
                numbers = delayed
        gathered, final = places[-2:]
        summed = Signal()
        m.d.sync += summed.eq(gathered.valid & to_sums)

        # What the memories have brought is gathered in one cycle, and used in the next.
        total = Signal(data.ArrayLayout(signed(32), strip), name="total", reset_less=True)
        accumulate = spread(m, "accumulate", command.accumulate, strip)
        of_weights = spread(m, "of_weights", by_weight, strip)
        derivatives = []
        for lane in range(strip):
            derivative = Signal.like(
                pipeline.derivatives[lane].as_value(), name=f"derivative_{lane}", reset_less=True
            )
            addend = Signal(signed(32), name=f"addend_{lane}", reset_less=True)
            bias = Signal(signed(32), name=f"bias_{lane}", reset_less=True)
            m.d.sync += [
                derivative.eq(
                    Mux(
                        of_weights[lane],
                        self.weight_derivatives[lane].as_value(),
                        self.activation_derivatives[lane].as_value(),
                    )
                ),
                addend.eq(Mux(accumulate[lane], memory.read_data[lane], 0)),
                bias.eq(self.biases[lane] if lane < size.columns else 0),
            ]
            derivatives.append(derivative)
            whole = Signal(signed(32), name=f"whole_{lane}")
            m.d.comb += whole.eq(numbers[lane] + addend)
            m.d.sync += [
                total[lane].eq(Mux(gathered.lanes_used[lane], whole, 0)),
                pipeline.biases[lane].eq(bias),
            ]
        # A strip of the gradients is as wide as the array has rows.
        parts = strip // size.rows
        part = gathered.column[size.rows.bit_length() - 1 : strip.bit_length() - 1]
        for lane in range(strip):
            options = derivatives[lane % size.rows :: size.rows]
            value = options[0] if parts == 1 else Array(options)[part]
            m.d.sync += pipeline.derivatives[lane].eq(value)
        m.d.comb += [
            memory.write_address.eq(final.number),
            memory.write_data.eq(total),
            memory.write_groups.eq(summed),
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

    def _deliver(self, m, pipeline, to_stream, to_operand, forward, may_begin):
        """Write codes where they belong; let wide floats wait for the output."""
        tag = self._tag(pipeline.o_tag)
        m.d.sync += [
            self.write.address.eq(tag.address),
            self.write.row.eq(tag.row),
            self.write.column.eq(tag.column),
            self.write.codes.eq(pipeline.o_codes),
            self.write.derivatives.eq(pipeline.o_derivatives),
            self.will_write_activations.eq(pipeline.o_soon & to_operand & forward),
            self.will_write_gradients.eq(pipeline.o_soon & to_operand & ~forward),
            self.write_activations.eq(self.will_write_activations),
            self.write_gradients.eq(self.will_write_gradients),
        ]
        buffer = self._buffer
        m.submodules.buffer = buffer
        m.d.comb += [
            buffer.data.eq(Cat(pipeline.o_floats, tag.last)),
            buffer.put.eq(pipeline.o_valid & to_stream),
            Cat(self.o.p.data.as_value(), self.o.p.last).eq(buffer.o.payload),
            self.o.valid.eq(buffer.o.valid),
            buffer.o.ready.eq(self.o.ready),
            self.pending.eq(buffer.pending),
            buffer.tile.eq(self.tile),
            buffer.tile_strips.eq(self.tile_strips),
            buffer.tile_gap.eq(self.tile_gap),
            buffer.to_stream.eq(to_stream),
            buffer.may_begin.eq(may_begin),
            self.room.eq(buffer.room),
        ]
