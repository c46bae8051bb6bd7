"""Commands of the training core: what can be asked of it, and how it refuses."""

import enum
from dataclasses import dataclass, field

from nibblegrad.golden.cores.fp4_quantizer import Underflow
from nibblegrad.golden.cores.quantizer import InRange
from nibblegrad.golden.cores.shift_multiply_array import accumulator_bits
from nibblegrad.golden.engine.geometry import GREATEST_SIDE, INTEGER_BITS, SUM_BITS, Geometry
from nibblegrad.golden.errors import InputError
from nibblegrad.golden.numbers.formats import BFLOAT16, FloatFormat, Fp4Format, Scale
from nibblegrad.golden.numbers.gradient_format import GradientFormat
from nibblegrad.golden.numbers.rounding import RoundMode

__all__ = [
    "INTEGER_BITS",
    "LOADS",
    "PRODUCTS",
    "SUM_BITS",
    "Command",
    "CoreSize",
    "Destination",
    "ErrorCode",
    "Operation",
    "Store",
]


class Operation(enum.IntEnum):
    """What a command does. The value is the code in hardware; 0 is no operation, and an error."""

    LOAD_ACTIVATIONS = 1
    LOAD_WEIGHTS = 2
    LOAD_GRADIENTS = 3
    LOAD_BIASES = 4
    #: ``activations @ weights.T``, (batch, outputs).
    FORWARD = 5
    #: ``gradients @ weights``, (batch, inputs).
    INPUT_GRADIENT = 6
    #: ``gradients.T @ activations``, (outputs, inputs).
    WEIGHT_GRADIENT = 7

    @property
    def is_product(self) -> bool:
        """Whether it multiplies."""
        return self in PRODUCTS

    @property
    def is_load(self) -> bool:
        """Whether it fills a memory from the stream."""
        return self in LOADS


#: The operations that fill a memory, and those that multiply.
LOADS = (
    Operation.LOAD_ACTIVATIONS,
    Operation.LOAD_WEIGHTS,
    Operation.LOAD_GRADIENTS,
    Operation.LOAD_BIASES,
)
PRODUCTS = (Operation.FORWARD, Operation.INPUT_GRADIENT, Operation.WEIGHT_GRADIENT)


class Destination(enum.IntEnum):
    """Where the result of a product goes. The value is the code in hardware."""

    #: Nowhere; the step gradient is all that is wanted.
    NOTHING = 0
    #: Wide floats on the output stream.
    STREAM = 1
    #: FORWARD: integer codes to the activations. INPUT_GRADIENT: FP4 codes to the gradients.
    OPERAND = 2
    #: Exact sums to the memory of partial sums, for the next command to go on with.
    PARTIAL_SUMS = 3


class Store(enum.IntEnum):
    """The memories that loads fill."""

    ACTIVATIONS = 0
    WEIGHTS = 1
    GRADIENTS = 2
    BIASES = 3


class ErrorCode(enum.IntEnum):
    """Why a command was refused or given up. The value is the code in hardware.

    The checks are made in the order of the codes, and the first that fails is reported.
    """

    NONE = 0
    #: A command came while the queue was full.
    QUEUE_FULL = 1
    #: There is no such operation.
    OPERATION = 2
    #: A size that the operation uses is 0.
    SIZE = 3
    #: Flags, rounding mode or destination do not go with the operation or with the core.
    MODE = 4
    #: A scale that the operation uses has not the top bit of its significand set.
    SCALE = 5
    #: A matrix does not fit its memory at its base, or biases theirs, or partial sums theirs.
    MEMORY = 6
    #: The sums have more terms than the accumulators or the partial sums can hold.
    TERMS = 7
    #: There are no partial sums of this operation and shape to go on with.
    PARTIAL_SUMS = 8
    #: TLAST came before the end of a load, which is given up.
    EARLY_LAST = 9
    #: TLAST did not come with the last beat of a load; beats up to TLAST are thrown away.
    MISSING_LAST = 10
    #: A seed was written while the core was busy, or was all zeros.
    SEED = 11


