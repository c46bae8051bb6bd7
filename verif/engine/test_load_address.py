# amaranth: UnusedElaboratable=no
"""Places of the writes of a load: where the golden memory has each number."""

import random

import numpy as np
import pytest
from amaranth import Module

from nibblegrad.golden.engine.command import CoreSize
from nibblegrad.golden.engine.operand_memory import CodeMemory
from nibblegrad.hdl.engine.load_address import LoadAddress
from verif.support.simulation import simulate

#: Rows, columns and lanes: of one group and several, with words of one row of lanes and more.
SHAPES = [(2, 2, 2), (2, 2, 4), (4, 2, 8), (2, 4, 16), (8, 8, 4)]


@pytest.fixture
def rng(request):
    return random.Random(request.config.getoption("seed"))


def places(size, base, rows, columns):
    """Find word, row and group of each write, by the golden memory: it marks what it writes."""
    lanes = size.load_lanes
    memory = CodeMemory(size.blocks(rows, columns), size.block)
    for row in range(rows):
        for first in range(0, columns, lanes):
            marks = np.zeros((rows, columns), np.uint8)
            marks[row, first : first + lanes] = 1
            memory.write_codes(0, marks)
            word, line, column = (int(index[0]) for index in np.nonzero(memory.codes))
            yield base + word, line, column // lanes


async def follow(ctx, unit, rng, matrix, expected, sends):
    """Start a matrix, and hold the place of each write against what is expected."""
    base, columns, lanes, is_biases = matrix
    ctx.set(unit.base, base)
    ctx.set(unit.columns, columns)
    ctx.set(unit.row_lanes, lanes)
    ctx.set(unit.is_biases, is_biases)
    # What is left of a row behind its first write, minus 1.
    ctx.set(unit.begin_row, columns - lanes - 1)
    await ctx.tick()
    ctx.set(unit.start, 1)
    await ctx.tick()
    ctx.set(unit.start, 0)
    for number, (address, row, group) in enumerate(expected):
        while rng.random() > sends:
            ctx.set(unit.next, 0)
            await ctx.tick()
        found = tuple(ctx.get(value) for value in (unit.address, unit.row, unit.group))
        assert found == (address, row, group), (matrix, number)
        assert ctx.get(unit.rows) == 1 << row and ctx.get(unit.groups) == 1 << group
        ctx.set(unit.next, 1)
        await ctx.tick()
    ctx.set(unit.next, 0)


@pytest.mark.parametrize("sends", [1, 0.5])
@pytest.mark.parametrize("shape", SHAPES)
def test_places_are_those_of_the_golden_memory(rng, shape, sends):
    size = CoreSize(rows=shape[0], columns=shape[1], lanes=shape[2])
    m = Module()
    m.submodules.unit = unit = LoadAddress(size)
    block = size.block
    # From a single number to several words each way; whole ones, and one more and one less.
    sides = [1, size.load_lanes + 1, block - 1, block, block + 1, 2 * block + 1]
    matrices = [(rows, columns) for rows in sides for columns in sides]
    matrices += [(rng.randint(1, 3 * block), rng.randint(1, 3 * block)) for _ in range(5)]

    async def bench(ctx):
        for rows, columns in matrices:
            base = rng.randrange(1 << size.address_bits)
            expected = places(size, base, rows, columns)
            await follow(ctx, unit, rng, (base, columns, size.load_lanes, 0), expected, sends)

    simulate(m, bench, patience=200_000)


@pytest.mark.parametrize("shape", SHAPES)
def test_beats_of_biases_follow_each_other(rng, shape):
    """From the first beat on; the last ones of the greatest memory have an address, too."""
    size = CoreSize(rows=shape[0], columns=shape[1], lanes=shape[2])
    m = Module()
    m.submodules.unit = unit = LoadAddress(size)
    lanes = size.biases_per_beat
    greatest = 65535 * size.columns // lanes

    async def bench(ctx):
        for columns, base in [(1, 0), (3 * size.block + 1, greatest - 100), (20, greatest - 20)]:
            count = -(-columns // lanes)
            expected = [(base + k, 0, 0) for k in range(count)]
            await follow(ctx, unit, rng, (base, columns, lanes, 1), expected, 0.7)

    simulate(m, bench)
