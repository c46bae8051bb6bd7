"""What a change of the hardware costs: figures of two folders side by side."""

import json

import pytest

from nibblegrad.gen.flow import compare, tools
from nibblegrad.gen.flow.compare import Figures
from verif.support.running import Running, are_gone

TEXT = "module {name} (input aclk); endmodule\n"


def folder_of(path, latencies):
    """Write what `nibblegrad verilog` would, as far as it matters here."""
    path.mkdir()
    rows = [f"| [`{name}`]({name}.v) | core | {n} | a = 1 |" for name, n in latencies.items()]
    (path / "SUMMARY.md").write_text("\n".join(["# Modules", *rows, ""]))
    for name in latencies:
        (path / f"{name}.v").write_text(TEXT.format(name=name))
    return path


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Make a tool of a shell script that answers when it is asked for its version."""

    def make(name, script):
        path = tmp_path / name
        asked = f'case "$1" in {tools.TOOLS[name].version_option}) echo {name} 1; exit;; esac'
        path.write_text(f"#!/bin/sh\n{asked}\n{script}\n")
        path.chmod(0o755)
        monkeypatch.setenv(tools.TOOLS[name].variable, str(path))

    return make


def test_table():
    before = Figures(1200, 30, 1, 0, 12, (180.4, 190.0, 170.6))
    after = Figures(1200, 28, 1, 0, 13, (200.0, 190.0, 210.0))
    assert compare.table({"a": [before, after], "b": [None, after], "c": [after, after]}) == (
        "| module | LUT4 | FF | DSP | block RAM | latency | MHz (median) | MHz of each seed |\n"
        "|---|---|---|---|---|---|---|---|\n"
        "| `a` | 1,200 | 30 → 28 | 1 | 0 | 12 → 13 | 180 → 200 | 180, 190, 171 → 200, 190, 210 |\n"
        "| `b` | none → 1,200 | none → 28 | none → 1 | none → 0 | none → 13 | none → 200 |"
        " none → 200, 190, 210 |\n"
        "| `c` | 1,200 | 28 | 1 | 0 | 13 | 200 | 200, 190, 210 |\n"
    )


@pytest.fixture
def fake_tools(program):
    """A core is as large as its text is long, and as fast as its seed says."""
    statistics = '{"modules": {"\\\\\\\\%s": {"num_cells_by_type": {"LUT4": %d, "TRELLIS_FF": 5}}}}'
    netlist = json.dumps({"modules": {name: {"ports": {}, "cells": {}} for name in "ab"}})
    program(
        "yosys",
        "name=$(sed 's/module \\([ab]\\) .*/\\1/;q' design.v); size=$(wc -c < design.v)\n"
        f"printf '{statistics}' $name $size > stat.json\n"
        f"echo '{netlist}' > netlist.json; touch netlist.v",
    )

    def place(fmax='{\\"aclk\\": {\\"achieved\\": $((100 + $2))}}'):
        program(
            "nextpnr-ecp5",
            'while [ "$1" != --seed ]; do shift; done\n'
            f'echo "{{\\"fmax\\": {fmax}, \\"utilization\\": {{}}, '
            '\\"critical_paths\\": []}" > report.json',
        )

    place()
    return place


def test_cores_are_measured_side_by_side(fake_tools, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    folders = [folder_of(tmp_path / "x", {"a": 3}), folder_of(tmp_path / "y", {"a": 4, "b": 5})]
    (tmp_path / "y" / "a.v").write_text(TEXT.format(name="a") + "//\n")
    assert compare.main([*map(str, folders), "--seeds", "2"]) == 0
    first = len(TEXT.format(name="a"))
    assert capsys.readouterr().out.splitlines()[2:] == [
        f"| `a` | {first} → {first + 3} | 5 | 0 | 0 | 3 → 4 | 102 | 101, 102 |",
        f"| `b` | none → {first} | none → 5 | none → 0 | none → 0 | none → 5 | none → 102 |"
        " none → 101, 102 |",
    ]
    assert compare.main([*map(str, folders), "--seeds", "1", "--module", "b"]) == 0
    assert capsys.readouterr().out.count("\n") == 3


def test_a_core_without_a_path_has_no_frequency(fake_tools, tmp_path, monkeypatch, capsys):
    fake_tools(fmax="{}")
    monkeypatch.chdir(tmp_path)
    folder_of(tmp_path / "x", {"a": 1})
    assert compare.main(["x"]) == 2
    assert "Module a has no path from a register to a register" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (["nowhere"], "Folder nowhere is not one of `nibblegrad verilog`: "),
        (["x", "empty"], "empty/SUMMARY.md names no modules; make it anew with `nibblegrad veri"),
        (["x", "half"], "Folder half is not one of `nibblegrad verilog`: "),
        (["x", "--module", "z"], "--module z is in none of them; choose from a"),
        (["x", "--target", "xilinx"], "Target xilinx can be synthesised only; it has no placer"),
        (["x", "--target", "z"], "z"),
        (["x"], "yosys"),
    ],
)
def test_what_cannot_be_is_refused(arguments, sentence, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("yosys", "nextpnr-ecp5"):
        monkeypatch.setenv(tools.TOOLS[name].variable, str(tmp_path / f"no {name}"))
    folder_of(tmp_path / "x", {"a": 1})
    folder_of(tmp_path / "empty", {})
    (folder_of(tmp_path / "half", {"a": 1}) / "a.v").unlink()
    assert compare.main(arguments) == 2
    said = capsys.readouterr()
    assert sentence in said.err and said.err.count("\n") == 1 and not said.out


@pytest.mark.parametrize("everyone", [True, False], ids=["terminal", "kill"])
def test_an_interrupt_keeps_what_has_finished(everyone, program, tmp_path):
    working = tmp_path / "working"
    program("yosys", f"echo $$ >> {working}; exec sleep 3600")
    program("nextpnr-ecp5", "exit 7")
    folder_of(tmp_path / "x", {"a": 1})
    running = Running(["-m", "nibblegrad.gen.flow.compare", "x"], tmp_path)
    running.wait_until(working.exists)
    status, output, error = running.interrupt(everyone=everyone)
    assert status == 130 and not output
    assert "interrupted after 0 of 1 cores; there is no table. What has finished is kept" in error
    assert are_gone(working.read_text().split())
