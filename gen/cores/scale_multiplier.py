"""The multiplier of sums by scales."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from nibblegrad.gen.choices import (
    FP4,
    IN_RANGE,
    IN_RANGE_NOTE,
    INTEGERS,
    UNDERFLOW,
    UNDERFLOW_NOTE,
    WIDE_FORMATS,
)
from nibblegrad.gen.core import Core, Sample
from nibblegrad.gen.stimulus import (
    BEATS,
    Chance,
    Run,
    event_counts,
    fp4_settings,
    noise_of,
    pack,
    rows_of,
    tensor,
)
from nibblegrad.golden.cores.fp4_quantizer import Fp4Mode
from nibblegrad.golden.cores.scale_multiplier import scale_to_float, scale_to_fp4, scale_to_integer
from nibblegrad.golden.numbers.formats import FloatFormat, Fp4Format, Scale
from nibblegrad.golden.numbers.rounding import RoundMode
from nibblegrad.hdl.cores.scale_multiplier import ScaleMultiplier

__all__ = ["CORE", "runs"]


def runs(p: dict[str, Any], chance: Chance) -> Iterator[Run]:
    """Choose tensors, and compute what becomes of them."""
    target, lanes, width = p["target"], p["lanes"], p["accumulator_bits"]
    modes = [mode for mode in RoundMode if mode is not RoundMode.SELF_STOCHASTIC]
    cases: list[tuple[str, dict[str, int]]] = [("codes", {})]
    if isinstance(target, FloatFormat):
        cases = [(mode.name, {"mode": mode}) for mode in modes]
    elif isinstance(target, Fp4Format):
        cases = [(title, {"scale_exponent": -3, **s}) for title, s in fp4_settings(target)]
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
            noise = noise_of(p, sums.shape).ravel()
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
                noise=noise_of(p, sums.shape).ravel(), random_bits=p["random_bits"], **options,
            )  # fmt: skip
            codes, bits = golden.codes, 4
        else:
            golden = scale_to_integer(
                flat, factor, target, in_range=p["in_range_rule"],
                residual_bits=p["residual_bits"], **options,
            )  # fmt: skip
            codes, bits = golden.codes, target.bits
            sideband = golden.residual.astype(int) << 1 | golden.in_range
            user = {"tuser": rows_of(sideband.reshape(sums.shape), p["residual_bits"] + 2)}
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
                "s_axis_scale": tensor(rows_of(np.reshape(words, (groups, lanes)), 56)),
                "s_axis": tensor(rows_of(sums, width)),
                "m_axis": tensor(rows_of(np.reshape(codes, sums.shape), bits), **user),
            },
            event_counts(saturation=golden.saturations, underflow=golden.underflows),
        )


CORE = Core(
    "scale_multiplier",
    ScaleMultiplier,
    does="(sum + bias) x scale, ReLU, to wide float or the next layer's codes",
    runs=runs,
    choices={
        "target": {**WIDE_FORMATS, **INTEGERS, **FP4},
        "in_range_rule": IN_RANGE,
        "underflow": UNDERFLOW,
    },
    defaults={"target": "bfloat16"},
    notes={
        "target": "a wide format, int2 to int8, uint2 to uint8, fp4_radix2 or fp4_radix4",
        "channel_groups": "most channels divided by lanes, 1 to 4096",
        "in_range_rule": f"for integer codes: {IN_RANGE_NOTE}",
        "underflow": f"for FP4 codes: {UNDERFLOW_NOTE}",
    },
    samples={
        "scale_multiplier": Sample(
            "(accumulator + bias) * scale [+ ReLU], rounded once to a wide float."
        ),
        "requantizer": Sample(
            "The same, straight to the next layer's UINT4 activations.", {"target": "uint4"}
        ),
    },
    order=60,
)
