"""Bench of :class:`nibblegrad.hdl.engine.training_core.TrainingCore`, on its pins."""

import dataclasses
from collections import Counter

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles

from nibblegrad.golden.engine.command import Command, ErrorCode, Operation, Store
from nibblegrad.golden.engine.registers import BY_NAME, IDENTIFIER
from nibblegrad.golden.engine.training_core import TrainingCore
from nibblegrad.hdl.engine.training_engine import TrainingEngine
from verif.engine.core_driver import CoreDriver, expected
from verif.engine.core_refusals import random_malformed
from verif.engine.core_scenarios import Layer, directed_program, seeds, situations
from verif.engine.core_stimulus import random_program
from verif.support.benches import benched_module
from verif.support.coverage import Coverage, assert_equal
from verif.support.sim import bench_params

PARAMS = bench_params()
SIZE = benched_module().size()
EVENTS = (
    *("LOAD_SATURATIONS", "LOAD_UNDERFLOWS", "LOAD_NONFINITES"),
    *("RESULT_SATURATIONS", "RESULT_UNDERFLOWS"),
)
#: A load of one beat, and a product of one strip.
LOAD = Command(Operation.LOAD_WEIGHTS, codes=True)
BEAT = np.ones((1, SIZE.load_lanes), np.uint32)
PRODUCT = Command(Operation.FORWARD)


async def begin(dut):
    """Start the clock and reset; returns driver, golden model, source of chance."""
    Clock(dut.aclk, 10, unit="ns").start()
    driver = CoreDriver(dut, SIZE)
    await driver.reset()
    return driver, TrainingCore(SIZE), np.random.default_rng(cocotb.RANDOM_SEED)


async def compare(driver, twin, program):
    """Run a program on both; compare strips, step gradients, counters. Returns a count."""
    wanted = expected(twin, program)
    got = await driver.run(program)
    for number, (mine, theirs) in enumerate(zip(got, wanted, strict=True)):
        assert_equal(f"strips of product {number}", mine, theirs)
    twin.finish()
    assert await driver.error() == twin.error
    for memory, name in (
        (Store.ACTIVATIONS, "ACTIVATION_STEP_GRADIENT"),
        (Store.WEIGHTS, "WEIGHT_STEP_GRADIENT"),
    ):
        assert await driver.read_wide(name) == twin.step_gradient(memory), name
    counters = await driver.counters()
    for name, value in twin.counters().items():
        assert counters[name] == value, f"{name}: {counters[name]}, not {value}"
    return sum(len(strips) for strips in got)


def situations_of(program):
    """Count the situations of the commands of a program."""
    met = Counter()
    for command, _ in program:
        met.update(situations(SIZE, command))
    return met


async def crowd(driver, twin, rng):
    """Fill the queue behind a load whose beats do not come and products whose strips must stay."""
    driver.stall(0)
    layer = Layer(rng, SIZE)
    await compare(driver, twin, layer.loads())
    driver.source.pause = driver.sink.pause = True
    at_once = {"wait_for_loads": False, "wait_for_products": False}
    program = [Layer(rng, SIZE, 4).load(Operation.LOAD_WEIGHTS, **at_once)]
    driver.send(program[0][1])
    await driver.issue(program[0][0])
    while (await driver.status())["queue_free"]:
        program.append(layer.product(Operation.FORWARD, **at_once))
        await driver.issue(program[-1][0], wait=False)
    status = await driver.status()
    assert status["loading"] and status["computing"], status
    driver.source.pause = driver.sink.pause = False
    for number, theirs in enumerate(expected(twin, program)):
        assert_equal(f"strips of product {number}", await driver.receive(), theirs)
    await driver.finish()


async def interrupt(driver):
    """Read INTERRUPT, and the pin."""
    return await driver.read("INTERRUPT"), int(driver.dut.irq.value)


