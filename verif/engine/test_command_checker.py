# amaranth: UnusedElaboratable=no
"""The checker of commands alone: its verdicts are those of the golden checks, to the cycle."""

import dataclasses
import random

import numpy as np
import pytest
from amaranth import Module, ResetInserter, Signal

from nibblegrad.golden.engine.command import (
    PRODUCTS,
    Command,
    CoreSize,
    Destination,
    ErrorCode,
    Operation,
)
from nibblegrad.golden.engine.command_checks import check_command, following_chain
from nibblegrad.golden.numbers.formats import Fp4Format
from nibblegrad.hdl.engine.command_checker import CommandChecker
from verif.engine.core_refusals import DESTINATIONS, malformed_commands, random_malformed
from verif.support.simulation import simulate

SIZES = {
    "4x4x8": CoreSize(rows=4, columns=4, lanes=8, max_terms=16),
    "8x2x4 radix 4": CoreSize(rows=8, columns=2, lanes=4, max_terms=16, fmt=Fp4Format(2)),
    "odd depths": CoreSize(
        rows=2, columns=4, lanes=2, activation_words=7, weight_words=5, gradient_words=6,
        bias_words=3, partial_sum_strips=11, max_terms=8,
    ),
}  # fmt: skip

#: Those that no command can have by itself: they are told of the queue, of beats and of seeds.
ELSEWHERE = {
    ErrorCode.NONE,
    ErrorCode.QUEUE_FULL,
    ErrorCode.EARLY_LAST,
    ErrorCode.MISSING_LAST,
    ErrorCode.SEED,
}


@pytest.fixture
def rng(request):
    return random.Random(request.config.getoption("seed"))


def as_bits(layout, command):
    """Lay a command out as the wires have it."""
    return layout.const({name: int(getattr(command, name)) for name in layout.members}).as_bits()


class Bench:
    """Gives commands to a checker, and holds each verdict against the golden one."""

    def __init__(self, rng, size):
        self.rng, self.size = rng, size
        self.reset = Signal()
        self.checker = CommandChecker(size)
        self.module = Module()
        self.module.submodules.checker = ResetInserter(self.reset)(self.checker)
        self.layout = self.checker.command.shape()
        self.chain = None
        #: Every code that was told.
        self.found = set()

    def run(self, steps):
        """Simulate a bench, an async function of the context."""

        async def bench(ctx):
            ctx.set(self.checker.room, 1)
            await steps(ctx)

        simulate(self.module, bench)

    async def write(self, ctx, command):
        """Write a command in this cycle; afterwards anything is on the wires."""
        value = self.checker.command.as_value()
        assert ctx.get(self.checker.ready)
        ctx.set(value, as_bits(self.layout, command))
        ctx.set(self.checker.write, 1)
        await ctx.tick()
        ctx.set(self.checker.write, 0)
        ctx.set(value, self.rng.getrandbits(len(value)))

    async def expect(self, ctx, command, code, latency):
        """Follow a check from the cycle after the write on, until the next command may come."""
        checker = self.checker
        for cycle in range(1, latency + 1):
            told = cycle == (latency - 2 if latency == checker.latency else 1)
            where = f"{code.name}, cycle {cycle}: {command}"
            assert ctx.get(checker.ready) == (cycle == latency), where
            assert ctx.get(checker.checking) == (latency == checker.latency > cycle), where
            assert ctx.get(checker.error) == (told and code != ErrorCode.NONE), where
            if ctx.get(checker.error):
                assert ErrorCode(ctx.get(checker.error_code)) == code, command
                self.found.add(code)
            accepted = code == ErrorCode.NONE and cycle == latency - 1
            assert ctx.get(checker.accepted) == accepted, where
            if accepted:
                bits = as_bits(self.layout, command)
                assert ctx.get(checker.candidate.as_value()) == bits, command
            if cycle < latency:
                await ctx.tick()

    async def check(self, ctx, command):
        """Write a command, and hold the verdict against the golden one."""
        code = check_command(command, self.size, self.chain)
        await self.write(ctx, command)
        await self.expect(ctx, command, code, self.checker.latency)
        if code == ErrorCode.NONE and command.is_product:
            self.chain = following_chain(command, self.size, self.chain)


