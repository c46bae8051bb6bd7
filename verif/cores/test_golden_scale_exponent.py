"""The choice of the scale exponent of FP4 tensors."""

import numpy as np
import pytest

from nibblegrad.golden.cores.fp4_quantizer import Fp4Mode, quantize_fp4, scale_exponent
from nibblegrad.golden.numbers.formats import Fp4Format

RADIX2, RADIX4 = Fp4Format(1), Fp4Format(2)


def maxima():
    powers = np.exp2(np.arange(-100.0, 100.0))
    random = np.exp2(np.random.default_rng(5).uniform(-100, 100, 300))
    return np.concatenate([powers, np.nextafter(powers, 0), np.nextafter(powers, np.inf), random])


@pytest.mark.parametrize("odd_shift", [1, -1])
@pytest.mark.parametrize("fmt", [RADIX2, RADIX4], ids=lambda fmt: fmt.name)
def test_chosen_scale_never_saturates(fmt, odd_shift):
    noise = np.arange(256)
    for greatest in maxima():
        exponent = scale_exponent(greatest, fmt, odd_shift)
        where = f"maximum {greatest!r}, exponent {exponent}"
        for phase in range(fmt.phases):
            found = quantize_fp4(
                np.array([greatest]),
                fmt,
                exponent,
                Fp4Mode.NEAREST,
                phase=phase,
                odd_shift=odd_shift,
            )
            assert found.saturations == 0, where
        if fmt is RADIX2:
            found = quantize_fp4(
                np.full(256, greatest), fmt, exponent, Fp4Mode.STOCHASTIC, noise=noise
            )
            assert found.saturations == 0, where
        # And it is the smallest such scale: half of it would leave the largest magnitude behind.
        reach = fmt.greatest / (2 if fmt is RADIX4 and odd_shift == -1 else 1)
        assert greatest <= reach * 2.0**exponent < 2 * greatest, where


@pytest.mark.parametrize(
    "greatest, radix2, radix4, lower",
    [(64.0, 0, -6, -5), (65.0, 1, -5, -4), (1.0, -6, -12, -11), (0.0, 0, 0, 0)],
)
def test_table_of_scales(greatest, radix2, radix4, lower):
    found = [scale_exponent(greatest, fmt) for fmt in (RADIX2, RADIX4)]
    assert [*found, scale_exponent(greatest, RADIX4, odd_shift=-1)] == [radix2, radix4, lower]


def test_chosen_scale_stays_in_its_eight_bits():
    assert scale_exponent(2.0**-140, RADIX2) == -128
    assert scale_exponent(2.0**140, RADIX2) == 127
