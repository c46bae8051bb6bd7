# amaranth: UnusedElaboratable=no
"""Lanes of a load alone: codes, what lies beside them, events, and the cycle in which they come."""

import itertools
import random
from dataclasses import dataclass

import numpy as np
import pytest
from amaranth import Module

from nibblegrad.golden.cores.fp4_quantizer import Fp4Mode, quantize_fp4
from nibblegrad.golden.cores.quantizer import quantize
from nibblegrad.golden.engine.command import Command, CoreSize, Operation, Store
from nibblegrad.golden.numbers.formats import FLOAT16, FLOAT32, Fp4Format, IntFormat
from nibblegrad.golden.numbers.random_bits import RandomBits, seed_state
from nibblegrad.hdl.cores.fp4_quantizer import Fp4Lane
from nibblegrad.hdl.cores.quantizer import IntegerLane
from nibblegrad.hdl.engine.load_lanes import EVENTS, LoadLanes, loaded_codes
from verif.engine.core_stimulus import wide_numbers
from verif.support.simulation import simulate

SIZES = {
    "radix 2": CoreSize(rows=4, columns=4, lanes=4, seed=5),
    "radix 4, one more format": CoreSize(
        rows=2, columns=4, lanes=8, fmt=Fp4Format(2), wide_format=FLOAT16, residual_bits=5
    ),
    "biases of a lane each": CoreSize(rows=2, columns=2, lanes=2, wide_format=FLOAT32, seed=7),
}

#: Which memory a load fills, and what goes beside.
LOADS = {
    Operation.LOAD_ACTIVATIONS: Store.ACTIVATIONS,
    Operation.LOAD_WEIGHTS: Store.WEIGHTS,
    Operation.LOAD_GRADIENTS: Store.GRADIENTS,
    Operation.LOAD_BIASES: Store.BIASES,
}


@pytest.fixture
def rng(request):
    return random.Random(request.config.getoption("seed"))


@dataclass
class Load:
    """A command, its beats and which lanes are inside, and what must come of them."""

    command: Command
    beats: np.ndarray
    inside: np.ndarray
    #: Per beat: codes, whether in range, and the value beside; or the beat as it came.
    expected: list
    #: Saturations, underflows, NaN and infinities.
    events: tuple[int, int, int]
    #: Cycles from a beat to what comes of it.
    latency: int


def draw(rng, size, command, count):
    """Draw beats of numbers of every kind, near the scale of a load."""
    lanes = size.load_lanes
    unit = 2.0**command.fp4_exponent
    if command.operation != Operation.LOAD_GRADIENTS:
        unit = 1 / command.scale.value
    numbers = np.random.default_rng(rng.randrange(1 << 32))
    codes = wide_numbers(numbers, size.wide_format, (count, lanes), unit)
    # Of each kind that is counted, one in any load: too large, NaN, and too small.
    top = int(size.wide_format.encode(size.wide_format.greatest))
    codes[0, 0], codes[1, 0], codes[2, 0] = top, top + 1, 1
    return codes


