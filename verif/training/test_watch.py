"""The watch: silent on a healthy run; says which layer goes wrong, and since when."""

import dataclasses
import re

import numpy as np
import pytest

from nibblegrad.golden.errors import InputError
from nibblegrad.golden.training import data
from nibblegrad.golden.training.trainer import RECIPES, Settings, Trainer
from nibblegrad.golden.training.watch import LEAST_HELD, LEAST_INTERVAL, Watch

SETTINGS = Settings(hidden=(32, 24), epochs=4, batch=32)
# Steps in an epoch of the digits: 1438 rows; a look comes after every 16, and after each epoch.
STEPS = 45


@pytest.fixture(scope="module")
def digits():
    return data.digits()


def kinds(run):
    return {(finding.layer, finding.what.split(" (")[0]) for finding in run.watch.findings}


@pytest.mark.parametrize("network", ["mlp", "cnn"])
@pytest.mark.parametrize("recipe", RECIPES)
def test_healthy_runs_have_no_findings(digits, recipe, network):
    settings = dataclasses.replace(SETTINGS, network=network, channels=(4, 8))
    run = Trainer(RECIPES[recipe], digits, settings, seed=5, strict=True)
    run.run()
    assert run.watch.findings == []
    layers = [name for name, layer in run.layers.items() if layer.steps]
    assert bool(layers) == (recipe != "float32")
    assert [(f.epoch, f.layer) for f in run.watch.figures] == [
        (epoch, name) for epoch in range(1, 5) for name in layers
    ]
    for figures in run.watch.figures:
        assert figures.weight_step > 0 and figures.activation_step > 0
        for key in ("weight_zeros", "activation_zeros", "weight_saturated", "gradient_zeros"):
            assert 0 <= getattr(figures, key) < 1


def test_figures_are_what_is_counted(digits):
    run = Trainer(RECIPES["luq"], digits, dataclasses.replace(SETTINGS, batch=512), seed=6)
    for rows in run.batches():
        loss = run.step(rows)
    layer = run.layers["layer1"]
    x, weights = layer.input, layer.parameters["weights"]
    run.watch.after_epoch(loss, 10)
    figures = next(f for f in run.watch.figures if f.layer == "layer1")
    steps = {key: float(layer.parameters[key]) for key in ("weight_step", "activation_step")}
    assert (figures.weight_step, figures.activation_step) == tuple(steps.values())
    z = weights / steps["weight_step"]
    assert figures.weight_zeros == pytest.approx(np.mean(np.abs(z) < 0.5), abs=0.01)
    assert figures.weight_saturated == pytest.approx(np.mean((z > 7.5) | (z < -8.5)), abs=0.01)
    z = x / steps["activation_step"]
    assert figures.activation_zeros == pytest.approx(np.mean(z <= 0.5), abs=0.01)
    assert figures.activation_saturated == pytest.approx(np.mean(z > 15.5), abs=0.01)
    gradient = np.abs(layer.output_gradient)
    unit = 2.0 ** (np.ceil(np.log2(gradient.max())) - 6)
    assert figures.gradient_zeros == pytest.approx(np.mean(gradient < unit / 2))


@pytest.mark.parametrize("key", ["weight_step", "activation_step"])
def test_a_step_that_ran_away_is_named_at_the_next_look(digits, key):
    run = Trainer(RECIPES["luq"], digits, SETTINGS, seed=7)
    tensor, step = key.partition("_")[0], run.layers["layer1"].steps[key]
    for number, rows in enumerate(run.batches(), start=1):
        if number > 20:
            # As if the rule had no ceiling.
            step.update = lambda gradient, rate: step.value.fill(1000.0)
        run.step(rows)
        if number == 20:
            assert run.watch.findings == []
        if number == 2 * LEAST_INTERVAL:
            break
    first = next(f for f in run.watch.findings if f.layer == "layer1")
    assert (first.epoch, first.step) == (1, 32)
    assert first.what.startswith(f"every {tensor} code is 0 (step ")
    assert str(first) == f"layer1: {first.what} since step 32 (epoch 1); try a lower learning rate"


def test_each_finding_is_reported_once(digits):
    run = Trainer(RECIPES["int4"], digits, SETTINGS, seed=8)
    for _ in range(3):
        for rows in run.batches():
            run.layers["layer0"].parameters["weights"][...] = 0
            run.step(rows)
        run.watch.after_epoch(2.0, 10)
    assert sum(f.layer == "layer0" and "every weight" in f.what for f in run.watch.findings) == 1
    assert len(set(kinds(run))) == len(run.watch.findings)


