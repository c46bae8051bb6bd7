# amaranth: UnusedElaboratable=no
"""The training core."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from nibblegrad.gen.choices import (
    AUTO,
    FP4,
    IN_RANGE,
    IN_RANGE_NOTE,
    STRUCTURE_NOTE,
    STRUCTURES,
    UNDERFLOW,
    UNDERFLOW_NOTE,
    WIDE_FORMATS,
)
from nibblegrad.gen.core import Core, CoreConfig, Sample
from nibblegrad.gen.program import program
from nibblegrad.golden.engine.command import CoreSize
from nibblegrad.hdl.engine.training_core import TrainingCore

__all__ = ["CORE", "TrainingCoreConfig"]


@dataclass(frozen=True)
class TrainingCoreConfig(CoreConfig):
    """Parameters of the training core: those of ``CoreSize``, and how it is built.

    They stand here and not in the registration because tools that size and place training cores
    work with them. The default is a core that fits small devices, other than that of ``CoreSize``.
    """

    wide_format: str = "bfloat16"
    fmt: str = "fp4_radix2"
    rows: int = 4
    columns: int = 4
    lanes: int = 8
    activation_words: int = 384
    weight_words: int = 512
    gradient_words: int = 256
    bias_words: int = 64
    partial_sum_strips: int = 1024
    max_terms: int = 4096
    queue_depth: int = 4
    residual_bits: int = 8
    random_bits: int = 8
    in_range_rule: str = "unrounded"
    underflow: str = "midpoint"
    odd_shift: int = 1
    seed: int = 1
    structure: str = AUTO

    def size(self) -> CoreSize:
        """Make the parameters of golden model and drivers."""
        arguments = self.arguments()
        del arguments["structure"]  # what the core computes does not depend on it
        return CoreSize(**arguments)

    def build(self) -> Any:
        return TrainingCore(self.size(), STRUCTURES[self.structure])

    def with_structure(self, structure: str) -> "TrainingCoreConfig":
        """Put a structure where the configuration leaves the choice open."""
        return dataclasses.replace(self, structure=structure) if self.structure == AUTO else self


CORE = Core(
    "training_core",
    TrainingCore,
    does="all of it around operand memories: loads, the three products, results, by commands",
    program=lambda module: program(module.size()),
    config=TrainingCoreConfig,
    described_by=(TrainingCore, CoreSize),
    choices={
        "wide_format": WIDE_FORMATS,
        "fmt": FP4,
        "in_range_rule": IN_RANGE,
        "underflow": UNDERFLOW,
        "structure": STRUCTURES,
    },
    notes={
        "activation_words": (
            "depth of the operand memories, 1 to 65535. A word is a square of codes, whose side is "
            "the largest of rows, columns and lanes: 384 words of 8 x 8 codes hold 64 x 384 "
            "activations"
        ),
        "weight_words": "as activation_words, 1 to 65535",
        "gradient_words": "as activation_words, 1 to 65535",
        "partial_sum_strips": (
            "for sums over several commands, 1 to 65535; a strip is max(rows, columns) sums"
        ),
        "max_terms": "of a sum in one command; decides the width of the accumulators",
        "seed": "stream 0 of it is for loads, stream 1 for results",
        "in_range_rule": IN_RANGE_NOTE,
        "underflow": UNDERFLOW_NOTE,
        "structure": STRUCTURE_NOTE,
    },
    samples={
        "training_core": Sample(
            "Everything above around operand memories: the whole of a 4-bit training step but loss "
            "and optimiser, behind AXI4-Lite registers and two AXI4-Streams."
        )
    },
    order=80,
)
