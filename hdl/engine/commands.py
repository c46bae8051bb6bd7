"""Commands as hardware has them: their fields, and what an operation says."""

from amaranth import *
from amaranth.lib import data

from nibblegrad.golden.engine.command import PRODUCTS
from nibblegrad.golden.engine.registers import BY_NAME

__all__ = [
    "SETTINGS",
    "command_layout",
    "is_forward",
    "is_input_gradient",
    "is_load",
    "is_weight_gradient",
]

#: Registers that a command takes with it as they are, beside COMMAND and SCALE.
SETTINGS = (
    "batch",
    "inputs",
    "outputs",
    "activation_base",
    "weight_base",
    "gradient_base",
    "bias_base",
    "result_base",
    "fp4_exponent",
)


def command_layout():
    """Lay out a command: the fields of :class:`nibblegrad.golden.engine.command.Command`."""
    members = {}
    for name in SETTINGS:
        part = BY_NAME[name.upper()].fields[0]
        members[name] = Shape(part.bits, signed=part.signed)
    for name in ("SCALE", "COMMAND"):
        for part in BY_NAME[name].fields:
            members[part.name] = Shape(part.bits, signed=part.signed)
    return data.StructLayout(members)


# What a unit is given was checked: it is one of the operations, and those below need not look at
# all of its bits.


def is_load(operation):
    """Tell whether the operation of a command that was checked is a load."""
    return operation < min(PRODUCTS)


def is_forward(operation):
    """Tell whether the operation of a product is FORWARD."""
    return ~operation[1]


def is_input_gradient(operation):
    """Tell whether the operation of a product is INPUT_GRADIENT."""
    return ~operation[0]


def is_weight_gradient(operation):
    """Tell whether the operation of a product is WEIGHT_GRADIENT."""
    return operation[:2].all()
