# amaranth: UnusedElaboratable=no
"""Ports of a module, and the buses and signals that they belong to."""

# Ref: Arm IHI 0051B, AMBA AXI-Stream Protocol Specification
# Ref: Arm IHI 0022H, AMBA AXI and ACE Protocol Specification, part B: AXI4-Lite

import re
from dataclasses import dataclass

from amaranth import Shape
from amaranth.lib.wiring import In

from nibblegrad.gen.core import CoreConfig
from nibblegrad.gen.emission.axi import AxiWrapper

__all__ = [
    "CLOCK",
    "INTERRUPT",
    "RESET",
    "Bus",
    "Interface",
    "Port",
    "describe",
]

CLOCK, RESET, INTERRUPT = "aclk", "aresetn", "irq"

_STREAM = re.compile(r"([sm]_axis(?:_\w+)?)_(tdata|tuser|tlast|tvalid|tready)")
_LITE = re.compile(r"(s_axi)_((?:aw|ar|w|r|b)[a-z]+)")


@dataclass(frozen=True)
class Port:
    """A port of a module: its name, ``input`` or ``output``, and its width in bits."""

    name: str
    direction: str
    width: int

    @property
    def range(self) -> str:
        """Range of a declaration in Verilog, with a blank behind it; empty for one bit."""
        return f"[{self.width - 1}:0] " if self.width > 1 else ""


@dataclass(frozen=True)
class Bus:
    """Ports that make up an AXI4-Stream or AXI4-Lite.

    Parameters
    ----------
    name : str
        What the names of its ports begin with.
    is_stream : bool
        Whether it is an AXI4-Stream.
    incoming : bool
        Whether the module is the slave, or receiver.
    ports : dict of str to Port
        By the signal of the specification, such as TDATA.
    """

    name: str
    is_stream: bool
    incoming: bool
    ports: dict[str, Port]

    @property
    def payload(self) -> list[Port]:
        """The ports of a stream that are valid with TVALID: TDATA, TUSER, TLAST, if they exist."""
        return [self.ports[name] for name in ("TDATA", "TUSER", "TLAST") if name in self.ports]


@dataclass(frozen=True)
class Interface:
    """What is outside of a module.

    Parameters
    ----------
    name : str
        Name of the module.
    core : str
        What it is, as configurations call it.
    summary : str
        One sentence.
    latency : int
        Cycles from an accepted beat to its result.
    ports : list of Port
        Every port, those of a bus side by side.
    buses : list of Bus
        Buses among them.
    """

    name: str
    core: str
    summary: str
    latency: int
    ports: list[Port]
    buses: list[Bus]

    @property
    def settings(self) -> list[Port]:
        """Inputs that belong to no bus, but clock and reset."""
        return [p for p in self._single if p.direction == "input" and p.name not in (CLOCK, RESET)]

    @property
    def results(self) -> list[Port]:
        """Outputs that belong to no bus."""
        return [port for port in self._single if port.direction == "output"]

    @property
    def has_interrupt(self) -> bool:
        """Whether there is an interrupt."""
        return any(port.name == INTERRUPT for port in self.ports)

    @property
    def has_registers(self) -> bool:
        """Whether there are registers behind an AXI4-Lite."""
        return any(not bus.is_stream for bus in self.buses)

    @property
    def _single(self):
        taken = {port.name for bus in self.buses for port in bus.ports.values()}
        return [port for port in self.ports if port.name not in taken]


def describe(name: str, module: CoreConfig) -> Interface:
    """Describe the module that a configuration makes.

    Parameters
    ----------
    name : str
        Name of the module.
    module : CoreConfig
        Its parameters.
    """
    component = module.component
    ports = [
        Port(port, "input" if member.flow is In else "output", Shape.cast(member.shape).width)
        for port, member in AxiWrapper(component).signature.members.items()
    ]
    buses: dict[str, Bus] = {}
    for port in ports:
        for pattern, is_stream in ((_STREAM, True), (_LITE, False)):
            if match := pattern.fullmatch(port.name):
                prefix, signal = match.groups()
                bus = Bus(prefix, is_stream, prefix.startswith("s_"), {})
                buses.setdefault(prefix, bus).ports[signal.upper()] = port
    summary = (type(component).__doc__ or "").partition("\n")[0].replace("`", "")
    return Interface(name, module.core, summary, component.latency, ports, [*buses.values()])
