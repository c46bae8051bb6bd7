"""Synthesis: from Verilog to a netlist of a family's cells, and their count."""

import fnmatch
import json
import time
from dataclasses import dataclass
from pathlib import Path

from . import cache, tools
from .absorb import absorb_registers
from .targets import Target

__all__ = ["Synthesis", "synthesize"]

# Changes when the same inputs would lead to something else because this module has changed.
REVISION = 3

# What Yosys takes a wire of ECP5 to need, in ps, is 300, so that it likes many small LUTs in a row
# better than few. In a training core a wire takes two to four times as long. This is its script for
# mapping as it is, but for the wire.
_LONG_WIRES = "scratchpad -set abc9.script +&scorr;&sweep;&dc2;&dch,-f,-r;&ps;&if,-W,900,-v;&mfs"

# Whatever may set a few registers to zero becomes their reset, which comes to them out of a LUT
# from afar, and no two such resets share a slice. Where fewer than 16 registers share one, it is
# logic before them again, from just before registers are mapped.
_FEW_RESETS = (
    "opt_clean; dfflegalize -minsrst 16 -cell $_DFF_?_ 01 -cell $_DFF_?P?_ r -cell $_SDFF_?P?_ r"
    " -cell $_DFFE_??_ 01 -cell $_DFFE_?P??_ r -cell $_SDFFE_?P??_ r -cell $_DLATCH_?_ x"
    "; opt_merge; opt_clean"
)


