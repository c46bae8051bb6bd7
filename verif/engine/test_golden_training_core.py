"""Golden training core: against plain arithmetic, and what the contract says of its state."""

import copy
import dataclasses
import re

import numpy as np
import pytest

from nibblegrad.golden.cores.fp4_quantizer import Fp4Mode, Underflow, quantize_fp4
from nibblegrad.golden.cores.quantizer import InRange
from nibblegrad.golden.engine.command import Command, CoreSize, Destination, ErrorCode, Store
from nibblegrad.golden.engine.device import (
    CoreError,
    pack_biases,
    pack_matrix,
    pack_result,
    unpack_result,
)
from nibblegrad.golden.engine.operand_memory import CodeMemory
from nibblegrad.golden.engine.training_core import TrainingCore
from nibblegrad.golden.errors import InputError
from nibblegrad.golden.numbers.formats import BFLOAT16, DLFLOAT16, FLOAT16, FLOAT32, Fp4Format
from nibblegrad.golden.numbers.random_bits import RandomBits, seed_state
from verif.engine.core_refusals import malformed_commands
from verif.engine.core_stimulus import random_program
from verif.engine.plain_core import PlainCore

RADIX4 = Fp4Format(2)
SIZES = {
    "4x4x8, radix 2, bfloat16": CoreSize(
        rows=4, columns=4, lanes=8, activation_words=9, weight_words=11, gradient_words=10
    ),
    "8x8x16, radix 4, float32": CoreSize(
        wide_format=FLOAT32, fmt=RADIX4, odd_shift=-1, random_bits=5, seed=7
    ),
    "4x8x2, radix 2, float16": CoreSize(
        wide_format=FLOAT16,
        rows=4,
        columns=8,
        lanes=2,
        residual_bits=12,
        random_bits=11,
        partial_sum_strips=40,
        activation_words=10,
        weight_words=9,
        gradient_words=12,
    ),
    "16x2x4, radix 4, bfloat16": CoreSize(
        fmt=RADIX4, rows=16, columns=2, lanes=4, residual_bits=1, underflow=Underflow.FORMULA
    ),
    "16x2x4, radix 2, float32": CoreSize(
        wide_format=FLOAT32, rows=16, columns=2, lanes=4, random_bits=24
    ),
    "2x4x16, radix 2, dlfloat16": CoreSize(
        wide_format=DLFLOAT16, rows=2, columns=4, lanes=16, in_range_rule=InRange.ROUNDED
    ),
}


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("seed", range(3))
def test_programs_are_plain_arithmetic(size, seed):
    core, plain = TrainingCore(size), PlainCore(size)
    seen = set()
    for command, beats in random_program(np.random.default_rng([seed, size.lanes]), size, 250):
        number = core.issue(command, beats)
        assert core.error is ErrorCode.NONE
        if beats is not None:
            plain.load(command, beats)
            seen.add((command.operation, command.codes))
            continue
        strips = plain.product(command)
        seen.add((command.operation, command.destination, command.accumulate))
        if strips is not None:
            assert np.array_equal(core.result(number), strips), command
        assert [core.step_gradient(Store(step)) for step in (0, 1)] == plain.steps, command
    assert core.counters() == plain.counters
    assert all(count for count in plain.counters.values()), plain.counters
    assert len(seen) >= 20, seen


# What does not depend on chance.

TINY = CoreSize(rows=2, columns=4, lanes=4, activation_words=6, weight_words=6, gradient_words=6)
STREAM, PARTIAL_SUMS = Destination.STREAM, Destination.PARTIAL_SUMS


def codes_of(numbers):
    return pack_matrix(BFLOAT16.encode(np.array(numbers, float)), TINY.load_lanes)


def loaded(size=TINY, seed=3):
    """A core in the middle of something: every memory filled, a chain open, a step gradient."""
    core = TrainingCore(size)
    rng = np.random.default_rng(seed)
    for memory in (core.activations, core.weights, core.gradients):
        memory.codes[:] = rng.integers(16, size=memory.codes.shape)
    for memory in (core.activations, core.weights):
        memory.in_range[:] = rng.integers(2, size=memory.codes.shape)
        memory.derivatives[:] = rng.integers(-8, 8, memory.codes.shape)
    core.biases[:] = rng.integers(-99, 99, core.biases.shape)
    core.issue(Command(5, 3, 5, 6, destination=PARTIAL_SUMS))
    core.issue(Command(6, 3, 5, 6, destination=Destination.NOTHING, step_gradient=True))
    core.issue(Command(3, 3, 5, 6), codes_of(np.full((3, 6), 1.5)))
    core.issue(Command(5, 3, 5, 6))
    assert core.error is ErrorCode.NONE
    assert core.step_gradient(Store.ACTIVATIONS) != 0
    return core


