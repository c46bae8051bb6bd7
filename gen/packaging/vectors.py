"""What testbenches send to a core with streams, and what the golden model says of it."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from golden.formats import FloatFormat, Fp4Format, IntFormat, Scale
from golden.fp4_quantizer import Fp4Mode, quantize_fp4
from golden.quantizer import quantize
from golden.random_bits import RandomBits, seed_state
from golden.rounding import RoundMode
from golden.scale_multiplier import scale_to_float, scale_to_fp4, scale_to_integer
from golden.shift_multiply_array import ShiftOperand, matmul, round_accumulators
from golden.step_gradient import step_gradient
from golden.stochastic_rounder import round_fixed, round_float_codes

from ..config import CoreConfig
from .stimulus import Chance, pack

__all__ = ["Beat", "Run", "runs"]

#: One beat, by the last part of the names of the ports: tdata, tuser, tlast.
Beat = dict[str, int]

BEATS = 16


@dataclass
class Run:
    """One tensor after a reset, or several.

    Parameters
    ----------
    title : str
        What is tried.
    settings : dict of str to int
        Inputs that belong to no stream.
    beats : dict of str to list of Beat
        What goes in and must come out, by stream; in this order, ``s_axis`` after what must come
        before it.
    results : dict of str to int
        What outputs that belong to no stream must say afterwards.
    """

    title: str
    settings: dict[str, int]
    beats: dict[str, list[Beat]]
    results: dict[str, int] = field(default_factory=dict)


def runs(module: CoreConfig) -> list[Run]:
    """Choose runs for any core but the training core, and compute their outcome.

    Parameters
    ----------
    module : CoreConfig
        Parameters of the core.
    """
    return list(_MAKERS[module.core](module.arguments(), Chance()))


def _tensor(data, last=None, **others) -> list[Beat]:
    """Make beats of packed data; ``tlast`` in the last one, if it is not given."""
    last = [0] * (len(data) - 1) + [1] if last is None else last
    columns = {"tdata": data, "tlast": last, **others}
    return [dict(zip(columns, beat, strict=True)) for beat in zip(*columns.values(), strict=True)]


def _rows(matrix, width) -> list[int]:
    return [pack(row, width) for row in matrix]


def _counts(**counts) -> dict[str, int]:
    seen = {f"{event}_seen": int(count > 0) for event, count in counts.items()}
    return {f"{event}_count": int(count) for event, count in counts.items()} | seen


def _residuals(quantized, residual_bits) -> list[int]:
    sideband = quantized.residual.astype(int) << 1 | quantized.in_range
    return _rows(sideband, residual_bits + 2)


def _noise(parameters, shape, stream=None):
    """Take the random bits of a tensor, from the state after reset, or from a loaded one."""
    seed = seed_state(parameters["seed"]) if stream is None else seed_state(7, stream)
    bits = parameters["random_bits"]
    return RandomBits(seed).elements(int(np.prod(shape)), bits, shape[-1]).reshape(shape)


def _seed(stream) -> dict[str, list[Beat]]:
    """Make the beats that load another random state."""
    return {"s_axis_seed": [{"tdata": int(word)} for word in seed_state(7, stream)]}


def _quantizer(p: dict[str, Any], chance: Chance) -> Iterator[Run]:
    reciprocal = Scale(43691, -14)
    for fmt in (IntFormat(p["bits"]), IntFormat(p["bits"], signed=False)):
        codes = chance.floats(p["wide_format"], p["bits"] - 2, BEATS, p["lanes"])
        golden = quantize(
            p["wide_format"].decode(codes), reciprocal, fmt, in_range=p["in_range_rule"],
            residual_bits=p["residual_bits"], check_finite=False,
        )  # fmt: skip
        yield Run(
            fmt.name,
            {
                "reciprocal_significand": int(reciprocal.significand),
                "reciprocal_exponent": int(reciprocal.exponent),
                "is_signed": fmt.signed,
            },
            {
                "s_axis": _tensor(_rows(codes, p["wide_format"].width)),
                "m_axis": _tensor(
                    _rows(golden.codes, p["bits"]), tuser=_residuals(golden, p["residual_bits"])
                ),
            },
            _counts(
                saturation=golden.saturations,
                underflow=golden.underflows,
                nonfinite=golden.nonfinite,
            ),
        )


def _float_rounder(p: dict[str, Any], chance: Chance) -> Iterator[Run]:
    source, target = p["source"], p["target"]
    for mode in RoundMode:
        codes = chance.floats(source, 0, BEATS, p["lanes"])
        noise = _noise(p, codes.shape, mode)
        rounded, golden = round_float_codes(codes, source, target, mode, noise, p["random_bits"])
        yield Run(
            mode.name,
            {"mode": mode},
            {
                **_seed(mode),
                "s_axis": _tensor(_rows(codes, source.width)),
                "m_axis": _tensor(_rows(rounded, target.width)),
            },
            _counts(
                saturation=golden.saturations,
                underflow=golden.underflows,
                nonfinite=golden.nonfinite,
            )
            | {"seed_error": 0},
        )


def _fixed_rounder(p: dict[str, Any], chance: Chance) -> Iterator[Run]:
    for mode in RoundMode:
        x = chance.signed(p["width"], BEATS, p["lanes"])
        # Half of them small, so that not all are clipped.
        x[::2] >>= max(p["width"] - p["fraction_bits"] - p["target"].bits, 0)
        noise = _noise(p, x.shape)
        golden = round_fixed(x, p["fraction_bits"], p["target"], mode, noise, p["random_bits"])
        yield Run(
            mode.name,
            {"mode": mode},
            {
                "s_axis": _tensor(_rows(x, p["width"])),
                "m_axis": _tensor(_rows(golden.values, p["target"].bits)),
            },
            _counts(saturation=golden.saturations, underflow=golden.underflows) | {"seed_error": 0},
        )


def _fp4_settings(fmt: Fp4Format) -> list[tuple[str, dict[str, int]]]:
    if fmt.phases == 2:
        return [("even phase", {"phase": 0}), ("odd phase", {"phase": 1})]
    return [("stochastic", {"stochastic": 1}), ("nearest", {"stochastic": 0})]


def _fp4_quantizer(p: dict[str, Any], chance: Chance) -> Iterator[Run]:
    exponent = -4
    for title, setting in _fp4_settings(p["fmt"]):
        codes = chance.floats(
            p["wide_format"], exponent + 5 * p["fmt"].log2_radix, BEATS, p["lanes"]
        )
        golden = quantize_fp4(
            p["wide_format"].decode(codes), p["fmt"], exponent,
            Fp4Mode(setting.get("stochastic", 0)), phase=setting.get("phase", 0),
            odd_shift=p["odd_shift"], underflow=p["underflow"], noise=_noise(p, codes.shape),
            random_bits=p["random_bits"], check_finite=False,
        )  # fmt: skip
        yield Run(
            title,
            {"scale_exponent": exponent, **setting},
            {
                "s_axis": _tensor(_rows(codes, p["wide_format"].width)),
                "m_axis": _tensor(_rows(golden.codes, 4)),
            },
            _counts(
                saturation=golden.saturations,
                underflow=golden.underflows,
                nonfinite=golden.nonfinite,
            ),
        )


def _array(p: dict[str, Any], chance: Chance) -> Iterator[Run]:
    rows, columns, lanes = p["rows"], p["columns"], p["lanes"]
    target = IntFormat(p["output_bits"])
    for operand, mode in itertools.product(ShiftOperand, RoundMode):
        if mode is RoundMode.SELF_STOCHASTIC:
            continue
        shift = mode + operand
        saturations, data, last, sums = 0, [], [], []
        random = RandomBits(seed_state(p["seed"]))
        for beats in (1, 3, 2):
            beats = min(beats, p["max_terms"] // lanes)
            integers = chance.signed(p["integer_bits"], rows, beats, lanes)
            codes = chance.integers(4, columns, beats, lanes)
            for beat in range(beats):
                low = pack(integers[:, beat].ravel(), p["integer_bits"])
                high = pack(codes[:, beat].ravel(), 4)
                data.append(low | high << (rows * lanes * p["integer_bits"]))
                last.append(int(beat == beats - 1))
            if operand is ShiftOperand.INT4:
                codes = (codes ^ 8) - 8
            exact = matmul(
                integers.reshape(rows, -1), codes.reshape(columns, -1), operand, p["fmt"]
            )
            noise = random.elements(exact.size, p["random_bits"], columns).reshape(exact.shape)
            golden = round_accumulators(exact, shift, target, mode, noise, p["random_bits"])
            saturations += golden.saturations
            sums += _rows(golden.values, target.bits)
        yield Run(
            f"{operand.name}, {mode.name}",
            {"operand": operand, "mode": mode, "shift": shift},
            {
                "s_axis": _tensor(data, last),
                "m_axis": _tensor(sums, ([0] * (rows - 1) + [1]) * (len(sums) // rows)),
            },
            _counts(saturation=saturations, length_error=0) | {"seed_error": 0},
        )


def _scale_multiplier(p: dict[str, Any], chance: Chance) -> Iterator[Run]:
    target, lanes, width = p["target"], p["lanes"], p["accumulator_bits"]
    modes = [mode for mode in RoundMode if mode is not RoundMode.SELF_STOCHASTIC]
    cases: list[tuple[str, dict[str, int]]] = [("codes", {})]
    if isinstance(target, FloatFormat):
        cases = [(mode.name, {"mode": mode}) for mode in modes]
    elif isinstance(target, Fp4Format):
        cases = [(title, {"scale_exponent": -3, **s}) for title, s in _fp4_settings(target)]
    for number, (title, setting) in enumerate(cases):
        groups = min(2, p["channel_groups"])
        relu = number & 1
        sums = chance.signed(width, BEATS, lanes) >> 4
        bias = chance.signed(width - 4, groups, lanes)
        significand = chance.integers(15, groups, lanes) + (1 << 15)
        exponent = chance.integers(2, groups, lanes) - width - 11
        # The channels go round with the beats.
        channel = np.arange(BEATS) % groups
        factor = Scale(significand[channel].ravel(), exponent[channel].ravel())
        options = {"bias": bias[channel].ravel(), "relu": bool(relu)}
        flat, user = sums.ravel(), {}
        golden: Any
        if isinstance(target, FloatFormat):
            noise = _noise(p, sums.shape).ravel()
            golden = scale_to_float(
                flat, factor, target, mode=RoundMode(setting["mode"]), noise=noise,
                random_bits=p["random_bits"], **options,
            )  # fmt: skip
            codes, bits = target.encode(golden.values), target.width
        elif isinstance(target, Fp4Format):
            golden = scale_to_fp4(
                flat, factor, target, setting["scale_exponent"],
                Fp4Mode(setting.get("stochastic", 0)), phase=setting.get("phase", 0),
                odd_shift=p["odd_shift"], underflow=p["underflow"],
                noise=_noise(p, sums.shape).ravel(), random_bits=p["random_bits"], **options,
            )  # fmt: skip
            codes, bits = golden.codes, 4
        else:
            golden = scale_to_integer(
                flat, factor, target, in_range=p["in_range_rule"],
                residual_bits=p["residual_bits"], **options,
            )  # fmt: skip
            codes, bits = golden.codes, target.bits
            sideband = golden.residual.astype(int) << 1 | golden.in_range
            user = {"tuser": _rows(sideband.reshape(sums.shape), p["residual_bits"] + 2)}
        words = [
            pack([b], 32) | pack([s], 16) << 32 | pack([e], 8) << 48
            for b, s, e in zip(
                *(a.ravel().tolist() for a in (bias, significand, exponent)), strict=True
            )
        ]
        yield Run(
            f"{title}{', relu' if relu else ''}",
            {"relu": relu, **setting},
            {
                "s_axis_scale": _tensor(_rows(np.reshape(words, (groups, lanes)), 56)),
                "s_axis": _tensor(_rows(sums, width)),
                "m_axis": _tensor(_rows(np.reshape(codes, sums.shape), bits), **user),
            },
            _counts(saturation=golden.saturations, underflow=golden.underflows),
        )


def _step_gradient(p: dict[str, Any], chance: Chance) -> Iterator[Run]:
    width, bits, residual_bits = p["accumulator_bits"], p["bits"], p["residual_bits"]
    value_bits = max(bits, residual_bits) + 1
    for fmt in (IntFormat(bits), IntFormat(bits, signed=False)):
        numbers = chance.signed(width, BEATS, p["lanes"]) >> width // 4
        x = chance.signed(bits + 4, BEATS, p["lanes"]) / 8
        operand = quantize(x, Scale(1 << 15, -15), fmt, residual_bits=residual_bits)
        value = np.where(operand.in_range, operand.residual, operand.codes).astype(int)
        side = operand.in_range.astype(int) << value_bits | value & ((1 << value_bits) - 1)
        yield Run(
            fmt.name,
            {},
            {"s_axis": _tensor(_rows(numbers, width), tuser=_rows(side, value_bits + 1))},
            {"total": step_gradient(numbers, operand), "complete": 1},
        )


_MAKERS: dict[str, Callable[[dict[str, Any], Chance], Iterator[Run]]] = {
    "quantizer": _quantizer,
    "stochastic_rounder": _float_rounder,
    "fixed_rounder": _fixed_rounder,
    "fp4_quantizer": _fp4_quantizer,
    "shift_multiply_array": _array,
    "scale_multiplier": _scale_multiplier,
    "step_gradient": _step_gradient,
}