@cocotb.test()
async def matches_golden(dut):
    """Random programs, at any pace; all that must be seen is in one of them."""
    driver, twin, rng = await begin(dut)
    coverage = Coverage(PARAMS["core"], [*situations(SIZE), *EVENTS, "overlap", "full"])
    directed, place = directed_program(rng, SIZE), int(rng.integers(16))
    coverage.cover(**situations_of(directed))
    for number in range(16):
        # Streams that hardly move let the queue fill up, however small the matrices are.
        driver.stall(*((0,), (0.1,), (0.95, ["s_axis", "m_axis"]), (0.5,))[number % 4])
        program = random_program(rng, SIZE, 100)
        coverage.cover(**situations_of(program))
        if number == place:
            program += directed
        coverage.vectors(await compare(driver, twin, program))
    await crowd(driver, twin, rng)
    coverage.cover(**driver.seen, **{name: twin.counters()[name] for name in EVENTS})
    coverage.close()


@cocotb.test()
async def every_channel_stalls(dut):
    """Each product, with one channel after the other that hardly moves, and with all of them."""
    driver, twin, rng = await begin(dut)
    layer = Layer(rng, SIZE)
    for channels in (*([name] for name in driver.channels), list(driver.channels)):
        driver.stall(0.9, channels)
        await compare(driver, twin, layer.loads())
        for product in layer.products():
            await compare(driver, twin, [product])


@cocotb.test()
async def tells_what_it_is(dut):
    """Constants, and addresses without a register."""
    driver, twin, rng = await begin(dut)
    assert await driver.read("ID") == IDENTIFIER
    for name in ("activation_words", "weight_words", "gradient_words", "bias_words", "max_terms"):
        assert await driver.read(name.upper()) == getattr(SIZE, name), name
    assert await driver.read("PARTIAL_SUM_STRIPS") == SIZE.partial_sum_strips
    size = BY_NAME["SIZE"].unpack(await driver.read("SIZE"))
    assert size == {
        "log2_rows": np.log2(SIZE.rows),
        "log2_columns": np.log2(SIZE.columns),
        "log2_lanes": np.log2(SIZE.lanes),
        "log2_radix": SIZE.fmt.log2_radix,
        "wide_bits": SIZE.wide_format.width,
        "residual_bits": SIZE.residual_bits,
        "queue_depth": SIZE.queue_depth - 1,
    }
    layer = Layer(rng, SIZE)
    await compare(driver, twin, layer.loads())
    taken = {register.offset for register in BY_NAME.values()}
    for address in range(0, 0x200, 4):
        if address not in taken:
            response = await driver.axi.write(address, b"\xff\xff\xff\xff")
            assert response.resp, hex(address)
            assert (await driver.axi.read(address, 4)).resp, hex(address)
    await compare(driver, twin, layer.products())


@cocotb.test()
async def interrupts(dut):
    """Done and error, enabled and not, cleared by ones."""
    driver, _, _ = await begin(dut)
    done, error = 1, 2
    assert await interrupt(driver) == (0, 0)
    await driver.run([(LOAD, BEAT)])
    assert await interrupt(driver) == (done, 0)
    await driver.write("INTERRUPT_ENABLE", error)
    assert await interrupt(driver) == (done, 0)
    await driver.write("INTERRUPT_ENABLE", done)
    assert await interrupt(driver) == (done, 1)
    await driver.write("INTERRUPT", error)
    assert await interrupt(driver) == (done, 1)
    await driver.write("INTERRUPT", done)
    assert await interrupt(driver) == (0, 0)

    # The core is busy until the last strip has left, without a gap.
    load = Command(Operation.LOAD_ACTIVATIONS, codes=True)
    for product in (PRODUCT, Command(Operation.FORWARD, batch=3)):
        driver.sink.pause = True
        driver.send(BEAT)
        await driver.issue(load)
        await driver.finish()
        await driver.write("INTERRUPT", done)
        await driver.issue(product)
        await ClockCycles(dut.aclk, 150)
        assert dut.m_axis_tvalid.value
        assert (await driver.status())["busy"]
        assert await interrupt(driver) == (0, 0)
        driver.sink.pause = False
        await driver.receive()
        assert await interrupt(driver) == (done, 1)

    await driver.write("INTERRUPT", done | error)
    await driver.write("COMMAND", 0)
    await driver.finish()
    assert await interrupt(driver) == (done | error, 1)
    await driver.write("INTERRUPT", done)
    assert await interrupt(driver) == (error, 0)
    await driver.write("INTERRUPT_ENABLE", done | error)
    assert await interrupt(driver) == (error, 1)
    # The error goes on, and so may its interrupt be cleared alone.
    await driver.write("INTERRUPT", error)
    assert await interrupt(driver) == (0, 0)
    assert await driver.error() == ErrorCode.OPERATION
    await driver.write("CONTROL", 2)
    assert await driver.error() == ErrorCode.NONE


