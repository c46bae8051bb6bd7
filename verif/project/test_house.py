"""The rules of the house, as far as a program can check them."""

import ast
import importlib
import inspect
import re

import pytest
from amaranth.lib import wiring

from nibblegrad.gen.config import CORES
from verif.paths import ROOT

# What each room may import of what lies in this repository, beside itself and the exceptions in
# `golden/errors.py`: it stands on what is told here, and on nothing else. The golden model depends
# on nothing that it is used to judge.
NUMBERS = {"golden/numbers"}
MODEL = NUMBERS | {"golden/cores"}
METHODS = {"golden/training", "golden/training/methods"}
TRAINING = MODEL | METHODS | {"golden/engine"}
GOLDEN = TRAINING | {"golden/units", "golden/host", "golden/driver"}
ARRAY = {"hdl/base", "hdl/array", "hdl/array/structures"}
PARTS = ARRAY | {"hdl/encoders"}
HARDWARE = PARTS | {"hdl/units", "hdl/cores", "hdl/engine", "hdl/host"}
EMISSION = {"gen", "gen/cores", "gen/emission", "gen/packaging"}
FLOW = {"gen/flow", "gen/flow/families", "gen/flow/families/ecp5"}
COMMANDS = FLOW | {f"gen/{name}" for name in "cost cycles robust training".split()}
ROOMS = {
    "golden": set(),
    "golden/numbers": set(),
    "golden/cores": NUMBERS,
    "golden/units": MODEL,
    "golden/engine": MODEL,
    "golden/host": set(),
    # A method stands on training, which finds the methods.
    "golden/training": TRAINING,
    "golden/training/methods": TRAINING,
    "golden/driver": TRAINING,
    "hdl": set(),
    "hdl/base": GOLDEN,
    "hdl/encoders": GOLDEN | {"hdl/base"},
    "hdl/array": GOLDEN | {"hdl/base"},
    "hdl/array/structures": GOLDEN | {"hdl/base", "hdl/array"},
    "hdl/units": GOLDEN | ARRAY,
    "hdl/cores": GOLDEN | PARTS,
    "hdl/engine": GOLDEN | PARTS | {"hdl/cores"},
    "hdl/host": GOLDEN | PARTS | {"hdl/cores", "hdl/engine"},
    "gen": GOLDEN | HARDWARE | EMISSION | COMMANDS,
    "gen/cores": GOLDEN | HARDWARE | EMISSION - {"gen/packaging"},
    "gen/emission": GOLDEN | HARDWARE | EMISSION - {"gen/packaging"},
    "gen/packaging": GOLDEN | HARDWARE | EMISSION,
    # A family stands on the flow, which finds the families.
    "gen/flow": GOLDEN | HARDWARE | EMISSION | FLOW,
    "gen/flow/families": GOLDEN | HARDWARE | EMISSION | FLOW,
    "gen/flow/families/ecp5": GOLDEN | HARDWARE | EMISSION | FLOW,
    "gen/cost": GOLDEN | HARDWARE | EMISSION | FLOW,
    "gen/cycles": GOLDEN | HARDWARE | EMISSION | FLOW,
    "gen/training": GOLDEN | EMISSION,
    "gen/robust": GOLDEN | EMISSION | FLOW,
}
PACKAGES = ("golden", "hdl", "gen")

# Who may simulate, and who may describe hardware.
OTHERS = {"golden": set(), "hdl": {"amaranth"}, "gen": {"amaranth"}}
GUARDED = {"amaranth", "cocotb", "cocotb_tools", "verif"}

#: Modules of `hdl` with a golden model, a bench and a test of the same name: those of the cores
#: that are registered, and of designs that are proven like cores.
TWINS = [
    *sorted({core.component.__module__.rpartition(".")[2] for core in CORES.values()}),
    *("host_bridge", "e2m1_dot_product", "float_dot_product", "integer_dot_product"),
]


#: Folders as a user might have them: no rooms of this repository, nor packages.
OF_USERS = [ROOT / "verif" / "cores" / "toy_core"]


def modules(package):
    paths = (ROOT / package).rglob("*.py")
    return sorted(path for path in paths if path.parent not in OF_USERS)


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = parts[:-1] if parts[-1] == "__init__" else parts
    return ".".join(parts if parts[0] == "verif" else ("nibblegrad", *parts))


