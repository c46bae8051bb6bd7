"""Trainer: repeatable to the bit, learns by every recipe, and records what the cores did."""

import argparse
import csv
import dataclasses
import math
import re

import numpy as np
import pytest

from nibblegrad.gen.training import command as train
from nibblegrad.golden.cores.fp4_quantizer import quantize_fp4
from nibblegrad.golden.cores.quantizer import quantize
from nibblegrad.golden.cores.shift_multiply_array import matmul
from nibblegrad.golden.errors import InputError
from nibblegrad.golden.training import data, trainer
from nibblegrad.golden.training.backend import NumpyBackend
from nibblegrad.golden.training.networks import NETWORKS
from nibblegrad.golden.training.trainer import RECIPES, Settings, Trainer

SMALL = Settings(hidden=(32,), epochs=2)
SMALL_CNN = Settings(network="cnn", channels=(4, 8), epochs=2)
BOTH = pytest.mark.parametrize("settings", [SMALL, SMALL_CNN], ids=NETWORKS)


@pytest.fixture(scope="module")
def digits():
    return data.digits()


@BOTH
@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_same_seed_same_bits(digits, recipe, settings):
    runs = [Trainer(recipe, digits, settings, seed) for seed in (1, 1, 2)]
    histories = [run.run() for run in runs]
    first, second, other = (run.parameters() for run in runs)
    assert all(first[key].tobytes() == second[key].tobytes() for key in first)
    assert histories[0] == histories[1]
    assert not any(np.array_equal(first[key], other[key]) for key in first)


@pytest.mark.parametrize(
    "network, recipe",
    [
        pytest.param(
            network,
            recipe,
            # By far the slowest.
            marks=[pytest.mark.slow] * ((network, recipe) == ("cnn", "luq")),
        )
        for network in NETWORKS
        for recipe in RECIPES
    ],
)
def test_five_epochs_teach(digits, recipe, network):
    settings = Settings(network=network, hidden=(64, 64), epochs=5)
    history = Trainer(RECIPES[recipe], digits, settings, seed=7).run()
    assert len(history.accuracies) == len(history.losses) == 5
    assert history.losses[-1] < history.losses[0] / 3
    assert history.accuracies[-1] >= 0.93


@pytest.mark.parametrize("channels", [1, 3])
def test_cnn_takes_larger_images(channels):
    rng = np.random.default_rng(8)
    x = (rng.integers(0, 256, (20, 9 * 6 * channels)) / 256).astype(np.float32)
    labels = np.arange(20) % 2
    dataset = data.Dataset(x, labels, x, labels, 2, (9, 6, channels))
    settings = Settings(network="cnn", channels=(2, 3), epochs=1, batch=10)
    run = Trainer(RECIPES["luq"], dataset, settings)
    assert len(run.run().losses) == 1
    shapes = {key: value.shape for key, value in run.parameters().items() if "weights" in key}
    assert shapes == {
        "convolution0.weights": (2, 9 * channels),
        "convolution1.weights": (3, 18),
        "dense.weights": (2, 2 * 1 * 3),
    }


@pytest.mark.parametrize(
    ("shape", "sentence"),
    [
        (
            None,
            r"Network cnn needs images of shape \(rows, height, width\) or \(rows, height, width, "
            r"channels\), not 64 features in a row; choose network mlp",
        ),
        (
            (3, 21, 1),
            r"Network cnn with 2 poolings needs images of at least 4 x 4 pixels, not 3 x 21",
        ),
    ],
)
def test_bad_images(digits, shape, sentence):
    dataset = dataclasses.replace(digits, image_shape=shape)
    with pytest.raises(InputError, match=f"^{sentence}$"):
        Trainer(RECIPES["float32"], dataset, SMALL_CNN)


@BOTH
@pytest.mark.parametrize("recipe", RECIPES)
def test_everything_is_learned(digits, recipe, settings):
    run = Trainer(RECIPES[recipe], digits, settings)
    before = run.parameters()
    run.run()
    after = run.parameters()
    assert any(key.endswith("step") for key in after) == (recipe != "float32")
    for key in before:
        assert not np.array_equal(before[key], after[key]), key
        if key.endswith("step"):
            assert after[key] > 0


