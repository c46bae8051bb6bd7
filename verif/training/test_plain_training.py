"""Every method and network trains to the bits that a plain function of the pages gives."""

import numpy as np
import pytest

from nibblegrad.golden.training import data
from nibblegrad.golden.training.methods import RECIPES
from nibblegrad.golden.training.networks import NETWORKS
from nibblegrad.golden.training.trainer import Settings, Trainer
from verif.training.plain_training import PlainTraining

SEED, STEPS = 5, 6
SETTINGS = {
    "mlp": Settings(hidden=(40, 30), epochs=1),
    "cnn": Settings(network="cnn", channels=(4, 8), epochs=1, batch=32),
}


@pytest.fixture(scope="module")
def digits():
    return data.digits()


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("method", ["float32", "int4", "luq", "two_phase"])
def test_the_trainer_does_what_the_pages_say(digits, method, network):
    settings = SETTINGS[network]
    run = Trainer(RECIPES[method], digits, settings, SEED)
    steps = -(-len(digits.train_x) // settings.batch)
    plain = PlainTraining(run, method, SEED, steps)
    for _, rows in zip(range(STEPS), run.batches(), strict=False):
        loss = plain.step(run.scaled.train_x[rows], digits.train_labels[rows])
        assert run.step(rows) == loss
        found = run.parameters()
        for tables in (plain.parameters, plain.statistics):
            for name, values in tables.items():
                for key, value in values.items():
                    own = found.pop(f"{name}.{key}")
                    assert own.dtype == value.dtype and own.tobytes() == value.tobytes(), (
                        name,
                        key,
                    )
        assert not found
    assert all(np.isfinite(value).all() for value in run.parameters().values())
