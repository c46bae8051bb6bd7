"""Bench of :class:`hdl.training_core.TrainingCore`."""

import cocotb
import numpy as np
from cocotb.clock import Clock

from gen.config import parse
from golden.command import Memory
from golden.training_core import TrainingCore
from verif.core_driver import CoreDriver, expected
from verif.core_stimulus import random_program
from verif.coverage import assert_equal
from verif.sim import bench_params

PARAMS = bench_params()
SIZE = parse(PARAMS["config"])["core"].size()


async def begin(dut):
    """Start the clock and reset; returns driver and golden model."""
    Clock(dut.aclk, 10, unit="ns").start()
    driver = CoreDriver(dut, SIZE)
    await driver.reset()
    return driver, TrainingCore(SIZE)


async def compare(driver, twin, program, coverage=None):
    """Run a program on both, and compare strips, step gradients, counters."""
    wanted = expected(twin, program)
    got = await driver.run(program)
    for number, (mine, theirs) in enumerate(zip(got, wanted, strict=True)):
        assert_equal(f"strips of product {number}", mine, theirs)
    twin.finish()
    assert await driver.error() == twin.error
    for memory, name in (
        (Memory.ACTIVATIONS, "ACTIVATION_STEP_GRADIENT"),
        (Memory.WEIGHTS, "WEIGHT_STEP_GRADIENT"),
    ):
        assert await driver.read_wide(name) == twin.step_gradient(memory), name
    counters = await driver.counters()
    for name, value in twin.counters().items():
        assert counters[name] == value, f"{name}: {counters[name]}, not {value}"


@cocotb.test()
async def matches_golden(dut):
    """Random programs, at any pace."""
    rng = np.random.default_rng(cocotb.RANDOM_SEED)
    driver, twin = await begin(dut)
    for probability in (0, 0.1, 0.5):
        driver.stall(probability)
        await compare(driver, twin, random_program(rng, SIZE, 400))
