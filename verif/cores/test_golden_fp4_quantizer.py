"""The FP4 quantisers against the papers' formulas, gfloat, and tables worked by hand."""

import math
from fractions import Fraction

import numpy as np
import pytest
from gfloat import Domain, FormatInfo, round_ndarray
from gfloat import RoundMode as GfloatMode

from nibblegrad.golden.cores.fp4_quantizer import Fp4Mode, Underflow, quantize_fp4, scale_exponent
from nibblegrad.golden.errors import InputError
from nibblegrad.golden.numbers.formats import BFLOAT16, Fp4Format
from nibblegrad.golden.numbers.random_bits import RandomBits, seed_state

RADIX2, RADIX4 = Fp4Format(1), Fp4Format(2)
E3M0 = FormatInfo(
    "e3m0",
    4,
    1,
    bias=1,
    is_signed=True,
    domain=Domain.Finite,
    has_nz=False,
    num_high_nans=0,
    has_subnormals=True,
    is_twos_complement=False,
)


def every_bfloat16():
    numbers = BFLOAT16.decode(np.arange(1 << 16))
    return numbers[np.isfinite(numbers)]


def assert_equal(x, ours, theirs):
    wrong = ours != theirs
    assert not wrong.any(), (
        f"{np.count_nonzero(wrong)} differ, first x = {x[wrong][0]!r}: "
        f"{ours[wrong][0]} != {theirs[wrong][0]} (expected)"
    )


def nearest(x, fmt, **keywords):
    return quantize_fp4(x, fmt, 0, Fp4Mode.NEAREST, **keywords)


def stochastic(x, noise, random_bits=8, exponent=0):
    return quantize_fp4(
        x, RADIX2, exponent, Fp4Mode.STOCHASTIC, noise=noise, random_bits=random_bits
    )


# Stochastic, radix 2 (LUQ).


def luq(x, u):
    """Sections 4.1 of the paper for one magnitude in units of alpha and one uniform draw u.

    Stochastic underflow below alpha; logarithmic stochastic rounding above. A draw below the
    probability of the upper neighbour takes it.
    """
    if x < 1:
        return 1 if u < x else 0
    n = 0
    while x >= 2 ** (n + 1):
        n += 1
    probability = (x - 2**n) / 2**n
    return 2 ** (n + 1) if u < probability else 2**n


def test_stochastic_is_the_papers_rule_for_every_draw():
    # Numbers with at most 6 fraction bits below the kept one: 8 random bits lose nothing.
    magnitudes = [Fraction(i, 64) for i in range(64)]
    magnitudes += [2**n * (1 + Fraction(i, 32)) for n in range(6) for i in range(32)] + [64]
    noise = np.arange(256)
    for magnitude in magnitudes:
        for sign in (1, -1):
            x = np.full(256, sign * float(magnitude))
            found = RADIX2.decode(stochastic(x, noise).codes)
            # The carry r + f * 256 >= 256 is the draw u = (255 - r) / 256 below f.
            expected = [sign * luq(magnitude, Fraction(255 - r, 256)) for r in range(256)]
            assert found.tolist() == expected, f"x = {sign * magnitude}"


@pytest.mark.parametrize(
    "x, up, down, ups",
    [
        # Worked by hand, of 256 draws.
        (0.25, 1, 0, 64),
        (0.5, 1, 0, 128),
        (1 / 256, 1, 0, 1),
        (1 / 512, 1, 0, 0),  # fewer than 8 bits see it: the bias of the cut
        (1.0, 2, 1, 0),
        (1.5, 2, 1, 128),
        (3.0, 4, 2, 128),
        (-3.5, -4, -2, 192),
        (48.0, 64, 32, 128),
        (64.0, 64, 64, 0),
    ],
)
def test_table_of_probabilities(x, up, down, ups):
    found = RADIX2.decode(stochastic(np.full(256, x), np.arange(256)).codes).tolist()
    assert (found.count(up) if ups else 0, found.count(down)) == (ups, 256 - ups)


