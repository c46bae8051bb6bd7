"""What the flow asks of a family of FPGAs, and of a device of it."""

import inspect
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from nibblegrad.gen.flow.boards import Board
from nibblegrad.gen.flow.tools import Tool

__all__ = ["RESOURCES", "SHAPES_18K", "Family", "Pricing", "Shape", "Target"]

#: What a design takes of a device and a device has, in the order of tables, with its name in words.
RESOURCES = {
    "luts": "LUTs",
    "flip_flops": "flip-flops",
    "block_rams": "block RAMs",
    "multipliers": "multipliers",
}

#: Words and bits of the block RAMs of 18 Kbit that several makers have.
SHAPES_18K = ((16384, 1), (8192, 2), (4096, 4), (2048, 9), (1024, 18), (512, 36))

#: A training core that is measured: rows, columns, lanes and residual bits.
Shape = tuple[int, int, int, int]


@dataclass(frozen=True)
class Pricing:
    """How a family appears in the price list.

    Attributes
    ----------
    target : str
        Device on which units are placed; without a placer they are only counted.
    conditions : str
        What else decides the MHz, in words.
    seeds : int
        How many seeds of the placer the MHz are the median of, at most.
    every_structure : bool
        Whether everything is tried, or one structure that showed itself the best elsewhere.
    largest : bool
        Whether the largest units, of FP16, are measured as well.
    """

    target: str
    conditions: str = ""
    seeds: int = 1
    every_structure: bool = False
    largest: bool = False


