# amaranth: UnusedElaboratable=no
"""FuseSoC runs the emitted core descriptions, and the testbenches with them, through Edalize."""

import re
import shutil
import sys
from pathlib import Path

import pytest

from nibblegrad.gen import config, emit, packaging
from verif.support.sim import run_tool

BIN = Path(sys.executable).parent
MODULES = list(config.load(config.DEFAULT))

# Parameters at their ends: what testbenches must be right for as well.
CORNERS = """
[modules.narrow_quantizer]
core = "quantizer"
wide_format = "float32"
bits = 2
lanes = 1
residual_bits = 14
in_range_rule = "rounded"

[modules.odd_rounder]
core = "stochastic_rounder"
target = "dlfloat16"
lanes = 3
random_bits = 5
seed = 77

[modules.wide_rounder]
core = "fixed_rounder"
width = 48
fraction_bits = 1
target = "uint2"
lanes = 3
random_bits = 24

[modules.small_array]
core = "shift_multiply_array"
fmt = "fp4_radix4"
rows = 1
columns = 3
lanes = 1
integer_bits = 9
max_terms = 1
output_bits = 4
bank_tiles = 1
random_bits = 1

[modules.two_phase_multiplier]
core = "scale_multiplier"
target = "fp4_radix4"
lanes = 3
accumulator_bits = 8
channel_groups = 1

[modules.luq_multiplier]
core = "scale_multiplier"
target = "fp4_radix2"
lanes = 1
accumulator_bits = 20

[modules.wide_gradient]
core = "step_gradient"
lanes = 64
bits = 2
residual_bits = 14

[modules.small_core]
core = "training_core"
wide_format = "float32"
fmt = "fp4_radix4"
rows = 2
columns = 4
lanes = 2
activation_words = 1
weight_words = 1
gradient_words = 1
bias_words = 1
partial_sum_strips = 1
max_terms = 2
queue_depth = 2
residual_bits = 1
random_bits = 3
odd_shift = -1
"""


def fusesoc(cores, where, target, name, *options, vendor="nibblegrad:core"):
    """Run a target of a core description, by default of a module's."""
    command = [BIN / "fusesoc", "--cores-root", cores, "run", "--target", target]
    vlnv = f"{vendor}:{name}"
    return run_tool([*command, "--work-root", where / f"{name}-{target}", *options, vlnv], where)


@pytest.mark.parametrize("name", ["quantizer"])
def test_fusesoc_lint(folder, tmp_path, name):
    status, said = fusesoc(folder, tmp_path, "lint", name)
    assert status == 0 and "Warning" not in said, said
    # A fault is told apart.
    cores = shutil.copytree(folder, tmp_path / "cores")
    text = (cores / f"{name}.v").read_text()
    (cores / f"{name}.v").write_text(text.replace("endmodule", "assign nothing = 1;\nendmodule", 1))
    status, said = fusesoc(cores, tmp_path, "lint", name, "--clean")
    assert status != 0 and "nothing" in said, said


@pytest.mark.slow
def test_fusesoc_lints_every_module(folder, tmp_path):
    for name in MODULES:
        status, said = fusesoc(folder, tmp_path, "lint", name)
        assert status == 0 and "Warning" not in said, said


def simulates(folder, where, name):
    """Run the target sim; returns what it said."""
    status, said = fusesoc(folder, where, "sim", name)
    assert status == 0 and f"PASS: {name}\n" in said and "FAIL" not in said, said
    return said


def plant(cores, name, port, fault):
    """Put a module around another one that changes an output of it."""
    whole = (cores / f"{name}.v").read_text()
    around = (cores / f"{name}_template.v").read_text()
    range_ = re.search(rf"output wire (\[\d+:0\] )?{port}\b", around)[1] or ""
    around = around.replace(f"module {name}_template ", f"module {name} ")
    around = around.replace(f"  {name} {name}_instance", f"  {name}_whole {name}_instance")
    around = re.sub(rf"\.{port} +\({port}\)", f".{port}(honest)", around)
    around = around.replace(");\n", f");\n  wire {range_}honest;\n", 1)
    around = around.replace("endmodule", f"  assign {port} = honest {fault};\nendmodule")
    whole = re.sub(rf"^module {name} ", f"module {name}_whole ", whole, flags=re.MULTILINE)
    (cores / f"{name}.v").write_text(whole + around)


def is_caught(folder, where, name, port, fault):
    """Whether the target sim fails with a planted fault; it must pass with one that is none."""
    cores = shutil.copytree(folder, where / f"{name}-{port}")
    plant(cores, name, port, fault)
    status, said = fusesoc(cores, cores, "sim", name)
    assert (f"PASS: {name}\n" in said) == (status == 0), said
    assert status == 0 or "FAIL: " in said, said
    return status != 0


def test_fusesoc_simulates(folder, tmp_path):
    simulates(folder, tmp_path, "quantizer")
    assert is_caught(folder, tmp_path, "quantizer", "m_axis_tdata", "^ 16'h0010")


@pytest.mark.slow
@pytest.mark.parametrize("name", MODULES)
def test_fusesoc_simulates_every_module(folder, tmp_path, name):
    simulates(folder, tmp_path, name)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, port, fault",
    [
        ("quantizer", "m_axis_tuser", "^ 40'h8000000000"),
        ("quantizer", "m_axis_tlast", "^ 1'b1"),
        ("quantizer", "saturation_count", "+ 32'd1"),
        ("quantizer", "nonfinite_seen", "& 1'b0"),
        # A beat that is never offered: the testbench gives up.
        ("quantizer", "m_axis_tvalid", "& 1'b0"),
        ("step_gradient", "total", "^ 64'h8000000000000000"),
        ("training_core", "irq", "| 1'b1"),
    ],
)
def test_testbench_catches(folder, tmp_path, name, port, fault):
    assert is_caught(folder, tmp_path, name, port, fault)


@pytest.mark.slow
def test_no_fault_is_not_caught(folder, tmp_path):
    # The fault is what is caught, not how it is planted.
    assert not is_caught(folder, tmp_path, "quantizer", "m_axis_tuser", "^ 40'h0")


@pytest.mark.slow
@pytest.mark.parametrize("name", re.findall(r"modules\.(\w+)", CORNERS))
def test_testbench_of_corners(tmp_path, name):
    section = re.search(rf"\[modules\.{name}\][^\[]*", CORNERS)[0]
    for file, text in emit.files(config.parse(section)).items():
        (tmp_path / file).write_text(text)
    simulates(tmp_path, tmp_path, name)


def test_every_configuration_has_testbenches():
    texts = packaging.files(config.parse(CORNERS))
    assert len([name for name in texts if name.endswith("_testbench.v")]) == 8
    for name, text in texts.items():
        if name.endswith("_testbench.v"):
            assert "$fatal(1)" in text and re.search(r"(m_axis_beats|check)", text)


@pytest.mark.parametrize("target, file", [("vivado", ".tcl"), ("ecp5", "edalize_yosys_procs.tcl")])
def test_synthesis_targets_are_set_up(folder, tmp_path, target, file):
    status, said = fusesoc(folder, tmp_path, target, "quantizer", "--setup")
    assert status == 0, said
    scripts = [p for p in (tmp_path / f"quantizer-{target}").iterdir() if p.name.endswith(file)]
    assert any("quantizer.v" in path.read_text() for path in scripts)
