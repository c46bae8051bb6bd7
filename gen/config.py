"""Configurations: which modules to make, with which parameters."""

import dataclasses
import difflib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nibblegrad.gen.choices import STRUCTURES
from nibblegrad.gen.core import Core, CoreConfig
from nibblegrad.gen.cores import CORES
from nibblegrad.gen.cores.training_core import TrainingCoreConfig
from nibblegrad.gen.emission.module_names import check_names
from nibblegrad.golden.errors import InputError

__all__ = [
    "CORES",
    "DEFAULT",
    "MOST_LANES",
    "STRUCTURES",
    "CoreConfig",
    "TrainingCoreConfig",
    "load",
    "parse",
]

#: The configuration that is used when none is named.
DEFAULT = Path(__file__).parent / "configs" / "default.toml"

#: The largest core that is made without asking: four minutes of work, or so.
MOST_LANES = 4096


def load(
    path: Path, *, force: bool = False, cores: Mapping[str, Core] = CORES
) -> dict[str, CoreConfig]:
    """Read a configuration file; see :func:`parse`.

    Raises
    ------
    InputError
        If the file cannot be read, is no TOML, or holds something unknown.
    """
    try:
        # Some editors put a byte order mark in front.
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"Cannot read configuration {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"Cannot read configuration {path}: it is not UTF-8 text, by its byte {error.start}; "
            "save it as UTF-8"
        ) from error
    try:
        return parse(text, force=force, cores=cores)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def parse(
    text: str, *, force: bool = False, cores: Mapping[str, Core] = CORES
) -> dict[str, CoreConfig]:
    """Read the text of a configuration.

    Parameters
    ----------
    text : str
        TOML.
    force : bool
        Whether cores may be so large that making them takes very long.
    cores : dict of str to Core
        What there is, by name.

    Returns
    -------
    dict of str to CoreConfig
        Parameters of each Verilog module, by its name.

    Raises
    ------
    InputError
        If the text is no TOML, or a name or value in it is unknown; if a core is huge, and that
        was not asked for.
    """
    try:
        document = tomllib.loads(text)
    # Numbers of very many digits are a ValueError of their own, deep nesting a RecursionError.
    except (ValueError, RecursionError) as error:
        raise InputError(f"This is not TOML: {error}") from error
    for key in document:
        if key != "modules":
            raise InputError(
                f"Unknown section {_shown(key)}; modules are described in [modules.NAME]"
            )
    modules = document.get("modules", {})
    if not isinstance(modules, dict) or not modules:
        raise InputError("There is no module; describe one in a section [modules.NAME]")
    check_names(modules)
    built = {name: _module(name, table, cores) for name, table in modules.items()}
    for name, module in built.items():
        if not force and module.lane_count() > MOST_LANES:
            raise InputError(
                f"[modules.{name}] has {module.lane_count():,} lanes, and more than "
                f"{MOST_LANES:,} take very long; make it smaller, or ask for it with --force"
            )
    return built


def _module(name: str, table: Any, cores: Mapping[str, Core]) -> CoreConfig:
    section = f"[modules.{name}]"
    if not isinstance(table, dict):
        raise InputError(f"{section} must be a section, not {_shown(table)}")
    parameters = dict(table)
    core = parameters.pop("core", None)
    if not isinstance(core, str) or core not in cores:
        given = "is missing" if core is None else f"must not be {_shown(core)}"
        raise InputError(f"{section}: core {given}; choose from {', '.join(cores)}")
    config = cores[core].config
    fields = {field.name: field for field in dataclasses.fields(config)}
    for key, value in parameters.items():
        if key not in fields:
            close = difflib.get_close_matches(key, fields, 1)
            hint = f"did you mean {close[0]}?" if close else f"choose from {', '.join(fields)}"
            raise InputError(f"{section}: unknown key {_shown(key)}; {hint}")
        expected = fields[key].type
        if type(value) is not expected:
            kind = "an integer" if expected is int else "a string"
            raise InputError(f"{section}: {key} must be {kind}, not {_shown(value)}")
        if isinstance(value, int) and abs(value) >= 1 << 64:
            raise InputError(f"{section}: {key} must be less than 2**64, not {_shown(value)}")
        choices = cores[core].choices.get(key)
        if choices is not None and value not in choices:
            names = [*choices][:8] if len(choices) > 12 else [*choices]
            more = ", ..." if len(choices) > 12 else ""
            raise InputError(
                f"{section}: {key} must not be {_shown(value)}; choose from "
                f"{', '.join(names)}{more}"
            )
    built = config(**parameters)
    try:
        _ = built.component
    except InputError as error:
        raise InputError(f"{section}: {error}") from error
    return built


def _shown(value: Any) -> str:
    """Show a value in a sentence: on one line, and not all of it where it is long."""
    try:
        shown = repr(value)
    except ValueError:
        # Python does not write out integers of thousands of digits.
        return "a number of thousands of digits"
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
