# amaranth: UnusedElaboratable=no
"""Configurations: which modules to make, with which parameters."""

import dataclasses
import difflib
import math
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
from hdl.structures import PLAIN
from hdl.structures import STRUCTURES as KNOWN_STRUCTURES
from hdl.training_core import TrainingCore

from .module_names import check_names

__all__ = [
    "CORES",
    "DEFAULT",
    "STRUCTURES",
    "CoreConfig",
    "QuantizerConfig",
    "TrainingCoreConfig",
    "load",
    "parse",
]

#: The configuration that is used when none is named.
DEFAULT = Path(__file__).parent / "configs" / "default.toml"

#: The largest core that is made without asking: four minutes of work, or so.
MOST_LANES = 4096

INTEGERS = {f"int{b}": IntFormat(b) for b in range(2, 33)} | {
    f"uint{b}": IntFormat(b, signed=False) for b in range(2, 33)
}
#: What stands for the structure that suits the family.
AUTO = "auto"
FP4 = {fmt.name: fmt for fmt in (Fp4Format(1), Fp4Format(2))}
IN_RANGE = {rule.name.lower(): rule for rule in InRange}
#: Structures of the array, by the names that a configuration calls them. ``auto`` is what suits
#: the family where one is known, in the FPGA flow, and otherwise what simulates fastest.
STRUCTURES = {AUTO: PLAIN} | KNOWN_STRUCTURES
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

    def lane_count(self) -> int:
        """Count the lanes, by which the core and the time to make it grow."""
        parameters = vars(self)
        return math.prod(parameters.get(key, 1) for key in ("rows", "columns", "lanes"))

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
    structure: str = AUTO


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
    structure: str = AUTO

    def size(self) -> CoreSize:
        """Make the parameters of golden model and drivers."""
        arguments = self.arguments()
        del arguments["structure"]  # what the core computes does not depend on it
        return CoreSize(**arguments)

    def build(self) -> Any:
        return TrainingCore(self.size(), STRUCTURES[self.structure])

    def with_structure(self, structure: str) -> "TrainingCoreConfig":
        """Put a structure where the configuration leaves the choice open."""
        return dataclasses.replace(self, structure=structure) if self.structure == AUTO else self


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


def load(path: Path, *, force: bool = False) -> dict[str, CoreConfig]:
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
        return parse(text, force=force)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def parse(text: str, *, force: bool = False) -> dict[str, CoreConfig]:
    """Read the text of a configuration.

    Parameters
    ----------
    text : str
        TOML.
    force : bool
        Whether cores may be so large that making them takes very long.

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
    built = {name: _module(name, table) for name, table in modules.items()}
    for name, module in built.items():
        if not force and module.lane_count() > MOST_LANES:
            raise InputError(
                f"[modules.{name}] has {module.lane_count():,} lanes, and more than "
                f"{MOST_LANES:,} take very long; make it smaller, or ask for it with --force"
            )
    return built


def _module(name: str, table: Any) -> CoreConfig:
    section = f"[modules.{name}]"
    if not isinstance(table, dict):
        raise InputError(f"{section} must be a section, not {_shown(table)}")
    parameters = dict(table)
    core = parameters.pop("core", None)
    if not isinstance(core, str) or core not in CORES:
        given = "is missing" if core is None else f"must not be {_shown(core)}"
        raise InputError(f"{section}: core {given}; choose from {', '.join(CORES)}")
    config = CORES[core]
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
        choices = config.choices.get(key)
        if choices is not None and value not in choices:
            names = [*choices][:8] if len(choices) > 12 else [*choices]
            more = ", ..." if len(choices) > 12 else ""
            raise InputError(
                f"{section}: {key} must not be {_shown(value)}; choose from "
                f"{', '.join(names)}{more}"
            )
    built = config(**parameters)
    try:
        built.build()
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
