# amaranth: UnusedElaboratable=no
"""What is on the price list: units of 16 lanes for each format, in every structure tried."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from golden.float_dot_product import BINARY16_OPERANDS, HYBRID_FP8
from golden.formats import Fp4Format
from hdl.dual_dot_product import DualDotProduct
from hdl.e2m1_dot_product import E2m1DotProduct
from hdl.float_dot_product import FloatDotProduct
from hdl.integer_dot_product import IntegerDotProduct
from hdl.integer_multiplier import Multiplication
from hdl.shift_dot_product import ShiftDotProduct
from hdl.structures import PIPELINED, PLAIN, STRUCTURES

__all__ = ["DESIGNS", "FORMATS", "LANES", "Design", "Format", "designs_for"]

#: Lanes of a unit.
LANES = 16


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
        For what it is made: families of FPGAs, and ``cells`` for standard cells.
    """

    format: str
    structure: str
    make: Callable[[], Any]
    use: tuple[str, ...]

    @property
    def name(self) -> str:
        """Name of the unit, unique in the catalogue."""
        return f"{self.format}_{self.structure.replace(' ', '_')}"


_FPGAS = ("ecp5", "ice40", "nexus", "gowin", "xilinx")
#: Where everything is tried; on the others, one structure that showed itself the best.
_MAIN = ("ecp5", "xilinx")
_CELLS = ("cells",)
_PLAIN, _PIPELINED, _ECP5, _COMPACT = PLAIN, PIPELINED, STRUCTURES["ecp5"], STRUCTURES["compact"]


def _shift(name, log2_radix, integer_bits, digits=False, families=_FPGAS):
    """List the structures of a unit with shifting lanes."""
    uses = {
        _PLAIN: (*_MAIN, *_CELLS),
        _PIPELINED: families,
        _ECP5: ("ecp5",),
        _COMPACT: _CELLS,
    }
    for structure, use in uses.items():

        def make(structure=structure):
            return ShiftDotProduct(
                Fp4Format(log2_radix), LANES, integer_bits, 24, structure, digits
            )

        yield Design(name, structure.name, make, use)


def _integer(name, a_bits, b_bits):
    """List the structures of a unit with integer multipliers."""
    for multiplication, structure, use in (
        (Multiplication.OPERATOR, _PIPELINED, _FPGAS),
        (Multiplication.OPERATOR, _COMPACT, _CELLS),
        (Multiplication.DIGITS, _PIPELINED, _FPGAS if b_bits == 4 else _MAIN),
        (Multiplication.CARRY, _ECP5, ("ecp5",)),
    ):

        def make(multiplication=multiplication, structure=structure):
            return IntegerDotProduct(a_bits, b_bits, LANES, 24, multiplication, structure)

        label = multiplication.value + (" compact" if structure is _COMPACT else "")
        yield Design(name, label, make, use)


def _dual():
    """List the structures of a unit with a shifter and a multiplier per lane."""
    for multiplication, structure, use in (
        (Multiplication.OPERATOR, _PIPELINED, _MAIN),
        (Multiplication.DIGITS, _PIPELINED, _FPGAS),
        (Multiplication.CARRY, _ECP5, ("ecp5",)),
        (Multiplication.OPERATOR, _COMPACT, _CELLS),
    ):

        def make(multiplication=multiplication, structure=structure):
            return DualDotProduct(Fp4Format(1), LANES, 5, 24, multiplication, structure)

        label = multiplication.value + (" compact" if structure is _COMPACT else "")
        yield Design("dual", label, make, use)


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
    Design("e2m1", "pipelined", lambda: E2m1DotProduct(LANES, 24, _PIPELINED), _FPGAS),
    Design("e2m1", "ecp5", lambda: E2m1DotProduct(LANES, 24, _ECP5), ("ecp5",)),
    Design("e2m1", "compact", lambda: E2m1DotProduct(LANES, 24, _COMPACT), _CELLS),
    Design("hybrid_fp8", "fused", lambda: FloatDotProduct(HYBRID_FP8, LANES), (*_FPGAS, *_CELLS)),
    Design(
        "float16",
        "fused",
        lambda: FloatDotProduct(BINARY16_OPERANDS, LANES),
        ("ecp5", "nexus", "xilinx", *_CELLS),
    ),
)


def designs_for(use: str) -> list[Design]:
    """List the units that are made for a family, or for ``cells``."""
    return [design for design in DESIGNS if use in design.use]
