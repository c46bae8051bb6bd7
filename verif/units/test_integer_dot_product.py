# amaranth: UnusedElaboratable=no
"""Dot products of integers and shift operands, of the price list: hardware against model."""

import pytest

from nibblegrad.golden.numbers.formats import Fp4Format, IntFormat
from nibblegrad.golden.units.integer_dot_product import total, wrap
from nibblegrad.hdl.array.structures import PIPELINED, STRUCTURES
from nibblegrad.hdl.units.dual_dot_product import DualDotProduct
from nibblegrad.hdl.units.integer_dot_product import IntegerDotProduct
from nibblegrad.hdl.units.integer_multiplier import Multiplication
from nibblegrad.hdl.units.shift_dot_product import ShiftDotProduct
from verif.support.marks import slow


def simulate(sim, core, kind, a_bits, b_bits=4, **more):
    lanes = core.a.shape().length
    params = {
        "core": f"dot product ({kind})",
        "kind": kind,
        "lanes": lanes,
        "a_bits": a_bits,
        "b_bits": b_bits,
        "total_bits": len(core.total),
        "latency": core.latency,
        "log2_radix": 1,
        "operands": [0],
        "digits": False,
        **more,
    }
    sim(core, "integer_dot_product", params)


@pytest.mark.parametrize(
    "multiplication, structure",
    [
        (Multiplication.OPERATOR, PIPELINED),
        slow(Multiplication.OPERATOR, STRUCTURES["compact"]),
        (Multiplication.DIGITS, PIPELINED),
        (Multiplication.CARRY, STRUCTURES["ecp5"]),
    ],
)
@pytest.mark.parametrize(
    "a_bits, b_bits, lanes",
    [
        pytest.param(4, 4, 16, marks=pytest.mark.slow),
        (8, 4, 4),
        pytest.param(8, 8, 3, marks=pytest.mark.slow),
    ],
)
def test_integers(sim, multiplication, structure, a_bits, b_bits, lanes):
    core = IntegerDotProduct(a_bits, b_bits, lanes, 24, multiplication, structure)
    simulate(sim, core, "integer", a_bits, b_bits)


@pytest.mark.parametrize("structure", STRUCTURES.values(), ids=lambda structure: structure.name)
@pytest.mark.parametrize(
    "log2_radix, lanes, digits",
    [
        pytest.param(1, 16, False, marks=pytest.mark.slow),
        (1, 4, True),
        pytest.param(2, 5, False, marks=pytest.mark.slow),
    ],
)
def test_shift_operands(sim, structure, log2_radix, lanes, digits):
    core = ShiftDotProduct(Fp4Format(log2_radix), lanes, 5, 24, structure, digits)
    operands = [0, 1] if digits else [0]
    simulate(sim, core, "shift", 5, log2_radix=log2_radix, operands=operands, digits=digits)


@pytest.mark.parametrize(
    "multiplication, structure",
    [
        slow(Multiplication.OPERATOR, PIPELINED),
        (Multiplication.DIGITS, PIPELINED),
        slow(Multiplication.CARRY, STRUCTURES["ecp5"]),
    ],
)
def test_both_operands(sim, multiplication, structure):
    core = DualDotProduct(Fp4Format(1), 4, 5, 24, multiplication, structure)
    simulate(sim, core, "dual", 5, operands=[0, 1])


def test_sums_wrap():
    assert wrap(1 << 23, IntFormat(24)) == -(1 << 23)
    assert wrap(-(1 << 23) - 1, IntFormat(24)) == (1 << 23) - 1
    assert total([[-8, 7]], [[-8, 7]], 8) == 113
    assert total([[-8, -8, -8]], [[-8, -8, -8]], 8) == -64
