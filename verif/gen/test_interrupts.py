"""Ctrl-C, by real signals: what has finished is kept, and nothing is left half-written."""

import csv
import signal

import pytest

from verif.support.running import Running


def interrupted(arguments, is_time, presses=1):
    """Run a command, and interrupt it when it is time."""
    running = Running(["-m", "nibblegrad", *arguments])
    running.wait_until(is_time)
    return running.interrupt(presses)


def hidden(folder):
    return [path.name for path in folder.rglob(".*")]


#: Runs of a training: far more than end between two looks of this test, however busy the machine.
RUNS = [(recipe, str(seed)) for recipe in ("float32", "luq") for seed in range(10)]


def train(tmp_path, is_time, presses=1, epochs=20):
    options = ["--recipes", "float32,luq", "--seeds", "10", "--epochs", epochs, "--hidden", "16"]
    options += ["--output", tmp_path / "out", "--save", tmp_path / "save" / "net.npz"]
    return interrupted(["train", *options], lambda: is_time(tmp_path), presses)


def missing(runs):
    """What is said of runs that are missing."""
    names = "; ".join(f"mlp {recipe}, seed {seed}" for recipe, seed in runs)
    verb = "is" if len(runs) == 1 else "are"
    return f"nibblegrad train: interrupted: {len(runs)} of {len(RUNS)} runs {verb} missing: {names}"


def test_training_keeps_what_has_finished(tmp_path):
    first = "net-mlp-float32-0.npz"
    status, output, error = train(tmp_path, lambda folder: (folder / "save" / first).exists())
    assert status == 130
    assert "Traceback" not in error
    with open(tmp_path / "out" / "accuracy.csv") as file:
        done = {(row["recipe"], row["seed"]) for row in csv.DictReader(file)}
    assert done == set(RUNS[: len(done)]) and 1 <= len(done) < len(RUNS)
    assert error.splitlines()[-1] == missing(RUNS[len(done) :])
    assert "\nmlp      float32 " in output and f"wrote {tmp_path}/out/accuracy.png" in output
    assert (tmp_path / "out" / "accuracy.png").read_bytes().endswith(b"IEND\xaeB`\x82")
    kept = sorted(path.name for path in (tmp_path / "save").iterdir())
    assert kept == sorted(f"net-mlp-{recipe}-{seed}.npz" for recipe, seed in RUNS[: len(done)])
    assert not hidden(tmp_path)


def test_training_that_has_nothing_yet(tmp_path):
    # The first run alone would take minutes.
    status, output, error = train(
        tmp_path, lambda folder: (folder / "save").exists(), epochs=10_000
    )
    assert status == 130 and output == ""
    # Whether the first run had begun or not.
    assert error in ("nibblegrad train: interrupted\n", f"{missing(RUNS)}\n")
    assert list((tmp_path / "out").iterdir()) == [] and not hidden(tmp_path)
    assert "Traceback" not in error


def test_training_that_is_interrupted_again_while_it_writes(tmp_path):
    """Whichever file it was at, each is whole or not there."""
    first = "net-mlp-float32-0.npz"
    _, _, error = train(tmp_path, lambda folder: (folder / "save" / first).exists(), presses=5)
    assert "Traceback" not in error
    assert not hidden(tmp_path)
    for path in (tmp_path / "out").iterdir():
        content = path.read_bytes()
        assert content.endswith(b"IEND\xaeB`\x82" if path.suffix == ".png" else b"\n")


@pytest.mark.parametrize("presses", [1, pytest.param(4, marks=pytest.mark.slow)])
def test_the_bench_keeps_what_has_finished(tmp_path, presses):
    options = ["--cases", "wine,small", "--recipes", "luq", "--seeds", "20", "--jobs", "2"]
    runs = tmp_path / "runs"
    status, output, error = interrupted(
        ["robust", *options, "--output", tmp_path],
        lambda: len(list(runs.glob("*/result.json"))) >= 4,
        presses,
    )
    assert not hidden(tmp_path)
    # Pressed again, Python itself may be ended by the signal, which a shell calls 130 as well.
    assert status in ((130,) if presses == 1 else (130, -signal.SIGINT)), error
    assert "Traceback" not in error, error
    if presses == 1:
        assert "of 120 runs are missing; run again to complete them\n" in output
        done = len((tmp_path / "robust.csv").read_text().splitlines()) - 1
        assert 1 <= done <= len(list(runs.glob("*/result.json"))) < 120
        assert (tmp_path / "robust.png").read_bytes().endswith(b"IEND\xaeB`\x82")
