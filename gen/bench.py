"""``make bench``: the speed of the golden model, against gfloat and against float32.

The model is meant to be waited for: exhaustive tests and training runs go through it. Two bounds
keep it usable. Each side of a ratio does the same work on the same numbers, in one thread, and
the sides take turns. Their fastest runs are compared, those that a busy machine disturbed least.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nibblegrad.gen.ranges import check_range
from nibblegrad.golden.cores.fp4_quantizer import Fp4Mode, quantize_fp4, scale_exponent
from nibblegrad.golden.cores.quantizer import quantize
from nibblegrad.golden.cores.stochastic_rounder import round_float
from nibblegrad.golden.errors import InputError
from nibblegrad.golden.numbers.formats import BFLOAT16, Fp4Format, IntFormat, Scale
from nibblegrad.golden.numbers.random_bits import RandomBits, seed_state
from nibblegrad.golden.training import data
from nibblegrad.golden.training.trainer import RECIPES, Settings, Trainer

__all__ = ["GREATEST_SLOWDOWN", "LEAST_SPEED", "Comparison", "add_arguments", "run"]

#: A quantiser is at least so many times as fast as gfloat.
LEAST_SPEED = 3.0
#: A 4-bit training step takes at most so many times as long as the float32 one.
GREATEST_SLOWDOWN = 5.0

_SHAPE = (256, 256)
# The training step whose bound is the one above, and a larger one for information.
_SETTINGS = Settings(hidden=(128, 128), batch=64)
_LARGE_SETTINGS = Settings(hidden=(512, 512), batch=512)
_STEPS_PER_REPEAT = 2
_MOST_REPEATS = 100_000
_LARGE_REPEATS = 20


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
        default=200,
        metavar="N",
        help="measurements of each side; the fastest are compared (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    """Measure, print the table, and return 1 if a bound is missed.

    Raises
    ------
    InputError
        If the count of repeats is out of range, or gfloat is not installed.
    """
    from threadpoolctl import threadpool_limits

    check_range("--repeats", args.repeats, 1, _MOST_REPEATS)
    try:
        import gfloat
    except ImportError:
        raise InputError("The bench compares with gfloat; install it: pip install gfloat") from None
    with threadpool_limits(1):
        missed = [
            *_report_quantizers(gfloat, args.repeats),
            *_report_steps(_SETTINGS, args.repeats, GREATEST_SLOWDOWN),
        ]
        _report_steps(_LARGE_SETTINGS, min(args.repeats, _LARGE_REPEATS), None)
    if missed:
        print(f"Bounds missed: {', '.join(missed)}.")
        return 1
    print("Every bound is met.")
    return 0


def _report_quantizers(gfloat, repeats) -> list[str]:
    print(f"Quantisers, {_SHAPE[0]} x {_SHAPE[1]} numbers: at least {LEAST_SPEED} times gfloat")
    missed = []
    for comparison in _quantizers(gfloat):
        ours, other = _fastest([comparison.ours, comparison.other], repeats)
        met = other / ours >= LEAST_SPEED
        _print_row(comparison.name, ours, other, "gfloat", other / ours, met)
        if not met:
            missed.append(comparison.name)
    return missed


def _report_steps(settings, repeats, bound) -> list[str]:
    network = "-".join(map(str, (64, *settings.hidden, 10)))
    wanted = f"at most {bound} times the float32 step" if bound else "for information"
    print(f"Training step, {network}, batch {settings.batch}: {wanted}")
    names = ["float32", "luq", "two_phase"]
    reference, *times = (
        seconds / _STEPS_PER_REPEAT
        for seconds in _fastest([_training_steps(name, settings) for name in names], repeats)
    )
    missed = []
    for name, ours in zip(names[1:], times, strict=True):
        ratio = ours / reference
        met = ratio <= bound if bound else None
        _print_row(name, ours, reference, "float32", ratio, met)
        if met is False:
            missed.append(name)
    return missed


def _print_row(name, ours, other, other_name, ratio, met):
    verdict = "" if met is None else "met" if met else "MISSED"
    print(
        f"  {name:<18} {1e6 * ours:7.0f} us   {other_name:<7} {1e6 * other:7.0f} us   "
        f"ratio {ratio:5.2f}   {verdict}".rstrip()
    )


def _fastest(functions: Sequence[Callable[[], object]], repeats) -> list[float]:
    """Seconds of the fastest run of each function; they take turns."""
    times = [np.inf for _ in functions]
    for function in functions:
        function()
    for _ in range(repeats):
        for i, function in enumerate(functions):
            start = time.perf_counter()
            function()
            times[i] = min(times[i], time.perf_counter() - start)
    return times


def _gfloat_formats(gfloat):
    """The formats of gfloat that hold the same numbers as ours: INT4 and FP4 of radix 2."""
    int4 = gfloat.FormatInfo(
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
    fp4 = gfloat.FormatInfo(
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
    return int4, fp4


def _quantizers(gfloat) -> list[Comparison]:
    """Our quantisers, checked to agree with gfloat where it has the same rounding."""
    words = RandomBits(seed_state(1)).words(2 * _SHAPE[0] * _SHAPE[1])
    first, second = (words / 2.0**32).reshape(2, *_SHAPE)
    # Two exponential distributions back to back: many small numbers, like a gradient.
    x = round_float(np.log1p(-first) - np.log1p(-second), BFLOAT16).values.astype(np.float32)
    noise = (words[: x.size] >> 8 & 255).reshape(_SHAPE)
    greatest = float(np.abs(x).max())
    step = Scale.from_float(4.0)  # reciprocal
    gfloat_int4_format, gfloat_fp4_format = _gfloat_formats(gfloat)
    int4, radix2, radix4 = IntFormat(4), Fp4Format(1), Fp4Format(2)
    exponents = {fmt: scale_exponent(greatest, fmt) for fmt in (radix2, radix4)}

    def fp4(fmt, mode, **options):
        return quantize_fp4(x, fmt, exponents[fmt], mode, **options)

    def gfloat_fp4(fmt, mode, *random):
        unit = 2.0 ** -exponents[fmt]
        return gfloat.round_ndarray(gfloat_fp4_format, x * unit, mode, True, *random)

    def gfloat_int4():
        mode = gfloat.RoundMode.TiesToEven
        return gfloat.round_ndarray(gfloat_int4_format, x * float(step.value), mode, True)

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


def _training_steps(name: str, settings: Settings) -> Callable[[], None]:
    trainer = Trainer(RECIPES[name], data.digits(), settings)
    # Whole batches only.
    batches = [rows for rows in trainer.batches() if len(rows) == settings.batch]

    def steps():
        for rows in batches[:_STEPS_PER_REPEAT]:
            trainer.step(rows)

    return steps
