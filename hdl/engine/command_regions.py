"""The parts of memories that a command uses, and whether they end within them."""

from amaranth import *
from amaranth.lib import data

from nibblegrad.golden.engine.command import Destination, Operation
from nibblegrad.hdl.base.select import choose, equals

__all__ = ["REGIONS", "command_regions", "find_beyond"]

#: Most regions of a command, rounded up to a power of two, to choose from.
REGIONS = 8


def command_regions(facts):
    """List the parts of memories that a command uses.

    Parameters
    ----------
    facts : CommandFacts
        The command.

    Returns
    -------
    list of tuple of five Timed
        Whether it is used; its first word; the depth of the memory; rows and columns in words.
    """
    size = facts.size

    def ceiling(name, value, unit):
        def words(value):
            return (value + (unit - 1)) >> (unit.bit_length() - 1)

        return facts.stage(f"words_{name}", words, value)

    def constant(value):
        return facts.wire(lambda: Const(value))

    def base(name):
        return facts.field(f"{name}_base")

    batch, inputs, outputs = (
        ceiling(name, facts.field(name), size.block) for name in ("batch", "inputs", "outputs")
    )
    across = facts.wire(
        Mux,
        facts.is_forward,
        ceiling("forward", facts.columns, size.columns),
        ceiling("gradient", facts.columns, size.rows),
    )
    wide = ceiling("biases", facts.field("outputs"), size.columns)
    depths = (size.activation_words, size.gradient_words)
    result_depth = facts.wire(lambda forward: Mux(forward, *depths), facts.is_forward)
    result_columns = facts.wire(Mux, facts.is_forward, outputs, inputs)
    activations, weights, gradients, to_operand, biases, sums = _wanted_regions(facts)
    return [
        (activations, base("activation"), constant(size.activation_words), batch, inputs),
        (weights, base("weight"), constant(size.weight_words), outputs, inputs),
        (gradients, base("gradient"), constant(size.gradient_words), batch, outputs),
        (to_operand, base("result"), result_depth, batch, result_columns),
        (biases, base("bias"), constant(size.bias_words), wide, constant(1)),
        # This is the last one: its columns take a stage longer than the rest.
        (sums, constant(0), constant(size.partial_sum_strips), facts.rows, across),
    ]


def _wanted_regions(facts):
    """Tell which regions a command uses."""
    command = facts.command
    derivative = command.masked | command.step_gradient
    to_operand = command.destination == Destination.OPERAND
    to_sums = command.destination == Destination.PARTIAL_SUMS

    def conditions(forward, by_input, by_weight):
        gradient = by_input | by_weight
        product = forward | gradient
        activations = equals(command.operation, Operation.LOAD_ACTIVATIONS) | forward | by_weight
        weights = equals(command.operation, Operation.LOAD_WEIGHTS) | forward | by_input
        return (
            activations | (by_input & derivative),
            weights | (by_weight & derivative),
            equals(command.operation, Operation.LOAD_GRADIENTS) | gradient,
            product & to_operand,
            equals(command.operation, Operation.LOAD_BIASES) | (forward & command.bias),
            product & (command.accumulate | to_sums),
        )

    names = "uses_activations uses_weights uses_gradients uses_operand uses_biases uses_sums"
    return facts.stage(names, conditions, facts.is_forward, facts.is_input, facts.is_weight)


def find_beyond(flow, facts, regions, step, choosing):
    """Tell whether a region ends beyond its memory: a region per cycle, in stages.

    It is chosen (twice), multiplied (with registers of its own), added, compared.

    Parameters
    ----------
    flow : Flow
        Where the stages go. The cycles are those of the last region.
    facts : CommandFacts
        The command.
    regions : list of tuple of five Timed
        See :func:`command_regions`.
    step, choosing : Timed
        Which of them it is now, and whether it is any.

    Returns
    -------
    Timed
        One bit.
    """
    size = facts.size
    address, count = size.address_bits, size.count_bits + 1
    layout = data.StructLayout(
        {"wanted": 1, "base": address, "limit": address, "first": count, "second": count}
    )
    options = list(_lay_out(facts, layout, regions, step))
    half = len(options) // 2
    low = flow.stage("low", lambda step: choose(options[:half], step), step)
    high = flow.stage("high", lambda step: choose(options[half:], step), step)
    from_high = flow.stage("from_high", lambda step: step[-1], step)

    def chosen(from_high, low, high):
        return layout(Mux(from_high, high, low))

    wanted = flow.stage(
        "wanted",
        lambda choosing, *halves: choosing & chosen(*halves).wanted,
        choosing,
        from_high,
        low,
        high,
        reset=True,
    )
    names = ("base", "limit", "first", "second")
    base, limit, first, second = flow.stage(
        " ".join(names),
        lambda *halves: tuple(
            chosen(*halves)[name] for name in ("base", "limit", "first", "second")
        ),
        from_high,
        low,
        high,
    )
    # Registers without a reset before and behind it, which a multiplier can have inside.
    words = flow.stage(
        "words", lambda x, y: x * y, *flow.keep("rows_kept columns_kept", first, second)
    )
    end = flow.stage("end", lambda x, y: x + y, base, flow.keep("words_kept", words))
    over, far_over = flow.stage(
        "over far_over",
        lambda limit, end: ((limit - end[:address])[-1], end[address:].any()),
        limit,
        end,
    )
    return flow.stage(
        "beyond", lambda wanted, x, y: wanted & (x | y), wanted, over, far_over, reset=True
    )


def _lay_out(facts, layout, regions, step):
    """Give the parts of each region their width, in the cycle in which it is looked at."""
    first = step.cycle - (len(regions) - 1)
    for k in range(REGIONS):
        if k >= len(regions):
            yield Const(0, layout.size)
            continue
        values = []
        for part, width in zip(regions[k], layout.members.values(), strict=True):
            value = facts.at(part, first + k)
            missing = width - len(value)
            values.append(Cat(value, Const(0, missing)) if missing > 0 else value[:width])
        yield Cat(values)
