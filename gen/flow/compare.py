"""``python -m nibblegrad.gen.flow.compare``: what a change of the hardware costs, core by core."""

import argparse
import re
import statistics
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from nibblegrad.gen.door import run_guarded
from nibblegrad.gen.flow import cache, tools
from nibblegrad.gen.flow.families import TARGETS, add_own, find_target
from nibblegrad.gen.flow.family import Target
from nibblegrad.gen.flow.parallel import at_once
from nibblegrad.gen.flow.placement import place
from nibblegrad.gen.flow.synthesis import synthesize
from nibblegrad.gen.ranges import check_range
from nibblegrad.golden.errors import InputError

__all__ = [
    "FREQUENCY",
    "FREQUENCY_OF_LARGE",
    "LARGE",
    "PROGRAM",
    "Core",
    "Figures",
    "add_arguments",
    "cores_in",
    "main",
    "measure",
    "run",
    "table",
]

PROGRAM = "python -m nibblegrad.gen.flow.compare"

#: What the placer aims at, in MHz: more than cores can reach, but not so much that it never ends.
FREQUENCY = 400.0
FREQUENCY_OF_LARGE = 200.0

#: From so many LUTs on a design is mapped and placed as a large one, as `nibblegrad fpga` does.
LARGE = 8_000

#: A row of the table of modules in the summary of `nibblegrad verilog`.
_ROW = re.compile(r"^\| \[`(\w+)`\]\(\w+\.v\) \| \w+ \| (\d+) \|", re.M)


@dataclass(frozen=True)
class Core:
    """The Verilog of a module.

    Attributes
    ----------
    name : str
        The module.
    verilog : str
        Its text.
    latency : int
        In cycles, as the summary beside it says.
    """

    name: str
    verilog: str
    latency: int


@dataclass(frozen=True)
class Figures:
    """What a core takes, and how fast it is.

    Attributes
    ----------
    luts, flip_flops, multipliers, block_rams : int
        LUTs with those that carries and distributed memory occupy; see
        :class:`nibblegrad.gen.flow.synthesis.Synthesis`.
    latency : int
        In cycles.
    frequencies : tuple of float
        In MHz, one for each seed of the placer.
    """

    luts: int
    flip_flops: int
    multipliers: int
    block_rams: int
    latency: int
    frequencies: tuple[float, ...]


def cores_in(folder: Path) -> dict[str, Core]:
    """Find the modules that `nibblegrad verilog` has put into a folder.

    Raises
    ------
    InputError
        If there are none.
    """
    summary = folder / "SUMMARY.md"
    try:
        rows = _ROW.findall(summary.read_text(encoding="utf-8"))
        found = {
            name: Core(name, (folder / f"{name}.v").read_text(encoding="utf-8"), int(latency))
            for name, latency in rows
        }
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"Folder {folder} is not one of `nibblegrad verilog`: {error}") from None
    if not found:
        raise InputError(f"{summary} names no modules; make it anew with `nibblegrad verilog`")
    return found


def measure(
    core: Core, target: Target, seeds: Iterable[int], folder: Path | None = None
) -> Figures:
    """Synthesise a core, and place it with each seed."""
    where = folder or cache.FOLDER
    synthesis = synthesize(core.verilog, core.name, target, folder=where)
    large = synthesis.luts > LARGE
    if large:
        synthesis = synthesize(core.verilog, core.name, target, long_wires=True, folder=where)
    aim = FREQUENCY_OF_LARGE if large else FREQUENCY
    frequencies = tuple(
        place(synthesis, target, seed=seed, frequency=aim, large=large, folder=where).megahertz
        for seed in seeds
    )
    return Figures(
        synthesis.luts,
        synthesis.flip_flops,
        synthesis.multipliers,
        synthesis.block_rams,
        core.latency,
        frequencies,
    )


def table(figures: dict[str, list[Figures | None]]) -> str:
    """Show the figures in Markdown: of each folder in its order, by module."""

    def cell(values: list[str]) -> str:
        return values[0] if len(set(values)) == 1 else " → ".join(values)

    heads = ("LUT4", "FF", "DSP", "block RAM", "latency", "MHz (median)", "MHz of each seed")
    lines = ["| module | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|"]
    for name, versions in figures.items():
        rows = [_cells(version) if version else ["none"] * len(heads) for version in versions]
        cells = [cell(list(column)) for column in zip(*rows, strict=True)]
        lines.append(f"| `{name}` | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cells(figures: Figures) -> list[str]:
    counts = (figures.luts, figures.flip_flops, figures.multipliers, figures.block_rams)
    return [
        *(f"{count:,}" for count in (*counts, figures.latency)),
        f"{statistics.median(figures.frequencies):.0f}",
        ", ".join(f"{frequency:.0f}" for frequency in figures.frequencies),
    ]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this program to a parser."""
    parser.add_argument(
        "folders", nargs="+", type=Path, metavar="DIR", help="outputs of `nibblegrad verilog`"
    )
    add_own()
    placed = [name for name, target in TARGETS.items() if target.family.place]
    parser.add_argument(
        "--target",
        default="ecp5-25k",
        metavar="NAME",
        help=f"device: {', '.join(placed)} (default: %(default)s)",
    )
    parser.add_argument(
        "--seeds",
        type=int,
        default=3,
        metavar="COUNT",
        help="how many seeds of the placer to try, from 1 on (default: %(default)s)",
    )
    parser.add_argument(
        "--module",
        action="append",
        default=[],
        metavar="NAME",
        help="only this module; may be given several times",
    )


def run(args: argparse.Namespace) -> int:
    """Measure the modules of all folders, and print a table."""
    target = find_target(args.target)
    check_range("--seeds", args.seeds, 1, 1000)
    if not target.family.place:
        raise InputError(f"Target {target.name} can be synthesised only; it has no placer")
    found = [cores_in(folder) for folder in args.folders]
    names = list(dict.fromkeys(name for cores in found for name in cores))
    for name in args.module:
        if name not in names:
            raise InputError(f"--module {name} is in none of them; choose from {', '.join(names)}")
    names = [name for name in names if not args.module or name in args.module]
    cache.prepare()
    tools.require("yosys", target.family.place)
    jobs = [core for name in names for cores in found if (core := cores.get(name))]
    with tqdm(total=len(jobs), desc=target.name, disable=None, leave=False) as bar:

        def one(core: Core) -> Figures:
            result = measure(core, target, range(1, args.seeds + 1))
            bar.update()
            return result

        try:
            # In the order of the jobs.
            results = iter(at_once(one, jobs))
        except KeyboardInterrupt:
            done = f"after {bar.n} of {len(jobs)} cores; there is no table. {cache.KEPT}"
            raise KeyboardInterrupt(f" {done}") from None
        figures = {
            name: [next(results) if name in cores else None for cores in found] for name in names
        }
    print(table(figures), end="")
    return 0


def main(argv: list[str] | None = None) -> int:
    """Compare what `nibblegrad verilog` has written at different times."""
    arguments = sys.argv[1:] if argv is None else argv
    return run_guarded(PROGRAM, lambda: _main(arguments), "--debug" in arguments)


def _main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog=PROGRAM, description=main.__doc__)
    add_arguments(parser)
    parser.add_argument("--debug", action="store_true", help=argparse.SUPPRESS)
    return run(parser.parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main())