@pytest.mark.parametrize("random_bits", [1, 4, 8, 16])
def test_stochastic_is_gfloats_fastest_on_e3m0(random_bits):
    rng = np.random.default_rng(1)
    x = every_bfloat16()
    x = np.concatenate([x, rng.uniform(-64, 64, 100_000).astype(np.float32)])
    x = x[np.abs(x) <= 64]
    noise = rng.integers(0, 1 << random_bits, x.shape)
    theirs = round_ndarray(
        E3M0,
        x,
        GfloatMode.StochasticFastest,
        srbits=noise,
        srnumbits=random_bits,
    )
    assert_equal(x, RADIX2.decode(stochastic(x, noise, random_bits).codes), theirs)


def test_carry_form_is_the_published_formula():
    # The supplement adds noise to the magnitude and rounds to the nearest power, and zeroes what
    # is below alpha by a draw. The same uniform draw u decides in both forms where 1 - u is what
    # is added to the fraction; random_bits keep u exact.
    rng = np.random.default_rng(2)
    x = np.exp2(rng.uniform(-6, 6, 200_000)).astype(np.float32).astype(np.float64)
    noise = rng.integers(0, 1 << 24, x.shape)
    u = (noise + 0.5) / (1 << 24) - 0.5  # -1/2 to 1/2, the middle of each draw
    power = np.exp2(np.floor(np.log2(x)))
    rounded = np.exp2(np.floor(np.log2((x + power * u) * 4 / 3)))
    formula = np.where(x < 1, x >= 0.5 - u, np.maximum(rounded, power))
    ours = RADIX2.decode(stochastic(x, noise, 24).codes)
    # Formula and carry can differ only where the draw hits the fraction to 2**-24.
    fraction = np.where(x < 1, x, x / power - 1)
    clear = np.abs(fraction - (0.5 - u)) > 2.0**-24
    assert np.count_nonzero(clear) > 199_000
    assert_equal(x[clear], ours[clear], formula[clear])


def test_stochastic_has_no_bias():
    # E[q] = x: the mean of 2**17 draws of each number within 4 sigma, 12 numbers. All have few
    # bits, so that 8 random bits see the whole fraction.
    x = np.array([0.25, 0.75, 1.25, 1.5, 2.5, 3.75, 5.0, 11.0, 21.0, 40.0, 63.0, -7.0])
    draws = 1 << 17
    noise = RandomBits(seed_state(3)).elements(draws * len(x), 8, 16).reshape(draws, -1)
    q = RADIX2.decode(stochastic(np.broadcast_to(x, noise.shape), noise).codes)
    below = np.where(np.abs(x) < 1, 0, 2.0 ** np.floor(np.log2(np.abs(x))))
    above = np.where(np.abs(x) < 1, 1, 2 * below)
    sigma = np.sqrt((above - np.abs(x)) * (np.abs(x) - below) / draws)
    z = (q.mean(axis=0) - x) / sigma
    assert np.abs(z).max() < 4, f"sigmas: {z}"


# Nearest, radix 2.


def test_nearest_radix_2_is_gfloats_but_for_ties():
    x = every_bfloat16()
    x = x[np.abs(x) <= 64]
    theirs = round_ndarray(E3M0, x, GfloatMode.TiesToEven)
    ours = RADIX2.decode(nearest(x, RADIX2).codes)
    # Here a tie goes up, as the floor in the paper's formula has it; gfloat takes it to the even
    # code.
    magnitude = np.abs(x)
    tie = np.isin(magnitude, [0.5, 1.5, 3, 6, 12, 24, 48])
    assert_equal(x[~tie], ours[~tie], theirs[~tie])
    assert_equal(
        x[tie], ours[tie], np.where(magnitude < 1, 1, magnitude * 4 / 3)[tie] * np.sign(x[tie])
    )
    assert_equal(x[tie], theirs[tie] != ours[tie], np.isin(magnitude[tie], [0.5, 3, 12, 48]))


def power_below(x, radix):
    """``radix ** floor(log(x))`` to the base of the radix, for a positive Fraction, exactly."""
    power = Fraction(1)
    while power * radix <= x:
        power *= radix
    while power > x:
        power /= radix
    return power


def published(x, radix, factor, unit):
    """``radix**floor(log(factor * x))`` on the grid ``unit * radix**k``, and 0 below the grid."""
    magnitude = abs(Fraction(x)) / unit
    if magnitude == 0:
        return 0.0
    power = min(power_below(magnitude * factor, radix), Fraction(radix) ** 6)
    return math.copysign(power * unit, x) if power >= 1 else 0.0


