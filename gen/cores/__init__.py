"""Cores: a module each, whose registration, a ``gen.core.Core``, is called ``CORE``."""

import dataclasses
import hashlib
import importlib
import pkgutil
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

from nibblegrad.gen.core import Core
from nibblegrad.golden.errors import InputError

__all__ = ["CORES", "with_folder"]


def _listed(cores: Iterable[Core]) -> dict[str, Core]:
    """List cores by name, along the data path."""
    ordered = sorted(cores, key=lambda core: (core.order, core.name))
    return {core.name: core for core in ordered}


#: The cores of this package, by the name that a configuration calls them.
CORES: dict[str, Core] = _listed(
    importlib.import_module(f"{__name__}.{module.name}").CORE
    for module in pkgutil.iter_modules(__path__)
)


def with_folder(folder: str | Path) -> dict[str, Core]:
    """Add the cores of a folder of somebody's own.

    Its modules are imported as those of a package, so they may import each other by ``from .name
    import``; each with a ``CORE`` brings a core, and others are parts, such as golden models and
    components. Names that begin with ``_`` or ``test_`` are left alone.

    Parameters
    ----------
    folder : path
        The folder; it need not have an ``__init__.py``.

    Returns
    -------
    dict of str to Core
        Those of this package and those of the folder.

    Raises
    ------
    InputError
        If there is no such folder, it holds no core, a module of it fails, or a name is taken.
    """
    where = Path(folder).resolve()
    if not where.is_dir():
        raise InputError(f"There is no folder {folder}; name one that holds cores")
    package = f"cores_{hashlib.sha256(str(where).encode()).hexdigest()[:12]}"
    if package not in sys.modules:
        sys.modules[package] = ModuleType(package)
        sys.modules[package].__path__ = [str(where)]
        importlib.invalidate_caches()
    found: dict[str, Core] = {}
    for module in pkgutil.iter_modules([str(where)]):
        if module.name.startswith(("_", "test_")):
            continue
        core = _core_of(package, module.name, where)
        if core is None:
            continue
        if core.name in CORES | found:
            raise InputError(
                f"{where / module.name}.py: there is a core {core.name!r} already; rename this one"
            )
        found[core.name] = dataclasses.replace(core, folder=where)
    if not found:
        raise InputError(f"{folder} holds no core; a module there must say CORE = Core(...)")
    return _listed([*CORES.values(), *found.values()])


def _core_of(package: str, name: str, where: Path) -> Core | None:
    """Import a module of a folder, and find its registration, if it has one."""
    file = f"{where / name}.py"
    try:
        module = importlib.import_module(f"{package}.{name}")
    except InputError as error:
        raise InputError(f"{file}: {error}") from error
    # Whatever it is: the folder is somebody else's, and so is the mistake.
    except Exception as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"{file} cannot be imported, by {type(error).__name__}: {reason}; mend it, or name "
            "another folder"
        ) from error
    core = getattr(module, "CORE", None)
    if core is not None and not isinstance(core, Core):
        raise InputError(f"{file}: CORE must be a nibblegrad.gen.core.Core, not {core!r}")
    return core
