# amaranth: UnusedElaboratable=no
"""What is on the price list: units of 16 lanes for each format, in every structure tried."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nibblegrad.gen.flow.families import FAMILIES
from nibblegrad.golden.numbers.formats import Fp4Format
from nibblegrad.golden.units.float_dot_product import BINARY16_OPERANDS, HYBRID_FP8
from nibblegrad.hdl.array.structures import PIPELINED, PLAIN, STRUCTURES
from nibblegrad.hdl.units.dual_dot_product import DualDotProduct
from nibblegrad.hdl.units.e2m1_dot_product import E2m1DotProduct
from nibblegrad.hdl.units.float_dot_product import FloatDotProduct
from nibblegrad.hdl.units.integer_dot_product import IntegerDotProduct
from nibblegrad.hdl.units.integer_multiplier import Multiplication
from nibblegrad.hdl.units.shift_dot_product import ShiftDotProduct

__all__ = [
    "CELLS",
    "DESIGNS",
    "FORMATS",
    "LANES",
    "REFERENCE",
    "Design",
    "Format",
    "designs_for",
    "priced",
]

#: Lanes of a unit.
LANES = 16

#: The family of which the chart is, and the arrays, and the training steps.
REFERENCE = "ecp5"

#: What stands beside families: standard cells.
CELLS = "cells"

# For which families a design is made: for all; for those where everything is tried, while the
# others have one structure that showed itself the best; for those that the largest units fit.
_FPGAS, _MAIN, _LARGE = "every family", "main families", "large families"


@dataclass(frozen=True)
class Format:
    """A pair of operand formats.

    Attributes
    ----------
    name : str
        Key.
    label : str
        What tables call it.
    accumulator : str
        What it is summed up in.
    passes : int
        Passes of a training step (forward, and two backward GEMMs) on an array of such lanes, or 0
        where these operands do not make a training step.
    step : str
        What those passes are.
    """

    name: str
    label: str
    accumulator: str
    passes: int
    step: str


#: Formats, by name, in the order of the table.
FORMATS: dict[str, Format] = {
    item.name: item
    for item in (
        Format("fp4", "FP4 radix 2 x INT4", "24-bit integer", 0, "backward only"),
        Format("fp4_5", "FP4 radix 2 x 5-bit integer", "24-bit integer", 0, "backward only"),
        Format("fp4_radix4", "FP4 radix 4 x INT4", "24-bit integer", 0, "backward only"),
        Format(
            "digits",
            "FP4 radix 2 or INT4 by digits x 5-bit integer",
            "24-bit integer",
            4,
            "forward twice, by digits",
        ),
        Format(
            "dual",
            "FP4 radix 2 or INT4 x 5-bit integer, shifter and multiplier",
            "24-bit integer",
            3,
            "one pass each",
        ),
        Format("int4", "INT4 x INT4", "24-bit integer", 5, "gradients as two INT4 (bit splitting)"),
        Format("int4_int8", "INT4 x INT8", "24-bit integer", 3, "INT8 gradients"),
        Format("int8", "INT8 x INT8", "24-bit integer", 3, "one pass each"),
        Format("e2m1", "E2M1 x E2M1", "24-bit integer", 3, "one pass each (MXFP4 without scales)"),
        Format("hybrid_fp8", "hybrid FP8", "DLFloat16", 3, "one pass each"),
        Format("float16", "FP16 x FP16", "float32", 3, "one pass each"),
    )
}


@dataclass(frozen=True)
class Design:
    """One structure of a unit.

    Attributes
    ----------
    format : str
        Key of :data:`FORMATS`.
    structure : str
        What tables call the structure.
    make : function
        Makes the component.
    use : tuple of str
        For what it is made: kinds of families, or one family for a structure of its cells, and
        ``cells`` for standard cells.
    """

    format: str
    structure: str
    make: Callable[[], Any]
    use: tuple[str, ...]

    @property
    def name(self) -> str:
        """Name of the unit, unique in the catalogue."""
        return f"{self.format}_{self.structure.replace(' ', '_')}"


_COMPACT = STRUCTURES["compact"]
#: Structures that are made of the cells of one family.
_OWN = [structure for structure in STRUCTURES.values() if structure.family]


def _shift(name, log2_radix, integer_bits, digits=False, families=_FPGAS):
    """List the structures of a unit with shifting lanes."""
    uses = {
        PLAIN: (_MAIN, CELLS),
        PIPELINED: (families,),
        **{structure: (structure.family,) for structure in _OWN},
        _COMPACT: (CELLS,),
    }
    for structure, use in uses.items():

        def make(structure=structure):
            return ShiftDotProduct(
                Fp4Format(log2_radix), LANES, integer_bits, 24, structure, digits
            )

        yield Design(name, structure.name, make, use)


def _carries():
    """List the structures that multiply in their carry cells."""
    for structure in _OWN:
        if structure.carry:
            yield Multiplication.CARRY, structure, structure.family


def _label(multiplication, structure):
    """Name a structure of a unit with multipliers."""
    usual = structure is PIPELINED or structure.family == REFERENCE
    return multiplication.value + ("" if usual else f" {structure.name}")


def _integer(name, a_bits, b_bits):
    """List the structures of a unit with integer multipliers."""
    for multiplication, structure, use in (
        (Multiplication.OPERATOR, PIPELINED, _FPGAS),
        (Multiplication.OPERATOR, _COMPACT, CELLS),
        (Multiplication.DIGITS, PIPELINED, _FPGAS if b_bits == 4 else _MAIN),
        *_carries(),
    ):

        def make(multiplication=multiplication, structure=structure):
            return IntegerDotProduct(a_bits, b_bits, LANES, 24, multiplication, structure)

        yield Design(name, _label(multiplication, structure), make, (use,))


def _dual():
    """List the structures of a unit with a shifter and a multiplier per lane."""
    for multiplication, structure, use in (
        (Multiplication.OPERATOR, PIPELINED, _MAIN),
        (Multiplication.DIGITS, PIPELINED, _FPGAS),
        *_carries(),
        (Multiplication.OPERATOR, _COMPACT, CELLS),
    ):

        def make(multiplication=multiplication, structure=structure):
            return DualDotProduct(Fp4Format(1), LANES, 5, 24, multiplication, structure)

        yield Design("dual", _label(multiplication, structure), make, (use,))


def _e2m1():
    """List the structures of a unit for E2M1."""
    for structure, use in (
        (PIPELINED, _FPGAS),
        *((structure, structure.family) for structure in _OWN),
        (_COMPACT, CELLS),
    ):

        def make(structure=structure):
            return E2m1DotProduct(LANES, 24, structure)

        yield Design("e2m1", structure.name, make, (use,))


#: Every unit.
DESIGNS: tuple[Design, ...] = (
    *_shift("fp4", 1, 4),
    *_shift("fp4_5", 1, 5, families=_MAIN),
    *_shift("fp4_radix4", 2, 4, families=_MAIN),
    *_shift("digits", 1, 5, digits=True),
    *_dual(),
    *_integer("int4", 4, 4),
    *_integer("int4_int8", 8, 4),
    *_integer("int8", 8, 8),
    *_e2m1(),
    Design("hybrid_fp8", "fused", lambda: FloatDotProduct(HYBRID_FP8, LANES), (_FPGAS, CELLS)),
    Design("float16", "fused", lambda: FloatDotProduct(BINARY16_OPERANDS, LANES), (_LARGE, CELLS)),
)


def priced() -> list[str]:
    """List the families that are in the price list."""
    return [name for name, family in FAMILIES.items() if family.pricing]


def designs_for(use: str) -> list[Design]:
    """List the units that are made for a family, or for ``cells``."""
    kinds = {use}
    if use != CELLS:
        pricing = FAMILIES[use].pricing
        kinds |= {
            _FPGAS,
            *([_MAIN] if pricing and pricing.every_structure else ()),
            *([_LARGE] if pricing and pricing.largest else ()),
        }
    return [design for design in DESIGNS if kinds & {*design.use}]
