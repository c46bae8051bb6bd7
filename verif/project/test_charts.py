"""Charts, of data of any kind: all of it is seen, nothing lies outside or on top of something."""

import dataclasses
import io

import numpy as np
import pytest
from matplotlib import image
from PIL import Image

from nibblegrad.gen.cost import chart as cost_chart
from nibblegrad.gen.cost import report as cost_report
from nibblegrad.gen.cost.catalogue import DESIGNS
from nibblegrad.gen.cost.measure import Figures
from nibblegrad.gen.robust import chart as robust_chart
from nibblegrad.gen.robust import tables
from nibblegrad.gen.robust.cases import Case
from nibblegrad.gen.robust.measure import SKLEARN, Facts, Run
from nibblegrad.gen.robust.report import Results
from nibblegrad.gen.training import charts as train_charts
from nibblegrad.golden.training.methods import RECIPES
from nibblegrad.golden.training.networks import Settings
from nibblegrad.golden.training.watch import LayerFigures
from verif.paths import ROOT
from verif.support import figure_check

DOCS = ROOT / "docs"
MAIN = ["float32", "int4", "luq", "two_phase"]
LONG = ["float32", *(f"a_variant_of_a_recipe_with_a_long_name_{k}" for k in range(24))]


def curves(begin, end, epochs=20, seeds=3):
    """Make up accuracies that rise, a little differently in each seed."""
    return [np.linspace(begin, end, epochs) - 0.3 * seed for seed in range(seeds)]


ACCURACIES = {
    "usual": {network: {name: curves(60, 98) for name in MAIN} for network in ("mlp", "cnn")},
    "one epoch": {"mlp": {name: curves(95, 95, epochs=1) for name in MAIN}},
    "one seed": {"mlp": {"luq": curves(60, 98, seeds=1)}},
    "at chance": {"mlp": {name: [np.full(20, 10.03)] * 3 for name in MAIN}},
    "one at chance": {
        "mlp": {"float32": curves(60, 98), "luq": [np.full(20, 10.03)] * 3},
    },
    "falling": {"mlp": {name: curves(98, 10) for name in MAIN}},
    "all right": {"cnn": {name: [np.full(5, 100.0)] * 2 for name in MAIN}},
    "all wrong": {"cnn": {name: [np.full(5, 0.0)] * 2 for name in MAIN}},
    "many": {network: {name: curves(60, 98) for name in LONG} for network in ("mlp", "cnn")},
    "broken off": {"mlp": {"float32": curves(60, 98), "luq": [*curves(60, 90, 3, 1), [50.0]]}},
    "many epochs": {"mlp": {name: curves(60, 98, epochs=1000, seeds=1) for name in MAIN}},
}


@pytest.mark.parametrize("kind", ACCURACIES)
def test_accuracies_are_seen_and_nothing_covers_them(kind):
    networks = ACCURACIES[kind]
    figure = train_charts.accuracy_figure(networks)
    assert figure_check.faults(figure) == []
    assert len(figure.axes) == len(networks)
    for axes, recipes in zip(figure.axes, networks.values(), strict=True):
        every = np.concatenate([np.ravel(run) for runs in recipes.values() for run in runs])
        low, high = axes.get_ylim()
        # All of them, in most of the axis, where they differ at all.
        assert low <= every.min() and every.max() <= high
        assert high - low <= 1.1 * max(np.ptp(every), 2.0)
        ticks = [tick for tick in axes.get_yticks() if low <= tick <= high]
        assert all(-1e-9 < tick < 100 + 1e-9 for tick in ticks) and len(ticks) > 1
        left, right = axes.get_xlim()
        epochs = [tick for tick in axes.get_xticks() if left <= tick <= right]
        assert epochs and all(epoch == round(epoch) for epoch in epochs)
        entries = [text.get_text() for text in axes.get_legend().get_texts()]
        assert [entry.split()[0] for entry in entries] == list(recipes)


MANY_LAYERS = [f"convolution{k}" for k in range(12)]


