"""Learned steps: their start, their bounds, and their updates, worked by hand."""

import math

import numpy as np
import pytest

from nibblegrad.golden.errors import InputError
from nibblegrad.golden.numbers.formats import IntFormat
from nibblegrad.golden.training.learned_step import (
    STEP_RULES,
    BoundedStep,
    PublishedStep,
    find_step_rule,
    least_squares_step,
)

INT4, UINT4 = IntFormat(4), IntFormat(4, signed=False)


def error(x, step, fmt):
    codes = np.clip(np.rint(x / step), fmt.least, fmt.greatest)
    return float(((codes * step - x) ** 2).sum())


@pytest.mark.parametrize("fmt", [INT4, UINT4])
@pytest.mark.parametrize("kind", ["normal", "heavy", "levels"])
def test_start_is_the_best_of_its_candidates(fmt, kind):
    rng = np.random.default_rng(1)
    x = {
        "normal": rng.normal(size=500),
        "heavy": rng.standard_cauchy(500),
        "levels": rng.integers(0, 16, 500) / 16,
    }[kind]
    x = x if fmt.signed else np.abs(x)
    greatest = np.abs(x).max()
    candidates = [greatest / fmt.greatest * 2 ** (-k / 4) for k in range(29)]
    found = least_squares_step(x, fmt)
    assert found in candidates
    assert error(x, found, fmt) == min(error(x, step, fmt) for step in candidates)
    if kind == "levels" and not fmt.signed:
        # Sixteen levels have sixteen codes.
        assert found == 1 / 16 and error(x, found, fmt) == 0


def test_start_of_mostly_zero_numbers_keeps_the_others():
    x = np.zeros(1000)
    x[::100] = 1.0
    assert least_squares_step(x, UINT4) == 1 / 15
    # The formula of the paper would clip them all.
    assert PublishedStep(x, UINT4).first * 15 < 0.1


def test_start_of_zeros_and_of_nothing():
    assert least_squares_step(np.zeros((3, 4)), INT4) == 1.0
    with pytest.raises(InputError, match=r"^Tensor to quantise must have at least one element"):
        least_squares_step(np.zeros((0, 4)), INT4)
    with pytest.raises(InputError, match=r"^Tensor to quantise must be finite, and element \(1,\)"):
        least_squares_step(np.array([1.0, np.nan]), INT4)


def test_start_of_a_large_tensor_sees_its_greatest_element():
    x = np.full(1 << 18, 0.5)
    x[3] = 1.0  # between the elements that are looked at
    assert least_squares_step(x, UINT4) == pytest.approx(0.5 / 15 * 2**0.25, rel=0.2)
    assert least_squares_step(x[:8], UINT4) == least_squares_step(x[:8].reshape(2, 4), UINT4)


def test_bounded_update_by_hand():
    x = np.array([-3.0, 1.0, 2.0, -1.0])
    step = BoundedStep(x, INT4)
    assert step.floor == pytest.approx(math.sqrt(15 / 4) / 7)
    assert step.ceiling == pytest.approx(9 / 7)
    s, square, weight = step.first, 0.0, 0.0
    for gradient, rate in ((0.3, 0.1), (-0.02, 0.1), (0.5, 0.04), (-1.0, 0.02)):
        step.update(gradient, rate)
        g = gradient * s
        square, weight = 0.99 * square + 0.01 * g * g, 0.99 * weight + 0.01
        s = float(np.float32(s * math.exp(-rate / 4 * math.tanh(g / math.sqrt(square / weight)))))
        assert float(step.value) == pytest.approx(s, rel=1e-6)
        assert step.held == 0


@pytest.mark.parametrize("size", [1e-12, 1.0, 1e12])
@pytest.mark.parametrize("rate", [0.02, 0.1, 0.2, 5.0])
def test_no_update_is_larger_than_its_bound(size, rate):
    rng = np.random.default_rng(2)
    step = BoundedStep(rng.normal(size=1000), INT4)
    most = min(rate / 4, 0.05)
    changes = []
    for _ in range(300):
        before = float(step.value)
        step.update(size * rng.standard_cauchy(), rate)
        changes.append(abs(math.log(float(step.value) / before)))
    assert max(changes) <= most * (1 + 1e-5)
    # The bound is used, and not only kept.
    assert max(changes) > most * 0.7


@pytest.mark.parametrize("unit", [2.0**-20, 1.0, 2.0**20])
def test_updates_do_not_depend_on_the_unit_of_the_tensor(unit):
    rng = np.random.default_rng(3)
    x, gradients = rng.normal(size=100), rng.normal(size=50)
    plain, scaled = BoundedStep(x, INT4), BoundedStep(x * unit, INT4)
    for gradient in gradients:
        plain.update(gradient, 0.1)
        # The loss is the same: its gradient by the step has the inverse unit.
        scaled.update(gradient / unit, 0.1)
        assert float(scaled.value) == pytest.approx(float(plain.value) * unit, rel=1e-6)


