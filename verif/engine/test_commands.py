# amaranth: UnusedElaboratable=no
"""Commands in hardware: what bits of an operation say is what the golden model says."""

import pytest
from amaranth import Module, Signal

from nibblegrad.golden.engine.command import LOADS, PRODUCTS, Command, CoreSize, Operation
from nibblegrad.golden.numbers.formats import Fp4Format
from nibblegrad.hdl.engine.commands import (
    command_layout,
    is_forward,
    is_input_gradient,
    is_load,
    is_weight_gradient,
)
from verif.support.simulation import simulate

DECODERS = {
    "is_load": (is_load, Operation, lambda operation: operation.is_load),
    "is_forward": (is_forward, PRODUCTS, lambda operation: operation == Operation.FORWARD),
    "is_input_gradient": (
        is_input_gradient,
        PRODUCTS,
        lambda operation: operation == Operation.INPUT_GRADIENT,
    ),
    "is_weight_gradient": (
        is_weight_gradient,
        PRODUCTS,
        lambda operation: operation == Operation.WEIGHT_GRADIENT,
    ),
}


def test_every_operation_is_a_load_or_a_product():
    assert sorted([*LOADS, *PRODUCTS]) == list(Operation)
    assert [operation for operation in Operation if operation.is_load] == list(LOADS)
    assert [operation for operation in Operation if operation.is_product] == list(PRODUCTS)
    for code in range(16):
        kinds = Command(code).is_load, Command(code).is_product
        assert kinds == (1 <= code <= 4, 5 <= code <= 7)


@pytest.mark.parametrize("name", DECODERS)
def test_bits_of_an_operation_say_what_the_golden_model_says(name):
    decode, operations, expected = DECODERS[name]
    m = Module()
    command, bit = Signal(command_layout()), Signal()
    m.d.comb += bit.eq(decode(command.operation))
    # A clock needs something to drive.
    m.d.sync += Signal(name="unused").eq(bit)

    async def bench(ctx):
        for operation in operations:
            ctx.set(command.operation, operation)
            assert ctx.get(bit) == expected(operation), operation.name
            await ctx.tick()

    simulate(m, bench)


@pytest.mark.parametrize("log2_radix, phases, is_stochastic", [(1, 1, True), (2, 2, False)])
def test_a_format_has_phases_or_chance(log2_radix, phases, is_stochastic):
    fmt = Fp4Format(log2_radix)
    assert (fmt.phases, fmt.is_stochastic) == (phases, is_stochastic)


SIDES = (2, 4, 8, 16, 32, 64)


def test_widths_hold_what_they_are_for():
    layout = command_layout()
    for rows in SIDES:
        for columns in SIDES:
            size = CoreSize(rows=rows, columns=columns, lanes=2, bias_words=65535)
            for name in ("batch", "inputs", "outputs"):
                assert layout[name].width == size.count_bits
            for name in ("activation", "weight", "gradient", "bias", "result"):
                assert layout[f"{name}_base"].width == size.address_bits
            beats = size.bias_words * size.columns // size.biases_per_beat
            assert beats <= 1 << size.load_address_bits
            assert size.strip < 1 << size.strip_count_bits
