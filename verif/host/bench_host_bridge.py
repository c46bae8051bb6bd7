"""Bench of ``HostBridge``, of its serial line, and of a core behind both."""

import random

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, RisingEdge, with_timeout

from nibblegrad.golden.engine.registers import IDENTIFIER, REGISTERS
from nibblegrad.golden.host import host_bridge
from nibblegrad.golden.host.host_bridge import Code
from verif.support.coverage import Coverage, assert_equal
from verif.support.sim import bench_params
from verif.support.stream import Sink, Source, always, sometimes, start

PARAMS = bench_params()


class Core:
    """Registers at multiples of 4 below 64, whose others answer with an error; beats by number."""

    def __init__(self):
        self.registers = dict.fromkeys(range(0, 64, 4), 0)
        self.sent = []
        self.taken = 0

    def write(self, address, value):
        if address not in self.registers:
            return 2
        self.registers[address] = value
        return 0

    def read(self, address):
        return (0, self.registers[address]) if address in self.registers else (2, 0xDEAD)

    def send(self, beat, last):
        self.sent.append((beat, last))
        return True

    def take(self):
        self.taken += 1
        rng = random.Random(self.taken)
        return rng.randbytes(PARAMS["out_bytes"]), rng.random() < 0.5


async def answer_writes(dut, core):
    """Take address and data of a write in any order, and answer."""
    while True:
        waiting = ["aw", "w"]
        random.shuffle(waiting)
        for channel in waiting:
            await ClockCycles(dut.aclk, random.randint(1, 3))
            getattr(dut, f"m_axi_{channel}ready").value = 1
            await RisingEdge(dut.aclk)
            while not getattr(dut, f"m_axi_{channel}valid").value:
                await RisingEdge(dut.aclk)
            if channel == "aw":
                address = int(dut.m_axi_awaddr.value)
            else:
                data = int(dut.m_axi_wdata.value)
            getattr(dut, f"m_axi_{channel}ready").value = 0
        await ClockCycles(dut.aclk, random.randint(1, 3))
        await respond(dut, "b", bresp=core.write(address, data))


async def answer_reads(dut, core):
    while True:
        dut.m_axi_arready.value = random.random() < 0.5
        await RisingEdge(dut.aclk)
        if dut.m_axi_arvalid.value and dut.m_axi_arready.value:
            response, value = core.read(int(dut.m_axi_araddr.value))
            dut.m_axi_arready.value = 0
            await ClockCycles(dut.aclk, random.randint(1, 3))
            await respond(dut, "r", rresp=response, rdata=value)


async def respond(dut, channel, **values):
    for name, value in values.items():
        getattr(dut, f"m_axi_{name}").value = value
    getattr(dut, f"m_axi_{channel}valid").value = 1
    await RisingEdge(dut.aclk)
    while not getattr(dut, f"m_axi_{channel}ready").value:
        await RisingEdge(dut.aclk)
    getattr(dut, f"m_axi_{channel}valid").value = 0


async def set_up(dut):
    core = Core()
    for name in ("awready", "wready", "bvalid", "arready", "rvalid", "bresp", "rresp", "rdata"):
        getattr(dut, f"m_axi_{name}").value = 0
    await start(dut)
    cocotb.start_soon(answer_writes(dut, core))
    cocotb.start_soon(answer_reads(dut, core))
    return core


async def exchange(dut, message, count, pace=always):
    """Send the bytes of a message, and receive as many as the reply has."""
    sending = cocotb.start_soon(Source(dut, "s_axis_host").send({"tdata": list(message)}, pace))
    got = await Sink(dut, "m_axis_host").receive(count, pace)
    await sending
    return bytes(got["tdata"])


def requests(rng):
    """Choose kinds of messages, addresses and counts of beats; every demanded one is among them."""
    chosen = [
        (
            rng.choice([*Code, 6, 255]),
            rng.randrange(0, 72, 4) if rng.random() < 0.8 else rng.randrange(1 << 16),
            rng.choice([0, 1, 2, 5]),
        )
        for _ in range(400)
    ]
    directed = [(Code.SEND, 0, 0), (Code.TAKE, 0, 0), (Code.READ, 64, 1), (Code.WRITE, 2, 1)]
    directed += [(code, 0, 1) for code in (6, 255)]
    for place, request in zip(rng.sample(range(400), len(directed)), directed, strict=True):
        chosen[place] = request
    return chosen


def message_of(rng, code, address, count, coverage):
    beats = [rng.randbytes(PARAMS["in_bytes"]) for _ in range(count)]
    coverage.cover(
        no_beat=code in (Code.SEND, Code.SEND_LAST, Code.TAKE) and count == 0,
        bad_register=code in (Code.READ, Code.WRITE) and (address > 60 or address % 4),
        unknown=code > 5,
    )
    match code:
        case Code.WRITE:
            return host_bridge.write(address, rng.getrandbits(32))
        case Code.READ:
            return host_bridge.read(address)
        case Code.SEND | Code.SEND_LAST:
            return host_bridge.send(beats, code == Code.SEND_LAST)
        case Code.TAKE:
            return host_bridge.take(count)
        case _:
            return bytes([code])


