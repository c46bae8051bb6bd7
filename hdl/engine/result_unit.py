# amaranth: UnusedElaboratable=no
"""Results: strips from the array through partial sums and scale to stream or operand memory."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from nibblegrad.hdl.array.dot_product_array import array_totals_signature
from nibblegrad.hdl.array.structures import PLAIN
from nibblegrad.hdl.base.pipeline import register
from nibblegrad.hdl.base.stream import beat_signature
from nibblegrad.hdl.engine.commands import command_layout
from nibblegrad.hdl.engine.output_buffer import OutputBuffer
from nibblegrad.hdl.engine.result_pipeline import ResultPipeline, Target
from nibblegrad.hdl.engine.result_sequencer import ResultSequencer
from nibblegrad.hdl.engine.store_ports import result_signature, strip_read_signature
from nibblegrad.hdl.engine.strip_gather import StripGather
from nibblegrad.hdl.engine.tile_credits import TileCredits, tile_signature
from nibblegrad.hdl.engine.tile_drain import TileDrain

__all__ = ["ResultUnit"]


def _tag_layout(size):
    """Lay out what goes through the pipeline with a strip."""
    return data.StructLayout(
        {
            "last": 1,
            "address": size.address_bits,
            "row": range(size.block),
            "column": range(size.block),
        }
    )


class ResultUnit(wiring.Component):
    """Take tiles of sums from the array, strip by strip, and bring them where they belong.

    Nothing behind the array ever stalls: a tile is issued only where its strips will find their
    place. While the results of one product pass through, the next one waits, and so does its first
    tile.

    The latency from ``strip_taken`` to the strip on ``o`` is ``latency`` cycles; the throughput is
    one strip per cycle.

    Parameters
    ----------
    size : CoreSize
        Parameters of the core.
    accumulator_bits : int
        Width of the sums of the array.
    flight : int
        Cycles from a tile that is issued to its sums.
    structure : Structure
        What says how deep a bank of memory is, and how wide a multiplier.

    Members
    -------
    command : ``In(stream.Signature(command_layout()))``
        Products whose results are to come; ready when the next one can be kept.
    tile : ``In(tile_signature(size.strip))``
        Tiles that are issued where there is room; see :mod:`nibblegrad.hdl.engine.tile_credits`.
    totals : ``In(array_totals_signature(rows, columns, accumulator_bits))``
        Sums of the array, and when a tile is complete.
    read : ``Out(strip_read_signature(size))``
        Reading of biases and derivatives.
    write : ``Out(result_signature(size))``
        Strips of codes, to be written to the operand memories.
    o : ``Out(beat_signature(ArrayLayout(wide_format.width, strip)))``
        Strips of wide floats.
    busy : ``Out(1)``
        Results are still to come from the array, or on their way.
    pending : ``Out(1)``
        Strips wait to leave through ``o``.
    ended : ``Out(1)``
        The last strip of a product is stored, or waits to leave.
    strip_taken : ``Out(1)``
        A strip leaves the array.
    step_gradients : ``Out(ArrayLayout(signed(64), 2))``
        Step gradients of activations and weights.
    i_seed : ``In(stream.Signature(32))``
        New state of the random generator, see :class:`nibblegrad.hdl.base.random_bits.RandomBits`.
    saturation_count, underflow_count : ``Out(32)``
        Events of all results.
    clear_counts : ``In(1)``
        Clears the counts.
    """

    #: Cycles from a command to the first room for a tile of it, where none is before it.
    first_room = ResultSequencer.latency + 1
    #: Cycles from the end of a product to the first room for a tile of the next one, which waits
    #: with other settings.
    turnaround = ResultSequencer.turnaround + 1
    #: Cycles of a strip from the array to the end of the pipeline.
    way = TileDrain.strip_latency + StripGather.latency + ResultPipeline.latency
    latency = way + OutputBuffer.latency

    def __init__(self, size, accumulator_bits, flight, structure=PLAIN):
        self._size = size
        self._drain = TileDrain(size, accumulator_bits, flight)
        self._gather = StripGather(size, accumulator_bits, structure)
        self._pipeline = ResultPipeline(size, _tag_layout(size).size, structure)
        places = TileCredits.places(size.strip, flight + self.latency)
        self._credits = TileCredits(size.strip, places)
        self._buffer = OutputBuffer(size.strip * size.wide_format.width + 1, places)
        super().__init__(
            {
                "command": In(stream.Signature(command_layout())),
                "tile": In(tile_signature(size.strip)),
                "totals": In(array_totals_signature(size.rows, size.columns, accumulator_bits)),
                "read": Out(strip_read_signature(size)),
                "write": Out(result_signature(size)),
                "o": Out(beat_signature(data.ArrayLayout(size.wide_format.width, size.strip))),
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
        m.submodules.sequencer = sequencer = ResultSequencer(self.way)
        m.submodules.drain = drain = self._drain
        m.submodules.gather = gather = self._gather
        m.submodules.pipeline = pipeline = self._pipeline
        m.submodules.credits = credits = self._credits
        m.submodules.buffer = self._buffer
        wiring.connect(m, wiring.flipped(self.command), sequencer.command)
        wiring.connect(m, wiring.flipped(self.tile), credits.tile, drain.tile)
        wiring.connect(m, wiring.flipped(self.totals), drain.totals)
        wiring.connect(m, gather.read, wiring.flipped(self.read))
        wiring.connect(m, wiring.flipped(self.i_seed), pipeline.i_seed)
        route = sequencer.route
        m.d.comb += [
            sequencer.strip_taken.eq(drain.popped),
            sequencer.last_taken.eq(drain.final),
            sequencer.strip_stored.eq(pipeline.o_valid),
            drain.start.eq(sequencer.start),
            drain.next_command.eq(sequencer.next_command),
            credits.enabled.eq(sequencer.tiles_enabled),
            credits.to_stream.eq(route.to_stream),
            credits.sent.eq(self.o.valid & self.o.ready),
            self.busy.eq(sequencer.busy),
            self.ended.eq(sequencer.ended),
            self.strip_taken.eq(drain.popped),
        ]
        self._feed(m, drain, gather, pipeline, sequencer.current_command, route)
        self._configure(m, pipeline, sequencer)
        self._write(m, pipeline, route)
        self._send(m, pipeline, route)
        return m

    def _feed(self, m, drain, gather, pipeline, command, route):
        """Let strips go from the drain to the pipeline."""
        place, tag = gather.o_place, _tag_layout(self._size)(pipeline.tag)
        m.d.comb += [
            gather.place.eq(drain.strip),
            *(mine.eq(number) for mine, number in zip(gather.numbers, drain.numbers, strict=True)),
            gather.accumulate.eq(command.accumulate),
            gather.by_weight.eq(route.by_weight),
            gather.to_sums.eq(route.to_sums),
            pipeline.valid.eq(place.valid),
            pipeline.lanes_used.eq(place.lanes_used),
            pipeline.sums.eq(gather.sums),
            pipeline.biases.eq(gather.biases),
            pipeline.derivatives.eq(gather.derivatives),
            tag.last.eq(place.last),
            tag.address.eq(place.result),
            tag.row.eq(place.row),
            tag.column.eq(place.column),
        ]

    def _configure(self, m, pipeline, sequencer):
        """Pass the settings of the product on."""
        command, route = sequencer.current_command, sequencer.route
        target = Signal(2)
        with m.If(route.to_stream):
            m.d.sync += target.eq(Target.FLOAT)
        with m.Elif(route.to_operand):
            m.d.sync += target.eq(Mux(route.forward, Target.INTEGER, Target.FP4))
        with m.Else():
            m.d.sync += target.eq(Target.NONE)
        alike = (
            *("significand", "exponent", "fp4_exponent", "relu", "masked", "signed_result"),
            *("stochastic", "phase", "mode", "step_gradient"),
        )
        m.d.comb += [
            pipeline.target.eq(target),
            *(getattr(pipeline, name).eq(command[name]) for name in alike),
            pipeline.use_bias.eq(command.bias),
            pipeline.step_select.eq(route.by_weight),
            pipeline.clear_step.eq(sequencer.clear_step),
            pipeline.clear_counts.eq(self.clear_counts),
            self.step_gradients.eq(pipeline.step_gradients),
            self.saturation_count.eq(pipeline.saturation_count),
            self.underflow_count.eq(pipeline.underflow_count),
        ]

    def _write(self, m, pipeline, route):
        """Write codes to the operand memory where they belong."""
        tag, write = _tag_layout(self._size)(pipeline.o_tag), self.write
        m.d.sync += [
            write.strip.address.eq(tag.address),
            write.strip.row.eq(tag.row),
            write.strip.column.eq(tag.column),
            write.strip.codes.eq(pipeline.o_codes),
            write.strip.derivatives.eq(pipeline.o_derivatives),
        ]
        for which, is_wanted in (("activations", route.forward), ("gradients", ~route.forward)):
            announced = getattr(write, f"to_{which}_next")
            m.d.sync += announced.eq(pipeline.o_soon & route.to_operand & is_wanted)
            m.d.comb += getattr(write, f"to_{which}").eq(
                register(m, f"to_{which}", announced, reset=True)
            )

    def _send(self, m, pipeline, route):
        """Let wide floats wait for the stream."""
        tag, buffer = _tag_layout(self._size)(pipeline.o_tag), self._buffer
        m.d.comb += [
            buffer.data.eq(Cat(pipeline.o_floats, tag.last)),
            buffer.put.eq(pipeline.o_valid & route.to_stream),
            Cat(self.o.p.data.as_value(), self.o.p.last).eq(buffer.o.payload),
            self.o.valid.eq(buffer.o.valid),
            buffer.o.ready.eq(self.o.ready),
            self.pending.eq(buffer.pending),
        ]
