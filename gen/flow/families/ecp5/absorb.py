"""Moving registers into the blocks of ECP5 that hold some of their own."""

# Block RAMs of ECP5 have registers at their outputs, and multipliers on both sides, which Yosys
# does not use for this family: a block RAM then takes 5.8 ns from the clock to its output, and a
# multiplier 4 ns in the middle of a path. Where all that a block drives is registers without enable
# and reset, these are the block's own, and so are those that drive a multiplier; what it computes,
# and when, stays the same.

from typing import Any

__all__ = ["Cell", "absorb_registers"]

Cell = dict[str, Any]


def absorb_registers(module: dict[str, Any]) -> int:
    """Move the registers behind block RAMs, and around multipliers, of a netlist into them.

    A register before a multiplier that others need as well stays there for them.

    Parameters
    ----------
    module : dict
        The flat module, as ``write_json`` of Yosys has it; it is changed.

    Returns
    -------
    int
        Count of registers that were moved.
    """
    cells: dict[str, Cell] = module["cells"]
    outside = {bit for port in module["ports"].values() for bit in port["bits"]}
    sinks: dict[int, list[str]] = {}
    for name, cell in cells.items():
        for pin, bits in cell["connections"].items():
            if cell["port_directions"][pin] == "input":
                for bit in bits:
                    if isinstance(bit, int):
                        sinks.setdefault(bit, []).append(name if pin == "DI" else "")
    moved: list[str] = []
    for cell in list(cells.values()):
        for outputs, clock, change in _output_groups(cell):
            used = [pin for pin in outputs if _drives(cell, pin, sinks, outside)]
            registers = [_register(cell, pin, sinks, outside, cells, clock) for pin in used]
            if not used or None in registers:
                continue
            for pin, register in zip(used, registers, strict=True):
                assert register is not None
                cell["connections"][pin] = cells[register]["connections"]["Q"]
                moved.append(register)
            change(cell)
    for name in moved:
        del cells[name]
    return len(moved) + _absorb_inputs(cells, outside)


def _absorb_inputs(cells: dict[str, Cell], outside: set) -> int:
    """Move the registers before multipliers into them; returns how many are gone."""
    registers = {
        bit: cell
        for cell in cells.values()
        if cell["type"] == "TRELLIS_FF" and _is_plain(cell)
        for bit in cell["connections"]["Q"]
    }
    for cell in cells.values():
        if cell["type"] != "MULT18X18D":
            continue
        pins = [pin for pin in cell["connections"] if pin[0] in "AB" and pin[1:].isdigit()]
        bits = {pin: cell["connections"][pin][0] for pin in pins}
        driven = [bit for bit in bits.values() if bit != "0"]
        signs = [cell["connections"].get(f"SIGNED{side}", ["0"])[0] for side in "AB"]
        if not driven or not all(bit in registers for bit in driven):
            continue
        clocks = {registers[bit]["connections"]["CLK"][0] for bit in driven}
        clocks.update(cell["connections"].get("CLK0", ()))
        if len(clocks) > 1 or not all(isinstance(sign, str) for sign in signs):
            continue
        for pin, bit in bits.items():
            if bit != "0":
                cell["connections"][pin] = registers[bit]["connections"]["DI"]
        _use_multiplier_registers(cell, "INPUTA", "INPUTB")
        cell["connections"]["CLK0"] = list(clocks)
        cell["port_directions"]["CLK0"] = "input"
    used = {
        bit
        for cell in cells.values()
        for pin, bits in cell["connections"].items()
        if cell["port_directions"][pin] == "input"
        for bit in bits
    }
    gone = [
        name
        for name, cell in cells.items()
        if cell["type"] == "TRELLIS_FF"
        and _is_plain(cell)
        and not (used | outside).intersection(cell["connections"]["Q"])
    ]
    for name in gone:
        del cells[name]
    return len(gone)


def _output_groups(cell: Cell):
    """List the outputs of a block that share registers, their clock, and how to use these."""
    pins = [pin for pin in cell["connections"] if cell["port_directions"][pin] == "output"]
    if cell["type"] == "MULT18X18D":
        # The clock is that of the registers, whatever it is: nothing else in the block has one.
        yield [pin for pin in pins if pin[0] == "P"], None, _use_output_register
    elif cell["type"] == "DP16KD":
        widths = [int(cell["parameters"][f"DATA_WIDTH_{port}"], 2) for port in "AB"]
        if widths[0] == 36:
            # Port A writes, port B reads, through the pins of both.
            yield [pin for pin in pins if pin[:2] == "DO"], cell["connections"]["CLKB"], _use_both
        else:
            for port, use in (("A", _use_a), ("B", _use_b)):
                mine = [pin for pin in pins if pin[:3] == f"DO{port}"]
                yield mine, cell["connections"][f"CLK{port}"], use


def _drives(cell: Cell, pin: str, sinks: dict, outside: set) -> bool:
    (bit,) = cell["connections"][pin]
    return bit in sinks or bit in outside


def _register(cell: Cell, pin: str, sinks: dict, outside: set, cells: dict, clock) -> str | None:
    """Find the plain register that is all a pin drives; None if there is more, or less."""
    (bit,) = cell["connections"][pin]
    names = sinks.get(bit, [])
    if bit in outside or len(names) != 1 or not names[0]:
        return None
    register = cells[names[0]]
    connections = register["connections"]
    if register["type"] != "TRELLIS_FF" or not _is_plain(register):
        return None
    if clock is not None and connections["CLK"] != clock:
        return None
    if cell["type"] == "MULT18X18D":
        known = cell["connections"].setdefault("CLK0", connections["CLK"])
        cell["port_directions"]["CLK0"] = "input"
        if known != connections["CLK"]:
            return None
    return names[0]


def _is_plain(register: Cell) -> bool:
    """Tell whether a register has neither enable nor reset, and begins with 0."""
    parameters = register["parameters"]
    return (
        parameters["CEMUX"].strip() == "1"
        and parameters["REGSET"] == "RESET"
        and parameters["CLKMUX"] == "CLK"
        and register["connections"].get("LSR", ["0"]) == ["0"]
    )


def _use_output_register(cell: Cell) -> None:
    _use_multiplier_registers(cell, "OUTPUT")


def _use_multiplier_registers(cell: Cell, *names: str) -> None:
    for name in names:
        cell["parameters"] |= {
            f"REG_{name}_CLK": "CLK0",
            f"REG_{name}_CE": "CE0",
            f"REG_{name}_RST": "RST0",
        }
    for pin, value in (("CE0", "1"), ("RST0", "0")):
        cell["connections"][pin] = [value]
        cell["port_directions"][pin] = "input"


def _use_a(cell: Cell) -> None:
    cell["parameters"]["REGMODE_A"] = "OUTREG"
    cell["connections"]["OCEA"] = ["1"]


def _use_b(cell: Cell) -> None:
    cell["parameters"]["REGMODE_B"] = "OUTREG"
    cell["connections"]["OCEB"] = ["1"]


def _use_both(cell: Cell) -> None:
    _use_a(cell)
    _use_b(cell)