@pytest.mark.parametrize("recipe", ["float32", "luq"])
def test_networks_start_at_guessing(digits, recipe):
    run = Trainer(RECIPES[recipe], digits, Settings(hidden=(40, 30)), seed=4)
    assert 2.25 < run.step(np.arange(1438)) < 2.40  # log(10) is 2.303
    run = Trainer(RECIPES[recipe], digits, Settings(hidden=(40, 30)), seed=4)
    count = len(digits.train_x)
    x = digits.train_x[np.arange(256) * count // 256]
    for name, layer in run.layers.items():
        sums = x @ layer.parameters["weights"].T + layer.parameters["bias"]
        # Of what the rows became by the layers before, each unit's sums are centred.
        assert np.abs(sums.mean(axis=0)).max() < 1e-5
        if name != "layer2":
            assert np.sqrt(sums.var(axis=0).mean()) == pytest.approx(0.5, rel=1e-4)
        with NumpyBackend().begin(layer.announce()) as passes:
            x = layer.forward(x, passes)
    assert np.abs(x).max() < 1


def test_networks_start_from_rows_spread_over_the_training_set():
    """Sorted rows, the first class all but blank: no step is that of blank images."""
    rng = np.random.default_rng(9)
    images = rng.integers(0, 256, (600, 64)) / 256
    labels = np.repeat(np.arange(6), 100)
    images[:100] = 0
    images[0, 0] = 1 / 256
    dataset = data.Dataset(
        images.astype(np.float32), labels, images[::7], labels[::7], 6, (8, 8, 1)
    )
    run = Trainer(RECIPES["luq"], dataset, Settings(hidden=(32,), epochs=1))
    steps = {name: float(layer.parameters["activation_step"]) for name, layer in run.layers.items()}
    assert 1 / 20 < steps["layer0"] < 1 / 10
    assert run.run().losses[0] < 2
    assert run.watch.findings == []


def test_images_that_are_blank_but_for_one_train_on(digits):
    """No step becomes zero, and no bias leaves its 32 bits, where next to nothing is to be seen."""
    x = np.zeros((100, 64), np.float32)
    x[77, 5] = 1.0
    labels = np.arange(100) % 3
    dataset = data.Dataset(x, labels, x[:9], labels[:9], 3, (8, 8, 1))
    for recipe in ("int4", "luq", "two_phase"):
        run = Trainer(RECIPES[recipe], dataset, Settings(hidden=(8,), epochs=5, batch=4), seed=1)
        run.run()
        assert all(np.isfinite(value).all() for value in run.parameters().values())


def test_gradients_are_bounded_together(digits):
    """One step without momentum moves weights and biases by the rate times the bound."""
    settings = Settings(hidden=(32,), batch=64, greatest_norm=0.01, warm_up=0.0)
    run = Trainer(RECIPES["luq"], digits, settings, seed=2)
    before = run.parameters()
    run.step(np.arange(64))
    after = run.parameters()
    moved = math.sqrt(
        sum(
            np.square(after[key].astype(np.float64) - before[key]).sum()
            for key in after
            if not key.endswith("step")
        )
    )
    assert moved == pytest.approx(0.1 * 0.01, rel=1e-4)


def test_the_bound_is_less_for_small_batches():
    bounds = [Settings(batch=batch, greatest_norm=2).norm_bound for batch in (1, 4, 64, 256)]
    assert bounds == pytest.approx([2 / 64**0.25, 1, 2, 2])


def test_epoch_deals_every_row_once(digits):
    run = Trainer(RECIPES["float32"], digits)
    first, second = (list(run.batches()) for _ in range(2))
    assert [len(rows) for rows in first] == [64] * 22 + [30]
    for epoch in (first, second):
        assert np.array_equal(np.sort(np.concatenate(epoch)), np.arange(1438))
    assert not np.array_equal(first[0], second[0])


def test_learning_rate_ends_near_zero(digits):
    run = Trainer(RECIPES["float32"], digits, SMALL)
    changes = []
    for _ in range(SMALL.epochs):
        for rows in run.batches():
            before = run.layers["layer0"].parameters["weights"].copy()
            run.step(rows)
            changes.append(np.abs(run.layers["layer0"].parameters["weights"] - before).max())
    assert 0 < changes[-1] < max(changes) / 100


@pytest.mark.parametrize("recipe", ["luq", "two_phase"])
def test_records_are_what_the_cores_compute(digits, recipe):
    steps = trainer.record_steps(RECIPES[recipe], 3, dataset=digits, settings=SMALL)
    assert list(steps) == ["first", "middle", "last"]
    operations = {"quantize", "quantize_fp4", "matmul", "scale_to_float", "step_gradient"}
    codes = []
    for calls in steps.values():
        assert {call.operation for call in calls} == operations
        assert {call.tensor.split(".")[0] for call in calls} == {"layer0", "layer1"}
        for call in calls:
            if call.operation == "quantize":
                repeated = quantize(**call.arguments)
                assert np.array_equal(repeated.codes, call.result.codes)
                codes.append(repeated.codes.tobytes())
            elif call.operation == "quantize_fp4":
                repeated = quantize_fp4(**call.arguments)
                assert np.array_equal(repeated.codes, call.result.codes)
            elif call.operation == "matmul":
                assert np.array_equal(matmul(**call.arguments), call.result)
    # Each epoch is another state of the training.
    assert len(set(codes)) == len(codes)


def test_recording_does_not_change_the_run(digits):
    recipe = RECIPES["luq"]
    calls = trainer.record_steps(recipe, 2, ["last"], dataset=digits, settings=SMALL, seed=3)
    run = Trainer(recipe, digits, SMALL, seed=3)
    for rows in run.batches():
        run.step(rows)
    rows = next(run.batches())
    x = next(c for c in calls["last"] if c.tensor == "layer0.activations")
    assert np.array_equal(x.arguments["x"], digits.train_x[rows])
    logits = [c for c in calls["last"] if c.tensor == "layer1.output"][-1]
    assert np.array_equal(logits.result.values, run.forward(digits.train_x[rows]))


def test_bad_epoch_to_record():
    with pytest.raises(
        InputError, match=r"^Epoch to record must be first, middle or last, not 'best'$"
    ):
        trainer.record_steps(RECIPES["luq"], 1, ["best"])


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"network": "rnn"}, "Network must be one of mlp, cnn, not 'rnn'"),
        ({"channels": (0,)}, "Count of channels must be at least 1, not 0"),
        ({"hidden": (8, 0)}, "Hidden layer size must be at least 1, not 0"),
        ({"epochs": 0}, "Epochs must be at least 1, not 0"),
        ({"batch": -1}, "Batch size must be at least 1, not -1"),
        ({"learning_rate": 0.0}, "Learning rate must be positive, not 0.0"),
        ({"learning_rate": float("nan")}, "Learning rate must be positive, not nan"),
        ({"warm_up": 1.5}, "Warm-up must be a part of the steps, 0 to 1, not 1.5"),
        ({"greatest_norm": 0.0}, "Bound of the gradients must be positive, not 0.0"),
        (
            {"step_rule": "adam"},
            "Rule of the steps must be one of bounded, published, not 'adam'",
        ),
    ],
)
def test_bad_settings(change, sentence):
    with pytest.raises(InputError, match=f"^{sentence}$"):
        dataclasses.replace(Settings(), **change)