def formula_sample():
    """bfloat16 from below the smallest magnitude to above the largest, and neighbours of ties."""
    x = every_bfloat16()
    x = x[(np.abs(x) < 2.0**15) & (np.abs(x) > 2.0**-4)]
    ties = np.exp2(np.arange(-4.0, 14.0))[:, None] * np.array([1, 1.25, 1.5])
    edges = np.stack([ties, np.nextafter(ties, 0), np.nextafter(ties, np.inf)]).ravel()
    return np.concatenate([x, edges, -edges, [0.0, -0.0]])


def test_nearest_radix_2_is_the_published_formula():
    x = formula_sample()
    found = RADIX2.decode(nearest(x, RADIX2, underflow=Underflow.FORMULA).codes)
    expected = [published(number, 2, Fraction(4, 3), 1) for number in x]
    assert_equal(x, found, np.array(expected))


@pytest.mark.parametrize("phase, odd_shift", [(0, 1), (0, -1), (1, 1), (1, -1)])
def test_two_phase_is_the_published_formula(phase, odd_shift):
    x = formula_sample()
    unit = Fraction(2) ** (phase * odd_shift)
    found = quantize_fp4(
        x,
        RADIX4,
        0,
        Fp4Mode.NEAREST,
        phase=phase,
        odd_shift=odd_shift,
        underflow=Underflow.FORMULA,
    )
    expected = [published(number, 4, Fraction(8, 5), unit) for number in x]
    assert_equal(x, RADIX4.decode(found.codes) * float(unit), np.array(expected))
    # The same in float64, away from the ties, where its logarithm cannot be trusted.
    magnitude = np.maximum(np.abs(x), 2.0**-20) / float(unit)
    logarithm = np.log2(1.6 * magnitude) / 2
    clear = np.abs(logarithm - np.rint(logarithm)) > 1e-12
    power = 4.0 ** np.minimum(np.floor(logarithm), 6)
    signed = np.sign(x) * np.where(power < 1, 0, power)
    assert np.count_nonzero(clear) > 0.98 * np.count_nonzero(x)
    assert_equal(x[clear], RADIX4.decode(found.codes)[clear], signed[clear])


def test_two_phase_is_one_parity_and_two_bits():
    # The rule of the hardware, for every exponent and fraction of bfloat16.
    codes = np.arange(1 << 15)
    x = BFLOAT16.decode(codes)
    normal = np.isfinite(x) & (codes >= 1 << 7)
    e, f = (codes >> 7) - 127, codes & 127
    for phase in (0, 1):
        parity = (e - phase) & 1
        up = parity & (f >= 32)
        exponent = np.clip((e - parity + 2 * up - phase) >> 1, None, 6)
        expected = np.where(exponent >= 0, 4.0 ** np.maximum(exponent, 0), 0)
        found = nearest(x[normal], RADIX4, phase=phase, underflow=Underflow.FORMULA)
        assert_equal(x[normal], RADIX4.decode(found.codes), expected[normal])


@pytest.mark.parametrize(
    "x, even, odd_up, odd_down",
    [
        # In units of the even grid. Grids 1, 4, 16; 2, 8, 32; 1/2, 2, 8.
        (2.5, 4, 2, 2),  # tie f = 1/4 of the even grid goes up
        (2.4375, 1, 2, 2),
        (5.0, 4, 8, 8),  # tie of both odd grids
        (4.96875, 4, 2, 2),
        (10.0, 16, 8, 8),
        (1.25, 1, 2, 2),  # tie of the lower odd grid; on the upper one more than half of 2
        (1.0, 1, 2, 0.5),  # tie between 0 and 2 on the upper odd grid
        (0.5, 1, 0, 0.5),  # tie between 0 and 1 on the even grid
        (-2.5, -4, -2, -2),
    ],
)
def test_table_of_phases(x, even, odd_up, odd_down):
    def number(phase, odd_shift):
        found = nearest(np.array([x]), RADIX4, phase=phase, odd_shift=odd_shift)
        return RADIX4.decode(found.codes)[0] * 2.0 ** (phase * odd_shift)

    assert (number(0, 1), number(1, 1), number(1, -1)) == (even, odd_up, odd_down)


