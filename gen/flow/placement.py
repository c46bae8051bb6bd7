"""Place and route: from a netlist to a frequency, a utilisation and a bitstream."""

import json
import time
from dataclasses import dataclass
from pathlib import Path

from nibblegrad.gen.flow import cache, tools
from nibblegrad.gen.flow.family import Target
from nibblegrad.gen.flow.synthesis import Synthesis
from nibblegrad.golden.errors import InputError

__all__ = ["REVISION", "Placement", "Step", "place"]

# Changes when the same inputs would lead to something else because this module has changed.
REVISION = 2


@dataclass(frozen=True)
class Step:
    """A step of a path: through a cell, or along a net.

    Attributes
    ----------
    kind : str
        ``clk-to-q``, ``logic``, ``routing`` or ``setup``.
    nanoseconds : float
        What it takes.
    name : str
        The cell, or the net for routing.
    """

    kind: str
    nanoseconds: float
    name: str


@dataclass(frozen=True)
class Placement:
    """A design that is placed and routed.

    Attributes
    ----------
    folder : Path
        Where its files are: ``report.json``, ``nextpnr.log``, and the bitstream.
    megahertz : float
        Highest frequency, from register to register.
    utilisation : dict of str to (int, int)
        Used and available, by the names of the tool.
    critical_path : list of Step
        The path that decides the frequency.
    bitstream : Path or None
        If it was asked for.
    seed : int
        With which it was placed.
    frequency : float
        At which the tool aimed, in MHz.
    seconds : float
        Time it took, when it was not found in the cache.
    versions : list of str
        Of the tools.
    """

    folder: Path
    target: Target
    megahertz: float
    utilisation: dict[str, tuple[int, int]]
    critical_path: list[Step]
    bitstream: Path | None
    seed: int
    frequency: float
    seconds: float
    versions: list[str]

    @property
    def log(self) -> Path:
        """What the tool said."""
        return self.folder / "nextpnr.log"

    def used(self, resource: str) -> int:
        """Count what the design takes of one of :data:`nibblegrad.gen.flow.family.RESOURCES`."""
        name, weight = self.target.family.reported[resource]
        return -int(-self.utilisation[name][0] // weight)


def place(
    synthesis: Synthesis,
    target: Target,
    *,
    seed: int = 1,
    frequency: float = 200.0,
    large: bool = False,
    clock: str = "aclk",
    pins: str | None = None,
    bitstream: bool = False,
    folder: Path = cache.FOLDER,
) -> Placement:
    """Place and route a netlist, or find it among the results that are kept.

    Without ``pins`` this is done out of context: only the clock has a pin, whatever else is a
    port is connected to nothing, so that the design may have more ports than the device has pins.

    Parameters
    ----------
    synthesis : Synthesis
        Netlist, for the family of the target.
    target : Target
        Device.
    seed : int
        Starting point of the placer.
    frequency : float
        At which the tool aims, in MHz. It works until this is reached, so it should not be.
    large : bool
        Whether to place a large design, by the placer of the family that suits those.
    clock : str
        Port of the clock.
    pins : str, optional
        Constraints of pins, in the tool's own format (LPF, PCF, PDC). Ports that are not in it get
        any pin, where the tool can choose.
    bitstream : bool
        Whether to make a bitstream.
    folder : Path
        Where results are kept.

    Raises
    ------
    InputError
        If the tool is missing, or none is known for the target.
    ToolError
        If it fails, as it does when the design does not fit.
    """
    family = target.family
    if not family.place:
        raise InputError(f"Target {target.name} can be synthesised only; it has no placer")
    versions = [tools.tool_version(family.place)]
    if bitstream:
        versions.append(tools.tool_version(family.pack))
    arguments = [
        *target.place_arguments,
        *(family.place_large if large else ()),
        *("--json", "netlist.json", "--seed", str(seed), "--freq", str(frequency)),
        *("--timing-allow-fail", "--report", "report.json", "--log", "nextpnr.log", "--quiet"),
    ]

    def make(path: Path) -> dict:
        netlist = path / "netlist.json"
        start = time.monotonic()
        netlist.write_text(_prepared(synthesis, target, clock, pins))
        files = family.constraints(path, target, clock, pins, bitstream)
        tools.run(family.place, [*arguments, *files], path, "nextpnr.out")
        netlist.unlink()
        if bitstream:
            tools.run(family.pack, list(family.pack_arguments), path, "pack.out")
        return {"seconds": round(time.monotonic() - start, 1)}

    key = {
        "step": "placement",
        "revision": REVISION,
        "netlist": synthesis.folder.name,
        "arguments": arguments,
        "clock": [clock, target.clock_pin],
        "pins": pins,
        "bitstream": bitstream,
        "versions": versions,
        **({"family": family.revision} if family.revision else {}),
    }
    path, result = cache.cached(key, make, folder)
    report = json.loads((path / "report.json").read_text())
    if not report["fmax"]:
        raise InputError(
            f"Module {synthesis.top} has no path from a register to a register, and so no MHz;"
            " leave it out, or place a module that has one"
        )
    return Placement(
        folder=path,
        target=target,
        megahertz=min(round(clock["achieved"], 2) for clock in report["fmax"].values()),
        utilisation={
            name: (entry["used"], entry["available"])
            for name, entry in report["utilization"].items()
        },
        critical_path=_critical_path(report),
        bitstream=path / family.bitstream if bitstream else None,
        seed=seed,
        frequency=frequency,
        versions=versions,
        **result,
    )


def _critical_path(report: dict) -> list[Step]:
    """Find the slowest path that begins and ends at the clock."""
    paths = [
        path["path"]
        for path in report["critical_paths"]
        if path["from"] == path["to"] and path["from"].startswith("posedge")
    ]
    if not paths:
        return []
    slowest = max(paths, key=lambda steps: sum(step["delay"] for step in steps))
    return [
        Step(step["type"], round(step["delay"], 3), step.get("net") or step["to"]["cell"])
        for step in slowest
    ]


def _prepared(synthesis: Synthesis, target: Target, clock: str, pins: str | None) -> str:
    """Make the netlist one that the tool takes."""
    family = target.family
    text = synthesis.json.read_text()
    if family.out_of_context:
        return text
    document = json.loads(text)
    filled = synthesis.flip_flops / max(target.flip_flops, 1)
    family.prepare(document["modules"][synthesis.top], clock, pins, filled)
    return json.dumps(document)
