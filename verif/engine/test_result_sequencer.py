# amaranth: UnusedElaboratable=no
"""Products in their turn: tiles are issued, drained and stored, and the next product follows.

Product unit, credits, drain and sequencer are joined as in the training core. What lies between
them, array and pipeline, is a delay.
"""

import dataclasses
import itertools
import random

import pytest
from amaranth import Cat, Elaboratable, Module, Signal
from amaranth.lib import wiring

from nibblegrad.golden.engine.command import Command, CoreSize, Destination, Operation
from nibblegrad.hdl.base.pipeline import delay
from nibblegrad.hdl.engine.output_buffer import OutputBuffer
from nibblegrad.hdl.engine.product_unit import ProductUnit
from nibblegrad.hdl.engine.result_sequencer import ResultSequencer
from nibblegrad.hdl.engine.tile_credits import TileCredits
from nibblegrad.hdl.engine.tile_drain import TileDrain
from verif.support.simulation import simulate

#: Cycles from a tile to its sums, and of a strip through the pipeline.
FLIGHT, PIPELINE = 9, 12
WAY = TileDrain.strip_latency + PIPELINE

PRODUCTS = [Operation.FORWARD, Operation.INPUT_GRADIENT, Operation.WEIGHT_GRADIENT]


class Joined(Elaboratable):
    """The parts that tiles go through, and delays for the others."""

    def __init__(self, size):
        self.size = size
        self.products = ProductUnit(size)
        self.sequencer = ResultSequencer(WAY)
        self.drain = TileDrain(size, 20, FLIGHT)
        places = TileCredits.places(size.strip, FLIGHT + WAY + OutputBuffer.latency)
        self.credits = TileCredits(size.strip, places)
        self.buffer = OutputBuffer(1, places)
        #: A product is given to both units at once.
        self.valid = Signal()
        self.ready = Signal()

    def elaborate(self, platform):
        m = Module()
        products, sequencer, drain = self.products, self.sequencer, self.drain
        credits, buffer = self.credits, self.buffer
        for name in ("products", "sequencer", "drain", "credits", "buffer"):
            m.submodules[name] = getattr(self, name)
        wiring.connect(m, products.tile, credits.tile, drain.tile)
        done = delay(m, "done", products.tile.issued, FLIGHT, reset=True)
        stored = delay(m, "stored", drain.strip.valid, PIPELINE, reset=True)
        m.d.comb += [
            self.ready.eq(products.command.ready & sequencer.command.ready),
            products.command.valid.eq(self.valid & self.ready),
            sequencer.command.valid.eq(self.valid & self.ready),
            sequencer.command.payload.eq(products.command.payload),
            drain.totals.done.eq(done.replicate(self.size.rows)),
            drain.start.eq(sequencer.start),
            drain.next_command.eq(sequencer.next_command),
            sequencer.strip_taken.eq(drain.popped),
            sequencer.last_taken.eq(drain.final),
            sequencer.strip_stored.eq(stored),
            credits.enabled.eq(sequencer.tiles_enabled),
            credits.to_stream.eq(sequencer.route.to_stream),
            credits.sent.eq(buffer.o.valid & buffer.o.ready),
            buffer.put.eq(stored & sequencer.route.to_stream),
            buffer.data.eq(delay(m, "last", drain.strip.last, PIPELINE)),
        ]
        return m


class Run:
    """Commands one after the other, and what becomes of their tiles and strips.

    Parameters
    ----------
    size : CoreSize
        Parameters of the core.
    commands : list of Command
        Products; with ``wait_for_products`` they wait for the end of those before.
    rng : random.Random, optional
        Where the stream pauses, and products come late; nothing pauses without.
    """

    def __init__(self, size, commands, rng=None):
        self.size, self.commands, self.rng = size, commands, rng
        self.joined = Joined(size)
        self.cycle = 0
        #: Cycles in which products were given, passed first, issued tiles and ended.
        self.given_at, self.passed_at, self.issued_at, self.ended_at = [], [], [], []
        self.starts, self.free_at, self.lasts = 0, [], []
        simulate(self.joined, self._commands, background=[self._watch])

    async def _commands(self, ctx):
        joined, payload = self.joined, self.joined.products.command.payload
        for command in self.commands:
            for field in dataclasses.fields(Command):
                if field.name in payload.shape().members:
                    ctx.set(payload[field.name], int(getattr(command, field.name)))
            while command.wait_for_products and self._busy(ctx):
                await ctx.tick()
            while self.rng and self.rng.random() < 0.1:
                await ctx.tick()
            ctx.set(joined.valid, 1)
            while not ctx.get(joined.ready):
                await ctx.tick()
            await ctx.tick()
            ctx.set(joined.valid, 0)
            if self.rng:
                noise = self.rng.getrandbits(len(payload.as_value()))
                ctx.set(payload.as_value(), noise)
        while self._busy(ctx) or ctx.get(joined.buffer.pending):
            await ctx.tick()
        await ctx.tick().repeat(3)

    def _busy(self, ctx):
        return ctx.get(self.joined.products.busy | self.joined.sequencer.busy)

    async def _watch(self, ctx):
        joined = self.joined
        signals = Cat(
            joined.products.command.valid,
            joined.products.tile.issued,
            joined.products.read.control.flags.first & joined.products.read.control.flags.valid,
            joined.sequencer.ended,
            joined.sequencer.busy,
            joined.buffer.o.valid,
            joined.buffer.o.payload,
        )
        was_busy = 0
        while True:
            takes = self.rng is None or self.rng.random() < 0.8
            ctx.set(joined.buffer.o.ready, takes)
            given, issued, first, ended, busy, valid, last = self._bits(ctx.get(signals), 7)
            if given:
                self.given_at.append(self.cycle)
            if issued:
                self.issued_at.append(self.cycle)
            if first:
                self.passed_at.append(self.cycle - ProductUnit.latency)
            if ended:
                self.ended_at.append(self.cycle)
            if was_busy and not busy:
                self.free_at.append(self.cycle)
            if valid and takes:
                self.lasts.append(last)
            was_busy = busy
            await ctx.tick()
            self.cycle += 1

    @staticmethod
    def _bits(value, count):
        return [value >> k & 1 for k in range(count)]


