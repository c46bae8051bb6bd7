"""The learned-step quantiser against the paper's equations in fractions, and against PyTorch."""

import json
import math
import re
from fractions import Fraction

import numpy as np
import pytest

from nibblegrad.golden.cores.quantizer import (
    InRange,
    dequantize,
    gradient_factor,
    initial_step,
    quantize,
)
from nibblegrad.golden.cores.step_gradient import step_gradient
from nibblegrad.golden.errors import InputError
from nibblegrad.golden.numbers.formats import BFLOAT16, IntFormat, Scale
from verif.vectors import record_lsq

RECORDED = json.loads(record_lsq.VECTORS.read_text())
BY_NAME = {"int4": IntFormat(4), "uint4": IntFormat(4, signed=False), "int8": IntFormat(8)}


def every_bfloat16():
    numbers = BFLOAT16.decode(np.arange(1 << 16))
    return numbers[np.isfinite(numbers)]


def paper(v, r, fmt):
    """Equations 1 to 3 of the paper for ``z = v / s = v * r``, with Python's fractions.

    Returns the code, the derivatives by the input and by the step, and z.
    """
    q_n, q_p = -fmt.least, fmt.greatest
    z = v * r
    code = round(min(max(z, -q_n), q_p))  # round() of a Fraction takes ties to even
    if z <= -q_n:
        return code, 0, -q_n, z
    if z >= q_p:
        return code, 0, q_p, z
    return code, 1, round(z) - z, z


# One step for every width, and two more for the widths of the cores.
WIDTHS = [IntFormat(bits, signed) for bits in range(2, 9) for signed in (True, False)]
CASES = [(fmt, Scale.from_float(1 / (0.37 * 2.0**i))) for i, fmt in enumerate(WIDTHS)]
CASES += [(fmt, scale) for fmt in BY_NAME.values() for scale in (Scale(1 << 15, -15),)]
CASES += [(BY_NAME["int4"], Scale(65535, 3)), (BY_NAME["int4"], Scale(43691, -100))]


@pytest.mark.parametrize(
    "fmt, reciprocal",
    CASES,
    ids=lambda v: getattr(v, "name", None) or f"{v.significand}e{v.exponent}",
)
def test_every_bfloat16_follows_the_paper(fmt, reciprocal):
    x = every_bfloat16()
    found = quantize(x, reciprocal, fmt, residual_bits=8)
    r = reciprocal.significand * Fraction(2) ** reciprocal.exponent
    derivative = found.derivative.tolist()
    codes, in_range = found.codes.tolist(), found.in_range.tolist()
    saturations = underflows = 0
    for i, v in enumerate(x.tolist()):
        code, by_input, by_step, z = paper(Fraction(v), r, fmt)
        assert (codes[i], in_range[i]) == (code, by_input), f"x = {v!r}, z = {float(z)}"
        # Inside the limits z is cut to 8 fraction bits; that loses less than one unit.
        cut = code * 256 - math.trunc(z * 256) if by_input else by_step * 256
        assert derivative[i] == cut, f"x = {v!r}, z = {float(z)}"
        assert abs(cut - by_step * 256) < 1, f"x = {v!r}, z = {float(z)}"
        rounded = round(z)
        saturations += rounded != code
        underflows += rounded == 0 and z != 0
    assert (found.saturations, found.underflows) == (saturations, underflows)


@pytest.mark.parametrize(
    "z, paper_step, pytorch_step",
    [
        # In units of 2**-5: z = 7.2 is not a binary fraction, so z = 7 + 6/32 stands for it.
        (7.1875, 7.0, -0.1875),
        (7.0, 7.0, 0.0),
        (-8.5, -8.0, 0.5),
        (-8.0, -8.0, 0.0),
        (7.5, 7.0, 7.0),  # rounds to 8: outside for both
        (-8.53125, -8.0, -8.0),
        (6.96875, 0.03125, 0.03125),
        (-7.96875, -0.03125, -0.03125),
        (0.5, -0.5, -0.5),
        (1.5, 0.5, 0.5),
    ],
)
def test_worked_rows(z, paper_step, pytorch_step):
    one = Scale(1 << 15, -15)
    for rule, step in ((InRange.UNROUNDED, paper_step), (InRange.ROUNDED, pytorch_step)):
        found = quantize(np.array([z]), one, BY_NAME["int4"], in_range=rule, residual_bits=5)
        assert found.derivative.tolist() == [step * 32], rule.name
        # The gradient passes where the derivative is a residual, not a limit.
        assert found.in_range.tolist() == [abs(step) < 7], rule.name


