"""Area in standard cells of any Liberty file."""

import gzip
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from nibblegrad.gen.flow import cache, tools
from nibblegrad.golden.errors import InputError

__all__ = ["DEFAULT_LIBERTY", "REVISION", "CellArea", "find_liberty", "map_to_cells", "nand_area"]

#: From Debian's package qflow-tech-osu018, where it is installed.
DEFAULT_LIBERTY = Path("/usr/share/qflow/tech/osu018/osu018_stdcells.lib")

REVISION = 3


@dataclass(frozen=True)
class CellArea:
    """A design in standard cells.

    Attributes
    ----------
    area : float
        Of all cells, in the units of the library (square micrometres).
    gates : float
        The same in two-input NAND gates, the smallest of the library.
    registers : float
        Share of the area that flip-flops take.
    """

    area: float
    gates: float
    registers: float


def find_liberty(path: str | None) -> Path | None:
    """Find the library: the one that is named, or Debian's if it is there.

    Raises
    ------
    InputError
        If the file that is named is not there or is no library.
    """
    if path is None:
        return DEFAULT_LIBERTY if DEFAULT_LIBERTY.exists() else None
    library = Path(path)
    if not library.is_file():
        raise InputError(f"Liberty file {path} is not there; name one with LIBERTY=")
    if "library" not in _text(library)[:20000]:
        raise InputError(f"{path} is no Liberty file; name one with LIBERTY=")
    return library


def _text(library: Path) -> str:
    data = library.read_bytes()
    return (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode(errors="replace")


def nand_area(text: str) -> float:
    """Find the area of the smallest two-input NAND gate."""
    areas = []
    for cell in re.finditer(r'\bcell\s*\(\s*"?(\w+)"?\s*\)\s*\{', text):
        if re.search(r"nand2(?!b)", cell[1], re.IGNORECASE) and "nand2b" not in cell[1].lower():
            area = re.search(r"\barea\s*:\s*\"?([\d.]+)", text[cell.end() : cell.end() + 20000])
            if area:
                areas.append(float(area[1]))
    if not areas:
        raise InputError("The Liberty file has no cell called NAND2, by which gates are counted")
    return min(areas)


def map_to_cells(
    verilog: str, top: str, library: Path, picoseconds: int, folder: Path = cache.FOLDER
) -> CellArea:
    """Map a design to standard cells for a clock period, or find it among the results kept.

    Registers are taken by ``dfflibmap``, the rest by ABC with its buffers and sizes chosen for the
    period. Two ways to build multipliers are tried, Yosys' own and Booth's, and the smaller counts.

    Raises
    ------
    InputError
        If Yosys is missing, or the library has no NAND2.
    nibblegrad.gen.flow.tools.ToolError
        If Yosys fails.
    """
    text = _text(library)
    # Cells for isolation and probing, which some libraries have, are no logic.
    unwanted = " ".join(f'-dont_use "{pattern}"' for pattern in ("*lpflow*", "*probe*"))
    scripts = [
        "; ".join(
            [
                "read_verilog design.v",
                f"synth -flatten -top {top} -run begin:fine",
                *booth,
                f"synth -top {top} -run fine:check",
                "dfflibmap -liberty cells.lib",
                f"abc -D {picoseconds} -constr drive.constr -liberty cells.lib {unwanted}",
                "opt_clean -purge",
                "tee -q -o stat.txt stat -liberty cells.lib",
            ]
        )
        for booth in ([], ["booth", "alumacc", "share", "opt"])
    ]
    version = tools.tool_version("yosys")
    buffers = re.findall(r'\bcell\s*\(\s*"?(\w*buf\w*)"?\s*\)', text, re.IGNORECASE)
    constraint = (f"set_driving_cell {buffers[0]}\n" if buffers else "") + (
        "set_load 0.01 [all_outputs]\n"
    )

    def make(path: Path) -> dict:
        results = []
        for script in scripts:
            (path / "design.v").write_text(verilog)
            (path / "cells.lib").write_text(text)
            (path / "drive.constr").write_text(constraint)
            tools.run("yosys", ["-l", "yosys.log", "-p", script], path, "yosys.out")
            stat = (path / "stat.txt").read_text()
            area = re.findall(r"Chip area for (?:top )?module .*: ([\d.eE+]+)", stat)[-1]
            share = re.findall(r"sequential elements: .*\(([\d.]+)%\)", stat)[-1]
            results.append({"area": float(area), "registers": float(share) / 100})
            (path / "cells.lib").unlink()
        return min(results, key=lambda result: result["area"])

    key = {
        "step": "cells",
        "revision": REVISION,
        "verilog": verilog,
        "scripts": scripts,
        "constraint": constraint,
        "library": hashlib.sha256(text.encode()).hexdigest(),
        "version": version,
    }
    _, result = cache.cached(key, make, folder)
    return CellArea(gates=result["area"] / nand_area(text), **result)
