"""The door: whatever goes wrong leaves as one sentence, with an exit status that tells it."""

import argparse
import importlib
import importlib.metadata
import os
import subprocess
import sys

import pytest

from nibblegrad.gen import command_line, door, emit
from nibblegrad.gen.command_line import COMMANDS, main
from nibblegrad.golden.errors import InputError
from verif.paths import ROOT
from verif.support.running import Running

PYTHON = [sys.executable, "-m", "nibblegrad"]


def raising(error):
    def run(*_):
        raise error

    return run


@pytest.mark.parametrize(
    "error, status, said",
    [
        (InputError("Lanes must be 4, not 5"), 2, "error: Lanes must be 4, not 5"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (KeyboardInterrupt("; a.v is kept"), 130, "interrupted; a.v is kept"),
        (door.FailedError("yosys failed"), 1, "error: yosys failed"),
        (MemoryError("3 TiB"), 2, "error: There is not enough memory; ask for less (3 TiB)"),
        (OSError(28, "No space left on device", "a.v"), 2, "error: a.v: No space left on device"),
        (ModuleNotFoundError("no", name="nowhere.x"), 2, "error: the package nowhere is missing; "),
        (ValueError("two\nlines"), 3, "ValueError: two lines; this was not expected, so please re"),
        (KeyError("x"), 3, "KeyError: 'x'; this was not expected, so please report the command, "),
        (AssertionError(), 3, "AssertionError; this was not expected, so please report the comman"),
        (RecursionError("deep"), 3, "RecursionError: deep; this was not expected, so please repor"),
        (ModuleNotFoundError("no", name="gen.x"), 3, "ModuleNotFoundError: no; this was not expec"),
    ],
)
@pytest.mark.parametrize("debug", [(), ("--debug",)])
def test_every_way_out(monkeypatch, capsys, error, status, said, debug):
    monkeypatch.setattr(emit, "run", raising(error))
    for arguments in ((*debug, "verilog"), ("verilog", *debug)):
        assert main(list(arguments)) == status
        heard = capsys.readouterr()
        last = heard.err.splitlines()[-1]
        assert last.startswith(f"nibblegrad verilog: {said}"), heard.err
        # The trace is shown to who asks for it, and to nobody else.
        is_trace = "Traceback" in heard.err
        is_expected = isinstance(error, InputError | KeyboardInterrupt | door.FailedError)
        assert is_trace == bool(debug and not is_expected)
        assert is_trace or heard.err.count("\n") == 1
        assert not heard.out


def test_a_package_that_another_extra_brings(monkeypatch, capsys):
    found = door.importlib.util.find_spec
    missing = ("sklearn", "matplotlib")
    monkeypatch.setattr(
        door.importlib.util, "find_spec", lambda name: None if name in missing else found(name)
    )
    monkeypatch.setattr(emit, "run", raising(ModuleNotFoundError("no", name="sklearn.datasets")))
    assert main(["verilog"]) == 2
    assert capsys.readouterr().err == (
        "nibblegrad verilog: error: the package sklearn is missing; run "
        "`pip install 'nibblegrad[train]'`\n"
    )
    with pytest.raises(InputError, match=r"package matplotlib is missing; .*'nibblegrad\[train\]'"):
        door.require("sys", "matplotlib")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_whose_module_is_broken(monkeypatch, capsys, command):
    monkeypatch.setattr(command_line.importlib, "import_module", raising(SyntaxError("x")))
    assert main([command]) == 3
    assert capsys.readouterr().err.startswith(f"nibblegrad {command}: SyntaxError: x; this was no")


@pytest.fixture
def configuration(tmp_path):
    path = tmp_path / "x.toml"
    path.write_text('[modules.x]\ncore = "step_gradient"\n')
    return path


def run_verilog(configuration, output, **streams):
    arguments = ["verilog", "--config", configuration, "--output", output]
    return subprocess.run([*PYTHON, *arguments], cwd=ROOT, check=False, **streams)


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("stream", ["stdout", "stderr", "both"])
def test_a_reader_who_leaves(tmp_path, configuration, stream, unbuffered):
    """As of ``| head``: nobody is blamed, the set is complete, and the work counts as done."""
    reading, writing = os.pipe()
    os.close(reading)
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    streams |= dict.fromkeys(streams if stream == "both" else [stream], writing)
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    result = run_verilog(configuration, tmp_path / "out", env=environment, **streams)
    os.close(writing)
    assert result.returncode == 0 and not result.stderr
    assert run_verilog(configuration, tmp_path / "whole", stdout=subprocess.PIPE).returncode == 0
    for folder in ("out", "whole"):
        assert (tmp_path / folder / "x.v").exists()
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == {
        path.name: path.read_bytes() for path in (tmp_path / "whole").iterdir()
    }


# Linux has this device; where there is none, no stream can be made full without a full disk.
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_an_output_that_is_full(tmp_path, configuration):
    with open("/dev/full", "w") as full:
        result = run_verilog(
            configuration, tmp_path / "out", stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert result.returncode == 2
    said = "nibblegrad verilog: error: Cannot write to standard output: No space left on device\n"
    assert result.stderr == said
    assert (tmp_path / "out" / "x.v").exists()


def test_a_stream_that_is_closed(tmp_path, configuration):
    command = 'exec "$@" >&- 2>&-'
    arguments = [*PYTHON, "verilog", "--config", configuration, "--output", tmp_path / "out"]
    result = subprocess.run(["sh", "-c", command, "sh", *arguments], cwd=ROOT, check=False)
    assert result.returncode == 0 and (tmp_path / "out" / "x.v").exists()


def test_letters_that_a_terminal_lacks(tmp_path, configuration):
    output = tmp_path / "größe"
    result = run_verilog(
        configuration,
        output,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
    )
    assert result.returncode == 0 and b"gr\\xf6\\xdfe" in result.stdout, result.stderr


def test_control_c(tmp_path, configuration):
    """Sent while it works: one sentence, the status of an interrupt, and nothing is left."""
    arguments = ["verilog", "--config", configuration, "--output", tmp_path / "out"]
    program = (
        "import sys, time; from nibblegrad.gen import command_line, emit;\n"
        "def files(modules): print('working', flush=True); time.sleep(3600)\n"
        "emit.files = files; sys.exit(command_line.main(sys.argv[1:]))"
    )
    running = Running(["-c", program, *arguments])
    assert running.process.stdout.readline() == "working\n"
    status, _, said = running.interrupt(everyone=False)
    assert status == 130 and said == "nibblegrad verilog: interrupted\n"
    assert not (tmp_path / "out").exists()


def numbers():
    """Every option of a command that is a number, with numbers that it cannot be."""
    for command, (module, _) in COMMANDS.items():
        parser = argparse.ArgumentParser()
        importlib.import_module(module).add_arguments(parser)
        where = ["--output=/dev/null/x"] if "--output" in parser.format_help() else []
        for action in parser._actions:
            option = action.option_strings[-1]
            if action.type is float:
                values = ("nan", "inf", "-inf", "-1", "1e400", "x")
            elif action.type is int:
                values = ("-1", f"{10**30}", "1.5", "nan", "x", "")
            else:
                continue
            yield from ((command, option, value, where) for value in values)


def test_numbers_that_cannot_be_meant(capsys):
    """Each is refused, in words about it, before anything is done: not even a folder is made."""
    count = 0
    for command, option, value, where in numbers():
        try:
            status = main([command, f"{option}={value}", *where])
        except SystemExit as error:
            status = error.code
        said = capsys.readouterr().err.splitlines()[-1]
        assert status == 2 and "/dev/null" not in said, (command, option, value, said)
        assert said.startswith(f"nibblegrad {command}: error: "), said
        count += 1
    assert count > 60


def test_version(capsys):
    with pytest.raises(SystemExit) as error:
        main(["--version"])
    assert error.value.code == 0
    assert capsys.readouterr().out == f"nibblegrad {importlib.metadata.version('nibblegrad')}\n"


def test_bad_command(capsys):
    with pytest.raises(SystemExit) as error:
        main(["verilgo"])
    assert error.value.code == 2
    assert "invalid choice: 'verilgo'" in capsys.readouterr().err
