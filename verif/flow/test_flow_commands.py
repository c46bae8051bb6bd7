"""The commands that run tools for long: what they look at first, and what an interrupt leaves.

The tools are shell scripts here, so that nothing needs the wheels of the FPGA flow.
"""

import argparse
import dataclasses
import importlib
import json
import os
import re

import pytest

from nibblegrad.gen.command_line import COMMANDS, main
from nibblegrad.gen.flow import calibrate, compare, fpga, sizing, tools
from nibblegrad.gen.flow.families import FAMILIES, TARGETS
from nibblegrad.gen.flow.fit import to_toml
from nibblegrad.gen.flow.fpga_report import report_names
from verif.support.marks import slow
from verif.support.running import Running, are_gone

#: What tells apart whether a netlist has the block RAMs that it should.
CELLS = {"DP16KD": 200, "TRELLIS_FF": 7}

NUMBERS = {
    "fit": {"--margin": float, "--batch": int},
    "fpga": {
        "--margin": float,
        "--batch": int,
        "--frequency": float,
        "--seed": int,
        "--seeds": int,
    },
    "cost": {"--seeds": int, "--jobs": int, "--period": int},
    "calibrate": {"--cores": int, "--jobs": int},
    "compare": {"--seeds": int},
}

#: Commands that have no name.
PROGRAMS = {"calibrate": calibrate.main, "compare": compare.main}


def command_line(command, arguments):
    """Run a command, also one that has no name."""
    if command == "compare":
        arguments = [*arguments, "."]
    return PROGRAMS[command](arguments) if command in PROGRAMS else main([command, *arguments])


