# amaranth: UnusedElaboratable=no
"""The queue of commands: a model of it to the cycle, and what those around it rely on."""

import random
from collections import deque

import pytest
from amaranth import Module

from nibblegrad.golden.engine.command import Command, CoreSize, ErrorCode, Operation
from nibblegrad.hdl.engine.command_queue import CommandQueue
from verif.support.simulation import simulate

DEPTHS = (2, 3, 4, 6, 16)
#: Cycles, at most, until the next command is offered, after it came or the one before has left.
GREATEST_WAIT = 3


@pytest.fixture
def rng(request):
    return random.Random(request.config.getoption("seed"))


def build(depth):
    module = Module()
    module.submodules.queue = queue = CommandQueue(CoreSize(queue_depth=depth))
    return module, queue


def command_bits(queue, number):
    """Lay out the command of a number; all of them are right."""
    layout = queue.command.shape()
    command = Command(Operation.LOAD_WEIGHTS, significand=(1 << 15) + number)
    return layout.const({name: int(getattr(command, name)) for name in layout.members}).as_bits()


class Model:
    """The queue as a list: who waits, and how many are known to wait."""

    def __init__(self, depth, latency):
        self.depth, self.latency = depth, latency
        self.waiting = deque()
        self.count = 0
        #: What is checked, and for how many cycles; whether one left in the cycle before.
        self.checked, self.age, self.left, self.lost = None, 0, False, False
        #: How long the first one has waited.
        self.waits = 0
        self.refused = False

    @property
    def ready(self):
        return self.checked is None and not self.refused

    @property
    def free(self):
        return self.depth - self.count - (self.checked is not None)

    def step(self, written, taken, drop):
        """Go on by a cycle, in which this came, went, and was done."""
        was_full = self.count == self.depth
        ends = self.checked is not None and self.age == self.latency - 1
        accepted = ends and not self.lost
        self.count += accepted - self.left
        self.left = taken
        self.waits += 1
        if taken:
            self.waiting.popleft()
            self.waits = 0
        if accepted:
            self.waits *= bool(self.waiting)
            self.waiting.append(self.checked)
        # With its verdict, a drop loses the command that is checked, too.
        self.lost = drop and self.age == self.latency - 2
        self.checked, self.age = (None, 0) if ends else (self.checked, self.age + 1)
        if drop:
            self.waiting.clear()
            self.count, self.left = 0, False
        self.refused = written is not None and was_full
        if written is not None and not was_full:
            self.checked, self.age = written, 1


@pytest.mark.parametrize("depth", DEPTHS)
def test_the_queue_is_its_model(rng, depth):
    """In every cycle: filled up, emptied, then by chance, with drops."""
    module, queue = build(depth)
    latency = queue.latency
    model = Model(depth, latency)
    seen = set()

    async def bench(ctx):
        number = 0
        filling = (depth + 2) * (latency + 1)
        for cycle in range(2 * filling + 3000):
            takes, drops = (0, 0) if cycle < filling else (1, 0)
            writes = 1
            if cycle > 2 * filling:
                # Seldom enough that the queue fills up, often enough that it runs empty.
                takes, drops = (0.02, 0.004) if cycle // 500 % 2 else (0.6, 0.004)
                writes = 0.5
            drop = rng.random() < drops
            written = number if model.ready and rng.random() < writes else None
            ctx.set(queue.o.ready, rng.random() < takes)
            ctx.set(queue.drop, drop)
            ctx.set(queue.write, written is not None)
            if written is not None:
                ctx.set(queue.command.as_value(), command_bits(queue, number))
                number = (number + 1) % (1 << 15)
            assert ctx.get(queue.ready) == model.ready, cycle
            assert ctx.get(queue.checking) == (model.checked is not None), cycle
            assert ctx.get(queue.free) == model.free, cycle
            assert ctx.get(queue.waiting) == (model.count > 0), cycle
            assert ctx.get(queue.error) == model.refused, cycle
            if model.refused:
                assert ctx.get(queue.error_code) == ErrorCode.QUEUE_FULL
            valid = ctx.get(queue.o.valid)
            assert valid <= (bool(model.waiting) and not drop), cycle
            assert valid or drop or not model.waiting or model.waits < GREATEST_WAIT, cycle
            if valid:
                bits = command_bits(queue, model.waiting[0])
                assert ctx.get(queue.o.payload.as_value()) == bits, cycle
            taken = bool(valid and ctx.get(queue.o.ready))
            seen.add("refused" if model.refused else model.count)
            model.step(written, taken, drop)
            await ctx.tick()

    simulate(module, bench)
    assert seen == {*range(depth + 1), "refused"}


@pytest.mark.parametrize("takes", [0.02, 0.1, 1])
@pytest.mark.parametrize("depth", DEPTHS)
def test_who_heeds_the_free_count_loses_nothing(rng, depth, takes):
    """Nothing is refused, all come in order, and what is offered stays as it is until taken."""
    module, queue = build(depth)
    count = 3 * depth + 10
    expected = [command_bits(queue, number) for number in range(count)]
    taken = []

    async def write(ctx):
        for bits in expected:
            while not (ctx.get(queue.free) and ctx.get(queue.ready)):
                await ctx.tick()
            ctx.set(queue.command.as_value(), bits)
            ctx.set(queue.write, 1)
            await ctx.tick()
            ctx.set(queue.write, 0)
        while len(taken) < count:
            await ctx.tick()
        # What has left is counted a cycle later.
        await ctx.tick().repeat(2)
        assert ctx.get(queue.free) == depth and not ctx.get(queue.waiting)

    async def take(ctx):
        offered = None
        while True:
            ctx.set(queue.o.ready, rng.random() < takes)
            _, _, valid, ready, bits, error = await ctx.tick().sample(
                queue.o.valid, queue.o.ready, queue.o.payload.as_value(), queue.error
            )
            assert not error
            assert offered is None or (valid and bits == offered)
            offered = bits if valid and not ready else None
            if valid and ready:
                taken.append(bits)

    simulate(module, write, background=[take])
    assert taken == expected
