# amaranth: UnusedElaboratable=no
"""Configurations: which modules to make, with which parameters."""

import dataclasses
import difflib
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from golden.command import CoreSize
from golden.errors import InputError
from golden.formats import WIDE_FORMATS, Fp4Format, IntFormat
from golden.fp4_quantizer import Underflow
from golden.quantizer import InRange
from hdl.fp4_quantizer import Fp4Quantizer
from hdl.quantizer import Quantizer
from hdl.scale_multiplier import ScaleMultiplier
from hdl.shift_multiply_array import ShiftMultiplyArray
from hdl.step_gradient import StepGradient
from hdl.stochastic_rounder import FixedRounder, FloatRounder
from hdl.structure import Structure
from hdl.training_core import TrainingCore

from .keywords import KEYWORDS

__all__ = ["CORES", "DEFAULT", "STRUCTURES", "CoreConfig", "load", "parse"]

#: The configuration that is used when none is named.
DEFAULT = Path(__file__).parent / "configs" / "default.toml"

INTEGERS = {f"int{b}": IntFormat(b) for b in range(2, 33)} | {
    f"uint{b}": IntFormat(b, signed=False) for b in range(2, 33)
}
FP4 = {fmt.name: fmt for fmt in (Fp4Format(1), Fp4Format(2))}
IN_RANGE = {rule.name.lower(): rule for rule in InRange}
#: Structures of the array, by the names that a configuration calls them.
STRUCTURES = {structure.value: structure for structure in Structure}
UNDERFLOW = {rule.name.lower(): rule for rule in Underflow}


@dataclass(frozen=True)
class CoreConfig:
    """Parameters of one module; the subclasses list them with their defaults.

    ``choices`` maps parameters that are named in words to what the names stand for. Ranges of
    numbers are checked by the component itself, when it is built.
    """

    core: ClassVar[str]
    component: ClassVar[Any]
    choices: ClassVar[dict[str, dict[str, Any]]] = {}

    def arguments(self) -> dict[str, Any]:
        """List the parameters, with what the names among them stand for."""
        return {
            field.name: self.choices[field.name][value] if field.name in self.choices else value
            for field in dataclasses.fields(self)
            for value in [getattr(self, field.name)]
        }

    def build(self) -> Any:
        """Make the component. It may be made only to see whether that is possible.

        Raises
        ------
        InputError
            If a parameter is out of range, or parameters do not go together.
        """
        try:
            return self.component(**self.arguments())
        except (TypeError, ValueError) as error:
            raise InputError(str(error)) from error


@dataclass(frozen=True)
class QuantizerConfig(CoreConfig):
    """Parameters of :class:`hdl.quantizer.Quantizer`."""

    core = "quantizer"
    component = Quantizer
    choices: ClassVar = {"wide_format": WIDE_FORMATS, "in_range_rule": IN_RANGE}

    wide_format: str = "bfloat16"
    bits: int = 4
    lanes: int = 4
    residual_bits: int = 8
    in_range_rule: str = "unrounded"


@dataclass(frozen=True)
class FloatRounderConfig(CoreConfig):
    """Parameters of :class:`hdl.stochastic_rounder.FloatRounder`."""

    core = "stochastic_rounder"
    component = FloatRounder
    choices: ClassVar = {"source": WIDE_FORMATS, "target": WIDE_FORMATS}

    source: str = "float32"
    target: str = "bfloat16"
    lanes: int = 4
    random_bits: int = 8
    seed: int = 1


@dataclass(frozen=True)
class FixedRounderConfig(CoreConfig):
    """Parameters of :class:`hdl.stochastic_rounder.FixedRounder`."""

    core = "fixed_rounder"
    component = FixedRounder
    choices: ClassVar = {"target": INTEGERS}

    width: int = 24
    fraction_bits: int = 8
    target: str = "int16"
    lanes: int = 4
    random_bits: int = 8
    seed: int = 1


@dataclass(frozen=True)
class Fp4QuantizerConfig(CoreConfig):
    """Parameters of :class:`hdl.fp4_quantizer.Fp4Quantizer`."""

    core = "fp4_quantizer"
    component = Fp4Quantizer
    choices: ClassVar = {"wide_format": WIDE_FORMATS, "fmt": FP4, "underflow": UNDERFLOW}

    wide_format: str = "bfloat16"
    fmt: str = "fp4_radix2"
    lanes: int = 4
    underflow: str = "midpoint"
    odd_shift: int = 1
    random_bits: int = 8
    seed: int = 1


@dataclass(frozen=True)
class ShiftMultiplyArrayConfig(CoreConfig):
    """Parameters of :class:`hdl.shift_multiply_array.ShiftMultiplyArray`."""

    core = "shift_multiply_array"
    component = ShiftMultiplyArray
    choices: ClassVar = {"fmt": FP4, "structure": STRUCTURES}

    fmt: str = "fp4_radix2"
    rows: int = 4
    columns: int = 4
    lanes: int = 8
    integer_bits: int = 5
    max_terms: int = 4096
    output_bits: int = 32
    bank_tiles: int = 4
    random_bits: int = 8
    seed: int = 1
    structure: str = "plain"


