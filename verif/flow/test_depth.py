"""How much logic lies between registers."""

from collections import Counter

import pytest

from nibblegrad.gen.config import TrainingCoreConfig
from nibblegrad.gen.emission.verilog import to_verilog
from nibblegrad.gen.flow.families import TARGETS
from nibblegrad.gen.flow.families.ecp5.depth import logic_depths
from nibblegrad.gen.flow.synthesis import synthesize

OUTPUTS = {"Q", "Z", "S0", "S1", "COUT", "DO", "P0"}


def depths(*cells):
    """Count in a netlist of (type, pins) cells, where a wire has a number."""
    listed = {
        str(k): {
            "type": kind,
            "connections": {
                pin: bits if isinstance(bits, list) else [bits] for pin, bits in pins.items()
            },
            "port_directions": {pin: "output" if pin in OUTPUTS else "input" for pin in pins},
        }
        for k, (kind, pins) in enumerate(cells)
    }
    return logic_depths({"cells": listed})


def test_from_register_to_register():
    assert depths(
        ("TRELLIS_FF", {"CLK": 1, "DI": 2, "Q": 3}),
        ("TRELLIS_FF", {"CLK": 1, "DI": 3, "CE": 2, "Q": 2}),
    ) == Counter({(0, 0): 3})


def test_luts_before_and_behind_a_chain():
    assert depths(
        ("TRELLIS_FF", {"CLK": 1, "DI": 9, "Q": 2}),
        ("LUT4", {"A": 2, "B": 2, "C": "0", "D": "1", "Z": 3}),
        # Three cells are one chain, of which the first one feeds the last one.
        ("CCU2C", {"CIN": "0", "A0": 3, "A1": 2, "COUT": 4, "S0": 20}),
        ("CCU2C", {"CIN": 4, "A0": 2, "A1": 2, "COUT": 5}),
        ("CCU2C", {"CIN": 5, "A0": 2, "A1": 2, "S1": 6}),
        ("LUT4", {"A": 6, "B": 2, "Z": 9}),
        ("TRELLIS_FF", {"CLK": 1, "DI": 20, "LSR": 3, "Q": 21}),
    ) == Counter({(1, 2): 1, (1, 1): 1, (0, 1): 1})


def test_the_second_half_of_a_carry_cell_is_not_before_the_first():
    found = depths(
        ("LUT4", {"A": 2, "Z": 3}),
        ("CCU2C", {"CIN": "0", "A0": 2, "A1": 3, "S0": 4, "S1": 5}),
        ("TRELLIS_FF", {"CLK": 1, "DI": 4, "Q": 2}),
        ("TRELLIS_FF", {"CLK": 1, "DI": 5, "Q": 6}),
    )
    assert found == Counter({(1, 0): 1, (1, 1): 1})


def test_a_carry_that_logic_uses_begins_another_chain():
    found = depths(
        ("CCU2C", {"CIN": "0", "A0": 2, "COUT": 3}),
        ("CCU2C", {"CIN": "0", "A0": 3, "S0": 4}),
        ("TRELLIS_FF", {"CLK": 1, "DI": 4, "Q": 2}),
    )
    assert found == Counter({(2, 0): 1})


def test_memories_of_luts_are_read_through_and_written_at_the_clock():
    found = depths(
        ("LUT4", {"A": 2, "Z": 3}),
        ("TRELLIS_DPR16X4", {"WCK": 1, "WRE": 3, "WAD": [2, 2], "DI": [3], "RAD": [3, 2], "DO": 4}),
        ("TRELLIS_FF", {"CLK": 1, "DI": 4, "Q": 2}),
        # A multiplier counts as a register on both sides.
        ("MULT18X18D", {"CLK0": 1, "A0": 3, "P0": 5}),
        ("TRELLIS_FF", {"CLK": 1, "DI": 5, "Q": 6}),
    )
    assert found == Counter({(0, 1): 3, (0, 0): 3, (0, 2): 1})


@pytest.mark.slow
def test_training_core_is_shallow(tmp_path):
    """No path has more logic than a carry chain and two LUTs, or four LUTs and no chain."""
    core = TrainingCoreConfig(
        rows=2, columns=2, lanes=4, activation_words=64, weight_words=64, gradient_words=64,
        bias_words=16, partial_sum_strips=64, structure="ecp5",
    )  # fmt: skip
    verilog = to_verilog(core.build(), "training_core")
    target = TARGETS["ecp5-85k"]
    synthesis = synthesize(verilog, "training_core", target, long_wires=True, folder=tmp_path)
    found = target.family.logic_depths(synthesis.module())
    assert sum(found.values()) > 10_000
    assert all(chains <= 1 and 2 * chains + luts <= 4 for chains, luts in found), found