@dataclass(frozen=True)
class CoreSize(Geometry):
    """Parameters of a training core, and what follows from them.

    Parameters
    ----------
    wide_format : FloatFormat
        Format of the streams.
    fmt : GradientFormat
        Radix of FP4 codes.
    rows, columns, lanes : int
        Size of the array, powers of two from 2 to 64.
    activation_words, weight_words, gradient_words : int
        Depth of the operand memories in words of ``block * block`` codes, 1 to 65535.
    bias_words : int
        Depth of the memory of biases in words of ``columns`` biases, 1 to 65535.
    partial_sum_strips : int
        Depth of the memory of partial sums in strips, 1 to 65535.
    max_terms : int
        Most terms that one product command sums up.
    queue_depth : int
        Count of commands that can wait, 2 to 16.
    residual_bits : int
        Fraction bits of the residual, 1 to 12.
    random_bits : int
        Random bits per number, 2 to 24.
    in_range_rule : InRange
        Which number decides whether the gradient passes.
    underflow : Underflow
        Threshold of zero for FP4 to the nearest.
    odd_shift : int
        Radix 4: 1 or -1, the odd grid is the even one times ``2**odd_shift``.
    seed : int
        Seed of both generators after reset: stream 0 for loads, stream 1 for results.
    """

    wide_format: FloatFormat = BFLOAT16
    fmt: GradientFormat = field(default_factory=lambda: Fp4Format(1))
    rows: int = 8
    columns: int = 8
    lanes: int = 16
    activation_words: int = 256
    weight_words: int = 256
    gradient_words: int = 256
    bias_words: int = 64
    partial_sum_strips: int = 2048
    max_terms: int = 4096
    queue_depth: int = 4
    residual_bits: int = 8
    random_bits: int = 8
    in_range_rule: InRange = InRange.UNROUNDED
    underflow: Underflow = Underflow.MIDPOINT
    odd_shift: int = 1
    seed: int = 1

    def __post_init__(self) -> None:
        for what, value in (("Row", self.rows), ("Column", self.columns), ("Lane", self.lanes)):
            if not 2 <= value <= GREATEST_SIDE or value & (value - 1):
                raise InputError(f"{what} count must be a power of two from 2 to 64, not {value}")
        for name, least, greatest in (
            ("activation_words", 1, 65535),
            ("weight_words", 1, 65535),
            ("gradient_words", 1, 65535),
            ("bias_words", 1, 65535),
            ("partial_sum_strips", 1, 65535),
            ("max_terms", self.lanes, 1 << 16),
            ("queue_depth", 2, 16),
            ("residual_bits", 1, 12),
            ("random_bits", 2, 24),
            ("seed", 0, 2**64 - 1),
        ):
            value = getattr(self, name)
            if not least <= value <= greatest:
                raise InputError(f"{name} must be {least} to {greatest}, not {value}")
        if self.odd_shift not in (1, -1):
            raise InputError(f"odd_shift must be 1 or -1, not {self.odd_shift}")
        bits = accumulator_bits(self.max_terms, INTEGER_BITS, self.fmt)
        if bits > SUM_BITS:
            raise InputError(
                f"Sums of {self.max_terms} terms need {bits} bits, and {SUM_BITS} are there; "
                f"make max_terms smaller"
            )

    @property
    def chain_terms(self) -> int:
        """Most terms of a sum over all commands of a chain of partial sums."""
        return (1 << (SUM_BITS - 1)) // (16 * self.fmt.greatest)

    def result_shape(self, command: "Command") -> tuple[int, int]:
        """Find rows and columns of the result of a product."""
        return {
            Operation.FORWARD: (command.batch, command.outputs),
            Operation.INPUT_GRADIENT: (command.batch, command.inputs),
            Operation.WEIGHT_GRADIENT: (command.outputs, command.inputs),
        }[Operation(command.operation)]

    def tile_shape(self, operation: int) -> tuple[int, int]:
        """Find rows and columns of the result that the array makes at once.

        FORWARD gives the rows of the array to rows of the result. The gradients give it transposed:
        there the rows of the array are columns of the result.
        """
        if operation == Operation.FORWARD:
            return self.rows, self.columns
        return self.columns, self.rows

    def terms(self, command: "Command") -> int:
        """Count the terms of a sum of a product."""
        return {
            Operation.FORWARD: command.inputs,
            Operation.INPUT_GRADIENT: command.outputs,
            Operation.WEIGHT_GRADIENT: command.batch,
        }[Operation(command.operation)]

    def passes(self, command: "Command") -> int:
        """Count the cycles in which a product keeps the lanes busy."""
        rows, columns = self.result_shape(command)
        tile_rows, tile_columns = self.tile_shape(command.operation)
        tiles = -(-rows // tile_rows) * -(-columns // tile_columns)
        digits = 2 if command.operation == Operation.FORWARD else 1
        return tiles * -(-self.terms(command) // self.lanes) * digits

    def beats(self, command: "Command") -> int:
        """Count the beats of a load."""
        rows, columns = command.load_shape()
        biases = command.operation == Operation.LOAD_BIASES
        return rows * -(-columns // (self.biases_per_beat if biases else self.load_lanes))

    def strips(self, command: "Command") -> int:
        """Count the strips of the result of a product."""
        rows, columns = self.result_shape(command)
        return rows * -(-columns // self.tile_shape(command.operation)[1])


@dataclass(frozen=True)
class Command:
    """One command: the contents of the registers that it reads.

    A layer is described by three sizes and the places of its three operands, the same for all its
    commands: activations are (batch, inputs), weights (outputs, inputs), gradients (batch,
    outputs). Values are kept as they are written, so that a wrong one can be tried.

    Parameters
    ----------
    operation : int
        An :class:`Operation`.
    batch, inputs, outputs : int
        Sizes, 16 bits each; 0 is an error where the operation uses it.
    activation_base, weight_base, gradient_base : int
        First word of each operand in its memory.
    bias_base : int
        First word of the biases, in words of ``columns`` biases.
    result_base : int
        First word of the result in its operand memory (OPERAND).
    significand, exponent : int
        Scale of a product, or reciprocal step of a quantising load; see
        :class:`nibblegrad.golden.numbers.formats.Scale`.
    fp4_exponent : int
        Exponent of the unit of FP4 codes that are made, -128 to 127.
    codes : bool
        Loads: the beats bring ready four-bit codes, in the low bits of each lane.
    signed_activations : bool
        Activations are INT4 rather than UINT4, in loads and products.
    signed_result : bool
        FORWARD to OPERAND: make INT4 rather than UINT4.
    destination : int
        A :class:`Destination`.
    relu, bias : bool
        FORWARD: negative sums become zero; biases are added.
    masked : bool
        Gradients: zero where the quantiser of what this is the gradient of was out of range.
    accumulate : bool
        Products: go on with the partial sums.
    step_gradient, clear_step_gradient : bool
        Gradients: add to the step gradient of the activations (INPUT_GRADIENT) or of the weights
        (WEIGHT_GRADIENT); set it to zero before.
    mode : int
        Products to STREAM: a :class:`nibblegrad.golden.numbers.rounding.RoundMode`, NEAREST_EVEN,
        STOCHASTIC or TRUNCATE.
    stochastic, phase : bool
        Where FP4 codes are made: LUQ's rounding (radix 2), the odd grid (radix 4).
    wait_for_loads, wait_for_products : bool
        Start only when all loads, or products, that came before have ended. Without them a command
        starts when the unit that it needs is free.
    """

    operation: int
    batch: int = 1
    inputs: int = 1
    outputs: int = 1
    activation_base: int = 0
    weight_base: int = 0
    gradient_base: int = 0
    bias_base: int = 0
    result_base: int = 0
    significand: int = 1 << 15
    exponent: int = -15
    fp4_exponent: int = 0
    codes: bool = False
    signed_activations: bool = False
    signed_result: bool = False
    destination: int = Destination.STREAM
    relu: bool = False
    bias: bool = False
    masked: bool = False
    accumulate: bool = False
    step_gradient: bool = False
    clear_step_gradient: bool = False
    mode: int = RoundMode.NEAREST_EVEN
    stochastic: bool = False
    phase: bool = False
    wait_for_loads: bool = True
    wait_for_products: bool = True

    @property
    def is_product(self) -> bool:
        """Whether it multiplies; of no operation neither this nor :attr:`is_load`."""
        return self.operation in PRODUCTS

    @property
    def is_load(self) -> bool:
        """Whether it fills a memory from the stream."""
        return self.operation in LOADS

    @property
    def scale(self) -> Scale:
        """Scale or reciprocal step."""
        return Scale(self.significand, self.exponent)

    def load_shape(self) -> tuple[int, int]:
        """Find rows and columns of the matrix that a load brings; biases are one row."""
        return {
            Operation.LOAD_ACTIVATIONS: (self.batch, self.inputs),
            Operation.LOAD_WEIGHTS: (self.outputs, self.inputs),
            Operation.LOAD_GRADIENTS: (self.batch, self.outputs),
            Operation.LOAD_BIASES: (1, self.outputs),
        }[Operation(self.operation)]
