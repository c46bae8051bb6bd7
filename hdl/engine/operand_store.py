"""All memories of the training core that loads fill, and the ways to them."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from nibblegrad.golden.cores.shift_multiply_array import ShiftOperand
from nibblegrad.golden.engine.command import INTEGER_BITS, Operation, Store
from nibblegrad.golden.engine.geometry import CODE_BITS
from nibblegrad.hdl.array.dot_product_array import array_operands_signature
from nibblegrad.hdl.array.structures import PLAIN
from nibblegrad.hdl.base.contracts import are_checked, promise
from nibblegrad.hdl.base.copies import fan_out
from nibblegrad.hdl.base.pipeline import delay, delays, register
from nibblegrad.hdl.base.select import equals
from nibblegrad.hdl.cores.step_gradient import derivative_layout
from nibblegrad.hdl.engine.operand_memory import OperandMemory, StripMemory
from nibblegrad.hdl.engine.store_ports import (
    load_signature,
    pass_read_signature,
    result_signature,
    result_write,
    strip_read_signature,
)

__all__ = ["OperandStore"]


class OperandStore(wiring.Component):
    """Activations, weights and gradients, the derivatives beside the first two, and biases.

    Results are written ``result_latency`` cycles after they come, and loads a cycle after they
    come.

    The latency from ``pass_read`` to ``operands``, and of ``strip_read``, is 4 cycles.

    Parameters
    ----------
    size : CoreSize
        Parameters of the core.
    structure : Structure
        What says how deep a bank of memory is.

    Members
    -------
    load : ``In(load_signature(size))``
        Writes of loads.
    result : ``In(result_signature(size))``
        Writes of results.
    pass_read : ``In(pass_read_signature(size))``
        Passes that read their operands.
    operands : ``Out(array_operands_signature(...))``
        What is read for a pass. Codes of lanes beyond the last term are zero.
    strip_read : ``In(strip_read_signature(size))``
        Reading of biases and derivatives.
    """

    latency = OperandMemory.latency + 1
    #: Cycles from a result to its write: two to decode its row, and the register of the memory.
    result_latency = 3

    def __init__(self, size, structure=PLAIN):
        self._size = size
        self._structure = structure
        self._derivative = derivative_layout(size.residual_bits)
        array = (size.rows, size.columns, size.lanes, INTEGER_BITS)
        super().__init__(
            {
                "load": In(load_signature(size)),
                "result": In(result_signature(size)),
                "pass_read": In(pass_read_signature(size)),
                "operands": Out(array_operands_signature(*array)),
                "strip_read": In(strip_read_signature(size)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        size = self._size
        block, lanes = size.block, size.lanes
        shape = (block, size.load_lanes, lanes)
        activations = OperandMemory(size.activation_words, *shape, size.rows, size.rows)
        weights = OperandMemory(size.weight_words, *shape, size.columns, size.rows)
        gradients = OperandMemory(size.gradient_words, *shape, size.columns, size.columns)
        strips_per_word = block * block // size.strip
        activation_side, weight_side = (
            StripMemory(
                words * strips_per_word,
                self._derivative,
                size.strip,
                size.load_lanes,
                self._structure,
            )
            for words in (size.activation_words, size.weight_words)
        )
        m.submodules.activation_codes = activations
        m.submodules.weight_codes = weights
        m.submodules.gradient_codes = gradients
        m.submodules.activation_side = activation_side
        m.submodules.weight_side = weight_side

        self._hold_loads(m)
        results = self._prepare_results(m)
        self._promise_writes(m, results[0])
        self._write_codes(m, activations, Store.ACTIVATIONS, results, size.columns)
        self._write_codes(m, weights, Store.WEIGHTS, results, size.columns)
        self._write_codes(m, gradients, Store.GRADIENTS, results, size.rows)
        self._write_side(m, activation_side, Store.ACTIVATIONS, results)
        self._write_side(m, weight_side, Store.WEIGHTS, results)
        self._keep_biases(m)
        m.d.comb += [
            activation_side.read_address.eq(self.strip_read.derivative_address),
            weight_side.read_address.eq(self.strip_read.derivative_address),
            self.strip_read.activation_derivatives.eq(activation_side.read_data),
            self.strip_read.weight_derivatives.eq(weight_side.read_data),
        ]
        self._read(m, activations, weights, gradients)
        return m

    def _hold_loads(self, m):
        """Tell loads in time that a result is written where they would write."""
        load, result = self.load, self.result
        # By a register that has its place between both.
        wait = Signal(name="load_wait_next")
        m.d.sync += [
            wait.eq(
                (result.to_activations_next & equals(load.memory, Store.ACTIVATIONS))
                | (result.to_gradients_next & (load.memory == Store.GRADIENTS))
            ),
            load.wait.eq(wait),
        ]
        if not are_checked():
            return
        for which in ("activations", "gradients"):
            announced = register(
                m, f"{which}_announced", getattr(result, f"to_{which}_next"), reset=True
            )
            promise(
                m,
                f"a result for the {which} is announced a cycle before",
                getattr(result, f"to_{which}") == announced,
            )

    def _prepare_results(self, m):
        """Delay results; tells where they go, if anywhere, and their row with a bit for each."""
        strip = self.result.strip
        cycles = self.result_latency - 1
        before, decoded = delays(m, "result", strip, cycles)[-2:]
        row = result_write(self._size)(before).row
        rows = Signal(self._size.block, name="result_rows", reset_less=True)
        m.d.sync += [rows[k].eq(equals(row, k)) for k in range(len(rows))]
        targets = {
            Store.ACTIVATIONS: self.result.to_activations,
            Store.GRADIENTS: self.result.to_gradients,
        }
        for which, wanted in targets.items():
            name = f"result_to_{which.name.lower()}"
            targets[which] = delay(m, name, wanted, cycles, reset=True)
        return targets, result_write(self._size)(decoded), rows

    def _promise_writes(self, m, targets):
        """State that loads write where they said, and never together with a result."""
        if not are_checked():
            return
        memories = self.load.write.memories
        told = Signal(len(Store))
        m.d.comb += told.bit_select(self.load.memory, 1).eq(1)
        promise(m, "a load writes to the memory that it told", ~(memories & ~told).any())
        for which, of_result in targets.items():
            what = f"no load writes to the {which.name.lower()} together with a result"
            promise(m, what, ~(memories[which] & of_result))

    def _write_codes(self, m, memory, which, results, width):
        """Write a group of a load, or a strip of ``width`` codes of a result."""
        load, group = self.load.write, self._size.load_lanes
        targets, write, result_rows = results
        of_result = targets.get(which, Const(0))
        m.d.sync += memory.write_address.eq(Mux(of_result, write.address, load.address))
        for k in range(self._size.block // group):
            in_strip = equals(write.column[width.bit_length() - 1 :], k * group // width)
            in_strip = in_strip if width < self._size.block else Const(1)
            for row in range(self._size.block):
                of_load = load.memories[which] & load.groups[k] & load.rows[row]
                m.d.sync += memory.write_groups[row][k].eq(
                    Mux(of_result, in_strip & result_rows[row], of_load)
                )
            for lane in range(group):
                m.d.sync += memory.write_data[k * group + lane].eq(
                    Mux(of_result, write.codes[(k * group + lane) % width], load.codes[lane])
                )

    def _write_side(self, m, memory, which, results):
        """Write the derivatives that belong to codes."""
        size, load = self._size, self.load.write
        group, strip, columns = size.load_lanes, size.strip, size.columns
        groups = strip // group
        log2_strip = strip.bit_length() - 1
        targets, write, _ = results
        of_result = targets.get(which, Const(0))
        # The group counts within a row of a word; its upper bits are the strip.
        strip_of_load = load.group[groups.bit_length() - 1 :][
            : (size.block // strip).bit_length() - 1
        ]
        m.d.sync += memory.write_address.eq(
            Mux(
                of_result,
                Cat(write.column[log2_strip:], write.row, write.address),
                Cat(strip_of_load, load.row, load.address),
            )
        )
        for k in range(groups):
            low = columns.bit_length() - 1
            in_strip = equals(write.column[low:log2_strip], k * group // columns)
            in_strip = in_strip if columns < strip else Const(1)
            of_load = load.memories[which] & load.groups[k::groups].any()
            m.d.sync += memory.write_groups[k].eq(Mux(of_result, in_strip, of_load))
            for lane in range(group):
                m.d.sync += memory.write_data[k * group + lane].eq(
                    Mux(
                        of_result,
                        write.derivatives[(k * group + lane) % columns].as_value(),
                        load.derivatives[lane].as_value(),
                    )
                )

    def _keep_biases(self, m):
        """Write biases by the beat, read them by the columns of the array."""
        size, load = self._size, self.load.write
        memory = StripMemory(
            size.bias_words,
            signed(size.sum_bits),
            size.columns,
            size.biases_per_beat,
            self._structure,
        )
        m.submodules.bias_memory = memory
        beats = size.columns // size.biases_per_beat
        log2_beats = beats.bit_length() - 1
        m.d.sync += [
            memory.write_address.eq(load.address[log2_beats:]),
            memory.write_data.eq(Cat(load.biases.as_value() for _ in range(beats))),
        ]
        m.d.comb += [
            memory.read_address.eq(self.strip_read.bias_address),
            self.strip_read.biases.eq(memory.read_data),
        ]
        for k in range(beats):
            this = equals(load.address[:log2_beats], k) if beats > 1 else Const(1)
            m.d.sync += memory.write_groups[k].eq(load.memories[Store.BIASES] & this)

    def _read(self, m, activations, weights, gradients):
        """Read both operands of a pass, and register them."""
        integers, codes = self.pass_read.integers, self.pass_read.codes
        for memory, rows, columns in (
            (activations, integers, integers),
            (weights, codes, integers),
            (gradients, codes, codes),
        ):
            m.d.comb += [
                memory.read_row_part.eq(rows.part),
                memory.read_row_lanes.eq(rows.lanes),
                memory.read_column_part.eq(columns.part),
                memory.read_column_lanes.eq(columns.lanes),
            ]
        m.d.comb += [
            activations.read_address.eq(integers.address),
            weights.read_address.eq(self.pass_read.weight_address),
            gradients.read_address.eq(codes.address),
        ]
        self._steer(m)
        self._choose(m, activations, weights, gradients)

    def _steer(self, m):
        """Let what goes with a pass come out with its operands."""
        control = self.pass_read.control
        flags = delay(m, "flags", control.flags, self.latency, reset=True)
        m.d.comb += self.operands.flags.eq(flags)
        for name in ("operand", "digit"):
            copies = fan_out(m, name, control[name], self._size.columns, self.latency)
            m.d.comb += getattr(self.operands, name).eq(Cat(copies))

    def _choose(self, m, activations, weights, gradients):
        """Choose the operands from what the memories give, and register them."""
        size, control = self._size, self.pass_read.control
        forward = control.operand == ShiftOperand.INT4
        by_input = control.operation == Operation.INPUT_GRADIENT
        for lane, wanted, forward_now, input_now, is_signed in zip(
            range(size.lanes),
            self._want_codes(m),
            *(
                fan_out(m, name, value, size.lanes, OperandMemory.latency)
                for name, value in (
                    ("forward_now", forward),
                    ("input_now", by_input),
                    ("is_signed", control.signed_activations | by_input),
                )
            ),
            strict=True,
        ):
            for row in range(size.rows):
                code = Signal(CODE_BITS, name=f"integer_code_{row}_{lane}")
                m.d.comb += code.eq(
                    Mux(
                        input_now,
                        weights.column_code(row, lane),
                        Mux(
                            forward_now,
                            activations.row_code(row, lane),
                            activations.column_code(row, lane),
                        ),
                    )
                )
                m.d.sync += self.operands.integers[row][lane].eq(
                    Cat(code, code[-1] & is_signed).as_signed()
                )
            of_forward, of_input, of_weight = (bit.replicate(CODE_BITS) for bit in wanted)
            for column in range(size.columns):
                m.d.sync += self.operands.codes[column][lane].eq(
                    (weights.row_code(column, lane) & of_forward)
                    | (gradients.row_code(column, lane) & of_input)
                    | (gradients.column_code(column, lane) & of_weight)
                )

    def _want_codes(self, m):
        """Tell for each lane which of the operations takes a code, when the memories give it.

        Beyond the last term none does, so that the code is zero, whatever the memory holds there:
        what was loaded before or, in a simulator that knows of it, what nobody knows.
        """
        control, lanes = self.pass_read.control, self._size.lanes
        before = OperandMemory.latency - 1
        used = delay(m, "lanes_used", control.lanes_used, before)
        wanted = []
        for operation in (Operation.FORWARD, Operation.INPUT_GRADIENT, Operation.WEIGHT_GRADIENT):
            name = operation.name.lower()
            asked = fan_out(m, f"{name}_asked", control.operation == operation, lanes, before)
            wanted.append(
                [register(m, f"{name}_{lane}", asked[lane] & used[lane]) for lane in range(lanes)]
            )
        return zip(*wanted, strict=True)
