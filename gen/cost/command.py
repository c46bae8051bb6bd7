"""``nibblegrad cost``: the price list."""

import argparse
import dataclasses
import functools
import os
from pathlib import Path

from nibblegrad.gen.cost import chart, report
from nibblegrad.gen.cost.catalogue import CELLS, REFERENCE, priced
from nibblegrad.gen.cost.cells import DEFAULT_LIBERTY, find_liberty
from nibblegrad.gen.cost.measure import SEEDS, Figures, array_jobs, jobs, measure
from nibblegrad.gen.door import require
from nibblegrad.gen.flow import cache, tools
from nibblegrad.gen.flow.families import FAMILIES, add_own
from nibblegrad.gen.outputs import Content, OutputFolder
from nibblegrad.gen.ranges import check_range
from nibblegrad.golden.errors import InputError

__all__ = ["add_arguments", "run"]

_CHARTS = ("price_list.svg", "price_list.png")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command to a parser."""
    add_own()
    parser.add_argument(
        "--families",
        default=",".join(priced()),
        metavar="NAMES",
        help="FPGA families, with commas between them (default: %(default)s)",
    )
    parser.add_argument(
        "--liberty",
        metavar="FILE",
        help=f"standard cells to count as well (default: {DEFAULT_LIBERTY}, if it is there)",
    )
    parser.add_argument(
        "--period",
        type=int,
        default=4000,
        metavar="PS",
        help="clock period for standard cells, in picoseconds (default: %(default)s)",
    )
    parser.add_argument(
        "--seeds", type=int, default=len(SEEDS), help="of the placer, 1 to 3 (default: %(default)s)"
    )
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: %(default)s)"
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("build/cost"),
        metavar="DIR",
        help="where the files go (default: %(default)s)",
    )
    parser.add_argument(
        "--force",
        action="store_true",
        help="overwrite files that were not made here or have been changed since",
    )
    parser.add_argument(
        "--redraw",
        type=Path,
        metavar="FILE",
        help="draw the chart of this price_list.csv again, and measure nothing",
    )


def run(args: argparse.Namespace) -> int:
    """Measure, and write the price list; or only draw the chart of one."""
    # Named twice, a family is meant once.
    uses = list(dict.fromkeys(args.families.split(",")))
    for use in uses:
        if use not in priced():
            raise InputError(f"Unknown family {use!r}; choose from {', '.join(priced())}")
    check_range("--seeds", args.seeds, 1, len(SEEDS))
    check_range("--jobs", args.jobs, 1, 256)
    check_range("--period", args.period, 1, 1_000_000)
    if args.redraw:
        return _redraw(args)
    library = find_liberty(args.liberty)
    # What is needed last is looked for first.
    folder = OutputFolder(args.output, force=args.force)
    folder.check(["price_list.md", "price_list.csv", *(_CHARTS if REFERENCE in uses else ())])
    cache.prepare()
    if REFERENCE in uses:
        require("matplotlib")
    programs = ["yosys", *(FAMILIES[use].place for use in uses if FAMILIES[use].place)]
    versions = [tools.tool_version(program) for program in programs]
    if library:
        uses.append(CELLS)
    else:
        print("No standard cells: name a Liberty file with LIBERTY= to have them counted as well")
    try:
        figures = _measure(uses, library, args)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"; there is no new price list. {cache.KEPT}") from None

    cells = f"{library.name if library else ''}, {args.period / 1000:g} ns"
    table = report.markdown(figures, versions, cells)
    files: dict[str, Content] = {
        "price_list.md": table,
        "price_list.csv": report.comma_separated(figures),
    }
    _install(folder, files | (_charts(figures) if REFERENCE in uses else {}))
    print()
    for line in table.splitlines():
        if line.startswith("## A full"):
            break
        print(line)
    return 0


def _charts(figures: list[Figures]) -> dict[str, Content]:
    """List the chart in each format."""
    return dict.fromkeys(_CHARTS, functools.partial(chart.save, figures))


def _install(folder: OutputFolder, files: dict[str, Content]) -> None:
    for name, what in folder.install(files).items():
        print(f"{folder.path / name}: {what}")


def _redraw(args: argparse.Namespace) -> int:
    """Draw the chart of a price list that was measured before."""
    source: Path = args.redraw
    try:
        text = source.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"Price list {source} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise InputError(
            f"Price list {source} is no text; name the price_list.csv of `nibblegrad cost`"
        ) from None
    figures = report.read(text, str(source))
    if not report.best_of(figures, REFERENCE):
        raise InputError(
            f"Price list {source} has no line for {REFERENCE}, which the chart is about"
        )
    _install(OutputFolder(args.output, force=args.force), _charts(figures))
    return 0


def _measure(uses: list[str], library: Path | None, args: argparse.Namespace) -> list[Figures]:
    """Measure the units, and of the best ones arrays as well."""
    figures = measure(jobs(uses, library, args.period, args.seeds), args.jobs)
    best = report.best_of(figures, REFERENCE).values()
    arrays = {item.design: item for item in measure(array_jobs(best), args.jobs, "Arrays")}
    return [
        dataclasses.replace(
            item,
            array_luts=arrays[item.design].array_luts,
            array_flip_flops=arrays[item.design].array_flip_flops,
        )
        if item.use == REFERENCE and item.design in arrays
        else item
        for item in figures
    ]
