"""The catalogue of devices: what they hold, and how the tools are told of them."""

import difflib
from dataclasses import dataclass, field

from golden.errors import InputError

__all__ = ["FAMILIES", "RESOURCES", "TARGETS", "Family", "Target", "find_target"]

#: What a design takes of a device and a device has, in the order of tables, with its name in words.
RESOURCES = {
    "luts": "LUTs",
    "flip_flops": "flip-flops",
    "block_rams": "block RAMs",
    "multipliers": "multipliers",
}


@dataclass(frozen=True)
class Family:
    """Devices with the same cells, of one synthesis command and one place-and-route tool.

    The weights say how many units of a resource a cell of Yosys takes; cells that are not listed
    take none.

    Attributes
    ----------
    synthesis : str
        Yosys command. Its netlist has four-input LUTs, unless ``lut_inputs`` says otherwise.
    with_multipliers, without_multipliers, no_wide_luts : str
        Options of the command that make it use multipliers, that keep it from using them, and from
        using the multiplexers that join LUTs to wider ones; empty where none is needed.
    place, pack : str
        Tools; empty where there are none.
    place_large : tuple of str
        Options of ``place`` for a large design.
    luts : dict of str to float
        LUTs by cell. A carry cell takes the LUTs it occupies, and so does distributed memory.
    flip_flops, block_rams, multipliers : dict of str to float
        By cell, as in ``luts``. A ``*`` in a name stands for anything.
    reported : dict of str to (str, float)
        For a resource, the name that the report of the tool has for it, and how many of those
        make one.
    block_shapes : tuple of (int, int)
        Words and bits that a block RAM can have.
    distributed_shapes : tuple of (int, int)
        Words and bits that a cell of distributed memory can have; empty if there is none.
    distributed_luts, distributed_cost : int
        LUTs that such a cell occupies, and what Yosys takes it to cost.
    read_cost : int
        What Yosys takes each bit to cost that is read from a block RAM.
    out_of_context : bool
        Whether the tool can leave out pins by itself.
    chooses_pins : bool
        Whether the tool places pins that are not constrained.
    structure : str
        Structure of the array that suits the family: a :class:`hdl.structure.Structure`.
    pads : tuple of str
        Cells between a port of the module and the design, which go where the port goes.
    """

    name: str
    synthesis: str
    luts: dict[str, float]
    flip_flops: dict[str, float]
    block_rams: dict[str, float]
    multipliers: dict[str, float]
    with_multipliers: str = ""
    without_multipliers: str = "-nodsp"
    no_wide_luts: str = "-nowidelut"
    lut_inputs: int = 4
    place: str = ""
    pack: str = ""
    place_large: tuple[str, ...] = ()
    reported: dict[str, tuple[str, float]] = field(default_factory=dict)
    block_shapes: tuple[tuple[int, int], ...] = ()
    distributed_shapes: tuple[tuple[int, int], ...] = ()
    distributed_luts: int = 0
    distributed_cost: int = 4
    read_cost: int = 2
    out_of_context: bool = False
    chooses_pins: bool = False
    pads: tuple[str, ...] = ()
    structure: str = "pipelined"


@dataclass(frozen=True)
class Target:
    """A device in a package, at a speed grade.

    Attributes
    ----------
    name : str
        Key of :data:`TARGETS`.
    family : Family
        Its family.
    part : str
        The device in the maker's words.
    place_arguments : tuple of str
        What the place-and-route tool must know of the device.
    luts, flip_flops, block_rams, multipliers : int
        What there is.
    block_ram_bits : int
        Bits of one block RAM.
    clock_pin : str
        Pin that brings the clock, where the tool does not choose one.
    """

    name: str
    family: Family
    part: str
    place_arguments: tuple[str, ...] = ()
    luts: int = 0
    flip_flops: int = 0
    block_rams: int = 0
    block_ram_bits: int = 0
    multipliers: int = 0
    clock_pin: str = ""


