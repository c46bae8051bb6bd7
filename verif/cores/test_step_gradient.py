# amaranth: UnusedElaboratable=no
"""The step gradient: hardware against model, and bad parameters."""

import pytest

from nibblegrad.hdl.cores.step_gradient import StepGradient
from verif.support.benches import case


@pytest.mark.parametrize(
    "lanes, accumulator_bits, bits, residual_bits",
    [
        (4, 32, 4, 8),
        (1, 8, 2, 1),  # no tree, and one multiplier
        (3, 18, 4, 12),
        (8, 19, 8, 8),
        (5, 24, 8, 2),  # codes wider than residuals
    ],
)
def test_rtl_matches_golden(sim, lanes, accumulator_bits, bits, residual_bits):
    keys = {"lanes": lanes, "accumulator_bits": accumulator_bits}
    sim(*case("step_gradient", **keys, bits=bits, residual_bits=residual_bits))


@pytest.mark.parametrize(
    "parameters, message",
    [
        ((0, 32, 4, 8), r"^Lane count must be 1 to 64, not 0$"),
        ((4, 33, 4, 8), r"^Accumulator width must be 8 to 32, not 33$"),
        ((4, 32, 9, 8), r"^Code width must be 2 to 8, not 9$"),
        ((4, 32, 4, 13), r"^Residual width must be 1 to 12, not 13$"),
    ],
)
def test_bad_parameters(parameters, message):
    with pytest.raises(ValueError, match=message):
        StepGradient(*parameters)
