"""Bench that sends the tensors of real training steps through a core."""

import pickle
from pathlib import Path

import cocotb
import numpy as np
from cocotb.triggers import ClockCycles

from nibblegrad.golden.numbers.formats import BFLOAT16
from nibblegrad.golden.numbers.random_bits import RandomBits, jump, seed_state
from nibblegrad.golden.numbers.rounding import RoundMode
from verif.support.coverage import Coverage, assert_equal
from verif.support.packing import pack, pack_scales, unpack
from verif.support.sim import bench_params
from verif.support.stream import (
    Sink,
    Source,
    configure,
    last_of,
    load_seed,
    sometimes,
    start,
    transfer,
)

PARAMS = bench_params()
LANES, ROWS, COLUMNS = PARAMS["lanes"], PARAMS.get("rows"), PARAMS.get("columns")
SEED = PARAMS["training_seed"]
PACES = (sometimes, sometimes)


def beats_of(values):
    """Arrange a matrix in beats, each row padded with zeros."""
    rows = np.asarray(values)
    return np.pad(rows, ((0, 0), (0, -rows.shape[1] % LANES))).reshape(-1, LANES)


def of_beats(beats, shape):
    """Find the matrix in beats again."""
    return beats.reshape(shape[0], -1)[:, : shape[1]]


async def quantize(dut, call):
    """LSQ: weights and activations."""
    arguments, golden = call.arguments, call.result
    fmt, reciprocal = arguments["fmt"], arguments["reciprocal"]
    configure(
        dut,
        reciprocal_significand=reciprocal.significand,
        reciprocal_exponent=reciprocal.exponent,
        is_signed=fmt.signed,
    )
    inputs = beats_of(BFLOAT16.encode(arguments["x"]))
    data = {"tdata": pack(inputs, 16), "tlast": last_of(len(inputs))}
    beats, _ = await transfer(dut, data, PACES)
    shape = arguments["x"].shape
    codes = of_beats(unpack(beats["tdata"], LANES, fmt.bits, signed=fmt.signed), shape)
    assert_equal(f"{call.tensor} code", codes, golden.codes)
    user = of_beats(unpack(beats["tuser"], LANES, golden.residual_bits + 2, signed=True), shape)
    assert_equal(f"{call.tensor} in_range", user & 1, golden.in_range)
    assert_equal(f"{call.tensor} residual", user >> 1, golden.residual)
    return arguments["x"].size


async def quantize_fp4(dut, call):
    """LUQ or two-phase: output gradients."""
    arguments = call.arguments
    configure(dut, scale_exponent=arguments["exponent"])
    if hasattr(dut, "stochastic"):
        configure(dut, stochastic=arguments["mode"])
        await load_seed(dut, state_of(call))
    else:
        configure(dut, phase=arguments["phase"])
    inputs = beats_of(BFLOAT16.encode(arguments["x"]))
    data = {"tdata": pack(inputs, 16), "tlast": last_of(len(inputs))}
    beats, _ = await transfer(dut, data, PACES)
    codes = of_beats(unpack(beats["tdata"], LANES, 4), arguments["x"].shape)
    assert_equal(f"{call.tensor} code", codes, call.result.codes)
    return arguments["x"].size


def state_of(call):
    """Find the random state from which the trainer drew the noise of a tensor.

    All gradients are drawn from stream 0, four numbers of 8 bits per word. The numbers that pad a
    row are drawn, too, but not recorded.
    """
    start_state = seed_state(SEED, 0)
    noise = call.arguments["noise"].astype(np.uint8)
    wanted, known = (
        beats_of(values).view("<u4").ravel() for values in (noise, np.full_like(noise, 255))
    )
    words = RandomBits(start_state).words(PARAMS["words"])
    positions = np.flatnonzero((words[: len(words) - len(wanted)] & known[0]) == wanted[0])
    for position in positions:
        if ((words[position : position + len(wanted)] & known) == wanted).all():
            return jump(start_state, int(position), 0)
    raise AssertionError(f"{call.tensor}: the noise is not in stream 0")


