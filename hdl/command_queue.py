"""Checks of commands, and the queue in which they wait."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out

from golden.command import Destination, ErrorCode, Operation
from golden.registers import BY_NAME
from golden.rounding import RoundMode

from .select import choose, equals

__all__ = ["CommandQueue", "command_layout"]

#: Registers that a command takes with it as they are, beside COMMAND and SCALE.
SETTINGS = (
    "batch",
    "inputs",
    "outputs",
    "activation_base",
    "weight_base",
    "gradient_base",
    "bias_base",
    "result_base",
    "fp4_exponent",
)


def command_layout():
    """Lay out a command: the fields of :class:`golden.command.Command`."""
    members = {}
    for name in SETTINGS:
        part = BY_NAME[name.upper()].fields[0]
        members[name] = Shape(part.bits, signed=part.signed)
    for register in ("SCALE", "COMMAND"):
        for part in BY_NAME[register].fields:
            members[part.name] = Shape(part.bits, signed=part.signed)
    return data.StructLayout(members)


class CommandQueue(wiring.Component):
    """Check commands one after the other, and keep those that are right until they are taken.

    The checks are those of ``docs/training_core.md``, in that order. They take ``latency`` cycles,
    in which ``ready`` is low; one multiplier does all sizes.

    Parameters
    ----------
    size : CoreSize
        Parameters of the core.

    Members
    -------
    write : ``In(1)``, command : ``In(command_layout())``
        A command, to be given while ``ready``.
    ready : ``Out(1)``
        Whether a command can be checked; with a full queue it can, and is refused.
    blocked : ``In(1)``
        Whether there is an error that was not cleared: commands are ignored.
    drop : ``In(1)``
        Drop what waits, and the chain of partial sums.
    error : ``Out(1)``, error_code : ``Out(8)``
        A command was refused, and why: an :class:`golden.command.ErrorCode`.
    o : ``Out(stream.Signature(command_layout()))``
        Commands in order.
    free : ``Out(5)``
        Count of commands that can be written.
    checking : ``Out(1)``
        Whether a command is being checked.
    """

    def __init__(self, size):
        self._size = size
        super().__init__(
            {
                "write": In(1),
                "command": In(command_layout()),
                "ready": Out(1),
                "blocked": In(1),
                "drop": In(1),
                "error": Out(1),
                "error_code": Out(8),
                "o": Out(stream.Signature(command_layout())),
                "free": Out(5),
                "checking": Out(1),
            }
        )
        # Latch, then a cycle per region, three stages deep, then the verdict.
        self.latency = 1 + 6 + 2 + 1

    def elaborate(self, platform):
        m = Module()
        size = self._size
        fifo = ResetInserter(self.drop)(
            SyncFIFO(width=command_layout().size, depth=size.queue_depth)
        )
        m.submodules.fifo = fifo
        candidate = Signal(command_layout())
        operation = candidate.operation
        is_forward = operation == Operation.FORWARD
        is_input = operation == Operation.INPUT_GRADIENT
        is_weight = operation == Operation.WEIGHT_GRADIENT
        is_product = is_forward | is_input | is_weight

        failed = Signal(len(ErrorCode))  # one bit per code, for the first to be found
        m.d.comb += [
            self.o.payload.eq(fifo.r_data),
            self.o.valid.eq(fifo.r_rdy & ~self.drop),
            fifo.r_en.eq(self.o.ready & self.o.valid),
            fifo.w_data.eq(candidate),
            self.free.eq(size.queue_depth - fifo.level - self.checking),
        ]
        chain = Signal(data.StructLayout({"open": 1, "operation": 4, "rows": 16, "columns": 16}))
        chain_terms = Signal(33)
        rows, columns, terms = self._result(m, candidate, is_forward, is_weight)
        same_chain = Signal()
        total_terms = Signal(34)
        m.d.sync += [
            same_chain.eq(
                chain.open
                & (chain.operation == operation)
                & (chain.rows == rows)
                & (chain.columns == columns)
            ),
            total_terms.eq(Mux(candidate.accumulate & same_chain, chain_terms, 0) + terms),
        ]

        # A region per cycle, in three stages: choose, multiply, compare.
        checks = self._region_checks(candidate, rows, columns)
        step = Signal(range(len(checks) + 1))
        choosing, chosen, multiplied, final, last, verdict, full = (
            Signal(name=name)
            for name in "choosing chosen multiplied final last verdict full".split()
        )
        region = Signal(
            data.StructLayout({"wanted": 1, "base": 16, "limit": 16, "first": 17, "second": 17})
        )
        compared = Signal.like(region, name="compared")
        words = Signal(34)
        idle = ~self.checking & ~full
        m.d.comb += [
            self.ready.eq(idle),
            choosing.eq(self.checking & (step != len(checks))),
            self.error.eq(full | (verdict & failed.any() & ~self.drop)),
        ]
        m.d.sync += [
            full.eq(0),
            chosen.eq(choosing),
            multiplied.eq(chosen),
            final.eq(choosing & (step == len(checks) - 1)),
            last.eq(final),
            verdict.eq(last),
            compared.eq(region),
            words.eq(region.first * region.second),
        ]
        with m.If(self.write & idle & ~self.blocked):
            m.d.sync += [candidate.eq(self.command), step.eq(0), failed.eq(0)]
            m.d.sync += [self.checking.eq(fifo.w_rdy), full.eq(~fifo.w_rdy)]
        with m.If(choosing):
            options = [Cat(*check) for check in self._cut(region, checks)]
            m.d.sync += [region.eq(choose(options, step)), step.eq(step + 1)]
        with m.If(multiplied & compared.wanted & (compared.base + words > compared.limit)):
            m.d.sync += failed[ErrorCode.MEMORY].eq(1)
        with m.If(self.checking):
            self._simple_checks(m, candidate, failed, is_forward, is_input, is_product)
            too_many = candidate.accumulate & (total_terms > size.chain_terms)
            m.d.sync += [
                failed[ErrorCode.TERMS].eq(is_product & ((terms > size.max_terms) | too_many)),
                failed[ErrorCode.PARTIAL_SUMS].eq(is_product & candidate.accumulate & ~same_chain),
            ]

        for code in reversed(ErrorCode):
            with m.If(failed[code]):
                m.d.comb += self.error_code.eq(code)
        with m.If(full):
            m.d.comb += self.error_code.eq(ErrorCode.QUEUE_FULL)
        m.d.comb += fifo.w_en.eq(verdict & ~failed.any() & ~self.blocked & ~self.drop)
        to_sums = candidate.destination == Destination.PARTIAL_SUMS
        with m.If(fifo.w_en & is_product & (to_sums | candidate.accumulate)):
            m.d.sync += [
                chain.open.eq(to_sums),
                chain.operation.eq(operation),
                chain.rows.eq(rows),
                chain.columns.eq(columns),
                chain_terms.eq(total_terms),
            ]
        with m.If(verdict):
            m.d.sync += self.checking.eq(0)
        with m.If(self.drop):
            m.d.sync += chain.open.eq(0)
        return m

    def _result(self, m, command, is_forward, is_weight):
        """Find rows, columns and terms of a product."""
        rows, columns, terms = (
            Signal(16, name=f"result_{x}") for x in ("rows", "columns", "terms")
        )
        m.d.comb += [
            rows.eq(Mux(is_weight, command.outputs, command.batch)),
            columns.eq(Mux(is_forward, command.outputs, command.inputs)),
            terms.eq(
                Mux(is_forward, command.inputs, Mux(is_weight, command.batch, command.outputs))
            ),
        ]
        return rows, columns, terms

    def _cut(self, region, checks):
        """Give the parts of each check the width that they have in a region; fill up to 8."""
        shapes = region.shape().members
        for k in range(8):
            parts = checks[k] if k < len(checks) else (0, 0, 0, 0, 0)
            values = []
            for part, width in zip(parts, shapes.values(), strict=True):
                value = Value.cast(part)
                missing = width - len(value)
                values.append(Cat(value, Const(0, missing)) if missing > 0 else value[:width])
            yield values

    def _region_checks(self, command, rows, columns):
        """List the regions to check: condition, base, depth, rows and columns in words."""
        size = self._size
        operation = command.operation

        def ceiling(value, unit):
            return (value + (unit - 1)) >> (unit.bit_length() - 1)

        batch, inputs, outputs = (
            ceiling(value, size.block) for value in (command.batch, command.inputs, command.outputs)
        )
        by_input = equals(operation, Operation.INPUT_GRADIENT)
        by_weight = equals(operation, Operation.WEIGHT_GRADIENT)
        gradient = by_input | by_weight
        forward = equals(operation, Operation.FORWARD)
        product = forward | gradient
        derivative = command.masked | command.step_gradient
        to_operand = product & (command.destination == Destination.OPERAND)
        sums = product & (command.accumulate | (command.destination == Destination.PARTIAL_SUMS))
        across = Mux(forward, ceiling(columns, size.columns), ceiling(columns, size.rows))
        activations = equals(operation, Operation.LOAD_ACTIVATIONS) | forward | by_weight
        activations |= by_input & derivative
        weights = equals(operation, Operation.LOAD_WEIGHTS) | forward | by_input
        weights |= by_weight & derivative
        gradients = equals(operation, Operation.LOAD_GRADIENTS) | gradient
        biases = equals(operation, Operation.LOAD_BIASES) | (forward & command.bias)
        wide = ceiling(command.outputs, size.columns)
        return [
            (activations, command.activation_base, size.activation_words, batch, inputs),
            (weights, command.weight_base, size.weight_words, outputs, inputs),
            (gradients, command.gradient_base, size.gradient_words, batch, outputs),
            (
                to_operand,
                command.result_base,
                Mux(forward, size.activation_words, size.gradient_words),
                batch,
                Mux(forward, outputs, inputs),
            ),
            (biases, command.bias_base, size.bias_words, wide, 1),
            (sums, 0, size.partial_sum_strips, rows, across),
        ]

    def _simple_checks(self, m, command, failed, is_forward, is_input, is_product):
        """Check what needs no arithmetic."""
        operation = command.operation
        radix4 = self._size.fmt.log2_radix == 2
        is_gradient = is_product & ~is_forward
        no_batch, no_inputs, no_outputs = (
            ~value.any() for value in (command.batch, command.inputs, command.outputs)
        )
        load_activations = operation == Operation.LOAD_ACTIVATIONS
        load_weights = operation == Operation.LOAD_WEIGHTS
        load_gradients = operation == Operation.LOAD_GRADIENTS
        load_biases = operation == Operation.LOAD_BIASES
        uses_batch = load_activations | load_gradients | is_product
        uses_inputs = load_activations | load_weights | is_product
        uses_outputs = load_weights | load_gradients | load_biases | is_product
        destination = command.destination
        to_operand = destination == Destination.OPERAND
        to_sums = destination == Destination.PARTIAL_SUMS
        derivative = command.masked | command.step_gradient | command.clear_step_gradient
        # What this radix has not.
        foreign = command.stochastic if radix4 else command.phase
        wrong_load = load_gradients & ~command.codes & foreign
        wrong_product = (
            (is_gradient & (command.relu | command.bias | command.signed_result))
            | (is_forward & (derivative | ~destination.any()))
            | (is_gradient & ~is_input & to_operand)
            | (to_sums & (command.relu | command.bias | derivative))
            | (command.mode == RoundMode.SELF_STOCHASTIC)
            | (is_input & to_operand & foreign)
        )
        scaled = (destination == Destination.STREAM) | to_operand
        uses_scale = ((load_activations | load_weights) & ~command.codes) | (is_product & scaled)
        m.d.sync += [
            failed[ErrorCode.OPERATION].eq(
                ~operation.any() | (operation > Operation.WEIGHT_GRADIENT)
            ),
            failed[ErrorCode.SIZE].eq(
                (uses_batch & no_batch) | (uses_inputs & no_inputs) | (uses_outputs & no_outputs)
            ),
            failed[ErrorCode.MODE].eq(wrong_load | (is_product & wrong_product)),
            failed[ErrorCode.SCALE].eq(uses_scale & ~command.significand[-1]),
        ]