@pytest.mark.parametrize("direction", [1, -1])
def test_steps_end_at_their_bounds_and_come_back(direction):
    step = BoundedStep(np.random.default_rng(4).normal(size=400), INT4)
    for _ in range(300):
        step.update(direction * 1.0, 0.1)
    bound = step.floor if direction > 0 else step.ceiling
    assert float(step.value) == pytest.approx(bound, rel=1e-7)
    assert 100 < step.held <= 300
    step.update(-direction * 1.0, 0.1)
    assert step.held == 0
    assert (float(step.value) - bound) * direction > 0


@pytest.mark.parametrize("fmt", [INT4, UINT4])
def test_within_the_bounds_codes_are_used(fmt):
    """Never are all codes 0, and never is much more than half clipped, whatever is coded."""
    rng = np.random.default_rng(5)
    for x in (
        rng.normal(size=4096),
        rng.uniform(-1, 1, 4096),
        rng.standard_cauchy(4096),
        (rng.random(4096) < 0.01) * 1.0,
        rng.integers(0, 2, 4096) * 1.0,
    ):
        x = x if fmt.signed else np.abs(x)
        step = BoundedStep(x, fmt)
        coarsest = np.rint(x / step.ceiling)
        finest = np.rint(x / step.floor)
        assert np.abs(coarsest).max() >= fmt.greatest // 3
        assert np.mean((finest > fmt.greatest) | (finest < fmt.least)) < 0.55
        assert step.floor < step.first < step.ceiling


def test_steps_and_bounds_follow_the_tensor():
    x = np.array([1.0, 2.0, 3.0])
    weights, activations = BoundedStep(x, INT4), BoundedStep(x, UINT4, memory=0.75)
    for factor in (1, 2):
        for step in (weights, activations):
            step.observe(factor * x)
    rms = math.sqrt(14 / 3)
    assert float(weights.value) == pytest.approx(2 * weights.first)
    assert weights.floor == pytest.approx(2 * rms / 7)
    assert weights.ceiling == pytest.approx(3 * 6 / 7)
    # The average of 1 and 2 with weights 3/4 and 1/4.
    assert float(activations.value) == pytest.approx(1.25 * activations.first)
    assert activations.floor == pytest.approx(1.25 * rms / 15)
    assert activations.ceiling == pytest.approx(3 * 1.25 * 3 / 15)
    before = float(activations.value), activations.floor
    activations.observe(np.zeros(5))  # an empty image says nothing about the next one
    assert before == (float(activations.value), activations.floor)


def test_what_is_quantised_first_only_sets_the_bounds():
    """The tensor that a step starts from may be laid out in another way."""
    x = np.array([1.0, 2.0, 3.0])
    step = BoundedStep(x, UINT4, memory=0.9)
    step.observe(np.append(x, 0.0))
    assert step.value == np.float32(step.first)
    assert step.floor == pytest.approx(math.sqrt(14 / 4) / 15)


@pytest.mark.parametrize("fmt", [INT4, UINT4])
def test_a_tensor_of_zeros_keeps_a_step_until_there_is_more(fmt):
    step = BoundedStep(np.zeros(8), fmt)
    for _ in range(20):
        step.observe(np.zeros(8))
        step.update(0.0, 0.1)
        step.update(1.0, 0.1)
    assert 0 < step.value < 1 and step.held == 0
    step.observe(np.array([0.25, 0.0]))
    step.update(0.0, 0.1)
    assert step.value == np.float32(3 * 0.25 / fmt.greatest)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_not_finite_is_left_to_the_quantiser(bad):
    x = np.array([1.0, 2.0])
    step = BoundedStep(x, INT4)
    step.observe(x)
    before = float(step.value), step.floor, step.ceiling
    step.observe(np.array([1.0, bad]))
    assert before == (float(step.value), step.floor, step.ceiling)


def test_bounds_hold_from_the_next_update_on():
    x = np.array([1.0, 2.0, 3.0])
    step = BoundedStep(x, INT4)
    step.observe(x)
    step.value[...] = 100.0
    step.update(1.0, 0.1)
    assert float(step.value) == pytest.approx(step.ceiling)
    assert step.held == 1


def test_no_gradient_no_change():
    step = BoundedStep(np.array([1.0, -2.0]), INT4)
    step.update(0.0, 0.1)
    assert float(step.value) == np.float32(step.first)


def test_published_rule_is_gradient_descent_with_momentum():
    x = np.array([[0.5, 0.0, 1.0]])
    step = PublishedStep(x, UINT4)
    assert step.value == np.float32(2 * 0.5 / math.sqrt(15))
    step.update(0.25, 0.1)
    step.update(-0.5, 0.2)
    expected = 1 / math.sqrt(15) - 0.1 * 0.25 - 0.2 * (0.9 * 0.25 - 0.5)
    assert float(step.value) == pytest.approx(expected, rel=1e-6)
    step.update(1e6, 0.1)
    assert float(step.value) == pytest.approx(step.first / 64)
    assert step.held == 1 and step.ceiling == math.inf


def test_rules_have_names():
    assert [find_step_rule(name) for name in STEP_RULES] == [BoundedStep, PublishedStep]
    with pytest.raises(
        InputError, match=r"^Rule of the steps must be one of bounded, published, not 'adam'$"
    ):
        find_step_rule("adam")
