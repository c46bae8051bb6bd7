"""The seam of training methods: one module brings a method to every command, chart and table."""

import csv
import re
import sys

import matplotlib.colors
import numpy as np
import pytest

from nibblegrad.gen.command_line import main
from nibblegrad.gen.palette import PALETTE, looks
from nibblegrad.gen.robust import chart, report
from nibblegrad.gen.training.charts import accuracy_figure
from nibblegrad.golden.cores.stochastic_rounder import round_float
from nibblegrad.golden.driver.cycles import core_recipe
from nibblegrad.golden.driver.device_backend import DeviceBackend
from nibblegrad.golden.engine.command import CoreSize
from nibblegrad.golden.engine.training_core import TrainingCore
from nibblegrad.golden.errors import InputError
from nibblegrad.golden.numbers.formats import BFLOAT16, Fp4Format
from nibblegrad.golden.training import data, methods
from nibblegrad.golden.training.backend import NumpyBackend
from nibblegrad.golden.training.methods import METHODS, RECIPES, VARIANTS
from nibblegrad.golden.training.operations import RecordingOperations
from nibblegrad.golden.training.recipes import Method, Recipe
from nibblegrad.golden.training.trainer import Settings, Trainer
from verif import train as train_in_verilog
from verif.paths import ROOT
from verif.robust.test_robust_report import make_results

SMALL = Settings(hidden=(16, 12), epochs=1)

# A method of every kind at once: layers of its own, something before a step, with the gradients
# and after an update; it prunes half of the weights of each layer, and says which in a checkpoint.
TOY = '''
"""Toy: half of the weights are pruned, and the others keep learning by LUQ."""

from dataclasses import replace

import numpy as np

from nibblegrad.golden.training.methods import RECIPES
from nibblegrad.golden.training.layers import QuantizedDense
from nibblegrad.golden.training.passes import Weights
from nibblegrad.golden.training.recipes import Hook, Method, Recipe


class PrunedDense(QuantizedDense):
    def __init__(self, *args):
        super().__init__(*args)
        self.statistics = {"mask": np.ones(self.parameters["weights"].shape, bool)}

    def announce(self):
        return {
            name: Weights(weights.matrix * self.statistics["mask"], weights.step)
            for name, weights in super().announce().items()
        }


class Pruning(Hook):
    def before_step(self, step):
        for layer in self.layers.values():
            magnitudes = np.abs(layer.parameters["weights"])
            layer.statistics["mask"][...] = magnitudes >= np.median(magnitudes)

    def before_update(self, gradients):
        for name, layer in self.layers.items():
            of_layer = gradients[name]
            of_layer["weights"] = of_layer["weights"] * layer.statistics["mask"]

    def after_update(self, step):
        for layer in self.layers.values():
            np.clip(layer.parameters["bias"], -0.5, 0.5, out=layer.parameters["bias"])


_TOY = Recipe("toy", PrunedDense, RECIPES["luq"].gradient, hooks=(Pruning,))
METHOD = Method(
    _TOY,
    forward="half of the weights",
    backward="as `luq`",
    variants=(replace(_TOY, name="toy_without_hooks", hooks=()),),
    label="a toy",
    greatest_gaps=(90.0, 95.0),
)
'''


@pytest.fixture
def registry():
    """What is registered in a test is forgotten afterwards."""
    tables = (METHODS, RECIPES, VARIANTS, methods._FILES)
    before = [dict(table) for table in tables]
    modules = set(sys.modules)
    yield
    for table, entries in zip(tables, before, strict=True):
        table.clear()
        table.update(entries)
    for name in set(sys.modules) - modules:
        if name.startswith("methods_of_users."):
            del sys.modules[name]


@pytest.fixture
def toy(registry, tmp_path):
    """Folder with the toy alone; it is not loaded yet."""
    folder = tmp_path / "my methods"
    folder.mkdir()
    (folder / "toy.py").write_text(TOY)
    return folder


@pytest.fixture(scope="module")
def digits():
    return data.digits()