def make(size, random_bits, command, codes):
    """Compute what comes of a load."""
    count, lanes = codes.shape
    inside = np.ones((count, lanes), np.bool_)
    inside[count // 2, 1:] = False
    masked = np.where(inside, codes, 0)
    if command.operation == Operation.LOAD_BIASES:
        inside[:] = True
        return Load(command, codes, inside, [tuple(beat) for beat in codes.tolist()], (0, 0, 0), 2)
    if command.codes:
        beats = [(row & 15, np.ones(lanes), np.zeros(lanes)) for row in masked]
        return Load(command, codes, inside, beats, (0, 0, 0), 2)
    x = size.wide_format.decode(masked)
    if command.operation == Operation.LOAD_GRADIENTS:
        noise = None
        if size.fmt.is_stochastic:
            noise = random_bits.elements(count * lanes, size.random_bits, lanes)
            noise = noise.reshape(count, lanes)
        made = quantize_fp4(
            x, size.fmt, command.fp4_exponent, Fp4Mode(command.stochastic), phase=command.phase,
            odd_shift=size.odd_shift, underflow=size.underflow, noise=noise,
            random_bits=size.random_bits, check_finite=False,
        )  # fmt: skip
        beats = [(row, None, None) for row in made.codes]
        latency = 2 + Fp4Lane.latency
    else:
        signed = command.operation == Operation.LOAD_WEIGHTS or command.signed_activations
        made = quantize(
            x, command.scale, IntFormat(4, signed), in_range=size.in_range_rule,
            residual_bits=size.residual_bits, check_finite=False,
        )  # fmt: skip
        beside = np.where(made.in_range, made.derivative, made.codes)
        beats = list(zip(made.codes & 15, made.in_range, beside, strict=True))
        latency = 2 + IntegerLane.latency
    events = (made.saturations, made.underflows, made.nonfinite)
    return Load(command, codes, inside, beats, events, latency)


def loads(rng, size, random_bits):
    """Make loads of every kind, each behind each other kind."""
    gradient = {"stochastic": True} if size.fmt.is_stochastic else {"phase": True}
    kinds = [
        {"operation": Operation.LOAD_ACTIVATIONS},
        {"operation": Operation.LOAD_ACTIVATIONS, "signed_activations": True},
        {"operation": Operation.LOAD_WEIGHTS},
        {"operation": Operation.LOAD_GRADIENTS},
        {"operation": Operation.LOAD_GRADIENTS, **gradient},
        {"operation": Operation.LOAD_GRADIENTS, "codes": True},
        {"operation": Operation.LOAD_WEIGHTS, "codes": True},
        {"operation": Operation.LOAD_BIASES},
    ]
    for pair in itertools.product(kinds, kinds):
        for kind in pair:
            significand = rng.choice([1 << 15, (1 << 16) - 1, rng.randrange(1 << 15, 1 << 16)])
            command = Command(
                **kind, significand=significand, exponent=rng.randint(-17, -13),
                fp4_exponent=rng.randint(-8, 0),
            )  # fmt: skip
            yield make(size, random_bits, command, draw(rng, size, command, 3))


class Bench:
    """Sends loads through the lanes, and holds what comes against what is expected."""

    def __init__(self, rng, size, sends):
        self.rng, self.size, self.sends = rng, size, sends
        self.lanes = LoadLanes(size)
        self.load = None
        #: Cycle and contents of the beats that must come still.
        self.expected = []
        self.cycle = 0

    async def run(self, ctx, loads):
        events = np.zeros(3, np.int64)
        # Until the generator has its first words.
        await self.step(ctx, 40)
        for load in loads:
            self.load = load
            await self.send(ctx, load)
            events += load.events
            assert not self.expected
            # Events are counted in three cycles, of which one has gone.
            await self.step(ctx, 3)
            found = [ctx.get(getattr(self.lanes, f"{event}_count")) for event in EVENTS]
            assert found == events.tolist(), load.command

    async def send(self, ctx, load):
        lanes, command = self.lanes, load.command
        memory = LOADS[command.operation]
        for name in lanes.command.shape().members:
            ctx.set(lanes.command[name], int(getattr(command, name)))
        ctx.set(lanes.memory, memory)
        await self.step(ctx)
        # It comes from a register.
        ctx.set(lanes.is_biases, memory == Store.BIASES)
        await self.step(ctx)
        for beat, inside, expected in zip(load.beats, load.inside, load.expected, strict=True):
            while self.rng.random() > self.sends:
                await self.step(ctx)
            for k, code in enumerate(beat.tolist()):
                ctx.set(lanes.beat[k], code)
            ctx.set(lanes.inside, sum(int(bit) << k for k, bit in enumerate(inside)))
            ctx.set(lanes.taken, 1)
            self.expected.append((self.cycle + load.latency, expected))
            await self.step(ctx)
            ctx.set(lanes.taken, 0)
        await self.step(ctx, load.latency)

    async def step(self, ctx, cycles=1):
        for _ in range(cycles):
            comes = bool(self.expected) and self.expected[0][0] == self.cycle
            assert ctx.get(self.lanes.put) == comes, (self.cycle, self.load)
            if comes:
                self.check(ctx.get(self.lanes.data), self.expected.pop(0)[1])
            await ctx.tick()
            self.cycle += 1

    def check(self, word, expected):
        size, command = self.size, self.load.command
        if command.operation == Operation.LOAD_BIASES:
            width = size.wide_format.width
            found = [word >> k * width & ((1 << width) - 1) for k in range(size.load_lanes)]
            assert found == list(expected)
            return
        layout = loaded_codes(size)
        beat = layout.from_bits(word & ((1 << layout.size) - 1))
        codes, in_range, beside = expected
        for k in range(size.load_lanes):
            assert beat.codes[k] == codes[k], (command, k)
            if in_range is not None:
                assert beat.derivatives[k].in_range == in_range[k], (command, k)
                assert beat.derivatives[k].value == beside[k], (command, k)


@pytest.mark.parametrize("sends", [1, 0.6])
@pytest.mark.parametrize("name", SIZES)
def test_lanes_make_what_the_golden_quantisers_make(rng, name, sends):
    """Each kind of load behind each other one, as soon as it may come."""
    size = SIZES[name]
    bench = Bench(rng, size, sends)
    module = Module()
    module.submodules.lanes = bench.lanes
    all_loads = list(loads(rng, size, RandomBits(seed_state(size.seed, 0))))

    async def run(ctx):
        await bench.run(ctx, all_loads)

    simulate(module, run)
    events = np.sum([load.events for load in all_loads], axis=0)
    assert events.all()


@pytest.mark.parametrize("side", [16, 32, 64])
def test_the_scale_is_there_in_every_lane_in_time(rng, side):
    """With the first beat as early as it can come, in cores of many lanes, too."""
    size = CoreSize(rows=side, columns=side, lanes=side, max_terms=1024)
    bench = Bench(rng, size, sends=1)
    module = Module()
    module.submodules.lanes = bench.lanes
    # By the scale of the load before, each number would have another code: 2 against 4.
    codes = np.full((2, side), size.wide_format.encode(2.0))
    all_loads = [
        make(size, None, Command(Operation.LOAD_WEIGHTS, significand=significand), codes)
        for significand in (1 << 15, (1 << 16) - 1, 1 << 15)
    ]

    async def run(ctx):
        await bench.run(ctx, all_loads)

    simulate(module, run)


def test_the_latency_is_that_of_the_longest_way():
    assert LoadLanes.latency == 2 + max(IntegerLane.latency, Fp4Lane.latency)
