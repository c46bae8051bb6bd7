"""``nibblegrad train``: what fails is marked and the rest kept; networks are saved and loaded."""

import csv
import re
import signal
from pathlib import Path

import numpy as np
import pytest

from nibblegrad.gen.command_line import main
from nibblegrad.gen.training import runs as train_runs
from nibblegrad.golden.errors import InputError
from nibblegrad.golden.training import checkpoint, data
from nibblegrad.golden.training.networks import Settings
from nibblegrad.golden.training.trainer import RECIPES, Trainer
from verif.train import main as main_rtl

QUICK = ["--hidden", "8", "--epochs", "2", "--seeds", "2", "--recipes", "float32,luq"]


@pytest.fixture
def run(tmp_path, capsys):
    """Run the command into ``out``; returns status, standard output and standard error."""

    def run(*options):
        status = main(["train", "--output", str(tmp_path / "out"), *map(str, options)])
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return run


@pytest.fixture
def diverging(monkeypatch):
    """Let chosen runs diverge in the second epoch; the watch is asked to see which they are."""

    def choose(*names):
        whole = Trainer.step

        def step(self, rows):
            if (self.recipe.name, self.seed) in names and self.history.losses:
                raise InputError("Training diverged in step 23: the loss is nan")
            return whole(self, rows)

        monkeypatch.setattr(Trainer, "step", step)

    return choose


def rows_of(path):
    with open(path) as file:
        return list(csv.DictReader(file))


def test_what_is_named_twice_is_trained_once(run, tmp_path):
    status, printed, _ = run(
        *("--hidden", "8", "--epochs", "1", "--seeds", "1"),
        *("--network", "mlp,mlp", "--recipes", "float32,float32"),
    )
    assert status == 0 and printed.count("float32") == 2  # a row, and the head of the column
    assert [row["seed"] for row in rows_of(tmp_path / "out" / "accuracy.csv")] == ["0"]


def test_others_go_on_when_a_run_diverges(run, diverging, tmp_path):
    expected = run(*QUICK)
    whole = rows_of(tmp_path / "out" / "accuracy.csv")
    assert expected[0] == 0
    diverging(("luq", 0))
    status, output, error = run(*QUICK)
    assert status == 2
    reason = "Training diverged in step 23: the loss is nan"
    assert error.splitlines() == [
        f"warning: mlp luq, seed 0: {reason}",
        f"nibblegrad train: error: 1 of 4 runs failed: mlp luq, seed 0: {reason}",
    ]
    assert re.search(r"^mlp +luq .* failed: seed 0$", output, re.M)
    # The other seed alone is in the table, and float32 as it was.
    other = [
        row for row in whole if (row["recipe"], row["seed"], row["epoch"]) == ("luq", "1", "2")
    ]
    line = next(line.split() for line in output.splitlines() if line.startswith("mlp      luq"))
    assert float(line[2]) == pytest.approx(float(other[0]["accuracy_percent"]), abs=0.006)
    assert output.splitlines()[1] == expected[1].splitlines()[1]
    found = rows_of(tmp_path / "out" / "accuracy.csv")
    failed = {"accuracy_percent": "nan", "loss": "nan", "findings": reason}
    for row in whole:
        key = (row["recipe"], row["seed"], row["epoch"])
        assert ({**row, **failed} if key == ("luq", "0", "2") else row) in found
    assert len(found) == len(whole)


def made(tmp_path):
    return sorted({path.name for path in (tmp_path / "out").iterdir()} - {"nibblegrad.json"})


def test_all_runs_may_diverge(run, tmp_path):
    assert run(*QUICK)[0] == 0
    assert made(tmp_path) == ["accuracy.csv", "accuracy.png", "layers.csv", "layers.png"]
    status, output, error = run(*QUICK, "--learning-rate", "1e30")
    assert status == 2
    assert error.splitlines()[-1].startswith(
        "nibblegrad train: error: 4 of 4 runs failed, the first of them: mlp float32, seed 0: "
        "Training diverged in step 1: "
    )
    lines = error.splitlines()
    assert len(lines) == 5 and all("Training diverged in step 1: " in line for line in lines)
    assert output.count("failed: seed 0, 1") == 2
    # Charts that were made of other runs do not stay.
    assert made(tmp_path) == ["accuracy.csv"]