@dataclass(frozen=True)
class Synthesis:
    """A netlist and what it is made of.

    Attributes
    ----------
    folder : Path
        Where its files are: ``design.v``, ``netlist.json``, ``netlist.v``, ``yosys.log``.
    top : str
        The module.
    target : Target
        For whose family it is; the device does not matter.
    cells : dict of str to int
        Count of cells, by type.
    carry_feeds : int
        Carry cells that nextpnr will add, on ECP5: one at each end of a chain, and one where logic
        uses a carry on the way.
    seconds : float
        Time it took, when it was not found in the cache.
    version : str
        Of Yosys.
    """

    folder: Path
    top: str
    target: Target
    cells: dict[str, int]
    carry_feeds: int
    seconds: float
    version: str

    @property
    def json(self) -> Path:
        """Netlist for place and route."""
        return self.folder / "netlist.json"

    @property
    def netlist(self) -> Path:
        """Netlist in Verilog: instances of the family's cells."""
        return self.folder / "netlist.v"

    @property
    def log(self) -> Path:
        """What Yosys said."""
        return self.folder / "yosys.log"

    @property
    def luts(self) -> int:
        """LUTs, with those that carry cells and distributed memory occupy.

        ECP5: LUT4 + 2 * CCU2C + 6 * TRELLIS_DPR16X4, without :attr:`carry_feeds`.
        """
        return self._count(self.target.family.luts)

    @property
    def placed_luts(self) -> int:
        """LUTs as nextpnr counts them on ECP5: with the ends of carry chains, and two constants."""
        return self.luts + 2 * self.carry_feeds + (2 if self.target.family.name == "ecp5" else 0)

    @property
    def flip_flops(self) -> int:
        """Flip-flops."""
        return self._count(self.target.family.flip_flops)

    @property
    def block_rams(self) -> int:
        """Block RAMs."""
        return self._count(self.target.family.block_rams)

    @property
    def multipliers(self) -> int:
        """Multiplier blocks of 18 x 18 bits (16 x 16 on iCE40); two smaller ones count as one."""
        return self._count(self.target.family.multipliers)

    def _count(self, weights: dict[str, float]) -> int:
        total = 0.0
        for pattern, weight in weights.items():
            for cell in fnmatch.filter(self.cells, pattern):
                total += weight * self.cells[cell]
        return -int(-total // 1)


def synthesize(
    verilog: str,
    top: str,
    target: Target,
    *,
    multipliers: bool = True,
    wide_luts: bool = False,
    long_wires: bool = False,
    options: str = "",
    folder: Path = cache.FOLDER,
) -> Synthesis:
    """Synthesise a design with Yosys, or find it among the results that are kept.

    Parameters
    ----------
    verilog : str
        The design, in Verilog-2005.
    top : str
        Its module.
    target : Target
        For which family.
    multipliers : bool
        Whether multiplier blocks may be used, if the device has any.
    wide_luts : bool
        Whether multiplexers that join LUTs to wider ones may be used. Without them a LUT is a
        LUT, and designs can be compared.
    long_wires : bool
        Whether to map a large design, whose wires are long, on ECP5: to fewer LUTs in a row, and
        without resets that few registers share.
    options : str
        More options of the synthesis command.
    folder : Path
        Where results are kept.

    Raises
    ------
    InputError
        If Yosys is missing.
    ToolError
        If it fails.
    """
    family = target.family
    command = [family.synthesis]
    if multipliers and target.multipliers:
        command.append(family.with_multipliers)
    else:
        command.append(family.without_multipliers)
    if not wide_luts:
        command.append(family.no_wide_luts)
    write = "write_verilog -noattr netlist.v; tee -q -o stat.json stat -json"
    mapping = [" ".join([*filter(None, [*command, options]), f"-top {top}"])]
    prepare = []
    if long_wires and family.name == "ecp5":
        prepare = [_LONG_WIRES]
        mapping = [f"{mapping[0]} -run begin:map_ffs", _FEW_RESETS, f"{mapping[0]} -run map_ffs:"]
    script = "; ".join(
        [*prepare, "read_verilog design.v", *mapping, "write_json netlist.json", write]
    )
    version = tools.tool_version("yosys")

    def make(path: Path) -> dict:
        (path / "design.v").write_text(verilog)
        start = time.monotonic()
        tools.run("yosys", ["-q", "-l", "yosys.log", "-p", script], path, "yosys.out")
        if family.name == "ecp5" and _absorb(path / "netlist.json", top):
            again = f"read_json netlist.json; hierarchy -top {top}; {write}"
            tools.run("yosys", ["-q", "-l", "absorb.log", "-p", again], path, "absorb.out")
        seconds = time.monotonic() - start
        cells = _cells(path / "stat.json", top)
        # Only ECP5 has carry cells whose ends nextpnr extends.
        feeds = _carry_feeds(path / "netlist.json", top) if "CCU2C" in cells else 0
        return {"cells": cells, "carry_feeds": feeds, "seconds": round(seconds, 1)}

    key = {
        "step": "synthesis",
        "revision": REVISION,
        "verilog": verilog,
        "script": script,
        "version": version,
    }
    path, result = cache.cached(key, make, folder)
    return Synthesis(path, top, target, version=version, **result)


def _absorb(netlist: Path, top: str) -> int:
    """Move registers into blocks, in the file of a netlist. Returns how many."""
    document = json.loads(netlist.read_text())
    count = absorb_registers(document["modules"][top])
    if count:
        netlist.write_text(json.dumps(document))
    return count


def _cells(stat: Path, top: str) -> dict[str, int]:
    """Read the cells of the flattened module from the statistics of Yosys."""
    text = stat.read_text()
    document = json.loads(text[text.index("{") :])
    cells = document["modules"][f"\\{top}"]["num_cells_by_type"]
    return {name: count for name, count in cells.items() if not name.startswith("$")}


def _carry_feeds(netlist: Path, top: str) -> int:
    """Count the ends of carry chains, and the carries that logic uses on the way."""
    cells = json.loads(netlist.read_text())["modules"][top]["cells"].values()
    chains = [cell["connections"] for cell in cells if cell["type"] == "CCU2C"]
    into = {bit for pins in chains for bit in pins.get("CIN", ())}
    out = {bit for pins in chains for bit in pins.get("COUT", ())}
    used = {
        bit
        for cell in cells
        for pin, bits in cell["connections"].items()
        if cell["type"] != "CCU2C" or pin not in ("CIN", "COUT")
        for bit in bits
    }
    # Constants are strings, and one for each chain that begins with them.
    begins = sum(bit not in out for pins in chains for bit in pins.get("CIN", ()))
    return begins + len(out - into) + len(out & into & used)
