"""The bench of data sets: what it trains on, what it keeps, and what it refuses."""

import csv
import dataclasses
import re
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

from nibblegrad.gen.command_line import main
from nibblegrad.gen.robust import command, images, measure, report, tables
from nibblegrad.gen.robust.cases import CASES, REDUCED, Case
from nibblegrad.gen.robust.measure import SKLEARN, Job, Run
from nibblegrad.gen.robust.sets import levels
from nibblegrad.golden.errors import InputError
from nibblegrad.golden.training import data
from nibblegrad.golden.training.methods import RECIPES, VARIANTS
from nibblegrad.golden.training.networks import Settings
from nibblegrad.golden.training.trainer import Trainer

# The processes of the bench only compute; newer Pythons warn of threads that pytest has.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")

TINY = {
    case.name: case
    for case in (
        Case(
            "table",
            partial(tables.generated, 120, 6, n_informative=4, n_classes=2, random_state=1),
            Settings(hidden=(8,), epochs=1),
            "a table",
        ),
        Case(
            "images",
            partial(images.blank_first_class, 5),
            Settings(network="cnn", channels=(2,), epochs=1),
            "images",
        ),
    )
}
CHEAP = ("wine", "small", "clusters10-1", "scales", "sparse", "constant", "sorted", "blank")


@pytest.fixture(scope="module")
def facts():
    return {name: measure.look_at(case) for name, case in TINY.items()}


def test_levels_of_odd_features():
    x = [[5.0, -3.0, 0.0], [5.0, -1.0, 1.0], [5.0, 1.0, 1e6], [5.0, 0.999, 3.0]]
    expected = np.array([[0, 0, 0], [0, 128, 0], [0, 255, 255], [0, 255, 0]]) / 256
    found = levels(x)
    assert found.dtype == np.float32
    assert np.array_equal(found, expected)


