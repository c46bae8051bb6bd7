# amaranth: UnusedElaboratable=no
"""The queue of commands alone: its verdicts are those of the golden checks, in their time."""

import dataclasses
import random

import numpy as np
import pytest
from amaranth import Module, Signal

from golden.command import Command, CoreSize, Destination, ErrorCode, Operation
from golden.command_checks import check_command, following_chain
from golden.formats import Fp4Format
from hdl.command_queue import CommandQueue
from verif.core_refusals import DESTINATIONS, malformed_commands, random_malformed
from verif.simulation import simulate

SIZES = {
    "4x4x8": CoreSize(rows=4, columns=4, lanes=8, max_terms=16, queue_depth=4),
    "8x2x4 radix 4": CoreSize(
        rows=8, columns=2, lanes=4, max_terms=16, fmt=Fp4Format(2), queue_depth=2
    ),
}


NO_VERDICTS = {
    ErrorCode.NONE,
    ErrorCode.EARLY_LAST,
    ErrorCode.MISSING_LAST,
    ErrorCode.SEED,
}


def bits(layout, command):
    """Lay a command out as the wires have it."""
    return layout.const({name: int(getattr(command, name)) for name in layout.members}).as_bits()


def commands(rng, size, count):
    """Draw commands of every kind: wrong by themselves, by their chain, and right ones."""
    numbers = np.random.default_rng(rng.randrange(1 << 32))
    wrong = [command for _, command in malformed_commands(size)]
    for _ in range(count):
        kind = rng.random()
        if kind < 0.25:
            yield rng.choice(wrong)
        elif kind < 0.35:
            yield random_malformed(numbers, size)
        else:
            operation = rng.choice(list(Operation))
            command = Command(
                operation,
                batch=rng.choice([1, 2, 4]),
                inputs=rng.choice([1, 4]),
                outputs=rng.choice([1, 4]),
            )
            if operation in DESTINATIONS:
                destination = rng.choice([Destination.PARTIAL_SUMS, *DESTINATIONS[operation]])
                accumulate = rng.random() < 0.4
                command = dataclasses.replace(
                    command, destination=destination, accumulate=accumulate
                )
            yield command


@pytest.mark.parametrize("name", SIZES)
def test_verdicts_are_those_of_the_golden_checks(request, name):
    rng = random.Random(request.config.getoption("seed"))
    size = SIZES[name]
    module = Module()
    module.submodules.queue = queue = CommandQueue(size)
    layout, takes = queue.command.shape(), Signal(2)
    accepted, taken, errors = [], [], []

    async def bench(ctx):
        chain = None
        right = Command(Operation.LOAD_WEIGHTS)
        full_at_first = [right] * (size.queue_depth + 2)
        # Every cause of a refusal once, while no chain is open; then chance.
        wrong = [command for _, command in malformed_commands(size)]
        rest = [*wrong, *commands(rng, size, 300)]
        for number, command in enumerate([*full_at_first, *rest]):
            if number == len(full_at_first):
                ctx.set(takes, 1)
            while not ctx.get(queue.ready):
                await ctx.tick()
            # Until what has been taken is counted.
            for _ in range(rng.choice([0, 0, 3, 12])):
                await ctx.tick()
            full = not ctx.get(queue.free)
            value = queue.command.as_value()
            ctx.set(value, bits(layout, command))
            ctx.set(queue.write, 1)
            await ctx.tick()
            ctx.set(queue.write, 0)
            # It was copied: what is on the wires now does not matter.
            ctx.set(value, rng.getrandbits(len(value)))
            code = ErrorCode.QUEUE_FULL if full else check_command(command, size, chain)
            found = []
            for cycle in range(1, queue.latency + 1):
                # A full queue refuses at once; all others are told after the same time.
                assert bool(ctx.get(queue.ready)) == (cycle == (2 if full else queue.latency))
                if ctx.get(queue.error):
                    found.append(ErrorCode(ctx.get(queue.error_code)))
                    assert cycle == (1 if full else queue.latency - 2)
                if ctx.get(queue.ready):
                    break
                await ctx.tick()
            assert found == [code] * (code != ErrorCode.NONE), command
            errors.extend(found)
            if code == ErrorCode.NONE:
                accepted.append(bits(layout, command))
                if command.operation in DESTINATIONS:
                    chain = following_chain(command, size, chain)
        ctx.set(takes, 2)
        await ctx.tick().repeat(60)

    async def take(ctx):
        while True:
            ctx.set(queue.o.ready, rng.random() < (0, 0.05, 1)[ctx.get(takes)])
            _, _, valid, ready, value = await ctx.tick().sample(
                queue.o.valid, queue.o.ready, queue.o.payload.as_value()
            )
            if valid and ready:
                taken.append(value)

    simulate(module, bench, background=[take])
    assert taken == accepted
    # The others are of beats and of random bits.
    assert set(errors) == set(ErrorCode) - NO_VERDICTS
