# amaranth: UnusedElaboratable=no
"""What works in the training core: everything but the registers."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from nibblegrad.golden.cores.shift_multiply_array import accumulator_bits
from nibblegrad.golden.engine.command import INTEGER_BITS, ErrorCode
from nibblegrad.hdl.array.dot_product_array import DotProductArray
from nibblegrad.hdl.array.structures import PLAIN
from nibblegrad.hdl.base.contracts import are_checked, promise
from nibblegrad.hdl.base.pipeline import register
from nibblegrad.hdl.base.stream import beat_signature
from nibblegrad.hdl.cores.fp4_quantizer import Fp4Lane
from nibblegrad.hdl.cores.quantizer import IntegerLane
from nibblegrad.hdl.engine.command_queue import CommandQueue
from nibblegrad.hdl.engine.commands import command_layout, is_load
from nibblegrad.hdl.engine.load_unit import LoadUnit
from nibblegrad.hdl.engine.operand_store import OperandStore
from nibblegrad.hdl.engine.product_unit import ProductUnit
from nibblegrad.hdl.engine.result_sequencer import ResultSequencer
from nibblegrad.hdl.engine.result_unit import ResultUnit
from nibblegrad.hdl.engine.tile_drain import TileDrain

__all__ = ["COUNTERS", "RESULTS", "TrainingEngine"]

#: Domain of the array and the results: clock and reset are those of all the rest, but the reset
#: comes from a register of its own.
RESULTS = "results"

#: Counters and their widths.
COUNTERS = {
    "cycles": 64,
    "passes": 64,
    "macs": 64,
    "load_beats": 64,
    "strips": 64,
    "load_saturations": 32,
    "load_underflows": 32,
    "load_nonfinites": 32,
    "result_saturations": 32,
    "result_underflows": 32,
}


class TrainingEngine(wiring.Component):
    """Queue, loads, memories, array and results, tied together.

    The throughput is one pass, one beat and one strip per cycle, all at once; the latency from the
    last beat of a load to the first strip of a product that waits for it is ``latency`` cycles, and
    one more for each pass of the first tile beyond six. Whoever instantiates it provides
    :data:`RESULTS`.

    Parameters
    ----------
    size : CoreSize
        Parameters of the core.
    structure : Structure
        What lanes, trees and accumulators of the array are built of.

    Members
    -------
    command : ``In(command_layout())``, write : ``In(1)``, ready : ``Out(1)``
        A command to check and to queue, while ready.
    i, o : streams
        See :class:`nibblegrad.hdl.engine.training_core.TrainingCore`.
    load_seed, result_seed : ``In(32)``, write_load_seed, write_result_seed : ``In(1)``
        Words of the states of the two random generators, still there in the cycle after the write.
    clear_error, clear_counters : ``In(1)``
        Asserted for a cycle: the error, or all counters, become 0.
    busy, loading, computing : ``Out(1)``
        What the engine is doing.
    free : ``Out(5)``
        Count of commands that can be written.
    error : ``Out(8)``, error_found : ``Out(1)``
        Code of the first error; an error happens now.
    commands_done : ``Out(32)``
        Count of commands that ended.
    step_gradients : ``Out(ArrayLayout(signed(64), 2))``
        Of activations and weights.
    {counter} : ``Out``
        The counters, by the names in ``COUNTERS``.
    """

    #: Cycles from the start of a command to that of the next one.
    start_interval = 2
    #: Cycles from the end of what a product waits for to its first pass: it starts in the next one.
    first_pass = 1 + ProductUnit.first_pass
    #: Cycles from the last pass of a product to the first one of the next.
    restart = ProductUnit.release + first_pass
    #: Cycles from the first pass of a product to the last one of its first tile, at least.
    first_tile = ResultUnit.first_room - ProductUnit.first_pass
    #: Cycles to the last pass of a first tile that waits for the end of the product before, as its
    #: settings are others: from where the first pass of a product would be that starts then.
    settings = ResultUnit.turnaround - first_pass
    #: Cycles from the last write of a load to its end, by which nothing is inside the outlet.
    load_release = 2

    def __init__(self, size, structure=PLAIN):
        self._size = size
        self._structure = structure
        width = size.wide_format.width
        bits = accumulator_bits(size.max_terms, INTEGER_BITS, size.fmt)
        self._array = DotProductArray(
            size.fmt, size.rows, size.columns, size.lanes, INTEGER_BITS, bits, structure
        )
        flight = self.flight(size, structure)
        self._results = ResultUnit(size, bits, flight, structure)
        #: Cycles from the last pass of a product to the first one of the next, which waits for its
        #: end, beside the strips of its last tile.
        self.drain = flight + ResultUnit.way + ResultSequencer.release + self.first_pass
        self.latency = (
            # Of activations: the way of gradients through their lane is another one.
            (LoadUnit.latency - Fp4Lane.latency + IntegerLane.latency)
            + self.load_release
            + self.first_pass
            + self.first_tile
            + flight
            + TileDrain.take_latency
            + ResultUnit.latency
        )
        super().__init__(
            {
                "command": In(command_layout()),
                "write": In(1),
                "ready": Out(1),
                "i": In(beat_signature(data.ArrayLayout(width, size.load_lanes))),
                "o": Out(beat_signature(data.ArrayLayout(width, size.strip))),
                "load_seed": In(32),
                "result_seed": In(32),
                "write_load_seed": In(1),
                "write_result_seed": In(1),
                "clear_error": In(1),
                "clear_counters": In(1),
                "busy": Out(1),
                "loading": Out(1),
                "computing": Out(1),
                "free": Out(5),
                "error": Out(8),
                "error_found": Out(1),
                "commands_done": Out(32),
                "step_gradients": Out(data.ArrayLayout(signed(64), 2)),
                **{name: Out(bits) for name, bits in COUNTERS.items()},
            }
        )

    @staticmethod
    def flight(size, structure):
        """Count the cycles from a pass to the sums: address and memory, then the array."""
        array = DotProductArray.cycles(size.fmt, size.lanes, structure)
        return ProductUnit.latency + OperandStore.latency + array

    def elaborate(self, platform):
        m = Module()
        size = self._size
        m.submodules.commands = commands = CommandQueue(size)
        m.submodules.loads = loads = LoadUnit(size)
        m.submodules.products = products = ProductUnit(size)
        m.submodules.store = store = OperandStore(size, self._structure)
        array, results = self._array, self._results
        m.submodules.array = DomainRenamer(RESULTS)(array)
        m.submodules.results = DomainRenamer(RESULTS)(results)

        m.d.comb += [
            commands.command.eq(self.command),
            commands.write.eq(self.write),
            self.ready.eq(commands.ready),
            self.free.eq(commands.free),
        ]
        self._issue(m, commands, loads, products, results)
        self._connect(m, loads, products, store, array, results)
        self._report(m, commands, loads, self._seed(m, loads, results))
        self._count(m, loads, products, results)
        return m

    def _issue(self, m, commands, loads, products, results):
        """Hand the next command to the unit that does it, when it may start."""
        head = commands.o
        loading = is_load(head.p.operation)
        multiplying = products.busy | results.busy
        may_start = ~(head.p.wait_for_loads & loads.busy) & ~(
            head.p.wait_for_products & multiplying
        )
        # Found out in one cycle, and done in the next.
        start_load = Signal()
        start_product = Signal()
        starting = Signal()
        may_start &= head.valid & ~starting
        may_load = may_start & loading & loads.command.ready
        may_multiply = may_start & ~loading & products.command.ready & results.command.ready
        m.d.sync += [
            start_load.eq(may_load),
            start_product.eq(may_multiply),
            starting.eq(may_load | may_multiply),
        ]
        m.d.comb += [
            loads.command.payload.eq(head.p),
            products.command.payload.eq(head.p),
            results.command.payload.eq(head.p),
            loads.command.valid.eq(start_load & head.valid),
            products.command.valid.eq(start_product & head.valid),
            results.command.valid.eq(start_product & head.valid),
            head.ready.eq(starting),
            self.loading.eq(loads.busy),
            self.computing.eq(multiplying),
        ]
        m.d.sync += self.busy.eq(
            commands.checking | commands.waiting | loads.busy | multiplying | results.pending
        )

    def _connect(self, m, loads, products, store, array, results):
        """Tie the units together."""
        wiring.connect(m, wiring.flipped(self.i), loads.i)
        wiring.connect(m, results.o, wiring.flipped(self.o))
        for source, sink in (
            (products.tile, results.tile),
            (products.read, store.pass_read),
            (store.operands, array.operands),
            (array.totals, results.totals),
            (results.read, store.strip_read),
            (results.write, store.result),
            (loads.store, store.load),
        ):
            wiring.connect(m, source, sink)
        m.d.comb += self.step_gradients.eq(results.step_gradients)

    def _seed(self, m, loads, results):
        """Pass seeds on while nothing is under way; tells whether one is wrong."""
        units = {"load": loads, "result": results}
        if not self._size.fmt.is_stochastic:
            del units["load"]  # there is no generator, and its seeds are ignored
        wrong = []
        for name, unit in units.items():
            arrived, written, word, set_bytes, no_bits = (
                Signal(shape, name=f"{name}_seed_{x}")
                for shape, x in (
                    (1, "arrived"), (1, "written"), (32, "word"), (4, "set_bytes"), (1, "no_bits")
                )
            )  # fmt: skip
            given = getattr(self, f"{name}_seed")
            if are_checked():
                before = register(m, f"{name}_seed_before", given)
                what = f"a word of the {name} seed is still there in the cycle after its write"
                promise(m, what, ~arrived | (given == before))
            m.d.sync += [
                arrived.eq(getattr(self, f"write_{name}_seed")),
                written.eq(arrived),
                word.eq(given),
                *(set_bytes[k].eq(given.word_select(k, 8).any()) for k in range(4)),
                no_bits.eq(~set_bytes.any()),
            ]
            # The first of the four words decides for all, so that those that follow a refused
            # one are not taken for the beginning of a state.
            count = Signal(2, name=f"{name}_seed_count")
            refuse, refused, zeros_before, zeros = (
                Signal(name=f"{name}_seed_{x}")
                for x in ("refuse", "refused", "zeros_before", "zeros")
            )
            m.d.comb += [
                refuse.eq(Mux(count.any(), refused, self.busy)),
                zeros.eq((zeros_before | ~count.any()) & no_bits),
            ]
            m.d.sync += [
                unit.i_seed.payload.eq(word),
                unit.i_seed.valid.eq(written & ~refuse),
            ]
            with m.If(written):
                m.d.sync += [count.eq(count + 1), refused.eq(refuse), zeros_before.eq(zeros)]
            wrong.append(written & (self.busy | (count.all() & ~refuse & zeros)))
        found = Signal(name="wrong_seed")
        m.d.sync += found.eq(Cat(wrong).any())
        return found

    def _report(self, m, commands, loads, wrong_seed):
        """Keep the first error, and drop what waits when a load fails."""
        code = Signal(8)
        found = Signal(8)
        # Whether there are any, told in time.
        is_found = Signal()
        is_kept = Signal()
        blocked = Signal()
        found_next = wrong_seed | commands.error | loads.error
        clear = self.clear_error | ~is_kept
        with m.If(wrong_seed):
            m.d.comb += code.eq(ErrorCode.SEED)
        with m.If(commands.error):
            m.d.comb += code.eq(commands.error_code)
        with m.If(loads.error):
            m.d.comb += code.eq(loads.error_code)
        m.d.comb += [
            self.error_found.eq(is_found),
            commands.drop.eq(loads.error),
            # From the cycle after the error on, so that what is dropped is followed by nothing.
            commands.blocked.eq(blocked),
        ]
        m.d.sync += [
            found.eq(code),
            is_found.eq(found_next),
            blocked.eq(found_next | is_found | ~clear),
        ]
        with m.If(clear):
            m.d.sync += [self.error.eq(found), is_kept.eq(is_found)]

    def _count(self, m, loads, products, results):
        """Count what happens; events are counted where they happen."""
        happening = {
            "cycles": self.busy,
            "passes": products.read.control.flags.valid,
            "macs": products.macs,
            "load_beats": loads.taken,
            "strips": results.strip_taken,
        }
        for name, value in happening.items():
            # In two halves, the upper one a cycle later.
            low, high = (Signal(32, name=f"{name}_{half}") for half in ("low", "high"))
            event = Signal(value.shape(), name=f"{name}_event")
            carry = Signal(name=f"{name}_carry")
            m.d.comb += getattr(self, name).eq(Cat(low, high))
            m.d.sync += [event.eq(value), Cat(low, carry).eq(low + event), high.eq(high + carry)]
            with m.If(self.clear_counters):
                m.d.sync += Cat(low, carry, high).eq(0)
        ended = Signal(2)
        m.d.sync += [
            ended.eq(loads.done + results.ended),
            self.commands_done.eq(self.commands_done + ended),
        ]
        m.d.comb += [
            loads.clear_counts.eq(self.clear_counters),
            results.clear_counts.eq(self.clear_counters),
            self.load_saturations.eq(loads.saturation_count),
            self.load_underflows.eq(loads.underflow_count),
            self.load_nonfinites.eq(loads.nonfinite_count),
            self.result_saturations.eq(results.saturation_count),
            self.result_underflows.eq(results.underflow_count),
        ]
