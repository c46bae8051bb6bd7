# amaranth: UnusedElaboratable=no
"""A core, registered once: what configurations, files, benches and pages know of it."""

import dataclasses
import functools
import inspect
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from nibblegrad.gen.docstrings import describe_parameters, in_a_comment
from nibblegrad.gen.stimulus import Chance, Run
from nibblegrad.golden.errors import InputError

__all__ = ["Core", "CoreConfig", "Key", "Sample"]


@dataclass(frozen=True)
class CoreConfig:
    """Parameters of one module, by the keys and words of a configuration.

    There is a subclass for each core, :attr:`Core.config`, whose fields are the keys with their
    defaults. Ranges of numbers are checked by the component itself, when it is built.
    """

    registration: ClassVar["Core"]

    @property
    def core(self) -> str:
        """What the module is, as configurations call it."""
        return self.registration.name

    def arguments(self) -> dict[str, Any]:
        """List the parameters, with what the words among them stand for."""
        choices = self.registration.choices
        return {
            field.name: choices[field.name][value] if field.name in choices else value
            for field in dataclasses.fields(self)
            for value in [getattr(self, field.name)]
        }

    def lane_count(self) -> int:
        """Count the lanes, by which the core and the time to make it grow."""
        parameters = vars(self)
        return math.prod(parameters.get(key, 1) for key in ("rows", "columns", "lanes"))

    def build(self) -> Any:
        """Make the component, a new one each time.

        Raises
        ------
        InputError
            If a parameter is out of range, or parameters do not go together.
        """
        try:
            return self.registration.component(**self.arguments())
        except (TypeError, ValueError) as error:
            raise InputError(str(error)) from error

    @functools.cached_property
    def component(self) -> Any:
        """The component of this module, made once: for all that only look at it, and one writer."""
        return self.build()

    def runs(self) -> list[Run]:
        """Choose what a testbench sends to a core with streams, and compute what must come out."""
        assert self.registration.runs is not None, f"{self.core} has a program"
        return list(self.registration.runs(self.arguments(), Chance()))


@dataclass(frozen=True)
class Key:
    """A key of a configuration.

    Parameters
    ----------
    name : str
        Its name, that of a parameter of the component.
    default : int or str
        Its value where none is given.
    note : str
        What it means, as the end of a line of TOML.
    """

    name: str
    default: int | str
    note: str

    @property
    def range(self) -> tuple[str, str] | None:
        """The ends that the note names, as it does: ``2 to 8``, ``1 to 16 - bits``."""
        found = re.search(r"(-?\d+) to (\w+(?: - \w+)?)", self.note)
        return (found[1], found[2]) if found and isinstance(self.default, int) else None


