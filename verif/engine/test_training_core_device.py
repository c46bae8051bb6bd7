# amaranth: UnusedElaboratable=no
"""The Verilog of the training core, driven at full speed: long runs, refusals, resets, speed."""

import dataclasses

import numpy as np
import pytest

from nibblegrad.gen.config import STRUCTURES
from nibblegrad.golden.engine.command import Command, Destination, ErrorCode, Operation, Store
from nibblegrad.golden.engine.device import pack_matrix
from nibblegrad.golden.engine.training_core import TrainingCore
from verif.engine.core_refusals import malformed_commands
from verif.engine.core_scenarios import CORES, Layer, config, matches, misuse, seeds
from verif.engine.core_stimulus import random_program
from verif.harness.build import build_core
from verif.harness.device import RtlDevice

QUICK = ("4x4x8", "8x2x4 radix 4")  # the others take minutes to build
SLOW = [pytest.mark.slow]
PACES = ((0.0, 0.0, 0.0), (0.5, 0.2, 0.5), (0.0, 0.9, 0.0), (0.8, 0.0, 0.0), (0.2, 0.1, 0.9))


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(name, marks=[pytest.mark.xdist_group(name), *SLOW * (name not in QUICK)])
        for name in CORES
    ],
)
def size(request):
    return config(request.param).size()


@pytest.fixture
def rng(request):
    return np.random.default_rng(request.config.getoption("--seed"))


@pytest.fixture
def device(size):
    structure = next(c.structure for c in map(config, CORES) if c.size() == size)
    return RtlDevice(size, build_core(size, 1, STRUCTURES[structure]))


@pytest.fixture
def twin(size):
    return TrainingCore(size)


def run(device, twin, rng, cycles):
    """Run random programs at random paces for so many cycles; returns how many commands it were."""
    commands = 0
    while device.cycles < cycles:
        device.set_stalls(
            tuple(rng.choice([0, 0, 0.1, 0.5, 0.9], 3)), int(rng.integers(1, 1 << 60))
        )
        program = random_program(rng, device.size, int(rng.integers(1, 100)))
        matches(device, twin, program)
        commands += len(program)
    return commands


def refuses(device, twin, command, code):
    """Check that both refuse a command for the same reason, and clear the error."""
    twin.issue(command)
    device.issue(command)
    assert device.error == twin.error == code, command
    device.clear_error()
    twin.clear_error()


def test_random_programs_at_any_pace(device, twin, rng):
    commands = run(device, twin, rng, 150_000)
    assert device.read_register("COMMANDS_DONE") == commands


@pytest.mark.slow
@pytest.mark.parametrize("size", ["4x4x8"], indirect=True)
def test_nothing_is_lost_in_a_million_cycles_of_pauses(device, twin, rng):
    assert run(device, twin, rng, 1_000_000) > 10_000


def test_results_do_not_depend_on_the_pace(device, size, rng):
    program = random_program(rng, size, 100)
    for pace in PACES:
        device.set_stalls(pace)
        device.reset()
        matches(device, TrainingCore(size), program)


def test_strips_wait_as_long_as_it_takes(device, twin, size, rng):
    # More strips than there is room for, and tiles with fewer strips than others.
    layer = Layer(rng, size, 0, 16 * size.block - 1, size.block, 2 * size.block)
    for pace in ((0.0, 0.5, 0.0), (0.0, 0.95, 0.0)):
        device.set_stalls(pace)
        matches(device, twin, layer.loads() + layer.products())


def test_a_result_is_an_operand_at_once(device, twin, size, rng):
    # The second product reads first what the first one stores last.
    block = size.block
    layer = Layer(rng, size, 0, 16 * block, block, block)
    matches(device, twin, layer.loads())
    to_operand = {"destination": Destination.OPERAND, "result_base": 16, "bias": False}
    for first, second, base in (
        (Operation.FORWARD, Operation.FORWARD, "activation_base"),
        (Operation.INPUT_GRADIENT, Operation.WEIGHT_GRADIENT, "gradient_base"),
    ):
        reading = layer.product(second, **{base: 31})[0]
        reading = dataclasses.replace(reading, batch=block)
        matches(device, twin, [layer.product(first, **to_operand), (reading, None)])


