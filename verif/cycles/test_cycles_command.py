# amaranth: UnusedElaboratable=no
"""``nibblegrad cycles``: its numbers are those of the model, in every format and in the picture."""

import csv
import io
import json
import re
import subprocess
import sys

import numpy as np
import pytest
from matplotlib import image

from nibblegrad.gen import config
from nibblegrad.gen.command_line import main
from nibblegrad.gen.cycles import chart as cycles_chart
from nibblegrad.gen.cycles import command as cycles
from nibblegrad.golden.driver import cycles as model
from nibblegrad.golden.driver.cuts import LayerShape
from nibblegrad.golden.driver.cycles import convolution_layers, dense_layers, step_cycles
from nibblegrad.golden.errors import InputError
from nibblegrad.golden.training.methods import RECIPES
from nibblegrad.hdl.engine.timing import core_timing
from verif.paths import ROOT
from verif.support import figure_check

CORES = config.load(cycles.CONFIG)
DIGITS = ["--layers", "64,128,128,10"]
IMAGES = ["--network", "cnn", "--image", "8x8x1", "--channels", "4,8", "--batch", "8"]
CNN = {
    "convolution0": LayerShape(8 * 64, 9, 4),
    "convolution1": LayerShape(8 * 16, 36, 8),
    "dense": LayerShape(8, 4 * 8, 10),
}
OPTIONS = {
    "digits": (DIGITS, "training_core", "luq", dense_layers((64, 128, 128, 10), 64)),
    "one layer": (["--layers", "20,3", "--batch", "1"], "training_core", "luq",
                  {"layer0": LayerShape(1, 20, 3)}),
    "images": (IMAGES, "training_core", "luq", CNN),
    "two phases": ([*DIGITS, "--module", "training_core_float32"], "training_core_float32",
                   "two_phase", dense_layers((64, 128, 128, 10), 64)),
}  # fmt: skip


@pytest.fixture
def run(capsys):
    """Run the command; returns status, standard output and standard error."""

    def run(*options):
        status = main(["cycles", *map(str, options)])
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return run


def expected(name):
    """What the model says of the layers, given by hand."""
    _, module, recipe, layers = OPTIONS[name]
    size = CORES[module].size()
    without_bias = [layer for layer in layers if layer.startswith("convolution")]
    return step_cycles(size, core_timing(size), layers, RECIPES[recipe], without_bias)


def numbers(report):
    """Rows of passes, and of the step."""
    rows = [
        (p.layer, p.name, p.cycles, p.busy, p.bound_by, p.passes, p.beats, p.strips, p.commands)
        for p in report.passes
    ]
    sums = np.sum([row[5:] for row in rows], axis=0).tolist()
    return rows, (report.cycles, report.busy, *sums)


def percent(text):
    assert re.fullmatch(r"\d+\.\d", text)
    return float(text) / 100


@pytest.mark.parametrize("name", OPTIONS)
def test_table(run, name):
    report = expected(name)
    rows, step = numbers(report)
    status, text, error = run(*OPTIONS[name][0])
    assert (status, error) == (0, "")
    lines = [line.replace(",", "").replace(" %", "").split() for line in text.splitlines()]
    assert lines[0] == "layer pass cycles busy bound by passes beats strips commands".split()
    for line, row in zip(lines[1:], rows, strict=False):
        assert line[:3] == [*row[:2], str(row[2])] and line[4:] == [*map(str, row[4:])]
        assert percent(line[3]) == pytest.approx(row[3], abs=0.0005)
    whole = lines[1 + len(rows)]
    assert whole[0] == "step" and [int(n) for n in (whole[1], *whole[3:])] == [step[0], *step[2:]]
    sentence = re.fullmatch(
        r"one training step: ([\d,]+) cycles, ([\d.]+) % busy; at least ([\d,]+) \(([\d.]+) %\) "
        "in any order, with any memories",
        text.splitlines()[2 + len(rows)],
    )
    cycle_count, busy, bound, share = (part.replace(",", "") for part in sentence.groups())
    assert (int(cycle_count), int(bound)) == (report.cycles, report.bound)
    assert percent(busy) == pytest.approx(report.busy, abs=0.0005)
    assert percent(share) == pytest.approx(report.bound / report.cycles, abs=0.0005)
    size = report.size
    assert lines[-3:] == [
        ["activations", str(size.activation_words), str(report.words["activations"])],
        ["weights", str(size.weight_words), str(report.words["weights"])],
        ["gradients", str(size.gradient_words), str(report.words["gradients"])],
    ]


