"""Optimiser and schedule, by hand."""

import math

import numpy as np
import pytest

from nibblegrad.golden.errors import InputError
from nibblegrad.golden.training.optimizers import MomentumSGD, clip_factor, cosine_schedule


def test_momentum_and_decay_by_hand():
    optimizer = MomentumSGD(momentum=0.5, weight_decay=0.25)
    parameters = {"weights": np.array([4.0], np.float32), "bias": np.array([4.0], np.float32)}
    gradients = {"weights": np.array([1.0]), "bias": np.array([1.0])}
    optimizer.update(parameters, gradients, 1.0)
    # v = 1 + 4/4 = 2, and 1 without decay.
    assert (parameters["weights"][0], parameters["bias"][0]) == (2, 3)
    optimizer.update(parameters, gradients, 0.5)
    # v = 2/2 + 1 + 2/4 = 2.5, and 1/2 + 1 = 1.5.
    assert (parameters["weights"][0], parameters["bias"][0]) == (0.75, 2.25)


def test_schedule_is_half_a_cosine():
    assert [cosine_schedule(0.5, step, 4) for step in range(5)] == pytest.approx(
        [0.5, 0.25 + math.sqrt(0.5) / 4, 0.25, 0.25 - math.sqrt(0.5) / 4, 0]
    )


def test_gradients_are_multiplied_by_the_factor():
    parameters = {"weights": np.array([4.0], np.float32)}
    MomentumSGD(momentum=0.5, weight_decay=0.25).update(
        parameters, {"weights": np.array([8.0])}, 1.0, factor=0.125
    )
    # v = 8/8 + 4/4; weights decay as they are.
    assert parameters["weights"][0] == 2


def test_warm_up_is_a_ramp_to_the_cosine():
    plain = [cosine_schedule(0.5, step, 40) for step in range(40)]
    warm = [cosine_schedule(0.5, step, 40, warm_up=0.1) for step in range(40)]
    assert warm[:4] == pytest.approx([rate * (n + 1) / 4 for n, rate in enumerate(plain[:4])])
    assert warm[3:] == plain[3:]
    # A training of few steps does not begin with a rate of 0.
    assert cosine_schedule(0.5, 0, 3, warm_up=0.1) == 0.5


def test_clip_factor_by_hand():
    parts = [np.array([[3.0, 0.0]]), np.array([4.0], np.float32)]
    assert clip_factor(parts, 5.0) == 1
    assert clip_factor(parts, 10.0) == 1
    assert clip_factor(parts, 2.0) == 0.4
    assert clip_factor([], 2.0) == 1
    assert math.isnan(clip_factor([np.array([math.nan])], 2.0))
    assert math.isnan(clip_factor([np.array([1e300])], 2.0))


@pytest.mark.parametrize("momentum", [-0.1, 1, math.nan])
def test_bad_momentum(momentum):
    with pytest.raises(
        InputError, match=rf"^Momentum must be at least 0 and below 1, not {momentum}$"
    ):
        MomentumSGD(momentum=momentum)


@pytest.mark.parametrize("decay", [-0.1, math.inf])
def test_bad_weight_decay(decay):
    with pytest.raises(InputError, match=rf"^Weight decay must be 0 or more, not {decay}$"):
        MomentumSGD(weight_decay=decay)
