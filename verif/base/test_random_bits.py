# amaranth: UnusedElaboratable=no
"""The random generator: hardware against model, and bad parameters."""

import pytest

from nibblegrad.hdl.base.random_bits import RandomBits


@pytest.mark.parametrize(
    "lanes, bits, seed, stream",
    [
        (1, 1, 1, 0),
        (4, 8, 2, 0),
        (3, 11, 3, 1),  # two words, of which bits are dropped
        (12, 8, 4, 0),  # three words: with the one before, just the state
        (16, 8, 5, 0),
        (8, 24, 2**64 - 1, 2**32 - 1),
    ],
)
def test_rtl_matches_golden(sim, lanes, bits, seed, stream):
    core = RandomBits(lanes, bits, seed, stream)
    sim(
        core,
        "random_bits",
        {"core": "random_bits", "lanes": lanes, "bits": bits, "seed": seed, "stream": stream},
    )


@pytest.mark.parametrize(
    "parameters, message",
    [
        ((0, 8, 1), r"^Lane count must be 1 to 1024, not 0$"),
        ((4, 0, 1), r"^Random bit count must be 1 to 32, not 0$"),
        ((4, 33, 1), r"^Random bit count must be 1 to 32, not 33$"),
        ((4, 8, -1), r"^Seed must be 0 to 18446744073709551615, not -1$"),
        ((4, 8, 1, 2**32), r"^Stream must be 0 to 4294967295, not 4294967296$"),
    ],
)
def test_bad_parameters(parameters, message):
    with pytest.raises(ValueError, match=message):
        RandomBits(*parameters)
