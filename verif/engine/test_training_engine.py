# amaranth: UnusedElaboratable=no
"""The engine of a small training core, with every promise of its parts checked meanwhile."""

import dataclasses

import numpy as np
import pytest
from amaranth import ClockDomain, ClockSignal, Module, ResetSignal

from nibblegrad.golden.engine.command import PRODUCTS, Command, CoreSize, Destination, Store
from nibblegrad.golden.engine.training_core import TrainingCore
from nibblegrad.hdl.engine.training_engine import RESULTS, TrainingEngine
from verif.engine.core_stimulus import random_program
from verif.support.simulation import simulate

SIZE = CoreSize(
    rows=2,
    columns=2,
    lanes=2,
    activation_words=64,
    weight_words=64,
    gradient_words=64,
    bias_words=16,
    partial_sum_strips=32,
)


class Run:
    """A program through the engine; strips of its results, and its step gradients."""

    def __init__(self, rng, size, program, seeds, pause):
        self.rng, self.program, self.seeds, self.pause = rng, program, seeds, pause
        self.engine = TrainingEngine(size)
        self.results, self.step_gradients, self.error = [[]], None, None
        module = Module()
        domain = ClockDomain(RESULTS, local=True)
        module.domains += domain
        module.d.comb += [domain.clk.eq(ClockSignal()), domain.rst.eq(ResetSignal())]
        module.submodules.engine = self.engine
        simulate(module, self._commands, self._beats, background=[self._strips])

    async def _commands(self, ctx):
        engine, payload = self.engine, self.engine.command
        for name, words in zip(("load", "result"), self.seeds, strict=True):
            seed, write = (getattr(engine, f"{x}{name}_seed") for x in ("", "write_"))
            for word in words:
                ctx.set(seed, int(word))
                ctx.set(write, 1)
                await ctx.tick()
                ctx.set(write, 0)
                await ctx.tick().repeat(2)
        await ctx.tick().repeat(8)
        for command, _ in self.program:
            for field in dataclasses.fields(Command):
                if field.name in payload.shape().members:
                    ctx.set(payload[field.name], int(getattr(command, field.name)))
            while not (ctx.get(engine.ready) and ctx.get(engine.free)):
                await ctx.tick()
            ctx.set(engine.write, 1)
            await ctx.tick()
            ctx.set(engine.write, 0)
            # A command stands still while it is checked.
            await ctx.tick().repeat(2)
            while not ctx.get(engine.ready):
                await ctx.tick()
        await ctx.tick().repeat(4)
        while ctx.get(engine.busy):
            await ctx.tick()
        await ctx.tick().repeat(20)
        self.step_gradients = [ctx.get(value) for value in engine.step_gradients]
        self.error = ctx.get(engine.error)

    async def _beats(self, ctx):
        stream = self.engine.i
        for _, beats in self.program:
            for k, beat in enumerate([] if beats is None else beats):
                while self.rng.random() < self.pause:
                    await ctx.tick()
                for lane, number in enumerate(beat):
                    ctx.set(stream.p.data[lane], int(number))
                ctx.set(stream.p.last, k == len(beats) - 1)
                ctx.set(stream.valid, 1)
                await ctx.tick().until(stream.ready)
                ctx.set(stream.valid, 0)

    async def _strips(self, ctx):
        stream = self.engine.o
        while True:
            takes = self.rng.random() >= self.pause
            ctx.set(stream.ready, takes)
            if takes and ctx.get(stream.valid):
                self.results[-1].append([ctx.get(lane) for lane in stream.p.data])
                if ctx.get(stream.p.last):
                    self.results.append([])
            await ctx.tick()


@pytest.mark.parametrize("pause", [0.0, 0.5])
def test_no_part_breaks_its_promise(request, pause):
    rng = np.random.default_rng([request.config.getoption("seed"), int(10 * pause)])
    program = random_program(rng, SIZE, 40)
    seeds = rng.integers(1, 1 << 32, (2, 4))
    run = Run(rng, SIZE, program, seeds, pause)
    twin = TrainingCore(SIZE)
    twin.seed(*seeds.astype(np.uint32))
    expected = []
    for command, beats in program:
        number = twin.issue(command, beats)
        if command.operation in PRODUCTS and command.destination == Destination.STREAM:
            expected.append(twin.result(number).tolist())
    assert run.error == 0
    assert run.results == [*expected, []]
    assert run.step_gradients == [
        twin.step_gradient(which) for which in (Store.ACTIVATIONS, Store.WEIGHTS)
    ]
