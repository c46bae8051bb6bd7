"""Recipes: slots and hooks act in their places, and a recipe says what it consists of."""

import dataclasses

import numpy as np
import pytest

from nibblegrad.golden.training import data
from nibblegrad.golden.training.layers import QuantizedDense
from nibblegrad.golden.training.loss import CrossEntropy
from nibblegrad.golden.training.methods import RECIPES
from nibblegrad.golden.training.networks import NETWORKS
from nibblegrad.golden.training.optimizers import MomentumSGD
from nibblegrad.golden.training.recipes import Hook, Recipe
from nibblegrad.golden.training.trainer import Settings, Trainer

SMALL = Settings(hidden=(16, 12), epochs=1)


@pytest.fixture(scope="module")
def digits():
    return data.digits()


def test_hooks_act_in_their_places(digits):
    acts = []

    class Diary(Hook):
        def before_step(self, step):
            acts.append(("before step", step, self.layers["layer0"].parameters["bias"].copy()))

        def before_update(self, gradients):
            acts.append(("before update", {*gradients}, {*gradients["layer0"]}))
            gradients["layer0"]["bias"] = 0 * gradients["layer0"]["bias"]

        def after_update(self, step):
            acts.append(("after update", step, self.layers["layer0"].parameters["bias"].copy()))
            self.layers["layer0"].parameters["bias"] += np.float32(1)

    recipe = Recipe("diary", gradient=RECIPES["luq"].gradient, hooks=(Diary, Hook))
    run = Trainer(recipe, digits, SMALL, 5)
    first = run.layers["layer0"].parameters["bias"].copy()
    for _, rows in zip(range(2), run.batches(), strict=False):
        run.step(rows)
    assert [act[0] for act in acts] == ["before step", "before update", "after update"] * 2
    assert [act[1] for act in acts[::3]] == [act[1] for act in acts[2::3]] == [0, 1]
    names = {"weights", "bias", "weight_step", "activation_step"}
    assert all(act[1:] == (set(run.layers), names) for act in acts[1::3])
    # The bias learns nothing, and grows by one after each update.
    for act, grown in zip((acts[0], acts[2], acts[3], acts[5]), (0, 0, 1, 1), strict=True):
        assert np.array_equal(act[2], first + np.float32(grown))


def test_a_hook_that_does_nothing_changes_nothing(digits):
    plain = Trainer(RECIPES["luq"], digits, SMALL, 5)
    hooked = Trainer(Recipe("x", gradient=RECIPES["luq"].gradient, hooks=(Hook,)), digits, SMALL, 5)
    assert plain.run() == hooked.run()
    first, second = (run.parameters() for run in (plain, hooked))
    assert all(value.tobytes() == second[name].tobytes() for name, value in first.items())


@pytest.mark.parametrize("network", NETWORKS)
def test_loss_scaling_is_a_loss_and_a_hook(digits, network):
    """By a power of two it changes no bit, wherever it is taken back."""

    class ScaledLoss(CrossEntropy):
        def __call__(self, logits, labels, passes):
            loss, gradient = super().__call__(logits, labels, passes)
            return loss, gradient * np.float32(2**10)

    class Unscaling(Hook):
        def before_update(self, gradients):
            for of_layer in gradients.values():
                of_layer |= {name: gradient / 2**10 for name, gradient in of_layer.items()}

    settings = dataclasses.replace(SMALL, network=network, channels=(4, 8))
    gradient = RECIPES["luq"].gradient
    scaled = Recipe("scaled", gradient=gradient, loss=ScaledLoss, hooks=(Unscaling,))
    forgotten = dataclasses.replace(scaled, hooks=())
    runs = [Trainer(each, digits, settings, 5) for each in (RECIPES["luq"], scaled, forgotten)]
    for _, rows in zip(range(5), runs[0].batches(), strict=False):
        losses = [run.step(rows) for run in runs]
    first, second, third = (run.parameters() for run in runs)
    assert losses[0] == losses[1] != losses[2]
    assert all(value.tobytes() == second[name].tobytes() for name, value in first.items())
    assert any(value.tobytes() != third[name].tobytes() for name, value in first.items())


def test_an_optimiser_of_ones_own_updates_each_layer(digits):
    class Selective(MomentumSGD):
        """Moves the upper half of the weights only."""

        def update(self, parameters, gradients, learning_rate, factor=1.0):
            before = parameters["weights"].copy()
            super().update(parameters, gradients, learning_rate, factor)
            half = len(before) // 2
            parameters["weights"][half:] = before[half:]

    recipe = Recipe("selective", gradient=RECIPES["luq"].gradient, optimizer=Selective)
    runs = [Trainer(each, digits, SMALL, 5) for each in (RECIPES["luq"], recipe)]
    start = runs[0].parameters()
    for run in runs:
        run.step(np.arange(64))
    usual, selective = (run.parameters() for run in runs)
    for name in runs[0].layers:
        key = f"{name}.weights"
        half = len(start[key]) // 2
        assert np.array_equal(selective[key][:half], usual[key][:half])
        assert np.array_equal(selective[key][half:], start[key][half:])
        assert not np.array_equal(usual[key][half:], start[key][half:])


def test_recipes_say_what_they_consist_of():
    """In checkpoints: what earlier releases wrote, and more only where there is more."""

    class Own(QuantizedDense):
        pass

    luq = RECIPES["luq"]
    assert list(luq.about()) == ["name", "quantized", "gradient", "last_gradient"]
    assert RECIPES["float32"].about() == {
        "name": "float32", "quantized": False, "gradient": None, "last_gradient": "same",
    }  # fmt: skip

    class OwnLoss(CrossEntropy):
        pass

    class OwnUpdate(MomentumSGD):
        pass

    own = Recipe("own", Own, luq.gradient, loss=OwnLoss, optimizer=OwnUpdate, hooks=(Hook,)).about()
    assert own["gradient"] == luq.about()["gradient"]
    slots = {key: own[key].rpartition(".")[2] for key in ("layer", "loss", "optimizer")}
    assert slots == {"layer": "Own", "loss": "OwnLoss", "optimizer": "OwnUpdate"}
    assert own["hooks"] == ["Hook"]
