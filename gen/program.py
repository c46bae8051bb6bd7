"""What the testbench of a training core does: one small layer, forward and backward."""

import dataclasses
from dataclasses import dataclass

import numpy as np

from nibblegrad.gen.stimulus import Beat, Chance, pack
from nibblegrad.golden.engine.command import (
    Command,
    CoreSize,
    Destination,
    ErrorCode,
    Operation,
    Store,
)
from nibblegrad.golden.engine.device import pack_biases, pack_matrix
from nibblegrad.golden.engine.registers import (
    BY_NAME,
    IDENTIFIER,
    VERSION,
    command_writes,
    used_settings,
)
from nibblegrad.golden.engine.training_core import TrainingCore
from nibblegrad.golden.numbers.rounding import RoundMode

__all__ = ["Access", "Step", "program"]


@dataclass(frozen=True)
class Access:
    """A register written, or read and compared."""

    register: str
    word: int
    writes: bool = True


#: A comment, an access, beats of a stream that are sent or expected from now on, single ports that
#: are compared, or (None) a wait until the core is idle.
Step = str | Access | tuple[str, list[Beat]] | dict[str, int] | None


def program(
    size: CoreSize, commands: list[tuple[Command, np.ndarray | None]] | None = None
) -> list[Step]:
    """List the steps, with what the golden model says must come of them.

    Parameters
    ----------
    size : CoreSize
        Parameters of the core.
    commands : list of (Command, array of uint32 or None), optional
        Commands that the core accepts, and for loads their beats; by default those of a layer.
    """
    steps: list[Step] = ["What the core is."]
    steps += [Access(name, word, writes=False) for name, word in _constants(size).items()]
    steps += ["Interrupt when the core becomes idle.", Access("INTERRUPT_ENABLE", 1)]
    golden = TrainingCore(size)
    commands = _commands(size) if commands is None else commands
    written: dict[str, int] = {}
    for command, beats in commands:
        operation = Operation(command.operation)
        steps.append(operation.name)
        if beats is not None:
            steps.append(("s_axis", _beats(beats, size.wide_format.width)))
        number = golden.issue(command, beats)
        if operation.is_product and command.destination == Destination.STREAM:
            steps.append(("m_axis", _beats(golden.result(number), size.wide_format.width)))
        needed = used_settings(operation) | {"COMMAND"}
        for register, word in command_writes(command).items():
            if register in needed and (register == "COMMAND" or written.get(register) != word):
                steps.append(Access(register, word))
                written[register] = word
        # One after the other, so that the queue never fills up.
        steps.append(None)
    assert golden.error is ErrorCode.NONE, golden.error
    steps += ["The outcome.", {"irq": 1}, Access("INTERRUPT", 1, writes=False)]
    steps += [Access("INTERRUPT", 1), {"irq": 0}]
    results = {"ERROR": 0, "COMMANDS_DONE": len(commands)}
    for name, value in golden.counters().items():
        results |= _halves(name, value) if name != "CYCLES" else {}
    for memory in (Store.ACTIVATIONS, Store.WEIGHTS):
        name = f"{memory.name.rstrip('S')}_STEP_GRADIENT"
        results |= _halves(name, golden.step_gradient(memory))
    steps += [Access(name, word, writes=False) for name, word in results.items()]
    # A write of CONTROL waits until the command is checked.
    steps += ["A command that is refused.", Access("COMMAND", 0), Access("CONTROL", 0)]
    steps += [Access("ERROR", ErrorCode.OPERATION, writes=False)]
    return steps


def _halves(name: str, value: int) -> dict[str, int]:
    """Cut a number as long as its registers are: one, or two halves."""
    if name in BY_NAME:
        return {name: value & 0xFFFF_FFFF}
    return {f"{name}_LOW": value & 0xFFFF_FFFF, f"{name}_HIGH": value >> 32 & 0xFFFF_FFFF}


def _beats(lanes: np.ndarray, width: int) -> list[Beat]:
    last = len(lanes) - 1
    return [{"tdata": pack(row, width), "tlast": int(n == last)} for n, row in enumerate(lanes)]


def _constants(size: CoreSize) -> dict[str, int]:
    logarithms = {
        f"log2_{name}": getattr(size, name).bit_length() - 1
        for name in ("rows", "columns", "lanes")
    }
    shape = BY_NAME["SIZE"].pack(
        **logarithms,
        log2_radix=size.fmt.identifier,
        wide_bits=size.wide_format.width,
        residual_bits=size.residual_bits,
        queue_depth=size.queue_depth - 1,
    )
    depths = "activation_words weight_words gradient_words bias_words partial_sum_strips max_terms"
    return {
        "ID": IDENTIFIER,
        "VERSION": VERSION,
        "SIZE": shape,
        **{name.upper(): getattr(size, name) for name in depths.split()},
    }


def _shape(size: CoreSize) -> tuple[int, int, int]:
    """Choose batch, inputs and outputs: no multiples of rows, columns or lanes.

    An operand has two words of its memory each way, the last ones filled in part, or one word of
    biases; where a memory has no room for that, none has more than one word.
    """
    block = size.block
    batch, inputs, outputs = block + 1, block + 3, block - 1
    if (
        inputs <= size.max_terms
        and size.blocks(batch, inputs) <= size.activation_words
        and size.blocks(outputs, inputs) <= size.weight_words
        and size.blocks(batch, outputs) <= size.gradient_words
        and -(-outputs // size.columns) <= size.bias_words
    ):
        return batch, inputs, outputs
    batch, inputs, outputs = (
        min(wanted, block, size.max_terms)
        for wanted in (size.rows + 1, size.lanes - 1, size.columns - 1)
    )
    return batch, inputs, outputs


def _commands(size: CoreSize) -> list[tuple[Command, np.ndarray | None]]:
    """Choose the commands of a layer, and the beats of its loads."""
    chance = Chance()
    batch, inputs, outputs = _shape(size)
    stochastic = size.fmt.is_stochastic
    layer = Command(
        Operation.FORWARD, batch=batch, inputs=inputs, outputs=outputs,
        significand=40000, exponent=-14, fp4_exponent=-6,
    )  # fmt: skip
    gradient = {"masked": True, "step_gradient": True, "clear_step_gradient": True}
    mode = RoundMode.STOCHASTIC
    fmt, lanes = size.wide_format, size.load_lanes

    def ask(operation, **settings):
        return dataclasses.replace(layer, operation=operation, **settings)

    biases = chance.signed(10, outputs)
    return [
        (
            ask(Operation.LOAD_WEIGHTS),
            pack_matrix(chance.floats(fmt, 2, outputs, inputs), lanes),
        ),
        (ask(Operation.LOAD_BIASES), pack_biases(biases, size)),
        (
            ask(Operation.LOAD_ACTIVATIONS),
            pack_matrix(chance.floats(fmt, 3, batch, inputs), lanes),
        ),
        (ask(Operation.FORWARD, bias=True, relu=True, destination=Destination.STREAM), None),
        (
            ask(Operation.LOAD_GRADIENTS, stochastic=stochastic, phase=not stochastic),
            pack_matrix(chance.floats(fmt, -3, batch, outputs), lanes),
        ),
        (ask(Operation.INPUT_GRADIENT, mode=mode, **gradient), None),
        (ask(Operation.WEIGHT_GRADIENT, mode=mode, **gradient), None),
    ]
