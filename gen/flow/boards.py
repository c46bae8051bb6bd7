"""Boards with a serial line to the host, and their pins."""

from dataclasses import dataclass

__all__ = ["BAUD", "BOARDS", "Board"]


@dataclass(frozen=True)
class Board:
    """A board that carries a device of a target.

    Attributes
    ----------
    name : str
        Its name.
    hertz : int
        Frequency of its oscillator, which clocks the core.
    pins : str
        Constraints of ``aclk``, ``aresetn``, ``rx``, ``tx`` and ``irq``.
    """

    name: str
    hertz: int
    pins: str


#: Speed of the serial line in bits a second.
BAUD = 1_000_000

# Ref: constraints ulx3s_v20.lpf of the board. The line is named by its other end there:
# what the FPGA sends is ftdi_rxd.
_ULX3S = """\
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

_ULX3S_BOARD = Board("ULX3S", 25_000_000, _ULX3S)

#: The board of a target.
BOARDS = {f"ecp5-{size}": _ULX3S_BOARD for size in ("25k", "45k", "85k")}
