"""Checks of commands: every cause of every refusal, their order, and what just fits."""

import dataclasses

import numpy as np
import pytest

from nibblegrad.golden.engine.command import Command, CoreSize, Destination, ErrorCode, Operation
from nibblegrad.golden.engine.command_checks import Chain, check_command, following_chain
from nibblegrad.golden.numbers.formats import Fp4Format
from nibblegrad.golden.numbers.rounding import RoundMode
from verif.engine.core_refusals import malformed_commands, random_malformed

SMALL = CoreSize(
    rows=4,
    columns=4,
    lanes=8,
    activation_words=9,
    weight_words=10,
    gradient_words=11,
    bias_words=5,
    partial_sum_strips=24,
    max_terms=64,
)
SIZES = [dataclasses.replace(SMALL, fmt=Fp4Format(radix)) for radix in (1, 2)]
CAUSES = [(size, *cause) for size in SIZES for cause in malformed_commands(size)]

FORWARD, INPUT_GRADIENT, WEIGHT_GRADIENT = (
    Operation.FORWARD,
    Operation.INPUT_GRADIENT,
    Operation.WEIGHT_GRADIENT,
)


def check(size=SMALL, chain=None, **values):
    return check_command(Command(**values), size, chain)


@pytest.mark.parametrize(("size", "code", "command"), CAUSES)
def test_every_cause_is_refused(size, code, command):
    assert check_command(command, size, None) is code


def test_causes_cover_every_error_of_a_command():
    for size in SIZES:
        codes = {code for code, _ in malformed_commands(size)}
        assert codes == set(list(ErrorCode)[2:9])
        rng = np.random.default_rng(1)
        chosen = {check_command(random_malformed(rng, size), size, None) for _ in range(100)}
        assert chosen == codes


@pytest.mark.parametrize("destination", [Destination.STREAM, Destination.PARTIAL_SUMS])
def test_first_failing_check_of_a_product(destination):
    flaws = {
        "operation": (15, ErrorCode.OPERATION),
        "batch": (0, ErrorCode.SIZE),
        "mode": (RoundMode.SELF_STOCHASTIC, ErrorCode.MODE),
        "significand": (1, ErrorCode.SCALE),
        "weight_base": (65535, ErrorCode.MEMORY),
        "inputs": (65, ErrorCode.TERMS),
        "accumulate": (True, ErrorCode.PARTIAL_SUMS),
    }
    if destination == Destination.PARTIAL_SUMS:
        del flaws["significand"]  # sums are not scaled
    values = {name: value for name, (value, _) in flaws.items()}
    right = Command(FORWARD, batch=3, inputs=5)
    for name, (_, code) in flaws.items():
        assert check(**values, destination=destination) is code
        values[name] = getattr(right, name)
    assert check(**values, destination=destination) is ErrorCode.NONE


def test_first_failing_check_of_a_load():
    values = {"operation": 8, "outputs": 0, "phase": True, "gradient_base": 11, "significand": 0}
    for name, value, code in (
        ("operation", Operation.LOAD_GRADIENTS, ErrorCode.OPERATION),
        ("outputs", 1, ErrorCode.SIZE),
        ("phase", False, ErrorCode.MODE),
        ("gradient_base", 10, ErrorCode.MEMORY),
    ):
        assert check(**values) is code
        values[name] = value
    assert check(**values) is ErrorCode.NONE
    values |= {"operation": Operation.LOAD_WEIGHTS, "weight_base": 10}
    assert check(**values) is ErrorCode.SCALE
    assert check(**values, codes=True) is ErrorCode.MEMORY


@pytest.mark.parametrize(
    ("values", "limit"),
    [
        # Words are 8 by 8.
        ({"operation": 1, "batch": 17, "inputs": 9}, {"activation_base": 3}),
        ({"operation": 2, "outputs": 8, "inputs": 8}, {"weight_base": 9}),
        ({"operation": 3, "batch": 9, "outputs": 9}, {"gradient_base": 7}),
        ({"operation": 4, "outputs": 5}, {"bias_base": 3}),
        ({"operation": 4, "outputs": 20}, {"bias_base": 0}),
        ({"operation": FORWARD, "inputs": 64}, {"activation_base": 1}),
        ({"operation": FORWARD, "inputs": 64}, {"weight_base": 2}),
        ({"operation": FORWARD, "outputs": 5, "bias": True}, {"bias_base": 3}),
        ({"operation": FORWARD, "batch": 9, "destination": 2}, {"result_base": 7}),
        ({"operation": INPUT_GRADIENT, "outputs": 33}, {"gradient_base": 6}),
        ({"operation": INPUT_GRADIENT, "inputs": 9, "masked": True}, {"activation_base": 7}),
        ({"operation": INPUT_GRADIENT, "inputs": 9, "destination": 2}, {"result_base": 9}),
        ({"operation": WEIGHT_GRADIENT, "inputs": 9, "step_gradient": True}, {"weight_base": 8}),
        ({"operation": FORWARD, "outputs": 5, "destination": 3}, {"batch": 12}),
        ({"operation": INPUT_GRADIENT, "inputs": 9, "destination": 3}, {"batch": 8}),
        ({"operation": WEIGHT_GRADIENT, "inputs": 4, "destination": 3}, {"outputs": 24}),
    ],
)
def test_memories_are_used_to_the_last_word(values, limit):
    assert check(**values, **limit) is ErrorCode.NONE
    ((name, value),) = limit.items()
    assert check(**values, **{name: value + 1}) is ErrorCode.MEMORY


