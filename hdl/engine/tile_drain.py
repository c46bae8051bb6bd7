"""From tiles to strips: a complete tile leaves its registers row by row of the result."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from nibblegrad.golden.engine.command import Operation
from nibblegrad.hdl.array.dot_product_array import array_totals_signature
from nibblegrad.hdl.base.contracts import are_checked, promise
from nibblegrad.hdl.base.copies import spread
from nibblegrad.hdl.base.countdown import Countdown
from nibblegrad.hdl.base.pipeline import delay, delays, register
from nibblegrad.hdl.engine.commands import command_layout
from nibblegrad.hdl.engine.tile_credits import watched_tile_signature

__all__ = ["TileDrain", "strip_layout"]


def strip_layout(size):
    """Lay out the place of a strip in the result.

    ``element`` is the word of what the strip is the gradient of, ``result`` the word where its own
    codes go, ``row`` and ``column`` count codes in the word, ``number`` strips of the command;
    ``bias`` is the word of the biases; ``last`` marks the end of the result.
    """
    return data.StructLayout(
        {
            "valid": 1,
            "last": 1,
            "element": size.address_bits,
            "result": size.address_bits,
            "row": range(size.block),
            "column": range(size.block),
            "number": size.count_bits,
            "bias": size.address_bits,
            "lanes_used": size.strip,
        }
    )


class TileDrain(wiring.Component):
    """Keep a complete tile, and give its strips one by one while the next tile is added up.

    Forward, rows of the array are rows of the result. The gradients come out of the array
    transposed, and so leave it by its columns: what is stored and sent is always in row order.

    The latency from ``done`` to the first strip is 3 cycles; the throughput is one strip per cycle.
    No sum and no comparison comes before what depends on the end of a tile or of the product.

    Parameters
    ----------
    size : CoreSize
        Parameters of the core.
    accumulator_bits : int
        Width of a sum.
    flight : int
        Cycles from the last pass of a tile to ``done``.

    Members
    -------
    start : ``In(1)``, next_command : ``In(command_layout())``
        The next product starts, whose tiles are to come; it may do so in the cycle after the last
        strip of this one, once it has been stable for 3 cycles, and stays for one more.
    tile : ``In(watched_tile_signature(size.strip))``
        Tiles, ``flight`` cycles before they are done; see
        :mod:`nibblegrad.hdl.engine.tile_credits`.
    totals : ``In(array_totals_signature(rows, columns, accumulator_bits))``
        Sums of the array, and when a tile is done.
    popped, final : ``Out(1)``
        A strip leaves, and is the last one of the product. It is on ``strip`` 2 cycles later.
    strip : ``Out(strip_layout(size))``, numbers : ``Out(signed(accumulator_bits)).array(strip)``
        Its place, and the strip.
    """

    #: Cycles from a strip that leaves the registers to ``strip``: what it is, and where it belongs.
    strip_latency = 2
    #: Cycles from a tile that is done to its first strip that leaves the registers.
    take_latency = 1
    latency = take_latency + strip_latency

    def __init__(self, size, accumulator_bits, flight):
        self._size = size
        self._accumulator_bits = accumulator_bits
        self._flight = flight
        bits = signed(accumulator_bits)
        super().__init__(
            {
                "start": In(1),
                "next_command": In(command_layout()),
                "tile": In(watched_tile_signature(size.strip)),
                "totals": In(array_totals_signature(size.rows, size.columns, accumulator_bits)),
                "popped": Out(1),
                "final": Out(1),
                "strip": Out(strip_layout(size)),
                "numbers": Out(bits).array(size.strip),
            }
        )

    def elaborate(self, platform):
        m = Module()
        size = self._size
        forward = Signal()
        strips_left = Signal(range(size.strip + 1))
        last_strip = Signal()
        # No strip is the last one of its tile: for those who do not care about the strips of it.
        going_on = Signal(init=1)
        with m.If(self.start):
            m.d.sync += forward.eq(self.next_command.operation == Operation.FORWARD)

        # How many strips a tile has is known since it was issued. That it is there is known by the
        # same way, as `done` has its wires to the sums.
        tile = delay(m, "tile", self.tile.issued, self._flight, reset=True)
        *_, strips_next, strips = delays(m, "strips", self.tile.strips, self._flight)
        only_one = Signal(reset_less=True)
        m.d.sync += only_one.eq(strips_next == 1)
        promise(
            m,
            "a tile is done when the strips of the one before have left",
            ~(tile & self.popped & ~last_strip),
        )
        promise(
            m, "every row of a tile is done with it", self.totals.done == tile.replicate(size.rows)
        )
        self._promise_start(m)
        with m.If(tile):
            m.d.sync += [
                self.popped.eq(1),
                strips_left.eq(strips),
                last_strip.eq(only_one),
                going_on.eq(~only_one),
            ]
        with m.Elif(self.popped):
            m.d.sync += [
                self.popped.eq(~last_strip),
                strips_left.eq(strips_left - 1),
                last_strip.eq(strips_left == 2),
                going_on.eq(strips_left != 2),
            ]
        self._follow(m, forward, ~going_on)
        for lane, head in enumerate(self._registers(m, forward)):
            m.d.comb += self.numbers[lane].eq(delay(m, f"number_{lane}", head, self.strip_latency))
        return m

    def _promise_start(self, m):
        """State that the next product stands for three cycles, and starts when this one is out."""
        if not are_checked():
            return
        promise(
            m,
            "a product starts when the strips of the one before have left",
            ~(self.start & self.popped & ~self.final),
        )
        command = self.next_command.as_value()
        same = register(m, "next_command_before", command) == command
        stands = Cat(delays(m, "next_command_stands", same, 1, reset=True))
        promise(
            m, "a product has stood for three cycles when it starts", ~self.start | stands.all()
        )

    def _registers(self, m, forward):
        """Hold a tile; returns the strip at its head."""
        size = self._size
        bits = signed(self._accumulator_bits)
        waiting = [
            [
                Signal(bits, name=f"waiting_{row}_{column}", reset_less=True)
                for column in range(size.columns)
            ]
            for row in range(size.rows)
        ]
        by_row = spread(m, "by_row", forward, size.rows + 1)
        for row in range(size.rows):
            for column in range(size.columns):
                below = waiting[row + 1][column] if row + 1 < size.rows else Const(0)
                right = waiting[row][column + 1] if column + 1 < size.columns else Const(0)
                m.d.sync += waiting[row][column].eq(
                    Mux(
                        self.totals.done[row],
                        self.totals.sums[row][column],
                        Mux(by_row[row], below, right),
                    )
                )
        head = []
        for lane in range(size.strip):
            of_row = waiting[0][lane] if lane < size.columns else Const(0, bits)
            of_column = waiting[lane][0] if lane < size.rows else Const(0, bits)
            head.append(Mux(by_row[-1], of_row, of_column))
        return head

    def _extents(self, m, forward):
        """Count down what is left of the result.

        Returns the countdowns of its rows and columns, whether the next product has only one tile,
        and how many words a row of words of it takes.
        """
        size, command = self._size, self.next_command
        log2_block = size.block.bit_length() - 1
        height = Mux(forward, size.rows, size.columns)
        width = Mux(forward, size.columns, size.rows)
        # Of the next product, before it starts.
        by_weight = command.operation == Operation.WEIGHT_GRADIENT
        is_forward = command.operation == Operation.FORWARD
        next_rows_rest, next_columns_rest = (
            Signal(signed(size.count_bits + 1), name=f"next_{x}_rest", reset_less=True)
            for x in ("rows", "columns")
        )
        next_across = Signal(size.count_bits, reset_less=True)
        next_height, next_width = (
            Signal(size.count_bits, name=f"next_{x}", reset_less=True) for x in ("height", "width")
        )
        by_row = Signal(reset_less=True)
        m.d.sync += [
            by_row.eq(is_forward),
            next_height.eq(Mux(by_weight, command.outputs, command.batch)),
            next_width.eq(Mux(is_forward, command.outputs, command.inputs)),
            next_rows_rest.eq(Countdown.first(next_height, Mux(by_row, size.rows, size.columns))),
            next_columns_rest.eq(Countdown.first(next_width, Mux(by_row, size.columns, size.rows))),
            next_across.eq((next_width + (size.block - 1)) >> log2_block),
        ]

        rows = Countdown(
            m,
            "rows",
            next_height,
            height,
            next_rows_rest,
            Mux(by_row, size.rows, size.columns),
            once=True,
        )
        columns = Countdown(
            m, "columns", next_width, width, next_columns_rest, Mux(by_row, size.columns, size.rows)
        )
        only_one = register(
            m, "next_only_one", next_columns_rest[-1] & next_rows_rest[-1], reset=True
        )
        return rows, columns, only_one, next_across

    def _follow(self, m, forward, tile_ends):
        """Follow the place of the strip in the result."""
        size = self._size
        rows, columns, only_one, next_across = self._extents(m, forward)
        # Whether the next tile to end is the last one is known beforehand, as what starts with it
        # sets the rest of the next product in the same cycle.
        at_end = Signal()
        m.d.comb += self.final.eq(tile_ends & at_end)
        with m.If(tile_ends):
            columns.next()
            m.d.sync += at_end.eq(columns.end_after & Mux(columns.end, rows.end_after, rows.end))
        with m.If(tile_ends & columns.end):
            rows.next()
        with m.If(self.start):
            rows.start()
            columns.start()
            m.d.sync += at_end.eq(only_one)

        # The place follows a cycle later, by what has been found.
        names = "start_delayed popped_delayed tile_ended row_ended ended forward_delayed".split()
        start_delayed, popped, tile_ended, row_ended, ended, forward_delayed = (
            Signal(name=name) for name in names
        )
        m.d.sync += [
            start_delayed.eq(self.start),
            popped.eq(self.popped),
            tile_ended.eq(tile_ends & ~columns.end),
            row_ended.eq(tile_ends & columns.end),
            ended.eq(self.final),
            forward_delayed.eq(forward),
            self.strip.valid.eq(popped),
            self.strip.last.eq(ended),
        ]
        for lane in range(size.strip):
            used = [
                columns.reaches(step, lane) if lane < step else Const(0)
                for step in (size.rows, size.columns)
            ]
            lane_used = Signal(name=f"lane_used_{lane}")
            m.d.sync += [
                lane_used.eq(Mux(forward, used[1], used[0])),
                self.strip.lanes_used[lane].eq(lane_used),
            ]
        self._place(m, forward_delayed, start_delayed, popped, tile_ended, row_ended, next_across)

    def _place(self, m, forward, start_delayed, popped, tile_ended, row_ended, next_across):
        """Count along with the strips, tiles and rows of tiles that have ended."""
        size, command = self._size, self.next_command
        height = Mux(forward, size.rows, size.columns)
        width = Mux(forward, size.columns, size.rows)
        base, result_base, bias_base = (
            Signal(size.address_bits, name=name, reset_less=True)
            for name in ("base", "result_base", "bias_base")
        )
        across = Signal(size.count_bits, reset_less=True)  # words of a row of words
        word, row_word, below, number, bias = (
            Signal(size.address_bits, name=x, reset_less=True)
            for x in ("word", "row_word", "below", "number", "bias")
        )
        tile_row, tile_column, row = (
            Signal(range(size.block), name=x, reset_less=True)
            for x in ("tile_row", "tile_column", "row")
        )
        following_row, following_column = (
            Signal(range(size.block), name=x) for x in ("following_row", "following_column")
        )
        m.d.sync += below.eq(row_word + across)
        m.d.comb += [
            following_row.eq(tile_row + height),
            following_column.eq(tile_column + width),
        ]
        with m.If(popped):
            m.d.sync += [row.eq(row + 1), number.eq(number + 1)]
        with m.If(tile_ended):
            m.d.sync += [tile_column.eq(following_column), row.eq(tile_row), bias.eq(bias + 1)]
            with m.If(~following_column.any()):
                m.d.sync += word.eq(word + 1)
        with m.Elif(row_ended):
            m.d.sync += [
                tile_column.eq(0),
                word.eq(row_word),
                tile_row.eq(following_row),
                row.eq(following_row),
                bias.eq(bias_base),
            ]
            with m.If(~following_row.any()):
                m.d.sync += [row_word.eq(below), word.eq(below)]
        with m.If(start_delayed):
            of_weights = command.operation == Operation.WEIGHT_GRADIENT
            m.d.sync += [
                across.eq(next_across),
                base.eq(Mux(of_weights, command.weight_base, command.activation_base)),
                result_base.eq(command.result_base),
                bias_base.eq(command.bias_base),
                bias.eq(command.bias_base),
                Cat(word, row_word, tile_row, tile_column, row, number).eq(0),
            ]
        m.d.sync += [
            self.strip.element.eq(base + word),
            self.strip.result.eq(result_base + word),
            self.strip.row.eq(row),
            self.strip.column.eq(tile_column),
            self.strip.number.eq(number),
            self.strip.bias.eq(bias),
        ]