async def matmul(dut, call):
    """All three products of a layer."""
    integers, codes = call.arguments["integers"], call.arguments["codes"]
    operand = call.arguments["operand"]
    configure(dut, operand=operand, shift=0, mode=RoundMode.TRUNCATE)
    (height, terms), width = integers.shape, len(codes)
    rows, columns, pad = -height % ROWS, -width % COLUMNS, -terms % LANES
    a = np.pad(integers.astype(int), ((0, rows), (0, pad))).reshape(-1, ROWS, terms + pad)
    b = np.pad(codes.astype(int), ((0, columns), (0, pad))).reshape(-1, COLUMNS, terms + pad)

    def blocks(matrix, bits):
        # (rows, beats * lanes) to one integer per beat, lane 0 of row 0 lowest
        by_beat = matrix.reshape(len(matrix), -1, LANES).transpose(1, 0, 2)
        return pack(by_beat.reshape(len(by_beat), -1), bits)

    low = [blocks(tile, 5) for tile in a]
    high = [blocks(tile, 4) for tile in b]
    tdata = [
        x | y << (5 * ROWS * LANES)
        for left in low
        for right in high
        for x, y in zip(left, right, strict=True)
    ]
    tlast = last_of(len(low[0])) * (len(a) * len(b))
    sending = cocotb.start_soon(Source(dut).send({"tdata": tdata, "tlast": tlast}))
    received = await Sink(dut).receive(len(a) * len(b) * ROWS)
    await sending
    got = unpack(received["tdata"], COLUMNS, 32, signed=True)
    got = got.reshape(len(a), len(b), ROWS, COLUMNS).transpose(0, 2, 1, 3)
    got = got.reshape(len(a) * ROWS, len(b) * COLUMNS)[:height, :width]
    assert_equal(f"{call.tensor} sum", got, call.result.astype(int))
    return got.size


async def scale_to_float(dut, call):
    """Everything that leaves the array: outputs and both gradients."""
    arguments = call.arguments
    sums, factor = arguments["accumulators"].astype(int), arguments["factor"]
    configure(dut, relu=arguments["relu"], mode=RoundMode.NEAREST_EVEN)
    channels = sums.shape[-1]
    pad = -channels % LANES
    columns = [
        np.pad(np.broadcast_to(value, channels), (0, pad), mode="edge").astype(int)
        for value in (arguments["bias"], factor.significand, factor.exponent)
    ]
    groups = pack_scales(*columns, LANES)
    await Source(dut, "s_axis_scale").send({"tdata": groups, "tlast": last_of(len(groups))})
    await ClockCycles(dut.aclk, 2)
    rows = np.pad(sums.reshape(-1, channels), ((0, 0), (0, pad)))
    inputs = rows.reshape(-1, LANES)
    data = {"tdata": pack(inputs, 32), "tlast": last_of(len(inputs))}
    beats, _ = await transfer(dut, data, PACES)
    got = unpack(beats["tdata"], LANES, 16).reshape(rows.shape)[:, :channels]
    expected = BFLOAT16.encode(call.result.values).reshape(got.shape)
    assert_equal(f"{call.tensor} wide", got, expected, sum=sums.reshape(got.shape))
    return got.size


@cocotb.test()
async def matches_training(dut):
    """Every tensor that this core made in the recorded steps comes out bit for bit."""
    steps = pickle.loads(Path(PARAMS["steps"]).read_bytes())
    run = globals()[PARAMS["operation"]]
    coverage = Coverage(PARAMS["core"], PARAMS["bins"])
    await start(dut)
    for step, calls in steps.items():
        for call in calls:
            if call.operation == PARAMS["operation"]:
                coverage.vectors(await run(dut, call))
                kind = call.tensor.partition(".")[2]
                coverage.cover(**{f"{step} epoch": 1, kind: 1})
    coverage.close()