@pytest.mark.parametrize("name", OPTIONS)
def test_csv_and_json_are_the_same_numbers(run, name):
    report = expected(name)
    rows, step = numbers(report)
    _, text, _ = run(*OPTIONS[name][0], "--format", "csv")
    *found, last = csv.DictReader(io.StringIO(text))
    kinds = (str, str, int, float, str, int, int, int, int)
    assert [
        tuple(kind(value) for kind, value in zip(kinds, row.values(), strict=False))
        for row in found
    ] == rows
    keys = ["cycles", "busy", "passes", "beats", "strips", "commands"]
    assert last["layer"] == "step" and int(last["least_cycles"]) == report.bound
    assert tuple(float(last[key]) for key in keys) == step
    _, text, _ = run(*OPTIONS[name][0], "--format", "json")
    document = json.loads(text)
    assert [tuple(row.values()) for row in document["passes"]] == rows
    assert tuple(document["step"][key] for key in keys) == step
    assert document["step"]["least_cycles"] == report.bound
    assert {name: words["whole"] for name, words in document["words"].items()} == report.words
    assert [words["has"] for words in document["words"].values()] == [
        report.size.activation_words, report.size.weight_words, report.size.gradient_words
    ]  # fmt: skip
    assert list(document["core"].values()) == [8, 8, 16]


def test_digits_are_the_default(run):
    assert run() == run(*DIGITS)
    assert run("--network", "cnn") == run("--network", "cnn", "--image", "8x8x1")


def test_convolutions_are_products_of_neighbourhoods():
    assert convolution_layers((8, 8, 1), (4, 8), 10, 8) == CNN
    # What is left over is dropped by a pooling.
    assert convolution_layers((7, 5, 3), (4,), 2, 1) == {
        "convolution0": LayerShape(35, 27, 4),
        "dense": LayerShape(1, 3 * 2 * 4, 2),
    }
    with pytest.raises(
        InputError, match=r"^Network cnn with 3 poolings needs images of at least 8"
    ):
        convolution_layers((28, 7, 1), (4, 4, 4), 10, 8)


def test_what_binds_is_what_takes_the_most():
    passes = {(each.layer, each.name): each for each in expected("digits").passes}
    # A weight gradient of two thirds of the work has twice as many strips as passes.
    assert passes["layer1", "backward"].drained == 2048
    assert passes["layer1", "backward"].work == 3072
    assert passes["layer1", "backward"].bound_by == "drain"
    assert passes["layer1", "forward"].bound_by == "load"
    size = CORES["training_core"].size()
    large = step_cycles(size, core_timing(size), dense_layers((256, 256), 256))
    assert [each.bound_by for each in large.passes] == ["compute", "compute"]


def test_structure_of_the_core_counts(run, tmp_path):
    """The pipelines of an FPGA's array are longer."""
    counts = []
    for structure in ("plain", "pipelined"):
        path = tmp_path / f"{structure}.toml"
        path.write_text(f'[modules.x]\ncore = "training_core"\nstructure = "{structure}"\n')
        _, text, _ = run("--config", path, "--layers", "64,64", "--format", "json")
        counts.append(json.loads(text)["step"]["cycles"])
    assert counts[0] < counts[1] < 1.01 * counts[0]


@pytest.fixture
def idle(monkeypatch):
    """Refuse to work: what is wrong is said before."""
    monkeypatch.setattr(cycles, "step_cycles", lambda *_: pytest.fail("work began"))


