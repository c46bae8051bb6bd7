"""All memories of the training core that loads fill, and the ways to them."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from golden.command import INTEGER_BITS, Operation, Store
from golden.shift_multiply_array import ShiftOperand

from .copies import fan_out
from .dot_product_array import pass_flags
from .load_unit import load_write
from .operand_memory import OperandMemory, StripMemory
from .operand_walk import operand_read
from .product_unit import pass_control
from .result_unit import derivative_address_bits, result_write
from .select import equals
from .step_gradient import derivative_layout

__all__ = ["OperandStore"]

CODE_BITS = 4


class OperandStore(wiring.Component):
    """Activations, weights and gradients, the derivatives beside the first two, and biases.

    Results are written 3 cycles after they come, and loads a cycle after they come.

    The latency from ``control`` to operands, and from the other addresses to what is read, is
    4 cycles.

    Parameters
    ----------
    size : CoreSize
        Parameters of the core.

    Members
    -------
    load : ``In(load_write(size))``
        Writes of loads.
    load_memory : ``In(Store)``, load_waits : ``Out(1)``
        Memory of the load under way, and whether it must not write in the next cycle, as a result
        goes there.
    write : ``In(result_write(size))``, write_activations, write_gradients : ``In(1)``
        Writes of results.
    will_write_activations, will_write_gradients : ``In(1)``
        The same, a cycle before.
    integers : ``In(operand_read(size, rows))``, codes : ``In(operand_read(size, columns))``
        What to read for a pass.
    weight_address : ``In(16)``
        Which word of the weights.
    control : ``In(pass_control(size))``
        What goes with the pass.
    operand_flags : ``Out(pass_flags())``, operand, digit : ``Out(columns)``
        Of ``control``, what goes on with the operands; the last two once for each column.
    operand_integers : ``Out(...)``, operand_codes : ``Out(...)``
        Operands; see :class:`hdl.dot_product_array.DotProductArray`. Codes of lanes beyond the
        last term are zero.
    bias_address : ``In(16)``, biases : ``Out(ArrayLayout(signed(32), columns))``
        Reading of biases.
    derivative_address : ``In(derivative_address_bits(size))``
        Strip of derivatives to read.
    activation_derivatives, weight_derivatives : ``Out(ArrayLayout(derivative_layout, strip))``
        What is read.
    """

    latency = OperandMemory.latency + 1

    def __init__(self, size):
        self._size = size
        self._derivative = derivative_layout(size.residual_bits)
        strip = data.ArrayLayout(self._derivative, size.strip)
        super().__init__(
            {
                "load": In(load_write(size)),
                "load_memory": In(Store),
                "load_waits": Out(1),
                "write": In(result_write(size)),
                "write_activations": In(1),
                "write_gradients": In(1),
                "will_write_activations": In(1),
                "will_write_gradients": In(1),
                "integers": In(operand_read(size, size.rows)),
                "codes": In(operand_read(size, size.columns)),
                "weight_address": In(16),
                "control": In(pass_control(size)),
                "operand_flags": Out(pass_flags()),
                "operand": Out(size.columns),
                "digit": Out(size.columns),
                "operand_integers": Out(signed(INTEGER_BITS)).array(size.rows, size.lanes),
                "operand_codes": Out(CODE_BITS).array(size.columns, size.lanes),
                "bias_address": In(16),
                "biases": Out(data.ArrayLayout(signed(32), size.columns)),
                "derivative_address": In(derivative_address_bits(size)),
                "activation_derivatives": Out(strip),
                "weight_derivatives": Out(strip),
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
            StripMemory(words * strips_per_word, self._derivative, size.strip, size.load_lanes)
            for words in (size.activation_words, size.weight_words)
        )
        m.submodules.activation_codes = activations
        m.submodules.weight_codes = weights
        m.submodules.gradient_codes = gradients
        m.submodules.activation_side = activation_side
        m.submodules.weight_side = weight_side

        # Loads are told in time, by a register that has its place between both; of which memory is
        # known long before the first write of a load.
        waits = Signal(name="load_will_wait")
        m.d.sync += [
            waits.eq(
                (self.will_write_activations & equals(self.load_memory, Store.ACTIVATIONS))
                | (self.will_write_gradients & (self.load_memory == Store.GRADIENTS))
            ),
            self.load_waits.eq(waits),
        ]
        results = self._prepare_results(m)
        self._write_codes(m, activations, Store.ACTIVATIONS, results, size.columns)
        self._write_codes(m, weights, Store.WEIGHTS, results, size.columns)
        self._write_codes(m, gradients, Store.GRADIENTS, results, size.rows)
        self._write_side(m, activation_side, Store.ACTIVATIONS, results)
        self._write_side(m, weight_side, Store.WEIGHTS, results)
        self._keep_biases(m)
        m.d.comb += [
            activation_side.read_address.eq(self.derivative_address),
            weight_side.read_address.eq(self.derivative_address),
            self.activation_derivatives.eq(activation_side.read_data),
            self.weight_derivatives.eq(weight_side.read_data),
        ]
        self._read(m, activations, weights, gradients)
        return m

    def _prepare_results(self, m):
        """Delay results; tells where they go, if anywhere, and their row with a bit for each.

        None ever goes to the weights.
        """
        targets = {
            Store.ACTIVATIONS: self.write_activations,
            Store.GRADIENTS: self.write_gradients,
        }
        taken, ready = (
            Signal(result_write(self._size), name=f"result_{x}", reset_less=True)
            for x in ("taken", "ready")
        )
        rows = Signal(self._size.block, name="result_rows", reset_less=True)
        m.d.sync += [
            taken.eq(self.write),
            ready.eq(taken),
            *(rows[k].eq(equals(taken.row, k)) for k in range(len(rows))),
        ]
        for which, wanted in targets.items():
            name = which.name.lower()
            was_wanted = Signal(name=f"{name}_taken")
            targets[which] = Signal(name=f"{name}_ready")
            m.d.sync += [was_wanted.eq(wanted), targets[which].eq(was_wanted)]
        return targets, ready, rows

    def _write_codes(self, m, memory, which, results, width):
        """Write a group of a load, or a strip of ``width`` codes of a result."""
        load, group = self.load, self._size.load_lanes
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
        size, load = self._size, self.load
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
        size, load = self._size, self.load
        memory = StripMemory(size.bias_words, signed(32), size.columns, size.biases_per_beat)
        m.submodules.bias_memory = memory
        beats = size.columns // size.biases_per_beat
        log2_beats = beats.bit_length() - 1
        m.d.sync += [
            memory.write_address.eq(load.address[log2_beats:]),
            memory.write_data.eq(Cat(load.biases.as_value() for _ in range(beats))),
        ]
        m.d.comb += [
            memory.read_address.eq(self.bias_address),
            self.biases.eq(memory.read_data),
        ]
        for k in range(beats):
            this = equals(load.address[:log2_beats], k) if beats > 1 else Const(1)
            m.d.sync += memory.write_groups[k].eq(load.memories[Store.BIASES] & this)

    def _read(self, m, activations, weights, gradients):
        """Read both operands of a pass, and register them."""
        size = self._size
        integers, codes, control = self.integers, self.codes, self.control
        forward = control.operand == ShiftOperand.INT4
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
            weights.read_address.eq(self.weight_address),
            gradients.read_address.eq(codes.address),
        ]
        flags = control.flags
        for name in ("read", "kept", "chosen"):
            delayed = Signal(pass_flags(), name=f"flags_{name}")
            m.d.sync += delayed.eq(flags)
            flags = delayed
        m.d.sync += self.operand_flags.eq(flags)
        m.d.comb += [
            getattr(self, name).eq(Cat(fan_out(m, name, control[name], size.columns, 4)))
            for name in ("operand", "digit")
        ]
        by_input = control.operation == Operation.INPUT_GRADIENT
        for lane, wanted, forward_now, input_now, is_signed in zip(
            range(size.lanes),
            self._want_codes(m),
            *(
                fan_out(m, name, value, size.lanes, 3)
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
                m.d.sync += self.operand_integers[row][lane].eq(
                    Cat(code, code[-1] & is_signed).as_signed()
                )
            of_forward, of_input, of_weight = (bit.replicate(CODE_BITS) for bit in wanted)
            for column in range(size.columns):
                m.d.sync += self.operand_codes[column][lane].eq(
                    (weights.row_code(column, lane) & of_forward)
                    | (gradients.row_code(column, lane) & of_input)
                    | (gradients.column_code(column, lane) & of_weight)
                )

    def _want_codes(self, m):
        """Tell for each lane, 3 cycles after ``control``, which of the operations takes a code.

        Beyond the last term none does, so that the code is zero, whatever the memory holds there:
        what was loaded before or, in a simulator that knows of it, what nobody knows.
        """
        control, lanes = self.control, self._size.lanes
        used, used_then = (
            Signal(lanes, name=f"lanes_used_{x}", reset_less=True) for x in ("read", "kept")
        )
        m.d.sync += [used.eq(control.lanes_used), used_then.eq(used)]
        wanted = []
        for operation in (Operation.FORWARD, Operation.INPUT_GRADIENT, Operation.WEIGHT_GRADIENT):
            name = operation.name.lower()
            asked = fan_out(m, f"{name}_asked", control.operation == operation, lanes, 2)
            of_lanes = [Signal(name=f"{name}_{lane}", reset_less=True) for lane in range(lanes)]
            m.d.sync += [mine.eq(asked[k] & used_then[k]) for k, mine in enumerate(of_lanes)]
            wanted.append(of_lanes)
        return zip(*wanted, strict=True)