def test_bad_divergence(digits):
    run = Trainer(RECIPES["float32"], digits, SMALL)
    run.layers["layer1"].parameters["bias"][0] = np.nan
    with pytest.raises(
        InputError,
        match=r"^Training diverged in step 0: the loss is nan; "
        r"choose a learning rate below 0\.1$",
    ):
        run.step(np.arange(8))


def command(*options):
    parser = argparse.ArgumentParser()
    train.add_arguments(parser)
    return train.run(parser.parse_args(options))


def test_command_says_what_goes_wrong_and_marks_it(tmp_path, capsys):
    """The published rule, at a rate that it does not bear: said once, marked in table and CSV."""
    options = ["--step-rule", "published", "--learning-rate", "3", "--hidden", "32,32"]
    options += ["--recipes", "float32,int4", "--epochs", "3", "--seeds", "1"]
    assert command(*options, "--output", str(tmp_path)) == 0
    printed = capsys.readouterr()
    warnings = [line for line in printed.err.splitlines() if line.startswith("warning: ")]
    quantised = [line for line in warnings if line.startswith("warning: mlp int4, seed 0: layer")]
    assert len(quantised) == 1
    assert re.search(r"^mlp +int4 .* went wrong: seed 0$", printed.out, re.M)
    with open(tmp_path / "accuracy.csv") as file:
        found = [row["findings"] for row in csv.DictReader(file) if row["recipe"] == "int4"]
    for line in quantised:
        assert line.removeprefix("warning: mlp int4, seed 0: ") in " | ".join(found)
    with pytest.raises(
        InputError, match=r"^Training goes wrong: layer\d: .* since step \d+ \(epoch"
    ):
        command(*options, "--strict", "--recipes", "int4", "--output", str(tmp_path / "strict"))
    assert list((tmp_path / "strict").iterdir()) == []