@dataclass(frozen=True)
class Sample:
    """A module of a core that the default configuration has.

    Parameters
    ----------
    purpose : str
        What it is there for: the comment above its section.
    keys : dict of str to (int or str)
        Keys that differ from their defaults.
    """

    purpose: str
    keys: Mapping[str, int | str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Core:
    """The registration of a core, from which everything else learns of it.

    A module of :mod:`nibblegrad.gen.cores`, or of a folder that ``--cores`` names, has one, called
    ``CORE``. Keys, their types and defaults are the parameters of the component; what they mean,
    and their ranges, is what its docstring says.

    Parameters
    ----------
    name : str
        What configurations call it: ``core = "quantizer"``.
    component : type
        The :class:`amaranth.lib.wiring.Component`, with an attribute ``latency``, in cycles.
    does : str
        What it does, in a few words, for tables.
    runs : function, optional
        For a core with streams: given the parameters, as the component takes them, and a source of
        chance, it yields what goes in and what must come out by the golden model.
    program : function, optional
        Instead, for a core with registers: given a :class:`CoreConfig`, the steps of a testbench;
        see :mod:`nibblegrad.gen.program`.
    choices : dict of str to dict, optional
        For parameters that are no numbers: the words of a configuration, and what each stands for.
    defaults : dict, optional
        Values of parameters to which the component gives none, or another one, as a configuration
        writes them.
    notes : dict of str to str, optional
        What keys mean, where a configuration should say more than the docstring.
    samples : dict of str to Sample, optional
        Modules of the default configuration; one with all the defaults, if not given.
    per_tensor : bool
        Whether a result belongs to a tensor, and comes when ``tlast`` has; elsewhere every beat is
        answered by one beat.
    order : int
        Place in lists, along the data path; among equals the name decides.
    config : type of CoreConfig, optional
        Keys and defaults, if they are not the parameters of the component.
    described_by : tuple of type, optional
        Classes whose docstrings explain the keys, if it is not the component.
    folder : Path, optional
        Folder of somebody's own that it comes from; see :func:`nibblegrad.gen.cores.with_folder`.

    Raises
    ------
    InputError
        If something is missing, or does not go together.
    """

    name: str
    component: Callable[..., Any]
    does: str
    runs: Callable[[dict[str, Any], Chance], Iterator[Run]] | None = None
    program: Callable[[Any], list[Any]] | None = None
    choices: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    defaults: Mapping[str, int | str] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)
    samples: Mapping[str, Sample] = field(default_factory=dict)
    per_tensor: bool = False
    order: int = 1000
    config: type[CoreConfig] = CoreConfig
    described_by: tuple[type, ...] = ()
    folder: Path | None = None

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z]\w*", self.name, re.ASCII):
            raise InputError(f"Core {self.name!r} must have a name of small letters, digits and _")
        if (self.runs is None) == (self.program is None):
            raise InputError(f"Core {self.name!r} needs either runs or a program")
        made = self.config is CoreConfig
        config = self._config() if made else self.config
        config.registration = self
        object.__setattr__(self, "config", config)
        if not self.samples:
            purpose = f"{self.does[:1].upper()}{self.does[1:]}."
            object.__setattr__(self, "samples", {self.name: Sample(purpose)})
        known = {parameter.name for parameter in dataclasses.fields(config)}
        for what in ("choices", "defaults", "notes"):
            for key in getattr(self, what):
                if key not in known:
                    raise InputError(
                        f"Core {self.name!r} has {what} for {key!r}, which is no parameter; "
                        f"its parameters are {', '.join(sorted(known))}"
                    )

    @property
    def keys(self) -> list[Key]:
        """The keys of a configuration, in order.

        Raises
        ------
        InputError
            If a docstring says nothing of one.
        """
        described: dict[str, str] = {}
        for kind in self.described_by or (self.component,):
            # Amaranth has no types, so to mypy a component is no class.
            described |= describe_parameters(kind)  # type: ignore[arg-type]
        keys = []
        for parameter in dataclasses.fields(self.config):
            note = self.notes.get(parameter.name) or in_a_comment(described.get(parameter.name, ""))
            if not note:
                raise InputError(
                    f"Core {self.name!r}: nothing is said of {parameter.name}; describe it in the "
                    "docstring of the component, under Parameters"
                )
            default: Any = parameter.default
            keys.append(Key(parameter.name, default, note))
        return keys

    def _config(self) -> type[CoreConfig]:
        """Make the class of the keys from the parameters of the component."""
        fields = []
        for parameter in inspect.signature(self.component).parameters.values():
            default = self._default(parameter)
            fields.append((parameter.name, type(default), field(default=default)))
        name = f"{getattr(self.component, '__name__', self.name)}Config"
        return dataclasses.make_dataclass(name, fields, bases=(CoreConfig,), frozen=True)

    def _default(self, parameter: inspect.Parameter) -> int | str:
        """Find the default of a parameter, as a configuration writes it."""
        name, default = parameter.name, self.defaults.get(parameter.name, parameter.default)
        words = self.choices.get(name, {})
        for word, value in words.items():
            if value is default or word is default or word == default:
                return word
        if words or type(default) not in (int, str):
            given = "no default" if default is inspect.Parameter.empty else f"default {default!r}"
            raise InputError(
                f"Core {self.name!r}: parameter {name} has {given}, which no configuration can "
                "write; give one in defaults, and choices where it is no integer"
            )
        return default
