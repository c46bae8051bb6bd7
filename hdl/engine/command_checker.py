"""Checks of commands: whether a command can be carried out, and if not, why not."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from nibblegrad.golden.engine.command import Destination, ErrorCode, Operation
from nibblegrad.golden.numbers.rounding import RoundMode
from nibblegrad.hdl.base.pipeline import Flow, register
from nibblegrad.hdl.engine.command_facts import CommandFacts
from nibblegrad.hdl.engine.command_regions import command_regions, find_beyond
from nibblegrad.hdl.engine.commands import command_layout

__all__ = ["CommandChecker"]


class CommandChecker(wiring.Component):
    """Check commands one after the other, and remember the chain of partial sums.

    The checks are those of ``docs/training_core.md``, in that order; the golden model is
    :func:`nibblegrad.golden.engine.command_checks.check_command`. One multiplier does all sizes. A
    command stands still while it is checked, so that what is found of it needs no registers to wait
    in.

    The latency from ``write`` to the next ``ready`` is 19 cycles; ``error`` is told two cycles
    before that, and ``accepted`` one.

    Parameters
    ----------
    size : CoreSize
        Parameters of the core.

    Members
    -------
    write : ``In(1)``, command : ``In(command_layout())``
        A command, to be given while ``ready``.
    ready : ``Out(1)``
        Whether a command can be checked; without room it can, and is refused.
    room : ``In(1)``
        Whether one more command can be kept. With it, there will be room for that command.
    blocked : ``In(1)``
        Whether there is an error that was not cleared: commands are ignored.
    drop : ``In(1)``
        Drop the chain of partial sums, and a command whose check ends in this cycle.
    error : ``Out(1)``, error_code : ``Out(8)``
        A command was refused, and why: an :class:`nibblegrad.golden.engine.command.ErrorCode`.
    accepted : ``Out(1)``, candidate : ``Out(command_layout())``
        A command was found to be right, and it.
    checking : ``Out(1)``
        Whether a command is being checked.
    """

    latency = 19

    def __init__(self, size):
        self._size = size
        super().__init__(
            {
                "write": In(1),
                "command": In(command_layout()),
                "ready": Out(1),
                "room": In(1),
                "blocked": In(1),
                "drop": In(1),
                "error": Out(1),
                "error_code": Out(8),
                "accepted": Out(1),
                "candidate": Out(command_layout()),
                "checking": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        candidate = Signal(command_layout(), reset_less=True)
        m.d.comb += self.candidate.eq(candidate)
        # Cycles count from the write on.
        flow, facts = Flow(m), CommandFacts(m, self._size, candidate)
        chain = _Chain(m, facts)
        regions = command_regions(facts)
        full, step, choosing, final = self._walk(m, flow, facts, regions)
        beyond = find_beyond(flow, facts, regions, step, choosing)
        failures = {**_mistakes(facts), **chain.failures}
        failed = self._collect(m, facts, failures, beyond)

        # What any region but the last one fails by is in `failed` by then.
        wrong = flow.stage("wrong", lambda last: failed.any() | last, beyond, reset=True)
        accepted = flow.stage(
            "accepted",
            lambda final, wrong: final & ~wrong & ~self.blocked & ~self.drop,
            final,
            wrong,
            reset=True,
        )
        refused = flow.at(final, wrong.cycle) & wrong.value & ~self.drop
        self._tell(m, full, refused, failed)
        # The command stands still for one more cycle.
        accepted, judged = flow.close(self.latency - 1, accepted=accepted, judged=final)
        m.d.comb += self.accepted.eq(accepted)
        with m.If(judged):
            m.d.sync += self.checking.eq(0)
        chain.follow(m, accepted, self.drop)
        return m

    def _walk(self, m, flow, facts, regions):
        """Take a command, and walk through its regions as soon as the first one is known.

        Tells whether one came while there was no room; then the step of the walk, whether it is
        under way, and whether it ends, with the cycles of the last region.
        """
        # Region `k` is looked at `k` cycles after the first one.
        first = max(part.cycle - k for k, region in enumerate(regions) for part in region)
        step = Signal(range(len(regions)))
        choosing = Signal()
        at_end = Signal()
        full = Signal()
        taken = self.write & self.ready & ~self.blocked
        started = flow.input("started", taken & self.room, reset=True)
        m.d.comb += self.ready.eq(~self.checking & ~full)
        m.d.sync += [full.eq(taken & ~self.room), at_end.eq(step == len(regions) - 2)]
        # What comes while none is checked may be anything, until it is written.
        with m.If(~self.checking):
            m.d.sync += [facts.command.eq(self.command), step.eq(0)]
        with m.If(taken):
            m.d.sync += self.checking.eq(self.room)
        with m.If(flow.at(started, first - 1)):
            m.d.sync += choosing.eq(1)
        with m.If(choosing):
            m.d.sync += step.eq(step + 1)
            with m.If(at_end):
                m.d.sync += choosing.eq(0)
        last = first + len(regions) - 1
        return (
            full,
            flow.input("step", step, last),
            # A reset must leave no verdict on its way, and no region.
            flow.input("choosing", choosing, last, reset=True),
            flow.input("final", choosing & at_end, last, reset=True),
        )

    def _collect(self, m, facts, failures, beyond):
        """Keep a bit for each code, for the first of them to be found."""
        failed = Signal(len(ErrorCode))
        with m.If(~self.checking):
            m.d.sync += failed.eq(0)
        with m.Else():
            m.d.sync += [
                # In time for the verdict, which looks at them together with the last region.
                failed[code].eq(facts.at(failure, beyond.cycle - 1))
                for code, failure in failures.items()
            ]
            with m.If(beyond.value):
                m.d.sync += failed[ErrorCode.MEMORY].eq(1)
        return failed

    def _tell(self, m, full, refused, failed):
        """Tell the first error that was found."""
        m.d.comb += self.error.eq(full | refused)
        for code in reversed(ErrorCode):
            with m.If(failed[code]):
                m.d.comb += self.error_code.eq(code)
        with m.If(full):
            m.d.comb += self.error_code.eq(ErrorCode.QUEUE_FULL)


class _Chain:
    """The chain of partial sums, and what a command must have in common with it."""

    def __init__(self, m, facts):
        size, command = facts.size, facts.command
        self._facts = facts
        self._open = Signal(name="chain_open")
        self._operation = Signal.like(command.operation, name="chain_operation")
        self._rows = Signal(size.count_bits, name="chain_rows")
        self._columns = Signal(size.count_bits, name="chain_columns")
        self._terms = Signal(size.sum_bits + 1, name="chain_terms", reset_less=True)
        same_rows = facts.stage("same_rows", lambda rows: self._rows == rows, facts.rows)
        same_columns = facts.stage(
            "same_columns", lambda columns: self._columns == columns, facts.columns
        )
        same_chain = facts.stage(
            "same_chain",
            lambda rows, columns: (
                self._open & (self._operation == command.operation) & rows & columns
            ),
            same_rows,
            same_columns,
        )
        before = facts.stage(
            "before", lambda same: Mux(command.accumulate & same, self._terms, 0), same_chain
        )
        self._total = facts.stage("total_terms", lambda x, y: x + y, before, facts.terms)
        too_many = facts.stage("too_many", lambda total: total > size.chain_terms, self._total)
        too_long = facts.stage("too_long", lambda terms: terms > size.max_terms, facts.terms)
        #: What a command fails by, by the code that tells it.
        self.failures = {
            ErrorCode.TERMS: facts.wire(
                lambda product, long, many: product & (long | (command.accumulate & many)),
                facts.is_product,
                too_long,
                too_many,
            ),
            ErrorCode.PARTIAL_SUMS: facts.wire(
                lambda product, same: product & command.accumulate & ~same,
                facts.is_product,
                same_chain,
            ),
        }

    def follow(self, m, accepted, drop):
        """Open the chain, go on with it or close it after a command that was accepted."""
        facts, command = self._facts, self._facts.command
        to_sums = command.destination == Destination.PARTIAL_SUMS
        # A cycle later: the next command comes no sooner.
        ends = accepted & facts.is_product.value & (to_sums | command.accumulate)
        with m.If(register(m, "chained", ends, reset=True)):
            m.d.sync += [
                self._open.eq(to_sums),
                self._operation.eq(command.operation),
                self._rows.eq(facts.rows.value),
                self._columns.eq(facts.columns.value),
                self._terms.eq(self._total.value),
            ]
        with m.If(drop):
            m.d.sync += self._open.eq(0)


def _mistakes(facts):
    """Find what a command fails by without any arithmetic, by the code that tells it."""
    command = facts.command
    operation = command.operation
    load_activations = operation == Operation.LOAD_ACTIVATIONS
    load_weights = operation == Operation.LOAD_WEIGHTS
    load_gradients = operation == Operation.LOAD_GRADIENTS
    load_biases = operation == Operation.LOAD_BIASES
    scaled = (command.destination == Destination.STREAM) | (
        command.destination == Destination.OPERAND
    )

    def size_fails(product, no_batch, no_inputs, no_outputs):
        uses_batch = load_activations | load_gradients | product
        uses_inputs = load_activations | load_weights | product
        uses_outputs = load_weights | load_gradients | load_biases | product
        return (uses_batch & no_batch) | (uses_inputs & no_inputs) | (uses_outputs & no_outputs)

    def scale_fails(product):
        uses_scale = ((load_activations | load_weights) & ~command.codes) | (product & scaled)
        return uses_scale & ~command.significand[-1]

    nothing = [
        facts.stage(f"no_{name}", lambda value: ~value.any(), facts.field(name))
        for name in ("batch", "inputs", "outputs")
    ]
    return {
        ErrorCode.OPERATION: facts.wire(
            lambda: ~operation.any() | (operation > Operation.WEIGHT_GRADIENT)
        ),
        ErrorCode.SIZE: facts.wire(size_fails, facts.is_product, *nothing),
        ErrorCode.MODE: _mode_fails(facts, load_gradients),
        ErrorCode.SCALE: facts.wire(scale_fails, facts.is_product),
    }


def _mode_fails(facts, load_gradients):
    """Tell whether flags, rounding or destination do not go with the operation or the core."""
    command = facts.command
    destination = command.destination
    to_operand = destination == Destination.OPERAND
    to_sums = destination == Destination.PARTIAL_SUMS
    derivative = command.masked | command.step_gradient | command.clear_step_gradient
    # What this format has not.
    foreign = command.phase if facts.size.fmt.is_stochastic else command.stochastic

    def wrong(forward, by_input, gradient):
        return (
            gradient & (command.relu | command.bias | command.signed_result),
            forward & (derivative | ~destination.any()),
            gradient & ~by_input & to_operand,
            to_sums & (command.relu | command.bias | derivative),
            command.mode == RoundMode.SELF_STOCHASTIC,
            by_input & to_operand & foreign,
        )

    found = facts.stage(
        " ".join(f"wrong_{k}" for k in range(6)),
        wrong,
        facts.is_forward,
        facts.is_input,
        facts.is_gradient,
    )
    wrong_load = load_gradients & ~command.codes & foreign
    return facts.wire(
        lambda product, *wrong: wrong_load | (product & Cat(wrong).any()), facts.is_product, *found
    )