def test_every_refusal_is_reported_and_harmless(device, twin, size, rng):
    layer = Layer(rng, size, 1)
    matches(device, twin, layer.loads())
    causes = malformed_commands(size)
    assert {code for code, _ in causes} >= set(ErrorCode(k) for k in (2, 3, 4, 5, 6, 8))
    for position, (code, command) in enumerate(causes):
        twin.issue(command)
        device.issue(command)
        assert device.error == twin.error == code, command
        # Until the error is cleared, nothing is done.
        device.write_register("COMMAND", int(Operation.FORWARD))
        assert device.error == code
        device.clear_error()
        twin.clear_error()
        assert device.read_register("ERROR") == 0
        if position % 10 == 0 or position == len(causes) - 1:
            matches(device, twin, layer.products())


def test_a_chain_cannot_be_continued_by_another_product(device, twin, size, rng):
    layer = Layer(rng, size)
    matches(device, twin, layer.loads())
    sums = {"destination": Destination.PARTIAL_SUMS}
    for operation in (Operation.FORWARD, Operation.INPUT_GRADIENT, Operation.WEIGHT_GRADIENT):
        start = layer.command(operation, **sums)
        wrong = [layer.command(other, accumulate=True) for other in range(5, 8)]
        wrong += [
            dataclasses.replace(start, accumulate=True, **{name: getattr(start, name) - 1})
            for name in layer.shape
        ]
        matches(device, twin, [(start, None)])
        for command in wrong:
            twin.issue(command)
            device.issue(command)
            assert device.error == twin.error, command
            if twin.error is not ErrorCode.NONE:
                device.clear_error()
                twin.clear_error()
            else:
                # It went on with the sums, and closed them.
                matches(device, twin, [(start, None)])
        matches(device, twin, [(dataclasses.replace(start, accumulate=True), None)] * 2)
        end = (layer.command(operation, accumulate=True), None)
        matches(device, twin, [end])
        refuses(device, twin, end[0], ErrorCode.PARTIAL_SUMS)


@pytest.mark.parametrize("size", ["8x2x4 radix 4"], indirect=True)
def test_sums_grow_as_far_as_they_can(device, twin, size):
    terms = min(size.activation_words, size.gradient_words) * size.block
    sums = {"destination": Destination.PARTIAL_SUMS}
    shape = {"batch": terms, "inputs": 1, "outputs": 1}
    largest_code = int(np.argmax(size.fmt.decode(np.arange(16))))
    for operation, code in (
        (Operation.LOAD_ACTIVATIONS, 15),
        (Operation.LOAD_GRADIENTS, largest_code),
    ):
        beats = pack_matrix(np.full((terms, 1), code), size.load_lanes)
        matches(device, twin, [(Command(operation, codes=True, **shape), beats)])
    product = Command(Operation.WEIGHT_GRADIENT, **shape, **sums)
    count = size.chain_terms // terms
    again = dataclasses.replace(product, accumulate=True)
    matches(device, twin, [(product, None)] + [(again, None)] * (count - 1))
    refuses(device, twin, again, ErrorCode.TERMS)
    # What is left of the terms is used up to the last one.
    rest = size.chain_terms - count * terms
    matches(device, twin, [(dataclasses.replace(again, batch=rest), None)])
    end = dataclasses.replace(again, batch=1, destination=Destination.STREAM)
    refuses(device, twin, end, ErrorCode.TERMS)
    # What begins anew begins with no terms.
    matches(device, twin, [(product, None), (again, None)])


