# amaranth: UnusedElaboratable=no
"""The training core: operand memories around the array, quantisers in front, scales behind."""

# Ref: US12443841B2; US11823054B2; Esser et al., arXiv 1902.08153v3

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from nibblegrad.golden.engine.command import CoreSize
from nibblegrad.golden.engine.registers import IDENTIFIER, REGISTERS, VERSION
from nibblegrad.hdl.array.structure import Structure
from nibblegrad.hdl.array.structures import PLAIN
from nibblegrad.hdl.base.parameters import check_type
from nibblegrad.hdl.base.stream import beat_signature
from nibblegrad.hdl.engine.axi_lite import AxiLiteRegisters
from nibblegrad.hdl.engine.commands import SETTINGS
from nibblegrad.hdl.engine.training_engine import COUNTERS, RESULTS, TrainingEngine

__all__ = ["TrainingCore"]


class TrainingCore(wiring.Component):
    """Forward product, input gradient and weight gradient of 4-bit layers, from one array.

    Commands come through the registers of :mod:`nibblegrad.golden.engine.registers`, matrices
    through ``i``, results leave through ``o``; ``docs/training_core.md`` is the contract.

    The golden model is :class:`nibblegrad.golden.engine.training_core.TrainingCore`.

    The latency and the throughput are those of
    :class:`nibblegrad.hdl.engine.training_engine.TrainingEngine`.

    Parameters
    ----------
    size : CoreSize
        Every parameter of what the core computes.
    structure : Structure
        What lanes, trees and accumulators of the array are built of.

    Members
    -------
    s_axi : ``In(axi_lite_signature(...))``
        Registers; see :class:`nibblegrad.hdl.engine.axi_lite.AxiLiteRegisters`.
    i : ``In(beat_signature(ArrayLayout(wide_format.width, load_lanes)))``
        Matrices.
    o : ``Out(beat_signature(ArrayLayout(wide_format.width, strip)))``
        Results.
    irq : ``Out(1)``
        Whether an event of INTERRUPT happened that INTERRUPT_ENABLE lets through.
    """

    def __init__(self, size, structure=PLAIN):
        check_type("Size", size, CoreSize)
        check_type("Structure", structure, Structure)
        self._registers = AxiLiteRegisters(REGISTERS, constants=_constants(size))
        self._engine = TrainingEngine(size, structure)
        self.latency = self._engine.latency
        width = size.wide_format.width
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
        m.submodules.registers = registers = self._registers
        wiring.connect(m, wiring.flipped(self.s_axi), registers.s_axi)

        # Soft reset: everything but the registers. Two registers reset the engine in both ways, as
        # their wires are the longest of all; different ones to start with, so that tools do not
        # merge them.
        wanted = ResetSignal() | (registers.control_written & registers.control.soft_reset)
        for k, domain in enumerate(("engine", RESULTS)):
            reset = Signal(name=f"reset_{domain}", init=k, reset_less=True)
            m.d.sync += reset.eq(wanted)
            m.domains += ClockDomain(domain, local=True)
            m.d.comb += [ClockSignal(domain).eq(ClockSignal()), ResetSignal(domain).eq(reset)]
        engine = self._engine
        m.submodules.engine = DomainRenamer("engine")(engine)
        wiring.connect(m, wiring.flipped(self.i), engine.i)
        wiring.connect(m, engine.o, wiring.flipped(self.o))

        for name in SETTINGS:
            m.d.comb += engine.command[name].eq(getattr(registers, name))
        for part in ("significand", "exponent"):
            m.d.comb += engine.command[part].eq(registers.scale[part])
        for part in registers.command.shape().members:
            m.d.comb += engine.command[part].eq(registers.command[part])
        m.d.comb += [
            engine.write.eq(registers.command_written),
            registers.hold.eq(~engine.ready),
            engine.load_seed.eq(registers.load_seed),
            engine.write_load_seed.eq(registers.load_seed_written),
            engine.result_seed.eq(registers.result_seed),
            engine.write_result_seed.eq(registers.result_seed_written),
        ]
        for name in ("clear_error", "clear_counters"):
            m.d.sync += getattr(engine, name).eq(
                registers.control_written & registers.control[name]
            )
        self._report(m, registers, engine, ResetSignal("engine"))
        return m

    def _report(self, m, registers, engine, reset):
        """Show what happens in the registers, and raise the interrupt."""
        m.d.comb += [
            registers.status.busy.eq(engine.busy),
            registers.status.loading.eq(engine.loading),
            registers.status.computing.eq(engine.computing),
            registers.status.error.eq(engine.error.any()),
            registers.status.queue_free.eq(engine.free),
            registers.error.eq(engine.error),
            registers.commands_done.eq(engine.commands_done),
        ]
        wide = {
            "activation_step_gradient": engine.step_gradients[0],
            "weight_step_gradient": engine.step_gradients[1],
        }
        for name, bits in COUNTERS.items():
            if bits == 64:
                wide[name] = getattr(engine, name)
            else:
                m.d.comb += getattr(registers, name).eq(getattr(engine, name))
        for name, value in wide.items():
            m.d.comb += [
                getattr(registers, f"{name}_low").eq(value[:32]),
                getattr(registers, f"{name}_high").eq(value[32:]),
            ]
        was_busy = Signal()
        # What a soft reset gives up is not done.
        m.d.sync += was_busy.eq(engine.busy & ~reset)
        happened, enabled = registers.interrupt, registers.interrupt_enable
        m.d.comb += [
            registers.interrupt_set.done.eq(was_busy & ~engine.busy),
            registers.interrupt_set.error.eq(engine.error_found),
        ]
        m.d.sync += self.irq.eq((happened.done & enabled.done) | (happened.error & enabled.error))


def _constants(size):
    """List what the registers say of the size of a core."""

    def log2(value):
        return value.bit_length() - 1

    return {
        "ID": IDENTIFIER,
        "VERSION": VERSION,
        "SIZE": log2(size.rows)
        | log2(size.columns) << 4
        | log2(size.lanes) << 8
        | size.fmt.identifier << 12
        | size.wide_format.width << 16
        | size.residual_bits << 24
        | (size.queue_depth - 1) << 28,
        "ACTIVATION_WORDS": size.activation_words,
        "WEIGHT_WORDS": size.weight_words,
        "GRADIENT_WORDS": size.gradient_words,
        "BIAS_WORDS": size.bias_words,
        "PARTIAL_SUM_STRIPS": size.partial_sum_strips,
        "MAX_TERMS": size.max_terms,
    }
