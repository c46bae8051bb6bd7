"""``nibblegrad fpga``: a training core placed and routed, with a report and a bitstream."""

import argparse
from pathlib import Path

from tqdm import tqdm

from nibblegrad.gen.config import STRUCTURES, TrainingCoreConfig
from nibblegrad.gen.emission.verilog import to_verilog
from nibblegrad.gen.flow import cache, tools
from nibblegrad.gen.flow.boards import BAUD
from nibblegrad.gen.flow.families import TARGETS, add_own, find_target
from nibblegrad.gen.flow.family import Target
from nibblegrad.gen.flow.fit import add_core_arguments, choose, chosen_workload
from nibblegrad.gen.flow.fpga_report import CORE, REPORT, TOP, Results, report_files, report_names
from nibblegrad.gen.flow.memories import memory_use
from nibblegrad.gen.flow.parallel import at_once
from nibblegrad.gen.flow.placement import Placement, place
from nibblegrad.gen.flow.synthesis import Synthesis, synthesize
from nibblegrad.gen.outputs import OutputFolder
from nibblegrad.gen.ranges import check_range
from nibblegrad.golden.errors import InputError
from nibblegrad.hdl.host.host_bridge import HostedCore

__all__ = ["add_arguments", "check_memories", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command to a parser."""
    add_own()
    placed = [name for name, target in TARGETS.items() if target.family.pack]
    add_core_arguments(parser, placed, "place and route the training core of this TOML file")
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
        "--alone",
        action="store_true",
        help="place the core without the bridge only: half the time, and no bitstream",
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
    check_range("--seeds", args.seeds, 1, 1000)
    check_range("--seed", args.seed, 0, (1 << 31) - args.seeds)
    check_range("--frequency", args.frequency, 1, 2000)
    family = target.family
    if not family.pack:
        names = ", ".join(name for name, other in TARGETS.items() if other.family.pack)
        raise InputError(f"There is no bitstream for {target.name}; choose from {names}")
    core, need = choose(args, target, chosen_workload(args))
    # What is needed last is looked for first.
    folder = OutputFolder(args.output / target.name, force=args.force)
    folder.check(report_names(alone=args.alone))
    cache.prepare()
    tools.require("yosys", family.place, *(() if args.alone else (family.pack,)))
    return _run(args, folder, target, core, need)


class _Steps:
    """What is done and what is being done, with a bar of progress where there is a terminal."""

    def __init__(self, total: int, title: str) -> None:
        self.total, self.done, self.doing = total, 0, ""
        self._bar = tqdm(total=total, desc=title, disable=None, leave=False)

    def __enter__(self) -> "_Steps":
        return self

    def __exit__(self, *_) -> None:
        self._bar.close()

    def begin(self, what: str) -> None:
        self.doing = what
        self._bar.set_postfix_str(what)

    def end(self) -> None:
        self.done += 1
        self._bar.update()


def _run(
    args, folder: OutputFolder, target: Target, core: TrainingCoreConfig, need: dict[str, int]
) -> int:
    designs = 1 if args.alone else 2
    with _Steps(designs * (1 + args.seeds), target.name) as steps:
        try:
            results = _place(args, steps, target, core)
        except KeyboardInterrupt:
            done = f"{steps.done} of {steps.total} steps"
            raise KeyboardInterrupt(
                f" in the {steps.doing}, after {done}; there is no new report. {cache.KEPT}"
            ) from None
    files = report_files(target, core, need, results)
    folder.install(files, stale=[name for name in folder.names() if name not in files])
    bridge = f", {results.routed[0].megahertz} with the bridge" if results.routed else ""
    print(f"{folder.path / REPORT}: {results.placed[0].megahertz} MHz alone{bridge}")
    return 0


def _place(args, steps: _Steps, target: Target, core: TrainingCoreConfig) -> Results:
    """Synthesise and place the core alone, then with the bridge; both with every seed."""
    steps.begin("synthesis of the core")
    alone = synthesize(to_verilog(core.build(), CORE), CORE, target, long_wires=True)
    check_memories(alone, core, target)
    steps.end()
    steps.begin("place and route of the core")
    placed = _with_seeds(args, steps, alone, target)
    if args.alone:
        return Results(alone, placed, None, [])
    steps.begin("synthesis with the bridge")
    board = target.board
    clocks = round((board.hertz if board else 24_000_000) / BAUD)
    verilog = to_verilog(HostedCore(core.size(), clocks, STRUCTURES[core.structure]), TOP)
    hosted = synthesize(verilog, TOP, target, long_wires=True)
    steps.end()
    steps.begin("place and route with the bridge")
    pins = board.pins if board else "" if target.family.chooses_pins else None
    routed = _with_seeds(args, steps, hosted, target, pins=pins, bitstream=True)
    return Results(alone, placed, hosted, routed)


def _with_seeds(args, steps: _Steps, synthesis: Synthesis, target: Target, **options):
    """Place a netlist with every seed, as many at once as there are processors; fastest first."""

    def one(seed: int) -> Placement:
        placement = place(
            synthesis, target, seed=seed, frequency=args.frequency, large=True, **options
        )
        steps.end()
        return placement

    placements = at_once(one, range(args.seed, args.seed + args.seeds))
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
