"""How much logic lies between registers: LUTs and carry chains, in a netlist of ECP5."""

from collections import Counter
from typing import Any

__all__ = ["logic_depths"]

#: Pins through which a cell of logic passes something on, at once.
_THROUGH = {
    "LUT4": ("A", "B", "C", "D"),
    "TRELLIS_DPR16X4": ("RAD",),
    "CCU2C": ("A0", "B0", "C0", "D0", "A1", "B1", "C1", "D1", "CIN"),
}
#: Pins at which a path ends although the cell passes others on, and pins that are clocks.
_WRITES = ("DI", "WAD", "WRE")
_CLOCKS = ("CLK", "CLK0", "CLKA", "CLKB", "WCK")


def logic_depths(module: dict[str, Any]) -> Counter[tuple[int, int]]:
    """Count the ends of paths from register to register by the logic that lies before them.

    A carry chain counts once, however long it is. Where several paths meet, the one that counts is
    the one with the most logic, of which a carry chain is as much as two LUTs. A memory of LUTs is
    a LUT where it is read. Multipliers and block RAMs count as registers, and ports too.

    Parameters
    ----------
    module : dict
        A netlist of ECP5 cells, flat, as ``write_json`` of Yosys has it.

    Returns
    -------
    Counter of (int, int)
        Inputs of registers, by carry chains and LUTs before them.
    """
    cells = module["cells"].values()
    drivers = {
        bit: (cell, pin)
        for cell in cells
        for pin, bits in cell["connections"].items()
        if cell["port_directions"][pin] == "output"
        for bit in bits
    }
    known: dict[Any, tuple[int, int]] = {}
    counts: Counter[tuple[int, int]] = Counter()
    for cell in cells:
        for pin, bits in cell["connections"].items():
            ends = cell["type"] not in _THROUGH or pin in _WRITES
            if not ends or pin in _CLOCKS or cell["port_directions"][pin] == "output":
                continue
            counts.update(_before(bit, drivers, known) for bit in bits if isinstance(bit, int))
    return counts


def _before(end: int, drivers: dict, known: dict) -> tuple[int, int]:
    """Find carry chains and LUTs before a wire; without recursion, as chains are long."""
    waiting = [end]
    while waiting:
        bit = waiting[-1]
        cell, pin = drivers.get(bit, (None, ""))
        if bit in known or cell is None or cell["type"] not in _THROUGH:
            known.setdefault(bit, (0, 0))
            waiting.pop()
            continue
        inputs = [
            (source, name)
            for name in _THROUGH[cell["type"]]
            if not (pin == "S0" and name in ("A1", "B1", "C1", "D1"))
            for source in cell["connections"].get(name, ())
            if isinstance(source, int)
        ]
        missing = [source for source, _ in inputs if source not in known]
        if missing:
            waiting += missing
            continue
        found = [(0, 0)]
        for source, name in inputs:
            chains, luts = known[source]
            before, output = drivers.get(source, (None, ""))
            if cell["type"] != "CCU2C":
                luts += 1
            elif not (name == "CIN" and before is not None and output == "COUT"):
                chains += 1
            found.append((chains, luts))
        known[bit] = max(found, key=lambda depth: (2 * depth[0] + depth[1], depth))
        waiting.pop()
    return known[end]