def test_strict_stops_and_keeps_what_has_finished(run, diverging, tmp_path):
    diverging(("luq", 0))
    status, output, error = run(*QUICK, "--strict")
    assert status == 2
    assert error.splitlines() == [
        "nibblegrad train: 2 of 4 runs are missing: mlp luq, seed 0; mlp luq, seed 1",
        "nibblegrad train: error: Training diverged in step 23: the loss is nan",
    ]
    assert "luq" not in output
    assert {row["recipe"] for row in rows_of(tmp_path / "out" / "accuracy.csv")} == {"float32"}


@pytest.mark.parametrize("ending", [KeyboardInterrupt, MemoryError, RuntimeError])
def test_whatever_ends_it_what_has_finished_is_kept(run, monkeypatch, tmp_path, ending):
    whole, calls = Trainer.run, []

    def interrupted(self, *arguments):
        calls.append(self)
        if len(calls) == 4:
            raise ending("of our own")
        return whole(self, *arguments)

    monkeypatch.setattr(Trainer, "run", interrupted)
    status, _, error = run(*QUICK)
    assert status == {KeyboardInterrupt: 130, MemoryError: 2, RuntimeError: 3}[ending]
    if ending is KeyboardInterrupt:
        said = "nibblegrad train: interrupted: 1 of 4 runs is missing: mlp luq, seed 1\n"
        assert error == said
    found = {(row["recipe"], row["seed"]) for row in rows_of(tmp_path / "out" / "accuracy.csv")}
    assert found == {("float32", "0"), ("float32", "1"), ("luq", "0")}
    assert (tmp_path / "out" / "layers.png").exists()


def test_networks_are_saved_and_gone_on_from(run, tmp_path):
    net = tmp_path / "new" / "net.npz"
    status, trained, _ = run(*QUICK, "--save", net)
    assert status == 0
    names = [f"net-mlp-{recipe}-{seed}.npz" for recipe in ("float32", "luq") for seed in range(2)]
    assert sorted(path.name for path in net.parent.iterdir()) == names
    for name in made(tmp_path):
        (tmp_path / "out" / name).unlink()
    # Judged as they are: the same table, and nothing is written.
    status, judged, error = run(*QUICK, "--load", net, "--epochs", "0")
    assert (status, error) == (0, "")
    assert judged.splitlines()[:3] == trained.splitlines()[:3]
    assert "of the loaded networks" in judged
    assert made(tmp_path) == []
    # One run takes the file by its name; what it saves is what Python gives.
    one = ["--hidden", "8", "--epochs", "1", "--seeds", "1", "--recipes", "luq"]
    start, end = net.parent / names[3], tmp_path / "end.npz"
    assert run(*one, "--load", start, "--save", end)[0] == 0
    trainer = Trainer(RECIPES["luq"], data.digits(), Settings(hidden=(8,), epochs=1))
    trainer.restore(checkpoint.load(start))
    trainer.run()
    found, expected = checkpoint.load(end).arrays, trainer.checkpoint().arrays
    assert found.keys() == expected.keys()
    assert all(found[key].tobytes() == expected[key].tobytes() for key in found)
    # Our own file is replaced.
    assert run(*one, "--load", end, "--save", end)[0] == 0
    assert (
        checkpoint.load(end).arrays["layer0.weights"].tobytes() != found["layer0.weights"].tobytes()
    )


def test_runs_that_are_saved_are_in_the_table(run, monkeypatch, tmp_path):
    """Ctrl-C right behind a checkpoint, or amid it."""
    whole = checkpoint.save

    def save(*arguments):
        signal.raise_signal(signal.SIGINT)
        whole(*arguments)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(checkpoint, "save", save)
    # Where the tests run in the background of a shell, it is ignored, and would be here.
    outside = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        status, _, error = run(*QUICK, "--save", tmp_path / "net.npz")
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, outside)
    assert status == 130 and "interrupted: 3 of 4 runs are missing" in error
    assert [path.name for path in tmp_path.glob("net*")] == ["net-mlp-float32-0.npz"]
    assert {row["seed"] for row in rows_of(tmp_path / "out" / "accuracy.csv")} == {"0"}


def test_failed_runs_are_not_saved(run, diverging, tmp_path):
    diverging(("float32", 1))
    assert run(*QUICK, "--save", tmp_path / "net.npz")[0] == 2
    saved = {path.name for path in tmp_path.glob("net*")}
    assert saved == {"net-mlp-float32-0.npz", "net-mlp-luq-0.npz", "net-mlp-luq-1.npz"}


