# amaranth: UnusedElaboratable=no
"""What belongs to a strip: partial sums that are added and kept, biases, derivatives."""

import random
from collections import deque

import pytest
from amaranth import Module

from nibblegrad.golden.engine.command import CoreSize
from nibblegrad.hdl.engine.operand_memory import StripMemory
from nibblegrad.hdl.engine.strip_gather import StripGather
from verif.support.simulation import simulate

BITS = 20
STRIPS = 64


class Run:
    """Strips that are drawn; the memory of biases and derivatives answers as the store does."""

    def __init__(self, rng, size, settings):
        self.rng, self.size, self.settings = rng, size, settings
        self.gather = StripGather(size, BITS)
        self.partial = [[0] * size.strip for _ in range(STRIPS)]
        self.expected, self.out = [], []
        module = Module()
        module.submodules.gather = self.gather
        simulate(module, self._bench)

    async def _bench(self, ctx):
        gather, read = self.gather, self.gather.read
        answers = deque([None] * StripMemory.latency)
        for accumulate, by_weight, to_sums, count in self.settings:
            ctx.set(gather.accumulate, accumulate)
            ctx.set(gather.by_weight, by_weight)
            ctx.set(gather.to_sums, to_sums)
            # The settings have registers of their own; strips come later.
            spare = 6 + StripGather.latency
            numbers = self.rng.sample(range(STRIPS), count)
            for step in [None] * spare + numbers + [None] * spare:
                self._give(ctx, step, accumulate, to_sums)
                addresses = ctx.get(read.bias_address), ctx.get(read.derivative_address)
                answers.append(addresses)
                self._answer(ctx, answers.popleft())
                self._note(ctx)
                await ctx.tick()
        assert self.out == self.expected

    def _give(self, ctx, number, accumulate, to_sums):
        gather, size, rng = self.gather, self.size, self.rng
        ctx.set(gather.place.as_value(), rng.getrandbits(len(gather.place.as_value())))
        ctx.set(gather.place.valid, number is not None)
        sums = [rng.randrange(-(1 << (BITS - 1)), 1 << (BITS - 1)) for _ in range(size.strip)]
        for lane, value in enumerate(sums):
            ctx.set(gather.numbers[lane], value)
        if number is None:
            return
        ctx.set(gather.place.number, number)
        used = ctx.get(gather.place.lanes_used)
        column = rng.randrange(0, size.block, min(size.rows, size.columns))
        ctx.set(gather.place.column, column)
        row, word = ctx.get(gather.place.row), ctx.get(gather.place.element)
        if accumulate:
            sums = [value + kept for value, kept in zip(sums, self.partial[number], strict=True)]
        sums = [value if used >> lane & 1 else 0 for lane, value in enumerate(sums)]
        if to_sums:
            self.partial[number] = sums
        strip = (word * size.block + row) * (size.block // size.strip) + column // size.strip
        part = column % size.strip // size.rows
        by_weight = ctx.get(gather.by_weight)
        derivatives = [
            self._derivative(strip, by_weight, part * size.rows + lane % size.rows)
            for lane in range(size.strip)
        ]
        bias = ctx.get(gather.place.bias)
        biases = [self._bias(bias, lane) for lane in range(size.columns)]
        biases += [0] * (size.strip - size.columns)
        self.expected.append((number, sums, biases, derivatives, by_weight))

    def _bias(self, address, lane):
        return address * 8 + lane - (1 << 17)

    def _derivative(self, strip, by_weight, lane):
        width = len(self.gather.derivatives[0].as_value())
        return (strip * 7 + lane * 3 + by_weight * 5) % (1 << width)

    def _answer(self, ctx, addresses):
        if addresses is None:
            return
        bias, strip = addresses
        read = self.gather.read
        for lane in range(self.size.columns):
            ctx.set(read.biases[lane], self._bias(bias, lane))
        for by_weight, name in enumerate(("activation_derivatives", "weight_derivatives")):
            for lane in range(self.size.strip):
                value = self._derivative(strip, by_weight, lane)
                ctx.set(getattr(read, name)[lane].as_value(), value)

    def _note(self, ctx):
        gather = self.gather
        if ctx.get(gather.o_place.valid):
            self.out.append(
                (
                    ctx.get(gather.o_place.number),
                    *([ctx.get(lane) for lane in value] for value in (gather.sums, gather.biases)),
                    [ctx.get(lane.as_value()) for lane in gather.derivatives],
                    ctx.get(gather.by_weight),
                )
            )


@pytest.mark.parametrize("shape", [(4, 4, 4), (2, 4, 4), (4, 2, 8), (8, 2, 2)])
def test_all_of_a_strip_comes_together(request, shape):
    rng = random.Random(request.config.getoption("seed"))
    rows, columns, lanes = shape
    size = CoreSize(rows=rows, columns=columns, lanes=lanes, partial_sum_strips=STRIPS)
    # Each of them kept, added to, and looked at.
    settings = [(0, 0, 1, STRIPS), (1, 1, 1, STRIPS // 2), (1, 0, 0, STRIPS), (0, 1, 0, 8)]
    run = Run(rng, size, settings)
    assert len(run.out) == sum(count for *_, count in settings)
