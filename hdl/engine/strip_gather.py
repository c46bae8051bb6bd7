"""What belongs to a strip comes together: its partial sums, biases and derivatives."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from nibblegrad.hdl.array.structures import PLAIN
from nibblegrad.hdl.base.copies import spread
from nibblegrad.hdl.base.pipeline import Flow
from nibblegrad.hdl.cores.step_gradient import derivative_layout
from nibblegrad.hdl.engine.operand_memory import StripMemory
from nibblegrad.hdl.engine.store_ports import strip_read_signature
from nibblegrad.hdl.engine.tile_drain import strip_layout

__all__ = ["StripGather"]


class StripGather(wiring.Component):
    """Add partial sums to strips, keep them where they are wanted, and bring what goes with them.

    The latency from ``place`` to the outputs is ``latency`` cycles; the throughput is one strip
    per cycle.

    Parameters
    ----------
    size : CoreSize
        Parameters of the core.
    accumulator_bits : int
        Width of the sums of the array.
    structure : Structure
        What says how deep a bank of memory is.

    Members
    -------
    place : ``In(strip_layout(size))``, numbers : ``In(signed(accumulator_bits)).array(strip)``
        A strip and its place; see :class:`nibblegrad.hdl.engine.tile_drain.TileDrain`.
    accumulate : ``In(1)``
        Whether partial sums are added. Stable while strips are inside, as the two that follow.
    by_weight : ``In(1)``
        Whether derivatives are those of the weights.
    to_sums : ``In(1)``
        Whether the strip is kept as partial sums.
    read : ``Out(strip_read_signature(size))``
        Reading of biases and derivatives.
    o_place : ``Out(strip_layout(size))``
        The place of the strip that comes out.
    sums : ``Out(ArrayLayout(signed(sum_bits), strip))``
        Its sums; 0 in lanes beyond the result.
    biases : ``Out(ArrayLayout(signed(sum_bits), strip))``
        Its biases; 0 in lanes that the array has no column for.
    derivatives : ``Out(ArrayLayout(derivative_layout(size.residual_bits), strip))``
        Derivatives of what it is the gradient of.
    """

    # The memories answer; what they bring is gathered in one cycle, and used in the next.
    latency = StripMemory.latency + 2

    def __init__(self, size, accumulator_bits, structure=PLAIN):
        self._size = size
        self._structure = structure
        strip = size.strip
        sums = data.ArrayLayout(signed(size.sum_bits), strip)
        derivatives = data.ArrayLayout(derivative_layout(size.residual_bits), strip)
        super().__init__(
            {
                "place": In(strip_layout(size)),
                "numbers": In(signed(accumulator_bits)).array(strip),
                "accumulate": In(1),
                "by_weight": In(1),
                "to_sums": In(1),
                "read": Out(strip_read_signature(size)),
                "o_place": Out(strip_layout(size)),
                "sums": Out(sums),
                "biases": Out(data.ArrayLayout(signed(size.sum_bits), strip)),
                "derivatives": Out(derivatives),
            }
        )

    def elaborate(self, platform):
        m = Module()
        size = self._size
        m.submodules.partial_sums = memory = StripMemory(
            size.partial_sum_strips,
            signed(size.sum_bits),
            size.strip,
            size.strip,
            self._structure,
        )
        strip_of_word = Cat(self._strip_column, self.place.row)
        m.d.comb += [
            memory.read_address.eq(self.place.number),
            self.read.bias_address.eq(self.place.bias),
            self.read.derivative_address.eq(Cat(strip_of_word, self.place.element)),
        ]
        flow = Flow(m)
        place = flow.input("place", self.place)
        valid = flow.input("valid", self.place.valid, reset=True)
        # What the memories bring is gathered in a cycle, and used in the next one.
        gathered = StripMemory.latency + 1
        is_stored = flow.stage(
            "is_stored",
            lambda valid: valid & self.to_sums,
            flow.input("gathered_valid", flow.at(valid, gathered), gathered, reset=True),
            reset=True,
        )
        sums = self._add(m, flow, place, memory)
        biases = [
            flow.keep("bias", flow.keep("bias_gathered", value)) for value in self._biases(flow)
        ]
        derivatives = self._choose(m, flow, place)
        outputs = {"place": place, "valid": valid, "is_stored": is_stored}
        for name, values in (("sum", sums), ("bias", biases), ("derivative", derivatives)):
            outputs |= {f"{name}_{lane}": value for lane, value in enumerate(values)}
        place, valid, is_stored, *values = flow.close(self.latency, **outputs)
        count = size.strip
        m.d.comb += [
            self.o_place.eq(place),
            self.o_place.valid.eq(valid),
            self.sums.eq(Cat(values[:count])),
            self.biases.eq(Cat(values[count : 2 * count])),
            self.derivatives.eq(Cat(values[2 * count :])),
            memory.write_address.eq(self.o_place.number),
            memory.write_data.eq(self.sums),
            memory.write_groups.eq(is_stored),
        ]
        return m

    @property
    def _strip_column(self):
        """Which strip of a row of a word it is."""
        return self.place.column[self._size.strip.bit_length() - 1 :]

    def _add(self, m, flow, place, memory):
        """Add the partial sums, where they are wanted."""
        size = self._size
        accumulate = spread(m, "accumulate", self.accumulate, size.strip)
        sums = []
        for lane in range(size.strip):
            partial = flow.input("partial", memory.read_data[lane], StripMemory.latency)
            addend = flow.stage(
                f"addend_{lane}",
                lambda partial, lane=lane: Mux(accumulate[lane], partial, 0),
                partial,
            )

            def add(number, addend, place, lane=lane):
                total = Signal(signed(size.sum_bits), name=f"total_{lane}")
                m.d.comb += total.eq(number.as_signed() + addend.as_signed())
                return Mux(strip_layout(size)(place).lanes_used[lane], total, 0)

            number = flow.input(f"number_{lane}", self.numbers[lane])
            sums.append(flow.stage(f"sum_{lane}", add, number, addend, place))
        return sums

    def _biases(self, flow):
        """List what is read as the bias of each lane; none beyond the columns of the array."""
        columns = self._size.columns
        for lane in range(self._size.strip):
            value = (
                self.read.biases[lane] if lane < columns else Const(0, signed(self._size.sum_bits))
            )
            yield flow.input(f"bias_{lane}", value, StripMemory.latency)

    def _choose(self, m, flow, place):
        """Choose the derivatives of what the strip is the gradient of."""
        size = self._size
        by_weight = spread(m, "by_weight", self.by_weight, size.strip)
        chosen = []
        for lane in range(size.strip):
            chosen.append(
                flow.stage(
                    f"derivative_gathered_{lane}",
                    lambda weight, activation, lane=lane: Mux(by_weight[lane], weight, activation),
                    *(
                        flow.input(name, getattr(self.read, name)[lane], StripMemory.latency)
                        for name in ("weight_derivatives", "activation_derivatives")
                    ),
                )
            )
        # A strip of the gradients is as wide as the array has rows.
        low, high = size.rows.bit_length() - 1, size.strip.bit_length() - 1

        def of_part(place, *options):
            part = strip_layout(size)(place).column[low:high]
            return Array(options)[part] if len(options) > 1 else options[0]

        return [
            flow.stage(f"derivative_{lane}", of_part, place, *chosen[lane % size.rows :: size.rows])
            for lane in range(size.strip)
        ]
