"""Checkpoints: what is loaded goes on with the same bits; nothing else is loaded or replaced."""

import dataclasses
import io
import json
import re
import sys

import numpy as np
import pytest

from nibblegrad.golden.driver.device_backend import DeviceBackend
from nibblegrad.golden.engine.command import CoreSize
from nibblegrad.golden.engine.training_core import TrainingCore
from nibblegrad.golden.errors import InputError
from nibblegrad.golden.training import checkpoint, data
from nibblegrad.golden.training.backend import NumpyBackend
from nibblegrad.golden.training.methods import VARIANTS
from nibblegrad.golden.training.networks import NETWORKS, Settings
from nibblegrad.golden.training.trainer import RECIPES, Trainer

SETTINGS = {
    "mlp": Settings(hidden=(12, 8), epochs=2, batch=32),
    "cnn": Settings(network="cnn", channels=(2, 3), epochs=2, batch=32),
}
NOT_OURS = "must be one that `nibblegrad train --save` made, and is another file or damaged"


@pytest.fixture(scope="module")
def digits():
    """A part of the digits, so that steps take little time."""
    whole = data.digits()
    return dataclasses.replace(
        whole, train_x=whole.train_x[:160], train_labels=whole.train_labels[:160]
    )


@pytest.fixture(scope="module")
def table():
    """Features in units of their own, one of them constant; the trainer scales them."""
    rng = np.random.default_rng(2)
    x = rng.normal(5, [1, 1e200, 1e-200, 30, 0], (120, 5))
    labels = (x[:, 0] > 5) + 2 * (x[:, 3] > 5)
    return data.Dataset(x[:90], labels[:90], x[90:], labels[90:], 4, own_units=True)


@pytest.fixture(params=checkpoint.SUFFIXES)
def path(request, tmp_path):
    if request.param == ".safetensors":
        pytest.importorskip("safetensors")
    return tmp_path / f"net{request.param}"


def trained(recipe, dataset, settings, steps=7, seed=1):
    """A trainer amid its training: what the next pass begins with has not been used yet."""
    trainer = Trainer(recipe, dataset, settings, seed)
    for rows, _ in zip(trainer.batches(), range(steps), strict=False):
        trainer.step(rows)
    return trainer


def bits(arrays):
    return {name: (a.dtype.str, a.shape, a.tobytes()) for name, a in arrays.items()}


def logits(trainer):
    x = trainer.scaled.test_x
    return trainer.forward(x, training=False).tobytes()


def reloaded(trainer, path, dataset, seed=1):
    checkpoint.save(trainer.checkpoint(), path)
    other = Trainer(trainer.recipe, dataset, trainer.settings, seed)
    other.restore(checkpoint.load(path))
    return other


@pytest.mark.parametrize("rule", ["bounded", "published"])
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("recipe", [*RECIPES, "two_phase_grad_scale"])
def test_what_is_loaded_predicts_the_same_bits(digits, path, network, recipe, rule):
    settings = dataclasses.replace(SETTINGS[network], step_rule=rule)
    trainer = trained((RECIPES | VARIANTS)[recipe], digits, settings)
    assert trainer.scaled is not digits
    other = reloaded(trainer, path, digits, seed=2)
    assert bits(other.parameters()) == bits(trainer.parameters())
    assert logits(other) == logits(trainer)
    assert other.accuracy() == trainer.accuracy()
    # The forward pass has let the steps follow the weights: alike.
    assert bits(other.parameters()) == bits(trainer.parameters())
    assert bits(other.checkpoint().arrays) == bits(trainer.checkpoint().arrays)


@pytest.mark.parametrize("recipe", RECIPES)
def test_what_is_loaded_goes_on_the_same(digits, path, recipe):
    """Twice from the same file with the same seed, to the same bits; a new one goes elsewhere."""
    trainer = trained(RECIPES[recipe], digits, SETTINGS["cnn"])
    first, second = (reloaded(trainer, path, digits, seed=4) for _ in range(2))
    new = Trainer(RECIPES[recipe], digits, SETTINGS["cnn"], 4)
    histories = [each.run() for each in (first, second, new)]
    assert histories[0] == histories[1] != histories[2]
    assert bits(first.parameters()) == bits(second.parameters())