def strips(size, command):
    """Count the tiles and strips of a product."""
    rows, columns = size.result_shape(command)
    height, width = size.tile_shape(command.operation)
    across = -(-columns // width)
    return -(-rows // height) * across, rows * across


def chance(rng):
    """Draw a product."""
    destination = rng.choice([Destination.STREAM, Destination.STREAM, Destination.PARTIAL_SUMS])
    return Command(
        rng.choice(PRODUCTS),
        batch=rng.randint(1, 12),
        inputs=rng.randint(1, 12),
        outputs=rng.randint(1, 12),
        destination=destination,
        relu=bool(rng.getrandbits(1)),
        wait_for_products=rng.random() < 0.2,
    )


@pytest.mark.parametrize("shape", [(4, 4, 4), (2, 4, 4), (8, 2, 2), (2, 8, 2)])
def test_every_strip_is_stored_and_every_product_ends(request, shape):
    rng = random.Random(request.config.getoption("seed"))
    rows, columns, lanes = shape
    size = CoreSize(rows=rows, columns=columns, lanes=lanes)
    commands = []
    for _ in range(20):
        # Every other one goes the same way as the one before.
        commands += [command := chance(rng), dataclasses.replace(command, batch=3)]
    run = Run(size, commands, rng)
    counts = [strips(size, command) for command in commands]
    assert len(run.issued_at) == sum(tiles for tiles, _ in counts)
    assert len(run.ended_at) == len(commands)
    assert run.lasts == [
        int(k == count - 1)
        for command, (_, count) in zip(commands, counts, strict=True)
        if command.destination == Destination.STREAM
        for k in range(count)
    ]


SIZE = CoreSize(rows=8, columns=4, lanes=4)
SHORT = Command(Operation.FORWARD, batch=8, inputs=4, outputs=4, wait_for_products=False)


def test_a_product_alone_takes_its_time():
    """Its passes, its first tile and its end come to the cycle."""
    run = Run(SIZE, [SHORT])
    (given,), (passed,), (issued,) = run.given_at, run.passed_at, run.issued_at
    assert passed == given + ProductUnit.first_pass
    # Room is a register behind what the sequencer says.
    assert issued == given + ResultSequencer.latency + 1
    stored = issued + FLIGHT + TileDrain.take_latency + SHORT.batch - 1 + WAY
    assert run.free_at == [stored + ResultSequencer.release]


def test_the_first_tile_waits_for_its_passes():
    command = dataclasses.replace(SHORT, inputs=40)
    run = Run(SIZE, [command])
    assert run.issued_at[0] == run.passed_at[0] + SIZE.passes(command) - 1


def test_a_product_alike_follows_without_a_gap():
    """As long as the one after it is there in time: the sequencer keeps one."""
    long = dataclasses.replace(SHORT, batch=32)
    run = Run(SIZE, [long] * 3)
    gaps = [after - before for before, after in itertools.pairwise(run.issued_at)]
    # One cycle more at the end of each product.
    assert gaps == [8, 8, 8, 9, 8, 8, 8, 9, 8, 8, 8]
    # Each ends with its last strip; the last one is found to be empty a cycle later.
    way = FLIGHT + TileDrain.take_latency + SHORT.batch - 1 + WAY
    ends = [cycle + way for cycle in run.issued_at[3::4]]
    assert run.ended_at == [*ends[:-1], ends[-1] + 1]


def test_a_product_with_other_settings_waits_for_the_end():
    run = Run(SIZE, [SHORT, dataclasses.replace(SHORT, relu=True)])
    first, second = run.issued_at
    stored = first + FLIGHT + TileDrain.take_latency + SHORT.batch - 1 + WAY
    end = stored + ResultSequencer.release
    assert second == end + ResultSequencer.turnaround + 1


def test_passes_follow_the_last_pass_of_the_product_before():
    run = Run(SIZE, [SHORT] * 2)
    passed = run.passed_at[1]
    assert run.given_at[1] == run.issued_at[0] + ProductUnit.release
    assert passed == run.given_at[1] + ProductUnit.first_pass