@pytest.fixture
def untrained(monkeypatch):
    """Refuse to train: what is wrong is said before."""

    def refuse(self, *arguments):
        raise AssertionError("trained")

    monkeypatch.setattr(Trainer, "run", refuse)


def said(result):
    status, output, error = result
    assert status == 2 and output == "" and error.count("\n") == 1
    assert error.startswith("nibblegrad train: error: ")
    return error.removeprefix("nibblegrad train: error: ").removesuffix("\n")


def test_bad_save_is_said_before_training(run, untrained, tmp_path):
    mine = tmp_path / "net-mlp-luq-1.npz"
    mine.write_text("mine")
    net = tmp_path / "net.npz"
    assert said(run(*QUICK, "--save", net)) == (
        f"File {mine} is not a checkpoint, and is left as it is; save to another name"
    )
    assert mine.read_text() == "mine" and not (tmp_path / "net-mlp-float32-0.npz").exists()
    assert said(run(*QUICK, "--save", mine / "net.npz")) == (
        f"Output {mine} is not a folder; name another one with --save"
    )
    assert said(run(*QUICK, "--save", tmp_path / "net")) == (
        f"Checkpoint {tmp_path}/net-mlp-float32-0 must end with .npz or .safetensors"
    )


@pytest.mark.parametrize("name", ["accuracy.csv", "layers.png"])
def test_files_of_the_user_are_left_alone(run, untrained, tmp_path, name):
    mine = tmp_path / "out" / name
    mine.parent.mkdir()
    mine.write_text("mine")
    assert said(run(*QUICK)) == (
        f"{mine} was not made here or has been changed since; move it away, name another folder "
        "with --output, or overwrite it with --force"
    )
    assert mine.read_text() == "mine" and made(tmp_path) == [name]


def test_bad_load_is_said_before_training(run, untrained, tmp_path, monkeypatch):
    net = tmp_path / "net.npz"
    trainer = Trainer(RECIPES["float32"], data.digits(), Settings(hidden=(8,)))
    for seed in range(2):
        checkpoint.save(trainer.checkpoint(), tmp_path / f"net-mlp-float32-{seed}.npz")
    assert said(run(*QUICK, "--load", net)) == (
        f"Checkpoint {tmp_path}/net-mlp-luq-0.npz cannot be read: No such file or directory"
    )
    one = ["--seeds", "1", "--recipes", "float32", "--load", tmp_path / "net-mlp-float32-0.npz"]
    assert said(run(*one)) == (
        f"Checkpoint {one[-1]} must go with the training, and has hidden layers 8, not 128,128"
    )
    assert said(run("--epochs", "0")) == "Epochs must be at least 1, not 0"


def test_own_test_set(run, tmp_path):
    """Two files that hold what is split of one give the same accuracies, to the bit."""
    digits = data.digits()
    both = tmp_path / "both.npz"
    x = np.concatenate([digits.train_x, digits.test_x]).reshape(-1, 8, 8)
    labels = np.concatenate([digits.train_labels, digits.test_labels])
    np.savez(both, x=x, y=labels)
    chosen = data.split_rows(labels)
    own, test = tmp_path / "own.npz", tmp_path / "test.npz"
    np.savez(own, x=x[~chosen], y=labels[~chosen])
    np.savez(test, x=x[chosen], y=labels[chosen])
    options = ["--hidden", "8", "--epochs", "2", "--seeds", "1", "--recipes", "luq"]
    csv_file, found = tmp_path / "out" / "accuracy.csv", []
    for files in (["--data", both], ["--data", own, "--test", test]):
        assert run(*options, *files)[0] == 0
        found.append(csv_file.read_text())
    assert found[0] == found[1]
    assert said(run(*options, "--test", test)) == (
        f"--test {test} must go with a training set; name it with --data"
    )


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            ["--hidden", "99999999999"],
            "Network mlp would have 7,399,999,999,926 weights, and 67,108,864 are the most that "
            "are taken; make its layers smaller",
        ),
        (
            ["--hidden", "9" * 40],
            r"Network mlp would have 739,9[\d,]+ weights, and 67,108,864 are .*",
        ),
        (
            ["--network", "cnn", "--channels", "8,99999999999"],
            r"Network cnn would have [\d,]+ weights, and 67,108,864 are the most .*",
        ),
        (
            ["--hidden", ",".join(["8"] * 101)],
            "Count of hidden layers must be at most 100, not 101",
        ),
        (["--hidden=-8"], "Hidden layer size must be at least 1, not -8"),
        (["--hidden", "8,0"], "Hidden layer size must be at least 1, not 0"),
        (["--channels=-1"], "Count of channels must be at least 1, not -1"),
        (["--batch", "99999999999"], "Batch size must be at most 1,000,000, not 99,999,999,999"),
        (["--batch", "0"], "Batch size must be at least 1, not 0"),
        (["--epochs", "99999999999"], "Epochs must be at most 100,000, not 99,999,999,999"),
        (["--epochs", "-1"], "Epochs must be at least 1, not -1"),
        (["--seeds", "99999999999"], "Count of seeds must be 1 to 1000, not 99999999999"),
        (["--seeds", "-1"], "Count of seeds must be 1 to 1000, not -1"),
        (["--learning-rate", "nan"], "Learning rate must be positive, not nan"),
        (["--learning-rate", "inf"], "Learning rate must be positive, not inf"),
        (["--learning-rate", "-1"], r"Learning rate must be positive, not -1\.0"),
    ],
)
def test_bad_sizes(run, untrained, options, sentence):
    assert re.fullmatch(sentence, said(run(*options)))


