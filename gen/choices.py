"""Words that configurations use for formats, rules and structures, and what they stand for."""

from nibblegrad.golden.cores.fp4_quantizer import Underflow
from nibblegrad.golden.cores.quantizer import InRange
from nibblegrad.golden.numbers.formats import WIDE_FORMATS, IntFormat
from nibblegrad.golden.numbers.gradient_format import GRADIENT_FORMATS
from nibblegrad.hdl.array.structures import PLAIN
from nibblegrad.hdl.array.structures import STRUCTURES as KNOWN_STRUCTURES

__all__ = [
    "AUTO",
    "FP4",
    "INTEGERS",
    "IN_RANGE",
    "IN_RANGE_NOTE",
    "STRUCTURES",
    "STRUCTURE_NOTE",
    "UNDERFLOW",
    "UNDERFLOW_NOTE",
    "WIDE_FORMATS",
]

INTEGERS = {f"int{b}": IntFormat(b) for b in range(2, 33)} | {
    f"uint{b}": IntFormat(b, signed=False) for b in range(2, 33)
}
#: Formats of gradients.
FP4 = GRADIENT_FORMATS
IN_RANGE = {rule.name.lower(): rule for rule in InRange}
UNDERFLOW = {rule.name.lower(): rule for rule in Underflow}

#: What stands for the structure that suits the family.
AUTO = "auto"

#: Structures of the array, by the names that a configuration calls them. ``auto`` is what suits
#: the family where one is known, in the FPGA flow, and otherwise what simulates fastest.
STRUCTURES = {AUTO: PLAIN} | KNOWN_STRUCTURES

IN_RANGE_NOTE = (
    "gradient passes by the number before rounding (unrounded, the LSQ paper), or after (rounded, "
    "PyTorch)"
)
UNDERFLOW_NOTE = (
    "to the nearest, zero is below half the smallest magnitude (midpoint), or below 3/4 in radix 2 "
    "and 5/8 in radix 4 (formula)"
)
STRUCTURE_NOTE = (
    "of lanes and adder trees, see docs/lanes.md: plain simulates fastest, pipelined suits FPGAs, "
    "ecp5 uses carry cells of ECP5, compact suits standard cells; all compute the same. auto is "
    "plain here, and what suits the device in `make fpga`"
)
