"""What the runs of the bench say: bars, table, and every number."""

import csv
import io
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from nibblegrad.gen.robust.cases import Case
from nibblegrad.gen.robust.measure import SKLEARN, Facts, Run
from nibblegrad.golden.training.methods import METHODS

__all__ = [
    "GREATEST_DROP",
    "REFERENCE",
    "SKLEARN_MARGIN",
    "WIDE_SPREAD",
    "Bar",
    "Results",
    "comma_separated",
    "markdown",
    "summary",
    "verdict",
]

#: What all recipes are compared with.
REFERENCE = "float32"

#: A run ends at chance if it is at most so many points above it, and so many are enough for the
#: mean of float32 to show that the case can be learned.
CHANCE_MARGIN, LEARNED_MARGIN = 2.0, 10.0
#: A run is at most so many points below the worst of float32.
GREATEST_DROP = 6.0
#: The mean of float32 is at most so many points below that of scikit-learn.
SKLEARN_MARGIN = 2.0
#: Where the seeds of float32 differ by more points, a median says more than a mean.
WIDE_SPREAD = 5.0


@dataclass(frozen=True)
class Results:
    """Cases, and what became of their runs.

    Attributes
    ----------
    cases : mapping of str to Case
        By name, in the order of the table.
    facts : mapping of str to Facts
        Of each case, by its name.
    runs : sequence of Run
        In any order; some may be missing.
    """

    cases: Mapping[str, Case]
    facts: Mapping[str, Facts]
    runs: Sequence[Run]

    @cached_property
    def recipes(self) -> list[str]:
        """Recipes that were run: those of the trainer in its order, others, and scikit-learn."""
        order = [*METHODS, *(run.recipe for run in self.runs if run.recipe != SKLEARN), SKLEARN]
        found = {run.recipe for run in self.runs}
        return [recipe for recipe in dict.fromkeys(order) if recipe in found]

    @cached_property
    def _accuracies(self) -> dict[tuple[str, str], list[float]]:
        found: dict[tuple[str, str], list[float]] = {}
        for run in self.runs:
            found.setdefault((run.case, run.recipe), []).append(run.accuracy)
        return found

    def accuracies(self, case: str, recipe: str) -> list[float]:
        """List the accuracies of a case by a recipe, in percent; none if it was not run."""
        return self._accuracies.get((case, recipe), [])

    def uses_median(self, case: str) -> bool:
        """Tell whether medians replace means, as the seeds of float32 differ much."""
        reference = self.accuracies(case, REFERENCE)
        return bool(reference) and max(reference) - min(reference) > WIDE_SPREAD

    def centre(self, case: str, recipe: str) -> float | None:
        """Compute the mean (or median) accuracy in percent; None if the recipe was not run."""
        found = self.accuracies(case, recipe)
        if not found:
            return None
        return statistics.median(found) if self.uses_median(case) else statistics.fmean(found)

    def gap(self, case: str, recipe: str) -> float | None:
        """Compute how many points a recipe is above float32; None if either was not run."""
        own, reference = self.centre(case, recipe), self.centre(case, REFERENCE)
        # Rounded, so that a gap of exactly the bar is not decided by the last bit of a sum.
        # Nor is there a negative zero.
        return None if own is None or reference is None else round(own - reference, 9) + 0.0

    def gaps(self, recipe: str) -> dict[str, float]:
        """List the gaps of a recipe to float32, by case, where there are any."""
        found = {case: self.gap(case, recipe) for case in self.cases}
        return {case: gap for case, gap in found.items() if gap is not None}


@dataclass(frozen=True)
class Bar:
    """Something the results are held against.

    Attributes
    ----------
    name, wanted, found : str
        What is judged, how it should be and how it is.
    met : bool
    misses : tuple of str
        What misses the bar, each with its figure.
    """

    name: str
    wanted: str
    found: str
    met: bool
    misses: tuple[str, ...] = ()


def verdict(results: Results) -> list[Bar]:
    """Hold the results against the bars; those without runs to judge are left out."""
    bars = [_chance_bar(results), _drop_bar(results)]
    for name, method in METHODS.items():
        if method.greatest_gaps:
            bars += _gap_bars(results, name, *method.greatest_gaps)
    return [*bars, *_sklearn_bar(results)]


def _judged(results):
    """List our own runs whose case has runs of float32."""
    return [
        run
        for run in results.runs
        if run.recipe != SKLEARN and results.accuracies(run.case, REFERENCE)
    ]


def _counted(misses):
    return f"{len(misses)} run{'' if len(misses) == 1 else 's'}"


def _chance_bar(results):
    # A run that failed counts whatever float32 does: it may be float32 that failed.
    misses = [f"{_run_name(run)} failed" for run in results.runs if run.mark]
    for run in _judged(results):
        chance = results.facts[run.case].chance
        can_be_learned = results.centre(run.case, REFERENCE) > chance + LEARNED_MARGIN
        if not run.mark and can_be_learned and run.accuracy <= chance + CHANCE_MARGIN:
            misses.append(f"{_run_name(run)} {run.accuracy:.2f} % (chance {chance:.2f} %)")
    name = "runs that fail or end at chance"
    return Bar(name, "none", _counted(misses), not misses, tuple(misses))


def _drop_bar(results):
    misses = []
    for run in _judged(results):
        drop = round(min(results.accuracies(run.case, REFERENCE)) - run.accuracy, 9)
        if drop > GREATEST_DROP:
            misses.append(f"{_run_name(run)} {-drop:+.2f}")
    name = f"runs more than {GREATEST_DROP:g} points below the worst of float32"
    return Bar(name, "none", _counted(misses), not misses, tuple(misses))