def test_bad_batch_of_large_images():
    """What lies between the layers counts, too, and is known before the images are touched."""
    x = np.broadcast_to(np.float32(0), (2000, 224 * 224 * 3))
    labels = np.arange(2000) % 2
    dataset = data.Dataset(x, labels, x[:2], labels[:2], 2, (224, 224, 3))
    for batch in (1, 2000):
        with pytest.raises(
            InputError, match=r"^Network cnn would have [\d,]+ numbers between its layers for "
        ):
            train_runs.Job(Settings(network="cnn", batch=batch), RECIPES["luq"], 0).start(dataset)


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 28, 28), (4, 9, 7), (2, 5, 100)])
def test_channels_first_are_noticed(run, untrained, tmp_path, shape):
    file = tmp_path / "data.npz"
    np.savez(file, x=np.zeros((20, *shape), np.uint8), y=np.arange(20) % 2)
    options = ["--data", file, "--network", "cnn", "--channels", "4"]
    assert said(run(*options)) == (
        "Network cnn needs images of shape (rows, height, width, channels), and in (rows, "
        f"{', '.join(map(str, shape))}) the channels seem to come first; save "
        "x.transpose(0, 2, 3, 1) instead, or choose network mlp"
    )


@pytest.mark.parametrize("shape", [(32, 32, 3), (8, 8, 100), (3, 3, 200), (4, 4, 4), (5, 9, 9)])
def test_channels_last_are_taken(shape):
    x = np.random.default_rng(3).random((12, int(np.prod(shape))), np.float32)
    labels = np.arange(12) % 2
    dataset = data.Dataset(x, labels, x, labels, 2, shape)
    settings = Settings(network="cnn", channels=(2,), epochs=1)
    assert len(Trainer(RECIPES["luq"], dataset, settings).run().losses) == 1


def test_verilog_neither_loads_nor_saves(capsys, tmp_path):
    for option in ("--load", "--save"):
        assert main_rtl([option, "net.npz", "--output", str(tmp_path / "out")]) == 2
        sentence = "Networks are loaded and saved by NumPy; leave out --load and --save"
        assert capsys.readouterr().err == f"make train BACKEND=rtl: error: {sentence}\n"


def test_failures_are_counted():
    failed = train_runs.Run(train_runs.History(), [], [], "why")
    jobs = train_runs.make_jobs(
        [Settings()], list(RECIPES.values()), 3, None, Path("a") / "net.npz"
    )
    assert jobs[4].save == Path("a") / "net-mlp-int4-1.npz" and jobs[4].load is None
    good = train_runs.Run(train_runs.History([0.5], [0.5]), [], [])
    runs = {("mlp", "float32"): [good] * 3, ("mlp", "int4"): [good, failed, failed]}
    outcome = train_runs.Outcome(runs)
    assert outcome.failures(jobs) == (
        "2 of 12 runs failed, the first of them: mlp int4, seed 1: why"
    )
    assert outcome.missing(jobs).startswith("6 of 12 runs are missing: mlp luq, seed 0; mlp luq")
    assert train_runs.Outcome().failures(jobs) == ""
