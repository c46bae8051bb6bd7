"""``python -m gen fpga``: a training core placed and routed, with a report and a bitstream."""

import argparse
import json
import os
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

from golden.errors import InputError
from hdl.host_bridge import HostedCore

from ..config import STRUCTURES, TrainingCoreConfig
from ..outputs import prepare_folder, write_if_changed
from ..verilog import to_verilog
from . import sizing
from .boards import BAUD, BOARDS, Board
from .depth import logic_depths
from .fit import to_toml, training_core
from .memories import memory_use
from .placement import Placement, Step, place
from .synthesis import Synthesis, synthesize
from .targets import RESOURCES, TARGETS, Target, find_target
from .tools import ToolError

__all__ = ["add_arguments", "check_memories", "condense", "run"]

CORE, TOP = "training_core", "hosted_core"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command to a parser."""
    placed = [name for name, target in TARGETS.items() if target.family.place]
    parser.add_argument(
        "--target",
        default="ecp5-25k",
        metavar="NAME",
        help=f"device: {', '.join(placed)} (default: %(default)s)",
    )
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="TOML file with a training core (default: the largest that fits, see `fit`)",
    )
    parser.add_argument("--seed", type=int, default=1, help="of the placer (default: %(default)s)")
    parser.add_argument(
        "--seeds",
        type=int,
        default=1,
        metavar="COUNT",
        help="how many seeds to try, from --seed on; the fastest is kept (default: %(default)s)",
    )
    parser.add_argument(
        "--frequency",
        type=float,
        default=200.0,
        metavar="MHZ",
        help="at which the placer aims (default: %(default)s)",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("build/fpga"),
        metavar="DIR",
        help="the files go to a folder of the target in it (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    """Place and route the core alone, then with the bridge, and write files and report."""
    target = find_target(args.target)
    if args.seeds < 1:
        raise InputError(f"There must be 1 seed or more, not {args.seeds}")
    if not target.family.place or target.family.pack == "":
        raise InputError(f"There is no bitstream for {target.name}; choose another target")
    if args.config is None:
        fit = sizing.largest(target)
        core, need = fit.config, fit.need
    else:
        core = training_core(args.config)
        need = sizing.check_fits(core, target)
    prepare_folder(args.output)
    try:
        return _run(args, target, core, need)
    except ToolError as error:
        print(f"nibblegrad fpga: {error}")
        return 1


def _run(args, target: Target, core: TrainingCoreConfig, need: dict[str, int]) -> int:
    board = BOARDS.get(target.name)
    clocks = round((board.hertz if board else 24_000_000) / BAUD)
    size = core.size()
    steps = 2 + 2 * args.seeds
    with tqdm(total=steps, desc=f"{target.name}", disable=None, leave=False) as progress:

        def say(what):
            progress.set_postfix_str(what)

        say("synthesis of the core")
        alone = synthesize(to_verilog(core.build(), CORE), CORE, target, long_wires=True)
        check_memories(alone, core, target)
        progress.update()
        say("place and route of the core")
        placed = _with_seeds(args, progress, alone, target)
        say("synthesis with the bridge")
        verilog = to_verilog(HostedCore(size, clocks, STRUCTURES[core.structure]), TOP)
        hosted = synthesize(verilog, TOP, target, long_wires=True)
        progress.update()
        say("place and route with the bridge")
        pins = board.pins if board else "" if target.family.chooses_pins else None
        routed = _with_seeds(args, progress, hosted, target, pins=pins, bitstream=True)
    folder: Path = args.output / target.name
    _write(folder, target, board, core, need, alone, placed, hosted, routed)
    print(
        f"{folder / 'REPORT.md'}: {placed[0].megahertz} MHz alone, {routed[0].megahertz} with the "
        "bridge"
    )
    return 0


def _with_seeds(args, progress, synthesis: Synthesis, target: Target, **options):
    """Place a netlist with every seed, as many at once as there are processors; fastest first."""

    def one(seed: int) -> Placement:
        placement = place(
            synthesis, target, seed=seed, frequency=args.frequency, large=True, **options
        )
        progress.update()
        return placement

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        placements = list(pool.map(one, range(args.seed, args.seed + args.seeds)))
    return sorted(placements, key=lambda placement: -placement.megahertz)


def check_memories(synthesis: Synthesis, core: TrainingCoreConfig, target: Target) -> None:
    """Refuse a netlist in which a memory has become something else than block RAM.

    Raises
    ------
    InputError
        If there are fewer block RAMs than the memories of the core need.
    """
    expected = memory_use(core.size(), target).block_rams
    if synthesis.block_rams < expected:
        raise InputError(
            f"Memories need {expected} block RAMs, but only {synthesis.block_rams} were made: one "
            f"fell to flip-flops or distributed memory; see {synthesis.log}"
        )


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


def _write(folder, target, board, core, need, alone, placed, hosted, routed):
    """Write report, configuration, netlist and bitstream."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        bitstream = folder / f"{TOP}{routed[0].bitstream.suffix}"
        _copy(routed[0].bitstream, bitstream)
        _copy(alone.netlist, folder / f"{CORE}.netlist.v")
        write_if_changed(folder / f"{CORE}.toml", to_toml(core))
        write_if_changed(folder / f"{TOP}.v", (hosted.folder / "design.v").read_text())
        document = _document(target, board, core, need, alone, placed, hosted, routed)
        write_if_changed(folder / "report.json", json.dumps(document, indent=1) + "\n")
        write_if_changed(folder / "REPORT.md", _markdown(document, placed[0], routed[0]))
    except OSError as error:
        raise InputError(f"Cannot write {folder}: {error.strerror}") from error