@dataclass(frozen=True)
class ScaleMultiplierConfig(CoreConfig):
    """Parameters of :class:`hdl.scale_multiplier.ScaleMultiplier`."""

    core = "scale_multiplier"
    component = ScaleMultiplier
    choices: ClassVar = {
        "target": {**WIDE_FORMATS, **INTEGERS, **FP4},
        "in_range_rule": IN_RANGE,
        "underflow": UNDERFLOW,
    }

    target: str = "bfloat16"
    lanes: int = 4
    accumulator_bits: int = 32
    channel_groups: int = 16
    random_bits: int = 8
    residual_bits: int = 8
    in_range_rule: str = "unrounded"
    underflow: str = "midpoint"
    odd_shift: int = 1
    seed: int = 1


@dataclass(frozen=True)
class StepGradientConfig(CoreConfig):
    """Parameters of :class:`hdl.step_gradient.StepGradient`."""

    core = "step_gradient"
    component = StepGradient

    lanes: int = 4
    accumulator_bits: int = 32
    bits: int = 4
    residual_bits: int = 8


@dataclass(frozen=True)
class TrainingCoreConfig(CoreConfig):
    """Parameters of :class:`hdl.training_core.TrainingCore`: those of ``CoreSize``, and how."""

    core = "training_core"
    component = TrainingCore
    choices: ClassVar = {
        "wide_format": WIDE_FORMATS,
        "fmt": FP4,
        "in_range_rule": IN_RANGE,
        "underflow": UNDERFLOW,
        "structure": STRUCTURES,
    }

    wide_format: str = "bfloat16"
    fmt: str = "fp4_radix2"
    rows: int = 4
    columns: int = 4
    lanes: int = 8
    activation_words: int = 384
    weight_words: int = 512
    gradient_words: int = 256
    bias_words: int = 64
    partial_sum_strips: int = 1024
    max_terms: int = 4096
    queue_depth: int = 4
    residual_bits: int = 8
    random_bits: int = 8
    in_range_rule: str = "unrounded"
    underflow: str = "midpoint"
    odd_shift: int = 1
    seed: int = 1
    structure: str = "plain"

    def size(self) -> CoreSize:
        """Make the parameters of golden model and drivers."""
        arguments = self.arguments()
        del arguments["structure"]  # what the core computes does not depend on it
        return CoreSize(**arguments)

    def build(self) -> Any:
        return TrainingCore(self.size(), STRUCTURES[self.structure])


#: The cores, by the name that a configuration calls them.
CORES: dict[str, type[CoreConfig]] = {
    config.core: config
    for config in (
        QuantizerConfig,
        FloatRounderConfig,
        FixedRounderConfig,
        Fp4QuantizerConfig,
        ShiftMultiplyArrayConfig,
        ScaleMultiplierConfig,
        StepGradientConfig,
        TrainingCoreConfig,
    )
}


def load(path: Path) -> dict[str, CoreConfig]:
    """Read a configuration file; see :func:`parse`.

    Raises
    ------
    InputError
        If the file cannot be read, is no TOML, or holds something unknown.
    """
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise InputError(f"Cannot read configuration {path}: {reason}") from error
    try:
        return parse(text)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def parse(text: str) -> dict[str, CoreConfig]:
    """Read the text of a configuration.

    Returns
    -------
    dict of str to CoreConfig
        Parameters of each Verilog module, by its name.

    Raises
    ------
    InputError
        If the text is no TOML, or a name or value in it is unknown.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"This is not TOML: {error}") from error
    for key in document:
        if key != "modules":
            raise InputError(f"Unknown section {key!r}; modules are described in [modules.NAME]")
    modules = document.get("modules", {})
    if not isinstance(modules, dict) or not modules:
        raise InputError("There is no module; describe one in a section [modules.NAME]")
    return {name: _module(name, table) for name, table in modules.items()}


def _module(name: str, table: Any) -> CoreConfig:
    section = f"[modules.{name}]"
    if not re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII) or name in KEYWORDS:
        raise InputError(f"Module name {name!r} is no Verilog identifier; choose another one")
    if not isinstance(table, dict):
        raise InputError(f"{section} must be a section, not {table!r}")
    parameters = dict(table)
    core = parameters.pop("core", None)
    if core not in CORES:
        given = "is missing" if core is None else f"must not be {core!r}"
        raise InputError(f"{section}: core {given}; choose from {', '.join(CORES)}")
    config = CORES[core]
    fields = {field.name: field for field in dataclasses.fields(config)}
    for key, value in parameters.items():
        if key not in fields:
            close = difflib.get_close_matches(key, fields, 1)
            hint = f"did you mean {close[0]}?" if close else f"choose from {', '.join(fields)}"
            raise InputError(f"{section}: unknown key {key!r}; {hint}")
        expected = fields[key].type
        if type(value) is not expected:
            kind = "an integer" if expected is int else "a string"
            raise InputError(f"{section}: {key} must be {kind}, not {value!r}")
        choices = config.choices.get(key)
        if choices is not None and value not in choices:
            names = [*choices][:8] if len(choices) > 12 else [*choices]
            more = ", ..." if len(choices) > 12 else ""
            raise InputError(
                f"{section}: {key} must not be {value!r}; choose from {', '.join(names)}{more}"
            )
    built = config(**parameters)
    try:
        built.build()
    except InputError as error:
        raise InputError(f"{section}: {error}") from error
    return built
