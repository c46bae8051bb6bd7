"""The families of FPGAs: a module each, which is found by being in this folder or in a user's."""

import difflib
import hashlib
import importlib.machinery
import importlib.util
import os
import pkgutil
import sys
from pathlib import Path
from types import ModuleType

from nibblegrad.gen.flow import tools
from nibblegrad.gen.flow.family import Family, Target
from nibblegrad.golden.errors import InputError
from nibblegrad.hdl.array.structures import STRUCTURES

__all__ = ["FAMILIES", "FOLDER_VARIABLE", "TARGETS", "add", "add_folder", "add_own", "find_target"]

#: Families, by name.
FAMILIES: dict[str, Family] = {}

#: Their devices, by name.
TARGETS: dict[str, Target] = {}

#: Environment variable that names a folder with families of a user.
FOLDER_VARIABLE = "NIBBLEGRAD_FAMILIES"

# What has no value in every family.
_REQUIRED = "name label synthesis luts flip_flops block_rams multipliers block_shapes".split()


def add(family: Family, source: str) -> None:
    """Add a family, with its devices and tools.

    Parameters
    ----------
    family : Family
        It.
    source : str
        Where it comes from, for messages.

    Raises
    ------
    InputError
        If it is none, lacks something, or a name in it is taken or unknown.
    """
    if not isinstance(family, Family):
        raise InputError(
            f"{source}: FAMILY must be an object of a class derived from "
            f"nibblegrad.gen.flow.family.Family, not {family!r}"
        )
    missing = [name for name in _REQUIRED if not hasattr(family, name)]
    missing += [
        f"method {name}"
        for name in ("targets", *(["constraints"] if family.place else []))
        if getattr(type(family), name) is getattr(Family, name)
    ]
    if missing:
        raise InputError(f"{source}: the family has no {missing[0]}; give it one")
    if family.structure not in STRUCTURES:
        raise InputError(
            f"{source}: structure {family.structure!r} is unknown; choose from "
            f"{', '.join(STRUCTURES)}"
        )
    owner = STRUCTURES[family.structure].family
    if owner not in ("", family.name):
        raise InputError(
            f"{source}: structure {family.structure!r} is made of the cells of "
            f"{owner}; choose another"
        )
    targets = {target.name: target for target in family.targets()}
    for name in (family.name, *targets):
        if name in (FAMILIES if name == family.name else TARGETS):
            raise InputError(f"{source}: the name {name!r} is taken; choose another one")
    known_tools = {*tools.TOOLS, *(tool.program for tool in family.tools)}
    for program in filter(None, (family.place, family.pack)):
        if program not in known_tools:
            raise InputError(f"{source}: {program} is not among the tools of the family; add it")
    chosen = {family.measured_on, family.pricing.target if family.pricing else ""} - {""}
    for name in sorted(chosen - targets.keys()):
        raise InputError(
            f"{source}: {name!r} is none of its devices; choose from {', '.join(targets)}"
        )
    FAMILIES[family.name] = family
    TARGETS.update(targets)
    tools.TOOLS.update({tool.program: tool for tool in family.tools})


def add_folder(folder: Path) -> None:
    """Add the families of a folder: the ``FAMILY`` of each Python module in it.

    Raises
    ------
    InputError
        If there is no such folder, no module in it, or a module has no family that can be added.
    """
    names = sorted(module.name for module in pkgutil.iter_modules([str(folder)]))
    if not names:
        raise InputError(f"Folder {folder} has no module of a family; see docs/adding/family.md")
    for name in names:
        module = _import_from(folder, name)
        source = str(module.__file__)
        if not hasattr(module, "FAMILY"):
            raise InputError(f"{source} has no FAMILY; see docs/adding/family.md")
        add(module.FAMILY, source)
        # It may be under way: what was made by an older text of it is made anew.
        module.FAMILY.revision = _digest(module)


def _digest(module: ModuleType) -> str:
    """Digest the text of a module, or of all files of a package."""
    path = Path(str(module.__file__))
    files = sorted(path.parent.rglob("*.py")) if hasattr(module, "__path__") else [path]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def _import_from(folder: Path, name: str) -> ModuleType:
    """Import a module or package of a folder, under a name that collides with no other."""
    spec = importlib.machinery.PathFinder.find_spec(name, [str(folder)])
    assert spec is not None and spec.loader is not None
    spec = importlib.util.spec_from_file_location(
        f"families_of_a_user_{name}",
        spec.origin,
        submodule_search_locations=spec.submodule_search_locations,
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[spec.name]
        raise InputError(
            f"{spec.origin} cannot be imported: {type(error).__name__}: {error}; mend it, or take "
            f"it out of {folder}"
        ) from error
    return module


_ADDED: set[Path] = set()


def add_own() -> None:
    """Add the families of the folder that :data:`FOLDER_VARIABLE` names, unless they are there.

    Raises
    ------
    InputError
        As :func:`add_folder`.
    """
    chosen = os.environ.get(FOLDER_VARIABLE)
    if not chosen:
        return
    folder = Path(chosen).resolve()
    if folder in _ADDED:
        return
    if not folder.is_dir():
        raise InputError(
            f"{FOLDER_VARIABLE}={chosen} is no folder; name one, or unset {FOLDER_VARIABLE}"
        )
    add_folder(folder)
    _ADDED.add(folder)


def find_target(name: str) -> Target:
    """Find a target by its name.

    Raises
    ------
    InputError
        If there is none of this name.
    """
    if name not in TARGETS:
        close = difflib.get_close_matches(name, TARGETS, 1)
        hint = f"did you mean {close[0]}?" if close else f"choose from {', '.join(TARGETS)}"
        raise InputError(f"Unknown target {name!r}; {hint}")
    return TARGETS[name]


def _add_all() -> None:
    modules = [
        importlib.import_module(f"{__name__}.{module.name}")
        for module in pkgutil.iter_modules(__path__)
    ]
    for module in sorted(modules, key=lambda module: module.FAMILY.rank):
        add(module.FAMILY, str(module.__file__))


_add_all()
