# amaranth: UnusedElaboratable=no
"""Array of dot products without a multiplier: integers times FP4 codes, or times signed digits."""

# Ref: US12443841B2: integer register, gradient register, M x N processing units of binary
#      shifters and an adder tree, rounders, memory bank

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from nibblegrad.golden.cores.shift_multiply_array import ShiftOperand, accumulator_bits
from nibblegrad.golden.numbers.gradient_format import GradientFormat
from nibblegrad.hdl.array.dot_product_array import DotProductArray
from nibblegrad.hdl.array.structure import Structure
from nibblegrad.hdl.array.structures import PLAIN
from nibblegrad.hdl.base.event_counters import EventCounters, event_members
from nibblegrad.hdl.base.parameters import check_integer, check_type
from nibblegrad.hdl.base.random_bits import RandomBits
from nibblegrad.hdl.base.stream import beat_signature
from nibblegrad.hdl.encoders.rounding import round_up
from nibblegrad.hdl.encoders.shifter import shift_right

__all__ = ["EVENTS", "ShiftMultiplyArray"]

EVENTS = ("saturation", "length_error")


class ShiftMultiplyArray(wiring.Component):
    """Multiply a tile of integers by a tile of shift operands, without a multiplier.

    A beat on ``i`` brings ``lanes`` terms of each of ``rows`` integer vectors and of each of
    ``columns`` vectors of four-bit codes; unit (row, column) adds up the products of its two
    vectors. After the beat with ``last`` the sums, which are exact, are divided by ``2**shift``,
    rounded, clipped to ``output_bits`` and stored in the memory bank, from where ``o`` brings one
    row of ``columns`` numbers per beat. Vectors that are no multiple of the lanes are padded with
    integers 0.

    FP4 codes take one cycle per beat. INT4 codes take two, one per signed digit: ``i`` accepts
    such a beat in its second cycle.

    The sums leave when the bank has room for the tile, and at least ``rows`` cycles after those of
    the tile before. Until then a tile that is complete waits in the accumulators, and no beat is
    accepted; ``i.ready`` depends on registers and on ``operand`` alone. Every row takes random
    bits, whatever the mode.

    The golden models are :func:`nibblegrad.golden.cores.shift_multiply_array.matmul` and
    ``round_accumulators``.

    The latency, from the acceptance of a beat with ``last`` to the first row on ``o``, is
    ``latency`` cycles where the tile need not wait: 6 and those of
    :class:`nibblegrad.hdl.array.dot_product_array.DotProductArray`. The throughput is one pass per
    cycle, as long as ``bank_tiles`` tiles last ``latency + rows`` cycles and ``o`` is read.

    Parameters
    ----------
    fmt : GradientFormat
        Radix of FP4 codes.
    rows, columns : int
        Size of the array, 1 to 64 each.
    lanes : int
        Count of terms in a beat, 1 to 64.
    integer_bits : int
        Width of the signed integer operand, 4 to 9; 5 holds INT4 and UINT4.
    max_terms : int
        Most terms of a sum; the accumulators are made wide enough, up to 32 bits.
    output_bits : int
        Width of a rounded number, 4 to 32.
    bank_tiles : int
        Count of tiles that the memory bank holds, 1 to 64.
    random_bits : int
        Random bits per number, 1 to 24.
    seed : int
        Seed of the random bits after reset.
    structure : Structure
        What lanes, trees and accumulators are built of.

    Members
    -------
    i : ``In(beat_signature(StructLayout({"integers": ..., "codes": ...})))``
        ``integers``: rows of lanes of ``signed(integer_bits)``, lane 0 of row 0 lowest; above
        them ``codes``: columns of lanes of 4 bits.
    o : ``Out(beat_signature(ArrayLayout(signed(output_bits), columns)))``
        Rows of the tile; ``last`` with the last one.
    i_seed : ``In(stream.Signature(32))``, seed_error : ``Out(1)``
        See :class:`nibblegrad.hdl.base.random_bits.RandomBits`.
    operand : ``In(1)``
        What the codes are: a :class:`nibblegrad.golden.cores.shift_multiply_array.ShiftOperand`.
    shift : ``In(5)``
        Count of bits to discard; at most the width of an accumulator.
    mode : ``In(2)``
        A :class:`nibblegrad.golden.numbers.rounding.RoundMode` but SELF_STOCHASTIC, which
        truncates. These three are stable from the first beat of a tile until its last row is out.
    saturation_count, length_error_count : ``Out(32)``
        Clipped numbers; beats beyond ``max_terms``, whose tile is wrong.
    saturation_seen, length_error_seen : ``Out(1)``
        Sticky: whether there was any.
    clear_counts : ``In(1)``
        Clears the counts and sticky bits.

    Raises
    ------
    TypeError, ValueError
        If a parameter is not what it must be.
    """

    def __init__(
        self,
        fmt,
        rows=4,
        columns=4,
        lanes=8,
        integer_bits=5,
        max_terms=4096,
        output_bits=32,
        bank_tiles=4,
        random_bits=8,
        seed=1,
        structure=PLAIN,
    ):
        check_integer("Row count", rows, 1, 64)
        check_integer("Column count", columns, 1, 64)
        check_integer("Lane count", lanes, 1, 64)
        check_type("Code format", fmt, GradientFormat)
        check_integer("Integer width", integer_bits, 4, 9)
        check_integer("Largest count of terms", max_terms, lanes, 1 << 24)
        check_integer("Output width", output_bits, 4, 32)
        check_integer("Bank size", bank_tiles, 1, 64)
        check_integer("Random bit count", random_bits, 1, 24)
        check_integer("Seed", seed, 0, 2**64 - 1)
        check_type("Structure", structure, Structure)
        if accumulator_bits(max_terms, integer_bits, fmt) > 32:
            raise ValueError(
                f"Sums of {max_terms} terms need "
                f"{accumulator_bits(max_terms, integer_bits, fmt)} bits, and 32 are there; "
                f"make max_terms smaller"
            )
        self._rows = rows
        self._columns = columns
        self._lanes = lanes
        self._fmt = fmt
        self._integer_bits = integer_bits
        self._max_terms = max_terms
        self._output_bits = output_bits
        self._bank_tiles = bank_tiles
        self._random_bits = random_bits
        self._seed = seed
        self.accumulator_bits = accumulator_bits(max_terms, integer_bits, fmt)
        self._array = DotProductArray(
            fmt, rows, columns, lanes, integer_bits, self.accumulator_bits, structure
        )
        self.latency = 6 + self._array.latency
        operands = data.StructLayout(
            {
                "integers": data.ArrayLayout(data.ArrayLayout(signed(integer_bits), lanes), rows),
                "codes": data.ArrayLayout(data.ArrayLayout(4, lanes), columns),
            }
        )
        super().__init__(
            {
                "i": In(beat_signature(operands)),
                "o": Out(beat_signature(data.ArrayLayout(signed(output_bits), columns))),
                "i_seed": In(stream.Signature(32)),
                "seed_error": Out(1),
                "operand": In(1),
                "shift": In(5),
                "mode": In(2),
                **event_members(EVENTS),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.counters = counters = EventCounters(EVENTS, max(self._columns, 1))
        m.submodules.random_bits = random = RandomBits(self._columns, self._random_bits, self._seed)

        done, sums, too_long, room = self._multiply(m, random.o.valid)
        row_valid, row_last, row, clipped = self._round(m, done, sums, random)

        # Memory bank. Room was made sure of before, so it always takes a row.
        width = len(row) + 1
        # The FIFO's own output register is one row of it; with less than two rows of memory it
        # would be another kind of FIFO, of another latency.
        depth = max(3, self._rows * self._bank_tiles)
        m.submodules.bank = bank = SyncFIFOBuffered(width=width, depth=depth)
        m.d.comb += [
            bank.w_data.eq(Cat(row, row_last)),
            bank.w_en.eq(row_valid),
            Cat(self.o.p.data.as_value(), self.o.p.last).eq(bank.r_data),
            self.o.valid.eq(bank.r_rdy),
            bank.r_en.eq(self.o.ready),
            room.eq(self.o.valid & self.o.ready & self.o.p.last),
        ]
        counters.connect(
            m,
            self,
            strobe=row_valid | too_long,
            saturation=Mux(row_valid, clipped, 0),
            length_error=too_long,
        )
        return m

    def _multiply(self, m, random_ready):
        """Take beats while the bank has room, and see to the two passes of INT4.

        Returns a pulse when the sums are complete, and them; whether a beat is beyond the largest
        count of terms; and a signal to drive when a tile has left the bank.
        """
        free_tiles = Signal(range(self._bank_tiles + 1), init=self._bank_tiles)
        rows_to_drain = Signal(range(self._rows + 1))
        digit = Signal()
        first = Signal(init=1)
        tile_left = Signal()
        terms = Signal(range(self._max_terms + 1))

        two_passes = self.operand == ShiftOperand.INT4
        final_pass = Signal()
        may_end = Signal()
        ends = Signal()
        # A tile whose last beat comes before it may end waits for that in the accumulators: so no
        # beat has to wait for what it says itself.
        end_waits = Signal()
        accepted = self.i.valid & self.i.ready
        m.d.comb += [
            final_pass.eq(digit | ~two_passes),
            may_end.eq(free_tiles.any() & ~rows_to_drain.any() & random_ready),
            self.i.ready.eq(final_pass & ~end_waits),
            ends.eq(may_end & ((accepted & self.i.p.last) | end_waits)),
        ]
        with m.If(self.i.valid & ~end_waits):
            m.d.sync += [digit.eq(~final_pass), first.eq(0)]
        with m.If(accepted & self.i.p.last & ~may_end):
            m.d.sync += end_waits.eq(1)
        with m.If(ends):
            m.d.sync += [end_waits.eq(0), first.eq(1)]
        with m.If(ends):
            m.d.sync += rows_to_drain.eq(self._rows - 1)
        with m.Elif(rows_to_drain.any()):
            m.d.sync += rows_to_drain.eq(rows_to_drain - 1)
        m.d.sync += free_tiles.eq(free_tiles - ends + tile_left)

        # A beat too many would let an accumulator overflow: it is counted.
        too_long = Signal()
        limit = self._max_terms - self._max_terms % self._lanes
        m.d.sync += too_long.eq(accepted & (terms == limit))
        with m.If(accepted):
            m.d.sync += terms.eq(
                Mux(self.i.p.last, 0, Mux(terms == limit, limit, terms + self._lanes))
            )

        m.submodules.array = array = self._array
        m.d.comb += [
            array.operands.flags.valid.eq(self.i.valid & ~end_waits),
            array.operands.flags.first.eq(first),
            array.operands.flags.last.eq(ends),
            array.operands.operand.eq(self.operand.replicate(len(array.operands.operand))),
            array.operands.digit.eq(digit.replicate(len(array.operands.digit))),
        ]
        for lane in range(self._lanes):
            m.d.comb += [
                array.operands.integers[row][lane].eq(self.i.p.data.integers[row][lane])
                for row in range(self._rows)
            ]
            m.d.comb += [
                array.operands.codes[column][lane].eq(self.i.p.data.codes[column][lane])
                for column in range(self._columns)
            ]
        sums = [
            array.totals.sums[row][column]
            for row in range(self._rows)
            for column in range(self._columns)
        ]
        return array.totals.done[0], sums, too_long, tile_left

    def _round(self, m, done, sums, random):
        """Round one row per cycle. Returns its valid bit, last bit, numbers and clipped lanes."""
        # While the sums wait here, row by row, the next tile is added up.
        waiting = [
            Signal.like(total, name=f"waiting_{k}", reset_less=True) for k, total in enumerate(sums)
        ]
        left = Signal(range(self._rows + 1))
        with m.If(done):
            m.d.sync += left.eq(self._rows)
            m.d.sync += [mine.eq(total) for mine, total in zip(waiting, sums, strict=True)]
        with m.Elif(left.any()):
            m.d.sync += left.eq(left - 1)
            m.d.sync += [
                mine.eq(above)
                for mine, above in zip(waiting, waiting[self._columns :], strict=False)
            ]
        random.connect(m, self, left.any())

        bits = self._random_bits
        valid = [Signal(name=f"row_valid_{k}") for k in range(3)]
        last = [Signal(name=f"row_last_{k}") for k in range(3)]
        m.d.sync += [
            Cat(valid).eq(Cat(left.any(), valid[:-1])),
            Cat(last).eq(Cat(left == 1, last[:-1])),
        ]
        results = []
        clipped = Signal(self._columns)
        reach = 1 << (self._output_bits - 1)
        for column in range(self._columns):
            number = waiting[column]
            wide = Cat(Const(0, bits), number).as_signed()
            shifted, lost = shift_right(m, f"column_{column}", wide, self.shift, len(wide))
            kept = Signal(signed(len(number)), name=f"kept_{column}", reset_less=True)
            dropped = Signal(bits, name=f"dropped_{column}", reset_less=True)
            sticky = Signal(name=f"sticky_{column}", reset_less=True)
            noise = Signal(bits, name=f"noise_{column}", reset_less=True)
            m.d.sync += [
                kept.eq(shifted[bits:].as_signed()),
                dropped.eq(shifted[:bits]),
                sticky.eq(lost),
                noise.eq(random.o.payload[column]),
            ]
            rounded = Signal(signed(len(number) + 1), name=f"rounded_{column}", reset_less=True)
            m.d.sync += rounded.eq(
                round_up(m, f"round_{column}", kept, dropped, sticky, self.mode, noise)
            )
            result = Signal(signed(self._output_bits), name=f"result_{column}", reset_less=True)
            limited = Signal(signed(self._output_bits), name=f"limited_{column}")
            beyond = Signal(name=f"beyond_{column}")
            m.d.comb += limited.eq(rounded)
            with m.If(rounded < -reach):
                m.d.comb += [limited.eq(-reach), beyond.eq(1)]
            with m.Elif(rounded > reach - 1):
                m.d.comb += [limited.eq(reach - 1), beyond.eq(1)]
            m.d.sync += [result.eq(limited), clipped[column].eq(beyond)]
            results.append(result)
        return valid[-1], last[-1], Cat(results), clipped