@cocotb.test()
async def queue_and_commands_done(dut):
    """The queue fills up while the output stands still; what is too much is refused."""
    driver, twin, rng = await begin(dut)
    layer = Layer(rng, SIZE)
    await compare(driver, twin, layer.loads())
    assert await driver.read("COMMANDS_DONE") == 4
    assert (await driver.status())["queue_free"] == SIZE.queue_depth
    # Two loads without beats: one is under way, the others wait.
    load, beats = layer.load(Operation.LOAD_WEIGHTS)
    program = [(load, beats)] * (SIZE.queue_depth + 1)
    for k, (command, _) in enumerate(program):
        await driver.issue(command, wait=False)
        await ClockCycles(dut.aclk, 30)
        assert (await driver.status())["queue_free"] == SIZE.queue_depth - k
    assert await driver.error() == ErrorCode.NONE
    await driver.issue(load, wait=False)
    assert await driver.error() == ErrorCode.QUEUE_FULL
    # Neither right nor wrong commands change that.
    await driver.issue(random_malformed(rng, SIZE), wait=False)
    await driver.issue(PRODUCT, wait=False)
    assert await driver.error() == ErrorCode.QUEUE_FULL
    for command, each in program:
        twin.issue(command, each)
        driver.send(each)
    await driver.finish()
    assert await driver.read("COMMANDS_DONE") == 4 + len(program)
    await driver.write("CONTROL", 2)
    await compare(driver, twin, layer.products())
    assert await driver.read("COMMANDS_DONE") == 7 + len(program)


@cocotb.test()
async def too_many_beats_are_thrown_away(dut):
    """After a load without an end, up to TLAST; the next load begins behind it."""
    driver, twin, rng = await begin(dut)
    layer = Layer(rng, SIZE)
    for operation in list(Operation)[:4]:
        command, beats = layer.load(operation)
        beats = np.concatenate([beats, beats])
        twin.issue(command, beats)
        driver.send(beats)
        await driver.issue(command)
        while await driver.error() is ErrorCode.NONE:
            pass
        assert await driver.error() == twin.error == ErrorCode.MISSING_LAST
        await driver.write("CONTROL", 2)
        twin.clear_error()
        await compare(driver, twin, layer.loads() + layer.products())


@cocotb.test()
async def seeds_are_refused_whole(dut):
    """The core becomes idle in the middle of a seed, which is refused to its end."""
    driver, twin, rng = await begin(dut)
    await driver.issue(LOAD)
    for _ in range(2):
        await driver.write("RESULT_SEED", 5)
    driver.send(BEAT)
    await driver.finish()
    for _ in range(2):
        await driver.write("RESULT_SEED", 5)
    assert await driver.error() == ErrorCode.SEED
    await driver.write("CONTROL", 2)
    twin.issue(LOAD, BEAT)
    layer = Layer(rng, SIZE)
    await compare(driver, twin, layer.loads() + layer.products())
    state = seeds(rng)
    for name in ("LOAD_SEED", "RESULT_SEED"):
        for word in state:
            await driver.write(name, word)
    twin.seed(state, state)
    await compare(driver, twin, layer.loads() + layer.products())


async def into_load(driver, layer):
    """Begin a load, and leave it half done."""
    command, beats = layer.load(Operation.LOAD_ACTIVATIONS)
    driver.stall(0.9, ["s_axis"])
    driver.send(beats)
    before = await driver.read("LOAD_BEATS_LOW")
    await driver.issue(command)
    while await driver.read("LOAD_BEATS_LOW") < before + 2:
        pass
    driver.stall(0)
    driver.source.pause = True
    assert (await driver.status())["loading"]


async def into_product(driver, layer):
    """Begin products, and leave the first while passes are still to come."""
    for product in layer.products():
        await driver.issue(*product[:1])
    assert (await driver.status())["computing"]


