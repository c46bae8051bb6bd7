# amaranth: UnusedElaboratable=no
"""The operand store: what loads and results write is what passes and strips read."""

import random
from collections import defaultdict

import pytest
from amaranth import Module

from nibblegrad.golden.cores.shift_multiply_array import ShiftOperand
from nibblegrad.golden.engine.command import CoreSize, Operation, Store
from nibblegrad.hdl.engine.operand_store import OperandStore
from verif.support.simulation import simulate

WORDS = 16
#: Cycles for which a word that is written is not read, and the other way round.
APART = 10

OPERANDS = {
    Operation.FORWARD: (Store.ACTIVATIONS, Store.WEIGHTS),
    Operation.INPUT_GRADIENT: (Store.WEIGHTS, Store.GRADIENTS),
    Operation.WEIGHT_GRADIENT: (Store.ACTIVATIONS, Store.GRADIENTS),
}


class Run:
    """Loads, results, passes and strips that are drawn, in every cycle."""

    def __init__(self, rng, size, cycles):
        self.rng, self.size, self.cycles = rng, size, cycles
        self.store = OperandStore(size)
        #: Codes and derivatives of each word, by row and column; biases of each word.
        self.codes = {which: [self._square() for _ in range(WORDS)] for which in Store}
        self.derivatives = {which: [self._square() for _ in range(WORDS)] for which in Store}
        self.biases = [[0] * size.columns for _ in range(WORDS)]
        #: The last cycle in which a word is read or written.
        self.read_at = defaultdict(lambda: -APART)
        self.written_at = defaultdict(lambda: -APART)
        #: What must come out in a cycle.
        self.expected = {}
        self.passes = self.results = self.loads = self.waits = 0
        module = Module()
        module.submodules.store = self.store
        simulate(module, self._bench)

    def _square(self):
        return [[0] * self.size.block for _ in range(self.size.block)]

    async def _bench(self, ctx):
        memory, since, waits = Store.ACTIVATIONS, 0, False
        announced = None
        for cycle in range(self.cycles):
            self.cycle = cycle
            if self.rng.random() < 0.02:
                memory, since = self.rng.choice(list(Store)), 0
            ctx.set(self.store.load.memory, memory)
            # The memory is known for two cycles before a load writes to it.
            self._load(ctx, memory, since > 2 and not waits and self.rng.random() < 0.7)
            since += 1
            waits = ctx.get(self.store.load.wait)
            self.waits += waits
            announced = self._result(ctx, announced)
            self._pass(ctx)
            self._strip(ctx)
            self._check(ctx)
            await ctx.tick()

    def _free(self, where, taken_at):
        """Draw a word that has not been used the other way for long enough."""
        words = [word for word in range(WORDS) if self.cycle - taken_at[where, word] > APART]
        return self.rng.choice(words) if words else None

    def _load(self, ctx, memory, writes):
        size, write = self.size, self.store.load.write
        word = self._free(memory, self.read_at) if writes else None
        # A result that is on its way must not be overtaken.
        if self.written_at[memory, word] > self.cycle:
            word = None
        bits = self.rng.getrandbits(len(write.as_value()))
        ctx.set(write.as_value(), bits)
        ctx.set(write.memories, 0 if word is None else 1 << memory)
        if word is None:
            return
        self.loads += 1
        self.written_at[memory, word] = self.cycle
        if memory == Store.BIASES:
            beats = size.columns // size.biases_per_beat
            beat = self.rng.randrange(beats)
            ctx.set(write.address, word * beats + beat)
            for lane in range(size.biases_per_beat):
                bias = self.rng.getrandbits(32)
                ctx.set(write.biases[lane], bias)
                self.biases[word][beat * size.biases_per_beat + lane] = bias
            return
        row = self.rng.randrange(size.block)
        group = self.rng.randrange(size.block // size.load_lanes)
        for name, value in (("address", word), ("row", row), ("group", group)):
            ctx.set(write[name], value)
        ctx.set(write.rows, 1 << row)
        ctx.set(write.groups, 1 << group)
        self._note(ctx, write, memory, word, row, group * size.load_lanes, size.load_lanes)

    def _note(self, ctx, write, memory, word, row, column, width):
        for lane in range(width):
            derivative = ctx.get(write.derivatives[lane].as_value())
            self.codes[memory][word][row][column + lane] = ctx.get(write.codes[lane])
            self.derivatives[memory][word][row][column + lane] = derivative

    def _result(self, ctx, announced):
        """Write the result that was announced, and announce another one."""
        size, result = self.size, self.store.result
        strip = result.strip
        ctx.set(strip.as_value(), self.rng.getrandbits(len(strip.as_value())))
        ctx.set(result.to_activations, announced is not None and announced[0] == Store.ACTIVATIONS)
        ctx.set(result.to_gradients, announced is not None and announced[0] == Store.GRADIENTS)
        if announced is not None:
            self.results += 1
            memory, word = announced
            width = size.columns if memory == Store.ACTIVATIONS else size.rows
            row, column = self.rng.randrange(size.block), self.rng.randrange(0, size.block, width)
            for name, value in (("address", word), ("row", row), ("column", column)):
                ctx.set(strip[name], value)
            self.written_at[memory, word] = self.cycle + 4
            self._note(ctx, strip, memory, word, row, column, width)
        memory = self.rng.choice([Store.ACTIVATIONS, Store.GRADIENTS])
        word = self._free(memory, self.read_at) if self.rng.random() < 0.5 else None
        # Nor must a load.
        if word is not None and self.cycle - self.written_at[memory, word] <= APART:
            word = None
        following = None if word is None else (memory, word)
        ctx.set(result.to_activations_next, following is not None and memory == Store.ACTIVATIONS)
        ctx.set(result.to_gradients_next, following is not None and memory == Store.GRADIENTS)
        if following:
            self.written_at[memory, word] = self.cycle + 5
        return following

    def _pass(self, ctx):
        size, read = self.size, self.store.pass_read
        operation = self.rng.choice(list(OPERANDS))
        addresses = [self._free(which, self.written_at) for which in OPERANDS[operation]]
        if None in addresses:
            ctx.set(read.control.flags.valid, 0)
            return
        self.passes += 1
        for which, address in zip(OPERANDS[operation], addresses, strict=True):
            self.read_at[which, address] = self.cycle
        by_rows, by_columns, slots = (
            size.block // wide for wide in (size.rows, size.columns, size.lanes)
        )
        parts = self.rng.randrange(by_rows), self.rng.randrange(by_columns)
        lanes = [self.rng.randrange(slots)] * 2
        if Store.WEIGHTS not in OPERANDS[operation]:
            lanes[1] = self.rng.randrange(slots)
        for operand, address, part, slot in zip(
            (read.integers, read.codes), addresses, parts, lanes, strict=True
        ):
            ctx.set(operand.address, address)
            ctx.set(operand.part, part)
            ctx.set(operand.lanes, slot)
        forward = operation == Operation.FORWARD
        ctx.set(read.weight_address, addresses[1 if forward else 0])
        signed, used = self.rng.getrandbits(1), self.rng.getrandbits(size.lanes)
        digit, first, last = (self.rng.getrandbits(1) for _ in range(3))
        operand = ShiftOperand.INT4 if forward else ShiftOperand.FP4
        for name, value in (
            ("operation", operation), ("signed_activations", signed), ("lanes_used", used),
            ("operand", operand), ("digit", digit),
        ):  # fmt: skip
            ctx.set(read.control[name], value)
        for name, value in (("valid", 1), ("first", first), ("last", last)):
            ctx.set(read.control.flags[name], value)
        signed |= operation == Operation.INPUT_GRADIENT
        # Forward reads both by row; the gradients of the weights read both by column.
        by_row = (forward, operation != Operation.WEIGHT_GRADIENT)
        values = [
            [
                [
                    self.codes[which][address][index][term]
                    if row_wise
                    else self.codes[which][address][term][index]
                    for term in range(slot * size.lanes, (slot + 1) * size.lanes)
                ]
                for index in range(part * wide, (part + 1) * wide)
            ]
            for which, address, part, slot, wide, row_wise in zip(
                OPERANDS[operation], addresses, parts, lanes, (size.rows, size.columns), by_row,
                strict=True,
            )
        ]  # fmt: skip
        integers = [[code - 16 * (signed and code >> 3) for code in row] for row in values[0]]
        codes = [[code * (used >> k & 1) for k, code in enumerate(row)] for row in values[1]]
        due = self.cycle + OperandStore.latency
        self.expected["pass", due] = (first, last, digit, int(operand), integers, codes)

    def _strip(self, ctx):
        size, read = self.size, self.store.strip_read
        due = self.cycle + 4
        bias = self._free(Store.BIASES, self.written_at)
        if bias is not None:
            self.read_at[Store.BIASES, bias] = self.cycle
            ctx.set(read.bias_address, bias)
            self.expected["biases", due] = list(self.biases[bias])
        stores = (Store.ACTIVATIONS, Store.WEIGHTS)
        words = {
            word
            for word in range(WORDS)
            if all(self.cycle - self.written_at[which, word] > APART for which in stores)
        }
        if words:
            word, row = self.rng.choice(sorted(words)), self.rng.randrange(size.block)
            strips = size.block // size.strip
            strip = self.rng.randrange(strips)
            ctx.set(read.derivative_address, (word * size.block + row) * strips + strip)
            lanes = slice(strip * size.strip, (strip + 1) * size.strip)
            for which in stores:
                self.read_at[which, word] = self.cycle
            self.expected["derivatives", due] = [
                self.derivatives[which][word][row][lanes] for which in stores
            ]

    def _check(self, ctx):
        operands, read = self.store.operands, self.store.strip_read
        due = self.expected.pop(("pass", self.cycle), None)
        assert ctx.get(operands.flags.valid) == (due is not None)
        if due is not None:
            everywhere = (1 << self.size.columns) - 1
            assert due == (
                ctx.get(operands.flags.first),
                ctx.get(operands.flags.last),
                *(ctx.get(value) // everywhere for value in (operands.digit, operands.operand)),
                [[ctx.get(code) for code in row] for row in operands.integers],
                [[ctx.get(code) for code in row] for row in operands.codes],
            )
            assert ctx.get(operands.digit) in (0, everywhere)
            assert ctx.get(operands.operand) in (0, everywhere)
        due = self.expected.pop(("biases", self.cycle), None)
        if due is not None:
            assert due == [ctx.get(bias.as_unsigned()) for bias in read.biases]
        due = self.expected.pop(("derivatives", self.cycle), None)
        if due is not None:
            assert due == [
                [ctx.get(lane.as_value()) for lane in strip]
                for strip in (read.activation_derivatives, read.weight_derivatives)
            ]


@pytest.mark.parametrize("shape", [(4, 4, 4), (2, 4, 8), (4, 2, 2), (2, 2, 4)])
def test_what_is_written_is_read(request, shape):
    rng = random.Random(request.config.getoption("seed"))
    rows, columns, lanes = shape
    size = CoreSize(
        rows=rows,
        columns=columns,
        lanes=lanes,
        activation_words=WORDS,
        weight_words=WORDS,
        gradient_words=WORDS,
        bias_words=WORDS,
        partial_sum_strips=4,
    )
    run = Run(rng, size, 900)
    assert run.passes > 150 and run.results > 60 and run.loads > 100 and run.waits > 10
