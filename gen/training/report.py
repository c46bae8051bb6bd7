"""What `nibblegrad train` shows: the table, the numbers, and the charts."""

import csv
import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nibblegrad.gen.outputs import Content
from nibblegrad.gen.training.charts import accuracy_figure, layers_figure
from nibblegrad.golden.training.trainer import History
from nibblegrad.golden.training.watch import Finding, LayerFigures

__all__ = ["FILES", "Run", "Runs", "contents", "table"]

#: Names of the files that may be made.
FILES = ("accuracy.csv", "accuracy.png", "layers.csv", "layers.png")


@dataclass(frozen=True)
class Run:
    """One training.

    Attributes
    ----------
    history : History
        Losses and accuracies.
    figures : list of LayerFigures
        How each layer used its codes, by epoch.
    findings : list of Finding
        What went wrong.
    failure : str
        Why it ended before its last epoch; empty if it did not.
    """

    history: History
    figures: list[LayerFigures]
    findings: list[Finding]
    failure: str = ""


#: Runs of seeds 0, 1, ... by network and recipe; the last ones may be missing.
Runs = dict[tuple[str, str], list[Run]]


def table(runs: Runs, seeds: int, when: str = "after the last epoch") -> str:
    """Lay out the accuracies, and which runs went wrong.

    Parameters
    ----------
    runs : Runs
    seeds : int
        Count of runs that each network and recipe should have.
    when : str
        When the accuracies were measured.
    """
    width = max(10, *(len(recipe) for _, recipe in runs))
    heads = f"{'test accuracy':>13}  {'spread':>13}  {'to float32':>10}"
    lines = [f"{'network':<7}  {'recipe':<{width}}  {heads}"]
    complete = _complete(runs)
    for (network, recipe), of_recipe in runs.items():
        name, cells = f"{network:<7}  {recipe:<{width}}", f"{'-':>13}  {'-':>13}  {'':>10}"
        if own := complete.get((network, recipe)):
            final = _curves(own)[:, -1]
            reference = complete.get((network, "float32"))
            gap = f"{final.mean() - _curves(reference)[:, -1].mean():+.2f}" if reference else ""
            spread = f"{final.min():.2f}..{final.max():.2f}"
            cells = f"{final.mean():>11.2f} %  {spread:>13}  {gap:>10}"
        lines.append(f"{name}  {cells}{_marks(of_recipe, seeds)}")
    many = "seed" if seeds == 1 else "seeds"
    lines.append(f"Mean and range over {seeds} {many} {when}; differences in points.")
    every = [run for of_recipe in runs.values() for run in of_recipe]
    if any(run.findings or run.failure for run in every):
        lines.append("Warnings and the column findings of accuracy.csv say what went wrong.")
    return "\n".join(lines)


def _marks(of_recipe: list[Run], seeds: int) -> str:
    """Say which seeds failed, went wrong, or are missing."""
    seeds_by_mark = {
        "failed": [seed for seed, run in enumerate(of_recipe) if run.failure],
        "went wrong": [seed for seed, run in enumerate(of_recipe) if run.findings],
        "missing": range(len(of_recipe), seeds),
    }
    return "".join(
        f"  {mark}: seed {', '.join(map(str, which))}"
        for mark, which in seeds_by_mark.items()
        if which
    )


def contents(runs: Runs) -> dict[str, Content]:
    """Tell what each file holds: curves and numbers.

    ``layers.*`` are about the quantised layers, and are left out where there are none. Charts show
    the runs that are complete.
    """
    complete = _complete(runs)
    # The chart of the layers is that of seed 0.
    first = {names: group for names, group in runs.items() if not group[0].failure}
    made: dict[str, Content] = {"accuracy.csv": lambda path: _write_csv(path, runs)}
    if complete:
        made["accuracy.png"] = lambda path: _write_chart(path, complete)
    if any(run.figures for of_recipe in runs.values() for run in of_recipe):
        made["layers.csv"] = lambda path: _write_layers_csv(path, runs)
    if any(group[0].figures for group in first.values()):
        made["layers.png"] = lambda path: _write_layers_chart(path, first)
    return made


def _complete(runs: Runs) -> Runs:
    """Leave out runs that failed, and what has no other."""
    groups = {names: [run for run in group if not run.failure] for names, group in runs.items()}
    return {names: group for names, group in groups.items() if group}


def _curves(runs: list[Run]) -> npt.NDArray[np.float64]:
    """Accuracies in percent, (seeds, epochs)."""
    return 100 * np.array([run.history.accuracies for run in runs])


def _write_csv(path: Path, runs: Runs) -> None:
    with open(path, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(
            ["network", "recipe", "seed", "epoch", "accuracy_percent", "loss", "findings"]
        )
        for names, of_recipe in runs.items():
            for seed, run in enumerate(of_recipe):
                history = run.history
                for epoch, (accuracy, loss) in enumerate(
                    zip(history.accuracies, history.losses, strict=True), start=1
                ):
                    found = " | ".join(str(f) for f in run.findings if f.epoch == epoch)
                    row = [*names, seed, epoch, f"{100 * accuracy:.4f}", f"{loss:.6g}", found]
                    writer.writerow(row)
                if run.failure:
                    row = [*names, seed, len(history.losses) + 1, "nan", "nan", run.failure]
                    writer.writerow(row)


def _write_layers_csv(path: Path, runs: Runs) -> None:
    keys = [key.name for key in dataclasses.fields(LayerFigures)]
    with open(path, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["network", "recipe", "seed", *keys])
        for names, of_recipe in runs.items():
            for seed, run in enumerate(of_recipe):
                for figures in run.figures:
                    values = dataclasses.asdict(figures)
                    cells = [
                        f"{values[key]:.6g}" if isinstance(values[key], float) else values[key]
                        for key in keys
                    ]
                    writer.writerow([*names, seed, *cells])


def _write_chart(path: Path, runs: Runs) -> None:
    networks: dict[str, dict[str, list[npt.NDArray[np.float64]]]] = {}
    for (network, recipe), group in runs.items():
        networks.setdefault(network, {})[recipe] = list(_curves(group))
    accuracy_figure(networks).savefig(path, dpi=150)


def _write_layers_chart(path: Path, runs: Runs) -> None:
    shown = {names: group[0].figures for names, group in runs.items() if group[0].figures}
    layers_figure(shown).savefig(path, dpi=120)