def test_worked_row_7_2():
    # In float64 7.2 is a little more than 7.2; cut to 12 bits toward zero it is 7 + 819/4096.
    one = Scale(1 << 15, -15)
    found = quantize(
        np.array([7.2]), one, BY_NAME["int4"], in_range=InRange.ROUNDED, residual_bits=12
    )
    assert (found.codes.tolist(), found.derivative.tolist()) == ([7], [-819])


@pytest.mark.parametrize("fmt", WIDTHS, ids=lambda fmt: fmt.name)
def test_rules_differ_exactly_in_two_strips(fmt):
    x = every_bfloat16()
    r = Scale(1 << 15, -15)  # so that bfloat16 has a number in every strip of every width
    unrounded = quantize(x, r, fmt).in_range
    rounded = quantize(x, r, fmt, in_range=InRange.ROUNDED).in_range
    z = x
    above = (z >= fmt.greatest) & (z < fmt.greatest + 0.5)
    below = (z >= fmt.least - 0.5) & (z <= fmt.least)
    assert ((unrounded != rounded) == (above | below)).all()
    assert above.any() and below.any()


def in_strip(z, fmt):
    return (fmt.greatest <= z < fmt.greatest + 0.5) or (fmt.least - 0.5 <= z <= fmt.least)


@pytest.mark.parametrize(
    "case", RECORDED["cases"], ids=lambda case: f"{case['format']}-{case['reciprocal']}"
)
def test_recorded_pytorch(case):
    fmt, reciprocal = BY_NAME[case["format"]], Scale.from_float(case["reciprocal"])
    assert reciprocal.value == case["reciprocal"], "the vectors are made for exact reciprocals"
    x = np.array(case["x"])
    z = x * case["reciprocal"]
    paper_rule = quantize(x, reciprocal, fmt, residual_bits=12)
    pytorch_rule = quantize(x, reciprocal, fmt, in_range=InRange.ROUNDED, residual_bits=12)
    power_of_two = math.frexp(case["step"])[0] == 0.5
    for i, number in enumerate(case["x"]):
        where = f"x = {number}, x / step = {z[i]}"
        strip = in_strip(z[i], fmt)
        for rule, found in (("paper", paper_rule), ("PyTorch", pytorch_rule)):
            # PyTorch multiplies code and step in float32.
            product = np.float32(found.codes[i]) * np.float32(case["step"])
            assert product == case["forward"][i], f"{where}, rule of {rule}"
            agrees = found.in_range[i] == case["dx"][i]
            assert agrees or (strip and rule == "paper"), f"{where}, rule of {rule}"
            if strip and rule == "paper":
                assert not found.in_range[i] and case["dx"][i] == 1, where
                continue
            # PyTorch computes (code * step - x) / step in float32. For a power of two that is
            # exact. Otherwise code * step is rounded to half an ulp of float32 of a number that is
            # at most |code| + 1 in units of the step, and so are step and reciprocal: 2**-22 of it.
            tolerance = 0 if power_of_two else (abs(int(found.codes[i])) + 1) * 2.0**-22
            difference = found.derivative[i] / 4096 - case["dstep"][i]
            assert abs(difference) <= tolerance, f"{where}, rule of {rule}"


def test_recorded_inputs_cover_both_strips_and_their_edges():
    for case in RECORDED["cases"]:
        fmt = BY_NAME[case["format"]]
        z = {x * case["reciprocal"] for x in case["x"]}
        assert any(fmt.greatest < number < fmt.greatest + 0.5 for number in z)
        assert any(fmt.least - 0.5 < number < fmt.least for number in z)
        if math.frexp(case["step"])[0] == 0.5:
            edges = {fmt.least - 0.5, fmt.least, fmt.greatest, fmt.greatest + 0.5}
            assert edges <= z


