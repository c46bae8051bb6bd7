# amaranth: UnusedElaboratable=no
"""The command that trains in the Verilog: its verdict, and mistakes of the user."""

import numpy as np
import pytest

from nibblegrad.golden.engine.command import CoreSize
from nibblegrad.golden.training import data
from nibblegrad.golden.training.networks import Settings
from nibblegrad.golden.training.trainer import RECIPES, Trainer
from verif.train import compare, main, numpy_backend

SETTINGS = Settings(hidden=(8,), epochs=1)


@pytest.fixture(scope="module")
def digits():
    return data.digits()


def trained(digits):
    trainer = Trainer(RECIPES["luq"], digits, SETTINGS, 3, numpy_backend(CoreSize(), 3))
    trainer.step(np.arange(16))
    return trainer


def test_one_bit_makes_the_difference(digits):
    one, other = trained(digits), trained(digits)
    assert compare(one, other) == []
    weights = other.layers["layer1"].parameters["weights"]
    weights.view(np.uint32)[2, 3] ^= 1
    assert compare(one, other) == ["layer1.weights"]


def test_numbers_that_are_none_are_not_equal(digits):
    one, other = trained(digits), trained(digits)
    for trainer in (one, other):
        trainer.layers["layer0"].parameters["bias"][1] = np.nan
    assert compare(one, other) == ["finite numbers"]


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--module", "nope"], "has no training core nope; choose with --module"),
        (["--network", "rnn"], "Network must be one of mlp, cnn, not 'rnn'"),
        (["--config", "nowhere.toml"], "Cannot read configuration nowhere.toml"),
    ],
)
def test_mistakes_are_named(capsys, tmp_path, arguments, message):
    assert main([*arguments, "--output", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()