@pytest.mark.parametrize("operation", list(Operation)[:4])
@pytest.mark.parametrize("missing", [-1, 1])
def test_a_load_with_the_wrong_end_is_given_up(device, twin, size, rng, operation, missing):
    stored, other = Layer(rng, size, 4), Layer(rng, size)
    matches(device, twin, stored.loads())
    sums = stored.command(Operation.FORWARD, destination=Destination.PARTIAL_SUMS)
    for pace in PACES:
        matches(device, twin, [(sums, None)])
        device.set_stalls(pace)
        command, beats = other.load(operation)
        beats = beats[:-1] if missing < 0 else np.concatenate([beats, beats[: rng.integers(1, 5)]])
        twin.issue(command, beats)
        device.issue(command, beats)
        # What waits behind it is dropped.
        ignored = stored.products()
        for entry in ignored:
            device.issue(*entry)
        code = ErrorCode.EARLY_LAST if missing < 0 else ErrorCode.MISSING_LAST
        assert device.error == twin.error == code
        device.clear_error()
        twin.clear_error()
        # The chain is closed.
        again = dataclasses.replace(sums, accumulate=True)
        refuses(device, twin, again, ErrorCode.PARTIAL_SUMS)
        matches(device, twin, stored.products())
        matches(device, twin, other.loads() + other.products())


def test_soft_reset_at_any_time_keeps_what_was_stored(device, twin, size, rng):
    stored, other = Layer(rng, size, 8), Layer(rng, size)
    matches(device, twin, stored.loads())
    program = other.disturb()
    device.reset()
    begin = device.cycles
    matches(device, TrainingCore(size), program)
    whole = device.cycles - begin
    for cycles in np.linspace(1, whole, 100).astype(int):
        device.set_stalls(PACES[int(rng.integers(len(PACES)))], int(cycles))
        for entry in program:
            device.issue(*entry)
        device.run_cycles(int(cycles))
        device.set_stalls(PACES[0])
        device.reset()
        twin.reset()
        assert device.read_register("STATUS") == size.queue_depth << 8
        matches(device, twin, stored.products())
        assert device.read_register("COMMANDS_DONE") == 3


def test_a_reset_in_any_cycle_leaves_no_step_gradient(device, twin, size, rng):
    # What is on its way to one is given up as well; all of it is positive, so that none is 0.
    layer = Layer(rng, size)
    matches(device, twin, layer.large_loads())
    for operation, memory in (
        (Operation.INPUT_GRADIENT, Store.ACTIVATIONS),
        (Operation.WEIGHT_GRADIENT, Store.WEIGHTS),
    ):
        product = layer.product(operation)
        begin = device.cycles
        device.issue(*product)
        assert device.step_gradient(memory)
        whole = device.cycles - begin
        for cycles in range(whole - 80, whole):
            begin = device.cycles
            device.issue(*product)
            device.run_cycles(cycles - (device.cycles - begin))
            device.reset()
            assert device.step_gradient(memory, finish=False) == 0, cycles


def test_hard_reset_at_any_time(device, size, rng):
    layer = Layer(rng, size)
    program = layer.disturb()
    begin = device.cycles
    matches(device, TrainingCore(size), program)
    whole = device.cycles - begin
    for cycles in np.linspace(1, whole, 30).astype(int):
        device.hard_reset()
        device.set_stalls(PACES[int(rng.integers(len(PACES)))], int(cycles))
        for entry in program:
            device.issue(*entry)
        device.run_cycles(int(cycles))
        device.hard_reset()
        device.set_stalls(PACES[0])
        matches(device, TrainingCore(size), program)


def test_seeds(device, twin, size, rng):
    layer = Layer(rng, size)
    for _ in range(3):
        loads, results = seeds(rng), seeds(rng)
        device.seed(loads, results)
        twin.seed(loads, results)
        matches(device, twin, layer.loads() + layer.products())
    zeros = np.zeros(4, np.uint32)
    for loads, results in ((seeds(rng), zeros), (seeds(rng), zeros), (zeros, seeds(rng))):
        device.seed(loads, results)
        twin.seed(loads, results)
        assert device.error == twin.error
        device.clear_error()
        twin.clear_error()
        matches(device, twin, layer.loads() + layer.products())


