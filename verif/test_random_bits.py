# amaranth: UnusedElaboratable=no
"""The random generator: hardware against model, and bad parameters."""

import pytest

from hdl.random_bits import RandomBits


@pytest.mark.parametrize(
    "lanes, bits, seed",
    [
        (1, 1, 1),
        (4, 8, 2),
        (3, 11, 3),  # two words, of which bits are dropped
        (12, 8, 4),  # three words: with the one before, just the state
        (16, 8, 5),
        (8, 24, 2**64 - 1),
    ],
)
def test_rtl_matches_golden(sim, lanes, bits, seed):
    core = RandomBits(lanes, bits, seed)
    sim(
        core,
        "random_bits",
        {"core": "random_bits", "lanes": lanes, "bits": bits, "seed": seed},
    )


@pytest.mark.parametrize(
    "parameters, message",
    [
        ((0, 8, 1), r"^Lane count must be 1 to 1024, not 0$"),
        ((4, 0, 1), r"^Random bit count must be 1 to 32, not 0$"),
        ((4, 33, 1), r"^Random bit count must be 1 to 32, not 33$"),
        ((4, 8, -1), r"^Seed must be 0 to 18446744073709551615, not -1$"),
    ],
)
def test_bad_parameters(parameters, message):
    with pytest.raises(ValueError, match=message):
        RandomBits(*parameters)
