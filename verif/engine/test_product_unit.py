# amaranth: UnusedElaboratable=no
"""Products: which parts of the operands meet in which pass, and what is told of each tile."""

import random
from dataclasses import dataclass

import pytest
from amaranth import Module

from nibblegrad.golden.cores.shift_multiply_array import ShiftOperand
from nibblegrad.golden.engine.command import Command, CoreSize, Operation
from nibblegrad.hdl.engine.product_unit import ProductUnit
from verif.support.simulation import simulate

PRODUCTS = [Operation.FORWARD, Operation.INPUT_GRADIENT, Operation.WEIGHT_GRADIENT]
BASES = ("activation_base", "weight_base", "gradient_base")


@dataclass(frozen=True)
class Place:
    """Part of a word that is read: address of the word, part of its vectors, lanes of each."""

    address: int
    part: int
    lanes: int


@dataclass(frozen=True)
class Pass:
    """What meets in a pass."""

    first: bool
    last: bool
    digit: int
    operand: int
    operation: int
    signed: int
    lanes_used: int
    integers: Place
    codes: Place
    weight_address: int


@dataclass(frozen=True)
class Matrix:
    """An operand: where it lies, its columns, and whether terms run down a column."""

    base: int
    columns: int
    by_column: bool

    def place(self, size, wide, index, term):
        row, column = (term, index) if self.by_column else (index, term)
        block = size.block
        word = row // block * -(-self.columns // block) + column // block
        return Place(self.base + word, index % block // wide, term % block // size.lanes)


class Product:
    """A product: its command, the passes that it must make, and its tiles."""

    def __init__(self, rng, size, operation, greatest):
        batch, inputs, outputs = (rng.randint(1, greatest) for _ in range(3))
        bases = {name: rng.randrange(1000) for name in BASES}
        x, w, dy = (bases[name] for name in BASES)
        signed = rng.randrange(2)
        self.command = Command(
            operation,
            batch=batch,
            inputs=inputs,
            outputs=outputs,
            signed_activations=bool(signed),
            **bases,
        )
        forward = operation == Operation.FORWARD
        by_weight = operation == Operation.WEIGHT_GRADIENT
        # Forward X by W; for the gradient of X, W by dY; for that of W, X by dY.
        if forward:
            rows, columns, terms = batch, outputs, inputs
            integers, codes = Matrix(x, inputs, False), Matrix(w, inputs, False)
        else:
            rows, columns, terms = outputs if by_weight else batch, inputs, outputs
            terms = batch if by_weight else outputs
            integers = Matrix(x if by_weight else w, inputs, True)
            codes = Matrix(dy, outputs, by_weight)
        height, width = (size.rows, size.columns) if forward else (size.columns, size.rows)
        self.passes, self.tiles = [], []
        for top in range(0, rows, height):
            strips = min(height, rows - top)
            for left in range(0, columns, width):
                self.tiles.append(
                    (strips, strips - 1 + (left + width >= columns and top + height >= rows))
                )
                row, column = (top, left) if forward else (left, top)
                steps = [
                    (term, digit)
                    for term in range(0, terms, size.lanes)
                    for digit in ((0, 1) if forward else (0,))
                ]
                for k, (term, digit) in enumerate(steps):
                    of_integers = integers.place(size, size.rows, row, term)
                    of_codes = codes.place(size, size.columns, column, term)
                    self.passes.append(
                        Pass(
                            first=k == 0,
                            last=k == len(steps) - 1,
                            digit=digit,
                            operand=int(ShiftOperand.INT4 if forward else ShiftOperand.FP4),
                            operation=int(operation),
                            signed=signed,
                            lanes_used=(1 << min(size.lanes, terms - term)) - 1,
                            integers=of_integers,
                            codes=of_codes,
                            weight_address=(of_codes if forward else of_integers).address,
                        )
                    )
        self.products = rows * columns * terms


class Run:
    """Products one after the other, with room for a tile when chance says so."""

    def __init__(self, rng, size, products, room):
        self.rng, self.products, self.room = rng, products, room
        self.unit = ProductUnit(size)
        #: Passes and their cycles, tiles and theirs, products of two numbers, starts.
        self.passes, self.at, self.tiles, self.tiles_at = [], [], [], []
        self.macs, self.starts = 0, []
        self.cycle = 0
        module = Module()
        module.submodules.unit = self.unit
        simulate(module, self._commands, background=[self._watch])

    async def _commands(self, ctx):
        command = self.unit.command
        for product in self.products:
            for name in ("operation", "batch", "inputs", "outputs", "signed_activations", *BASES):
                ctx.set(command.payload[name], int(getattr(product.command, name)))
            ctx.set(command.valid, 1)
            await ctx.tick().until(command.ready)
            ctx.set(command.valid, 0)
            # What comes while none is offered may be anything.
            ctx.set(
                command.payload.as_value(), self.rng.getrandbits(len(command.payload.as_value()))
            )
        await ctx.tick().until(~self.unit.busy)
        await ctx.tick().repeat(12)

    async def _watch(self, ctx):
        unit = self.unit
        while True:
            ctx.set(unit.tile.room, self.rng.random() < self.room)
            if ctx.get(unit.tile.issued):
                self.tiles.append((ctx.get(unit.tile.strips), ctx.get(unit.tile.gap)))
                self.tiles_at.append(self.cycle)
            if ctx.get(unit.command.valid) and ctx.get(unit.command.ready):
                self.starts.append(self.cycle)
            if ctx.get(unit.read.control.flags.valid):
                self.at.append(self.cycle)
                self.passes.append(self._pass(ctx))
            self.macs += ctx.get(unit.macs)
            await ctx.tick()
            self.cycle += 1

    def _pass(self, ctx):
        unit, control = self.unit, self.unit.read.control
        integers, codes = (
            Place(*(ctx.get(read[name]) for name in ("address", "part", "lanes")))
            for read in (unit.read.integers, unit.read.codes)
        )
        return Pass(
            first=bool(ctx.get(control.flags.first)),
            last=bool(ctx.get(control.flags.last)),
            **{name: ctx.get(control[name]) for name in ("digit", "operand", "operation")},
            signed=ctx.get(control.signed_activations),
            lanes_used=ctx.get(control.lanes_used),
            integers=integers,
            codes=codes,
            weight_address=ctx.get(unit.read.weight_address),
        )


@pytest.mark.parametrize("room", [1.0, 0.3])
@pytest.mark.parametrize("shape", [(4, 4, 4), (2, 4, 8), (4, 2, 2), (8, 2, 4), (2, 8, 4)])
def test_passes_are_those_of_the_product(request, shape, room):
    rng = random.Random(request.config.getoption("seed"))
    rows, columns, lanes = shape
    size = CoreSize(rows=rows, columns=columns, lanes=lanes)
    products = [Product(rng, size, operation, 19) for operation in PRODUCTS for _ in range(2)]
    products += [Product(rng, size, rng.choice(PRODUCTS), 3) for _ in range(10)]
    run = Run(rng, size, products, room)
    assert run.passes == [each for product in products for each in product.passes]
    assert run.tiles == [tile for product in products for tile in product.tiles]
    assert run.macs == sum(product.products for product in products)
    # A tile is told with its last pass, which comes out so many cycles later.
    lasts = [cycle for cycle, each in zip(run.at, run.passes, strict=True) if each.last]
    assert lasts == [cycle + ProductUnit.latency for cycle in run.tiles_at]
    if room == 1:
        # One pass in each cycle: within a product none waits.
        ends = iter(run.at)
        for product in products:
            cycles = [next(ends) for _ in product.passes]
            assert cycles == list(range(cycles[0], cycles[0] + len(cycles)))