def chained(size):
    """List commands about chains: opened, gone on with, left alone, wrong, too long."""
    change = dataclasses.replace
    sums = {"destination": Destination.PARTIAL_SUMS}
    for operation in PRODUCTS:
        opens = Command(operation, batch=2, inputs=2, outputs=2, **sums)
        goes_on = change(opens, accumulate=True)
        terms = {
            Operation.FORWARD: "inputs",
            Operation.INPUT_GRADIENT: "outputs",
            Operation.WEIGHT_GRADIENT: "batch",
        }[operation]
        shape = [name for name in ("batch", "inputs", "outputs") if name != terms]
        yield from (opens, goes_on, change(goes_on, **{terms: 4}))
        # Another product, and one that is refused, leave the chain alone.
        yield from (Command(operation, batch=3), Command(0), goes_on)
        # Another shape, or another operation, has no chain to go on with.
        yield from (change(goes_on, **{name: 1}) for name in shape)
        yield from (change(goes_on, operation=other) for other in PRODUCTS)
        # A result ends the chain.
        yield from (opens, change(goes_on, destination=Destination.STREAM), goes_on)


def at_the_edge(size):
    """List commands whose regions end with their memory, and a word behind it."""
    depths = {
        "activation_base": (size.activation_words, lambda c: size.blocks(c.batch, c.inputs)),
        "weight_base": (size.weight_words, lambda c: size.blocks(c.outputs, c.inputs)),
        "gradient_base": (size.gradient_words, lambda c: size.blocks(c.batch, c.outputs)),
        "bias_base": (size.bias_words, lambda c: -(-c.outputs // size.columns)),
    }
    side = size.block
    shapes = [(1, 1, 1), (side, side, side), (side + 1, side, side + 1), (1, side + 1, 1)]
    for operation in Operation:
        for batch, inputs, outputs in shapes:
            command = Command(operation, batch=batch, inputs=inputs, outputs=outputs)
            for name, (depth, words) in depths.items():
                for base in (depth - words(command), depth - words(command) + 1):
                    yield dataclasses.replace(command, **{name: max(base, 0)})
                    if operation == Operation.FORWARD:
                        yield dataclasses.replace(command, **{name: max(base, 0)}, bias=True)


def by_chance(rng, size, count):
    """Draw commands of every kind: wrong by themselves, by their chain, and right ones."""
    numbers = np.random.default_rng(rng.randrange(1 << 32))
    for _ in range(count):
        if rng.random() < 0.3:
            yield random_malformed(numbers, size)
            continue
        batch, outputs = rng.choice([1, 2, 4]), rng.choice([1, 4])
        operation = rng.choice(list(Operation))
        command = Command(operation, batch, rng.choice([1, 4]), outputs)
        if operation in DESTINATIONS:
            destination = rng.choice([Destination.PARTIAL_SUMS, *DESTINATIONS[operation]])
            accumulate = rng.random() < 0.4
            command = dataclasses.replace(command, destination=destination, accumulate=accumulate)
        yield command


@pytest.mark.parametrize("name", SIZES)
def test_verdicts_are_those_of_the_golden_checks(rng, name):
    size = SIZES[name]
    bench = Bench(rng, size)
    small = name == "odd depths"

    async def steps(ctx):
        # Every cause of a refusal, while no chain is open.
        if not small:
            for code, command in malformed_commands(size):
                assert check_command(command, size, None) == code
                await bench.check(ctx, command)
        for command in [*chained(size), *at_the_edge(size)]:
            await bench.check(ctx, command)
        for command in by_chance(rng, size, 0 if small else 150):
            for _ in range(rng.choice([0, 0, 3])):
                await ctx.tick()
            await bench.check(ctx, command)

    bench.run(steps)
    if not small:
        assert bench.found == set(ErrorCode) - ELSEWHERE


def test_a_chain_has_no_more_terms_than_it_can_hold(rng):
    """Up to the last term, and one more, of chains whose sums just fit."""
    fmt = Fp4Format(2)
    size = CoreSize(rows=2, columns=2, lanes=2, weight_words=40000, gradient_words=40000,
                    activation_words=40000, max_terms=4096, fmt=fmt)  # fmt: skip
    bench = Bench(rng, size)
    opens = Command(Operation.FORWARD, inputs=4096, destination=Destination.PARTIAL_SUMS)
    goes_on = dataclasses.replace(opens, accumulate=True)

    async def steps(ctx):
        await bench.check(ctx, opens)
        while size.chain_terms - bench.chain.terms >= 4096:
            await bench.check(ctx, goes_on)
        left = size.chain_terms - bench.chain.terms
        for inputs in (left + 1, left, 1):
            if inputs:
                await bench.check(ctx, dataclasses.replace(goes_on, inputs=inputs))
        assert bench.chain.terms == size.chain_terms

    bench.run(steps)
    assert bench.found == {ErrorCode.TERMS}


def test_without_room_a_command_is_refused_at_once(rng):
    bench = Bench(rng, SIZES["4x4x8"])

    async def steps(ctx):
        for command in (Command(Operation.FORWARD), Command(0)):
            ctx.set(bench.checker.room, 0)
            await bench.write(ctx, command)
            ctx.set(bench.checker.room, 1)
            await bench.expect(ctx, command, ErrorCode.QUEUE_FULL, 2)
            await bench.check(ctx, command)

    bench.run(steps)


def test_while_there_is_an_error_commands_are_ignored(rng):
    """From the write on, or only when the verdict comes; an error of the command is told then."""
    bench = Bench(rng, SIZES["4x4x8"])
    checker, right, wrong = bench.checker, Command(Operation.FORWARD), Command(0)

    async def steps(ctx):
        ctx.set(checker.blocked, 1)
        for command in (right, wrong):
            await bench.write(ctx, command)
            for _ in range(checker.latency):
                assert ctx.get(checker.ready)
                assert not ctx.get(checker.accepted | checker.error | checker.checking)
                await ctx.tick()
        ctx.set(checker.blocked, 0)
        for at in range(1, checker.latency):
            await bench.write(ctx, right)
            for cycle in range(1, checker.latency):
                ctx.set(checker.blocked, cycle >= at)
                # The verdict, two cycles before the end, is what counts.
                accepted = cycle == checker.latency - 1 and at == checker.latency - 1
                assert ctx.get(checker.accepted) == accepted, (at, cycle)
                await ctx.tick()
            ctx.set(checker.blocked, 0)
        await bench.check(ctx, right)

    bench.run(steps)


def test_a_drop_closes_the_chain(rng):
    """At any time; with the verdict, the command is lost, too, and nothing is told."""
    bench = Bench(rng, SIZES["4x4x8"])
    checker = bench.checker
    opens = Command(Operation.FORWARD, destination=Destination.PARTIAL_SUMS)
    goes_on = dataclasses.replace(opens, accumulate=True)

    async def steps(ctx):
        await bench.check(ctx, opens)
        await bench.check(ctx, goes_on)
        ctx.set(checker.drop, 1)
        await ctx.tick()
        ctx.set(checker.drop, 0)
        bench.chain = None
        await bench.check(ctx, goes_on)
        for command in (opens, Command(0)):
            await bench.write(ctx, command)
            for cycle in range(1, checker.latency + 1):
                ctx.set(checker.drop, cycle == checker.latency - 2)
                assert not ctx.get(checker.accepted | checker.error)
                if cycle < checker.latency:
                    await ctx.tick()
        await bench.check(ctx, goes_on)

    bench.run(steps)


def test_a_reset_leaves_no_verdict_on_its_way(rng):
    """In every cycle of a check; the next command comes at once, and has its own verdict."""
    size = SIZES["4x4x8"]
    bench = Bench(rng, size)
    too_large = Command(Operation.FORWARD, batch=65535, inputs=16, outputs=65535, bias=True,
                        destination=Destination.OPERAND)  # fmt: skip
    opens = Command(Operation.FORWARD, destination=Destination.PARTIAL_SUMS)

    async def steps(ctx):
        for before in (too_large, opens, Command(0)):
            for cycle in range(1, bench.checker.latency + 1):
                await bench.write(ctx, before)
                for _ in range(cycle - 1):
                    await ctx.tick()
                ctx.set(bench.reset, 1)
                await ctx.tick()
                ctx.set(bench.reset, 0)
                bench.chain = None
                for command in (dataclasses.replace(opens, accumulate=True), opens, Command(0)):
                    await bench.check(ctx, command)

    bench.run(steps)
