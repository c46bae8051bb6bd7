"""The report of a training core that is placed and routed, and the files beside it."""

import json
import re
from dataclasses import dataclass

from nibblegrad.gen.config import TrainingCoreConfig
from nibblegrad.gen.flow.boards import BAUD
from nibblegrad.gen.flow.family import RESOURCES, Target
from nibblegrad.gen.flow.fit import to_toml
from nibblegrad.gen.flow.placement import Placement, Step
from nibblegrad.gen.flow.synthesis import Synthesis
from nibblegrad.gen.outputs import Content

__all__ = ["CORE", "REPORT", "TOP", "Results", "condense", "report_files", "report_names"]

#: Modules: the core, and the core behind a serial line.
CORE, TOP = "training_core", "hosted_core"

REPORT = "REPORT.md"


@dataclass(frozen=True)
class Results:
    """What was made of a core.

    Attributes
    ----------
    alone : Synthesis
        The core.
    placed : list of Placement
        It with every seed, the fastest first.
    hosted : Synthesis or None
        The core with the bridge, unless it was placed alone.
    routed : list of Placement
        That with every seed, the fastest first.
    """

    alone: Synthesis
    placed: list[Placement]
    hosted: Synthesis | None
    routed: list[Placement]


def condense(path: list[Step]) -> list[Step]:
    """Make one step of each carry chain: of logic that follows logic without a way between."""
    steps: list[Step] = []
    for step in path:
        if step.kind == "routing" and step.nanoseconds == 0:
            continue
        if steps and step.kind == steps[-1].kind == "logic":
            nanoseconds = round(steps[-1].nanoseconds + step.nanoseconds, 3)
            steps[-1] = Step("logic", nanoseconds, step.name)
        else:
            steps.append(step)
    return steps


def report_names(*, alone: bool) -> list[str]:
    """List the names of :func:`report_files`, but for the bitstream's: its tool has a say in it."""
    names = [f"{CORE}.netlist.v", f"{CORE}.toml", "report.json", REPORT]
    return names if alone else [*names, f"{TOP}.v"]


def report_files(
    target: Target, core: TrainingCoreConfig, need: dict[str, int], results: Results
) -> dict[str, Content]:
    """List the report, and the files beside it.

    These are configuration, netlist and, unless the core was placed alone, the bitstream.
    """
    document = _document(target, core, need, results)
    files: dict[str, Content] = {
        f"{CORE}.netlist.v": results.alone.netlist.read_bytes(),
        f"{CORE}.toml": to_toml(core),
        "report.json": json.dumps(document, indent=1) + "\n",
        REPORT: _markdown(document, results),
    }
    if results.hosted is not None:
        bitstream = results.routed[0].bitstream
        assert bitstream is not None, "it was asked for"
        files[f"{TOP}{bitstream.suffix}"] = bitstream.read_bytes()
        files[f"{TOP}.v"] = (results.hosted.folder / "design.v").read_bytes()
    return files


def _document(
    target: Target, core: TrainingCoreConfig, need: dict[str, int], results: Results
) -> dict:
    def measured(synthesis, placements):
        placement = placements[0]
        return {
            "megahertz": placement.megahertz,
            "used": {
                resource: placement.used(resource)
                for resource in RESOURCES
                if resource in target.family.reported
            },
            "cells": synthesis.cells,
            "seed": placement.seed,
            "seeds": dict(sorted((each.seed, each.megahertz) for each in placements)),
            "frequency": placement.frequency,
            "seconds": {"synthesis": synthesis.seconds, "placement": placement.seconds},
        }

    alone, board = results.alone, target.board
    last = (results.routed or results.placed)[0]
    return {
        "target": target.name,
        "part": target.part,
        "board": board.name if board else None,
        "baud": BAUD if board else None,
        "configuration": to_toml(core),
        "available": {resource: getattr(target, resource) for resource in RESOURCES},
        "predicted": need,
        # Register inputs, by carry chains and LUTs before them.
        "depths": [
            [*depth, count]
            for depth, count in sorted(target.family.logic_depths(alone.module()).items())
        ],
        "alone": measured(alone, results.placed),
        "hosted": measured(results.hosted, results.routed) if results.hosted else None,
        "tools": [alone.version, *dict.fromkeys(last.versions)],
    }


def _seeds(alone: dict, hosted: dict | None) -> list[str]:
    """List what all seeds came to, where there was a choice."""
    if len(alone["seeds"]) == 1:
        return []
    rows = [
        f"| {seed} | {megahertz} | {hosted['seeds'][seed] if hosted else '-'} |"
        for seed, megahertz in alone["seeds"].items()
    ]
    return ["", "| seed | MHz alone | MHz with the bridge |", "|---|---|---|", *rows]


def _bitstream(document: dict) -> str:
    """Say what there is a bitstream for."""
    if not document["hosted"]:
        return "The core was placed alone, so there is no bitstream."
    if document["board"]:
        return (
            f"The bitstream is for the {document['board']}; its USB serial port takes "
            f"{document['baud']:,} bits a second."
        )
    return (
        "No board is known for this device, so the bitstream shows only that the design can be "
        "routed: its pins are any, or none where the tool does not choose them."
    )


def _markdown(document: dict, results: Results) -> str:
    available, need = document["available"], document["predicted"]
    alone, hosted = document["alone"], document["hosted"]
    lines = [
        f"# The training core on {document['target']}",
        "",
        f"{document['part']}; {', '.join(document['tools'])}; "
        f"aiming at {alone['frequency']:g} MHz.",
        "",
        "| | predicted | alone | share | with the bridge | there is |",
        "|---|---|---|---|---|---|",
    ]
    for resource, words in RESOURCES.items():
        if resource not in alone["used"]:
            continue
        used, have = alone["used"][resource], available[resource]
        share = f"{used / have:.0%}" if have else "-"
        bridge = f"{hosted['used'][resource]:,}" if hosted else "-"
        lines.append(f"| {words} | {need[resource]:,} | {used:,} | {share} | {bridge} | {have:,} |")
    lines += [
        f"| {key} | | {alone[name]} | | {hosted[name] if hosted else '-'} | |"
        for key, name in (("MHz", "megahertz"), ("seed", "seed"))
    ]
    lines += [
        *_seeds(alone, hosted),
        "",
        "Alone means out of context: every port but the clock is connected to nothing. Memories",
        "are in block RAM where they are deep enough; what is not is as shallow as a few words.",
        "",
        _bitstream(document),
        "",
        "## Configuration",
        "",
        "```toml",
        document["configuration"].rstrip(),
        "```",
    ]
    if document["depths"]:
        lines += [
            "",
            "## Logic before registers",
            "",
            "| carry chains | LUTs | inputs of registers |",
            "|---|---|---|",
            *(f"| {chains} | {luts} | {count:,} |" for chains, luts, count in document["depths"]),
        ]
    for title, placements in (("alone", results.placed), ("with the bridge", results.routed)):
        if not placements:
            continue
        lines += ["", f"## Worst path, {title}", "", "| ns | | |", "|---|---|---|"]
        for step in condense(placements[0].critical_path):
            name = re.sub(r"[|`]", " ", step.name)
            lines.append(f"| {step.nanoseconds:.2f} | {step.kind} | `{name}` |")
    return "\n".join(lines) + "\n"
