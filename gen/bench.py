"""``make bench``: the speed of the golden model, against gfloat and against float32.

The model is meant to be waited for: exhaustive tests and training runs go through it. Two bounds
keep it usable. Each side of a ratio does the same work on the same numbers, in one thread, and
the sides take turns, so that a busy machine slows both.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gfloat
import numpy as np
import numpy.typing as npt

from golden import data
from golden.errors import InputError
from golden.formats import BFLOAT16, Fp4Format, IntFormat, Scale
from golden.fp4_quantizer import Fp4Mode, quantize_fp4, scale_exponent
from golden.quantizer import quantize
from golden.random_bits import RandomBits, seed_state
from golden.stochastic_rounder import round_float
from golden.trainer import RECIPES, Trainer

__all__ = ["add_arguments", "run"]

#: A quantiser is at least so many times as fast as gfloat.
LEAST_SPEED = 3.0
#: A 4-bit training step takes at most so many times as long as the float32 one.
GREATEST_SLOWDOWN = 5.0

_SHAPE = (256, 256)
_STEPS_PER_REPEAT = 10

# The formats of gfloat that hold the same numbers as ours.
_GFLOAT_INT4 = gfloat.FormatInfo(
    "int4",
    k=4,
    precision=4,
    bias=-2,
    is_signed=True,
    domain=gfloat.Domain.Finite,
    has_nz=False,
    num_high_nans=0,
    has_subnormals=True,
    is_twos_complement=True,
)
_GFLOAT_FP4 = gfloat.FormatInfo(
    "fp4",
    k=4,
    precision=1,
    bias=1,
    is_signed=True,
    domain=gfloat.Domain.Finite,
    has_nz=True,
    num_high_nans=0,
    has_subnormals=True,
    is_twos_complement=False,
)


@dataclass(frozen=True)
class Comparison:
    """Two functions that do the same work.

    Attributes
    ----------
    name : str
        What is measured.
    ours, other : function
        Without arguments.
    """

    name: str
    ours: Callable[[], Any]
    other: Callable[[], npt.NDArray]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command to a parser."""
    parser.add_argument(
        "--repeats",
        type=int,
        default=40,
        metavar="N",
        help="measurements of each side; their medians are compared (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    """Measure, print the table, and return 1 if a bound is missed.

    Raises
    ------
    InputError
        If the count of repeats is not positive.
    """
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    if args.repeats < 1:
        raise InputError(f"Count of repeats must be at least 1, not {args.repeats}")
    with threadpool_limits(1):
        missed = [
            *_report_quantizers(args.repeats),
            *_report_steps(args.repeats),
        ]
    if missed:
        print(f"Bounds missed: {', '.join(missed)}.")
        return 1
    print("Every bound is met.")
    return 0


def _report_quantizers(repeats) -> list[str]:
    print(f"Quantisers, {_SHAPE[0]} x {_SHAPE[1]} numbers: at least {LEAST_SPEED} times gfloat")
    missed = []
    for comparison in _quantizers():
        ours, other = _medians([comparison.ours, comparison.other], repeats)
        met = other / ours >= LEAST_SPEED
        _print_row(comparison.name, ours, other, "gfloat", other / ours, met)
        if not met:
            missed.append(comparison.name)
    return missed


def _report_steps(repeats) -> list[str]:
    print(
        f"Training step, 64-128-128-10, batch 64: at most {GREATEST_SLOWDOWN} times "
        f"the float32 step"
    )
    names = ["float32", "luq", "two_phase"]
    reference, *times = _medians([_training_steps(name) for name in names], repeats)
    missed = []
    for name, ours in zip(names[1:], times, strict=True):
        met = ours / reference <= GREATEST_SLOWDOWN
        steps = _STEPS_PER_REPEAT
        _print_row(name, ours / steps, reference / steps, "float32", ours / reference, met)
        if not met:
            missed.append(name)
    return missed


def _print_row(name, ours, other, other_name, ratio, met):
    print(
        f"  {name:<18} {1e6 * ours:7.0f} us   {other_name:<7} {1e6 * other:7.0f} us   "
        f"ratio {ratio:5.2f}   {'met' if met else 'MISSED'}"
    )


def _medians(functions: Sequence[Callable[[], object]], repeats) -> list[float]:
    """Median seconds of each function; they take turns."""
    times: list[list[float]] = [[] for _ in functions]
    for function in functions:
        function()
    for _ in range(repeats):
        for function, seconds in zip(functions, times, strict=True):
            start = time.perf_counter()
            function()
            seconds.append(time.perf_counter() - start)
    return [float(np.median(seconds)) for seconds in times]


def _quantizers() -> list[Comparison]:
    """Our quantisers, checked to agree with gfloat where it has the same rounding."""
    words = RandomBits(seed_state(1)).words(2 * _SHAPE[0] * _SHAPE[1])
    first, second = (words / 2.0**32).reshape(2, *_SHAPE)
    # Two exponential distributions back to back: many small numbers, like a gradient.
    x = round_float(np.log1p(-first) - np.log1p(-second), BFLOAT16).values
    noise = (words[: x.size] >> 8 & 255).reshape(_SHAPE)
    greatest = float(np.abs(x).max())
    step = Scale.from_float(4.0)  # reciprocal
    int4, radix2, radix4 = IntFormat(4), Fp4Format(1), Fp4Format(2)
    exponents = {fmt: scale_exponent(greatest, fmt) for fmt in (radix2, radix4)}

    def fp4(fmt, mode, **options):
        return quantize_fp4(x, fmt, exponents[fmt], mode, **options)

    def gfloat_fp4(fmt, mode, *random):
        unit = 2.0 ** -exponents[fmt]
        return gfloat.round_ndarray(_GFLOAT_FP4, x * unit, mode, True, *random)

    def gfloat_int4():
        mode = gfloat.RoundMode.TiesToEven
        return gfloat.round_ndarray(_GFLOAT_INT4, x * float(step.value), mode, True)

    away, fastest = gfloat.RoundMode.TiesToAway, gfloat.RoundMode.StochasticFastest
    comparisons = [
        Comparison("LSQ INT4", lambda: quantize(x, step, int4), gfloat_int4),
        Comparison(
            "LUQ",
            lambda: fp4(radix2, Fp4Mode.STOCHASTIC, noise=noise),
            lambda: gfloat_fp4(radix2, fastest, noise, 8),
        ),
        Comparison(
            "nearest radix 2",
            lambda: fp4(radix2, Fp4Mode.NEAREST),
            lambda: gfloat_fp4(radix2, away),
        ),
        # gfloat has no radix 4; it rounds to radix 2, which is as much work.
        Comparison(
            "nearest radix 4",
            lambda: fp4(radix4, Fp4Mode.NEAREST, phase=1),
            lambda: gfloat_fp4(radix2, away),
        ),
    ]
    _check_same(comparisons[0].ours().codes, comparisons[0].other())
    for comparison in comparisons[1:3]:
        _check_same(radix2.decode(comparison.ours().codes), comparison.other())
    return comparisons


def _check_same(ours: npt.NDArray, other: npt.NDArray) -> None:
    assert np.array_equal(ours, other), "gfloat rounds to other numbers"


def _training_steps(name: str) -> Callable[[], None]:
    trainer = Trainer(RECIPES[name], data.digits())
    batches = list(trainer.batches())

    def steps():
        for rows in batches[:_STEPS_PER_REPEAT]:
            trainer.step(rows)

    return steps
