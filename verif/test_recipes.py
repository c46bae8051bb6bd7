"""Recipes: hooks act in their places, and a recipe says what it consists of."""

import numpy as np
import pytest

from golden import data
from golden.layers import QuantizedDense
from golden.methods import RECIPES
from golden.recipes import Hook, Recipe
from golden.trainer import Settings, Trainer

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


def test_recipes_say_what_they_consist_of():
    """In checkpoints: what earlier releases wrote, and more only where there is more."""

    class Own(QuantizedDense):
        pass

    luq = RECIPES["luq"]
    assert list(luq.about()) == ["name", "quantized", "gradient", "last_gradient"]
    assert RECIPES["float32"].about() == {
        "name": "float32", "quantized": False, "gradient": None, "last_gradient": "same",
    }  # fmt: skip
    about = Recipe("own", Own, luq.gradient, hooks=(Hook,)).about()
    assert about["gradient"] == luq.about()["gradient"]
    assert about["layer"].endswith("Own") and about["hooks"] == ["Hook"]