def layer_figures(names, epochs):
    """Make up how layers use their codes."""
    shares = [field.name for field in dataclasses.fields(LayerFigures)][2:]
    return [
        LayerFigures(epoch, name, **{key: 0.01 * (k + 1) * epoch for k, key in enumerate(shares)})
        for epoch in range(1, epochs + 1)
        for name in names
    ]


@pytest.mark.parametrize(
    "shown",
    [
        {("mlp", "luq"): layer_figures(["layer0"], 1)},
        {("cnn", name): layer_figures(["convolution0", "dense"], 20) for name in MAIN},
        {("cnn", name): layer_figures(MANY_LAYERS, 3) for name in LONG[:3]},
    ],
    ids=["one epoch", "usual", "many layers, long names"],
)  # fmt: skip
def test_layers_are_seen(shown):
    figure = train_charts.layers_figure(shown)
    assert figure_check.faults(figure) == []
    assert len(figure.axes) == 3 * len(shown)


def results(accuracies):
    return Results(
        {name: Case(name, tables.wine, Settings(), "a table") for name in accuracies},
        {name: Facts(2, 6, 96, 24, 50.0, "") for name in accuracies},
        [
            Run(name, recipe, seed, accuracy, 0.5, 1.0)
            for name, by_recipe in accuracies.items()
            for recipe, found in by_recipe.items()
            for seed, accuracy in enumerate(found)
        ],
    )


ALL = [*MAIN, SKLEARN]
BENCHES = {
    "usual": {f"case-{k}": {name: [95.0 - k, 93.0] for name in ALL} for k in range(46)},
    "nothing": {},
    "no runs": {"one": {}},
    "one run": {"one": {"float32": [90.0]}},
    "all equal": {case: {name: [90.0] * 3 for name in ALL} for case in ("one", "two")},
    "at chance": {
        case: {name: [10.0 if name == "float32" else 96.0, 97.0] for name in ALL}
        for case in ("one", "two")
    },
    "all but float32 at chance": {
        case: {name: [97.0 if name == "float32" else 10.0] for name in ALL}
        for case in ("one", "two", "three")
    },
    "every recipe": {"one": {name: [95.0] for name in (*RECIPES, SKLEARN)}},
    "many, ever worse": {
        case: {name: [99.0 - k, 95.0 - 3 * k] for k, name in enumerate(LONG[:14])}
        for case in ("one", "a-case-with-a-name-that-does-not-end-soon")
    },
}


@pytest.mark.parametrize("kind", BENCHES)
def test_bench_is_seen(kind):
    figure = robust_chart.figure(results(BENCHES[kind]))
    assert figure_check.faults(figure) == []
    runs = {name for by_recipe in BENCHES[kind].values() for name in by_recipe}
    entries = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    assert {entry.replace("scikit-learn", SKLEARN) for entry in entries} == runs


PRICE_LIST = DOCS / "price_list.csv"
BEST = {design.format: design for design in DESIGNS if "ecp5" in design.use}
PRICES = {
    "measured": cost_report.read(PRICE_LIST.read_text(), PRICE_LIST.name),
    "one": [Figures(BEST["fp4"], "ecp5", luts=500, frequencies=(250.0,))],
    "nothing placed": [Figures(design, "ecp5", luts=400) for design in BEST.values()],
    "alike": [Figures(each, "ecp5", luts=16, frequencies=(100.0,)) for each in BEST.values()],
    "one huge": [
        Figures(each, "ecp5", luts=16 if k else 9_000_000, frequencies=(100.0,))
        for k, each in enumerate(BEST.values())
    ],
}


@pytest.mark.parametrize("kind", PRICES)
def test_prices_are_seen_and_their_bars_compare(kind):
    figure = cost_chart.figure(PRICES[kind])
    assert figure_check.faults(figure) == []
    (legend,) = figure.legends
    named = {handle.get_facecolor(): text.get_text() for handle, text in
             zip(legend.legend_handles, legend.get_texts(), strict=True)}  # fmt: skip
    labels = [label.get_text().replace("\n", " ") for label in figure.axes[0].get_yticklabels()]
    for axes in figure.axes:
        assert axes.get_xscale() == "linear" and axes.get_xlim()[0] == 0
        for bar, label in zip(axes.patches, labels, strict=True):
            assert bar.get_x() == 0
            is_ours = label.startswith("FP4") and "multiplier" not in label
            assert named[bar.get_facecolor()].startswith("shifts only" if is_ours else "multiplies")