def imported(path):
    """Name the modules that a file imports, whole."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path.relative_to(ROOT)}: say {node.module} by its whole name"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room_of(name):
    """Find the folder of a module, or of a name in it; None if it is of somebody else."""
    place = ROOT.joinpath(*name.removeprefix("nibblegrad.").split("."))
    while not (place.with_suffix(".py").exists() or (place / "__init__.py").exists()):
        place = place.parent
    return (place if place.is_dir() else place.parent).relative_to(ROOT).as_posix()


def import_module(path):
    return importlib.import_module(module_name(path))


def public_classes_and_functions(package):
    for path in modules(package):
        module = import_module(path)
        for name in getattr(module, "__all__", ()):
            value = getattr(module, name)
            if inspect.isclass(value) or inspect.isfunction(value):
                yield f"{module.__name__}.{name}", value


def test_every_folder_is_a_room_and_says_what_belongs_there():
    folders = {
        path.parent.relative_to(ROOT).as_posix()
        for package in (*PACKAGES, "verif")
        for path in modules(package)
    }
    assert {folder for folder in folders if not folder.startswith("verif")} == set(ROOMS)
    for folder in folders - {"verif/vectors"}:
        assert import_module(ROOT / folder / "__init__.py").__doc__, folder


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_point_one_way(room):
    """No room imports one that stands on it, by whatever name, nor what only tests may use."""
    for path in sorted((ROOT / room).glob("*.py")):
        where = path.relative_to(ROOT)
        for name in imported(path):
            top = name.partition(".")[0]
            assert top not in GUARDED - OTHERS[room.partition("/")[0]], f"{where}: {name}"
            if top == "nibblegrad":
                stands_on = ROOMS[room] | {room}
                assert room_of(name) in stands_on or name.startswith("nibblegrad.golden.errors."), (
                    f"{where} may not import {name}"
                )


def test_there_is_one_name():
    """Folders of this repository are not packages of their own; see ``nibblegrad/``."""
    texts = [*modules("verif"), *(path for package in PACKAGES for path in modules(package))]
    for path in [*texts, *(ROOT / "docs").rglob("*.py")]:
        bare = {name for name in imported(path) if name.partition(".")[0] in PACKAGES}
        assert not bare, f"{path.relative_to(ROOT)}: begin {', '.join(bare)} with nibblegrad."
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        found = re.search(rf"^ *(from|import) ({'|'.join(PACKAGES)})\b", page.read_text(), re.M)
        assert not found, f"{page.relative_to(ROOT)}: {found[0]}"


@pytest.mark.parametrize("package", PACKAGES)
def test_public_names_exist_and_are_documented(package):
    for path in modules(package):
        module = import_module(path)
        assert module.__doc__, f"{module.__name__} has no docstring"
    for name, value in public_classes_and_functions(package):
        assert value.__doc__, f"{name} has no docstring"


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
def test_every_core_has_a_model_a_bench_and_a_test_in_the_same_room(core):
    (hardware,) = (ROOT / "hdl").rglob(f"{core}.py")
    room = hardware.parent.name
    twins = ("golden/{}/{}.py", "verif/{}/bench_{}.py", "verif/{}/test_{}.py")
    for twin in twins:
        assert (ROOT / twin.format(room, core)).exists(), twin.format(room, core)


def test_modules_stay_small():
    for package in (*PACKAGES, "verif"):
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


def _made(tree):
    """Name what a module makes at its top."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (target.id for target in targets if isinstance(target, ast.Name))


@pytest.mark.parametrize("package", PACKAGES)
def test_names_say_whether_they_are_public(package):
    """What does not begin with an underscore is in ``__all__``, and that has nothing else."""
    for path in modules(package):
        tree = ast.parse(path.read_text())
        names = {name for name in _made(tree) if not name.startswith("_")}
        where = path.relative_to(ROOT)
        assert names <= (_public(tree) or set()), f"{where}: {names - (_public(tree) or set())}"


def test_what_is_imported_is_public():
    """A name that another module takes is in ``__all__``, whatever it begins with."""
    paths = [path for package in (*PACKAGES, "verif") for path in modules(package)]
    trees = {module_name(path): ast.parse(path.read_text()) for path in paths}
    public = {name: _public(tree) for name, tree in trees.items()}
    wrong = []
    for name, tree in trees.items():
        for node in ast.walk(tree):
            if not isinstance(node, ast.ImportFrom):
                continue
            if public.get(node.module) is None:
                continue
            wrong += [
                f"{name} takes {alias.name} from {node.module}"
                for alias in node.names
                if alias.name not in public[node.module] | {"*"}
                and f"{node.module}.{alias.name}" not in trees
            ]
    assert not wrong