def spoken(text):
    """Text of a help or a page, without its line breaks."""
    return " ".join(text.split())


@pytest.mark.parametrize("command", ["train", "robust"])
def test_the_help_lists_it(toy, capsys, command):
    with pytest.raises(SystemExit):
        main([command, "--help"])
    assert "toy" not in spoken(capsys.readouterr().out)
    with pytest.raises(SystemExit):
        main([command, "--methods", str(toy), "--help"])
    text = spoken(capsys.readouterr().out)
    assert "by commas: float32, int4, luq, two_phase, toy (default: all)" in text
    assert ("toy_without_hooks" in text) == (command == "robust")


def test_its_cycles_are_predicted(toy, capsys):
    options = ["cycles", "--layers", "64,32,10", "--batch", "16", "--format", "csv"]
    assert main([*options, "--recipe", "luq"]) == 0
    expected = capsys.readouterr().out
    assert main([*options, "--methods", str(toy), "--recipe", "toy"]) == 0
    assert capsys.readouterr().out == expected
    with pytest.raises(SystemExit):
        main(["cycles", "--methods", str(toy), "--help"])
    assert "luq or two_phase or toy" in spoken(capsys.readouterr().out)


def test_it_is_trained_and_reported(toy, tmp_path, capsys):
    out = tmp_path / "out"
    options = ["--methods", str(toy), "--epochs", "2", "--seeds", "1", "--hidden", "16"]
    assert main(["train", *options, "--output", str(out), "--save", str(tmp_path / "net.npz")]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [row[1] for row in rows if row[:1] == ["mlp"]] == [*RECIPES]
    assert "toy" in RECIPES
    for name in ("accuracy.csv", "layers.csv"):
        with open(out / name) as file:
            assert [row["recipe"] for row in csv.DictReader(file)].count("toy") >= 2
    # Its own state is in the checkpoint, and goes on from there.
    net = tmp_path / "net-mlp-toy-0.npz"
    with np.load(net) as archive:
        mask = archive["layer0.mask"]
    assert mask.mean() == pytest.approx(0.5, abs=0.01)
    options = ["--methods", str(toy), "--recipes", "toy", "--epochs", "0", "--seeds", "1"]
    assert main(["train", *options, "--hidden", "16", "--load", str(net)]) == 0
    assert (
        main(["train", *options[2:], "--recipes", "luq", "--hidden", "16", "--load", str(net)]) == 2
    )


def test_it_is_judged(toy, tmp_path, capsys):
    options = ["--methods", str(toy), "--recipes", "toy,toy_without_hooks", "--cases", "wine"]
    options += ["--set", "epochs=2", "--seeds", "1", "--jobs", "1", "--output", str(tmp_path)]
    assert main(["robust", *options]) in (0, 1)
    printed = capsys.readouterr().out
    assert re.search(r"^\| toy: mean gap \| at least -90 \|", printed, re.M)
    assert re.search(r"^\| toy: worst gap of a case \| at least -95 \|", printed, re.M)
    with open(tmp_path / "robust.csv") as file:
        judged = [row["recipe"] for row in csv.DictReader(file)]
    assert judged == ["float32", "toy", "toy_without_hooks", "sklearn"]
    # What the project brings is kept; a method that has changed is trained anew.
    before = set((tmp_path / "runs").glob("*[!k]"))
    (toy / "toy.py").write_text(TOY.replace("-0.5, 0.5", "-0.25, 0.25"))
    assert main(["robust", *options]) in (0, 1)
    assert len(set((tmp_path / "runs").glob("*[!k]")) - before) == 2


def test_it_has_a_colour_and_a_label_in_all_charts(toy):
    methods.load_folder(toy)
    curves = {name: [[95.0, 96.0]] for name in RECIPES}
    results = make_results({"one": {name: [90.0] for name in RECIPES}})
    colours = []
    for figure in (accuracy_figure({"mlp": curves}), chart.figure(results)):
        (legend,) = [*figure.legends, *(axes.legend_ for axes in figure.axes if axes.legend_)]
        for line, entry in zip(legend.get_lines(), legend.get_texts(), strict=True):
            if entry.get_text().startswith("a toy"):
                colours.append(matplotlib.colors.to_hex(line.get_color()).upper())
    assert colours == [PALETTE[list(METHODS).index("toy")]] * 2
    assert "toy: mean gap" in [bar.name for bar in report.verdict(results)]


def test_its_layers_and_hooks_decide_what_is_multiplied(toy, digits):
    methods.load_folder(toy)
    operations = RecordingOperations()
    run = Trainer(RECIPES["toy"], digits, SMALL, 5, NumpyBackend(operations=operations))
    for step, rows in zip(range(3), run.batches(), strict=False):
        weights = {name: layer.parameters["weights"].copy() for name, layer in run.layers.items()}
        operations.calls = []
        run.step(rows)
        for name, before in weights.items():
            kept = np.abs(before) >= np.median(np.abs(before))
            (call,) = [call for call in operations.calls if call.tensor == f"{name}.weights"][:1]
            assert np.array_equal(call.arguments["x"], round_float(before * kept, BFLOAT16).values)
            assert np.array_equal(call.arguments["x"] != 0, kept)
            layer = run.layers[name]
            assert np.abs(layer.parameters["bias"]).max() <= 0.5
            if step == 0:
                # Without momentum from before, what is pruned has not moved.
                moved = layer.parameters["weights"] != before
                assert moved.any() and not (moved & ~kept).any()


def test_it_trains_on_a_core(toy, digits):
    methods.load_folder(toy)
    runs = [
        Trainer(RECIPES["toy"], digits, SMALL, 5, backend)
        for backend in (NumpyBackend(seed=5), DeviceBackend(TrainingCore(CoreSize()), 5))
    ]
    for _, rows in zip(range(2), runs[0].batches(), strict=False):
        assert runs[0].step(rows) == runs[1].step(rows)
    first, second = (run.parameters() for run in runs)
    assert all(value.tobytes() == second[name].tobytes() for name, value in first.items())
    recipes = [RECIPES["float32"], RECIPES["toy"]]
    assert train_in_verilog.core_recipe(recipes, CoreSize()) is RECIPES["toy"]
    two_phase = train_in_verilog.core_recipe(recipes, CoreSize(fmt=Fp4Format(2)))
    assert two_phase is RECIPES["two_phase"]


def test_the_example_of_the_page_prunes_convolutions_and_dense_layers(registry, digits):
    (method,) = methods.load_folder(ROOT / "docs" / "examples" / "methods")
    operations = RecordingOperations()
    settings = Settings(network="cnn", channels=(4, 8), epochs=1)
    run = Trainer(method.recipe, digits, settings, 5, NumpyBackend(operations=operations))
    operations.calls = []
    run.step(np.arange(64))
    shares = {
        call.tensor: np.mean(call.arguments["x"] != 0)
        for call in operations.calls
        if call.operation == "quantize" and call.tensor.endswith(".weights")
    }
    assert list(shares) == [f"{name}.weights" for name in ("convolution0", "convolution1", "dense")]
    assert all(share == 0.5 for share in shares.values())


def test_the_page_has_the_table():
    assert methods.table() in (ROOT / "docs" / "training.md").read_text()


def test_the_order_of_tables_is_that_of_the_ranks():
    assert list(METHODS)[:4] == ["float32", "int4", "luq", "two_phase"]
    assert list(METHODS) == sorted(METHODS, key=lambda name: (METHODS[name].rank, name))
    modules = {path.stem for path in (ROOT / "golden" / "training" / "methods").glob("*.py")} - {
        "__init__"
    }
    assert modules == set(METHODS)


def test_cores_have_methods_of_their_own():
    assert [methods.core_method(Fp4Format(n)).name for n in (1, 2)] == ["luq", "two_phase"]
    assert core_recipe(CoreSize(fmt=Fp4Format(2))).name == "two_phase"


def test_no_two_of_32_names_look_the_same():
    names = [*METHODS, *(f"other {number}" for number in range(32 - len(METHODS)))]
    shown = looks(names)
    assert len(set(shown.values())) == 32
    assert [shown[name].colour for name in METHODS] == list(PALETTE[: len(METHODS)])
    # What a chart leaves out changes nothing of what it shows.
    assert looks(["luq"]) == {"luq": shown["luq"]}


METHOD = (
    "from nibblegrad.golden.training.recipes import Method, Recipe\n"
    "METHOD = Method(Recipe({}), '', '')\n"
)
MISTAKES = {
    "no folder": (None, r"Folder of methods .*nowhere must exist, and does not"),
    "no files": ({}, r"Folder of methods .*mine must have Python files, and has none"),
    "no method": (
        {"a.py": "x = 1\n"},
        r"Method file .*a\.py must set METHOD to a nibblegrad\.golden\.training\.recipes\."
        r"Method, not None",
    ),
    "no code": (
        {"a.py": "import nothing_of_that_name\n"},
        r"Method file .*a\.py cannot be loaded: ModuleNotFoundError: No module named "
        r"'nothing_of_that_name'",
    ),
    "no syntax": ({"a.py": "METHOD =\n"}, r"Method file .*a\.py cannot be loaded: SyntaxError: .*"),
    "a name of the project's": (
        {"a.py": METHOD.format("'luq'")},
        "Recipe 'luq' must have a name of its own, and there is one",
    ),
    "the same name twice": (
        {"a.py": METHOD.format("'mine'"), "b.py": METHOD.format("'mine'")},
        "Recipe 'mine' must have a name of its own, and there is one",
    ),
    "a variant of the same name": (
        {
            "a.py": "from nibblegrad.golden.training.recipes import Method, Recipe\n"
            "METHOD = Method(Recipe('mine'), '', '', variants=(Recipe('mine'),))\n"
        },
        "Recipe 'mine' must have a name of its own, and there is one",
    ),
    "a word of the command line": (
        {"a.py": METHOD.format("'all'")},
        "Recipe 'all' must have a name of its own, and there is one",
    ),
    "no name": (
        {"a.py": METHOD.format("'My,own'")},
        "Name of a recipe must be small letters, digits and underscores, a letter first, not "
        "'My,own'",
    ),
    "a bad recipe": (
        {
            "a.py": METHOD.format(
                "'x', last_gradient=1, layer=__import__('nibblegrad').golden.training.layers.Dense"
            )
        },
        r"Method file .*a\.py cannot be loaded: InputError: FP4 gradients need a quantised "
        "forward pass",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_of_users_are_named(registry, tmp_path, capsys, mistake):
    files, sentence = MISTAKES[mistake]
    folder = tmp_path / ("nowhere" if files is None else "mine")
    if files is not None:
        folder.mkdir()
        for name, text in files.items():
            (folder / name).write_text(text)
    out = tmp_path / "out"
    assert main(["train", "--methods", str(folder), "--output", str(out)]) == 2
    error = capsys.readouterr().err
    assert re.fullmatch(f"nibblegrad train: error: {sentence}\n", error), error
    assert not out.exists()


@pytest.mark.parametrize(
    "recipe, sentence",
    [
        (RECIPES["luq"], "Cores of fp4_radix2 are trained by luq, so mine cannot be their default"),
        (
            VARIANTS["luq_wide"],
            "Method mine cannot be the default of a core without FP4 gradients in all layers",
        ),
        (
            RECIPES["float32"],
            "Method mine cannot be the default of a core without FP4 gradients in all layers",
        ),
    ],
)
def test_a_core_has_one_default(registry, recipe, sentence):
    own = Recipe("mine", recipe.layer, recipe.gradient, recipe.last_gradient)
    with pytest.raises(InputError, match=f"^{sentence}$"):
        methods.register(Method(own, "", "", is_core_default=True))
    assert "mine" not in METHODS and "mine" not in RECIPES
