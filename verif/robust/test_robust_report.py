"""The bench of data sets: how it judges what was measured, and how it says so."""

import csv
import dataclasses
import io

import pytest

from nibblegrad.gen.robust import chart, report, tables
from nibblegrad.gen.robust.cases import Case
from nibblegrad.gen.robust.measure import SKLEARN, Facts, Run
from nibblegrad.golden.training.networks import Settings

# Hand-made results: accuracies by case and recipe.
GOOD = {
    "one": {"float32": [90.0, 92.0], "int4": [90.3, 90.5], "luq": [89.0, 90.0]},
    "two": {"float32": [80.0, 80.0], "two_phase": [78.0, 77.0], SKLEARN: [82.0, 82.0]},
}


def make_results(accuracies, chance=20.0):
    return report.Results(
        {name: Case(name, tables.wine, Settings(), "a table") for name in accuracies},
        {name: Facts(2, 6, 96, 24, chance, "") for name in accuracies},
        [
            Run(name, recipe, seed, accuracy, 0.5, 1.0)
            for name, by_recipe in accuracies.items()
            for recipe, found in by_recipe.items()
            for seed, accuracy in enumerate(found)
        ],
    )


def bars_of(accuracies, **others):
    return {bar.name: bar for bar in report.verdict(make_results(accuracies, **others))}


CHANCE = "runs that fail or end at chance"
DROP = "runs more than 6 points below the worst of float32"
YARDSTICK = "float32 against scikit-learn: worst gap of a case"


def test_good_results_meet_every_bar():
    bars = bars_of(GOOD)
    assert list(bars) == [
        CHANCE,
        DROP,
        *(
            f"{recipe}: {what}"
            for recipe in ("int4", "luq", "two_phase")
            for what in ("mean gap", "worst gap of a case")
        ),
        YARDSTICK,
    ]
    assert all(bar.met and not bar.misses for bar in bars.values())
    assert bars["luq: mean gap"].found == "-1.50"
    assert bars["two_phase: worst gap of a case"].found == "-2.50 (two)"
    assert bars[YARDSTICK].found == "-2.00 (two)"


@pytest.mark.parametrize(
    "accuracies, bar, found, misses",
    [
        ({"luq": [90, 22]}, CHANCE, "1 run", ("one luq seed 1 22.00 % (chance 20.00 %)",)),
        ({"new": [20, 0]}, CHANCE, "2 runs", None),
        ({"luq": [90, 83.9]}, DROP, "1 run", ("one luq seed 1 -6.10",)),
        ({"int4": [89.2, 89.2]}, "int4: mean gap", "-0.80", ("one -0.80",)),
        ({"int4": [87.9, 87.9]}, "int4: worst gap of a case", "-2.10 (one)", ("one -2.10",)),
        ({"luq": [88.4, 88.4]}, "luq: mean gap", "-1.60", ("one -1.60",)),
        ({"luq": [85.9, 85.9]}, "luq: worst gap of a case", "-4.10 (one)", ("one -4.10",)),
        ({"two_phase": [87.4, 87.4]}, "two_phase: mean gap", "-2.60", ("one -2.60",)),
        (
            {"two_phase": [83.9, 83.9]},
            "two_phase: worst gap of a case",
            "-6.10 (one)",
            ("one -6.10",),
        ),
        ({SKLEARN: [92.1, 92.1]}, YARDSTICK, "-2.10 (one)", ("one -2.10",)),
    ],
)
def test_each_bar_can_be_missed(accuracies, bar, found, misses):
    missed = bars_of({"one": {"float32": [90.0, 90.0], **accuracies}})[bar]
    assert not missed.met and missed.found == found
    assert misses is None or missed.misses == misses
    text = report.summary([missed])
    assert f"| {missed.name} | {missed.wanted} | {found} | no |" in text
    assert f"- missed, {bar}: {', '.join(missed.misses)}\n" in text


@pytest.mark.parametrize(
    "accuracies, bar",
    [
        ({"luq": [90, 22.5]}, CHANCE),
        ({"luq": [90, 84]}, DROP),
        ({"int4": [89.3, 89.3]}, "int4: mean gap"),
        ({"int4": [88.0, 88.0]}, "int4: worst gap of a case"),
        ({"luq": [86.0, 86.0]}, "luq: worst gap of a case"),
        ({"two_phase": [84.0, 84.0]}, "two_phase: worst gap of a case"),
        ({SKLEARN: [92.0, 92.0]}, YARDSTICK),
        # The yardstick is not judged itself.
        ({SKLEARN: [20.0, 20.0]}, CHANCE),
        ({SKLEARN: [20.0, 20.0]}, DROP),
    ],
)
def test_each_bar_can_just_be_met(accuracies, bar):
    assert bars_of({"one": {"float32": [90.0, 90.0], **accuracies}})[bar].met