def test_scale_of_the_features_is_loaded(table, path):
    trainer = trained(RECIPES["luq"], table, SETTINGS["mlp"])
    # Other rows, that would have another scale of their own.
    others = dataclasses.replace(
        table, train_x=table.train_x[:20] * 3, train_labels=table.train_labels[:20]
    )
    other = reloaded(trainer, path, others)
    assert other.scaled.test_x.tobytes() == trainer.scaled.test_x.tobytes()
    assert logits(other) == logits(trainer)
    assert other.scaled.train_x.max() > 2 * trainer.scaled.train_x.max()


def test_core_goes_on_as_numpy_does(digits, path):
    size = CoreSize(activation_words=1024, weight_words=512, gradient_words=1024, max_terms=2048)
    trainer = trained(RECIPES["luq"], digits, SETTINGS["cnn"])
    checkpoint.save(trainer.checkpoint(), path)
    runs = [
        Trainer(RECIPES["luq"], digits, SETTINGS["cnn"], 3, backend)
        for backend in (NumpyBackend(seed=3), DeviceBackend(TrainingCore(size), 3))
    ]
    for run in runs:
        run.restore(checkpoint.load(path))
        run.step(next(run.batches()))
    assert bits(runs[0].parameters()) == bits(runs[1].parameters())


def other_settings(**changes):
    return lambda trainer: (dataclasses.replace(trainer.settings, **changes), trainer.recipe)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (other_settings(network="cnn"), "network mlp, not cnn"),
        (other_settings(hidden=(12, 9)), "hidden layers 12,8, not 12,9"),
        (other_settings(hidden=(12,)), "hidden layers 12,8, not 12"),
        (other_settings(step_rule="published"), "step rule bounded, not published"),
        (lambda trainer: (trainer.settings, RECIPES["int4"]), "recipe luq, not int4"),
        (lambda trainer: (trainer.settings, RECIPES["float32"]), "recipe luq, not float32"),
        (
            lambda trainer: (
                trainer.settings,
                dataclasses.replace(VARIANTS["luq_samples"], name="luq"),
            ),
            r"recipe fields \{.*\"samples\": 1.*\}, not \{.*\"samples\": 2.*\}",
        ),
    ],
)
def test_bad_match(digits, path, change, sentence):
    trainer = trained(RECIPES["luq"], digits, SETTINGS["mlp"], steps=1)
    checkpoint.save(trainer.checkpoint(), path)
    settings, recipe = change(trainer)
    other = Trainer(recipe, digits, settings)
    before = bits(other.parameters())
    start = f"^Checkpoint {re.escape(str(path))} must go with the training, and has "
    with pytest.raises(InputError, match=f"{start}{sentence}$"):
        other.restore(checkpoint.load(path))
    assert bits(other.parameters()) == before


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda d: {"classes": 11}, "count of classes 10, not 11"),
        (lambda d: {"own_units": True}, "kind of features bytes, not of units of their own"),
        (
            lambda d: {"train_x": d.train_x[:, :60], "test_x": d.test_x[:, :60]},
            "count of features 64, not 60",
        ),
    ],
)
def test_bad_data(digits, path, change, sentence):
    trainer = trained(RECIPES["luq"], digits, SETTINGS["mlp"], steps=1)
    checkpoint.save(trainer.checkpoint(), path)
    dataset = dataclasses.replace(digits, **change(digits), image_shape=None)
    with pytest.raises(InputError, match=f"must go with the training, and has {sentence}$"):
        Trainer(RECIPES["luq"], dataset, SETTINGS["mlp"]).restore(checkpoint.load(path))


def test_bad_images(path):
    x = np.zeros((9, 64), np.float32)
    x[::2] = 0.5
    labels = np.arange(9) % 3
    wide, high = (
        data.Dataset(x, labels, x, labels, 3, shape) for shape in ((4, 16, 1), (16, 4, 1))
    )
    trainer = Trainer(RECIPES["float32"], wide, SETTINGS["cnn"])
    checkpoint.save(trainer.checkpoint(), path)
    with pytest.raises(InputError, match=r" and has image shape 4,16,1, not 16,4,1$"):
        Trainer(RECIPES["float32"], high, SETTINGS["cnn"]).restore(checkpoint.load(path))


def small(path):
    arrays = {"a.weights": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.array(1.5)}
    made = checkpoint.Checkpoint({"network": "mlp", "sizes": [3, 4]}, arrays)
    checkpoint.save(made, path)
    return made


