"""Boards with a serial line to the host."""

from dataclasses import dataclass

__all__ = ["BAUD", "Board"]


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