def _gap_bars(results, recipe, greatest_mean, greatest_worst):
    gaps = results.gaps(recipe)
    if not gaps:
        return []
    mean = round(statistics.fmean(gaps.values()), 9)
    worst = min(gaps.values())
    misses = [f"{case} {gap:+.2f}" for case, gap in gaps.items() if gap < -greatest_worst]
    # Where the mean is too low, every case below the bar has its part in it.
    below = [f"{case} {gap:+.2f}" for case, gap in gaps.items() if gap < -greatest_mean]
    is_met = mean >= -greatest_mean
    return [
        Bar(
            f"{recipe}: mean gap",
            f"at least {-greatest_mean:g}",
            f"{mean:+.2f}",
            is_met,
            () if is_met else tuple(below),
        ),
        Bar(
            f"{recipe}: worst gap of a case",
            f"at least {-greatest_worst:g}",
            f"{worst:+.2f} ({min(gaps, key=gaps.__getitem__)})",
            not misses,
            tuple(misses),
        ),
    ]


def _sklearn_bar(results):
    # How far float32 is above scikit-learn.
    leads = {case: 0.0 - gap for case, gap in results.gaps(SKLEARN).items()}
    if not leads:
        return []
    misses = [f"{case} {lead:+.2f}" for case, lead in leads.items() if lead < -SKLEARN_MARGIN]
    worst = min(leads, key=leads.__getitem__)
    return [
        Bar(
            "float32 against scikit-learn: worst gap of a case",
            f"at least {-SKLEARN_MARGIN:g}",
            f"{leads[worst]:+.2f} ({worst})",
            not misses,
            tuple(misses),
        )
    ]


def _run_name(run):
    return f"{run.case} {run.recipe} seed {run.seed}"


def summary(bars: Sequence[Bar]) -> str:
    """Write the bars as a Markdown table, and below it what misses them."""
    lines = ["| bar | wanted | found | met |", "|---|---|---|---|"]
    lines += [f"| {b.name} | {b.wanted} | {b.found} | {'yes' if b.met else 'no'} |" for b in bars]
    missed = [bar for bar in bars if not bar.met]
    if missed:
        lines.append("")
    lines += [f"- missed, {bar.name}: {', '.join(bar.misses)}" for bar in missed]
    return "\n".join(lines) + "\n"


def markdown(results: Results) -> str:
    """Write a table with a row for each case, means over the recipes, and what went wrong.

    A recipe has the mean accuracy of its seeds and, in brackets, the worst one.
    """
    columns = ["case", "about", "network", "classes", "rows × features", "chance"]
    for recipe in results.recipes:
        columns += [recipe] if recipe == REFERENCE else [recipe, "gap"]
    lines = ["| " + " | ".join(columns) + " |", "|---" * 2 + "|---:" * (len(columns) - 2) + "|"]
    for name, case in results.cases.items():
        facts = results.facts[name]
        cells = [
            name + (" *" if results.uses_median(name) else ""),
            case.about,
            case.settings.network,
            str(facts.classes),
            f"{facts.train_rows:,} × {facts.features:,}",
            f"{facts.chance:.1f}",
        ]
        for recipe in results.recipes:
            cells.append(_accuracy_cell(results, name, recipe))
            if recipe != REFERENCE:
                gap = results.gap(name, recipe)
                cells.append("" if gap is None else f"{gap:+.2f}")
        lines.append("| " + " | ".join(cells) + " |")
    lines.append("| " + " | ".join(_mean_cells(results)) + " |")
    notes = [
        "Test accuracy in percent after the last epoch: mean of the seeds (worst seed), and the "
        "gap of the mean to float32 in points. Rows are those of the training set; chance is the "
        "share of the largest class in the test set."
    ]
    if any(map(results.uses_median, results.cases)):
        notes.append(
            f"\\* The seeds of float32 differ by more than {WIDE_SPREAD:g} points: median for mean."
        )
    text = "\n".join(lines) + "\n\n" + "\n\n".join(notes) + "\n"
    return text + _remarks(results)


def _accuracy_cell(results, case, recipe):
    centre = results.centre(case, recipe)
    if centre is None:
        return ""
    return f"{centre:.2f} ({min(results.accuracies(case, recipe)):.2f})"


def _mean_cells(results):
    cells = ["all", "mean of the gaps", "", "", "", ""]
    for recipe in results.recipes:
        cells.append("")
        if recipe != REFERENCE:
            gaps = results.gaps(recipe).values()
            cells.append(f"{statistics.fmean(gaps):+.2f}" if gaps else "")
    return cells


def _remarks(results):
    failed = [f"- {_run_name(run)}: {run.mark}" for run in results.runs if run.mark]
    noticed = [f"- {_run_name(run)}: {finding}" for run in results.runs for finding in run.findings]
    text = ""
    for title, lines in (("Failed runs", failed), ("What the trainer noticed", noticed)):
        if lines:
            text += f"\n## {title}\n\n" + "\n".join(lines) + "\n"
    return text


def comma_separated(results: Results) -> str:
    """Write every run on a line: its job, accuracy in percent, loss, seconds and remarks."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(
        ["case", "recipe", "seed", "accuracy_percent", "loss", "seconds", "mark", "findings"]
    )
    for run in results.runs:
        loss = "" if run.loss is None else repr(run.loss)
        findings = " | ".join(run.findings)
        writer.writerow(
            [
                run.case,
                run.recipe,
                run.seed,
                repr(run.accuracy),
                loss,
                repr(run.seconds),
                run.mark,
                findings,
            ]
        )
    return out.getvalue()