def memories(core):
    arrays = {"biases": core.biases, "partial sums": core.partial_sums}
    for name in ("activations", "weights", "gradients"):
        for key in ("codes",) if name == "gradients" else ("codes", "in_range", "derivatives"):
            arrays[f"{name}.{key}"] = getattr(getattr(core, name), key)
    return {name: np.copy(array) for name, array in arrays.items()}


def state(core):
    """Copy everything that a refused command must leave alone."""
    assert core.error is ErrorCode.NONE
    randoms = copy.deepcopy([core._load_random, core._result_random])
    return {
        **memories(core),
        "random": np.array([random.words(9) for random in randoms]),
        "counters": core.counters(),
        "steps": [core.step_gradient(memory) for memory in (Store.ACTIVATIONS, Store.WEIGHTS)],
        "chain": core._chain,
    }


def assert_same(one, other, but=()):
    assert one.keys() == other.keys()
    for name in one.keys() - set(but):
        assert np.array_equal(one[name], other[name]), name


def test_strips_in_the_order_in_which_they_leave():
    # Tiles of 2 rows and 4 columns, and transposed for the gradients; strips have 4 lanes.
    z = np.arange(1, 16).reshape(3, 5)
    forward, gradient = Command(5, 3, 9, 5), Command(6, 3, 5, 9)
    expected = [
        (forward, "1 2 3 4; 6 7 8 9; 5 0 0 0; 10 0 0 0; 11 12 13 14; 15 0 0 0"),
        (gradient, "1 2 0 0; 6 7 0 0; 11 12 0 0; 3 4 0 0; 8 9 0 0; 13 14 0 0; "
                   "5 0 0 0; 10 0 0 0; 15 0 0 0"),
    ]  # fmt: skip
    for command, rows in expected:
        strips = np.array([row.split() for row in rows.split(";")], int)
        assert np.array_equal(pack_result(z, command, TINY), strips)
        assert np.array_equal(unpack_result(strips, command, TINY), z)


def test_a_product_of_one_term_and_no_negative_zero():
    core = TrainingCore(TINY)
    core.issue(Command(1, codes=True), np.array([[0, 9]], np.uint32))
    core.issue(Command(2, codes=True), np.array([[0x1D, 9]], np.uint32))  # -3; the rest is ignored
    core.issue(Command(3, codes=True), np.array([[0xF, 9]], np.uint32))  # -64
    assert core.result(core.issue(Command(5))).tolist() == [[0, 0, 0, 0]]
    assert core.result(core.issue(Command(7))).tolist() == [[0, 0, 0, 0]]
    assert core.result(core.issue(Command(6, exponent=-10))).tolist() == [[0x45C0, 0, 0, 0]]  # 6144


def test_a_chain_is_the_unsplit_product():
    rng = np.random.default_rng(5)
    codes = {name: rng.integers(16, size=shape) for name, shape in
             (("x", (5, 23)), ("w", (7, 23)), ("b", (1, 7)))}  # fmt: skip
    options = {"significand": 51234, "exponent": -22, "bias": True, "relu": True, "mode": 1}
    results = []
    for parts in ([23], [8, 8, 7], [1, 21, 1]):
        core = TrainingCore(SIZES["8x8x16, radix 4, float32"])
        core.issue(Command(4, outputs=7), pack_biases(codes["b"][0] - 8, core.size))
        begin = 0
        for part in parts:
            sizes = {"batch": 5, "inputs": part, "outputs": 7}
            for operation, name in ((1, "x"), (2, "w")):
                piece = pack_matrix(codes[name][:, begin : begin + part], core.size.load_lanes)
                core.issue(Command(operation, **sizes, codes=True), piece)
            begin += part
            more = {"accumulate": begin > part, "signed_activations": True}
            if begin < 23:
                core.issue(Command(5, **sizes, **more, destination=PARTIAL_SUMS))
            else:
                number = core.issue(Command(5, **sizes, **more, **options))
        results.append(core.result(number))
    assert len(np.unique(results[0])) > 10
    assert np.array_equal(results[0], results[1])
    assert np.array_equal(results[0], results[2])


