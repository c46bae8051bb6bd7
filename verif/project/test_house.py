"""The rules of the house, as far as a program can check them."""

import ast
import importlib
import inspect
import tomllib

import pytest
from amaranth.lib import wiring

from nibblegrad.gen.config import CORES
from verif.paths import ROOT

# What each package may import of what lies in this repository and of what simulates it. The golden
# model depends on nothing that it is used to judge.
MAY_IMPORT = {
    "golden": {"golden"},
    "hdl": {"golden", "hdl", "amaranth"},
    "gen": {"golden", "hdl", "gen", "amaranth"},
}
GUARDED = {"golden", "hdl", "gen", "verif", "amaranth", "cocotb", "cocotb_tools"}

# Folders whose subfolders are looked at by themselves.
FLAT = {"verif"}

#: Modules of `hdl` with a golden model, a bench and a test of the same name: those of the cores
#: that are registered, and of designs that are proven like cores.
TWINS = [
    *sorted({core.component.__module__.rpartition(".")[2] for core in CORES.values()}),
    *("host_bridge", "e2m1_dot_product", "float_dot_product", "integer_dot_product"),
]


def modules(package):
    paths = (ROOT / package).glob("*.py") if package in FLAT else (ROOT / package).rglob("*.py")
    return sorted(path for path in paths if path.stem != "__main__")


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            here = path.relative_to(ROOT).parts[0]
            yield here if node.level else node.module.partition(".")[0]


def _module_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def import_module(path):
    return importlib.import_module(_module_of(path))


def public_classes_and_functions(package):
    for path in modules(package):
        module = import_module(path)
        for name in getattr(module, "__all__", ()):
            value = getattr(module, name)
            if inspect.isclass(value) or inspect.isfunction(value):
                yield f"{module.__name__}.{name}", value


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_layers_point_one_way(package):
    for path in modules(package):
        strays = set(imported(path)) & GUARDED - MAY_IMPORT[package]
        assert not strays, f"{path.relative_to(ROOT)} may not import {', '.join(sorted(strays))}"


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_public_names_exist_and_are_documented(package):
    for path in modules(package):
        module = import_module(path)
        assert module.__doc__, f"{module.__name__} has no docstring"
    for name, value in public_classes_and_functions(package):
        assert value.__doc__, f"{name} has no docstring"


def test_every_package_is_installed():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    found = [path for package in MAY_IMPORT for path in (ROOT / package).rglob("__init__.py")]
    assert sorted(project["tool"]["setuptools"]["packages"]) == sorted(map(_module_of, found))


def test_components_state_their_interface():
    components = [
        (name, value)
        for name, value in public_classes_and_functions("hdl")
        if inspect.isclass(value) and issubclass(value, wiring.Component)
    ]
    assert len(components) > 10
    for name, value in components:
        for heading in ("Parameters\n", "Members\n", "latency"):
            assert heading in value.__doc__, f"{name}: docstring lacks {heading.strip()}"


@pytest.mark.parametrize("core", TWINS)
def test_every_core_has_a_model_a_bench_and_a_test(core):
    for twin in ("golden/{}.py", "hdl/{}.py", "verif/bench/{}.py", "verif/test_{}.py"):
        assert (ROOT / twin.format(core)).exists(), twin.format(core)


def test_modules_stay_small():
    for package in (*MAY_IMPORT, "verif", "verif/bench", "verif/authority"):
        for path in modules(package):
            lines = len(path.read_text().splitlines())
            assert lines <= 400, f"{path.relative_to(ROOT)} has {lines} lines; make it two"


def _public(tree):
    """Read ``__all__``; None where there is none."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(
            isinstance(target, ast.Name) and target.id == "__all__" for target in node.targets
        ):
            return set(ast.literal_eval(node.value))
    return None


def test_what_is_imported_is_public():
    """A name that another module takes is in ``__all__``, whatever it begins with."""
    paths = [
        path for part in ("golden", "hdl", "gen", "verif") for path in (ROOT / part).rglob("*.py")
    ]
    trees = {_module_of(path): ast.parse(path.read_text()) for path in paths}
    public = {name: _public(tree) for name, tree in trees.items()}
    packages = {_module_of(path) for path in paths if path.stem == "__init__"}
    wrong = []
    for name, tree in trees.items():
        for node in ast.walk(tree):
            if not isinstance(node, ast.ImportFrom):
                continue
            here = name.split(".") if name in packages else name.split(".")[:-1]
            base = here[: len(here) + 1 - node.level] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            if public.get(module) is None:
                continue
            wrong += [
                f"{name} takes {alias.name} from {module}"
                for alias in node.names
                if alias.name not in public[module] | {"*"}
                and f"{module}.{alias.name}" not in trees
            ]
    assert not wrong
