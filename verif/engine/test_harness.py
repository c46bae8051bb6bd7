# amaranth: UnusedElaboratable=no
"""The harness, on a core that is next to nothing, and on a small training core."""

import contextlib

import numpy as np
import pytest
from amaranth import Signal

from nibblegrad.gen import sources
from nibblegrad.gen.emission.verilog import to_verilog
from nibblegrad.golden.engine.command import (
    Command,
    CoreSize,
    Destination,
    ErrorCode,
    Operation,
    Store,
)
from nibblegrad.golden.engine.device import CoreError
from nibblegrad.golden.engine.registers import IDENTIFIER
from nibblegrad.golden.engine.training_core import TrainingCore
from nibblegrad.golden.errors import InputError
from nibblegrad.golden.numbers.formats import FLOAT32
from nibblegrad.hdl.base.contracts import checked, promise
from verif.engine.core_scenarios import Layer
from verif.engine.core_stimulus import random_program
from verif.harness import build
from verif.harness.device import HarnessError, RtlDevice, Status
from verif.harness.measure import measure
from verif.harness.stand_in import StandIn

NO_STALLS = (0.0, 0.0, 0.0)
STALLS = [NO_STALLS, (0.5, 0.0, 0.0), (0.0, 0.7, 0.0), (0.0, 0.0, 0.6), (0.4, 0.4, 0.4)]
SIZE = CoreSize(rows=4, columns=4, lanes=8, queue_depth=2)
CORE = CoreSize(
    rows=4,
    columns=4,
    lanes=8,
    activation_words=16,
    weight_words=16,
    gradient_words=16,
    bias_words=8,
    partial_sum_strips=64,
    max_terms=64,
    queue_depth=2,
)


@pytest.fixture(scope="module")
def library():
    return build.build_library(to_verilog(StandIn(SIZE), "dut"), optimize=1)


@pytest.fixture
def device(library):
    return RtlDevice(SIZE, library)


def test_key_of_a_library_knows_every_source(tmp_path):
    """However deep it lies, what it is called and what is in it."""
    deep = tmp_path / "hdl" / "engine" / "parts" / "tile_drain.py"
    for path in (deep, tmp_path / "golden" / "command.py", tmp_path / "gen" / "verilog.py"):
        path.parent.mkdir(parents=True)
        path.write_text("LATENCY = 3\n")
    keys = {build._generator.__wrapped__(tmp_path)}
    deep.write_text("LATENCY = 4\n")
    keys.add(build._generator.__wrapped__(tmp_path))
    deep.rename(deep.with_name("drain.py"))
    keys.add(build._generator.__wrapped__(tmp_path))
    assert len(keys) == 3
    real = sources.sources()
    assert {path.parent.name for path in real} >= {
        "golden",
        "engine",
        "array",
        "gen",
        "flow",
        "packaging",
    }
    assert build.ROOT / "hdl" / "array" / "shift_lane.py" in real


class Promising(StandIn):
    """A stand-in that breaks a promise with the third strip of a product."""

    def elaborate(self, platform):
        m = super().elaborate(platform)
        count = Signal(8)
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += count.eq(count + 1)
        promise(m, "no product has more than two strips", ~self.o.valid | (count < 2))
        return m


def test_a_broken_promise_is_named():
    with checked():
        verilog = to_verilog(Promising(SIZE), "dut")
    assert "assert" not in to_verilog(Promising(SIZE), "dut")
    device = RtlDevice(SIZE, build.build_library(verilog, optimize=1))
    assert device.result(device.issue(product(2))).shape == (2, SIZE.strip)
    for _ in range(2):
        # What is broken stays so, whatever else happens.
        with pytest.raises(HarnessError, match="more than two strips, in cycle") as caught:
            device.result(device.issue(product(1)))
        assert caught.value.status is Status.BROKEN_PROMISE
    with pytest.raises(HarnessError, match="BROKEN_PROMISE: no product has more than two strips"):
        device.read_register("STATUS")


def load(rng, count):
    """A load of the stand-in, and what it adds."""
    beats = rng.integers(1 << 16, size=(count, SIZE.load_lanes), dtype=np.uint32)
    return (Command(Operation.LOAD_ACTIVATIONS, batch=count), beats), beats.sum(0, dtype=np.uint32)


def product(count):
    """A product of the stand-in, of so many strips."""
    return Command(Operation.FORWARD, batch=count)


def strips(sums, count):
    """What the stand-in sends; a register of it has 16 bits."""
    return (sums + np.arange(count, dtype=np.uint32)[:, None]) & np.uint32(0xFFFF)


@pytest.mark.parametrize("stalls", STALLS)
def test_many_commands_keep_their_order_whatever_pauses(library, stalls):
    device = RtlDevice(SIZE, library, stalls=stalls, seed=3)
    rng = np.random.default_rng(1)
    sums = np.zeros(SIZE.load_lanes, np.uint32)
    expected = {}
    for _ in range(60):
        if rng.random() < 0.6:
            arguments, added = load(rng, int(rng.integers(1, 9)))
            device.issue(*arguments)
            sums = sums + added
        else:
            count = int(rng.integers(1, 9))
            expected[device.issue(product(count))] = strips(sums, count)
    # Nothing has been simulated yet, and results may be asked for in any order.
    assert device.beats_left > 100
    for number in sorted(expected, key=lambda number: -number):
        np.testing.assert_array_equal(device.result(number), expected[number])
    device.finish()
    assert device.beats_left == 0
    assert device.read_register("COMMANDS_DONE") == 60


