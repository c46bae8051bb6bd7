"""Which registers become those of a multiplier, and which stay where they are."""

import pytest

from nibblegrad.gen.flow.families.ecp5.absorb import absorb_registers

PLAIN = {"CEMUX": "1", "REGSET": "RESET", "CLKMUX": "CLK"}


def register(d, q, clock=1, **parameters):
    return cell("TRELLIS_FF", {"CLK": clock, "DI": d}, {"Q": q}, PLAIN | parameters)


def cell(kind, inputs, outputs, parameters):
    return {
        "type": kind,
        "parameters": dict(parameters),
        "connections": {pin: [bit] for pin, bit in (inputs | outputs).items()},
        "port_directions": dict.fromkeys(inputs, "input") | dict.fromkeys(outputs, "output"),
    }


def multiplier(**inputs):
    return cell("MULT18X18D", {"SIGNEDA": "0", "SIGNEDB": "0", **inputs}, {"P0": 90}, {})


def absorbed(ports=(), **cells):
    """Absorb in a module of these cells; returns how many registers, and what is left of it."""
    module = {"ports": {"clk": {"bits": [1]}, "all": {"bits": list(ports)}}, "cells": dict(cells)}
    return absorb_registers(module), module["cells"]


def test_registers_on_both_sides():
    count, cells = absorbed(
        a=register(10, 20), b=register(11, 21), m=multiplier(A0=20, A1="0", B0=21),
        p=register(90, 91), user=register(91, 92), ports=[10, 11, 92],
    )  # fmt: skip
    pins = cells["m"]["connections"]
    assert count == 3 and set(cells) == {"m", "user"}
    assert [pins[pin] for pin in ("A0", "A1", "B0", "P0")] == [[10], ["0"], [11], [91]]
    assert [pins[pin] for pin in ("CLK0", "CE0", "RST0")] == [[1], ["1"], ["0"]]
    assert {name: value for name, value in cells["m"]["parameters"].items() if "CLK" in name} == {
        f"REG_{name}_CLK": "CLK0" for name in ("INPUTA", "INPUTB", "OUTPUT")
    }


def test_what_others_need_stays():
    count, cells = absorbed(
        a=register(10, 20), b=register(11, 21), m=multiplier(A0=20, B0=21), user=register(20, 30),
        ports=[10, 11, 21, 30, 90],
    )  # fmt: skip
    # `a` has another user, and `b` a port; the multiplier keeps the same numbers once more.
    assert count == 0 and set(cells) == {"a", "b", "m", "user"}
    assert cells["m"]["connections"]["A0"] == [10] and cells["m"]["connections"]["B0"] == [11]


@pytest.mark.parametrize(
    "changes",
    [{"CEMUX": "CE"}, {"REGSET": "SET"}, {"CLKMUX": "INV"}, {"clock": 2}],
    ids=str,
)
def test_registers_that_are_not_plain_stay(changes):
    count, cells = absorbed(
        a=register(10, 20, **changes), b=register(11, 21), m=multiplier(A0=20, B0=21),
        ports=[2, 10, 11, 90],
    )  # fmt: skip
    assert count == 0 and cells["m"]["connections"]["A0"] == [20]
    assert cells["m"]["connections"]["B0"] == [21] and not cells["m"]["parameters"]


def test_an_operand_from_logic_keeps_both_as_they_are():
    count, cells = absorbed(b=register(11, 21), m=multiplier(A0=20, B0=21), ports=[11, 20, 90])
    assert count == 0 and cells["m"]["connections"]["B0"] == [21]
    count, cells = absorbed(m=multiplier(A0=20, B0=22), ports=[20, 22, 90])
    assert count == 0 and cells["m"]["connections"]["A0"] == [20]


def test_a_sign_that_changes_keeps_both_as_they_are():
    count, _ = absorbed(
        a=register(10, 20), b=register(11, 21), m=multiplier(A0=20, B0=21, SIGNEDA=12),
        ports=[10, 11, 12, 90],
    )  # fmt: skip
    assert count == 0
