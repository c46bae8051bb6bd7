# amaranth: UnusedElaboratable=no
"""The integer encoder alone: every exponent, ties, limits, to the bit and to the cycle."""

import random

import numpy as np
import pytest
from amaranth import signed

from nibblegrad.golden.cores.quantizer import InRange, quantize
from nibblegrad.golden.numbers.formats import IntFormat, Scale
from nibblegrad.hdl.encoders.integer_encoder import IntegerEncoder
from verif.array.lane import run_lane

EXPONENT_BITS = 8
OUTPUTS = ("code", "in_range", "residual", "saturated", "underflowed", "was_nonfinite")


def make_numbers(rng, width, least, bits):
    """Every exponent, and every half of a step that a code can have, a bit more and a bit less."""
    numbers = [
        (1 << k | rng.getrandbits(k), exponent)
        for exponent in range(-(1 << EXPONENT_BITS - 1), 1 << EXPONENT_BITS - 1)
        for k in range(least, width)
    ]
    numbers += [
        (magnitude, exponent)
        for exponent in range(-(1 << EXPONENT_BITS - 1), 1 << EXPONENT_BITS - 1)
        for magnitude in ((1 << width) - 1, 1 << least)
    ]
    for half_steps in range(1, 2 << bits):
        # As many bits behind as there is room for.
        shift = width - half_steps.bit_length()
        for nudge in (-1, 0, 1):
            magnitude = (half_steps << shift) + nudge
            if 1 << least <= magnitude < 1 << width:
                numbers += [(magnitude, -1 - shift)] * 2
    numbers += [(0, rng.randrange(-128, 128)) for _ in range(40)]
    rng.shuffle(numbers)
    return [
        {
            "sign": k % 2,
            "magnitude": magnitude,
            "exponent": exponent,
            # Of those that are 0, some are no numbers.
            "nonfinite": int(not magnitude and k % 3 == 0),
        }
        for k, (magnitude, exponent) in enumerate(numbers)
    ]


@pytest.mark.parametrize("is_signed", [False, True])
@pytest.mark.parametrize("rule", InRange)
@pytest.mark.parametrize(
    "bits, residual_bits, width, least",
    [(4, 8, 24, 15), (4, 8, 13, 12), (2, 1, 4, 3), (8, 8, 40, 15), (8, 8, 17, 16), (3, 12, 49, 15)],
)
def test_encoder_matches_golden(request, bits, residual_bits, width, least, rule, is_signed):
    rng = random.Random(request.config.getoption("seed"))
    encoder = IntegerEncoder(width, least, signed(EXPONENT_BITS), bits, residual_bits, rule)
    assert encoder.latency == 6
    numbers = make_numbers(rng, width, least, bits)
    exact = np.array(
        [(-1) ** n["sign"] * float(n["magnitude"]) * 2.0 ** n["exponent"] for n in numbers]
    )
    exact[[bool(n["nonfinite"]) for n in numbers]] = np.nan
    fmt = IntFormat(bits, signed=is_signed)
    golden = quantize(
        exact, Scale(1 << 15, -15), fmt, in_range=rule, residual_bits=residual_bits,
        check_finite=False,
    )  # fmt: skip
    rounded = np.rint(golden.scaled)
    expected = list(
        zip(
            (golden.codes.astype(int) & ((1 << bits) - 1)).tolist(),
            golden.in_range.astype(int).tolist(),
            golden.residual.tolist(),
            (rounded != golden.codes).astype(int).tolist(),
            ((rounded == 0) & (golden.scaled != 0)).astype(int).tolist(),
            [n["nonfinite"] for n in numbers],
            strict=True,
        )
    )
    got = run_lane(rng, encoder, numbers, OUTPUTS, {"is_signed": is_signed})
    for number, one, other in zip(numbers, got, expected, strict=True):
        assert one == other, number
    # What is counted occurs, and every code.
    assert all(sum(flags) for flags in zip(*(flags for _, _, _, *flags in expected), strict=True))
    assert {code for code, *_ in expected} == set(range(1 << bits))