def test_pytorch_still_computes_what_was_recorded():
    pytest.importorskip("torch")
    for case in RECORDED["cases"]:
        least, greatest = record_lsq.FORMATS[case["format"]]
        now = record_lsq.compute(case["x"], case["reciprocal"], least, greatest)
        assert {"format": case["format"], **now} == case


def test_numbers_that_are_not_finite_become_code_0_and_are_counted():
    x = np.array([np.nan, np.inf, -np.inf, 100.0, 0.25, 3.0])
    found = quantize(x, Scale(1 << 15, -15), BY_NAME["int4"], check_finite=False)
    assert found.codes.tolist() == [0, 0, 0, 7, 0, 3]
    assert found.in_range.tolist() == [False, False, False, False, True, True]
    assert found.derivative.tolist() == [0, 0, 0, 7 * 256, -64, 0]
    assert (found.saturations, found.underflows, found.nonfinite) == (1, 1, 3)


def test_dequantised_codes_are_multiples_of_the_step():
    codes = np.arange(-8, 8, dtype=np.int8)
    assert dequantize(codes, 0.3).tolist() == [code * 0.3 for code in range(-8, 8)]


def test_initial_step_is_the_papers():
    x = np.array([-1.0, 2.0, -3.0, 4.0])
    assert initial_step(x, IntFormat(4, signed=False)) == 2 * 2.5 / math.sqrt(15)
    assert initial_step(x, IntFormat(2)) == 5.0
    assert initial_step(np.zeros(3), IntFormat(4)) == 1.0


def test_gradient_factor_is_the_papers():
    assert gradient_factor(64, IntFormat(4, signed=False)) == 1 / math.sqrt(64 * 15)
    assert gradient_factor(100, IntFormat(2)) == 0.1


def test_step_gradient_is_the_sum_of_the_papers_products():
    rng = np.random.default_rng(1)
    fmt, reciprocal = BY_NAME["int4"], Scale(1 << 15, -13)
    x = rng.integers(-300, 300, 500) / 128  # z has five fraction bits: nothing is cut
    upstream = rng.integers(-(1 << 24), 1 << 24, 500)
    products = [
        Fraction(dy) * paper(Fraction(v), Fraction(4), fmt)[2]
        for dy, v in zip(upstream.tolist(), x.tolist(), strict=True)
    ]
    found = step_gradient(upstream, quantize(x, reciprocal, fmt, residual_bits=8))
    assert Fraction(found, 256) == sum(products)


def test_bad_upstream():
    quantized = quantize(np.zeros((2, 3)), Scale(1 << 15, -15), IntFormat(4))
    message = r"^Upstream gradient must have shape \(2, 3\), not \(3, 2\)$"
    with pytest.raises(InputError, match=message):
        step_gradient(np.zeros((3, 2)), quantized)


def test_bad_width():
    with pytest.raises(InputError, match=r"^Quantiser width must be 2 to 8 bits, not 9$"):
        quantize(np.zeros(1), Scale(1 << 15, -15), IntFormat(9))


@pytest.mark.parametrize("shape", [(0,), (3, 0)])
def test_bad_shape(shape):
    message = (
        rf"^Tensor to quantise must have at least one element, not shape {re.escape(str(shape))}$"
    )
    with pytest.raises(InputError, match=message):
        quantize(np.zeros(shape), Scale(1 << 15, -15), IntFormat(4))
    with pytest.raises(InputError, match=message):
        initial_step(np.zeros(shape), IntFormat(4))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_bad_element(value):
    x = np.zeros((2, 3), np.float32)
    x[1, 2] = value
    message = rf"^Tensor to quantise must be finite, and element \(1, 2\) is {value}$"
    with pytest.raises(InputError, match=message):
        quantize(x, Scale(1 << 15, -15), IntFormat(4))


@pytest.mark.parametrize("step", [0.0, -1.0, math.inf, math.nan])
def test_bad_step(step):
    message = rf"^Step size must be a positive finite number, not {step}$"
    with pytest.raises(InputError, match=message):
        dequantize(np.zeros(1, np.int8), step)
