# amaranth: UnusedElaboratable=no
"""The multiplier-free array: hardware against model, and bad parameters."""

import pytest

from nibblegrad.golden.numbers.formats import Fp4Format
from nibblegrad.hdl.array.structures import PLAIN, STRUCTURES
from nibblegrad.hdl.cores.shift_multiply_array import ShiftMultiplyArray
from verif.support.benches import case

#: Keys of the configuration; 4 x 4 x 8 is the default one.
SHAPES = [
    {"max_terms": 256, "output_bits": 16, "bank_tiles": 2},
    {
        **{"fmt": "fp4_radix4", "rows": 2, "lanes": 4, "output_bits": 16, "bank_tiles": 3},
        **{"seed": 2},
    },
    {
        **{"rows": 1, "columns": 1, "lanes": 1, "integer_bits": 4, "max_terms": 6},
        **{"output_bits": 8, "bank_tiles": 1, "random_bits": 16, "seed": 3},
    },
    {
        **{"rows": 3, "columns": 2, "lanes": 5, "integer_bits": 9, "max_terms": 64},
        **{"output_bits": 12, "bank_tiles": 2, "random_bits": 4, "seed": 4},
    },
]


def cases():
    """Pair shapes with structures: quickly, two of them plainly and an odd one for ECP5."""
    for structure in STRUCTURES.values():
        for shape in SHAPES:
            odd = structure is STRUCTURES["ecp5"] and shape in SHAPES[2:3]
            quick = odd or (structure is PLAIN and shape in SHAPES[::2])
            marks = [] if quick else [pytest.mark.slow]
            yield pytest.param({**shape, "structure": structure.name}, marks=marks)


@pytest.mark.parametrize("keys", list(cases()))
def test_rtl_matches_golden(sim, keys):
    fmt = keys.get("fmt", "fp4_radix2")
    label = f"shift_multiply_array ({fmt}, {keys['structure']})"
    sim(*case("shift_multiply_array", label, **keys))


def test_bad_max_terms():
    message = r"^Sums of 65536 terms need 34 bits, and 32 are there; make max_terms smaller$"
    with pytest.raises(ValueError, match=message):
        ShiftMultiplyArray(Fp4Format(2), max_terms=1 << 16)


def test_bad_rows():
    with pytest.raises(ValueError, match=r"^Row count must be 1 to 64, not 0$"):
        ShiftMultiplyArray(Fp4Format(1), rows=0)
