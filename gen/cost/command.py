"""``nibblegrad cost``: the price list."""

import argparse
import dataclasses
import os
from pathlib import Path

from gen.flow import tools
from gen.flow.targets import FAMILIES
from gen.outputs import prepare_folder, replace_file, write_if_changed
from golden.errors import InputError

from . import chart, report
from .cells import DEFAULT_LIBERTY, find_liberty
from .measure import SEEDS, TARGET_OF, Figures, array_jobs, jobs, measure

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command to a parser."""
    parser.add_argument(
        "--families",
        default=",".join(TARGET_OF),
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
        "--redraw",
        type=Path,
        metavar="FILE",
        help="draw the chart of this price_list.csv again, and measure nothing",
    )


def run(args: argparse.Namespace) -> int:
    """Measure, and write the price list; or only draw the chart of one."""
    if args.redraw:
        return _redraw(args.redraw, args.output)
    uses = args.families.split(",")
    for use in uses:
        if use not in TARGET_OF:
            raise InputError(f"Unknown family {use!r}; choose from {', '.join(TARGET_OF)}")
    for name, value, greatest in (
        ("--seeds", args.seeds, len(SEEDS)),
        ("--jobs", args.jobs, 256),
        ("--period", args.period, 1_000_000),
    ):
        if not 1 <= value <= greatest:
            raise InputError(f"{name} must be 1 to {greatest}, not {value}")
    library = find_liberty(args.liberty)
    programs = ["yosys", *(FAMILIES[use].place for use in uses if FAMILIES[use].place)]
    versions = [tools.tool_version(program) for program in programs]
    if library:
        uses.append("cells")
    else:
        print("No standard cells: name a Liberty file with LIBERTY= to have them counted as well")
    prepare_folder(args.output)
    figures = measure(jobs(uses, library, args.period, args.seeds), args.jobs)
    best = report.best_of(figures, "ecp5").values()
    arrays = {item.design: item for item in measure(array_jobs(best), args.jobs, "Arrays")}
    figures = [
        dataclasses.replace(
            item,
            array_luts=arrays[item.design].array_luts,
            array_flip_flops=arrays[item.design].array_flip_flops,
        )
        if item.use == "ecp5" and item.design in arrays
        else item
        for item in figures
    ]

    cells = f"{library.name if library else ''}, {args.period / 1000:g} ns"
    files = {
        "price_list.md": report.markdown(figures, versions, cells),
        "price_list.csv": report.comma_separated(figures),
    }
    for name, text in files.items():
        written = write_if_changed(args.output / name, text)
        print(f"{args.output / name}: {'written' if written else 'unchanged'}")
    if "ecp5" in uses:
        _draw(figures, args.output)
    print()
    for line in files["price_list.md"].splitlines():
        if line.startswith("## A full"):
            break
        print(line)
    return 0


def _draw(figures: list[Figures], output: Path) -> None:
    for suffix in ("svg", "png"):
        path = output / f"price_list.{suffix}"
        replace_file(path, lambda partial: chart.save(figures, partial))
        print(f"{path}: written")


def _redraw(source: Path, output: Path) -> int:
    """Draw the chart of a price list that was measured before."""
    try:
        text = source.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"Price list {source} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise InputError(
            f"Price list {source} is no text; name the price_list.csv of `nibblegrad cost`"
        ) from None
    figures = report.read(text, str(source))
    if not report.best_of(figures, "ecp5"):
        raise InputError(f"Price list {source} has no line for ecp5, which the chart is about")
    prepare_folder(output)
    _draw(figures, output)
    return 0