def test_pauses_take_time(library):
    cycles = []
    for stalls in STALLS:
        device = RtlDevice(SIZE, library, stalls=stalls)
        device.issue(*load(np.random.default_rng(1), 200)[0])
        device.result(device.issue(product(200)))
        cycles.append(device.cycles)
    # A beat a cycle and a strip every other; then two, and three and a bit; all that there is.
    assert cycles[0] < 650
    assert cycles[0] + 150 < cycles[1] < cycles[0] + 300
    assert cycles[0] + 300 < cycles[2] < cycles[0] + 700
    assert cycles[0] + 10 < cycles[3] < cycles[0] + 200
    assert cycles[4] > cycles[0] + 150


def test_beats_and_commands_overlap(device):
    rng = np.random.default_rng(2)
    for _ in range(10):
        device.issue(*load(rng, 50)[0])
    device.finish()
    begin, end = 500, 500 + 10 * 12
    assert begin < device.cycles < end, "the core waited for the host"
    assert device.counters()["CYCLES"] < end


def test_settings_are_written_when_they_change(device):
    rng = np.random.default_rng(2)
    device.issue(*load(rng, 1)[0])
    device.finish()
    first = device.cycles
    device.issue(*load(rng, 1)[0])
    device.finish()
    again = device.cycles - first
    moved = Command(Operation.LOAD_ACTIVATIONS, batch=1, activation_base=77)
    device.issue(moved, load(rng, 1)[0][1])
    device.finish()
    # Four settings, two cycles each.
    assert again <= first - 8
    assert device.read_register("ACTIVATION_BASE") == 77
    assert device.read_register("BATCH") == 1


def test_refusal_stops_what_comes_after_it_only(device):
    rng = np.random.default_rng(4)
    (command, beats), sums = load(rng, 30)
    device.issue(command, beats)
    before = device.issue(product(5))
    device.issue(Command(0))
    after = device.issue(product(2))
    device.issue(*load(rng, 3)[0])
    with pytest.raises(CoreError) as caught:
        device.finish()
    assert caught.value.code is ErrorCode.OPERATION
    assert device.interrupt
    np.testing.assert_array_equal(device.result(before), strips(sums, 5))
    with pytest.raises(CoreError):
        device.result(after)
    ignored = device.issue(product(1))
    assert device.error is ErrorCode.OPERATION
    device.clear_error()
    assert not device.interrupt
    assert device.error is ErrorCode.NONE
    for number in (after, ignored):
        with pytest.raises(InputError, match="no result"):
            device.result(number)
    np.testing.assert_array_equal(device.result(device.issue(product(4))), strips(sums, 4))


@pytest.mark.parametrize("last, code", [(2, ErrorCode.EARLY_LAST), (None, ErrorCode.MISSING_LAST)])
def test_wrong_last_reaches_the_core(device, last, code):
    (command, beats), sums = load(np.random.default_rng(5), 6)
    device.issue(command, beats, last=np.arange(6) == last)
    assert device.error is code
    taken = sums if last is None else beats[: last + 1].sum(0)
    device.clear_error()
    np.testing.assert_array_equal(device.result(device.issue(product(3))), strips(taken, 3))


def test_queue_is_never_overfilled_unless_on_purpose(device):
    for _ in range(20):
        device.issue(product(30))
    device.finish()
    assert device.error is ErrorCode.NONE
    device.write_register("BATCH", 1000)
    for _ in range(2 + SIZE.queue_depth):
        device.write_register("COMMAND", Operation.INPUT_GRADIENT)
    device.run_cycles(10)
    assert device.read_register("ERROR") == ErrorCode.QUEUE_FULL


def test_missing_strip_is_found(device):
    # The stand-in sends one strip, and the size asks for two.
    number = device.issue(Command(Operation.FORWARD, outputs=SIZE.columns + 1))
    with pytest.raises(HarnessError) as caught:
        device.result(number)
    assert caught.value.status is Status.WRONG_LAST


def test_unexpected_strip_is_found(device):
    device.issue(Command(Operation.INPUT_GRADIENT, destination=Destination.NOTHING))
    with pytest.raises(HarnessError) as caught:
        device.finish()
    assert caught.value.status is Status.UNEXPECTED


def test_core_that_stands_still_is_given_up(device):
    (command, beats), _ = load(np.random.default_rng(6), 5)
    device.issue(command, beats[:3], last=np.zeros(3))
    with pytest.raises(HarnessError) as caught:
        device.finish()
    assert caught.value.status is Status.STALLED
    assert device.cycles > 100_000
    device.reset()
    np.testing.assert_array_equal(
        device.result(device.issue(product(2))), strips(np.zeros(4, np.uint32), 2)
    )