def test_every_beat_of_gradients_takes_random_words():
    x = np.rint(np.random.default_rng(2).normal(size=(3, 6)) * 64) / 64
    beats = codes_of(x)
    load = Command(3, batch=3, outputs=6, fp4_exponent=-4, stochastic=True)
    change = dataclasses.replace
    for before, words in (
        ([], 0),
        ([load], 9),  # 3 rows of 3 beats, and 16 of the 32 bits of a word
        ([change(load, stochastic=False)], 9),
        ([change(load, codes=True), Command(1, batch=3, inputs=6)], 0),
    ):
        core = TrainingCore(TINY)
        for command in (*before, load):
            core.issue(command, beats)
        taken = RandomBits(seed_state(TINY.seed, 0)).words(words + 9)[words:]
        noise = np.stack([taken & 255, taken >> 8 & 255], axis=1).reshape(3, 6)
        expected = quantize_fp4(x, TINY.fmt, -4, Fp4Mode.STOCHASTIC, noise=noise).codes
        assert np.array_equal(core.gradients.read_codes(0, (3, 6)), expected)


@pytest.mark.parametrize(("code", "command"), malformed_commands(TINY))
def test_a_refused_command_changes_nothing(code, command):
    core = loaded()
    core._chain = None
    before = state(core)
    number = core.issue(command)
    assert core.error is code
    load, beats = Command(1, 3, 5), codes_of(np.full((3, 5), 2.0))
    for ignored in (load, Command(5, 3, 5, 6), Command(0)):
        core.issue(ignored, beats if ignored is load else None)
        assert core.error is code
    for use in (
        core.finish,
        core.counters,
        core.clear_counters,
        lambda: core.result(number),
        lambda: core.step_gradient(Store.WEIGHTS),
        lambda: core.seed(np.ones(4, np.uint32), np.ones(4, np.uint32)),
    ):
        with pytest.raises(CoreError, match=f"^The training core reports {code.name}$") as caught:
            use()
        assert caught.value.code is code
    core.clear_error()
    assert_same(state(core), before)
    core.issue(load, beats)
    assert core.activations.read_codes(0, (3, 5)).tolist() == [[2] * 5] * 3


@pytest.mark.parametrize("operation", [1, 2, 3, 4])
@pytest.mark.parametrize(("change", "code"), [(-1, ErrorCode.EARLY_LAST),
                                              (1, ErrorCode.MISSING_LAST),
                                              (5, ErrorCode.MISSING_LAST)])  # fmt: skip