def test_clipped_numbers_are_named(digits):
    run = Trainer(RECIPES["luq"], digits, SETTINGS, seed=9)
    step = run.layers["layer2"].steps["weight_step"]
    step.update = lambda gradient, rate: step.value.fill(1e-4)
    for _, rows in zip(range(LEAST_INTERVAL), run.batches(), strict=False):
        run.step(rows)
    (finding,) = (f for f in run.watch.findings if f.layer == "layer2")
    assert re.fullmatch(r"\d\d+ % of the weights are clipped \(step 0\.0001, .*\)", finding.what)


def test_a_step_that_stays_at_its_bound_is_named(digits):
    settings = dataclasses.replace(SETTINGS, learning_rate=0.2)
    run = Trainer(RECIPES["luq"], digits, settings, seed=10)
    step = run.layers["layer1"].steps["activation_step"]
    update = step.update
    step.update = lambda gradient, rate: update(1.0, rate)
    for _ in range(4):
        for rows in run.batches():
            run.step(rows)
    (finding,) = (f for f in run.watch.findings if "step has been" in f.what)
    assert finding.layer == "layer1"
    pattern = r"the activation step has been at its floor for (\d+) updates \(step .*\)"
    held = int(re.fullmatch(pattern, finding.what)[1])
    assert LEAST_HELD <= held < LEAST_HELD + LEAST_INTERVAL


def test_dead_layers_let_no_gradient_through(digits):
    run = Trainer(RECIPES["luq"], digits, SETTINGS, seed=11)
    run.layers["layer1"].parameters["bias"][...] = -1000
    for _, rows in zip(range(LEAST_INTERVAL), run.batches(), strict=False):
        run.step(rows)
    found = kinds(run)
    assert ("layer0", "no gradient arrives") in found
    assert ("layer1", "no gradient arrives") in found
    assert ("layer2", "every activation code is 0") in found


def make_watch(epochs=8, labels=(0, 0, 0, 1)):
    return Watch({}, np.array(labels), epochs, steps=10)


@pytest.mark.parametrize(
    ("losses", "since"),
    [
        # Guessing at the shares 3/4 and 1/4 has a loss of 0.5623 nats.
        ([0.60, 0.57, 0.56, 0.56, 0.56], 3),
        ([0.60, 0.57, 0.55, 0.53, 0.50], None),
        ([0.60, 0.57, 0.55, 0.56, 0.57], 4),
    ],
)
def test_a_loss_of_guessing_is_named_when_training_should_have_begun(losses, since):
    watch = make_watch()
    for loss in losses:
        for _ in range(10):
            watch.after_step(loss)
        watch.after_epoch(loss, predicted=2)
    found = [(f.layer, f.epoch, f.step) for f in watch.findings]
    assert found == ([("network", since, 10 * since)] if since else [])


def test_a_short_run_is_judged_at_its_end():
    watch = make_watch(epochs=1)
    watch.after_step(0.7)
    watch.after_epoch(0.7, predicted=1)
    assert [f.what for f in watch.findings] == [
        "the loss is 0.70, that of guessing",
        "every test row gets the same class",
    ]


def test_a_single_predicted_class_is_named_in_the_second_epoch():
    watch = make_watch()
    for predicted in (1, 2, 1, 1):
        watch.after_step(0.3)
        assert watch.findings == []
        watch.after_epoch(0.3, predicted)
    assert [str(f) for f in watch.findings] == [
        "network: every test row gets the same class since step 4 (epoch 1); "
        "try another learning rate or more epochs"
    ]


@pytest.mark.parametrize("recipe", ["int4", "luq"])
def test_the_published_rule_goes_wrong_and_says_so(recipe):
    """The case that the bounded rule was made for."""
    from nibblegrad.gen.robust.cases import CASES

    case = CASES["heavy"]
    dataset = case.make()
    published = dataclasses.replace(
        case.settings, step_rule="published", learning_rate=0.2, greatest_norm=100.0, epochs=5
    )
    run = Trainer(RECIPES[recipe], dataset, published, seed=0)
    run.run()
    assert any(finding.layer.startswith("layer") for finding in run.watch.findings)
    assert all("or bounded steps" in f.remedy for f in run.watch.findings if "code" in f.what)
    bounded = Trainer(
        RECIPES[recipe], dataset, dataclasses.replace(published, step_rule="bounded"), seed=0
    )
    bounded.run()
    assert bounded.history.accuracies[-1] > run.history.accuracies[-1] + 0.2


def test_strict_training_stops(digits):
    run = Trainer(RECIPES["luq"], digits, SETTINGS, seed=12, strict=True)
    run.layers["layer1"].parameters["bias"][...] = -1000
    with pytest.raises(
        InputError, match=r"^Training goes wrong: layer0: no gradient arrives since step 16 \(epoch"
    ):
        run.run()
