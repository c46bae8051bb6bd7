"""How output gradients become FP4: grids, expectations, scales, and the phases of a step."""

import dataclasses

import numpy as np
import pytest

from nibblegrad.golden.cores.fp4_quantizer import Fp4Mode, quantize_fp4
from nibblegrad.golden.cores.stochastic_rounder import round_float
from nibblegrad.golden.errors import InputError
from nibblegrad.golden.numbers.formats import BFLOAT16, Fp4Format
from nibblegrad.golden.numbers.random_bits import RandomBits, seed_state
from nibblegrad.golden.training.gradient_recipe import (
    LEAST_EXPONENT,
    GradientRecipe,
    GradScale,
    gradient_parts,
    needed_exponent,
    stochastic_powers,
)
from nibblegrad.golden.training.layers import Dense
from nibblegrad.golden.training.loss import softmax_cross_entropy
from nibblegrad.golden.training.methods import RECIPES
from nibblegrad.golden.training.recipes import Recipe

RADIX2, RADIX4 = Fp4Format(1), Fp4Format(2)
BOTH = pytest.mark.parametrize("fmt", [RADIX2, RADIX4], ids=["radix2", "radix4"])
TERMS = {
    fmt: GradientRecipe(fmt, mode, terms=2)
    for fmt, mode in ((RADIX2, Fp4Mode.STOCHASTIC), (RADIX4, Fp4Mode.NEAREST))
}


def grid(fmt, exponent):
    return np.append(0.0, float(2**fmt.log2_radix) ** np.arange(7)) * 2.0**exponent


def loss_gradient(rows=200, classes=10):
    """Gradient of a loss, of sharp and of vague predictions, in bfloat16."""
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(rows, classes)) * rng.choice([0.1, 1, 5, 12], (rows, 1))
    gradient = softmax_cross_entropy(logits, rng.integers(0, classes, rows))[1]
    return round_float(gradient, BFLOAT16).values.astype(np.float32)


def noise(seed=0):
    return RandomBits(seed_state(seed))


@BOTH
def test_stochastic_powers_are_the_neighbours_by_the_word(fmt):
    exponent = -5
    numbers = np.concatenate(
        [grid(fmt, exponent), np.linspace(0, fmt.greatest, 700) * 2.0**exponent, [1e-30, 2.0**-7]]
    )
    numbers = np.concatenate([numbers, -numbers])
    powers = grid(fmt, exponent)
    for word in (0, 1 << 30, 1 << 31, (1 << 32) - 1):
        words = np.full(numbers.shape, word, np.uint32)
        found = stochastic_powers(numbers, fmt, exponent, words)
        for x, q in zip(numbers, found, strict=True):
            below = max(p for p in powers if p <= abs(x))
            above = min((p for p in powers if p > abs(x)), default=below)
            is_up = word * 2.0**-32 * (above - below) < abs(x) - below
            assert abs(q) == (above if is_up else below)
            assert q == 0 or np.sign(q) == np.sign(x)


@BOTH
def test_stochastic_powers_have_the_number_for_expectation(fmt):
    rng = np.random.default_rng(2)
    x = rng.uniform(-1, 1, 400) * 2.0 ** rng.integers(-12, 1, 400)
    exponent = -6 * fmt.log2_radix
    draws = 4000
    words = rng.integers(0, 1 << 32, (draws, x.size), dtype=np.uint32)
    found = stochastic_powers(np.broadcast_to(x, words.shape), fmt, exponent, words)
    error = found.mean(axis=0) - x
    deviation = found.std(axis=0) / np.sqrt(draws)
    # The standard deviations of 400 means: none is far out, and they are not all on one side.
    assert (np.abs(error) <= 4.5 * deviation + 1e-12).all()
    assert abs(np.mean(error[deviation > 0] / deviation[deviation > 0])) < 0.25


@BOTH
def test_two_terms_are_fp4_numbers_that_the_quantiser_keeps(fmt):
    recipe, gradient = TERMS[fmt], loss_gradient()
    exponent = needed_exponent(gradient, recipe)
    parts = gradient_parts(gradient, recipe, exponent, noise())
    assert parts.shape == (200, 20) and parts.dtype == np.float32
    assert np.isin(np.abs(parts), grid(fmt, exponent)).all()
    bits = np.random.default_rng(3).integers(0, 256, parts.shape)
    codes = quantize_fp4(parts, fmt, exponent, recipe.mode, noise=bits).codes
    assert np.array_equal(fmt.decode(codes) * 2.0**exponent, parts)
    # The first term is what is nearest.
    nearest = quantize_fp4(gradient, fmt, exponent, Fp4Mode.NEAREST).codes
    assert np.array_equal(parts[:, :10], fmt.decode(nearest) * 2.0**exponent)