@pytest.fixture
def small(tmp_path):
    """The configuration of the smallest core."""
    path = tmp_path / "small.toml"
    core = sizing.smallest_memories(2, 2, 2, TARGETS["ecp5-25k"])
    path.write_text(to_toml(dataclasses.replace(core, structure="auto")))
    return str(path)


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Make a tool of a shell script that answers when it is asked for its version."""

    def make(name, script=""):
        path = tmp_path / "tools" / name
        path.parent.mkdir(exist_ok=True)
        asked = f'case "$1" in {tools.TOOLS[name].version_option}) echo {name} 1; exit;; esac'
        path.write_text(f"#!/bin/sh\n{asked}\n{script}\n")
        path.chmod(0o755)
        monkeypatch.setenv(tools.TOOLS[name].variable, str(path))

    return make


def counting(log):
    """Write the script of a Yosys that notes each call, and makes a netlist of little sense."""
    modules = {top: {"num_cells_by_type": CELLS} for top in (r"\\training_core", r"\\hosted_core")}
    statistics = json.dumps({"modules": modules}).replace("\\\\\\\\", "\\\\")
    netlist = json.dumps({"modules": dict.fromkeys(("training_core", "hosted_core"), EMPTY)})
    return (
        f"echo yosys >> {log}\ncat > stat.json <<'end'\n{statistics}\nend\n"
        f"cat > netlist.json <<'end'\n{netlist}\nend\ntouch netlist.v"
    )


EMPTY: dict = {"ports": {}, "cells": {}}


@pytest.mark.parametrize(
    "command, option", [(command, option) for command in NUMBERS for option in NUMBERS[command]]
)
def test_bad_numbers(command, option, capsys, monkeypatch):
    """No number that cannot be meant begins any work."""
    monkeypatch.setattr(tools, "find", lambda name: pytest.fail("work began"))
    kind = NUMBERS[command][option]
    bad = {
        float: ["nan", "-nan", "inf", "-inf", "-1", "1e300"],
        int: ["-1", str(10**30), str(-(10**30))],
    }[kind]
    # A margin and a seed may be 0.
    for text in [*bad, *([] if option in ("--margin", "--seed") else ["0"])]:
        assert command_line(command, [f"{option}={text}"]) == 2, text
        said = capsys.readouterr()
        name = "Margin" if option == "--margin" else option
        assert re.search(rf"error: {name} must be .*, not \S+\n$", said.err), said.err
        assert said.err.count("\n") == 1 and not said.out
    for text in ("x", "", "1,5"):
        with pytest.raises(SystemExit) as ended:
            command_line(command, [f"{option}={text}"])
        assert ended.value.code == 2
        assert f"invalid {kind.__name__} value" in capsys.readouterr().err


def test_every_number_is_in_the_list_above():
    for command, options in NUMBERS.items():
        parser = argparse.ArgumentParser()
        module = f"nibblegrad.gen.flow.{command}" if command in PROGRAMS else COMMANDS[command][0]
        importlib.import_module(module).add_arguments(parser)
        found = {a.option_strings[0]: a.type for a in parser._actions if a.type in (int, float)}
        assert found == options


@pytest.mark.parametrize("target", ["ecp5-25k", "nexus-17"])
@pytest.mark.parametrize("missing", [0, 1, 2])
def test_fpga_names_a_missing_tool_first(
    target, missing, small, program, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(fpga, "synthesize", lambda *a, **b: pytest.fail("synthesis began"))
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    family = TARGETS[target].family
    needed = ["yosys", family.place, family.pack]
    for name in needed:
        program(name)
    name = needed.pop(missing)
    monkeypatch.delenv(tools.TOOLS[name].variable)
    monkeypatch.setenv("PATH", str(tmp_path))
    output = tmp_path / "output"
    arguments = ["fpga", "--target", target, "--config", small, "--output", str(output)]
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"nibblegrad fpga: error: {name} is missing; run `make fpga-tools`, or")
    assert error.count("\n") == 1 and not list(output.rglob("*.*"))


@pytest.mark.parametrize(
    "command, arguments, name",
    [
        ("cost", ["--families", "xilinx"], "yosys"),
        ("cost", ["--families", "ecp5,gowin"], "nextpnr-himbaechel-gowin"),
        ("cost", ["--families", "ecp5,nexus"], "nextpnr-nexus"),
        ("calibrate", ["--family", "ice40"], "yosys"),
    ],
)
def test_a_missing_tool_is_named_before_anything_is_measured(
    command, arguments, name, program, tmp_path, monkeypatch, capsys
):
    begun = (
        "nibblegrad.gen.flow.calibrate.processes"
        if command == "calibrate"
        else "nibblegrad.gen.cost.command.measure"
    )
    monkeypatch.setattr(begun, lambda *a, **b: pytest.fail("work began"))
    for other in tools.TOOLS:
        program(other)
    variable = tools.TOOLS[name].variable
    monkeypatch.setenv(variable, str(tmp_path / "nowhere"))
    monkeypatch.chdir(tmp_path)
    assert command_line(command, arguments) == 2
    error = capsys.readouterr().err
    assert f"error: {variable}={tmp_path / 'nowhere'} is not a program; name one, or" in error
    assert not [path for path in tmp_path.rglob("build/**/*") if path.is_file()]
    # So is one that is there and cannot be run.
    broken = tmp_path / "broken"
    broken.write_bytes(b"\x7fELF, but no more")
    broken.chmod(0o755)
    monkeypatch.setenv(variable, str(broken))
    assert command_line(command, arguments) == 2
    assert f"error: {broken} cannot be run: " in capsys.readouterr().err


@pytest.mark.parametrize("command", ["fpga", "cost"])
def test_results_need_a_folder(command, small, program, tmp_path, monkeypatch, capsys):
    for name in tools.TOOLS:
        program(name, "exit 7")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "build").write_text("a file of the user")
    arguments = ["--output", str(tmp_path / "output")]
    arguments += ["--config", small] if command == "fpga" else ["--families", "xilinx"]
    assert main([command, *arguments]) == 2
    assert "error: Results are kept in build/flow, which is not possible: Output build/flow " in (
        capsys.readouterr().err
    )
    assert (tmp_path / "build").read_text() == "a file of the user"


@pytest.mark.parametrize("command", ["fit", "fpga", slow("cost")])
def test_files_of_the_user_stay(command, small, program, tmp_path, monkeypatch, capsys):
    for name in tools.TOOLS:
        program(name, "exit 7")
    monkeypatch.chdir(tmp_path)
    place = {"fit": "x.toml", "fpga": "out/ecp5-25k/REPORT.md", "cost": "out/price_list.md"}
    mine = tmp_path / place[command]
    mine.parent.mkdir(parents=True, exist_ok=True)
    mine.write_text("mine")
    arguments = {
        "fit": ["--output", str(mine)],
        "fpga": ["--output", "out", "--config", small],
        "cost": ["--output", "out", "--families", "xilinx"],
    }[command]
    # It is said before any tool is run, and those here fail.
    assert main([command, *arguments]) == 2
    said = capsys.readouterr()
    assert mine.name in said.err and "--force" in said.err and not (tmp_path / "build").exists()
    assert mine.read_text() == "mine"
    assert main([command, *arguments, "--force"]) == (0 if command == "fit" else 1)
    assert (mine.read_text() == "mine") == (command != "fit")


@pytest.mark.parametrize(
    "command, name",
    [
        *(("fpga", f"ecp5-25k/{name}") for name in report_names(alone=False)),
        *(("cost", f"price_list.{suffix}") for suffix in ("md", "csv", "svg", "png")),
    ],
)
def test_each_file_of_the_user_is_seen_first(command, name, small, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    mine = tmp_path / "out" / name
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    arguments = ["--config", small] if command == "fpga" else ["--families", "ecp5"]
    assert main([command, "--output", "out", *arguments]) == 2
    assert f"out/{name} was not made here" in capsys.readouterr().err
    assert not (tmp_path / "build").exists()


def lines_of(path):
    return path.read_text().split() if path.exists() else []


@pytest.mark.parametrize("everyone", [True, False], ids=["terminal", "kill"])
def test_fpga_goes_on_after_an_interrupt(everyone, small, program, tmp_path):
    calls, placing = tmp_path / "calls", tmp_path / "placing"
    program("yosys", counting(calls))
    program("nextpnr-ecp5", f"echo $$ >> {placing}; exec sleep 3600")
    program("ecppack")
    arguments = ["-m", "nibblegrad", "fpga", "--config", small, "--output", "out", "--seeds", "2"]
    for _ in range(2):
        placing.unlink(missing_ok=True)
        running = Running(arguments, tmp_path)
        running.wait_until(lambda: len(lines_of(placing)) >= min(2, os.cpu_count()))
        status, _, error = running.interrupt(everyone=everyone)
        assert status == 130
        assert error == (
            "nibblegrad fpga: interrupted in the place and route of the core, after 1 of 6 steps; "
            "there is no new report. What has finished is kept in build/flow, and the same command "
            "goes on from there\n"
        )
        assert are_gone(lines_of(placing))
        # The second time, the core is not synthesised again.
        assert calls.read_text().split() == ["yosys"]
        assert list((tmp_path / "out" / "ecp5-25k").iterdir()) == []


@pytest.mark.parametrize("everyone", [True, False], ids=["terminal", "kill"])
@pytest.mark.parametrize(
    "arguments",
    [
        ["-m", "nibblegrad", "cost", "--families", "xilinx", "--jobs", "2"],
        ["-m", "nibblegrad.gen.flow.calibrate", "--family", "ice40", "--jobs", "2"],
    ],
    ids=["cost", "calibrate"],
)
def test_an_interrupt_ends_all_processes(arguments, everyone, program, tmp_path):
    measuring = tmp_path / "measuring"
    program("yosys", f"echo $$ >> {measuring}; exec sleep 3600")
    models = [family.model for family in FAMILIES.values()]
    before = [model.read_bytes() for model in models]
    running = Running(arguments, tmp_path)
    running.wait_until(lambda: len(lines_of(measuring)) >= 2)
    status, _, error = running.interrupt(everyone=everyone)
    assert status == 130
    assert error.count("\n") == 1 and "interrupted; " in error, error
    assert "is kept in build/flow, and the same command goes on from there" in error
    assert are_gone(lines_of(measuring))
    assert [model.read_bytes() for model in models] == before
    assert not list((tmp_path / "build").rglob("result.json"))


@pytest.mark.parametrize("command", ["fpga", slow("cost"), slow("calibrate")])
def test_a_tool_that_fails_is_a_sentence(command, small, program, tmp_path, monkeypatch, capsys):
    for name in tools.TOOLS:
        program(name, "echo 'ERROR: no'; exit 3")
    monkeypatch.chdir(tmp_path)
    arguments = {
        "fpga": ["--config", small],
        "cost": ["--families", "gowin", "--jobs", "1"],
        "calibrate": ["--family", "ice40", "--cores", "1", "--jobs", "1"],
    }[command]
    assert command_line(command, arguments) == 1
    error = capsys.readouterr().err
    assert re.search(r"error: yosys failed with status 3; .* ends with\n    ERROR: no\n$", error)
    assert "Traceback" not in error
