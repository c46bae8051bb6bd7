"""Training methods: each module of this folder registers one, and so may modules of a user's own.

What is registered here is all that the rest of the project knows of methods: the command line, the
charts, the tables and the bench of data sets go by these dictionaries.
"""

import importlib
import importlib.util
import pkgutil
import re
import sys
from collections.abc import Iterable
from pathlib import Path

from nibblegrad.golden.errors import InputError
from nibblegrad.golden.numbers.gradient_format import GradientFormat
from nibblegrad.golden.training.recipes import Method, Recipe

__all__ = [
    "METHODS",
    "RECIPES",
    "VARIANTS",
    "core_method",
    "file_of",
    "load_files",
    "load_folder",
    "loaded_files",
    "register",
    "table",
]

#: Every method, by the name of its recipe, in the order of tables and colours; those of users last.
METHODS: dict[str, Method] = {}
#: Their recipes, and the variants of all methods, by name.
RECIPES: dict[str, Recipe] = {}
VARIANTS: dict[str, Recipe] = {}

# What other names mean on the command line: all recipes, and the yardstick of float32.
_RESERVED = ("all", "sklearn")

# Methods of users, by the file that registers each.
_FILES: dict[Path, Method] = {}


def register(method: Method) -> None:
    """Make a method and its variants known.

    Raises
    ------
    InputError
        If a name is taken, or has other characters than small letters, digits and underscores; if
        another method is the default of its cores.
    """
    taken = {*RECIPES, *VARIANTS, *_RESERVED}
    for name in (method.name, *(variant.name for variant in method.variants)):
        if not re.fullmatch("[a-z][a-z0-9_]*", name):
            raise InputError(
                "Name of a recipe must be small letters, digits and underscores, a letter first, "
                f"not {name!r}"
            )
        if name in taken:
            raise InputError(f"Recipe {name!r} must have a name of its own, and there is one")
        taken.add(name)
    if method.is_core_default:
        gradient = method.recipe.gradient
        if gradient is None or method.recipe.last is None:
            raise InputError(
                f"Method {method.name} cannot be the default of a core without FP4 gradients in "
                "all layers"
            )
        other = _core_default(gradient.fmt)
        if other:
            raise InputError(
                f"Cores of {gradient.fmt.name} are trained by {other.name}, so {method.name} "
                "cannot be their default"
            )
    METHODS[method.name] = method
    RECIPES[method.name] = method.recipe
    VARIANTS.update({variant.name: variant for variant in method.variants})


def core_method(fmt: GradientFormat) -> Method:
    """Find the method that training cores of a format are trained by where none is named.

    Raises
    ------
    InputError
        If there is none.
    """
    method = _core_default(fmt)
    if method is None:
        raise InputError(f"No method is the default of cores of {fmt.name}; name a recipe")
    return method


def _core_default(fmt: GradientFormat) -> Method | None:
    for method in METHODS.values():
        gradient = method.recipe.gradient
        if method.is_core_default and gradient and gradient.fmt == fmt:
            return method
    return None


def load_folder(folder: Path | str) -> list[Method]:
    """Register the methods of a folder: every Python file there has one, as ``METHOD``.

    Files are loaded in the order of their names. What was loaded before stays as it is.

    Parameters
    ----------
    folder : path
        Folder of a user.

    Returns
    -------
    list of Method
        Those of the folder.

    Raises
    ------
    InputError
        If there is no such folder, or no Python file in it; if one cannot be loaded, or has no
        method; if a name is taken.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"Folder of methods {folder} must exist, and does not")
    files = sorted(path for path in folder.resolve().glob("*.py") if path.stem != "__init__")
    if not files:
        raise InputError(f"Folder of methods {folder} must have Python files, and has none")
    load_files(files)
    return [_FILES[path] for path in files]


def load_files(files: Iterable[Path]) -> None:
    """Register the methods of files, but for those that were loaded before.

    Parameters
    ----------
    files : iterable of Path
        Absolute paths.

    Raises
    ------
    InputError
        As :func:`load_folder`.
    """
    for path in files:
        if path not in _FILES:
            method = _load(path)
            register(method)
            _FILES[path] = method


def file_of(recipe: str) -> Path | None:
    """Find the file of a user that a recipe or variant comes from; None if it is the project's."""
    for path, method in _FILES.items():
        if recipe in (method.name, *(variant.name for variant in method.variants)):
            return path
    return None


def loaded_files() -> list[Path]:
    """List the files of users that methods were loaded from."""
    return list(_FILES)


def _load(path: Path) -> Method:
    # What a dataclass in it is made from looks the module up by its name.
    name = f"methods_of_users.{path.parent.name}.{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec and spec.loader, "a name that ends with .py has a loader"
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        why = f"{type(error).__name__}: {error}"
        raise InputError(f"Method file {path} cannot be loaded: {why}") from error
    method = getattr(module, "METHOD", None)
    if not isinstance(method, Method):
        raise InputError(
            f"Method file {path} must set METHOD to a nibblegrad.golden.training.recipes.Method, "
            f"not {method!r}"
        )
    return method


def table() -> str:
    """Lay out all methods as a Markdown table, as docs/training.md has it."""
    lines = [
        "| recipe | forward | gradient by the input and by the weights |",
        "|---|---|---|",
        *(f"| `{m.name}` | {m.forward} | {m.backward} |" for m in METHODS.values()),
    ]
    return "\n".join(lines) + "\n"


def _own_methods():
    """Methods of this folder, in the order of their ranks, then of their names."""
    modules = [
        importlib.import_module(f"{__name__}.{module.name}")
        for module in pkgutil.iter_modules(__path__)
    ]
    return sorted((module.METHOD for module in modules), key=lambda m: (m.rank, m.name))


for _method in _own_methods():
    register(_method)
