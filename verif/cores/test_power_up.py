# amaranth: UnusedElaboratable=no
"""Nothing depends on what memories hold at power-up: random bits, or in four states, x."""

import itertools
import shutil

import numpy as np
import pytest

from nibblegrad.gen import config
from nibblegrad.gen.emission.verilog import to_verilog
from nibblegrad.gen.packaging.interface import describe
from nibblegrad.gen.packaging.testbench import to_testbench
from nibblegrad.gen.program import Access, program
from nibblegrad.golden.engine.registers import BY_NAME, REGISTERS
from nibblegrad.golden.engine.training_core import TrainingCore
from verif.engine.core_scenarios import Layer, matches
from verif.engine.core_stimulus import random_program
from verif.harness.build import build_library
from verif.harness.device import RtlDevice
from verif.support.netlist import with_cells
from verif.support.power_up import hold_chance, hold_nothing_known
from verif.support.sim import run_tool

#: Small, as they are built for this alone.
SMALL = {
    structure: config.TrainingCoreConfig(
        rows=2, columns=2, lanes=4, activation_words=12, weight_words=12, gradient_words=12,
        bias_words=12, partial_sum_strips=64, queue_depth=3, max_terms=64, structure=structure,
    )
    for structure in config.STRUCTURES
}  # fmt: skip
ODD = config.load(config.DEFAULT.with_name("training_odd.toml"))

needs_icarus = pytest.mark.skipif(
    shutil.which("iverilog") is None,
    reason="Icarus Verilog comes with no wheel; `apt install iverilog`",
)


def simulate(where, verilog, testbench):
    """Run a testbench of a module in Icarus Verilog; returns what it said."""
    (where / "design.v").write_text(with_cells(verilog))
    (where / "testbench.v").write_text(testbench)
    status, said = run_tool(["iverilog", "-g2009", "-o", "run", "design.v", "testbench.v"], where)
    assert status == 0, said
    return run_tool(["vvp", "-n", "run"], where)[1]


def passes(said):
    return said.startswith("PASS") and "FAIL" not in said


def registers_after_reset(size):
    """List the steps that read every register: the constants that a program begins with, and 0."""
    constants = itertools.takewhile(lambda step: isinstance(step, Access), program(size)[1:])
    words = {step.register: step.word for step in constants}
    words["STATUS"] = BY_NAME["STATUS"].pack(queue_free=size.queue_depth)
    return [Access(register.name, words.get(register.name, 0), False) for register in REGISTERS]


@pytest.fixture
def rng(request):
    return np.random.default_rng(request.config.getoption("--seed"))


@needs_icarus
@pytest.mark.parametrize("name", config.load(config.DEFAULT))
def test_testbenches_pass_with_unknown_memories(texts, tmp_path, name):
    verilog = hold_nothing_known(texts[f"{name}.v"])
    said = simulate(tmp_path, verilog, texts[f"{name}_testbench.v"])
    assert passes(said), said


@needs_icarus
@pytest.mark.slow
@pytest.mark.parametrize("name", ODD)
def test_odd_testbenches_pass_with_unknown_memories(tmp_path, name):
    verilog = hold_nothing_known(to_verilog(ODD[name].build(), name))
    said = simulate(tmp_path, verilog, to_testbench(describe(name, ODD[name]), ODD[name]))
    assert passes(said), said


@needs_icarus
@pytest.mark.parametrize(
    "structure",
    [pytest.param(name, marks=[pytest.mark.slow] * (name != "ecp5")) for name in SMALL],
)
def test_programs_pass_with_unknown_memories(tmp_path, rng, structure):
    # Shapes of every kind, results that become operands, partial sums.
    module = SMALL[structure]
    verilog = hold_nothing_known(to_verilog(module.build(), "core"))
    size = module.size()
    for steps in (
        registers_after_reset(size),
        program(size, Layer(rng, size).disturb()),
        program(size, random_program(rng, size, 40)),
    ):
        said = simulate(tmp_path, verilog, to_testbench(describe("core", module), module, steps))
        assert passes(said), said


def test_random_memories_change_no_bit(rng):
    module = SMALL["plain"]
    size = module.size()
    library = build_library(hold_chance(to_verilog(module.build(), "dut")), optimize=0)
    for _ in range(20):
        # A core that begins anew, so that each program reads what was never written.
        device = RtlDevice(size, library)
        matches(device, TrainingCore(size), random_program(rng, size, 20))


def test_resets_begin_with_a_reset():
    """Where registers hold chance, what passes on a reset does so from the first cycle on."""
    text = hold_chance(to_verilog(SMALL["plain"].build(), "core"), registers=True)
    resets = [line.split() for line in text.splitlines() if "_rst = " in line and "initial" in line]
    assert len(resets) == 2 and all(line[-1] == "1'h1;" for line in resets)
    assert text.count("$random") > 100