def test_chance_counts_only_where_float32_learns():
    accuracies = {"one": {"float32": [29.0, 30.0], "luq": [20.0]}}
    assert bars_of(accuracies)[CHANCE].met
    accuracies["one"]["float32"] = [30.0, 31.0]
    assert not bars_of(accuracies)[CHANCE].met


def test_failed_runs_count_even_if_float32_failed():
    results = make_results({"one": {"luq": [90.0]}})
    failed = Run("one", "float32", 0, 0.0, None, 1.0, "Training diverged")
    results = dataclasses.replace(results, runs=[*results.runs, failed])
    bar = report.verdict(results)[0]
    assert (bar.name, bar.found, bar.met) == (CHANCE, "1 run", False)
    assert bar.misses == ("one float32 seed 0 failed",)


def test_other_recipes_and_missing_runs_have_no_bar():
    bars = bars_of({"one": {"float32": [90.0], "new": [80.0]}, "two": {"luq": [70.0]}})
    assert list(bars) == [CHANCE, DROP]
    assert bars[DROP].misses == ("one new seed 0 -10.00",)


def test_median_where_float32_differs_much():
    results = make_results(
        {
            "close": {"float32": [85.0, 90.0, 90.0], "luq": [89.0, 89.0, 62.0]},
            "wide": {"float32": [84.9, 90.0, 90.0], "luq": [89.0, 89.0, 62.0]},
        }
    )
    assert not results.uses_median("close") and results.uses_median("wide")
    assert results.gap("close", "luq") == pytest.approx(80 - 265 / 3)
    assert results.gap("wide", "luq") == -1.0
    text = report.markdown(results)
    assert (
        "\n| wide * | a table | mlp | 2 | 96 × 6 | 20.0 | 90.00 (84.90) | 89.00 (62.00) |" in text
    )
    assert "\\* The seeds of float32 differ by more than 5 points: median for mean." in text


def test_table_says_what_was_measured():
    results = make_results(GOOD)
    runs = [
        *results.runs,
        Run("one", "luq", 2, 0.0, None, 1.0, "Training diverged", ("step 1: odd",)),
    ]
    lines = report.markdown(dataclasses.replace(results, runs=runs)).splitlines()
    assert lines[0] == (
        "| case | about | network | classes | rows × features | chance | float32 | int4 | gap "
        "| luq | gap | two_phase | gap | sklearn | gap |"
    )
    assert lines[3] == (
        "| two | a table | mlp | 2 | 96 × 6 | 20.0 | 80.00 (80.00) |  |  |  |  "
        "| 77.50 (77.00) | -2.50 | 82.00 (82.00) | +2.00 |"
    )
    assert lines[4].startswith("| all | mean of the gaps |")
    assert "- one luq seed 2: Training diverged" in lines
    assert "- one luq seed 2: step 1: odd" in lines


def test_numbers_come_back_from_the_file():
    runs = [
        Run("one", "luq", 0, 100 / 3, 0.1 + 0.2, 1.25, "", ("a, b", 'c "d"')),
        Run("one", "luq", 1, 0.0, None, 0.5, "Training diverged in step 0: the loss is nan; x"),
    ]
    results = dataclasses.replace(make_results(GOOD), runs=runs)
    again = [
        Run(
            row["case"],
            row["recipe"],
            int(row["seed"]),
            float(row["accuracy_percent"]),
            float(row["loss"]) if row["loss"] else None,
            float(row["seconds"]),
            row["mark"],
            tuple(row["findings"].split(" | ")) if row["findings"] else (),
        )
        for row in csv.DictReader(io.StringIO(report.comma_separated(results)))
    ]
    assert again == runs


def test_chart_is_drawn_of_any_results(tmp_path):
    path = tmp_path / "chart.png"
    for accuracies in (GOOD, {"one": {"float32": [90.0], "new": [1.0]}, "two": {}}, {"one": {}}):
        chart.save(make_results(accuracies), path)
        assert path.read_bytes().startswith(b"\x89PNG")
        path.unlink()
