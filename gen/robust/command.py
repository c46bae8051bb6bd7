"""``nibblegrad robust``: every recipe on every data set of the bench, held against bars."""

import argparse
import dataclasses
import os
from pathlib import Path
from typing import Any

from nibblegrad.gen.door import INTERRUPTED, require
from nibblegrad.gen.outputs import Content, OutputFolder
from nibblegrad.gen.ranges import check_range, parse_names
from nibblegrad.gen.recipe_options import add_recipe_arguments, chosen_recipes
from nibblegrad.gen.robust import chart, report
from nibblegrad.gen.robust.cases import CASES, REDUCED
from nibblegrad.gen.robust.measure import SKLEARN, jobs, look_at, measure
from nibblegrad.gen.robust.report import REFERENCE, Results
from nibblegrad.golden.errors import InputError
from nibblegrad.golden.training.methods import RECIPES, VARIANTS
from nibblegrad.golden.training.networks import Settings

__all__ = ["add_arguments", "run"]

# The bars are meant for so many: the worst of fewer runs says less.
_SEEDS = 5
_MOST_SEEDS = 100
_MOST_JOBS = 256
_FILES = ("robust.md", "robust.csv", "robust.png")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command to a parser."""
    parser.add_argument(
        "--cases",
        metavar="NAMES",
        help="data sets with their settings, separated by commas; see --list (default: all)",
    )
    add_recipe_arguments(
        parser,
        with_variants=True,
        remark="; float32 and the classifier of scikit-learn are always trained beside them",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help=f"setting that is the same in all cases: {', '.join(_scalars())}; may be repeated",
    )
    parser.add_argument(
        "--seeds",
        type=int,
        default=_SEEDS,
        metavar="N",
        help="runs of each recipe, with seeds 0 to N-1 (default: %(default)s)",
    )
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: %(default)s)"
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("build/robust"),
        metavar="DIR",
        help="where robust.md, robust.csv and robust.png go, and the results of complete runs, "
        "which are not trained again (default: %(default)s)",
    )
    parser.add_argument(
        "--force",
        action="store_true",
        help="overwrite files of these names that were not made here or have been changed since",
    )
    parser.add_argument(
        "--reduced", action="store_true", help=f"only {len(REDUCED)} cases that take seconds"
    )
    parser.add_argument("--list", action="store_true", help="list the cases, and train nothing")


def run(args: argparse.Namespace) -> int:
    """Train, and write table, numbers and chart.

    Returns
    -------
    int
        0 if all bars are met, 1 if one is missed, 130 after an interrupt.

    Raises
    ------
    InputError
        If an option or the folder cannot be used; nothing is trained then.
    """
    if args.list:
        width = max(map(len, CASES))
        for case in CASES.values():
            print(f"{case.name:<{width}}  {case.settings.network}  {case.about}")
        return 0
    if args.reduced and args.cases is not None:
        raise InputError(f"--reduced has cases of its own; leave out --cases {args.cases}")
    chosen = ",".join(REDUCED if args.reduced else CASES)
    names = parse_names("Case", chosen if args.cases is None else args.cases, CASES)
    recipes = [recipe.name for recipe in chosen_recipes(args, with_variants=True)]
    changes: dict[str, Any] = dict(_setting(text) for text in args.set)
    check_range("--seeds", args.seeds, 1, _MOST_SEEDS)
    check_range("--jobs", args.jobs, 1, _MOST_JOBS)
    cases = {
        name: dataclasses.replace(
            CASES[name], settings=dataclasses.replace(CASES[name].settings, **changes)
        )
        for name in names
    }
    require("sklearn", "threadpoolctl", "matplotlib")
    folder = OutputFolder(args.output, force=args.force)
    folder.check(_FILES)

    facts = {name: look_at(case) for name, case in cases.items()}
    # Everything is compared with float32, and float32 with scikit-learn.
    trained = [*(name for name in RECIPES | VARIANTS if name in (REFERENCE, *recipes)), SKLEARN]
    todo = jobs(cases.values(), facts, trained, args.seeds)
    runs = measure(todo, cases, facts, args.jobs, args.output / "runs")
    runs.sort(key=lambda run: (list(cases).index(run.case), trained.index(run.recipe), run.seed))
    results = Results(cases, facts, runs)
    _write(folder, results)
    missing = len(todo) - len(runs)
    if missing:
        print(f"Interrupted: {missing} of {len(todo)} runs are missing; run again to complete them")
        return INTERRUPTED
    return 0 if all(bar.met for bar in report.verdict(results)) else 1


def _scalars() -> dict[str, int | float | str]:
    """Settings that are one number or word, with their defaults."""
    values = dataclasses.asdict(Settings())
    return {key: value for key, value in values.items() if isinstance(value, (int, float, str))}


def _setting(text: str) -> tuple[str, int | float | str]:
    """Read ``key=value``; what a key means is checked by the settings themselves."""
    key, _, value = text.partition("=")
    known = _scalars()
    if key not in known:
        raise InputError(f"--set must name one of {', '.join(known)}, and {text!r} does not")
    try:
        return key, type(known[key])(value)
    except ValueError:
        raise InputError(
            f"--set {key} must be a number such as {known[key]}, not {value!r}"
        ) from None


def _write(folder: OutputFolder, results: Results) -> None:
    table, bars = report.markdown(results), report.summary(report.verdict(results))
    print(f"{table}\n{bars}")
    contents: tuple[Content, ...] = (
        f"{bars}\n{table}",
        report.comma_separated(results),
        lambda path: chart.save(results, path),
    )
    folder.install(dict(zip(_FILES, contents, strict=True)))
    for name in _FILES:
        print(f"wrote {folder.path / name}")