_SHAPES_18K = ((16384, 1), (8192, 2), (4096, 4), (2048, 9), (1024, 18), (512, 36))

#: Families, by name.
FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        Family(
            name="ecp5",
            synthesis="synth_ecp5",
            # A carry cell is two LUTs. 16 x 4 bits of distributed memory are four, and two
            # more cannot be used because their inputs write it.
            luts={"LUT4": 1, "CCU2C": 2, "TRELLIS_DPR16X4": 6},
            flip_flops={"TRELLIS_FF": 1},
            block_rams={"DP16KD": 1, "PDPW16KD": 1},
            multipliers={"MULT18X18D": 1},
            place="nextpnr-ecp5",
            # The other placer leaves single registers of a training core far away from the rest.
            place_large=("--placer", "static"),
            pack="ecppack",
            reported={
                "luts": ("TRELLIS_COMB", 1),
                "flip_flops": ("TRELLIS_FF", 1),
                "block_rams": ("DP16KD", 1),
                "multipliers": ("MULT18X18D", 1),
            },
            block_shapes=_SHAPES_18K,
            distributed_shapes=((16, 4),),
            distributed_luts=6,
            out_of_context=True,
            structure="ecp5",
            chooses_pins=True,
        ),
        Family(
            name="ice40",
            synthesis="synth_ice40",
            # A carry shares the logic cell of its LUT.
            luts={"SB_LUT4": 1},
            flip_flops={"SB_DFF*": 1},
            block_rams={"SB_RAM40_4K*": 1},
            multipliers={"SB_MAC16": 1},
            with_multipliers="-dsp",
            without_multipliers="",
            no_wide_luts="",
            place="nextpnr-ice40",
            pack="icepack",
            reported={
                "luts": ("ICESTORM_LC", 1),
                "block_rams": ("ICESTORM_RAM", 1),
                "multipliers": ("ICESTORM_DSP", 1),
            },
            block_shapes=((2048, 2), (1024, 4), (512, 8), (256, 16)),
            chooses_pins=True,
        ),
        Family(
            name="nexus",
            synthesis="synth_nexus",
            luts={"LUT4": 1, "CCU2": 2, "WIDEFN9": 2, "DPR16X4": 6},
            flip_flops={"FD1P3*": 1},
            block_rams={"DP16K*": 1, "PDP16K*": 1, "PDPSC16K*": 1},
            multipliers={"MULT9X9": 0.5, "MULT18X18": 1, "MULT18X36": 2, "MULT36X36": 4},
            place="nextpnr-nexus",
            # With some seeds there is no place left for the last registers; say so in minutes.
            place_large=("--placer-heap-cell-placement-timeout", "1000"),
            pack="prjoxide",
            reported={
                "luts": ("OXIDE_COMB", 1),
                "flip_flops": ("OXIDE_FF", 1),
                "block_rams": ("OXIDE_EBR", 1),
                "multipliers": ("MULT18_CORE", 1),
            },
            block_shapes=_SHAPES_18K,
            distributed_shapes=((16, 4),),
            distributed_luts=6,
            pads=("IB", "OB", "OBZ", "BB"),
        ),
        Family(
            name="gowin",
            synthesis="synth_gowin",
            luts={**{f"LUT{k}": 1 for k in range(1, 5)}, "ALU": 1, "RAM16SDP*": 4},
            flip_flops={"DFF*": 1},
            block_rams={"SDPB": 1, "SDPX9B": 1, "DPB": 1, "DPX9B": 1, "SP": 1, "SPX9": 1},
            multipliers={"MULT9X9": 0.5, "MULT18X18": 1, "MULT36X36": 4},
            place="nextpnr-himbaechel-gowin",
            reported={
                "luts": ("LUT4", 1),
                "flip_flops": ("DFF", 1),
                "block_rams": ("BSRAM", 1),
                "multipliers": ("MULT18X18", 1),
            },
            block_shapes=_SHAPES_18K,
            distributed_shapes=((16, 4),),
            distributed_luts=4,
            read_cost=0,
            pads=("IBUF", "OBUF", "TBUF", "IOBUF"),
        ),
        Family(
            name="xilinx",
            synthesis="synth_xilinx -family xc7 -noiopad -flatten",
            luts={
                **{f"LUT{k}": 1 for k in range(1, 7)},
                **{"RAM32X1D": 2, "RAM64X1D": 2, "RAM32M": 4, "RAM64M": 4, "RAM128X1D": 4},
                **{"SRL16E": 1, "SRLC32E": 1},
            },
            flip_flops={"FD*": 1},
            block_rams={"RAMB18E1": 1, "RAMB36E1": 2},
            multipliers={"DSP48E1": 1},
            lut_inputs=6,
            # In halves of the larger blocks.
            block_shapes=_SHAPES_18K,
            distributed_shapes=((32, 6), (64, 3)),
            distributed_luts=4,
            distributed_cost=8,
        ),
    )
}