def test_registers_by_name_and_address(device):
    assert device.read_register("ID") == IDENTIFIER
    with pytest.raises(HarnessError) as caught:
        device.read_address(0x1F8)
    assert caught.value.status is Status.BAD_RESPONSE


def test_counters_and_step_gradients_have_64_bits(device):
    device.issue(product(1))
    with contextlib.suppress(HarnessError):
        device.result(0)
    assert device.step_gradient(Store.ACTIVATIONS) == -2
    counters = device.counters()
    assert counters["PASSES"] == 2
    assert "LOAD_SATURATIONS" in counters and "MACS" in counters
    device.clear_counters()
    assert device.counters()["PASSES"] == 0
    device.result(device.issue(product(3)))
    assert device.counters()["PASSES"] == 6


def test_resets_forget(device):
    rng = np.random.default_rng(7)
    for reset in (device.reset, device.hard_reset):
        device.issue(*load(rng, 20)[0])
        lost = device.issue(product(50))
        device.run_cycles(60)
        reset()
        with pytest.raises(InputError, match="no result"):
            device.result(lost)
        (command, beats), sums = load(rng, 2)
        device.issue(command, beats)
        np.testing.assert_array_equal(device.result(device.issue(product(50))), strips(sums, 50))
        assert device.error is ErrorCode.NONE


def test_bad_arguments(device, library):
    with pytest.raises(InputError, match="needs beats"):
        device.issue(Command(Operation.LOAD_WEIGHTS))
    with pytest.raises(InputError, match="takes no beats"):
        device.issue(product(1), np.zeros((1, 4), np.uint32))
    with pytest.raises(InputError, match="Chances of pauses"):
        device.set_stalls((1.0, 0.0, 0.0))
    with pytest.raises(InputError, match="beat of the library has 8 bytes, and this size has 16"):
        RtlDevice(CoreSize(rows=4, columns=4, lanes=8, wide_format=FLOAT32), library)


def test_missing_compiler_is_named(monkeypatch):
    monkeypatch.setattr(build.shutil, "which", lambda tool: None if tool == "g++" else tool)
    with pytest.raises(InputError, match=r"g\+\+ is not on the PATH; install it"):
        build.build_library("")


@pytest.fixture(scope="module")
def core_library():
    return build.build_core(CORE, optimize=1)


def run(device, program):
    """Results, counters that both models have, and step gradients of a program."""
    numbers = [(command, device.issue(command, beats)) for command, beats in program]
    results = [
        device.result(number)
        for command, number in numbers
        if command.operation >= Operation.FORWARD and command.destination == Destination.STREAM
    ]
    steps = [device.step_gradient(memory) for memory in (Store.ACTIVATIONS, Store.WEIGHTS)]
    return results, device.counters(), steps


@pytest.mark.parametrize("stalls", [NO_STALLS, (0.4, 0.4, 0.4)])
def test_training_core_matches_golden_model(core_library, stalls, request):
    seed = request.config.getoption("--seed")
    device, golden = RtlDevice(CORE, core_library, stalls=stalls, seed=seed), TrainingCore(CORE)
    for k in range(4):
        rng = np.random.default_rng([seed, k])
        layer = Layer(rng, CORE)
        program = random_program(rng, CORE, 40) + layer.loads() + layer.products()
        results, counters, steps = run(device, program)
        expected, golden_counters, golden_steps = run(golden, program)
        assert len(results) == len(expected) > 0
        for mine, right in zip(results, expected, strict=True):
            np.testing.assert_array_equal(mine, right)
        assert {name: counters[name] for name in golden_counters} == golden_counters
        assert steps == golden_steps


def test_training_core_refuses_as_the_golden_model(core_library):
    device, golden = RtlDevice(CORE, core_library), TrainingCore(CORE)
    beats = np.zeros((2, CORE.load_lanes), np.uint32)
    good = Command(Operation.LOAD_WEIGHTS, outputs=2, codes=True)
    for command, code in (
        (Command(9), ErrorCode.OPERATION),
        (Command(Operation.FORWARD, batch=0), ErrorCode.SIZE),
        (Command(Operation.FORWARD, batch=9, activation_base=15), ErrorCode.MEMORY),
    ):
        for core in (device, golden):
            core.issue(good, beats)
            core.issue(command)
            core.issue(good, beats)
            assert core.error is code
            with pytest.raises(CoreError):
                core.finish()
            core.clear_error()
            core.issue(good, beats)
            core.finish()
    assert device.counters()["LOAD_BEATS"] == golden.counters()["LOAD_BEATS"] == 12


def test_speed_is_measured(core_library):
    report = measure(RtlDevice(CORE, core_library), seconds=0.05)
    assert set(report) == {"FORWARD", "INPUT_GRADIENT", "WEIGHT_GRADIENT"}
    for figures in report.values():
        assert 0.5 < figures["utilization"] <= 1
        lanes = CORE.rows * CORE.columns * CORE.lanes
        assert figures["lane_operations_per_second"] == pytest.approx(
            figures["cycles_per_second"] * figures["utilization"] * lanes
        )
