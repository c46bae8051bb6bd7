"""The training core: every product, quantisation and rounding of a 4-bit training step.

The contract is ``docs/training_core.md``; this is its exact model at the level of commands, and a
``Device``. What takes time in hardware happens here at once, so the queue is never full and the
counters of cycles and of ended commands are missing.
"""

import numpy as np
import numpy.typing as npt

from nibblegrad.golden.cores.fp4_quantizer import Fp4Mode
from nibblegrad.golden.cores.gradient_quantizer import quantize_gradient
from nibblegrad.golden.cores.quantizer import quantize
from nibblegrad.golden.cores.scale_multiplier import scale_to_float, scale_to_fp4, scale_to_integer
from nibblegrad.golden.cores.shift_multiply_array import ShiftOperand, matmul
from nibblegrad.golden.engine.command import (
    Command,
    CoreSize,
    Destination,
    ErrorCode,
    Operation,
    Store,
)
from nibblegrad.golden.engine.command_checks import Chain, check_command, following_chain
from nibblegrad.golden.engine.device import CoreError, pack_result, unpack_biases, unpack_result
from nibblegrad.golden.engine.operand_memory import CodeMemory, OperandMemory
from nibblegrad.golden.engine.timing import CoreTiming
from nibblegrad.golden.errors import InputError
from nibblegrad.golden.numbers.formats import FloatFormat, IntFormat
from nibblegrad.golden.numbers.random_bits import RandomBits, seed_state
from nibblegrad.golden.numbers.rounding import RoundMode

__all__ = ["TrainingCore"]

_COUNTERS = (
    "PASSES",
    "MACS",
    "LOAD_BEATS",
    "STRIPS",
    "LOAD_SATURATIONS",
    "LOAD_UNDERFLOWS",
    "LOAD_NONFINITES",
    "RESULT_SATURATIONS",
    "RESULT_UNDERFLOWS",
)
_GREATEST_COUNT = (1 << 32) - 1