def test_seeds_while_busy_are_refused_whole(device, twin, size, rng):
    layer = Layer(rng, size)
    matches(device, twin, layer.loads())
    names = ["RESULT_SEED"] + ["LOAD_SEED"] * size.fmt.is_stochastic
    for name in names:
        # A load whose beats do not come keeps the core busy.
        device.write_register("COMMAND", int(Operation.LOAD_WEIGHTS))
        for word in seeds(rng):
            device.write_register(name, word)
        assert device.read_register("ERROR") == ErrorCode.SEED
        device.reset()
        twin.reset()
        matches(device, twin, layer.products())
    if not size.fmt.is_stochastic:
        device.write_register("COMMAND", int(Operation.LOAD_WEIGHTS))
        for word in (0, 0, 0, 0):
            device.write_register("LOAD_SEED", word)
        assert device.read_register("ERROR") == 0
        device.reset()


def test_counters_are_cleared(device, twin, size, rng):
    layer = Layer(rng, size)
    matches(device, twin, random_program(rng, size, 300))
    matches(device, twin, layer.loads() + layer.products() + layer.events())
    steps = [device.step_gradient(memory) for memory in (Store.ACTIVATIONS, Store.WEIGHTS)]
    assert all(step > 0 for step in steps)
    assert all(device.counters().values())
    device.clear_counters()
    twin.clear_counters()
    assert not any(device.counters().values())
    assert steps == [device.step_gradient(memory) for memory in (Store.ACTIVATIONS, Store.WEIGHTS)]
    matches(device, twin, layer.loads() + layer.products())


def test_a_thousand_wrong_sequences_never_hang_the_core(device, twin, size, rng):
    for _ in range(1000 if size.block < 16 else 100):
        misuse(device, rng)
        device.reset()
        twin.reset()
        matches(device, twin, random_program(rng, size, int(rng.integers(1, 6))))


def spend(device, program):
    """Run a program; returns its counters."""
    device.clear_counters()
    for entry in program:
        device.issue(*entry)
    device.finish()
    return device.counters()


@pytest.mark.parametrize(
    "size", ["4x4x8", pytest.param("8x8x16", marks=pytest.mark.slow)], indirect=True
)
@pytest.mark.parametrize("operation", [5, 6, 7])
def test_lanes_are_used(device, size, rng, operation):
    layer = Layer(rng, size, batch=128, inputs=128, outputs=128)
    spend(device, layer.loads())
    counters = spend(device, [layer.product(operation)])
    passes = 2 if operation == Operation.FORWARD else 1
    assert counters["PASSES"] * size.rows * size.columns * size.lanes == 128**3 * passes
    assert counters["MACS"] == 128**3
    # To begin and to end, whatever the size of the product: 2,048 passes are the fewest here.
    assert counters["CYCLES"] - counters["PASSES"] <= 80
    least = 0.97 if counters["PASSES"] > 2048 else 0.96
    assert counters["PASSES"] / counters["CYCLES"] >= least


def test_cycles_do_not_depend_on_values(device, size, rng):
    cycles = []
    for code in (None, 0, 7, 8, 15):
        layer = Layer(np.random.default_rng(1), size)
        program = layer.loads(codes=True) + layer.disturb()[4:9] + layer.products()
        if code is not None:
            program = [(c, None if b is None else np.full_like(b, code)) for c, b in program]
        spend(device, program)
        cycles.append(spend(device, program)["CYCLES"])
    assert len(set(cycles)) == 1, cycles


def test_a_load_during_a_product_takes_no_cycle_of_it(device, size, rng):
    words = min(size.activation_words, size.weight_words, size.gradient_words)
    side = min(size.block * int((words - 4) ** 0.5), size.columns * (size.bias_words - 4))
    layer, other = Layer(rng, size, 4, side, side, side), Layer(rng, size)
    spend(device, layer.loads())
    waits = {"wait_for_loads": False, "wait_for_products": False}
    for product in layer.products(destination=Destination.STREAM):
        alone = spend(device, [product])
        both = spend(device, [product, other.load(Operation.LOAD_WEIGHTS, **waits)])
        assert both["LOAD_BEATS"] > 0
        assert both["CYCLES"] == alone["CYCLES"]