def _copy(source: Path, target: Path) -> None:
    """Copy a file so that an interrupted copy does not look like one."""
    partial = target.with_name(target.name + ".part")
    shutil.copyfile(source, partial)
    partial.replace(target)


def _document(
    target: Target,
    board: Board | None,
    core: TrainingCoreConfig,
    need: dict[str, int],
    alone: Synthesis,
    placed: list[Placement],
    hosted: Synthesis,
    routed: list[Placement],
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

    return {
        "target": target.name,
        "part": target.part,
        "board": board.name if board else None,
        "baud": BAUD if board else None,
        "configuration": to_toml(core),
        "available": {resource: getattr(target, resource) for resource in RESOURCES},
        "predicted": need,
        # Register inputs, by carry chains and LUTs before them.
        "depths": [[*depth, count] for depth, count in sorted(logic_depths(alone).items())]
        if target.family.name == "ecp5"
        else [],
        "alone": measured(alone, placed),
        "hosted": measured(hosted, routed),
        "tools": [alone.version, *dict.fromkeys(routed[0].versions)],
    }


def _seeds(alone: dict, hosted: dict) -> list[str]:
    """List what all seeds came to, where there was a choice."""
    if len(alone["seeds"]) == 1:
        return []
    rows = [
        f"| {seed} | {megahertz} | {hosted['seeds'][seed]} |"
        for seed, megahertz in alone["seeds"].items()
    ]
    return ["", "| seed | MHz alone | MHz with the bridge |", "|---|---|---|", *rows]


def _markdown(document: dict, placed: Placement, routed: Placement) -> str:
    available, need = document["available"], document["predicted"]
    alone, hosted = document["alone"], document["hosted"]
    board = document["board"]
    lines = [
        f"# The training core on {document['target']}",
        "",
        f"{document['part']}; {', '.join(document['tools'])}; aiming at {placed.frequency:g} MHz.",
        "",
        "| | predicted | alone | share | with the bridge | there is |",
        "|---|---|---|---|---|---|",
    ]
    for resource, words in RESOURCES.items():
        if resource not in alone["used"]:
            continue
        used, have = alone["used"][resource], available[resource]
        share = f"{used / have:.0%}" if have else "-"
        lines.append(
            f"| {words} | {need[resource]:,} | {used:,} | {share} | "
            f"{hosted['used'][resource]:,} | {have:,} |"
        )
    lines += [
        f"| MHz | | {alone['megahertz']} | | {hosted['megahertz']} | |",
        f"| seed | | {alone['seed']} | | {hosted['seed']} | |",
        *_seeds(alone, hosted),
        "",
        "Alone means out of context: every port but the clock is connected to nothing. Memories",
        "are in block RAM where they are deep enough; what is not is as shallow as a few words.",
        "",
        f"The bitstream is for the {board}; its USB serial port takes {document['baud']:,} bits a "
        "second."
        if board
        else "No board is known for this device, so the bitstream shows only that the design can "
        "be routed: its pins are any, or none where the tool does not choose them.",
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
    for title, placement in (("alone", placed), ("with the bridge", routed)):
        lines += ["", f"## Worst path, {title}", "", "| ns | | |", "|---|---|---|"]
        for step in condense(placement.critical_path):
            name = re.sub(r"[|`]", " ", step.name)
            lines.append(f"| {step.nanoseconds:.2f} | {step.kind} | `{name}` |")
    return "\n".join(lines) + "\n"
