"""What the array asks of the lanes of a format, and which lanes a format has.

Lanes are an object that is made with a format. It has

- ``control()``, the layout of a decoded shift operand;
- ``stage_control(structure, digits)``, the layout of its parts in time, with ``pending``, whether a
  one is still to be added to the product, and ``fold``, which of two products counts;
- ``latency(structure, digits)``, the register stages of a lane, and ``product_bits(integer_bits)``;
- ``decoder()``, a component with ``code``, ``operand``, ``digit`` and ``control``;
- ``controller(structure, digits)``, a component with ``control`` and ``o``, its parts in time;
- ``lane(structure, integer_bits, digits, folded)``, a component with ``operand``, ``control``,
  ``product`` and, where ``folded``, ``shifted``, and with a ``latency``.

``digits`` says whether digits of INT4 come as well as codes of the format.
"""

from nibblegrad.golden.errors import InputError
from nibblegrad.golden.numbers.formats import Fp4Format
from nibblegrad.hdl.array.shift_lane import ShiftLanes

__all__ = ["LANES", "lanes_of"]

#: Lanes, by the type of the format of gradients.
LANES = {Fp4Format: ShiftLanes}


def lanes_of(fmt):
    """Make the lanes of a format.

    Raises
    ------
    InputError
        If its type, and those that it is derived from, have none.
    """
    for kind in type(fmt).__mro__:
        if kind in LANES:
            return LANES[kind](fmt)
    raise InputError(f"Format {fmt.name} has no lanes; add those of its type to LANES")
