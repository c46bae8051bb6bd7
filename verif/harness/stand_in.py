"""A core with the training core's ports and next to nothing inside, to test the harness with."""

from amaranth import Cat, Module, ResetInserter, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out

from nibblegrad.golden.engine.command import ErrorCode
from nibblegrad.golden.engine.registers import IDENTIFIER, REGISTERS
from nibblegrad.hdl.base.stream import beat_signature
from nibblegrad.hdl.engine.axi_lite import AxiLiteRegisters
from nibblegrad.hdl.engine.commands import is_load

__all__ = ["StandIn"]


class StandIn(wiring.Component):
    """Loads add their beats to a register of ``load_lanes`` numbers, products send it.

    A product sends ``batch`` strips, to whatever destination; number k of strip n is number
    ``k % load_lanes`` of the register, plus n. A beat takes ``load_cycles`` cycles, and a strip
    two. Commands are carried out one after the other. Command 0 and one too many are errors, and so
    is a load whose TLAST does not come with beat ``batch``, which ends at whatever beat that is.

    The latency, from a command to its first strip, is 4 cycles if nothing else waits.

    Parameters
    ----------
    size : CoreSize
        Parameters of the core.

    Members
    -------
    s_axi, i, o, irq
        See :class:`nibblegrad.hdl.engine.training_core.TrainingCore`.
    """

    def __init__(self, size):
        self._size = size
        width = size.wide_format.width
        constants = {
            name: getattr(size, name.lower())
            for name in (
                *("ACTIVATION_WORDS", "WEIGHT_WORDS", "GRADIENT_WORDS", "BIAS_WORDS"),
                *("PARTIAL_SUM_STRIPS", "MAX_TERMS"),
            )
        }
        self._registers = AxiLiteRegisters(
            REGISTERS, {"ID": IDENTIFIER, "VERSION": 1, "SIZE": 0, **constants}
        )
        super().__init__(
            {
                "s_axi": self._registers.signature.members["s_axi"],
                "i": In(beat_signature(data.ArrayLayout(width, size.load_lanes))),
                "o": Out(beat_signature(data.ArrayLayout(width, size.strip))),
                "irq": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        size = self._size
        m.submodules.registers = regs = self._registers
        wiring.connect(m, wiring.flipped(self.s_axi), regs.s_axi)
        soft_reset = regs.control_written & regs.control.soft_reset
        layout = data.StructLayout({"operation": 4, "batch": 16})
        m.submodules.queue = queue = ResetInserter(soft_reset)(
            SyncFIFO(width=layout.size, depth=size.queue_depth)
        )

        # Commands.
        error = Signal(8)
        failure = Signal(8)
        coming = Signal(layout)
        m.d.comb += [
            coming.operation.eq(regs.command.operation),
            coming.batch.eq(regs.batch),
            queue.w_data.eq(coming),
        ]
        with m.If(regs.command_written & ~error.any()):
            with m.If(~queue.w_rdy):
                m.d.comb += failure.eq(ErrorCode.QUEUE_FULL)
            with m.Elif(~coming.operation.any()):
                m.d.comb += failure.eq(ErrorCode.OPERATION)
            with m.Else():
                m.d.comb += queue.w_en.eq(1)

        # What is under way.
        now = Signal(layout)
        busy = Signal()
        left = Signal(16)
        pause = Signal()
        sums = Signal(data.ArrayLayout(size.wide_format.width, size.load_lanes))
        ends = Signal()
        is_product = ~is_load(now.operation)
        m.d.comb += queue.r_en.eq(~busy)
        with m.If(queue.r_en & queue.r_rdy):
            m.d.sync += [now.eq(queue.r_data), busy.eq(1), pause.eq(1)]
            m.d.sync += left.eq(layout(queue.r_data).batch)
        with m.If(busy & pause):
            m.d.sync += pause.eq(0)
        m.d.comb += [
            self.i.ready.eq(busy & ~pause & ~is_product),
            self.o.valid.eq(busy & ~pause & is_product),
            self.o.p.last.eq(left == 1),
        ]
        for lane in range(size.strip):
            m.d.comb += self.o.p.data[lane].eq(
                sums[lane % size.load_lanes] + (now.batch - left)[: len(self.o.p.data[lane])]
            )
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += left.eq(left - 1)
            for lane in range(size.load_lanes):
                m.d.sync += sums[lane].eq(sums[lane] + self.i.p.data[lane])
            m.d.comb += ends.eq(self.i.p.last | (left == 1))
            with m.If(self.i.p.last & (left != 1)):
                m.d.comb += failure.eq(ErrorCode.EARLY_LAST)
            with m.Elif(~self.i.p.last & (left == 1)):
                m.d.comb += failure.eq(ErrorCode.MISSING_LAST)
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += [left.eq(left - 1), pause.eq(1)]
            m.d.comb += ends.eq(left == 1)
        with m.If(ends):
            m.d.sync += busy.eq(0)

        # Registers.
        done, cycles, passes = Signal(32), Signal(64), Signal(64)
        m.d.sync += cycles.eq(cycles + busy)
        m.d.sync += passes.eq(passes + (busy & is_product))
        with m.If(ends):
            m.d.sync += done.eq(done + 1)
        with m.If(failure.any() & ~error.any()):
            m.d.sync += error.eq(failure)
            m.d.comb += regs.interrupt_set.error.eq(1)
        with m.If(regs.control_written):
            with m.If(regs.control.clear_error | regs.control.soft_reset):
                m.d.sync += error.eq(0)
            with m.If(regs.control.clear_counters | regs.control.soft_reset):
                m.d.sync += [done.eq(0), cycles.eq(0), passes.eq(0)]
            with m.If(regs.control.soft_reset):
                m.d.sync += [busy.eq(0), sums.eq(0)]
        m.d.comb += [
            regs.commands_done.eq(done),
            regs.error.eq(error),
            regs.status.busy.eq(busy | queue.r_rdy),
            regs.status.loading.eq(busy & ~is_product),
            regs.status.computing.eq(busy & is_product),
            regs.status.error.eq(error.any()),
            regs.status.queue_free.eq(size.queue_depth - queue.level),
            regs.cycles_low.eq(cycles),
            regs.cycles_high.eq(cycles >> 32),
            regs.passes_low.eq(passes),
            regs.activation_step_gradient_low.eq(0xFFFF_FFFE),
            regs.activation_step_gradient_high.eq(-1),
            self.irq.eq(Cat(Value.cast(regs.interrupt) & Value.cast(regs.interrupt_enable)).any()),
        ]
        return m
