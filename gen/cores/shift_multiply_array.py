"""The array without a multiplier."""

import itertools
from collections.abc import Iterator
from typing import Any

from nibblegrad.gen.choices import AUTO, FP4, STRUCTURE_NOTE, STRUCTURES
from nibblegrad.gen.core import Core, Sample
from nibblegrad.gen.stimulus import Chance, Run, event_counts, pack, rows_of, tensor
from nibblegrad.golden.cores.shift_multiply_array import ShiftOperand, matmul, round_accumulators
from nibblegrad.golden.numbers.formats import IntFormat
from nibblegrad.golden.numbers.random_bits import RandomBits, seed_state
from nibblegrad.golden.numbers.rounding import RoundMode
from nibblegrad.hdl.cores.shift_multiply_array import ShiftMultiplyArray

__all__ = ["CORE", "runs"]


def runs(p: dict[str, Any], chance: Chance) -> Iterator[Run]:
    """Choose tensors, and compute what becomes of them."""
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
            sums += rows_of(golden.values, target.bits)
        yield Run(
            f"{operand.name}, {mode.name}",
            {"operand": operand, "mode": mode, "shift": shift},
            {
                "s_axis": tensor(data, last),
                "m_axis": tensor(sums, ([0] * (rows - 1) + [1]) * (len(sums) // rows)),
            },
            event_counts(saturation=saturations, length_error=0) | {"seed_error": 0},
        )


CORE = Core(
    "shift_multiply_array",
    ShiftMultiplyArray,
    does="4 x 4 dot products of 8 lanes, FP4 or INT4, exact sums, rounder, memory bank",
    runs=runs,
    choices={"fmt": FP4, "structure": STRUCTURES},
    defaults={"fmt": "fp4_radix2", "structure": AUTO},
    notes={"structure": STRUCTURE_NOTE},
    samples={
        "shift_multiply_array": Sample(
            "Dot products without a multiplier: integers times FP4 codes, or times INT4 by signed "
            "digits."
        )
    },
    per_tensor=True,
    order=50,
)
