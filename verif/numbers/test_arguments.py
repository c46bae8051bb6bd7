"""What callers write for a format, a mode or a scale: as meant, or one sentence."""

import numpy as np
import pytest

from nibblegrad.golden.cores.fp4_quantizer import Fp4Mode, Underflow, quantize_fp4
from nibblegrad.golden.cores.quantizer import InRange, quantize
from nibblegrad.golden.cores.scale_multiplier import scale, scale_to_float, scale_to_integer
from nibblegrad.golden.cores.shift_multiply_array import ShiftOperand, matmul, round_accumulators
from nibblegrad.golden.cores.stochastic_rounder import round_fixed, round_float, round_float_codes
from nibblegrad.golden.errors import InputError
from nibblegrad.golden.numbers.formats import BFLOAT16, FLOAT32, Fp4Format, IntFormat, Scale
from nibblegrad.golden.numbers.rounding import RoundMode

X = np.linspace(-3.0, 4.0, 64)
INTEGERS = np.arange(-32, 32)
NOISE = np.arange(64) * 37 % 256
HALF = Scale.from_float(0.5)

#: A call as it is documented, and as somebody may write it who remembers names only.
PAIRS = [
    (
        lambda: quantize(X, HALF, IntFormat(4), in_range=InRange.ROUNDED),
        lambda: quantize(X, HALF, "int4", in_range="rounded"),
    ),
    (
        lambda: quantize(X, HALF, IntFormat(4, signed=False)),
        lambda: quantize(X, HALF, "uint4", in_range=0),
    ),
    (
        lambda: quantize_fp4(X, Fp4Format(1), -4, Fp4Mode.STOCHASTIC, noise=NOISE),
        lambda: quantize_fp4(X, "fp4_radix2", -4, "stochastic", noise=NOISE),
    ),
    (
        lambda: quantize_fp4(X, Fp4Format(2), -9, Fp4Mode.NEAREST, underflow=Underflow.FORMULA),
        lambda: quantize_fp4(X, "fp4_radix4", -9, "NEAREST", underflow="Formula"),
    ),
    (
        lambda: round_fixed(INTEGERS, 3, IntFormat(2), RoundMode.TRUNCATE),
        lambda: round_fixed(INTEGERS, 3, "int2", "truncate"),
    ),
    (
        lambda: round_float(X, BFLOAT16, RoundMode.STOCHASTIC, NOISE),
        lambda: round_float(X, "bfloat16", "stochastic", NOISE),
    ),
    (
        lambda: round_float_codes(INTEGERS + 99, FLOAT32, BFLOAT16, RoundMode.SELF_STOCHASTIC)[1],
        lambda: round_float_codes(INTEGERS + 99, "float32", "bfloat16", "self_stochastic")[1],
    ),
    (
        lambda: scale_to_float(X.round(), HALF, BFLOAT16, mode=RoundMode.TRUNCATE),
        lambda: scale_to_float(X.round(), HALF, "bfloat16", mode="truncate"),
    ),
    (
        lambda: round_accumulators(INTEGERS, 2, IntFormat(4), RoundMode.NEAREST_EVEN),
        lambda: round_accumulators(INTEGERS, 2, "int4", "nearest_even"),
    ),
]


@pytest.mark.parametrize("exact, casual", PAIRS)
def test_names_stand_for_what_they_name(exact, casual):
    first, second = vars(exact()), vars(casual())
    assert first.keys() == second.keys()
    for name, value in first.items():
        np.testing.assert_array_equal(second[name], value)


def test_products_by_names():
    codes = np.arange(16)[None]
    products = matmul(np.arange(16)[None], codes, "fp4", "fp4_radix4")
    assert products == matmul(np.arange(16)[None], codes, ShiftOperand.FP4, Fp4Format(2))


@pytest.mark.parametrize(
    "call, sentence",
    [
        (
            lambda: quantize(X, 0.5, IntFormat(4)),
            "Reciprocal of the step size must be a Scale, not 0.5; for a step size of 0.5 it is "
            "Scale.from_float(1 / 0.5)",
        ),
        (
            lambda: quantize(X, HALF, "fp4_radix2"),
            "Format of a quantiser must be an IntFormat, or its name, such as 'int4' or 'uint4', "
            "not 'fp4_radix2'",
        ),
        (
            lambda: quantize(X, HALF, 4),
            "Format of a quantiser must be an IntFormat, or its name, such as 'int4' or 'uint4', "
            "not 4",
        ),
        (lambda: quantize(X, HALF, "int1"), "Integer width must be 2 to 32 bits, not 1"),
        (
            lambda: quantize(X, HALF, "int4", in_range="sometimes"),
            "Rule for the gradient must be one of InRange, unrounded, rounded, not 'sometimes'",
        ),
        (
            lambda: quantize_fp4(X, "fp4", 0, Fp4Mode.NEAREST),
            "Format of a quantiser of gradients must be an Fp4Format, or its name, 'fp4_radix2' or "
            "'fp4_radix4', not 'fp4'",
        ),
        (
            lambda: quantize_fp4(X, Fp4Format(1), 0, RoundMode.NEAREST_EVEN),
            "Rounding mode must be one of Fp4Mode, nearest, stochastic, not "
            f"{RoundMode.NEAREST_EVEN!r}",
        ),
        (
            lambda: round_float(X, IntFormat(4)),
            "Format of a rounded number must be a FloatFormat, or its name, 'bfloat16', "
            "'float16', 'float32', 'dlfloat16', not IntFormat(bits=4, signed=True)",
        ),
        (
            lambda: round_float(X, BFLOAT16, "up"),
            "Rounding mode must be one of RoundMode, nearest_even, stochastic, "
            "self_stochastic, truncate, not 'up'",
        ),
        (
            lambda: scale_to_integer(X.round(), 0.5, "int4"),
            "Scale of sums must be a Scale, such as Scale.from_float(0.5), not 0.5",
        ),
        (
            lambda: scale(X.round(), np.float32(2)),
            "Scale of sums must be a Scale, such as Scale.from_float(0.5), not np.float32(2.0)",
        ),
    ],
)
def test_what_is_not_clear_is_refused(call, sentence):
    with pytest.raises(InputError) as error:
        call()
    assert str(error.value) == sentence