#: Name, family, part, LUTs, flip-flops, block RAMs, their bits, multipliers, clock pin
_CATALOGUE = (
    ("ecp5-25k", "ecp5", "LFE5U-25F-6BG381C", 24288, 24288, 56, 18432, 28, ""),
    ("ecp5-45k", "ecp5", "LFE5U-45F-6BG381C", 43848, 43848, 108, 18432, 72, ""),
    ("ecp5-85k", "ecp5", "LFE5U-85F-6BG381C", 83640, 83640, 208, 18432, 156, ""),
    ("ice40-up5k", "ice40", "iCE40UP5K-SG48", 5280, 5280, 30, 4096, 8, ""),
    ("ice40-hx8k", "ice40", "iCE40HX8K-CT256", 7680, 7680, 32, 4096, 0, ""),
    ("nexus-17", "nexus", "LIFCL-17-7BG256C", 13824, 13824, 24, 18432, 24, ""),
    ("nexus-40", "nexus", "LIFCL-40-7BG400C", 32256, 32256, 84, 18432, 56, ""),
    ("gowin-9k", "gowin", "GW1NR-LV9QN88PC6/I5", 8640, 6480, 26, 18432, 20, "52"),
    # Counted only: none of the packages places and routes it.
    ("xilinx", "xilinx", "XC7A35T", 20800, 41600, 100, 18432, 90, ""),
)

_PLACE_ARGUMENTS = {
    "ecp5-25k": ("--25k", "--package", "CABGA381", "--speed", "6"),
    "ecp5-45k": ("--45k", "--package", "CABGA381", "--speed", "6"),
    "ecp5-85k": ("--85k", "--package", "CABGA381", "--speed", "6"),
    # The other router may try the same wires forever on these.
    "ice40-up5k": ("--up5k", "--package", "sg48", "--router", "router2"),
    "ice40-hx8k": ("--hx8k", "--package", "ct256", "--router", "router2"),
    "nexus-17": ("--device", "LIFCL-17-7BG256C"),
    "nexus-40": ("--device", "LIFCL-40-7BG400C"),
    "gowin-9k": ("--device", "GW1NR-LV9QN88PC6/I5", "-o", "family=GW1N-9C"),
}

#: Targets, by name.
TARGETS: dict[str, Target] = {
    name: Target(
        name,
        FAMILIES[family],
        part,
        _PLACE_ARGUMENTS.get(name, ()),
        luts,
        flip_flops,
        block_rams,
        bits,
        multipliers,
        pin,
    )
    for name, family, part, luts, flip_flops, block_rams, bits, multipliers, pin in _CATALOGUE
}


def find_target(name: str) -> Target:
    """Find a target by its name.

    Raises
    ------
    InputError
        If there is none of this name.
    """
    if name not in TARGETS:
        close = difflib.get_close_matches(name, TARGETS, 1)
        hint = f"did you mean {close[0]}?" if close else f"choose from {', '.join(TARGETS)}"
        raise InputError(f"Unknown target {name!r}; {hint}")
    return TARGETS[name]