def test_picture_of_the_price_list_is_that_of_its_figures(tmp_path):
    path = tmp_path / "price_list.png"
    cost_chart.save(PRICES["measured"], path)
    again = ".venv/bin/nibblegrad cost --redraw docs/price_list.csv --output docs/images"
    fresh, kept = image.imread(path), image.imread(DOCS / "images" / "price_list.png")
    # Another release of matplotlib may place letters a little differently.
    assert fresh.shape == kept.shape, f"to be drawn anew: {again}"
    changed = np.abs(fresh - kept).max(axis=-1) > 0.05
    assert changed.mean() < 0.03, f"to be drawn anew: {again}"
    with Image.open(path) as new, Image.open(DOCS / "images" / "price_list.png") as old:
        assert new.info["Description"] == old.info["Description"], f"to be drawn anew: {again}"
        assert "INT4 x INT4 (carry): 30.5 LUT4 per MAC" in new.info["Description"]


def test_price_list_is_read_as_it_was_written():
    text = PRICE_LIST.read_text()
    assert cost_report.comma_separated(PRICES["measured"]) == text


# What the check of charts finds.


def chart():
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 3))
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], label="a line")
    return figure, axes


def plant_nothing(figure, axes):
    axes.legend(loc="upper left")


def plant_text_outside(figure, axes):
    figure.text(0.95, 0.5, "outside")


def plant_title_outside(figure, axes):
    axes.set_title("a title that is too long for its figure, " * 2)


def plant_number_outside(figure, axes):
    axes.text(1.02, 0.5, "beside")


def plant_two_texts(figure, axes):
    axes.text(0.1, 0.8, "one text")
    axes.text(0.15, 0.8, "another")


def plant_crowded_ticks(figure, axes):
    axes.set_xticks(np.linspace(0, 1, 6), ["a long label"] * 6)


def plant_legend_outside(figure, axes):
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))


def plant_legend_on_line(figure, axes):
    axes.legend(loc="upper right")


def plant_legend_on_area(figure, axes):
    axes.fill_between([0, 0.2], [0.9, 0.9], [1, 1])
    axes.legend(loc="upper left")


def plant_legend_on_bar(figure, axes):
    axes.bar([0.1], [0.95], width=0.1)
    axes.legend(loc="upper left")


def plant_legend_on_marker(figure, axes):
    axes.plot([0.1], [0.95], "o")
    axes.legend(loc="upper left")


def plant_legend_on_text(figure, axes):
    axes.text(0.05, 0.93, "under")
    axes.legend(loc="upper left")


@pytest.mark.parametrize(
    ("plant", "fault"),
    [
        (plant_nothing, None),
        (plant_text_outside, 'Text "outside" is outside of the figure'),
        (plant_title_outside, "is outside of the figure"),
        (plant_number_outside, 'Text "beside" is outside of its chart'),
        (plant_two_texts, 'Text "one text" overlaps Text "another"'),
        (plant_crowded_ticks, 'Text "a long label" overlaps Text "a long label"'),
        (plant_legend_outside, "A legend is outside of the figure"),
        (plant_legend_on_line, "Line2D(a line) lies under a legend"),
        (plant_legend_on_area, "lies under a legend"),
        (plant_legend_on_bar, "Rectangle(xy=(0.05, 0), width=0.1, height=0.95, angle=0) lies"),
        (plant_legend_on_marker, "lies under a legend"),
        (plant_legend_on_text, 'Text "under" lies under a legend'),
    ],
)  # fmt: skip
def test_faults_of_a_chart_are_found(plant, fault):
    figure, axes = chart()
    plant(figure, axes)
    found = figure_check.faults(figure)
    assert bool(found) == (fault is not None), found
    assert fault is None or any(fault in each for each in found), found
    # A chart with such a fault can be written all the same.
    figure.savefig(io.BytesIO(), format="png")
