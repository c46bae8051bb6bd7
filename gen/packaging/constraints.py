"""Timing constraints: the clock, for Vivado (XDC) and for other tools (SDC)."""

from nibblegrad.gen.packaging.interface import CLOCK, Interface

__all__ = ["CLOCK_MHZ", "to_sdc", "to_xdc"]

#: The clock that constraints ask for.
CLOCK_MHZ = 150

_CREATE = f"create_clock -name {CLOCK} -period {1000 / CLOCK_MHZ:.3f} [get_ports {CLOCK}]\n"


def to_xdc(interface: Interface) -> str:
    """Write the constraints for Vivado, in which they were not run."""
    return (
        f"# Clock of {interface.name}, {CLOCK_MHZ} MHz; change the period to yours.\n"
        "# Every port is synchronous to it. For the module as top, or out of context; in a design\n"
        "# the clock comes from outside. Not run in Vivado.\n" + _CREATE
    )


def to_sdc(interface: Interface) -> str:
    """Write the constraints for tools that read SDC."""
    return (
        f"# Clock of {interface.name}, {CLOCK_MHZ} MHz; change the period to yours.\n"
        "# Every port is synchronous to it.\n" + _CREATE
    )
