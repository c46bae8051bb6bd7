# amaranth: UnusedElaboratable=no
"""The encoder of wide floats alone: every exponent, every mode, to the bit and to the cycle."""

import random

import numpy as np
import pytest
from amaranth import signed

from nibblegrad.golden.cores.stochastic_rounder import round_float
from nibblegrad.golden.numbers.formats import WIDE_FORMATS
from nibblegrad.golden.numbers.rounding import RoundMode
from nibblegrad.hdl.encoders.float_encoder import FloatEncoder
from verif.array.lane import run_lane

EXPONENT_BITS = 10
OUTPUTS = ("code", "overflowed", "underflowed", "was_nonfinite")
STOCHASTIC = (RoundMode.STOCHASTIC, RoundMode.SELF_STOCHASTIC)


def make_numbers(rng, fmt, width, random_bits):
    """Every exponent; about the ends of the format ties, their neighbours, and the greatest."""
    top = 1 << (width - 1)
    # The lowest bit that is kept, where there are any below it.
    last = max(width - 1 - fmt.fraction_bits, 0)
    tie = 1 << last >> 1
    shapes = [top, 2 * top - 1, 2 * top - (1 << last), top | tie, top | 1 << last | tie]
    shapes += [top | (tie - 1 if tie else 0), 2 * top - tie if tie else 2 * top - 1]
    numbers = []
    edges = (fmt.least_exponent - fmt.fraction_bits, fmt.least_exponent, fmt.greatest_exponent)
    for exponent in range(-(1 << EXPONENT_BITS - 1), 1 << EXPONENT_BITS - 1):
        near = any(abs(exponent - edge) <= 3 for edge in edges) or exponent == 0
        chosen = [*shapes, *shapes] if near else [rng.choice(shapes)]
        chosen += [top | rng.getrandbits(width - 1) for _ in range(8 if near else 1)]
        for significand in chosen:
            noise = rng.choice([0, (1 << random_bits) - 1, rng.getrandbits(random_bits)])
            numbers.append((exponent, significand, noise, 0, 0))
    zeros = [(rng.randrange(-512, 512), 0, (1 << random_bits) - 1, k > 1, k > 2) for k in range(4)]
    numbers += 12 * zeros
    rng.shuffle(numbers)
    return [
        {
            "sign": k % 2,
            "exponent": exponent,
            "significand": significand,
            "noise": noise,
            "nonfinite": int(nonfinite),
            "infinite": int(infinite),
        }
        for k, (exponent, significand, noise, nonfinite, infinite) in enumerate(numbers)
    ]


def number_of(number, width):
    """Find what a number is; exact in float64."""
    magnitude = float(number["significand"]) * 2.0 ** (number["exponent"] - width + 1)
    if number["nonfinite"]:
        magnitude = np.inf if number["infinite"] else np.nan
    return np.copysign(magnitude, -1.0 if number["sign"] else 1.0)


@pytest.mark.parametrize("mode", RoundMode)
@pytest.mark.parametrize(
    "name, random_bits, width",
    [
        ("bfloat16", 8, 17),
        ("bfloat16", 8, 24),
        ("float16", 16, 24),
        ("float16", 6, 49),
        ("float32", 24, 49),
        ("float32", 5, 20),
        ("dlfloat16", 8, 19),
        ("dlfloat16", 5, 24),
        ("bfloat16", 1, 11),
    ],
)
def test_encoder_matches_golden(request, name, random_bits, width, mode):
    rng = random.Random(request.config.getoption("seed"))
    target = WIDE_FORMATS[name]
    encoder = FloatEncoder(target, width, signed(EXPONENT_BITS), random_bits)
    assert (encoder.latency, encoder.noise_latency) == (6, 3)
    numbers = make_numbers(rng, target, width, random_bits)
    if mode not in STOCHASTIC:
        for number in numbers:
            number["noise"] = 0
    exact = np.array([number_of(number, width) for number in numbers])
    noise = np.array([number["noise"] for number in numbers])
    golden = round_float(exact, target, mode, noise, random_bits)
    finite = np.isfinite(exact)
    expected = list(
        zip(
            target.encode(golden.values).tolist(),
            (finite & np.isinf(golden.values)).tolist(),
            (finite & (golden.values == 0) & (exact != 0)).tolist(),
            (~finite).tolist(),
            strict=True,
        )
    )
    delays = {"noise": encoder.noise_latency}
    got = run_lane(rng, encoder, numbers, OUTPUTS, {"mode": mode}, delays)
    for number, one, other in zip(numbers, got, expected, strict=True):
        assert one == other, number
    # What is counted occurs.
    assert all(sum(flags) for flags in zip(*(flags for _, *flags in expected), strict=True))