@BOTH
def test_two_terms_keep_the_sum_over_the_classes(fmt):
    """One nearest FP4 number errs in the same direction in every row; two terms do not."""
    recipe, gradient = TERMS[fmt], loss_gradient()
    exponent = needed_exponent(gradient, recipe)
    draws = 600
    stream = noise(4)
    sums = np.array(
        [
            gradient_parts(gradient, recipe, exponent, stream).reshape(200, 2, 10).sum(axis=1)
            for _ in range(draws)
        ]
    )
    mean, deviation = sums.mean(axis=0), sums.std(axis=0) / np.sqrt(draws)
    # What comes in less than one draw of a hundred may not have come at all.
    rare = 0.01 * (np.abs(gradient) + 2.0**exponent)
    assert (np.abs(mean - gradient) <= 5 * deviation + rare).all()
    of_rows = sums.sum(axis=2)
    error = np.abs(of_rows.mean(axis=0) - gradient.sum(axis=1))
    assert (error <= 5 * of_rows.std(axis=0) / np.sqrt(draws) + rare.max(axis=1)).all()
    nearest = quantize_fp4(gradient, fmt, exponent, Fp4Mode.NEAREST).codes
    biased = np.abs((fmt.decode(nearest) * 2.0**exponent).sum(axis=1)) > 10 * error + 1e-6
    assert biased.mean() > 0.5


def test_two_terms_are_closer_than_one_stochastic_number():
    gradient, recipe = loss_gradient(), TERMS[RADIX4]
    exponent = needed_exponent(gradient, recipe)
    parts = gradient_parts(gradient, recipe, exponent, noise(5)).reshape(200, 2, 10).sum(axis=1)
    words = noise(6).words(gradient.size).reshape(gradient.shape)
    single = stochastic_powers(gradient, RADIX4, exponent, words)
    assert np.square(parts - gradient).sum() < np.square(single - gradient).sum() / 2


def test_samples_are_shares_of_the_gradient():
    gradient = loss_gradient()
    recipe = GradientRecipe(RADIX2, Fp4Mode.STOCHASTIC, samples=4)
    exponent = needed_exponent(gradient, recipe)
    assert exponent == needed_exponent(gradient, RECIPES["luq"].gradient) - 2
    parts = gradient_parts(gradient, recipe, exponent, noise())
    assert np.array_equal(parts, np.tile(gradient / 4, 4))
    assert recipe.parts == 4


def test_one_part_is_the_gradient():
    gradient, recipe = loss_gradient(), RECIPES["luq"].gradient
    assert gradient_parts(gradient, recipe, 0, noise()) is gradient


def test_zero_gradients_stay_zero():
    recipe = TERMS[RADIX4]
    zeros = np.zeros((3, 4), np.float32)
    assert not gradient_parts(zeros, recipe, needed_exponent(zeros, recipe), noise()).any()
    tiny = np.full((3, 4), 2.0**-120, np.float32)
    assert needed_exponent(tiny, recipe) == LEAST_EXPONENT
    assert not gradient_parts(tiny, recipe, LEAST_EXPONENT, noise()).any()


def test_phases_take_turns():
    recipe = RECIPES["two_phase"].gradient
    assert [recipe.in_step(step).phases for step in range(4)] == [(0, 0), (1, 1), (0, 0), (1, 1)]
    published = dataclasses.replace(recipe, phases=(0, 1))
    assert [published.in_step(step).phases for step in range(3)] == [(0, 1), (1, 0), (0, 1)]
    assert recipe.in_step(3) is recipe.in_step(1)
    luq = RECIPES["luq"].gradient
    assert luq.in_step(1) is luq


def test_grids_that_take_turns_are_less_biased_than_one():
    """On numbers of all sizes between two powers of four, in the mean of both grids."""
    x = np.linspace(1, 4, 3001)[:-1].astype(np.float32) / 4
    means = {}
    for phases in ((0,), (1,), (0, 1)):
        values = [
            RADIX4.decode(quantize_fp4(x, RADIX4, -12, Fp4Mode.NEAREST, phase=phase).codes)
            * 2.0 ** (-12 + phase)
            for phase in phases
        ]
        means[phases] = np.abs(np.mean(values, axis=0) / x - 1).max()
    assert means[0, 1] < 0.8 * min(means[0,], means[1,])


def test_grad_scale_follows_by_one():
    scale = GradScale()
    needed = [-10, -10, -7, -7, -7, -7, -9, -12, -12, -12, -30]
    #         first; saturates until it has caught up; two bits may stay unused, three may not
    expected = [-10, -10, -10, -9, -8, -7, -7, -7, -8, -9, -10]
    assert [scale.follow(exponent) for exponent in needed] == expected


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"terms": 3}, "A gradient must have 1 or 2 terms, not 3"),
        ({"samples": 3}, "Count of samples must be a power of two, not 3"),
        ({"samples": 0}, "Count of samples must be a power of two, not 0"),
        ({"terms": 2, "samples": 2}, "A gradient of two terms has one sample, in phase 0"),
        ({"alternate": True}, "Phases can alternate in radix 4 only"),
    ],
)
def test_bad_gradient_recipe(options, sentence):
    with pytest.raises(InputError, match=f"^{sentence}$"):
        GradientRecipe(RADIX2, Fp4Mode.STOCHASTIC, **options)


def test_bad_recipe():
    with pytest.raises(InputError, match=r"^FP4 gradients need a quantised forward pass$"):
        Recipe("wrong", Dense, last_gradient=TERMS[RADIX2])


def test_last_gradient_is_the_others_or_its_own():
    assert RECIPES["luq"].last is RECIPES["luq"].gradient
    assert RECIPES["two_phase"].last.terms == 2
    assert dataclasses.replace(RECIPES["luq"], last_gradient=None).last is None
