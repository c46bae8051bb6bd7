"""Every way in which a training core refuses a command."""

import dataclasses

from nibblegrad.golden.engine.command import Command, Destination, ErrorCode, Operation
from nibblegrad.golden.numbers.rounding import RoundMode

__all__ = ["DESTINATIONS", "malformed_commands", "random_malformed"]

#: Where the result of a product can go.
DESTINATIONS = {
    Operation.FORWARD: (Destination.STREAM, Destination.OPERAND, Destination.PARTIAL_SUMS),
    Operation.INPUT_GRADIENT: tuple(Destination),
    Operation.WEIGHT_GRADIENT: (
        Destination.NOTHING,
        Destination.STREAM,
        Destination.PARTIAL_SUMS,
    ),
}


def malformed_commands(size):
    """List a command for every cause of every refusal that a command alone can meet.

    Parameters
    ----------
    size : CoreSize
        Parameters of the core; matrices of 3 by 3 and the like must fit.

    Returns
    -------
    list of (ErrorCode, Command)
        What a core without an open chain reports, and why. Each command breaks one rule only,
        but for what is too large: it may be too large for more than one memory. TERMS is
        missing where the memories cannot hold so many terms.
    """
    sizes = {"batch": 2, "inputs": 3, "outputs": 3}
    load_x, load_w, load_dy, load_biases, forward, input_gradient, weight_gradient = (
        Command(operation, **sizes) for operation in Operation
    )
    products = (forward, input_gradient, weight_gradient)
    gradients = (input_gradient, weight_gradient)
    change = dataclasses.replace
    operand, nothing, sums = (
        {"destination": destination}
        for destination in (Destination.OPERAND, Destination.NOTHING, Destination.PARTIAL_SUMS)
    )
    of_gradients = ("masked", "step_gradient", "clear_step_gradient")
    wrong_radix = {"phase": True} if size.fmt.is_stochastic else {"stochastic": True}
    x, w, dy, biases, result = (
        {f"{name}_base": depth}
        for name, depth in (
            ("activation", size.activation_words),
            ("weight", size.weight_words),
            ("gradient", size.gradient_words),
            ("bias", size.bias_words),
            ("result", size.activation_words),
        )
    )
    too_many = size.max_terms + 1
    used = {load_x: "batch inputs", load_w: "outputs inputs", load_dy: "batch outputs"}
    used |= {load_biases: "outputs"} | dict.fromkeys(products, "batch inputs outputs")
    causes = {
        ErrorCode.OPERATION: [change(load_x, operation=code) for code in (0, *range(8, 16))],
        ErrorCode.SIZE: [change(c, **{name: 0}) for c in used for name in used[c].split()],
        ErrorCode.MODE: [
            change(load_dy, **wrong_radix),
            change(input_gradient, **operand, **wrong_radix),
            *(change(c, **{f: True}) for c in gradients for f in ("relu", "bias", "signed_result")),
            *(change(forward, **{flag: True}) for flag in of_gradients),
            change(weight_gradient, **operand),
            *(change(forward, **sums, **{flag: True}) for flag in ("relu", "bias")),
            *(change(c, **sums, **{flag: True}) for c in gradients for flag in of_gradients),
            *(
                change(c, mode=RoundMode.SELF_STOCHASTIC, destination=destination)
                for c in products
                for destination in DESTINATIONS[c.operation]
            ),
            change(forward, **nothing),
        ],
        ErrorCode.SCALE: [
            change(c, significand=significand)
            for c in (
                *(load_x, load_w, *products),
                *(change(c, **operand) for c in (forward, input_gradient)),
            )
            for significand in (0, (1 << 15) - 1)
        ],
        ErrorCode.MEMORY: [
            *(change(load_x, **x), change(load_w, **w), change(load_dy, **dy)),
            *(change(load_biases, **biases), change(forward, bias=True, **biases)),
            *(change(forward, **x), change(forward, **w)),
            *(change(input_gradient, **dy), change(input_gradient, **w)),
            *(change(weight_gradient, **dy), change(weight_gradient, **x)),
            *(change(input_gradient, **x, **{f: True}) for f in ("masked", "step_gradient")),
            *(change(weight_gradient, **w, **{f: True}) for f in ("masked", "step_gradient")),
            change(forward, **operand, **result),
            change(input_gradient, **operand, result_base=size.gradient_words),
            change(load_x, batch=65535, inputs=65535),
            change(load_biases, outputs=65535),
            change(forward, **sums, batch=size.partial_sum_strips, outputs=size.columns + 1),
        ],
        ErrorCode.TERMS: [
            change(forward, inputs=too_many),
            change(input_gradient, outputs=too_many),
            change(weight_gradient, batch=too_many),
        ],
        ErrorCode.PARTIAL_SUMS: [
            *(change(c, accumulate=True) for c in products),
            *(change(c, accumulate=True, **sums) for c in products),
            *(change(c, accumulate=True, **nothing) for c in gradients),
        ],
    }
    depth = min(size.activation_words, size.weight_words, size.gradient_words)
    if too_many > 65535 or size.blocks(3, too_many) > depth:
        del causes[ErrorCode.TERMS]
    return [(code, command) for code, commands in causes.items() for command in commands]


def random_malformed(rng, size):
    """Choose a command that a core without an open chain refuses.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of chance: first of the error, then of its cause.
    size : CoreSize
        Parameters of the core; see :func:`malformed_commands`.

    Returns
    -------
    Command
        One of :func:`malformed_commands`.
    """
    causes = malformed_commands(size)
    codes = sorted({code for code, _ in causes})
    chosen = codes[int(rng.integers(len(codes)))]
    commands = [command for code, command in causes if code == chosen]
    return commands[int(rng.integers(len(commands)))]