def test_command_writes_how_layers_use_their_codes(tmp_path):
    options = ["--epochs", "3", "--hidden", "16", "--seeds", "2", "--recipes", "float32,luq"]
    assert command(*options, "--output", str(tmp_path)) == 0
    assert (tmp_path / "layers.png").read_bytes().startswith(b"\x89PNG")
    with open(tmp_path / "layers.csv") as file:
        rows = list(csv.DictReader(file))
    assert [(row["recipe"], row["seed"], row["epoch"], row["layer"]) for row in rows] == [
        ("luq", str(seed), str(epoch), layer)
        for seed in range(2)
        for epoch in (1, 2, 3)
        for layer in ("layer0", "layer1")
    ]
    run = Trainer(RECIPES["luq"], data.digits(), Settings(hidden=(16,), epochs=3), seed=1)
    run.run()
    for row, figures in zip(rows[-2:], run.watch.figures[-2:], strict=True):
        assert float(row["weight_step"]) == pytest.approx(figures.weight_step, rel=1e-5)
        assert float(row["gradient_zeros"]) == pytest.approx(figures.gradient_zeros, abs=1e-5)
    options[-1] = "float32"
    assert command(*options, "--output", str(tmp_path / "float")) == 0
    assert not (tmp_path / "float" / "layers.csv").exists()


def test_command_writes_table_curves_and_numbers(tmp_path, capsys):
    output = tmp_path / "new" / "train"
    options = ["--epochs", "2", "--hidden", "16", "--channels", "2,3", "--seeds", "2"]
    options += ["--recipes", "float32,luq", "--network", "cnn,mlp"]
    assert command(*options, "--output", str(output)) == 0
    assert (output / "accuracy.png").read_bytes().startswith(b"\x89PNG")
    with open(output / "accuracy.csv") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 2 * 2 * 2
    table = {tuple(line.split()[:2]): line.split() for line in capsys.readouterr().out.splitlines()}
    for network in NETWORKS:
        means = {
            name: np.mean(
                [
                    float(row["accuracy_percent"])
                    for row in rows
                    if (row["network"], row["recipe"], row["epoch"]) == (network, name, "2")
                ]
            )
            for name in ("float32", "luq")
        }
        for name, mean in means.items():
            line = table[network, name]
            assert float(line[2]) == pytest.approx(mean, abs=0.006)
            assert float(line[5]) == pytest.approx(mean - means["float32"], abs=0.006)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            ["--recipes", "luq,fp8"],
            r"Recipe must be one of float32, int4, luq, two_phase, not 'fp8'",
        ),
        (["--network", "mlp,"], r"Network must be one of mlp, cnn, not ''"),
        (
            ["--channels", "8;8"],
            r"Counts of channels must be whole numbers separated by commas, not '8;8'",
        ),
        (["--seeds", "0"], r"Count of seeds must be 1 to 1000, not 0"),
        (
            ["--hidden", "12,x"],
            r"Hidden layer sizes must be whole numbers separated by commas, not '12,x'",
        ),
        (
            ["--step-rule", "lsq"],
            r"Rule of the steps must be one of bounded, published, not 'lsq'",
        ),
        (["--epochs", "0"], r"Epochs must be at least 1, not 0"),
        (["--data", "none.npz"], r"Data file none\.npz cannot be read: No such file or directory"),
    ],
)
def test_bad_option(tmp_path, options, sentence):
    output = tmp_path / "train"
    with pytest.raises(InputError, match=f"^{sentence}$"):
        command("--output", str(output), *options)
    assert not output.exists()
