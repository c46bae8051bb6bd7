# amaranth: UnusedElaboratable=no
"""Tiles that leave row by row: their places in the result and in the memories, and when they do."""

import random
from collections import Counter
from dataclasses import dataclass

import pytest
from amaranth import Module

from nibblegrad.golden.engine.command import Command, CoreSize, Operation
from nibblegrad.hdl.engine.tile_drain import TileDrain
from verif.support.simulation import simulate

FLIGHT = 7
BITS = 20


@dataclass(frozen=True)
class Strip:
    """Part of a row of the result: values of the lanes, and where it belongs."""

    values: tuple[int, ...]
    element: int
    result: int
    row: int
    column: int
    number: int
    bias: int
    last: bool


class Product:
    """A product with random sums: its tiles, and the strips that must come of them."""

    def __init__(self, rng, size, operation, greatest):
        batch, inputs, outputs = (rng.randint(1, greatest) for _ in range(3))
        bases = {
            name: rng.randrange(1000)
            for name in ("activation_base", "weight_base", "bias_base", "result_base")
        }
        self.command = Command(operation, batch=batch, inputs=inputs, outputs=outputs, **bases)
        forward = operation == Operation.FORWARD
        rows = outputs if operation == Operation.WEIGHT_GRADIENT else batch
        columns = outputs if forward else inputs
        height, width = (size.rows, size.columns) if forward else (size.columns, size.rows)
        result = [
            [rng.randrange(-(1 << (BITS - 1)), 1 << (BITS - 1)) for _ in range(columns)]
            for _ in range(rows)
        ]
        base = bases["weight_base" if operation == Operation.WEIGHT_GRADIENT else "activation_base"]
        across = -(-columns // size.block)
        #: Sums of the array for each tile, and how many strips it has.
        self.tiles, self.strips = [], []
        for top in range(0, rows, height):
            for left in range(0, columns, width):
                tile = [line[left : left + width] for line in result[top : top + height]]
                self.tiles.append((_in_array(rng, size, tile, forward), len(tile)))
                for k, line in enumerate(tile):
                    row = top + k
                    word = row // size.block * across + left // size.block
                    self.strips.append(
                        Strip(
                            tuple(line),
                            base + word,
                            bases["result_base"] + word,
                            row % size.block,
                            left % size.block,
                            len(self.strips),
                            bases["bias_base"] + left // width,
                            row == rows - 1 and left + width >= columns,
                        )
                    )


def _in_array(rng, size, tile, forward):
    """Place a tile in the registers of the array; gradients come transposed."""
    sums = [[rng.randrange(1 << (BITS - 1)) for _ in range(size.columns)] for _ in range(size.rows)]
    for k, line in enumerate(tile):
        for lane, value in enumerate(line):
            row, column = (k, lane) if forward else (lane, k)
            sums[row][column] = value
    return sums


class Environment:
    """Gives tiles to a drain as product unit and array do, and notes the strips."""

    def __init__(self, rng, size, products, spare):
        self.rng, self.size, self.products, self.spare = rng, size, products, spare
        self.drain = TileDrain(size, BITS, FLIGHT)
        #: Strips, the cycle of each, and the cycles in which tiles were done.
        self.strips, self.at, self.done_at = [], [], []
        module = Module()
        module.submodules.drain = self.drain
        simulate(module, self._bench)

    async def _bench(self, ctx):
        self.cycle, self.arriving, self.left = 0, {}, -1
        for product in self.products:
            for name in ("operation", "batch", "inputs", "outputs"):
                ctx.set(self.drain.next_command[name], getattr(product.command, name))
            for name in ("activation_base", "weight_base", "bias_base", "result_base"):
                ctx.set(self.drain.next_command[name], getattr(product.command, name))
            await self._step(ctx, 3)
            # It begins in the cycle after the last strip of the one before, or later.
            while self.cycle <= self.left:
                await self._step(ctx)
            await self._step(ctx, self.rng.choice(self.spare))
            ctx.set(self.drain.start, 1)
            await self._step(ctx)
            ctx.set(self.drain.start, 0)
            wait = 0
            for sums, strips in product.tiles:
                await self._step(ctx, wait)
                ctx.set(self.drain.tile.issued, 1)
                ctx.set(self.drain.tile.strips, strips)
                self.arriving[self.cycle + FLIGHT] = sums
                self.left = self.cycle + FLIGHT + strips
                await self._step(ctx)
                ctx.set(self.drain.tile.issued, 0)
                # A tile has as many cycles as it has strips, at least.
                wait = strips - 1 + self.rng.choice(self.spare)
        await self._step(ctx, FLIGHT + self.size.strip + 8)

    async def _step(self, ctx, cycles=1):
        for _ in range(cycles):
            sums = self.arriving.pop(self.cycle, None)
            ctx.set(self.drain.totals.done, 0 if sums is None else -1)
            for row in range(self.size.rows):
                for column in range(self.size.columns):
                    value = self.rng.randrange(1 << 10) if sums is None else sums[row][column]
                    ctx.set(self.drain.totals.sums[row][column], value)
            if sums is not None:
                self.done_at.append(self.cycle)
            if ctx.get(self.drain.strip.valid):
                self._note(ctx)
            await ctx.tick()
            self.cycle += 1

    def _note(self, ctx):
        strip = self.drain.strip
        used = [ctx.get(bit) for bit in strip.lanes_used]
        numbers = [ctx.get(number) for number in self.drain.numbers]
        self.at.append(self.cycle)
        self.strips.append(
            Strip(
                tuple(number for number, bit in zip(numbers, used, strict=True) if bit),
                *(
                    ctx.get(getattr(strip, name))
                    for name in ("element", "result", "row", "column", "number", "bias")
                ),
                bool(ctx.get(strip.last)),
            )
        )


@pytest.mark.parametrize("spare", [[0], [0, 1, 5]], ids=["at once", "with pauses"])
@pytest.mark.parametrize("shape", [(4, 4, 4), (2, 4, 4), (4, 2, 8), (8, 2, 2), (2, 8, 2)])
def test_every_strip_has_its_place(request, shape, spare):
    rng = random.Random(request.config.getoption("seed"))
    rows, columns, lanes = shape
    size = CoreSize(rows=rows, columns=columns, lanes=lanes)
    operations = [Operation.FORWARD, Operation.INPUT_GRADIENT, Operation.WEIGHT_GRADIENT]
    products = [Product(rng, size, each, 20) for each in operations * 3]
    products += [Product(rng, size, rng.choice(operations), 3) for _ in range(12)]
    run = Environment(rng, size, products, spare)
    expected = [strip for product in products for strip in product.strips]
    assert run.strips == expected
    # They leave in a row, so many cycles after their tile was done.
    starts = iter(run.done_at)
    cycles = []
    for product in products:
        for _, strips in product.tiles:
            start = next(starts) + TileDrain.latency
            cycles += range(start, start + strips)
    assert run.at == cycles
    assert max(Counter(run.at).values()) == 1
