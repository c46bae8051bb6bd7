# amaranth: UnusedElaboratable=no
"""The multiplier-free array: hardware against model, and bad parameters."""

import pytest

from golden.formats import Fp4Format
from hdl.shift_multiply_array import ShiftMultiplyArray
from hdl.structures import PLAIN, STRUCTURES

SHAPES = [
    (1, 4, 4, 8, 5, 256, 16, 2, 8, 1),
    (2, 2, 4, 4, 5, 4096, 16, 3, 8, 2),
    (1, 1, 1, 1, 4, 6, 8, 1, 16, 3),
    (1, 3, 2, 5, 9, 64, 12, 2, 4, 4),
]


def cases():
    """Pair shapes with structures: quickly, all of them plainly and an odd one for ECP5."""
    for structure in STRUCTURES.values():
        for shape in SHAPES:
            odd = structure is STRUCTURES["ecp5"] and shape in SHAPES[2:3]
            quick = structure is PLAIN or odd
            yield pytest.param(structure, *shape, marks=[] if quick else [pytest.mark.slow])


@pytest.mark.parametrize(
    "structure, log2_radix, rows, columns, lanes, integer_bits, max_terms, output_bits, bank, "
    "bits, seed",
    list(cases()),
)
def test_rtl_matches_golden(
    sim,
    structure,
    log2_radix,
    rows,
    columns,
    lanes,
    integer_bits,
    max_terms,
    output_bits,
    bank,
    bits,
    seed,
):
    core = ShiftMultiplyArray(
        Fp4Format(log2_radix),
        rows,
        columns,
        lanes,
        integer_bits,
        max_terms,
        output_bits,
        bank,
        bits,
        seed,
        structure,
    )
    sim(
        core,
        "shift_multiply_array",
        {
            "core": f"shift_multiply_array (radix {1 << log2_radix}, {structure.name})",
            "log2_radix": log2_radix,
            "rows": rows,
            "columns": columns,
            "lanes": lanes,
            "integer_bits": integer_bits,
            "max_terms": max_terms,
            "output_bits": output_bits,
            "bank_tiles": bank,
            "random_bits": bits,
            "seed": seed,
            "latency": core.latency,
        },
    )


def test_bad_max_terms():
    message = r"^Sums of 65536 terms need 34 bits, and 32 are there; make max_terms smaller$"
    with pytest.raises(ValueError, match=message):
        ShiftMultiplyArray(Fp4Format(2), max_terms=1 << 16)


def test_bad_rows():
    with pytest.raises(ValueError, match=r"^Row count must be 1 to 64, not 0$"):
        ShiftMultiplyArray(Fp4Format(1), rows=0)