class Family:
    """Devices with the same cells, of one synthesis command and one place-and-route tool.

    Each family is a module of :mod:`nibblegrad.gen.flow.families`, or of a folder of a user, whose
    ``FAMILY`` is an object of a class derived from this. What has a value here may be left as it
    is.

    The weights say how many units of a resource a cell of Yosys takes; cells that are not listed
    take none. A ``*`` in the name of a cell stands for anything.

    Attributes
    ----------
    name, label : str
        What commands and files call it, and what tables do.
    rank : int
        Its place in tables, from the lowest on; families of a user come last.
    structure : str
        Structure of the array that suits it: a name of
        :data:`nibblegrad.hdl.array.structures.STRUCTURES`.
    tools : tuple of Tool
        Programs that only it needs.
    synthesis : str
        Yosys command. Its netlist has four-input LUTs, unless ``lut_inputs`` says otherwise.
    with_multipliers, without_multipliers, no_wide_luts : str
        Options of the command that make it use multipliers, that keep it from using them, and from
        using the multiplexers that join LUTs to wider ones; empty where none is needed.
    luts : dict of str to float
        LUTs by cell. A carry cell takes the LUTs it occupies, and so does distributed memory.
    carry_cell : str
        Cell of a carry chain; empty if it shares the cell of a LUT.
    flip_flops, block_rams, multipliers : dict of str to float
        By cell, as in ``luts``.
    block_shapes : tuple of (int, int)
        Words and bits that a block RAM can have.
    distributed_shapes : tuple of (int, int)
        Words and bits that a cell of distributed memory can have; empty if there is none.
    distributed_luts, distributed_cost : int
        LUTs that such a cell occupies, and what Yosys takes it to cost.
    read_cost : int
        What Yosys takes each bit to cost that is read from a block RAM.
    place, pack : str
        Programs that place and route, which takes the options of every nextpnr, and that make a
        bitstream; empty where there are none.
    place_large : tuple of str
        Options of ``place`` for a large design.
    pack_arguments : tuple of str
        What ``pack`` is called with.
    bitstream : str
        The file that it makes.
    reported : dict of str to (str, float)
        For a resource, the name that the report of ``place`` has for it, and how many of those
        make one.
    out_of_context : bool
        Whether the tool can leave out pins by itself.
    chooses_pins : bool
        Whether the tool places pins that are not constrained.
    pads : tuple of str
        Cells between a port of the module and the design, which go where the port goes.
    pricing : Pricing or None
        Its part in the price list, if it is in there.
    revision : str
        What else kept results depend on: of a family of a user, a digest of its text.
    measured_on : str
        Target for whose synthesis the cores of ``shapes`` are measured.
    shapes : tuple of Shape
        Training cores that ``python -m nibblegrad.gen.flow.calibrate`` measures, from which the
        size of others is predicted. Together they tell the terms apart; large ones keep the error
        small where it matters.
    """

    name: str
    label: str
    rank = 100
    structure = "pipelined"
    tools: tuple[Tool, ...] = ()
    revision = ""

    synthesis: str
    with_multipliers = ""
    without_multipliers = "-nodsp"
    no_wide_luts = "-nowidelut"
    lut_inputs = 4
    luts: ClassVar[dict[str, float]]
    carry_cell = ""
    flip_flops: ClassVar[dict[str, float]]
    block_rams: ClassVar[dict[str, float]]
    multipliers: ClassVar[dict[str, float]]

    block_shapes: tuple[tuple[int, int], ...]
    distributed_shapes: tuple[tuple[int, int], ...] = ()
    distributed_luts = 0
    distributed_cost = 4
    read_cost = 2

    place = ""
    pack = ""
    place_large: tuple[str, ...] = ()
    pack_arguments: tuple[str, ...] = ()
    bitstream = ""
    reported: ClassVar[dict[str, tuple[str, float]]] = {}
    out_of_context = False
    chooses_pins = False
    pads: tuple[str, ...] = ()

    pricing: Pricing | None = None
    measured_on = ""
    shapes: tuple[Shape, ...] = ()

    def __repr__(self) -> str:
        return f"<family {self.name}>"

    @property
    def model(self) -> Path:
        """Where the coefficients are that predict sizes: beside the module of the family."""
        return Path(inspect.getfile(type(self))).with_name(f"{self.name}.json")

    def targets(self) -> list["Target"]:
        """List its devices."""
        raise NotImplementedError

    def script(self, command: str, *, long_wires: bool) -> list[str]:
        """List the commands of Yosys that read ``design.v`` and map it.

        Parameters
        ----------
        command : str
            The synthesis command with its options.
        long_wires : bool
            Whether the design is a large one, whose wires are long.
        """
        return ["read_verilog design.v", command]

    def absorb(self, module: dict[str, Any]) -> int:
        """Move registers of a netlist into blocks that have some of their own, if Yosys does not.

        Parameters
        ----------
        module : dict
            The flat module, as ``write_json`` of Yosys has it; it is changed.

        Returns
        -------
        int
            Count of registers that were moved.
        """
        return 0

    def carry_feeds(self, module: dict[str, Any]) -> int:
        """Count the carry cells that the placer will add to a netlist."""
        return 0

    def placed_luts(self, luts: int, carry_feeds: int) -> int:
        """Count LUTs as the placer does.

        Parameters
        ----------
        luts : int
            By ``luts``.
        carry_feeds : int
            By :meth:`carry_feeds`.
        """
        return luts

    def logic_depths(self, module: dict[str, Any]) -> Counter[tuple[int, int]]:
        """Count inputs of registers by the carry chains and LUTs before them, if that is known."""
        return Counter()

    def prepare(self, module: dict[str, Any], clock: str, pins: str | None, filled: float) -> None:
        """Make a netlist one that the placer takes, unless it does so by itself.

        Parameters
        ----------
        module : dict
            The flat module, as ``write_json`` of Yosys has it; it is changed.
        clock : str
            Port of the clock.
        pins : str, optional
            Constraints of pins; without them only the clock has one.
        filled : float
            Share of the device's flip-flops that the design takes.
        """
        if pins is None:
            self._cut_ports(module, clock)

    def constraints(
        self, folder: Path, target: "Target", clock: str, pins: str | None, bitstream: bool
    ) -> list[str]:
        """Write constraints, and list the options of the placer that name files.

        Parameters
        ----------
        folder : Path
            Where it runs.
        target : Target
            Device.
        clock : str
            Port of the clock.
        pins : str, optional
            Constraints of pins in the format of the tool; without them only the clock has one.
        bitstream : bool
            Whether there is to be what ``pack`` needs.
        """
        raise NotImplementedError

    def _cut_ports(self, module: dict[str, Any], clock: str) -> None:
        """Leave out every port but the clock, and the pads behind them."""
        gone = {
            bit
            for name, port in module["ports"].items()
            if name != clock
            for bit in port["bits"]
            if isinstance(bit, int)
        }
        module["ports"] = {clock: module["ports"][clock]}
        module["cells"] = {
            name: cell
            for name, cell in module["cells"].items()
            if not (
                cell["type"] in self.pads
                and any(bit in gone for bits in cell["connections"].values() for bit in bits)
            )
        }


@dataclass(frozen=True)
class Target:
    """A device in a package, at a speed grade.

    Attributes
    ----------
    name : str
        What commands call it.
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
    board : Board or None
        A board that carries it, if one is known.
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
    board: Board | None = None
