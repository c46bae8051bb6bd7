# amaranth: UnusedElaboratable=no
"""Loads: every beat is written to its place, and a wrong end harms nothing that comes after it."""

import random
from dataclasses import dataclass

import pytest
from amaranth import Module

from nibblegrad.golden.engine.command import Command, CoreSize, ErrorCode, Operation, Store
from nibblegrad.hdl.cores.fp4_quantizer import Fp4Lane
from nibblegrad.hdl.cores.quantizer import IntegerLane
from nibblegrad.hdl.engine.load_unit import LoadUnit
from verif.support.simulation import simulate

SHAPES = [(2, 2, 4), (4, 2, 8), (2, 4, 16)]
LOADS = {
    Operation.LOAD_ACTIVATIONS: (Store.ACTIVATIONS, "batch", "inputs", "activation_base"),
    Operation.LOAD_WEIGHTS: (Store.WEIGHTS, "outputs", "inputs", "weight_base"),
    Operation.LOAD_GRADIENTS: (Store.GRADIENTS, "batch", "outputs", "gradient_base"),
}


@dataclass(frozen=True)
class Write:
    """What one beat writes: codes of a row of a word."""

    memory: Store
    address: int
    row: int
    group: int
    codes: tuple[int, ...]


class Load:
    """A load of ready codes: its command, its beats, and what they must write."""

    def __init__(self, rng, size, operation=None, greatest=20):
        operation = operation or rng.choice(list(LOADS))
        memory, rows_name, columns_name, base_name = LOADS[operation]
        self.rows, self.columns = rng.randint(1, greatest), rng.randint(1, greatest)
        base, lanes = rng.randrange(1000), size.load_lanes
        self.command = Command(
            operation,
            codes=True,
            **{rows_name: self.rows, columns_name: self.columns, base_name: base},
        )
        across = -(-self.columns // size.block)
        self.beats, self.writes = [], []
        for row in range(self.rows):
            codes = [rng.randrange(16) for _ in range(self.columns)]
            for first in range(0, self.columns, lanes):
                beat = codes[first : first + lanes]
                # What lies beyond the last column is not written, whatever comes.
                beyond = [rng.randrange(16) for _ in range(lanes - len(beat))]
                self.beats.append([*beat, *beyond])
                self.writes.append(
                    Write(
                        memory,
                        base + row // size.block * across + first // size.block,
                        row % size.block,
                        first % size.block // lanes,
                        (*beat, *(0 for _ in beyond)),
                    )
                )


class Run:
    """Loads one after the other; each beat has TLAST where it is said."""

    def __init__(self, rng, size, loads, *, sends=0.7, waits=0.3):
        self.unit = LoadUnit(size)
        self.rng, self.size, self.loads = rng, size, loads
        self.sends, self.waits = sends, waits
        #: Writes, errors, loads that have ended, and loads that were taken, with their cycle.
        self.writes, self.errors, self.done, self.taken = [], [], [], []
        #: Beats that were accepted: of which load, the how manieth, and when.
        self.accepted = []
        self.cycle = 0
        module = Module()
        module.submodules.unit = self.unit
        simulate(module, self._beats, background=[self._commands, self._watch])

    async def _commands(self, ctx):
        """Offer the next command at once: even while beats are still thrown away."""
        for load, _ in self.loads:
            for name in ("operation", "codes", "batch", "inputs", "outputs"):
                ctx.set(self.unit.command.payload[name], int(getattr(load.command, name)))
            for *_, base_name in LOADS.values():
                ctx.set(self.unit.command.payload[base_name], getattr(load.command, base_name))
            ctx.set(self.unit.command.valid, 1)
            await ctx.tick().until(self.unit.command.ready)
            ctx.set(self.unit.command.valid, 0)

    async def _beats(self, ctx):
        for number, (load, ends) in enumerate(self.loads):
            # The end as it comes on TLAST: in its beat, earlier, or some beats too late.
            count = len(load.beats) + ends
            for k in range(count):
                while self.rng.random() > self.sends:
                    ctx.set(self.unit.i.valid, 0)
                    await ctx.tick()
                beat = (
                    load.beats[k]
                    if k < len(load.beats)
                    else [self.rng.randrange(16)] * len(load.beats[0])
                )
                for lane, code in enumerate(beat):
                    ctx.set(self.unit.i.p.data[lane], code)
                ctx.set(self.unit.i.p.last, k == count - 1)
                ctx.set(self.unit.i.valid, 1)
                await ctx.tick().until(self.unit.i.ready)
                self.accepted.append((number, k))
            ctx.set(self.unit.i.valid, 0)
        await ctx.tick().repeat(60)

    async def _watch(self, ctx):
        unit, write = self.unit, self.unit.store.write
        while True:
            ctx.set(unit.store.wait, self.rng.random() < self.waits)
            if ctx.get(write.memories):
                self.writes.append(self._written(ctx))
            if ctx.get(unit.error):
                self.errors.append(ErrorCode(ctx.get(unit.error_code)))
            if ctx.get(unit.done):
                self.done.append(len(self.writes))
            if ctx.get(unit.command.valid) and ctx.get(unit.command.ready):
                self.taken.append((self.cycle, len(self.accepted)))
            await ctx.tick()
            self.cycle += 1

    def _written(self, ctx):
        write = self.unit.store.write
        memories, row, group = (ctx.get(write[x]) for x in ("memories", "row", "group"))
        memory = next(each for each in Store if memories == 1 << each)
        # The same, with a bit for each.
        assert ctx.get(write.rows) == 1 << row and ctx.get(write.groups) == 1 << group
        codes = tuple(ctx.get(write.codes[lane]) for lane in range(self.size.load_lanes))
        return Write(memory, ctx.get(write.address), row, group, codes)


@pytest.fixture
def rng(request):
    return random.Random(request.config.getoption("seed"))


def size_of(shape):
    rows, columns, lanes = shape
    return CoreSize(rows=rows, columns=columns, lanes=lanes)


@pytest.mark.parametrize("sends, waits", [(1.0, 0.0), (0.7, 0.3), (1.0, 0.6), (0.2, 0.0)])
@pytest.mark.parametrize("shape", SHAPES)
def test_every_beat_is_written_to_its_place(rng, shape, sends, waits):
    size = size_of(shape)
    loads = [Load(rng, size, operation) for operation in LOADS for _ in range(3)]
    loads += [Load(rng, size, greatest=2) for _ in range(8)]
    run = Run(rng, size, [(load, 0) for load in loads], sends=sends, waits=waits)
    assert run.writes == [write for load in loads for write in load.writes]
    assert not run.errors and len(run.done) == len(run.taken) == len(loads)


@pytest.mark.parametrize("sends", [1.0, 0.5])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_wrong_end_harms_nothing_after_it(rng, shape, sends):
    """TLAST too early, too late by one beat and by many, twice in a row, and at a single beat."""
    size = size_of(shape)
    loads, errors = [], []
    for ends in (0, 1, 0, 7, 1, 0, -1, 2, -1, -1, 0, 30, 0):
        load = Load(rng, size)
        while len(load.beats) + ends < 1:
            load = Load(rng, size)
        loads.append((load, ends))
        if ends:
            errors.append(ErrorCode.EARLY_LAST if ends < 0 else ErrorCode.MISSING_LAST)
    run = Run(rng, size, loads, sends=sends)
    assert run.errors == errors
    expected = [
        write for load, ends in loads for write in load.writes[: len(load.beats) + min(ends, 0)]
    ]
    assert run.writes == expected
    # A load ends once, with all that it has written.
    assert len(run.done) == len(loads) and sorted(run.done) == run.done
    # None is taken before the last beat of the one before has gone, be it thrown away.
    beats = 0
    for (load, ends), (_, accepted) in zip(loads, run.taken, strict=True):
        assert accepted == beats
        beats += len(load.beats) + ends


@pytest.mark.parametrize("operation", LOADS)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_beat_per_cycle_and_the_stated_latency(shape, operation):
    """Of quantised numbers, whose way is the longest: none waits, and each is written in time."""
    size = size_of(shape)
    unit = LoadUnit(size)
    m = Module()
    m.submodules.unit = unit
    beats = 100
    command = {name: size.load_lanes for name in ("batch", "inputs", "outputs")}
    command |= {"outputs" if operation == Operation.LOAD_WEIGHTS else "batch": beats}
    taken, written = [], []

    async def bench(ctx):
        for name, value in command.items():
            ctx.set(unit.command.payload[name], value)
        ctx.set(unit.command.payload.operation, operation)
        ctx.set(unit.command.valid, 1)
        ctx.set(unit.i.valid, 1)
        for cycle in range(beats + LoadUnit.latency + 10):
            ctx.set(unit.i.p.last, len(taken) == beats - 1)
            if ctx.get(unit.taken):
                taken.append(cycle)
            if ctx.get(write := unit.store.write.memories):
                assert ctx.get(write) == 1 << LOADS[operation][0]
                written.append(cycle)
            await ctx.tick()
            ctx.set(unit.command.valid, 0)

    simulate(m, bench)
    assert taken == [taken[0] + k for k in range(beats)]
    to_fp4 = operation == Operation.LOAD_GRADIENTS
    latency = LoadUnit.latency - (0 if to_fp4 else Fp4Lane.latency - IntegerLane.latency)
    assert written == [cycle + latency for cycle in taken]