def test_no_damage_goes_unnoticed(path):
    made = small(path)
    whole = path.read_bytes()
    refused = 0
    damages = [whole[:length] for length in range(0, len(whole), 9)]
    damages += [
        whole[:place] + bytes([whole[place] ^ change]) + whole[place + 1 :]
        for place in range(0, len(whole), 3)
        for change in (1, 0x80)
    ]
    for damaged in damages:
        path.write_bytes(damaged)
        try:
            found = checkpoint.load(path)
        except InputError as error:
            assert str(error).startswith(f"Checkpoint {path} ") and "\n" not in str(error)
            refused += 1
        else:
            assert found.about == made.about and bits(found.arrays) == bits(made.arrays)
    assert refused > 0.7 * len(damages)


def test_arrays_must_be_those_of_the_network(digits):
    trainer = Trainer(RECIPES["luq"], digits, SETTINGS["mlp"])
    good = trainer.checkpoint()
    name = "layer0.weights"
    for arrays in (
        {key: value for key, value in good.arrays.items() if key != name},
        {**good.arrays, "more": np.zeros(3)},
        {**good.arrays, name: good.arrays[name][:-1]},
        {**good.arrays, name: good.arrays[name].astype(np.float64)},
    ):
        with pytest.raises(InputError, match=r"^Checkpoint must go with the training, and its "):
            trainer.restore(checkpoint.Checkpoint(good.about, arrays))


def write_npz(path, **arrays):
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    path.write_bytes(buffer.getvalue())


def text(value):
    return np.frombuffer(json.dumps(value).encode(), np.uint8)


FOREIGN = {
    "text": lambda path: path.write_text("mine"),
    "empty": lambda path: path.write_bytes(b""),
    "data": lambda path: write_npz(path, x=np.zeros(3), y=np.zeros(3)),
    "objects": lambda path: write_npz(path, nibblegrad=np.array([{}], object)),
    "no object": lambda path: write_npz(path, nibblegrad=text([1])),
    "other object": lambda path: write_npz(path, nibblegrad=text({"version": 1})),
    "no text": lambda path: write_npz(path, nibblegrad=np.array([255, 255], np.uint8)),
    "deep": lambda path: write_npz(path, nibblegrad=np.frombuffer(b"[" * 100_000, np.uint8)),
    "wrong digest": lambda path: write_npz(
        path, nibblegrad=text({"version": 1, "digest": "", "about": {}})
    ),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_foreign_files_are_neither_loaded_nor_replaced(tmp_path, kind):
    path = tmp_path / "net.npz"
    FOREIGN[kind](path)
    before = path.read_bytes()
    with pytest.raises(InputError, match=f"^Checkpoint {re.escape(str(path))} {NOT_OURS}$"):
        checkpoint.load(path)
    sentence = f"^File {re.escape(str(path))} is not a checkpoint, and is left as it is; save to "
    with pytest.raises(InputError, match=sentence):
        small(path)
    with pytest.raises(InputError, match=sentence):
        checkpoint.check_target(path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_folders_are_neither_loaded_nor_replaced(path):
    path.mkdir()
    with pytest.raises(InputError, match=r"^Checkpoint .* cannot be read: Is a directory$"):
        checkpoint.load(path)
    with pytest.raises(InputError, match=r"^File .* is not a checkpoint, and is left as it is; "):
        small(path)


def test_own_files_are_replaced_when_the_new_one_is_complete(path, monkeypatch):
    small(path)
    before = path.read_bytes()

    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(checkpoint.os, "replace", interrupt)
        with pytest.raises(KeyboardInterrupt):
            checkpoint.save(checkpoint.Checkpoint({}, {"a": np.zeros(2)}), path)
    assert path.read_bytes() == before and list(path.parent.iterdir()) == [path]
    checkpoint.save(checkpoint.Checkpoint({}, {"a": np.zeros(2)}), path)
    assert checkpoint.load(path).arrays["a"].tolist() == [0, 0]


def test_later_versions_are_named(tmp_path):
    path = tmp_path / "net.npz"
    write_npz(path, nibblegrad=text({"version": 2, "digest": "", "about": {}}))
    with pytest.raises(InputError, match=r" has version 2, and this release reads 1; use the "):
        checkpoint.load(path)


@pytest.mark.parametrize("name", ["net", "net.pt", "net.npz.txt"])
def test_bad_name(tmp_path, name):
    with pytest.raises(InputError, match=rf"^Checkpoint .*{name} must end with \.npz or \.safe"):
        checkpoint.check_target(tmp_path / name)


def test_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    for use in (checkpoint.check_target, checkpoint.load, small):
        with pytest.raises(
            InputError,
            match=r"^Checkpoint .* needs a package: pip install safetensors; or choose \.npz$",
        ):
            use(tmp_path / "net.safetensors")
