"""Bench of :class:`nibblegrad.hdl.cores.shift_multiply_array.ShiftMultiplyArray`."""

import itertools

import cocotb
import numpy as np
from cocotb.triggers import ClockCycles, RisingEdge

from nibblegrad.golden.cores.shift_multiply_array import ShiftOperand, matmul, round_accumulators
from nibblegrad.golden.numbers.formats import IntFormat
from nibblegrad.golden.numbers.random_bits import RandomBits, seed_state
from nibblegrad.golden.numbers.rounding import RoundMode
from verif.support.benches import benched_module
from verif.support.coverage import Coverage, assert_equal
from verif.support.packing import pack, unpack
from verif.support.sim import bench_params
from verif.support.stream import (
    PACES,
    Sink,
    Source,
    always,
    check_counts,
    configure,
    load_seed,
    start,
)

PARAMS = bench_params()
PARAMETERS = benched_module().arguments()
FMT = PARAMETERS["fmt"]
ROWS, COLUMNS, LANES = (PARAMETERS[key] for key in ("rows", "columns", "lanes"))
INTEGER, OUTPUT = (IntFormat(PARAMETERS[key]) for key in ("integer_bits", "output_bits"))
BITS, SEED, MAX_TERMS = (PARAMETERS[key] for key in ("random_bits", "seed", "max_terms"))
MODES = [RoundMode.NEAREST_EVEN, RoundMode.STOCHASTIC, RoundMode.TRUNCATE]
BINS = (
    "fp4 int4 nearest_even stochastic truncate saturated shift_zero shift_large one_beat "
    "partial_beat negative_zero_code least_integer input_stalled output_stalled"
)
#: Whether the largest sums, which the bench makes, are too large for a result.
SATURATES = (MAX_TERMS - MAX_TERMS % LANES) * -INTEGER.least * FMT.greatest > OUTPUT.greatest


def beats_of(tiles):
    """Pack tiles, pairs of (rows, terms) integers and (columns, terms) codes, into beats."""
    tdata, tlast = [], []
    for integers, codes in tiles:
        pad = -integers.shape[1] % LANES
        parts = []
        for matrix, width in ((integers, INTEGER.bits), (codes, 4)):
            padded = np.pad(matrix, ((0, 0), (0, pad)))
            blocks = padded.reshape(len(padded), -1, LANES).transpose(1, 0, 2)
            parts.append((pack(blocks.reshape(len(blocks), -1), width), len(padded) * width))
        (low, size), (high, _) = parts
        tdata += [a | b << (size * LANES) for a, b in zip(low, high, strict=True)]
        tlast += [0] * (len(low) - 1) + [1]
    return {"tdata": tdata, "tlast": tlast}


async def run(dut, coverage, tiles, operand, shift, mode, paces=(always, always), random=None):
    """Multiply tiles, and compare with the golden model."""
    random = random or RandomBits(seed_state(SEED))
    configure(dut, operand=operand, shift=shift, mode=mode)
    source, sink = Source(dut), Sink(dut)
    beats = beats_of(tiles)
    sending = cocotb.start_soon(source.send(beats, paces[0]))
    received = await sink.receive(len(tiles) * ROWS, paces[1])
    await sending
    await ClockCycles(dut.aclk, 3)

    got = unpack(received["tdata"], COLUMNS, OUTPUT.bits, signed=True)
    got = got.reshape(len(tiles), ROWS, COLUMNS)
    saturations = 0
    for n, (integers, codes) in enumerate(tiles):
        if operand is ShiftOperand.INT4:
            codes = (codes ^ 8) - 8
        sums = matmul(integers, codes, operand, FMT)
        noise = random.elements(sums.size, BITS, COLUMNS).reshape(sums.shape)
        golden = round_accumulators(sums, shift, OUTPUT, mode, noise, BITS)
        saturations += golden.saturations
        assert_equal(
            f"tile {n} of {integers.shape[1]} terms, {operand.name}, {mode.name}, shift {shift}",
            got[n], golden.values.astype(int), sum=sums, noise=noise,
        )  # fmt: skip
        coverage.cover(
            one_beat=integers.shape[1] <= LANES,
            # With one lane there is none.
            partial_beat=integers.shape[1] % LANES > 0 or LANES == 1,
            least_integer=integers == INTEGER.least,
            negative_zero_code=(codes == 8) if operand is ShiftOperand.FP4 else 0,
        )
        coverage.vectors(sums.size)
    assert_equal("last", received["tlast"], ([0] * (ROWS - 1) + [1]) * len(tiles))
    coverage.cover(
        **{operand.name.lower(): 1, mode.name.lower(): 1},
        saturated=saturations,
        shift_zero=shift == 0,
        shift_large=shift > 16,
        input_stalled=source.stalls,
        output_stalled=sink.stalls,
    )
    return saturations