def test_levels_are_equal_intervals():
    x = np.arange(257.0)[:, None] / 256
    assert np.array_equal(levels(x)[:, 0], np.minimum(np.arange(257), 255) / 256)
    assert np.array_equal(levels(x, 16)[:, 0], np.minimum(np.arange(257) // 16, 15) / 16)
    assert np.array_equal(levels(-x, 2)[:, 0], np.where(np.arange(257) <= 128, 0.5, 0))


def test_levels_of_features_that_share_a_range():
    x = [[0.0, 2.0], [1.0, 4.0]]
    assert np.array_equal(levels(x, 4, per_feature=False), [[0, 0.5], [0.25, 0.75]])
    assert np.array_equal(levels(x, 4, per_feature=True), [[0, 0], [0.75, 0.75]])
    assert np.array_equal(levels(np.full((2, 2), -7.0), per_feature=False), np.zeros((2, 2)))


def check_contract(name):
    case = CASES[name]
    first, second = case.make(), case.make()
    for field in ("train_x", "train_labels", "test_x", "test_labels"):
        assert getattr(first, field).tobytes() == getattr(second, field).tobytes(), field
    for x in (first.train_x, first.test_x):
        assert x.dtype == np.float32
        assert x.min() >= 0 and x.max() <= 1
        assert np.array_equal(256 * x, np.rint(256 * x))
    for labels in (first.train_labels, first.test_labels):
        assert labels.dtype == np.int64
        assert np.array_equal(np.unique(labels), np.arange(first.classes))
    if first.image_shape is not None:
        assert np.prod(first.image_shape) == first.train_x.shape[1]
    else:
        assert case.settings.network == "mlp"


@pytest.mark.parametrize("name", CHEAP)
def test_data_sets_are_what_networks_expect(name):
    check_contract(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_all_data_sets_are_what_networks_expect(name):
    check_contract(name)


def test_cases_cover_what_they_should():
    settings = [case.settings for case in CASES.values()]
    assert all(name == case.name and case.about for name, case in CASES.items())
    assert {1, 7, 64, 256} <= {each.batch for each in settings}
    assert {0.02, 0.1, 0.2} <= {each.learning_rate for each in settings}
    assert {1, 2, 3, 5} <= {len(each.hidden) for each in settings}
    assert {8, 512} <= {width for each in settings for width in each.hidden}
    assert len(set(REDUCED)) == 12 and set(REDUCED) <= set(CASES)


def test_odd_features_are_odd():
    scales = CASES["scales"].make().train_x.max(axis=0)
    assert scales[0] > 0.9 and 0 < scales[-1] < 0.06
    assert 0.9 < np.mean(CASES["sparse"].make().train_x == 0) < 0.97
    constant = CASES["constant"].make()
    assert np.all(constant.train_x[:, 12:22] == 0)
    assert np.all(constant.train_x[:, 22:] == 255 / 256)
    assert np.median(CASES["heavy"].make().train_x) < 0.1
    assert np.all(np.diff(CASES["sorted"].make().train_labels) >= 0)
    blank = CASES["blank"].make()
    assert np.all(blank.train_labels[:80] == 0) and np.mean(blank.train_x[:80] != 0) < 0.01


def test_large_digits_hold_the_digits():
    small, large = data.digits(), images.large_digits()
    assert large.image_shape == (28, 28, 1)
    assert np.array_equal(large.test_labels, small.test_labels)
    centre = large.test_x.reshape(-1, 28, 28)[:, 3:26:3, 3:26:3]
    assert np.array_equal(centre.reshape(-1, 64), small.test_x)
    assert large.test_x.sum(dtype=np.float64) == 9 * small.test_x.sum(dtype=np.float64)


def test_facts(facts):
    table = facts["table"]
    labels = TINY["table"].make().test_labels
    assert (table.classes, table.features) == (2, 6)
    assert table.train_rows + table.test_rows == 120 and table.test_rows == len(labels)
    assert table.chance == 100 * max(np.mean(labels == 0), np.mean(labels == 1))
    other = dataclasses.replace(TINY["table"], make=partial(TINY["table"].make, flip_y=0.3))
    assert measure.look_at(other).digest != table.digest
    assert measure.look_at(TINY["table"]) == table


def test_longest_jobs_come_first(facts):
    todo = measure.jobs(TINY.values(), facts, ["float32", "luq", SKLEARN], 2)
    assert sorted((job.case, job.recipe) for job in todo) == sorted(
        2 * [(case, recipe) for case in TINY for recipe in ("float32", "luq")]
        + 2 * [("table", SKLEARN)]
    )
    assert {job.seed for job in todo} == {0, 1}
    # More rows, and four bits.
    golden = [job for job in todo if job.recipe != SKLEARN]
    assert golden[:2] == [Job("images", "luq", 0), Job("images", "luq", 1)]


def test_measures_what_the_trainer_gives_and_keeps_it(facts, tmp_path, monkeypatch):
    todo = measure.jobs(TINY.values(), facts, ["float32", "luq", SKLEARN], 1)
    runs = measure.measure(todo, TINY, facts, 2, tmp_path)
    assert [Job(run.case, run.recipe, run.seed) for run in runs] == todo
    for run in runs:
        assert run.seconds > 0 and not run.mark
        if run.recipe != SKLEARN:
            case = TINY[run.case]
            history = Trainer(RECIPES[run.recipe], case.make(), case.settings, run.seed).run()
            assert run.accuracy == 100 * history.accuracies[-1]
            assert run.loss == history.losses[-1]

    def refuse(*_):
        raise AssertionError("trained again")

    monkeypatch.setattr(measure, "train", refuse)
    assert measure.measure(todo, TINY, facts, 1, tmp_path) == runs
    # Another seed has no result yet; a mistake of ours does not pass as a result.
    with pytest.raises(AssertionError, match="trained again"):
        measure.measure([Job("table", "luq", 7)], TINY, facts, 1, tmp_path)


@pytest.mark.filterwarnings("ignore:.*hasn't converged yet")
def test_sklearn_is_trained_on_the_same_split():
    from sklearn.neural_network import MLPClassifier

    case = CASES["wine"]
    dataset = case.make()
    network = MLPClassifier(hidden_layer_sizes=(128, 128), random_state=3)
    network.fit(dataset.train_x, dataset.train_labels)
    expected = 100 * network.score(dataset.test_x, dataset.test_labels)
    assert measure.train(case, SKLEARN, 3)["accuracy"] == pytest.approx(expected, abs=1e-9)


def test_keys_tell_everything_apart():
    case, job = TINY["table"], Job("table", "luq", 0)
    longer = dataclasses.replace(case, settings=Settings(hidden=(8,), epochs=2))
    keys = [
        measure._key(case, job, "data", "sources"),
        measure._key(case, Job("other", "luq", 0), "data", "sources"),
        measure._key(case, Job("table", "int4", 0), "data", "sources"),
        measure._key(case, Job("table", "luq", 1), "data", "sources"),
        measure._key(longer, job, "data", "sources"),
        measure._key(case, job, "other", "sources"),
        measure._key(case, job, "data", "other"),
    ]
    assert all(a != b for i, a in enumerate(keys) for b in keys[:i])
    assert set(keys[0]["versions"]) == {"numpy", "scikit-learn"}


def test_changed_sources_change_the_digest(tmp_path):
    for name in ("golden/a.py", "golden/deep/b.py", "gen/robust/cases.py", "gen/robust/report.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x = 1\n")
    seen = {measure.source_digest(tmp_path)}
    for name in ("golden/a.py", "golden/deep/b.py", "gen/robust/cases.py"):
        (tmp_path / name).write_text("x = 2\n")
        seen.add(measure.source_digest(tmp_path))
    (tmp_path / "golden/a.py").rename(tmp_path / "golden/c.py")
    seen.add(measure.source_digest(tmp_path))
    assert len(seen) == 5
    # A table that is written in another way is no reason to train again.
    (tmp_path / "gen/robust/report.py").write_text("x = 2\n")
    assert measure.source_digest(tmp_path) in seen
    assert measure.source_digest() != measure.source_digest(tmp_path)


def test_diverged_run_is_kept_as_failed(facts, tmp_path, monkeypatch):
    def diverge(self):
        self.watch = SimpleNamespace(findings=["step 2: gradients overflow"])
        raise InputError("Training diverged in step 2: the loss is nan")

    monkeypatch.setattr(Trainer, "run", diverge)
    job = Job("table", "luq", 0)
    for _ in range(2):
        (run,) = measure.measure([job], TINY, facts, 1, tmp_path)
        assert (run.accuracy, run.loss) == (0.0, None)
        assert run.mark == "Training diverged in step 2: the loss is nan"
        assert run.findings == ("step 2: gradients overflow",)
        monkeypatch.undo()
    (other,) = measure.measure([dataclasses.replace(job, seed=1)], TINY, facts, 1, tmp_path)
    assert other.accuracy > 0 and other.mark == ""


@pytest.fixture
def tiny_bench(monkeypatch):
    monkeypatch.setattr(command, "CASES", TINY)


def test_command_writes_table_numbers_and_chart(tiny_bench, tmp_path, capsys):
    options = ["--recipes", "luq", "--seeds", "1", "--jobs", "1", "--output", str(tmp_path)]
    status = main(["robust", *options])
    printed = capsys.readouterr().out
    bars = printed[printed.index("| bar |") :]
    assert status == (1 if "| no |" in bars else 0)
    assert (tmp_path / "robust.png").read_bytes().startswith(b"\x89PNG")
    assert "| table | a table | mlp | 2 |" in (tmp_path / "robust.md").read_text()
    with open(tmp_path / "robust.csv") as file:
        rows = [(row["case"], row["recipe"]) for row in csv.DictReader(file)]
    assert rows == [
        ("table", "float32"),
        ("table", "luq"),
        ("table", SKLEARN),
        ("images", "float32"),
        ("images", "luq"),
    ]


def invent(todo, *_):
    return [Run(job.case, job.recipe, job.seed, 90.0, 0.1, 1.0) for job in todo]


@pytest.mark.parametrize("met", [True, False])
def test_status_tells_whether_the_bars_are_met(tiny_bench, tmp_path, monkeypatch, met):
    options = ["--cases", "table", "--seeds", "1", "--output", str(tmp_path)]
    bar = report.Bar("a bar", "1", "2", met)
    monkeypatch.setattr(command, "measure", invent)
    monkeypatch.setattr(report, "verdict", lambda results: [bar])
    assert main(["robust", *options]) == (0 if met else 1)


def test_interrupt_reports_what_is_complete(tiny_bench, tmp_path, capsys, monkeypatch):
    ended = measure.ended

    def interrupted(futures):
        yield next(ended(futures))
        raise KeyboardInterrupt

    options = ["--cases", "table", "--seeds", "2", "--jobs", "1", "--output", str(tmp_path)]
    with monkeypatch.context() as patched:
        patched.setattr(measure, "ended", interrupted)
        assert main(["robust", *options]) == 130
    printed = capsys.readouterr().out
    said = re.search(r"^Interrupted: (\d+) of 10 runs are missing; run again to ", printed, re.M)
    # Others may have ended meanwhile, the more the busier the machine is.
    missing = int(said[1])
    assert 1 <= missing <= 9
    assert len((tmp_path / "robust.csv").read_text().splitlines()) == 1 + 10 - missing
    assert main(["robust", *options]) in (0, 1)
    assert len((tmp_path / "robust.csv").read_text().splitlines()) == 11


def test_list_names_every_case(tmp_path, capsys):
    assert main(["robust", "--list", "--output", str(tmp_path / "out")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(CASES)
    assert lines[0].endswith("  mlp  breast cancer")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "options, message",
    [
        (["--cases", "wine,win"], f"Case must be one of {', '.join(CASES)}, not 'win'"),
        (["--cases", ""], f"Case must be one of {', '.join(CASES)}, not ''"),
        (["--recipes", "fp8"], f"Recipe must be one of {', '.join(RECIPES | VARIANTS)}, not 'fp8'"),
        (
            ["--recipes", "sklearn"],
            f"Recipe must be one of {', '.join(RECIPES | VARIANTS)}, not 'sklearn'",
        ),
        (
            ["--set", "rate=1"],
            "--set must name one of network, epochs, batch, learning_rate, momentum, "
            "weight_decay, warm_up, greatest_norm, step_rule, and 'rate=1' does not",
        ),
        (["--set", "epochs=1.5"], "--set epochs must be a number such as 20, not '1.5'"),
        (["--set", "step_rule=x"], "Rule of the steps must be one of bounded, published, not 'x'"),
        (["--seeds", "0"], "--seeds must be 1 to 100, not 0"),
        (["--reduced", "--seeds", "101"], "--seeds must be 1 to 100, not 101"),
        (["--jobs", "0"], "--jobs must be 1 to 256, not 0"),
        (
            ["--reduced", "--cases", "wine"],
            "--reduced has cases of its own; leave out --cases wine",
        ),
    ],
)
def test_bad_options(tmp_path, capsys, options, message):
    assert main(["robust", "--output", str(tmp_path / "out"), *options]) == 2
    assert capsys.readouterr().err == f"nibblegrad robust: error: {message}\n"
    assert not (tmp_path / "out").exists()
