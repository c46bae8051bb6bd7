"""Checks of commands, and the queue in which they wait."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from golden.command import Destination, ErrorCode, Operation
from golden.rounding import RoundMode

from .commands import command_layout
from .level import Level
from .outlet import Outlet
from .pipeline import deepen, delays, register
from .select import choose, equals

__all__ = ["CommandQueue"]


class CommandQueue(wiring.Component):
    """Check commands one after the other, and keep those that are right until they are taken.

    The checks are those of ``docs/training_core.md``, in that order. They take ``latency`` cycles,
    in which ``ready`` is low; one multiplier does all sizes. A command stands still while it is
    checked, so that everything in between can lie in registers.

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
    waiting : ``Out(1)``
        Whether a command waits in the queue.
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
                "waiting": Out(1),
            }
        )
        # Latch, and two stages of preparation; then a cycle per region, eight stages deep; then the
        # verdict, and what follows from it.
        self.latency = 1 + 2 + 6 + 8 + 2

    def elaborate(self, platform):
        m = Module()
        size = self._size
        candidate = Signal(command_layout(), reset_less=True)
        operation = candidate.operation
        is_forward = register(m, "is_forward", operation == Operation.FORWARD)
        is_input = register(m, "is_input", operation == Operation.INPUT_GRADIENT)
        is_weight = register(m, "is_weight", operation == Operation.WEIGHT_GRADIENT)
        is_product = is_forward | is_input | is_weight

        failed = Signal(len(ErrorCode))  # one bit per code, for the first to be found
        chain = Signal(data.StructLayout({"open": 1, "operation": 4, "rows": 16, "columns": 16}))
        chain_terms = Signal(33, reset_less=True)
        rows, columns, terms = self._result(m, candidate, is_forward, is_weight)
        same_rows = register(m, "same_rows", chain.rows == rows)
        same_columns = register(m, "same_columns", chain.columns == columns)
        same_chain = register(
            m,
            "same_chain",
            chain.open & (chain.operation == operation) & same_rows & same_columns,
        )
        before = register(m, "before", Mux(candidate.accumulate & same_chain, chain_terms, 0))
        total_terms = register(m, "total_terms", before + terms)
        too_many = register(m, "too_many", total_terms > size.chain_terms)
        too_long = register(m, "too_long", terms > size.max_terms)

        checks = self._region_checks(m, candidate, rows, columns, is_forward, is_input, is_weight)
        step = Signal(range(len(checks)))
        started, prepared, choosing, full, verdict, wrong = (
            Signal(name=name) for name in "started prepared choosing full verdict wrong".split()
        )
        at_end = Signal()
        m.d.sync += at_end.eq(step == len(checks) - 2)
        # A reset must leave no verdict on its way.
        stages = delays(m, "final", choosing & at_end, 8, reset=True)
        beyond = self._find_beyond(m, checks, step, choosing)
        fits = Signal()
        idle = ~self.checking & ~full
        m.d.comb += self.ready.eq(idle)
        m.d.sync += [
            full.eq(0),
            started.eq(self.write & idle & ~self.blocked & fits),
            prepared.eq(started),
            wrong.eq(failed.any() | beyond),
            verdict.eq(stages[-1]),
        ]
        # What comes while none is checked may be anything, until it is written.
        with m.If(~self.checking):
            m.d.sync += [candidate.eq(self.command), step.eq(0), failed.eq(0)]
        with m.If(self.write & idle & ~self.blocked):
            m.d.sync += [self.checking.eq(fits), full.eq(~fits)]
        with m.If(prepared):
            m.d.sync += choosing.eq(1)
        with m.If(choosing):
            m.d.sync += step.eq(step + 1)
            with m.If(at_end):
                m.d.sync += choosing.eq(0)
        with m.If(self.checking):
            self._simple_checks(m, candidate, failed, is_forward, is_input, is_product)
            m.d.sync += [
                failed[ErrorCode.TERMS].eq(
                    is_product & (too_long | (candidate.accumulate & too_many))
                ),
                failed[ErrorCode.PARTIAL_SUMS].eq(is_product & candidate.accumulate & ~same_chain),
            ]
            with m.If(beyond):
                m.d.sync += failed[ErrorCode.MEMORY].eq(1)

        accepted = Signal()
        judged = Signal()
        # The command stands still for one more cycle.
        m.d.sync += [
            accepted.eq(verdict & ~wrong & ~self.blocked & ~self.drop),
            judged.eq(verdict),
        ]
        self._tell(m, full, verdict & wrong & ~self.drop, failed)
        to_sums = candidate.destination == Destination.PARTIAL_SUMS
        # A cycle later: the next command comes no sooner.
        chained = Signal()
        m.d.sync += chained.eq(accepted & is_product & (to_sums | candidate.accumulate))
        with m.If(chained):
            m.d.sync += [
                chain.open.eq(to_sums),
                chain.operation.eq(operation),
                chain.rows.eq(rows),
                chain.columns.eq(columns),
                chain_terms.eq(total_terms),
            ]
        with m.If(judged):
            m.d.sync += self.checking.eq(0)
        with m.If(self.drop):
            m.d.sync += chain.open.eq(0)
        self._queue(m, candidate, accepted, fits)
        return m

    def _tell(self, m, full, refused, failed):
        """Tell the first error that was found."""
        m.d.comb += self.error.eq(full | refused)
        for code in reversed(ErrorCode):
            with m.If(failed[code]):
                m.d.comb += self.error_code.eq(code)
        with m.If(full):
            m.d.comb += self.error_code.eq(ErrorCode.QUEUE_FULL)

    def _find_beyond(self, m, checks, step, choosing):
        """Tell whether a region ends beyond its memory: a region per cycle, in stages.

        It is chosen (twice), multiplied (with registers of its own), added, compared.
        """
        region = Signal(
            data.StructLayout({"wanted": 1, "base": 16, "limit": 16, "first": 17, "second": 17})
        )
        low, high, factors, multiplied, kept, added = (
            Signal.like(region, name=name)
            for name in "low high factors multiplied kept added".split()
        )
        from_high = Signal()
        chosen = Signal()
        words = Signal(34, reset_less=True)
        words_kept = Signal(34, reset_less=True)
        # Not reset, so that a multiplier can have them inside.
        first, second = deepen(m, True, "factor", region.first, region.second)
        end = Signal(35, reset_less=True)
        end_wanted = Signal()
        over = Signal()
        far_over = Signal()
        beyond = Signal()
        options = [Cat(*check) for check in self._cut(region, checks)]
        m.d.sync += [
            from_high.eq(step[2]),
            chosen.eq(choosing),
            low.eq(choose(options[:4], step)),
            high.eq(choose(options[4:], step)),
            region.eq(Mux(from_high, high, low)),
            region.wanted.eq(chosen & Mux(from_high, high.wanted, low.wanted)),
            factors.eq(region),
            multiplied.eq(factors),
            kept.eq(multiplied),
            added.eq(kept),
            words.eq(first * second),
            words_kept.eq(words),
            end.eq(kept.base + words_kept),
            end_wanted.eq(added.wanted),
            over.eq((added.limit - end[: len(added.limit)])[-1]),
            far_over.eq(end[len(added.limit) :].any()),
            beyond.eq(end_wanted & (over | far_over)),
        ]
        return beyond

    def _queue(self, m, candidate, accepted, fits):
        """Keep the commands that are right, the first of them in a register."""
        depth = self._size.queue_depth
        outlet = Outlet(command_layout(), depth=1 << (depth - 1).bit_length())
        m.submodules.outlet = outlet
        count = Level(m, "count", depth)
        m.d.comb += [
            outlet.clear.eq(self.drop),
            outlet.put.eq(accepted),
            outlet.data.eq(candidate),
            outlet.o.ready.eq(self.o.ready),
            self.o.payload.eq(outlet.o.payload),
            self.o.valid.eq(outlet.o.valid & ~self.drop),
            self.waiting.eq(count.any),
            self.free.eq(count.free - self.checking),
            fits.eq(~count.full),
        ]
        # What leaves is counted a cycle later.
        left = Signal()
        m.d.sync += left.eq(self.o.valid & self.o.ready)
        count.change(accepted, left)
        with m.If(self.drop):
            count.clear()
            m.d.sync += left.eq(0)

    def _result(self, m, command, is_forward, is_weight):
        """Find rows, columns and terms of a product."""
        rows, columns, terms = (
            Signal(16, name=f"result_{x}", reset_less=True) for x in ("rows", "columns", "terms")
        )
        m.d.sync += [
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

    def _region_checks(self, m, command, rows, columns, forward, by_input, by_weight):
        """List the regions to check: condition, base, depth, rows and columns in words."""
        size = self._size
        operation = command.operation

        def ceiling(name, value, unit):
            words = (value + (unit - 1)) >> (unit.bit_length() - 1)
            return register(m, f"words_{name}", words)

        batch, inputs, outputs = (
            ceiling(name, command[name], size.block) for name in ("batch", "inputs", "outputs")
        )
        gradient = by_input | by_weight
        product = forward | gradient
        derivative = command.masked | command.step_gradient
        to_operand = product & (command.destination == Destination.OPERAND)
        sums = product & (command.accumulate | (command.destination == Destination.PARTIAL_SUMS))
        across = Mux(
            forward,
            ceiling("forward", columns, size.columns),
            ceiling("gradient", columns, size.rows),
        )
        activations = equals(operation, Operation.LOAD_ACTIVATIONS) | forward | by_weight
        activations |= by_input & derivative
        weights = equals(operation, Operation.LOAD_WEIGHTS) | forward | by_input
        weights |= by_weight & derivative
        gradients = equals(operation, Operation.LOAD_GRADIENTS) | gradient
        biases = equals(operation, Operation.LOAD_BIASES) | (forward & command.bias)
        wide = ceiling("biases", command.outputs, size.columns)
        conditions = (activations, weights, gradients, to_operand, biases, sums)
        activations, weights, gradients, to_operand, biases, sums = (
            register(m, f"wanted_{k}", condition) for k, condition in enumerate(conditions)
        )
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
            # This is the last one: its columns take a stage longer than the rest.
            (sums, 0, size.partial_sum_strips, rows, across),
        ]

    def _simple_checks(self, m, command, failed, is_forward, is_input, is_product):
        """Check what needs no arithmetic."""
        operation = command.operation
        radix4 = self._size.fmt.log2_radix == 2
        is_gradient = is_product & ~is_forward
        no_batch, no_inputs, no_outputs = (
            register(m, f"no_{name}", ~command[name].any())
            for name in ("batch", "inputs", "outputs")
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
        wrong = (
            is_gradient & (command.relu | command.bias | command.signed_result),
            is_forward & (derivative | ~destination.any()),
            is_gradient & ~is_input & to_operand,
            to_sums & (command.relu | command.bias | derivative),
            command.mode == RoundMode.SELF_STOCHASTIC,
            is_input & to_operand & foreign,
        )
        wrong_product = Cat(register(m, f"wrong_{k}", each) for k, each in enumerate(wrong)).any()
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