async def into_drain(driver, layer):
    """Fill everything with results that do not leave."""
    driver.sink.pause = True
    for product in layer.products():
        await driver.issue(*product[:1])
    await ClockCycles(driver.dut.aclk, 2000)
    assert driver.dut.m_axis_tvalid.value
    assert (await driver.status())["busy"]


async def into_check(driver, layer):
    """Leave a command while it is checked."""
    await driver.write("COMMAND", int(Operation.LOAD_GRADIENTS))


async def into_skip(driver, layer):
    """Leave a load without an end while its beats are thrown away."""
    command, beats = layer.load(Operation.LOAD_GRADIENTS)
    driver.send(np.concatenate([beats] * 50))
    await driver.issue(command)
    while await driver.error() is ErrorCode.NONE:
        pass
    assert await driver.error() == ErrorCode.MISSING_LAST


PHASES = (into_load, into_product, into_drain, into_check, into_skip)


@cocotb.test()
async def soft_reset(dut):
    """Gives up whatever is under way, and keeps memories, settings and the enabled interrupts."""
    driver, twin, rng = await begin(dut)
    stored, other = Layer(rng, SIZE, 8), Layer(rng, SIZE)
    await compare(driver, twin, stored.loads() + other.loads())
    await driver.write("INTERRUPT_ENABLE", 3)
    for phase in PHASES:
        await driver.write("INTERRUPT", 3)
        await phase(driver, other)
        driver.stall(0)
        await driver.soft_reset()
        twin.reset()
        status = await driver.status()
        assert status == dict.fromkeys(status, 0) | {"queue_free": SIZE.queue_depth}, phase
        assert not dut.s_axis_tready.value
        assert not dut.m_axis_tvalid.value
        assert not any((await driver.counters()).values()), phase
        for name in ("ERROR", "COMMANDS_DONE"):
            assert await driver.read(name) == 0, (name, phase)
        # What was given up is not done; the load without an end is, and was an error.
        assert await interrupt(driver) == ((3, 1) if phase is into_skip else (0, 0)), phase
        assert await driver.read("INTERRUPT_ENABLE") == 3
        assert await driver.read("BATCH") != 0
        await compare(driver, twin, stored.products())
        await compare(driver, twin, other.loads() + other.products())


@cocotb.test()
async def hard_reset(dut):
    """Gives up everything but the contents of memories, whatever is under way."""
    driver, twin, rng = await begin(dut)
    layer = Layer(rng, SIZE)
    await driver.write("INTERRUPT_ENABLE", 3)
    for phase in PHASES:
        await compare(driver, twin, layer.loads())
        await phase(driver, layer)
        driver.stall(0)
        await driver.reset()
        twin.reset()
        for register in BY_NAME.values():
            if register.offset >= BY_NAME["CONTROL"].offset and register.name != "STATUS":
                assert await driver.read(register.name) == 0, (register.name, phase)
        assert await driver.read("STATUS") == SIZE.queue_depth << 8
        await compare(driver, twin, layer.loads() + layer.products())
        twin.reset()
        await driver.reset()


@cocotb.test()
async def latency(dut):
    """From the last beat of a load to the first strip, to the cycle."""
    driver, _, _ = await begin(dut)
    for inputs in (1, 3 * SIZE.lanes, 3 * SIZE.lanes + 1, 6 * SIZE.lanes):
        beats = np.repeat(BEAT, -(-inputs // SIZE.load_lanes), axis=0)
        await driver.run([(dataclasses.replace(LOAD, inputs=inputs), beats)])
        await driver.issue(Command(Operation.LOAD_ACTIVATIONS, inputs=inputs))
        await driver.issue(product := Command(Operation.FORWARD, inputs=inputs))
        await ClockCycles(dut.aclk, 100)
        driver.send(beats)
        cycle = 0
        while not dut.m_axis_tvalid.value:
            cycle += 1
            assert cycle < 400, "no strip came"
            await ClockCycles(dut.aclk, 1)
            if dut.s_axis_tvalid.value and dut.s_axis_tready.value:
                taken = cycle
        more = max(SIZE.passes(product) - TrainingEngine.first_tile - 1, 0)
        assert cycle - taken == PARAMS["latency"] + more, inputs
        await driver.receive()
