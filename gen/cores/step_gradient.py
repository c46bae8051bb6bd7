"""The gradient of a learned step."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from nibblegrad.gen.core import Core, Sample
from nibblegrad.gen.stimulus import BEATS, Chance, Run, rows_of, tensor
from nibblegrad.golden.cores.quantizer import quantize
from nibblegrad.golden.cores.step_gradient import step_gradient
from nibblegrad.golden.numbers.formats import IntFormat, Scale
from nibblegrad.hdl.cores.step_gradient import StepGradient

__all__ = ["CORE", "runs"]


def runs(p: dict[str, Any], chance: Chance) -> Iterator[Run]:
    """Choose tensors, and compute what becomes of them."""
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
            {"s_axis": tensor(rows_of(numbers, width), tuser=rows_of(side, value_bits + 1))},
            {"total": step_gradient(numbers, operand), "complete": 1},
        )


CORE = Core(
    "step_gradient",
    StepGradient,
    does="gradient of a learned step, summed exactly",
    runs=runs,
    samples={
        "step_gradient": Sample(
            "Upstream gradient times derivative by the step, summed exactly: how an LSQ step is "
            "learned."
        )
    },
    per_tensor=True,
    order=70,
)