def said(result):
    status, output, error = result
    assert status == 2 and output == "" and error.count("\n") == 1
    return error.removeprefix("nibblegrad cycles: error: ").removesuffix("\n")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--layers", ""], "--layers must be whole numbers separated by commas, not ''"),
        (["--layers", "784"], "--layers must be 2 to 101 sizes, those of input and output among "
                              "them, not 1: 784"),
        (["--layers", ",".join(["8"] * 102)], "--layers must be 2 to 101 sizes, those of input"),
        (["--layers", "784,0,10"], "Sizes in --layers must be 1 to 65,536, not 0"),
        (["--layers=-1,10"], "Sizes in --layers must be 1 to 65,536, not -1"),
        (["--layers", "784,65537"], "Sizes in --layers must be 1 to 65,536, not 65537"),
        (["--layers", "784,many"], "--layers must be whole numbers separated by commas, not '784,"),
        (["--layers", "784,1.5"], "--layers must be whole numbers separated by commas, not '784,1"),
        ([*DIGITS, "--batch", "0"], "--batch must be 1 to 1,000,000, not 0"),
        ([*DIGITS, "--batch", "1000001"], "--batch must be 1 to 1,000,000, not 1000001"),
        (["--layers", "65536,65536", "--batch", "1000000"],
         "A step would take 16,777,216,000,000 cycles or more, and 1,000,000,000 are the most that "
         "are followed; make layers or batch smaller"),
        ([*DIGITS, "--network", "rnn"], "Network must be mlp or cnn, not 'rnn'"),
        ([*DIGITS, "--image", "8x8x1"], "--image 8x8x1 does not go with network mlp; leave it out"),
        ([*IMAGES, *DIGITS], "--layers 64,128,128,10 does not go with network cnn; leave it out, "),
        ([*IMAGES, "--image", "8x8"], "--image must be HEIGHTxWIDTHxCHANNELS, such as 28x28x1, no"),
        ([*IMAGES, "--image", "8x8x0"], "Sizes in --image must be 1 to 65,536, not 0"),
        ([*IMAGES, "--image", "3x8x1"], "Network cnn with 2 poolings needs images of at least 4 x "
                                        "4 pixels, not 3 x 8"),
        ([*IMAGES, "--channels", ""], "--channels must be whole numbers separated by commas, not "),
        ([*IMAGES, "--channels", "4,0"], "Sizes in --channels must be 1 to 65,536, not 0"),
        ([*IMAGES, "--channels", ",".join(["1"] * 101)], "Count of convolutions must be 1 to 100,"),
        ([*IMAGES, "--classes", "0"], "--classes must be 1 to 65,536, not 0"),
        ([*DIGITS, "--module", "nope"], "{default}: module 'nope' is not there; choose from train"),
        ([*DIGITS, "--config", "{default}"], "{default} has 2 training cores; choose one with --m"),
        ([*DIGITS, "--config", "{none}"], "{none} has no training_core; name a file that has one"),
        ([*DIGITS, "--config", "{none}x"], "Cannot read configuration {none}x: No such file or di"),
        ([*DIGITS, "--recipe", "float32"], "Recipe must be luq or two_phase, not 'float32'"),
        ([*DIGITS, "--recipe", "luq,luq"], "Recipe must be luq or two_phase, not 'luq,luq'"),
        ([*DIGITS, "--recipe", "two_phase"], "Recipe and core must have the same FP4 format, not"),
        ([*DIGITS, "--format", "xml"], "Format must be one of text, csv, json, not 'xml'"),
        ([*DIGITS, "--format", "csv,json"], "Format must be one of text, csv, json, not 'csv"),
        ([*DIGITS, "--plot", "step.pdf"], "Picture step.pdf must end with .svg or .png"),
        ([*DIGITS, "--plot", "step"], "Picture step must end with .svg or .png"),
        ([*DIGITS, "--plot", "{none}/step.svg"],
         "Output {none} is not a folder; name another one with --plot"),
    ],
)  # fmt: skip
def test_bad_options(run, idle, tmp_path, options, sentence):
    none = tmp_path / "none.toml"
    none.write_text('[modules.x]\ncore = "step_gradient"\n')
    names = {"default": cycles.CONFIG, "none": none}
    found = said(run(*(option.format(**names) for option in options)))
    assert found.startswith(sentence.format(**names))