def test_a_load_with_a_wrong_last_beat(operation, change, code):
    core = loaded()
    before = state(core)
    bases = {"activation_base": 3, "weight_base": 1, "gradient_base": 3, "bias_base": 3}
    command = Command(operation, 3, 5, 6, **bases)
    begin, end = (1, 5) if operation == 2 else (3, 5)
    rows, columns = command.load_shape()
    count = 6 if operation == 4 else rows * -(-columns // 2)
    beats = np.full((count + change, 2), 0x3F80, np.uint32)
    core.issue(command, beats)
    assert core.error is code
    core.issue(Command(5, 3, 5, 6, accumulate=True))  # ignored
    assert core.error is code
    core.clear_error()
    after = state(core)
    region = {1: "activations", 2: "weights", 3: "gradients", 4: "biases"}[operation]
    changed = [name for name in before if name.startswith(region)]
    assert_same(before, after, but=(*changed, "random", "counters", "chain"))
    for name in changed:  # nothing but the region
        assert np.array_equal(before[name][:begin], after[name][:begin])
        assert np.array_equal(before[name][end:], after[name][end:])
    accepted = min(count, count + change)
    # What is thrown away is no beat of the load.
    assert after["counters"]["LOAD_BEATS"] - before["counters"]["LOAD_BEATS"] == accepted
    words = accepted if operation == 3 else 0
    assert np.array_equal(after["random"][0][: 9 - words], before["random"][0][words:])
    assert np.array_equal(after["random"][1], before["random"][1])
    core.issue(Command(5, 3, 5, 6, accumulate=True))
    assert core.error is ErrorCode.PARTIAL_SUMS  # the chain is closed


def test_seeds():
    ones, zeros = np.ones(4, np.uint32), np.zeros(4, np.uint32)
    smallest = RandomBits([0, 0, 0, 1]).words(9)
    for radix in (1, 2):
        core = TrainingCore(dataclasses.replace(TINY, fmt=Fp4Format(radix)))
        core.seed(seed_state(5, 6), seed_state(7, 8))
        loads = seed_state(5, 6) if radix == 1 else seed_state(TINY.seed, 0)
        expected = np.array([RandomBits(loads).words(9), RandomBits(seed_state(7, 8)).words(9)])
        assert np.array_equal(state(core)["random"], expected)
        core.seed(zeros, ones)
        # Radix 4 has no generator for loads.
        assert core.error is (ErrorCode.SEED if radix == 1 else ErrorCode.NONE)
        core.clear_error()
        expected = np.array([smallest if radix == 1 else expected[0], RandomBits(ones).words(9)])
        assert np.array_equal(state(core)["random"], expected)
        core.seed(ones, zeros)
        assert core.error is ErrorCode.SEED
        core.clear_error()
        assert np.array_equal(state(core)["random"][1], smallest)


def test_reset_keeps_the_memories_alone():
    core = loaded()
    before = memories(core)
    number = core.issue(Command(5, 3, 5, 6))
    core.issue(Command(0))
    core.reset()
    assert_same(memories(core), before)
    fresh = state(TrainingCore(TINY))
    assert_same(state(core), fresh, but=before)
    with pytest.raises(InputError, match=f"^Command {number} has no result on the stream"):
        core.result(number)
    core.issue(Command(5, 3, 5, 6, accumulate=True))
    assert core.error is ErrorCode.PARTIAL_SUMS


def test_clear_counters_leaves_step_gradients():
    core = loaded()
    before = state(core)
    core.clear_counters()
    after = state(core)
    assert not any(after["counters"].values())
    assert_same(before, after, but=["counters"])


def test_counters_stop_and_step_gradients_wrap():
    core = loaded()
    core._counters["LOAD_SATURATIONS"] = 2**32 - 3
    beats = codes_of(np.full((1, 2), 99.0))
    for count in (2**32 - 1, 2**32 - 1):
        core.issue(Command(2, inputs=2), beats)
        assert core.counters()["LOAD_SATURATIONS"] == count
    for code, step in ((7, 2**63 - 7), (9, -(2**63) + 6)):
        # One of the weights, out of range above: derivative 7 * 2**8. Times 1, or times -1.
        core.issue(Command(1, codes=True), np.array([[1, 0]], np.uint32))
        core.issue(Command(3, codes=True), np.array([[1 if code == 7 else 9, 0]], np.uint32))
        core._step_gradients[Store.WEIGHTS] = step
        core.issue(Command(7, destination=Destination.NOTHING, step_gradient=True))
        expected = 2**63 - 7 + 1792 - 2**64 if code == 7 else -(2**63) + 6 - 1792 + 2**64
        assert core.step_gradient(Store.WEIGHTS) == expected


def test_results_are_taken_once():
    core = loaded()
    first, second = (core.issue(Command(5, 3, 5, 6, exponent=e)) for e in (-15, -14))
    core.issue(Command(0))
    # What was accepted before an error is there.
    assert not np.array_equal(core.result(second), core.result(first))
    core.clear_error()
    kept = core.issue(Command(5, 3, 5, 6, destination=PARTIAL_SUMS))
    for number in (first, second, kept, 99, -1):
        sentence = f"^Command {number} has no result on the stream, or it was taken before$"
        with pytest.raises(InputError, match=sentence):
            core.result(number)


@pytest.mark.parametrize("beats", [None, np.zeros((0, 2), np.uint32), np.zeros((9, 3), np.uint32),
                                   np.zeros(9, np.uint32)])  # fmt: skip
def test_bad_beats(beats):
    core = loaded()
    before = state(core)
    given = None if beats is None else beats.shape
    sentence = f"A load needs beats of shape (beats, 2), not {given}"
    with pytest.raises(InputError, match=f"^{re.escape(sentence)}$"):
        core.issue(Command(1, 3, 5), beats)
    with pytest.raises(InputError, match=r"^A product takes no beats, and 9 came$"):
        core.issue(Command(5), np.zeros((9, 2), np.uint32))
    assert_same(state(core), before)


def test_matrices_lie_block_row_by_block_row():
    memory = CodeMemory(words=6, block=2)
    memory.write_codes(1, np.array([[1, 2, 3], [4, 5, 6], [7, 8, -7]]))
    expected = [[0, 0, 0, 0], [1, 2, 4, 5], [3, 0, 6, 0], [7, 8, 0, 0], [9, 0, 0, 0], [0, 0, 0, 0]]
    assert memory.codes.reshape(6, 4).tolist() == expected
    # What is beyond the edge stays.
    memory.write_codes(1, np.array([[15]]))
    expected[1][0] = 15
    assert memory.codes.reshape(6, 4).tolist() == expected
    assert memory.read_codes(1, (3, 3)).tolist() == [[15, 2, 3], [4, 5, 6], [7, 8, 9]]
    assert memory.read_integers(3, (1, 3), signed=True).tolist() == [[7, -8, -7]]
    assert memory.read_integers(3, (1, 3), signed=False).tolist() == [[7, 8, 9]]