@pytest.mark.parametrize(
    "values",
    [
        # Bases and scales that are not used.
        {"operation": FORWARD, "gradient_base": 65535, "bias_base": 65535, "result_base": 65535},
        {"operation": INPUT_GRADIENT, "activation_base": 65535},
        {"operation": INPUT_GRADIENT, "activation_base": 65535, "clear_step_gradient": True},
        {"operation": WEIGHT_GRADIENT, "weight_base": 65535},
        {"operation": WEIGHT_GRADIENT, "destination": 0, "significand": 0},
        {"operation": FORWARD, "destination": 3, "significand": 0},
        {"operation": Operation.LOAD_GRADIENTS, "significand": 0, "inputs": 0},
        {"operation": Operation.LOAD_WEIGHTS, "significand": 0, "codes": True, "batch": 0},
        {"operation": Operation.LOAD_GRADIENTS, "codes": True, "phase": True},
        {"operation": Operation.LOAD_ACTIVATIONS, "phase": True, "mode": 2, "destination": 3,
         "relu": True, "masked": True, "accumulate": True, "signed_result": True, "outputs": 0},
        {"operation": Operation.LOAD_BIASES, "batch": 0, "inputs": 0, "phase": True},
        # Rounding to FP4 where none is made.
        {"operation": INPUT_GRADIENT, "phase": True},
        {"operation": WEIGHT_GRADIENT, "phase": True, "codes": True},
        {"operation": FORWARD, "destination": 2, "phase": True, "signed_result": True},
        {"operation": FORWARD, "signed_result": True},
        # More strips than partial sums, where they are not kept.
        {"operation": FORWARD, "batch": 25, "inputs": 1},
    ],
)  # fmt: skip
def test_what_has_no_meaning_is_ignored(values):
    assert check(**values) is ErrorCode.NONE


def test_terms_of_one_command():
    for operation, name in (
        (FORWARD, "inputs"),
        (INPUT_GRADIENT, "outputs"),
        (WEIGHT_GRADIENT, "batch"),
    ):
        assert check(operation=operation, **{name: 64}) is ErrorCode.NONE
        assert check(operation=operation, **{name: 65}) is ErrorCode.TERMS


@pytest.mark.parametrize("radix", [1, 2])
def test_terms_of_a_chain(radix):
    size = dataclasses.replace(SMALL, fmt=Fp4Format(radix))
    most = {1: 2**21, 2: 2**15}[radix]  # times 2**4 and the largest magnitude: 2**31
    chain = Chain(FORWARD, (3, 5), most - 64)
    values = {"operation": FORWARD, "batch": 3, "outputs": 5, "accumulate": True}
    assert check(size, chain, **values, inputs=64) is ErrorCode.NONE
    assert check(size, dataclasses.replace(chain, terms=most - 63), **values, inputs=64) is (
        ErrorCode.TERMS
    )
    # Of another chain the terms do not count, but too many of a command do.
    for other in (
        Chain(FORWARD, (3, 4), most),
        Chain(FORWARD, (2, 5), most),
        Chain(INPUT_GRADIENT, (3, 5), most),
        None,
    ):
        assert check(size, other, **values, inputs=64) is ErrorCode.PARTIAL_SUMS
        assert check(size, other, **values, inputs=65) is ErrorCode.TERMS
    # Without `accumulate` no chain matters.
    values["accumulate"] = False
    assert check(size, Chain(FORWARD, (3, 5), most), **values, inputs=64) is ErrorCode.NONE


def test_which_products_keep_a_chain():
    shape = {"batch": 3, "inputs": 7, "outputs": 5}
    first = Command(INPUT_GRADIENT, **shape, destination=Destination.PARTIAL_SUMS)
    opened = following_chain(first, SMALL, None)
    assert opened == Chain(INPUT_GRADIENT, (3, 7), 5)
    more = dataclasses.replace(first, accumulate=True, outputs=6)
    assert following_chain(more, SMALL, opened) == Chain(INPUT_GRADIENT, (3, 7), 11)
    assert following_chain(first, SMALL, opened) == opened  # begins anew
    other = Command(WEIGHT_GRADIENT, **shape, destination=Destination.PARTIAL_SUMS)
    assert following_chain(other, SMALL, opened) == Chain(WEIGHT_GRADIENT, (5, 7), 3)
    for destination in (Destination.NOTHING, Destination.STREAM, Destination.OPERAND):
        away = dataclasses.replace(first, destination=destination)
        assert following_chain(away, SMALL, opened) == opened
        last = dataclasses.replace(away, accumulate=True)
        assert following_chain(last, SMALL, opened) is None