@cocotb.test()
async def answers_as_the_golden_model(dut):
    """Every reply, every access and every beat is the golden model's."""
    core, model = await set_up(dut), Core()
    rng = random.Random(cocotb.RANDOM_SEED)
    coverage = Coverage("host_bridge", ["no_beat", "bad_register", "unknown"])

    async def beats_in():
        feed = Core()
        while True:
            data, last = feed.take()
            beat = {"tdata": [int.from_bytes(data, "little")], "tlast": [int(last)]}
            await Source(dut).send(beat, sometimes)

    async def beats_out():
        while True:
            beat = await Sink(dut).receive(1)
            data = beat["tdata"][0].to_bytes(PARAMS["in_bytes"], "little")
            core.send(data, bool(beat["tlast"][0]))

    cocotb.start_soon(beats_in())
    cocotb.start_soon(beats_out())
    for request in requests(rng):
        message = message_of(rng, *request, coverage)
        expected = host_bridge.reply(message, model, PARAMS["in_bytes"])
        got = await exchange(dut, message, len(expected), rng.choice([always, sometimes]))
        assert_equal(f"reply to {message.hex()}", got.hex(), expected.hex())
        await ClockCycles(dut.aclk, 4)
        more = bool(dut.m_axis_host_tvalid.value)
        assert_equal(f"more than {expected.hex()} after {message.hex()}", more, False)
        assert_equal("registers", [*core.registers.values()], [*model.registers.values()])
        assert_equal("beats that were sent", str(core.sent), str(model.sent))
        coverage.vectors(1)
    coverage.close()


@cocotb.test()
async def a_beat_that_waits_is_kept(dut):
    """A beat that comes while another one waits is lost, and said to be."""
    await set_up(dut)
    first, second = bytes(PARAMS["in_bytes"]), bytes([255] * PARAMS["in_bytes"])
    assert await exchange(dut, host_bridge.send([first], False), 1) == b"\0"
    assert await exchange(dut, host_bridge.send([second], True), 1) == b"\1"
    beat = await Sink(dut).receive(1)
    assert beat == {"tdata": [0], "tlast": [0]}
    await ClockCycles(dut.aclk, 2)
    assert not dut.m_axis_tvalid.value
    # What was lost is not said twice.
    assert await exchange(dut, host_bridge.send([second], True), 1) == b"\0"
    beat = await Sink(dut).receive(1)
    assert beat == {"tdata": [int.from_bytes(second, "little")], "tlast": [1]}


@cocotb.test()
async def a_byte_gives_up_a_take(dut):
    """While no result comes, another message is answered."""
    await set_up(dut)
    await Source(dut, "s_axis_host").send({"tdata": list(host_bridge.take(3))})
    await ClockCycles(dut.aclk, 20)
    assert await exchange(dut, bytes([Code.NOTHING]), 1) == bytes([host_bridge.PRESENT])
    # The beats are for the next TAKE.
    beat = {"tdata": [5], "tlast": [1]}
    cocotb.start_soon(Source(dut).send(beat))
    expected = (5).to_bytes(PARAMS["out_bytes"], "little") + b"\1"
    assert await exchange(dut, host_bridge.take(1), len(expected)) == expected


async def send_bits(dut, message, clocks, pause=0):
    for byte in message:
        if pause:
            await ClockCycles(dut.aclk, pause)
        for bit in (0, *(byte >> k & 1 for k in range(8)), 1):
            dut.rx.value = bit
            await ClockCycles(dut.aclk, clocks)


async def receive_bits(dut, count, clocks):
    received = []
    while len(received) < count:
        while dut.tx.value:
            await RisingEdge(dut.aclk)
        await ClockCycles(dut.aclk, clocks // 2)
        bits = []
        for _ in range(9):
            await ClockCycles(dut.aclk, clocks)
            bits.append(int(dut.tx.value))
        assert bits[8], "a byte without a stop bit"
        received.append(sum(bit << k for k, bit in enumerate(bits[:8])))
    return bytes(received)


async def start_line(dut):
    Clock(dut.aclk, 10, unit="ns").start()
    dut.rx.value = 1
    dut.aresetn.value = 0
    await ClockCycles(dut.aclk, 3)
    dut.aresetn.value = 1
    await ClockCycles(dut.aclk, 3)


@cocotb.test()
async def serial_line_brings_every_byte(dut):
    """Back to back, or from a clock that is off; glitches and broken bytes are none."""
    clocks = PARAMS["clocks_per_bit"]
    await start_line(dut)
    message = bytes(range(256))
    receiving = cocotb.start_soon(receive_bits(dut, 256, clocks))
    dut.rx.value = 0  # shorter than half a bit
    await RisingEdge(dut.aclk)
    dut.rx.value = 1
    await ClockCycles(dut.aclk, 3 * clocks)
    dut.rx.value = 0  # no stop bit
    await ClockCycles(dut.aclk, 10 * clocks)
    dut.rx.value = 1
    await ClockCycles(dut.aclk, 10 * clocks)
    await send_bits(dut, message, clocks + PARAMS["off"], PARAMS["pause"])
    assert await with_timeout(receiving, 40 * clocks, "us") == message
    Coverage("serial_line", []).vectors(256)


@cocotb.test()
async def core_answers_over_the_line(dut):
    """The identifier is read; a load with too few beats in it is an error that is seen."""
    clocks = PARAMS["clocks_per_bit"]
    await start_line(dut)
    offset = {register.name: register.offset for register in REGISTERS}

    async def ask(message, count):
        receiving = cocotb.start_soon(receive_bits(dut, count, clocks))
        await send_bits(dut, message, clocks)
        return await with_timeout(receiving, 40 * clocks, "us")

    assert await ask(bytes([Code.NOTHING]), 1) == bytes([host_bridge.PRESENT])
    identifier = b"\0" + IDENTIFIER.to_bytes(4, "little")
    assert await ask(host_bridge.read(offset["ID"]), 5) == identifier
    for message, replies in PARAMS["messages"]:
        expected = bytes.fromhex(replies)
        got = await ask(bytes.fromhex(message), len(expected))
        assert got == expected, f"{message}: {got.hex()} instead of {replies}"
    Coverage("hosted_core", []).vectors(len(PARAMS["messages"]))
