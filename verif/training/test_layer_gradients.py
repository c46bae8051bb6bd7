"""Layers whose gradients have several parts, phases that take turns, and steps that are learned."""

import dataclasses
import math
from fractions import Fraction

import numpy as np
import pytest

from nibblegrad.golden.cores.fp4_quantizer import Fp4Mode
from nibblegrad.golden.numbers.formats import Fp4Format, Scale
from nibblegrad.golden.numbers.random_bits import RandomBits, seed_state
from nibblegrad.golden.training import layers
from nibblegrad.golden.training.backend import ACTIVATIONS, WEIGHTS
from nibblegrad.golden.training.gradient_recipe import (
    GradientRecipe,
    gradient_parts,
    needed_exponent,
)
from nibblegrad.golden.training.learned_step import BoundedStep, PublishedStep
from verif.training.test_layers import (
    BATCH,
    IN,
    LUQ,
    OUT,
    TWO_PHASE,
    make_backend,
    make_layer,
    slow_fp4,
    slow_wide,
    train,
)

TWO_TERMS = GradientRecipe(Fp4Format(2), Fp4Mode.NEAREST, terms=2)
SAMPLES = GradientRecipe(Fp4Format(1), Fp4Mode.STOCHASTIC, samples=2)
STEPS = ("weight_step", "activation_step")


@pytest.mark.parametrize("rule", [BoundedStep, PublishedStep])
def test_steps_are_parameters_and_follow_their_rule(rule):
    rng = np.random.default_rng(5)
    w = rng.normal(size=(OUT, IN)).astype(np.float32)
    x = np.abs(rng.normal(size=(BATCH, IN)))
    layer = layers.QuantizedDense("layer", w, True, x, None, step_rule=rule)
    assert layer.parameters["weight_step"] == np.float32(rule(w, WEIGHTS).first)
    assert layer.parameters["activation_step"] == np.float32(rule(x, ACTIVATIONS).first)
    train(layer, make_backend(), x, rng.normal(size=(BATCH, OUT)).astype(np.float32))
    for key, step in layer.steps.items():
        before = float(step.value)
        step.update(float(layer.gradients[key]), 0.1)
        assert float(layer.parameters[key]) == float(step.value) != before


def test_steps_follow_what_is_quantised():
    """Weights before every pass; activations in training, and not where it is judged."""
    layer, x, _ = make_layer(LUQ, rule=BoundedStep)
    backend = make_backend()
    with backend.begin(layer.announce()) as passes:
        layer.forward(x, passes)
    steps = {key: float(step.value) for key, step in layer.steps.items()}
    layer.parameters["weights"] *= 2
    with backend.begin(layer.announce()) as passes:
        layer.forward(3 * x, passes, training=False)
        assert float(layer.parameters["weight_step"]) == pytest.approx(2 * steps["weight_step"])
        assert float(layer.parameters["activation_step"]) == steps["activation_step"]
        layer.forward(3 * x, passes)
    average = 1 + 0.1 * (3 - 1)
    expected = average * steps["activation_step"]
    assert float(layer.parameters["activation_step"]) == pytest.approx(expected)


@pytest.mark.parametrize("recipe", [TWO_TERMS, SAMPLES], ids=["terms", "samples"])
def test_parts_of_a_gradient_are_summed_in_the_array(recipe):
    """The input gradient is rounded once for all parts; each part has its own weight gradient."""
    layer, x, upstream = make_layer(recipe, has_relu=False)
    steps = {key: float(Scale.from_float(float(layer.parameters[key])).value) for key in STEPS}
    backend = make_backend()
    _, inputs = train(layer, backend, x, upstream)
    w, a = (next(iter(t.values()))[0] for t in (backend._weights, backend._activations))
    exponent = needed_exponent(upstream, recipe)
    if recipe.terms > 1:
        parts = gradient_parts(upstream, recipe, exponent, RandomBits(seed_state(0)))
        units = parts.astype(np.float64) * 2.0**-exponent
        assert (parts[:, OUT:] != 0).any()
    else:
        # Rows of six gradients take three beats of two lanes, each a word.
        words = RandomBits(seed_state(4, 0)).words(BATCH * 3).reshape(BATCH, 3, 1)
        bits = (words >> np.array([0, 8], np.uint32) & 255).reshape(BATCH, 6)
        units = np.array(
            [
                [slow_fp4(n, exponent, recipe, 0, bit) for n, bit in zip(*row, strict=True)]
                for row in zip(np.tile(upstream / 2, 2), bits, strict=True)
            ]
        )
    factor = Fraction(2) ** exponent * Fraction(steps["weight_step"])
    sums = units @ np.concatenate([w.codes, w.codes])
    expected = [[slow_wide(int(n) * factor) for n in row] for row in sums]
    assert np.array_equal(inputs, expected * a.in_range)
    total = int((sums * a.derivative).sum())
    gradient = float(total * factor / 256) / math.sqrt(IN * 15)
    assert layer.gradients["activation_step"] == pytest.approx(gradient, rel=1e-12)

    factor = Fraction(2) ** exponent * Fraction(steps["activation_step"])
    sums = units.T @ a.codes
    expected = np.array([[slow_wide(int(n) * factor) for n in row] for row in sums])
    halves = (expected * np.concatenate([w.in_range] * 2)).astype(np.float32)
    assert np.array_equal(layer.gradients["weights"], halves[:OUT] + halves[OUT:])
    total = int((sums * np.concatenate([w.derivative] * 2)).sum())
    gradient = float(total * factor / 256) / math.sqrt(OUT * IN * 7)
    assert layer.gradients["weight_step"] == pytest.approx(gradient, rel=1e-12)
    assert np.array_equal(layer.gradients["bias"], upstream.sum(axis=0))


def test_phases_take_turns_in_a_layer():
    recipe = dataclasses.replace(TWO_PHASE, alternate=True)
    layer, x, upstream = make_layer(recipe, has_relu=False)
    plain, _, _ = make_layer(TWO_PHASE, has_relu=False)
    exchanged, _, _ = make_layer(dataclasses.replace(TWO_PHASE, phases=(1, 0)), has_relu=False)
    for reference in (plain, exchanged, plain):
        gradients = [train(one, make_backend(), x, upstream)[1] for one in (layer, reference)]
        assert np.array_equal(*gradients)
        assert np.array_equal(layer.gradients["weights"], reference.gradients["weights"])


def test_grad_scale_follows_the_gradients_of_a_layer():
    recipe = dataclasses.replace(TWO_PHASE, grad_scale=True)
    layer, x, upstream = make_layer(recipe, has_relu=False)
    _, first = train(layer, make_backend(), x, upstream)
    train(layer, make_backend(), x, 4 * upstream)
    # It has become one larger after what it saw: an upstream as large as the first is coarser.
    exact, _, _ = make_layer(TWO_PHASE, has_relu=False)
    assert np.array_equal(first, train(exact, make_backend(), x, upstream)[1])
    _, again = train(layer, make_backend(), x, upstream)
    with make_backend().begin(exact.announce()) as passes:
        exact.forward(x, passes)
        products = passes.backward(
            "layer", upstream, TWO_PHASE, exponent=needed_exponent(upstream, TWO_PHASE) + 1
        )
    assert np.array_equal(again, products.inputs)
    assert not np.array_equal(again, first)
