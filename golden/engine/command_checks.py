"""What a training core accepts: the checks of a command, and the chain of partial sums."""

from collections.abc import Iterator
from dataclasses import dataclass

from nibblegrad.golden.engine.command import Command, CoreSize, Destination, ErrorCode, Operation
from nibblegrad.golden.numbers.rounding import RoundMode

__all__ = ["Chain", "Region", "check_command", "following_chain"]


@dataclass(frozen=True)
class Chain:
    """Partial sums to go on with.

    Parameters
    ----------
    operation : int
        The product whose sums they are.
    shape : tuple of int
        Rows and columns of its result.
    terms : int
        Count of terms that are summed up.
    """

    operation: int
    shape: tuple[int, int]
    terms: int


def following_chain(command: Command, size: CoreSize, chain: Chain | None) -> Chain | None:
    """Find the open chain, if any, after a product that was accepted.

    Parameters
    ----------
    command : Command
        The product.
    size : CoreSize
        Parameters of the core.
    chain : Chain or None
        The chain that was open before.
    """
    if command.destination == Destination.PARTIAL_SUMS:
        before = chain.terms if command.accumulate and chain else 0
        terms = before + size.terms(command)
        return Chain(command.operation, size.result_shape(command), terms)
    return None if command.accumulate else chain


def check_command(command: Command, size: CoreSize, chain: Chain | None) -> ErrorCode:
    """Find the first check that a command fails, or NONE.

    Parameters
    ----------
    command : Command
        The command; its values fit their registers.
    size : CoreSize
        Parameters of the core.
    chain : Chain or None
        The open chain of partial sums, if there is one.
    """
    if command.operation not in list(Operation):
        return ErrorCode.OPERATION
    product = command.is_product
    sizes = (command.batch, command.inputs, command.outputs)
    if 0 in (sizes if product else command.load_shape()):
        return ErrorCode.SIZE
    if _fp4_mode_fails(command, size) or (product and _product_mode_fails(command)):
        return ErrorCode.MODE
    if _uses_scale(command) and not command.significand >> 15:
        return ErrorCode.SCALE
    regions = _product_regions(command, size) if product else _load_regions(command, size)
    if any(base + words > depth for base, words, depth in regions):
        return ErrorCode.MEMORY
    return _check_sums(command, size, chain) if product else ErrorCode.NONE


def _fp4_mode_fails(command: Command, size: CoreSize) -> bool:
    if command.operation == Operation.LOAD_GRADIENTS:
        makes_fp4 = not command.codes
    else:
        makes_fp4 = (command.operation, command.destination) == (
            Operation.INPUT_GRADIENT,
            Destination.OPERAND,
        )
    return makes_fp4 and (command.phase if size.fmt.is_stochastic else command.stochastic)


def _product_mode_fails(command: Command) -> bool:
    forward = command.operation == Operation.FORWARD
    of_forward = command.relu or command.bias
    of_gradients = command.masked or command.step_gradient or command.clear_step_gradient
    if command.mode == RoundMode.SELF_STOCHASTIC:
        return True
    if command.destination == Destination.PARTIAL_SUMS and (of_forward or of_gradients):
        return True
    if forward:
        return of_gradients or command.destination == Destination.NOTHING
    weight_gradient = command.operation == Operation.WEIGHT_GRADIENT
    return (
        of_forward
        or command.signed_result
        or (weight_gradient and command.destination == Destination.OPERAND)
    )


def _uses_scale(command: Command) -> bool:
    if command.is_product:
        return command.destination in (Destination.STREAM, Destination.OPERAND)
    quantises = (Operation.LOAD_ACTIVATIONS, Operation.LOAD_WEIGHTS)
    return command.operation in quantises and not command.codes


Region = tuple[int, int, int]  # base, words, depth of the memory


def _activations(command: Command, size: CoreSize) -> Region:
    words = size.blocks(command.batch, command.inputs)
    return command.activation_base, words, size.activation_words


def _weights(command: Command, size: CoreSize) -> Region:
    return command.weight_base, size.blocks(command.outputs, command.inputs), size.weight_words


def _gradients(command: Command, size: CoreSize) -> Region:
    return command.gradient_base, size.blocks(command.batch, command.outputs), size.gradient_words


def _biases(command: Command, size: CoreSize) -> Region:
    return command.bias_base, -(-command.outputs // size.columns), size.bias_words


def _load_regions(command: Command, size: CoreSize) -> Iterator[Region]:
    region = {
        Operation.LOAD_ACTIVATIONS: _activations,
        Operation.LOAD_WEIGHTS: _weights,
        Operation.LOAD_GRADIENTS: _gradients,
        Operation.LOAD_BIASES: _biases,
    }[Operation(command.operation)]
    yield region(command, size)


def _product_regions(command: Command, size: CoreSize) -> Iterator[Region]:
    of_element = command.masked or command.step_gradient
    if command.operation != Operation.FORWARD:
        yield _gradients(command, size)
    if command.operation != Operation.INPUT_GRADIENT or of_element:
        yield _activations(command, size)
    if command.operation != Operation.WEIGHT_GRADIENT or of_element:
        yield _weights(command, size)
    if command.bias:
        yield _biases(command, size)
    if command.destination == Destination.OPERAND:
        forward = command.operation == Operation.FORWARD
        depth = size.activation_words if forward else size.gradient_words
        yield command.result_base, size.blocks(*size.result_shape(command)), depth
    if command.accumulate or command.destination == Destination.PARTIAL_SUMS:
        yield 0, size.strips(command), size.partial_sum_strips


def _check_sums(command: Command, size: CoreSize, chain: Chain | None) -> ErrorCode:
    terms = size.terms(command)
    if terms > size.max_terms:
        return ErrorCode.TERMS
    if command.accumulate:
        shape = size.result_shape(command)
        if chain is None or (chain.operation, chain.shape) != (command.operation, shape):
            return ErrorCode.PARTIAL_SUMS
        if chain.terms + terms > size.chain_terms:
            return ErrorCode.TERMS
    return ErrorCode.NONE