def test_layer_that_does_not_fit(run, tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(
        '[modules.x]\ncore = "training_core"\nrows = 2\ncolumns = 2\nlanes = 2\nmax_terms = 2\n'
        "activation_words = 1\nweight_words = 1\ngradient_words = 1\npartial_sum_strips = 1\n"
    )
    assert said(run("--config", path, "--layers", "64,64")).startswith(
        "A layer of 64 rows, 64 inputs and 64 outputs does not fit the training core however it is"
    )


# The picture.

NETWORKS = {
    "digits": dense_layers((64, 128, 128, 10), 64),
    "least": dense_layers((1, 1), 1),
    "images": CNN,
    "many layers": dense_layers([16] * 31, 16),
    "cut": dense_layers((784, 512, 10), 64),
}


def area(patch):
    """Area of the bars of a patch."""
    corners = patch.get_path().vertices
    bars = corners[: len(corners) // 5 * 5].reshape(-1, 5, 2)
    return float(np.sum((bars[:, 2, 0] - bars[:, 1, 0]) * (bars[:, 0, 1] - bars[:, 1, 1])))


@pytest.mark.parametrize("name", NETWORKS)
def test_picture_has_three_lanes_whose_areas_are_work(name):
    size = CORES["training_core"].size()
    report = step_cycles(size, core_timing(size), NETWORKS[name])
    figure = cycles_chart.figure(report)
    assert figure_check.faults(figure) == []
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["load", "array", "drain"]
    assert list(axes.get_yticks()) == [0, 1, 2]
    left, right = axes.get_xlim()
    low, high = sorted(axes.get_ylim())
    (legend,) = figure.legends
    entries = [text.get_text() for text in legend.get_texts()]
    assert entries == [*NETWORKS[name], "pale: backward", "has the unit, and waits"]
    work, colours = {}, {}
    for patch in axes.patches:
        vertices = patch.get_path().vertices
        assert left <= vertices[:, 0].min() and vertices[:, 0].max() <= right
        assert low <= vertices[:, 1].min() and vertices[:, 1].max() <= high
        lane = int(np.round(vertices[:, 1].max() - 0.5))
        colour = patch.get_facecolor()
        if np.allclose(colour[:3], 0xE4 / 255):
            continue
        work.setdefault(lane, []).append(area(patch) / 0.86)
        colours.setdefault(lane, []).append(colour)
    for lane, kind in enumerate(("beats", "passes", "strips")):
        assert work[lane] == pytest.approx([getattr(each, kind) for each in report.passes])
    # A pass has the same colour in all lanes; forward and backward of a layer differ.
    assert colours[0] == colours[1] == colours[2]
    count = len(NETWORKS[name])
    for forward, backward in zip(colours[0][:count], colours[0][count:][::-1], strict=True):
        assert forward != backward
        assert backward[:3] == pytest.approx([(part + 1) / 2 for part in forward[:3]], abs=0.01)


def test_bars_are_where_the_model_has_them():
    size = CORES["training_core"].size()
    report = step_cycles(size, core_timing(size), dense_layers((1, 1), 1))
    (axes,) = cycles_chart.figure(report).axes
    found = {0: [], 1: [], 2: []}
    for patch in axes.patches:
        corners = patch.get_path().vertices.reshape(-1, 5, 2)
        for bar in corners:
            found[int(np.round(bar[0, 1] - 0.5))].append((int(bar[1, 0]), int(bar[2, 0])))
    loads = [span for span in report.spans if span.command.operation < 5]
    products = [span for span in report.spans if span.command.operation >= 5]
    assert set(found[0]) == {(span.start, span.end) for span in loads}
    assert set(found[1]) == {(span.start, span.last + 1) for span in products}
    assert set(found[2]) == {(span.first, span.out) for span in products}


@pytest.mark.parametrize("suffix", [".svg", ".png"])
def test_picture_is_written_and_nothing_of_the_users(run, tmp_path, monkeypatch, suffix):
    path = tmp_path / "new" / f"step{suffix}"
    status, text, error = run(*DIGITS, "--plot", path)
    assert (status, error) == (0, "") and text.endswith(f"\nwrote {path}\n")
    first = path.read_bytes()
    if suffix == ".png":
        assert image.imread(path).shape[2] == 4
    else:
        assert first.startswith(b"<?xml") and b"layer1 backward: 3," in first
    # The same bytes again, and silence behind what a program reads.
    status, text, _ = run(*DIGITS, "--plot", path, "--format", "json")
    assert status == 0 and json.loads(text) and path.read_bytes() == first
    path.write_text("mine")
    monkeypatch.setattr(cycles, "step_cycles", lambda *_: pytest.fail("work began"))
    assert said(run(*DIGITS, "--plot", path)) == (
        f"{path} was not made here or has been changed since; move it away, name another folder "
        "with --plot, or overwrite it with --force"
    )
    assert path.read_text() == "mine"
    monkeypatch.undo()
    assert run(*DIGITS, "--plot", path, "--force")[0] == 0 and path.read_bytes() == first


def test_nothing_is_drawn_where_nothing_is_predicted(run, tmp_path, monkeypatch):
    monkeypatch.setattr(model, "DeviceBackend", None)
    assert run(*DIGITS, "--plot", tmp_path / "new" / "step.svg")[0] == 3
    assert not (tmp_path / "new").exists()


def test_only_a_picture_needs_matplotlib(run, monkeypatch, tmp_path):
    found = cycles.require.__globals__["importlib"].util.find_spec
    monkeypatch.setattr(
        "nibblegrad.gen.door.importlib.util.find_spec",
        lambda name: None if name == "matplotlib" else found(name),
    )
    assert said(run(*DIGITS, "--plot", tmp_path / "step.svg")) == (
        "the package matplotlib is missing; run `pip install 'nibblegrad[train]'`"
    )
    program = (
        "import sys; from nibblegrad.gen.command_line import main; status = main(sys.argv[1:]); "
        "assert not {'matplotlib', 'sklearn', 'peakrdl_html'} & set(sys.modules); sys.exit(status)"
    )
    subprocess.run([sys.executable, "-c", program, "cycles", *DIGITS], cwd=ROOT, check=True)


# The handbook.

PAGE = (ROOT / "docs" / "cycles.md").read_text()
EXAMPLE = re.search(r"^\$ \.venv/bin/nibblegrad (cycles .*)\n((?:.|\n)*?)^```", PAGE, re.M)
PICTURE = re.search(
    r"^\.venv/bin/nibblegrad (cycles .* --plot docs/images/step\.svg.*)", PAGE, re.M
)


def test_example_is_what_is_printed(capsys):
    assert main(EXAMPLE[1].split()) == 0
    assert capsys.readouterr().out == EXAMPLE[2], f"to be made anew: nibblegrad {EXAMPLE[1]}"


def test_picture_of_the_handbook_is_that_of_its_command(tmp_path):
    fresh = tmp_path / "step.svg"
    options = PICTURE[1].replace("docs/images/step.svg", str(fresh)).split()
    assert main(options) == 0
    described = [
        re.search("<dc:description>(.*?)</dc:description>", path.read_text(), re.S)[1]
        for path in (fresh, ROOT / "docs" / "images" / "step.svg")
    ]
    assert described[0] == described[1], f"to be drawn anew: nibblegrad {PICTURE[1]}"


def test_bound_is_below_every_step():
    size = CORES["training_core"].size()
    for layers in NETWORKS.values():
        report = step_cycles(size, core_timing(size), layers)
        assert report.bound == model.least_cycles(size, layers) <= report.cycles