def random_tile(rng, terms):
    integers = rng.integers(INTEGER.least, INTEGER.greatest + 1, (ROWS, terms))
    return integers, rng.integers(16, size=(COLUMNS, terms))


def random_tiles(rng, lengths):
    """Make tiles of chance, with the least integer and the negative zero somewhere."""
    tiles = [random_tile(rng, int(length)) for length in lengths]
    for part, special in ((0, INTEGER.least), (1, 8)):
        matrix = tiles[int(rng.integers(len(tiles)))][part]
        matrix.flat[int(rng.integers(matrix.size))] = special
    return tiles


@cocotb.test()
async def multiplies_every_pair(dut):
    """Every integer times every code, alone in each lane of each unit: FP4 and INT4."""
    integers = np.arange(INTEGER.least, INTEGER.greatest + 1)
    pairs = np.array(list(itertools.product(integers, range(16))))
    coverage = Coverage(PARAMS["core"], ["fp4", "int4", "least_integer", "negative_zero_code"])
    ignored = Coverage(PARAMS["core"], BINS.split())
    for operand in ShiftOperand:
        await start(dut, operand=operand, shift=0, mode=RoundMode.TRUNCATE)
        # Row r takes the r-th chunk of integers, column c the c-th chunk of codes; within a tile
        # only one lane is not zero, another one each time.
        tiles = []
        lane = 0
        for k in range(0, len(pairs), ROWS):
            chunk = np.resize(pairs[k : k + ROWS], (ROWS, 2))
            for first in range(0, 16, COLUMNS):
                tile = np.zeros((ROWS, LANES), int), np.zeros((COLUMNS, LANES), int)
                tile[0][:, lane] = chunk[:, 0]
                tile[1][:, lane] = (chunk[0, 1] + first + np.arange(COLUMNS)) % 16
                tiles.append(tile)
                lane = (lane + 1) % LANES
        # Rows share the codes of a tile, so every pair meets in row 0 at least.
        met = {(int(a), int(c)) for x, y in tiles for a in x.max(1) + x.min(1) for c in y.max(1)}
        assert len(met) == len(pairs), f"{len(met)} of {len(pairs)} pairs"
        await run(dut, ignored, tiles, operand, 0, RoundMode.TRUNCATE)
        coverage.vectors(len(tiles) * ROWS * COLUMNS)
        coverage.cover(
            **{operand.name.lower(): len(tiles)},
            least_integer=pairs[:, 0] == INTEGER.least,
            negative_zero_code=pairs[:, 1] == 8,
        )
    coverage.close()


