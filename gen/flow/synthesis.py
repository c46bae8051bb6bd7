"""Synthesis: from Verilog to a netlist of a family's cells, and their count."""

import fnmatch
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nibblegrad.gen.flow import cache, tools
from nibblegrad.gen.flow.family import Target

__all__ = ["REVISION", "Synthesis", "synthesize"]

# Changes when the same inputs would lead to something else because this module has changed.
REVISION = 3


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
        Carry cells that the placer will add: see
        :meth:`nibblegrad.gen.flow.family.Family.carry_feeds`.
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

        Those of :attr:`carry_feeds` are not among them.
        """
        return self._count(self.target.family.luts)

    @property
    def placed_luts(self) -> int:
        """LUTs as the placer counts them."""
        return self.target.family.placed_luts(self.luts, self.carry_feeds)

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
        """Multiplier blocks, of 18 x 18 bits or so; two smaller ones may count as one."""
        return self._count(self.target.family.multipliers)

    def module(self) -> dict[str, Any]:
        """Read the netlist: the flat module, as ``write_json`` of Yosys has it."""
        return json.loads(self.json.read_text())["modules"][self.top]

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
        Whether to map a large design, whose wires are long, as the family does those.
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
    mapping = " ".join([*filter(None, [*command, options]), f"-top {top}"])
    script = "; ".join(
        [*family.script(mapping, long_wires=long_wires), "write_json netlist.json", write]
    )
    version = tools.tool_version("yosys")

    def make(path: Path) -> dict:
        (path / "design.v").write_text(verilog)
        start = time.monotonic()
        tools.run("yosys", ["-q", "-l", "yosys.log", "-p", script], path, "yosys.out")
        netlist = path / "netlist.json"
        document = json.loads(netlist.read_text())
        module = document["modules"][top]
        if family.absorb(module):
            netlist.write_text(json.dumps(document))
            again = f"read_json netlist.json; hierarchy -top {top}; {write}"
            tools.run("yosys", ["-q", "-l", "absorb.log", "-p", again], path, "absorb.out")
        seconds = time.monotonic() - start
        cells = _cells(path / "stat.json", top)
        feeds = family.carry_feeds(module)
        return {"cells": cells, "carry_feeds": feeds, "seconds": round(seconds, 1)}

    key = {
        "step": "synthesis",
        "revision": REVISION,
        "verilog": verilog,
        "script": script,
        "version": version,
        **({"family": family.revision} if family.revision else {}),
    }
    path, result = cache.cached(key, make, folder)
    return Synthesis(path, top, target, version=version, **result)


def _cells(stat: Path, top: str) -> dict[str, int]:
    """Read the cells of the flattened module from the statistics of Yosys."""
    text = stat.read_text()
    document = json.loads(text[text.index("{") :])
    cells = document["modules"][f"\\{top}"]["num_cells_by_type"]
    return {name: count for name, count in cells.items() if not name.startswith("$")}