class TrainingCore:
    """Golden model of the training core.

    Parameters
    ----------
    size : CoreSize
        Parameters of the core.
    timing : CoreTiming, optional
        What it says of its pipelines; here they take no time.

    Attributes
    ----------
    activations, weights : OperandMemory
        Memories of the integer operands.
    gradients : CodeMemory
        Memory of FP4 codes.
    biases : array of int64, shape (bias_words, columns)
        Memory of biases, 32-bit numbers.
    partial_sums : array of int64, shape (partial_sum_strips, strip)
        Memory of partial sums, 32-bit numbers.
    """

    def __init__(self, size: CoreSize, timing: CoreTiming | None = None) -> None:
        self.size = size
        self.timing = timing or CoreTiming()
        self.activations = OperandMemory(size.activation_words, size.block, size.residual_bits)
        self.weights = OperandMemory(size.weight_words, size.block, size.residual_bits)
        self.gradients = CodeMemory(size.gradient_words, size.block)
        self.biases = np.zeros((size.bias_words, size.columns), np.int64)
        self.partial_sums = np.zeros((size.partial_sum_strips, size.strip), np.int64)
        self._issued = 0
        self.reset()

    def reset(self) -> None:
        """Give up everything but the memories; see CONTROL."""
        self._load_random = RandomBits(seed_state(self.size.seed, 0))
        self._result_random = RandomBits(seed_state(self.size.seed, 1))
        self._step_gradients = {Store.ACTIVATIONS: 0, Store.WEIGHTS: 0}
        self._counters = dict.fromkeys(_COUNTERS, 0)
        self._results: dict[int, npt.NDArray[np.uint32]] = {}
        self._chain: Chain | None = None
        self._error = ErrorCode.NONE

    def issue(self, command: Command, beats: npt.NDArray[np.uint32] | None = None) -> int:
        """Carry out a command, or set the error, and return the number of the command.

        Parameters
        ----------
        command : Command
            The command; its values fit their registers.
        beats : array of uint32, shape (beats, load_lanes)
            For loads. TLAST comes with the last of them, so too few are EARLY_LAST, and too many
            are MISSING_LAST. A refused load takes none.

        Raises
        ------
        InputError
            If a load has no beats, or beats of another width, or a product has any.
        """
        number = self._issued
        self._issued += 1
        if self._error is not ErrorCode.NONE:
            return number
        error = check_command(command, self.size, self._chain)
        if error is not ErrorCode.NONE:
            self._error = error
        elif command.is_product:
            if beats is not None:
                raise InputError(f"A product takes no beats, and {len(beats)} came")
            self._multiply(number, command)
        else:
            lanes = self.size.load_lanes
            if beats is None or not len(beats) or beats.shape[1:] != (lanes,):
                raise InputError(
                    f"A load needs beats of shape (beats, {lanes}), "
                    f"not {None if beats is None else beats.shape}"
                )
            self._load(command, beats)
        return number

    def result(self, number: int) -> npt.NDArray[np.uint32]:
        """Take the strips, shape (strips, strip), of a product to STREAM, once.

        Raises
        ------
        CoreError
            If they are not there, and there is an error.
        InputError
            If the command has no result, or it was taken.
        """
        if number in self._results:
            return self._results.pop(number)
        self.finish()
        raise InputError(f"Command {number} has no result on the stream, or it was taken before")

    def finish(self) -> None:
        """Raise CoreError if there is an error; every command is carried out already."""
        if self._error is not ErrorCode.NONE:
            raise CoreError(self._error)

    def step_gradient(self, memory: Store, *, finish: bool = True) -> int:
        """Read the step gradient of the activations or of the weights."""
        self.finish()
        return self._step_gradients[memory]

    def counters(self) -> dict[str, int]:
        """Read the counters, but for CYCLES and COMMANDS_DONE."""
        self.finish()
        return dict(self._counters)

    def clear_counters(self) -> None:
        """Set the counters to zero."""
        self.finish()
        self._counters = dict.fromkeys(_COUNTERS, 0)

    def seed(self, loads: npt.NDArray[np.uint32], results: npt.NDArray[np.uint32]) -> None:
        """Set the states of the two generators, shape (4,) each, oldest word first."""
        self.finish()
        if self.size.fmt.is_stochastic:  # radix 4 has no generator for loads
            self._load_random = self._seeded(loads)
        self._result_random = self._seeded(results)

    def _seeded(self, state):
        if not np.any(state):
            self._error = ErrorCode.SEED
            state = np.array([0, 0, 0, 1], np.uint32)
        return RandomBits(state)

    @property
    def error(self) -> ErrorCode:
        """Code of the first error since it was cleared."""
        return self._error

    def clear_error(self) -> None:
        """Clear the error, so that commands are taken again."""
        self._error = ErrorCode.NONE

    def _load(self, command, beats):
        size = self.size
        operation = Operation(command.operation)
        rows, columns = command.load_shape()
        biases = operation is Operation.LOAD_BIASES
        per_beat = size.biases_per_beat if biases else size.load_lanes
        count = rows * -(-columns // per_beat)
        accepted = min(len(beats), count)
        if len(beats) != count:
            self._error = ErrorCode.EARLY_LAST if accepted < count else ErrorCode.MISSING_LAST
            self._chain = None
            # What did not come may be anything in the memory; zeros count as no events.
            beats = np.pad(beats[:accepted], ((0, count - accepted), (0, 0)))
        self._counters["LOAD_BEATS"] += accepted
        if biases:
            first = command.bias_base * size.columns
            self.biases.reshape(-1)[first : first + count * per_beat] = unpack_biases(beats, size)
            return
        matrix = beats.reshape(rows, -1)[:, :columns]
        if command.codes:
            self._load_codes(command, matrix)
        elif operation is Operation.LOAD_GRADIENTS:
            noise = self._load_noise(accepted, beats.shape).reshape(rows, -1)[:, :columns]
            self._load_gradients(command, matrix, noise)
        else:
            self._load_integers(command, matrix)

    def _load_codes(self, command, codes):
        if command.operation == Operation.LOAD_ACTIVATIONS:
            self.activations.write_codes(command.activation_base, codes)
        elif command.operation == Operation.LOAD_WEIGHTS:
            self.weights.write_codes(command.weight_base, codes)
        else:
            self.gradients.write_codes(command.gradient_base, codes)

    def _load_gradients(self, command, codes, noise):
        quantized = quantize_gradient(
            _decode(codes, self.size.wide_format),
            noise=noise,
            check_finite=False,
            **self._fp4_options(command),
        )
        self.gradients.write_codes(command.gradient_base, quantized.codes)
        self._count_events("LOAD", quantized)

    def _load_integers(self, command, codes):
        weights = command.operation == Operation.LOAD_WEIGHTS
        quantized = quantize(
            _decode(codes, self.size.wide_format),
            command.scale,
            IntFormat(4, weights or bool(command.signed_activations)),
            in_range=self.size.in_range_rule,
            residual_bits=self.size.residual_bits,
            check_finite=False,
        )
        if weights:
            self.weights.write(command.weight_base, quantized)
        else:
            self.activations.write(command.activation_base, quantized)
        self._count_events("LOAD", quantized)

    def _load_noise(self, accepted, shape):
        """Take the random words of so many beats; the others get zeros."""
        noise = np.zeros(shape, np.uint32)
        if self.size.fmt.is_stochastic:
            lanes = self.size.load_lanes
            noise[:accepted] = self._load_random.elements(
                accepted * lanes, self.size.random_bits, lanes
            ).reshape(-1, lanes)
        return noise

    def _multiply(self, number, command):
        size = self.size
        operation = Operation(command.operation)
        strips = size.strips(command)
        sums = self._array_sums(command)
        if command.accumulate:
            sums += unpack_result(self.partial_sums[:strips], command, size)
        assert sums.min() >= -(2**31) and sums.max() < 2**31, "a sum needs more than 32 bits"
        if operation is not Operation.FORWARD:
            sums = self._use_element(command, sums)
        if command.destination == Destination.PARTIAL_SUMS:
            self.partial_sums[:strips] = pack_result(sums.astype(np.int64), command, size)
        elif command.destination == Destination.STREAM:
            self._results[number] = self._to_stream(command, sums)
        elif command.destination == Destination.OPERAND:
            if operation is Operation.FORWARD:
                self._to_activations(command, sums)
            else:
                self._to_gradients(command, sums)
        self._chain = following_chain(command, size, self._chain)
        self._counters["PASSES"] += size.passes(command)
        self._counters["MACS"] += command.batch * command.inputs * command.outputs
        self._counters["STRIPS"] += strips

    def _array_sums(self, command):
        """Compute what the array computes, float64 that holds integers."""
        fmt = self.size.fmt
        x, w, dy = (
            (command.activation_base, (command.batch, command.inputs)),
            (command.weight_base, (command.outputs, command.inputs)),
            (command.gradient_base, (command.batch, command.outputs)),
        )
        if command.operation == Operation.INPUT_GRADIENT:
            weights = self.weights.read_integers(*w, signed=True)
            gradients = self.gradients.read_codes(*dy)
            return matmul(weights.T, gradients, ShiftOperand.FP4, fmt).T
        activations = self.activations.read_integers(*x, signed=command.signed_activations)
        if command.operation == Operation.FORWARD:
            weights = self.weights.read_integers(*w, signed=True)
            return matmul(activations, weights, ShiftOperand.INT4, fmt)
        gradients = self.gradients.read_codes(*dy)
        return matmul(activations.T, gradients.T, ShiftOperand.FP4, fmt).T

    def _use_element(self, command, sums):
        """Add to the step gradient of what the sums are the gradient of, and mask them with it."""
        if command.operation == Operation.INPUT_GRADIENT:
            of, memory, base = Store.ACTIVATIONS, self.activations, command.activation_base
        else:
            of, memory, base = Store.WEIGHTS, self.weights, command.weight_base
        if command.clear_step_gradient:
            self._step_gradients[of] = 0
        if command.step_gradient:
            derivative = memory.read_derivative(base, sums.shape)
            # In integers, for those of NumPy wrap at 64 bits, as in hardware.
            total = int(np.vdot(sums.astype(np.int64), derivative)) + self._step_gradients[of]
            self._step_gradients[of] = (total + (1 << 63)) % (1 << 64) - (1 << 63)
        if command.masked:
            sums = np.where(memory.read_in_range(base, sums.shape), sums, 0.0)
        return sums

    def _to_stream(self, command, sums):
        size = self.size
        rounded = scale_to_float(
            sums,
            command.scale,
            size.wide_format,
            bias=self._bias(command),
            relu=command.relu,
            mode=RoundMode(command.mode),
            noise=self._result_noise(command),
            random_bits=size.random_bits,
        )
        self._count_events("RESULT", rounded)
        return pack_result(_encode(rounded.values, size.wide_format), command, size)

    def _to_activations(self, command, sums):
        quantized = scale_to_integer(
            sums,
            command.scale,
            IntFormat(4, bool(command.signed_result)),
            bias=self._bias(command),
            relu=command.relu,
            in_range=self.size.in_range_rule,
            residual_bits=self.size.residual_bits,
        )
        self.activations.write(command.result_base, quantized)
        self._count_events("RESULT", quantized)

    def _to_gradients(self, command, sums):
        quantized = scale_to_fp4(
            sums, command.scale, noise=self._result_noise(command), **self._fp4_options(command)
        )
        self.gradients.write_codes(command.result_base, quantized.codes)
        self._count_events("RESULT", quantized)

    def _bias(self, command):
        if not command.bias:
            return 0
        return self.biases[command.bias_base :].reshape(-1)[: command.outputs]

    def _fp4_options(self, command):
        return {
            "fmt": self.size.fmt,
            "exponent": command.fp4_exponent,
            "mode": Fp4Mode(int(command.stochastic)),
            "phase": int(command.phase),
            "odd_shift": self.size.odd_shift,
            "underflow": self.size.underflow,
            "random_bits": self.size.random_bits,
        }

    def _result_noise(self, command):
        """Take the random words of a result, whether they are used or not."""
        strips, strip = self.size.strips(command), self.size.strip
        noise = self._result_random.elements(strips * strip, self.size.random_bits, strip)
        return unpack_result(noise.reshape(strips, strip), command, self.size)

    def _count_events(self, where, result):
        counts = {
            f"{where}_SATURATIONS": result.saturations,
            f"{where}_UNDERFLOWS": result.underflows,
        }
        if where == "LOAD":
            counts["LOAD_NONFINITES"] = result.nonfinite
        for name, count in counts.items():
            self._counters[name] = min(self._counters[name] + count, _GREATEST_COUNT)


def _decode(codes: npt.NDArray[np.uint32], fmt: FloatFormat) -> npt.NDArray[np.floating]:
    """Find the numbers of codes; as float32, which is faster, where they are the top of one."""
    if _is_part_of_float32(fmt):
        return (codes.astype(np.uint32) << (23 - fmt.fraction_bits)).view(np.float32)
    return fmt.decode(codes)


def _encode(numbers: npt.NDArray[np.float32], fmt: FloatFormat) -> npt.NDArray[np.uint32]:
    """Find the codes of numbers but NaN that the format holds."""
    if _is_part_of_float32(fmt):
        return (numbers.view(np.uint32) >> (23 - fmt.fraction_bits)).astype(np.uint32, copy=False)
    return fmt.encode(numbers).astype(np.uint32)


def _is_part_of_float32(fmt: FloatFormat) -> bool:
    return fmt.exponent_bits == 8 and fmt.subnormals and not fmt.ibm