@cocotb.test()
async def matches_golden(dut):
    """Random tiles of every length, operand, mode and shift, at any pace; sums at the limits."""
    rng = np.random.default_rng(cocotb.RANDOM_SEED)
    coverage = Coverage(PARAMS["core"], BINS.split())
    coverage.cover(saturated=not SATURATES)  # nothing to be seen
    lengths = [1, LANES, LANES + 1, 3 * LANES, 5 * LANES - 1]
    for operand, mode in itertools.product(ShiftOperand, MODES):
        for shift in (0, 1, 5, 12, 20, 31):
            await start(dut)
            tiles = random_tiles(rng, np.minimum(rng.permutation(lengths), MAX_TERMS))
            saturations = await run(dut, coverage, tiles, operand, shift, mode)
            check_counts(dut, saturation=saturations, length_error=0)
    for number, paces in enumerate(PACES):
        await start(dut)
        tiles = [random_tile(rng, int(rng.integers(1, 4 * LANES))) for _ in range(12)]
        operand = ShiftOperand(number % 2)
        await run(dut, coverage, tiles, operand, 3, RoundMode.STOCHASTIC, paces)
    longest = MAX_TERMS - MAX_TERMS % LANES
    for integer, code in ((INTEGER.least, 7), (INTEGER.least, 15), (INTEGER.greatest, 15)):
        await start(dut)
        tile = np.full((ROWS, longest), integer), np.full((COLUMNS, longest), code)
        await run(dut, coverage, [tile], ShiftOperand.FP4, 0, RoundMode.TRUNCATE)
        check_counts(dut, length_error=0)
    coverage.close()


@cocotb.test()
async def flags_too_many_terms(dut):
    """A tile longer than the accumulators allow is counted as an error."""
    await start(dut, operand=0, shift=0, mode=0)
    beats = MAX_TERMS // LANES + 2
    tile = np.zeros((ROWS, beats * LANES), int), np.zeros((COLUMNS, beats * LANES), int)
    await run(dut, Coverage("", BINS.split()), [tile], ShiftOperand.FP4, 0, MODES[0])
    check_counts(dut, length_error=2)
    dut.clear_counts.value = 1
    await ClockCycles(dut.aclk, 2)
    check_counts(dut, length_error=0, saturation=0)


@cocotb.test()
async def sustains_throughput(dut):
    """FP4 takes one cycle per beat and INT4 two, tile after tile; the latency is as stated."""
    for operand in ShiftOperand:
        await start(dut, operand=operand, shift=0, mode=0)
        # As long as the tiles in the bank last, the array need not wait for it.
        tile_beats = max(ROWS, -(-(PARAMS["latency"] + ROWS + 1) // PARAMETERS["bank_tiles"]))
        tile = random_tile(np.random.default_rng(0), tile_beats * LANES)
        beats = beats_of([tile] * 6)
        receiving = cocotb.start_soon(Sink(dut).receive(6 * ROWS))
        sending = cocotb.start_soon(Source(dut).send(beats))
        cycles, accepted, last_accepted, first_row = 0, 0, None, None
        while first_row is None or accepted < len(beats["tdata"]):
            await RisingEdge(dut.aclk)
            cycles += 1
            if dut.s_axis_tvalid.value and dut.s_axis_tready.value:
                accepted += 1
                if accepted == tile_beats:
                    last_accepted = cycles
                if accepted == len(beats["tdata"]):
                    limit = accepted * (1 + operand) + 1
                    assert cycles <= limit, f"{operand.name}: {cycles} cycles, not {limit}"
            if dut.m_axis_tvalid.value and first_row is None:
                first_row = cycles
        latency = first_row - last_accepted
        assert latency == PARAMS["latency"], f"latency {latency}"
        await sending
        await receiving


@cocotb.test()
async def recovers_from_reset(dut):
    """A reset in the middle of a tile and of its drain leaves nothing behind."""
    rng = np.random.default_rng(cocotb.RANDOM_SEED)
    for cycles in (3, 9, 14):
        await start(dut, operand=1, shift=0, mode=1)
        sending = cocotb.start_soon(Source(dut).send(beats_of([random_tile(rng, 2 * LANES)] * 4)))
        await ClockCycles(dut.aclk, cycles)
        sending.cancel()
        await start(dut)
        tiles = [random_tile(rng, 2 * LANES) for _ in range(3)]
        coverage = Coverage("", BINS.split())
        await run(dut, coverage, tiles, ShiftOperand.INT4, 2, RoundMode.STOCHASTIC)
    state = seed_state(7, stream=1)
    await load_seed(dut, state)
    await run(
        dut, coverage, tiles, ShiftOperand.FP4, 4, RoundMode.STOCHASTIC, random=RandomBits(state)
    )
