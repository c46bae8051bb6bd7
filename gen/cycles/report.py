"""What a training step takes on a core, as text, CSV and JSON."""

import csv
import io
import json
from typing import Any

from nibblegrad.golden.driver.cycles import PassReport, StepReport
from nibblegrad.golden.engine.command import CoreSize

__all__ = ["FORMATS", "comma_separated", "table", "to_json"]


def table(report: StepReport) -> str:
    """Lay out a step as text: its passes, itself, and the words of the operand memories."""
    rows = [_row(each) for each in report.passes]
    step = {"layer": "step", "pass": "", "bound_by": "", **_step(report)}
    layer = max(len(row["layer"]) for row in [*rows, step])
    lines = [
        f"{'layer':<{layer}}  {'pass':<8} {'cycles':>11} {'busy':>7}  {'bound by':<8} "
        f"{'passes':>11} {'beats':>11} {'strips':>11} {'commands':>9}"
    ]
    for row in [*rows, step]:
        counts = " ".join(f"{row[count]:>11,}" for count in ("passes", "beats", "strips"))
        lines.append(
            f"{row['layer']:<{layer}}  {row['pass']:<8} {row['cycles']:>11,} "
            f"{_percent(row['busy']):>7}  {row['bound_by']:<8} {counts} {row['commands']:>9,}"
        )
    lines += [
        f"one training step: {report.cycles:,} cycles, {_percent(report.busy)} busy; "
        f"at least {report.bound:,} ({_percent(report.bound / report.cycles)}) "
        "in any order, with any memories",
        "",
        f"{'memory':<11} {'words':>11} {'for whole operands':>19}",
    ]
    lines += [
        f"{name:<11} {words['has']:>11,} {words['whole']:>19,}"
        for name, words in _words(report).items()
    ]
    return "\n".join(lines)


def comma_separated(report: StepReport) -> str:
    """Lay out the passes of a step, and the step in a last row, as CSV."""
    rows = [*map(_row, report.passes), {"layer": "step", **_step(report)}]
    text = io.StringIO()
    writer = csv.DictWriter(text, [*rows[0], "least_cycles"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def to_json(report: StepReport) -> str:
    """Lay out a step as JSON."""
    size = report.size
    document = {
        "core": {"rows": size.rows, "columns": size.columns, "lanes": size.lanes},
        "passes": [_row(each) for each in report.passes],
        "step": _step(report),
        "words": _words(report),
    }
    return json.dumps(document, indent=1) + "\n"


#: How each format is written, by its name.
FORMATS = {
    "text": lambda report: f"{table(report)}\n",
    "csv": comma_separated,
    "json": to_json,
}

_COUNTS = "passes beats strips commands".split()


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _row(each: PassReport) -> dict[str, Any]:
    return {
        "layer": each.layer,
        "pass": each.name,
        "cycles": each.cycles,
        "busy": each.busy,
        "bound_by": each.bound_by,
        **{count: getattr(each, count) for count in _COUNTS},
    }


def _step(report: StepReport) -> dict[str, Any]:
    return {
        "cycles": report.cycles,
        "busy": report.busy,
        **{count: sum(getattr(each, count) for each in report.passes) for count in _COUNTS},
        "least_cycles": report.bound,
    }


def _words(report: StepReport) -> dict[str, dict[str, int]]:
    return {
        name: {"has": _depth(report.size, name), "whole": whole}
        for name, whole in report.words.items()
    }


def _depth(size: CoreSize, memory: str) -> int:
    return getattr(size, f"{memory.removesuffix('s')}_words")