@pytest.mark.parametrize(
    "fmt, underflow, threshold",
    [
        (RADIX2, Underflow.MIDPOINT, 0.5),
        (RADIX2, Underflow.FORMULA, 0.75),
        (RADIX4, Underflow.MIDPOINT, 0.5),
        (RADIX4, Underflow.FORMULA, 0.625),
    ],
    ids=str,
)
def test_threshold_of_zero(fmt, underflow, threshold):
    x = np.array([np.nextafter(threshold, 0), threshold, -threshold, -np.nextafter(threshold, 0)])
    found = nearest(x, fmt, underflow=underflow)
    assert found.codes.tolist() == [0, 1, 9, 0]
    assert found.underflows == 2


# Properties of all of them.


@pytest.mark.parametrize("fmt", [RADIX2, RADIX4], ids=lambda fmt: fmt.name)
def test_at_most_15_codes_and_no_negative_zero(fmt):
    x = every_bfloat16()
    codes = nearest(x, fmt).codes
    if fmt is RADIX2:
        noise = np.random.default_rng(4).integers(0, 256, x.shape)
        codes = np.concatenate([codes, stochastic(x, noise).codes])
    assert set(codes.tolist()) == set(range(16)) - {8}


def test_largest_magnitude_is_its_own_code_for_every_draw():
    for exponent in (-128, -3, 0, 100):
        for sign, code in ((1, 7), (-1, 15)):
            x = np.full(256, sign * 2.0 ** (6 + exponent))
            found = stochastic(x, np.arange(256), exponent=exponent)
            assert found.codes.tolist() == [code] * 256
            assert found.saturations == 0


def test_counts():
    x = np.array([0.0, 1e-3, -1e-3, 64.0, 96.0, -1e9, np.nan, np.inf, -np.inf, 95.9])
    found = nearest(x, RADIX2, check_finite=False)
    assert found.codes.tolist() == [0, 0, 0, 7, 7, 15, 0, 0, 0, 7]
    assert (found.saturations, found.underflows, found.nonfinite) == (2, 2, 3)


@pytest.mark.parametrize("greatest", [-1.0, math.inf, math.nan])
def test_bad_maximum(greatest):
    message = rf"^Largest magnitude must be finite and not negative, not {greatest}$"
    with pytest.raises(InputError, match=message):
        scale_exponent(greatest, RADIX2)


@pytest.mark.parametrize("exponent", [-129, 128])
def test_bad_exponent(exponent):
    message = rf"^Scale exponent must be -128 to 127, not {exponent}$"
    with pytest.raises(InputError, match=message):
        quantize_fp4(np.zeros(1), RADIX2, exponent, Fp4Mode.NEAREST)


@pytest.mark.parametrize("fmt, phase", [(RADIX2, 1), (RADIX4, 2), (RADIX4, -1)], ids=str)
def test_bad_phase(fmt, phase):
    message = rf"^Phase must be 0, or 1 with radix 4, not {phase} with {fmt.name}$"
    with pytest.raises(InputError, match=message):
        nearest(np.zeros(1), fmt, phase=phase)


@pytest.mark.parametrize("odd_shift", [0, 2])
def test_bad_odd_shift(odd_shift):
    message = rf"^Shift of the odd grid must be 1 or -1, not {odd_shift}$"
    with pytest.raises(InputError, match=message):
        nearest(np.zeros(1), RADIX4, odd_shift=odd_shift)


def test_bad_mode():
    message = r"^Stochastic rounding needs radix 2; radix 4 rounds to the nearest$"
    with pytest.raises(InputError, match=message):
        quantize_fp4(np.zeros(1), RADIX4, 0, Fp4Mode.STOCHASTIC, noise=np.zeros(1, int))


def test_bad_noise():
    message = r"^Rounding mode stochastic needs random bits of shape \(2,\), not None$"
    with pytest.raises(InputError, match=message):
        stochastic(np.zeros(2), None)


def test_bad_shape():
    message = r"^Tensor to quantise must have at least one element, not shape \(0,\)$"
    with pytest.raises(InputError, match=message):
        nearest(np.zeros(0), RADIX2)


def test_bad_element():
    message = r"^Tensor to quantise must be finite, and element \(1,\) is nan$"
    with pytest.raises(InputError, match=message):
        nearest(np.array([0.0, np.nan]), RADIX2)
