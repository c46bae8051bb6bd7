"""The Makefile: what its options become, whatever is in them, and what leaks into it."""

import os
import shutil
import subprocess
import time

import pytest

from verif.paths import ROOT

#: Options by target, and what each becomes on the command line of the program.
OPTIONS = {
    ("verilog", "CONFIG"): "--config",
    ("verilog", "OUTPUT"): "--output",
    ("train", "DATA"): "--data",
    ("train", "OUTPUT"): "--output",
    ("cost", "LIBERTY"): "--liberty",
    ("cost", "OUTPUT"): "--output",
    ("fpga", "TARGET"): "--target",
    ("fpga", "CONFIG"): "--config",
    ("fpga", "OUTPUT"): "--output",
    ("robust", "OUTPUT"): "--output",
    ("test", "CONFIG"): "--config",
    ("test", "VERILOG"): "--verilog",
}

VALUES = (
    "plain.toml",
    "with space.toml",
    "two  spaces",
    "it's.toml",
    'a"b',
    "a;b&c|d",
    "a\\b",
    "*",
)


@pytest.fixture
def copy(tmp_path):
    """Makes copies of the Makefile, with an environment whose Python tells what it is given."""

    def make(name="code"):
        where = tmp_path / name
        (where / ".venv/bin").mkdir(parents=True)
        (where / "verif").mkdir()
        shutil.copy(ROOT / "Makefile", where)
        for prerequisite in ("pyproject.toml", "verif/verilator.sh"):
            shutil.copy(ROOT / prerequisite, where / prerequisite)
        python = where / ".venv/bin/python"
        python.write_text('#!/bin/sh\nenv; for word; do printf "word: %s\\n" "$word"; done\n')
        python.chmod(0o755)
        for made in (".installed", ".installed-train", ".installed-test", ".installed-fpga"):
            (where / ".venv" / made).touch()
        (where / ".venv/bin/verilator").touch()
        return where

    return make


def run_make(where, *arguments, **environment):
    """Run make, and return what the Python of the copy said: its variables, and its words."""
    # Without what an outer make passes on: its state, and the options it was given.
    options = {"ARGS", "SEED", "JOBS", *(name for _, name in OPTIONS)}
    inherited = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith("MAKE") and key not in options
    }
    result = subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=where,
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return result.stdout.splitlines()


def words(said):
    return [line.removeprefix("word: ") for line in said if line.startswith("word: ")]


@pytest.mark.parametrize("target, name", OPTIONS)
def test_an_option_arrives_as_it_was_given(copy, target, name):
    where = copy()
    also = ["VERILOG=x.v"] if (target, name) == ("test", "CONFIG") else []
    for value in VALUES:
        for given, environment in (((f"{name}={value}",), {}), ((), {name: value})):
            given_words = words(run_make(where, target, *given, *also, **environment))
            option = OPTIONS[target, name]
            assert f"{option}={value}" in given_words, given_words


def test_an_option_that_is_not_given_is_left_to_the_program(copy):
    where = copy()
    for target in ("verilog", "train", "cost", "robust"):
        assert words(run_make(where, target)) == ["-m", "nibblegrad", target]


def test_a_checkout_with_a_space_in_its_path_says_so(copy):
    result = subprocess.run(
        ["make", "verilog"], cwd=copy("my code"), capture_output=True, text=True
    )
    assert result.returncode == 2
    assert "my code, has a space in its path; move it to a path without" in result.stderr
    assert "word:" not in result.stdout


#: What shells of other projects may have set.
FOREIGN = {
    "PYTHONPATH": "/nowhere",
    "PYTHONHOME": "/nowhere",
    "PYTEST_ADDOPTS": "--none",
    "YOSYS": "/nowhere/yosys",
    "VERILATOR_ROOT": "/nowhere",
}


def test_what_an_outer_shell_sets_does_not_leak(copy):
    where = copy()
    for target in ("verilog", "train", "bench", "robust", "test", "cost", "fpga"):
        said = run_make(where, target, **FOREIGN)
        assert words(said)[:2] in (["-m", "nibblegrad"], ["-m", "pytest"])
        for name in FOREIGN:
            assert not [line for line in said if line.startswith(f"{name}=")], (target, name)
    # Named for this one run, a tool is used.
    assert "YOSYS=/my yosys" in run_make(where, "cost", "YOSYS=/my yosys", **FOREIGN)


def test_every_target_is_listed():
    said = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True).stdout
    for target in {target for target, _ in OPTIONS} | {"bench", "lint", "setup", "clean"}:
        assert f"make {target} " in said


def test_all_tests_take_a_seed_of_the_day_unless_one_is_given(copy, monkeypatch):
    monkeypatch.delenv("SEED", raising=False)
    where, today = copy(), time.strftime("%Y%m%d")
    assert "--seed=1" in words(run_make(where, "test"))
    # The day may end between the two.
    fresh = words(run_make(where, "test-all"))
    assert f"--seed={today}" in fresh or f"--seed={time.strftime('%Y%m%d')}" in fresh
    for target in ("test", "test-all"):
        assert "--seed=7" in words(run_make(where, target, "SEED=7"))
        assert "--seed=7" in words(run_make(where, target, SEED="7"))
