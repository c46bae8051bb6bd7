"""Stochastic rounding: probabilities and bias, against what theory allows."""

import math

import numpy as np
import pytest

from nibblegrad.golden.cores.stochastic_rounder import round_fixed, round_float
from nibblegrad.golden.numbers.formats import BFLOAT16, IntFormat
from nibblegrad.golden.numbers.random_bits import RandomBits, seed_state
from nibblegrad.golden.numbers.rounding import RoundMode


@pytest.mark.parametrize("random_bits", [1, 4, 8])
def test_stochastic_rounds_up_with_the_probability_of_the_cut_fraction(random_bits):
    # Exhaustive over the noise: so many of the 2**R draws round up, for every fraction.
    fraction_bits = 10
    x = np.arange(-(1 << fraction_bits), 1 << fraction_bits)
    draws = np.arange(1 << random_bits)
    total = sum(
        round_fixed(
            x,
            fraction_bits,
            IntFormat(8),
            RoundMode.STOCHASTIC,
            np.full(x.shape, draw),
            random_bits,
        ).values
        for draw in draws
    )
    assert (total == x << random_bits >> fraction_bits).all()


# Means of 2**20 draws. The error of one draw of fraction f has variance f * (1 - f), so the sum of
# the errors less their known mean is within 4 sigma but for 1 in 16,000 seeds; the seed is fixed.
DRAWS = 1 << 20
SIGMAS = 4


def z_score(rounded, x, bias):
    """Deviation of the summed errors from a bias per element, in standard deviations."""
    fraction = x + bias - np.floor(x + bias)
    return float((rounded - x - bias).sum() / np.sqrt((fraction * (1 - fraction)).sum()))


@pytest.mark.parametrize("dropped", [3, 8])
def test_stochastic_has_no_bias_when_no_more_bits_are_dropped_than_drawn(dropped):
    rng = np.random.default_rng(10)
    integers = rng.integers(-6 << dropped, 6 << dropped, DRAWS)
    noise = RandomBits(seed_state(11)).elements(DRAWS, 8, 16)
    values = round_fixed(integers, dropped, IntFormat(4), RoundMode.STOCHASTIC, noise, 8).values
    z = z_score(values, integers / (1 << dropped), 0.0)
    assert abs(z) < SIGMAS, f"{z} sigmas"


@pytest.mark.parametrize("random_bits", [2, 4, 8])
def test_bias_of_stochastic_is_what_the_drawn_bits_cannot_see(random_bits):
    dropped = 16
    rng = np.random.default_rng(12)
    integers = rng.integers(-6 << dropped, 6 << dropped, DRAWS)
    noise = RandomBits(seed_state(13)).elements(DRAWS, random_bits, 16)
    values = round_fixed(
        integers, dropped, IntFormat(4), RoundMode.STOCHASTIC, noise, random_bits
    ).values
    x = integers / (1 << dropped)
    # What is cut off before the noise is added, 0 to 2**-R.
    bias = np.floor(x * (1 << random_bits)) / (1 << random_bits) - x
    assert -(2.0**-random_bits) < bias.min() <= bias.max() <= 0
    z = z_score(values, x, bias)
    assert abs(z) < SIGMAS, f"{z} sigmas"
    # The mean bias is half of the worst case. For few random bits the draws are enough to see it.
    mean = float((values - x).mean())
    tolerance = SIGMAS * 0.5 / math.sqrt(DRAWS)
    assert abs(mean + 2.0 ** -(random_bits + 1)) < tolerance, f"mean error {mean}"
    if random_bits == 2:
        assert mean < -tolerance


def test_stochastic_to_a_float_has_the_bias_of_its_random_bits():
    rng = np.random.default_rng(14)
    x = rng.integers(1 << 23, 1 << 24, DRAWS) / (1 << 23)  # one binade of float32
    noise = RandomBits(seed_state(15)).elements(DRAWS, 8, 16)
    values = round_float(x, BFLOAT16, RoundMode.STOCHASTIC, noise, 8).values
    ulps, rounded = x * 128, values * 128
    z = z_score(rounded, ulps, np.floor(ulps * 256) / 256 - ulps)
    assert abs(z) < SIGMAS, f"{z} sigmas"
