# amaranth: UnusedElaboratable=no
"""The FP4 encoder alone: every exponent, every mode, to the bit and to the cycle."""

import random

import numpy as np
import pytest
from amaranth import signed

from nibblegrad.golden.cores.fp4_quantizer import Fp4Mode, Underflow, quantize_fp4
from nibblegrad.golden.numbers.formats import Fp4Format
from nibblegrad.hdl.encoders.fp4_encoder import Fp4Encoder
from verif.array.lane import run_lane

EXPONENT_BITS = 9
OUTPUTS = ("code", "saturated", "underflowed", "was_nonfinite")


def make_numbers(rng, width, random_bits):
    """Every exponent with the least, the greatest, a middle and another significand; no numbers."""
    top = 1 << (width - 1)
    middles = [top, 2 * top - 1, top | top >> 1, (top | top >> 1) - 1, top | top >> 2]
    numbers = []
    for exponent in range(-(1 << EXPONENT_BITS - 1), 1 << EXPONENT_BITS - 1):
        near = -random_bits - 3 <= exponent <= 16
        chosen = [*middles, (top | top >> 2) - 1] if near else [rng.choice(middles)]
        chosen += [top | rng.getrandbits(width - 1) for _ in range(12 if near else 1)]
        noises = [0, (1 << random_bits) - 1]
        for significand in chosen:
            numbers.append((exponent, significand, rng.choice(noises), 0))
            numbers.append((exponent, significand, rng.getrandbits(random_bits), 0))
        numbers.append((exponent, 0, (1 << random_bits) - 1, rng.getrandbits(1)))
    rng.shuffle(numbers)
    return [
        {
            "sign": rng.getrandbits(1),
            "exponent": exponent,
            "significand": significand,
            "noise": noise,
            "nonfinite": nonfinite,
        }
        for exponent, significand, noise, nonfinite in numbers
    ]


@pytest.mark.parametrize("underflow", Underflow)
@pytest.mark.parametrize(
    "log2_radix, mode", [(1, Fp4Mode.STOCHASTIC), (1, Fp4Mode.NEAREST), (2, Fp4Mode.NEAREST)]
)
@pytest.mark.parametrize("random_bits, width", [(8, 10), (2, 4), (11, 8), (24, 26), (5, 49)])
def test_encoder_matches_golden(request, log2_radix, mode, underflow, random_bits, width):
    rng = random.Random(request.config.getoption("seed"))
    fmt = Fp4Format(log2_radix)
    encoder = Fp4Encoder(fmt, width, signed(EXPONENT_BITS), random_bits, underflow)
    assert (encoder.latency, encoder.noise_latency) == (6, 3)
    numbers = make_numbers(rng, width, random_bits)
    # Exact in float64: at most 49 bits.
    exact = np.array(
        [
            (-1) ** n["sign"] * float(n["significand"]) * 2.0 ** (n["exponent"] - width + 1)
            for n in numbers
        ]
    )
    noise = np.array([n["noise"] for n in numbers])
    golden = quantize_fp4(
        exact, fmt, 0, mode, underflow=underflow, noise=noise, random_bits=random_bits
    )
    kept = (golden.codes & 7) != 0
    expected = [
        (code, bool(stays and field > 7), bool(number != 0 and not stays), n["nonfinite"])
        for code, field, stays, number, n in zip(
            golden.codes.tolist(), golden.field.tolist(), kept, exact, numbers, strict=True
        )
    ]
    settings = {"stochastic": mode == Fp4Mode.STOCHASTIC} if log2_radix == 1 else {}
    if log2_radix == 2:
        for number in numbers:
            del number["noise"]
    got = run_lane(rng, encoder, numbers, OUTPUTS, settings, {"noise": encoder.noise_latency})
    for number, one, other in zip(numbers, got, expected, strict=True):
        assert one == other, number
    # What is counted occurs, and every code.
    assert all(sum(flags) for flags in zip(*(flags for _, *flags in expected), strict=True))
    assert {code for code, *_ in expected} == set(range(16)) - {8}
