"""Bench of :class:`nibblegrad.hdl.engine.axi_lite.AxiLiteRegisters`."""

import itertools
import random
from collections import Counter

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, RisingEdge, with_timeout
from cocotbext.axi import AxiLiteBus, AxiLiteMaster, AxiResp

from nibblegrad.golden.engine.registers import Field, Register
from verif.engine.register_model import OKAY, RegisterModel, pick, place
from verif.support.coverage import Coverage, assert_equal
from verif.support.sim import bench_params
from verif.support.stream import always, burst, shy, sometimes

PARAMS = bench_params()
TABLE = {
    entry["offset"]: Register(**entry | {"fields": tuple(Field(**f) for f in entry["fields"])})
    for entry in PARAMS["registers"]
}
CONSTANTS = PARAMS["constants"]
#: Bytes of a write that clears everything, once everything is set.
ONES = bytes([255] * 4)
CHANNELS = {
    "aw": ("awaddr",),
    "w": ("wdata", "wstrb"),
    "b": ("bresp",),
    "ar": ("araddr",),
    "r": ("rdata", "rresp"),
}
BINS = ["unknown_written", "unknown_read", "read_only_written", "partly_written", "cleared"]
#: Every register that only acts must be written.
BINS += [register.name for register in TABLE.values() if register.access == "wo"]


def late(valid):
    """Pace that makes everything wait long."""
    while True:
        yield from [False] * 15
        yield True


def port(dut, signal):
    return getattr(dut, f"s_axi_{signal}")


def registers(*access):
    return [register for register in TABLE.values() if register.access in access]


def check_ports(dut, model):
    """Compare the ports of the settings and of the sticky bits."""
    for name, expected in model.ports().items():
        assert_equal(name, int(getattr(dut, name).value), expected)


async def start(dut):
    """Start the clock, and reset."""
    Clock(dut.aclk, 10, unit="ns").start()
    await reset(dut)


async def reset(dut):
    """Hold the reset for three cycles, with every channel idle."""
    for handle in dut:
        if handle._name.startswith("s_axi_") and not handle._name.endswith(
            ("awready", "wready", "bresp", "bvalid", "arready", "rdata", "rresp", "rvalid")
        ):
            handle.value = 0
    for register in registers("ro", "w1c"):
        name = register.name.lower() + ("_set" if register.access == "w1c" else "")
        if register.name not in CONSTANTS:
            getattr(dut, name).value = 0
    dut.hold.value = 0
    dut.aresetn.value = 0
    await ClockCycles(dut.aclk, 3)
    for channel in CHANNELS:
        output = "valid" if channel in ("b", "r") else "ready"
        assert not port(dut, channel + output).value, f"{channel}{output} is high in reset"
    dut.aresetn.value = 1
    await RisingEdge(dut.aclk)


async def watch_events(dut, events):
    """List every cycle in which a register is reported as written, and its value then and after."""
    last = {}
    while True:
        await RisingEdge(dut.aclk)
        for register in registers("wo"):
            name = register.name.lower()
            packed = int(getattr(dut, name).value)
            if getattr(dut, f"{name}_written").value:
                events.append((register.name, packed))
                last[name] = packed
            assert packed == last.get(name, 0), f"{name} changed without being written"


async def watch_rules(dut):
    """Fail where a response comes unasked, is withdrawn or changes before it is taken."""
    done, pending = Counter(), {}
    while True:
        await RisingEdge(dut.aclk)
        transfers = []
        for channel, signals in CHANNELS.items():
            valid = bool(port(dut, f"{channel}valid").value)
            ready = bool(port(dut, f"{channel}ready").value)
            if channel in ("b", "r"):
                payload = [int(port(dut, signal).value) for signal in signals] if valid else None
                asked = done["ar"] if channel == "r" else min(done["aw"], done["w"])
                assert not valid or done[channel] < asked, f"{channel}: response to nothing"
                before = pending.get(channel)
                assert before is None or payload == before, f"{channel}: changed before transfer"
                pending[channel] = None if ready else payload
            if valid and ready:
                transfers.append(channel)
        done.update(transfers)


async def send(dut, channel, transfers, pace=always):
    """Drive an incoming channel; what is not offered is noise."""
    go = pace(lambda: True)
    valid, ready = port(dut, f"{channel}valid"), port(dut, f"{channel}ready")
    for values in transfers:
        while not next(go):
            await RisingEdge(dut.aclk)
        for signal, value in zip(CHANNELS[channel], values, strict=True):
            port(dut, signal).value = value
        valid.value = 1
        await RisingEdge(dut.aclk)
        while not ready.value:
            await RisingEdge(dut.aclk)
        valid.value = 0
        for signal in CHANNELS[channel]:
            port(dut, signal).value = random.getrandbits(len(port(dut, signal)))


async def receive(dut, channel, count, pace=always):
    """Take responses; list the cycle and the payload of each."""
    valid, ready = port(dut, f"{channel}valid"), port(dut, f"{channel}ready")
    go = pace(lambda: bool(valid.value))
    responses, cycle = [], 0
    while len(responses) < count:
        willing = next(go)
        ready.value = willing
        await RisingEdge(dut.aclk)
        cycle += 1
        if valid.value and willing:
            payload = tuple(int(port(dut, signal).value) for signal in CHANNELS[channel])
            responses.append((cycle, *payload))
    ready.value = 0
    return responses


def random_address():
    """Mostly registers, above all those that act, and what lies between and behind them."""
    known = random.choice(random.choice([[*TABLE.values()], registers("wo", "w1c")])).offset
    return known if random.random() < 0.85 else random.randrange(1 << PARAMS["address_bits"])


def random_access():
    """Choose a write, as address and bytes, or a read, as address and None."""
    address = random_address() & ~3
    if random.random() < 0.5:
        return address, None
    first = random.randrange(4)
    return address + first, random.randbytes(4 - first if random.random() < 0.7 else 1)


def accesses():
    """Choose accesses: those that must be seen, then others by chance."""
    unknown = next(address for address in itertools.count(0, 4) if address not in TABLE)
    directed = [(unknown, ONES), (unknown, None), (registers("ro")[0].offset, ONES)]
    directed += [(registers("rw")[0].offset, ONES[:1])]
    directed += [(register.offset, ONES) for register in registers("wo", "w1c")]
    return directed + [random_access() for _ in range(PARAMS["operations"])]


def random_write():
    return random_address(), random.getrandbits(32), random.choice([15, 15, random.getrandbits(4)])


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def master_finds_the_table(dut):
    """A host that stalls at random on every channel reads and writes what the table promises."""
    await start(dut)
    coverage = Coverage("axi_lite", BINS)
    model = RegisterModel(TABLE, CONSTANTS)
    master = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axi"), dut.aclk)
    write, read = master.write_if, master.read_if
    sources = (write.aw_channel, write.w_channel, read.ar_channel)
    for channel in (*sources, write.b_channel, read.r_channel):
        # It pauses where a pace would go on, which is as likely.
        channel.set_pause_generator(random.choice([sometimes, burst])(None))
    events = []
    cocotb.start_soon(watch_rules(dut))
    cocotb.start_soon(watch_events(dut, events))
    chosen, met = accesses(), {}
    for number in random.sample(range(len(chosen)), len(chosen)):
        address, data = chosen[number]
        coverage.vectors(1)
        await RisingEdge(dut.aclk)
        model.poke(dut, everything=data == ONES)
        await RisingEdge(dut.aclk)
        for register in registers("w1c"):
            getattr(dut, f"{register.name.lower()}_set").value = 0
        await ClockCycles(dut.aclk, 2)
        if data is not None:
            first = address & 3
            word = int.from_bytes(data, "little") << 8 * first
            expected = model.write(address, word, ((1 << len(data)) - 1) << first)
            got = await with_timeout(master.write(address, data), 20, "us")
            assert_equal(f"response to a write to {address:#x}", got.resp, AxiResp(expected))
        else:
            word, expected = model.read(address)
            got = await with_timeout(master.read(address, 4), 20, "us")
            assert_equal(f"response to a read of {address:#x}", got.resp, AxiResp(expected))
            assert_equal(f"word at {address:#x}", int.from_bytes(got.data, "little"), word)
        check_ports(dut, model)
        met[number], model.met = model.met, Counter()
    await ClockCycles(dut.aclk, 2)
    assert_equal("events", events, model.events)
    for _, situations in sorted(met.items()):
        coverage.cover(**situations)
    coverage.close()


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def channels_are_independent(dut):
    """Whoever comes first, waits or is slow: nothing is lost, swapped or answered too early."""
    await start(dut)
    events, model = [], RegisterModel(TABLE, CONSTANTS)
    cocotb.start_soon(watch_rules(dut))
    cocotb.start_soon(watch_events(dut, events))
    paces = [(always,) * 5, (late, always, always, late, always), (always, late, shy, always, late)]
    paces += [(always, always, late, always, shy), (sometimes,) * 5, (burst,) * 5]
    for aw, w, b, ar, r in paces:
        writes = [random_write() for _ in range(60)]
        addresses = [random_address() for _ in range(60)]
        # Registers that are written meanwhile can be read before or after.
        steady = [a for a in addresses if a & ~3 not in TABLE or TABLE[a & ~3].access in "ro wo"]
        expected = [model.write(*values) for values in writes]
        for channel, transfers, pace in (
            ("aw", [(address,) for address, _, _ in writes], aw),
            ("w", [values for _, *values in writes], w),
            ("ar", [(address,) for address in steady], ar),
        ):
            cocotb.start_soon(send(dut, channel, transfers, pace))
        reading = cocotb.start_soon(receive(dut, "r", len(steady), r))
        got = await with_timeout(receive(dut, "b", len(writes), b), 100, "us")
        assert [response for _, response in got] == expected
        found = await with_timeout(reading, 100, "us")
        assert [(word, response) for _, word, response in found] == [*map(model.read, steady)]
        await ClockCycles(dut.aclk, 2)
        check_ports(dut, model)
    assert events == model.events


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def speed_is_as_promised(dut):
    """A write every third cycle, and its response after 4; a read every fourth, and after 4."""
    await start(dut)
    settings = registers("rw")
    count = 40
    writes = [(random.choice(settings).offset, random.getrandbits(32), 15) for _ in range(count)]
    await RisingEdge(dut.aclk)
    cocotb.start_soon(send(dut, "aw", [(address,) for address, _, _ in writes]))
    cocotb.start_soon(send(dut, "w", [values for _, *values in writes]))
    cocotb.start_soon(send(dut, "ar", [(address,) for address, _, _ in writes]))
    reading = cocotb.start_soon(receive(dut, "r", count))
    responses = await receive(dut, "b", count)
    # The first transfer is at the end of the first cycle.
    assert [cycle for cycle, _ in responses] == [5 + 3 * k for k in range(count)]
    assert [cycle for cycle, *_ in await reading] == [5 + 4 * k for k in range(count)]


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def hold_makes_writes_wait(dut):
    """Nothing is written or answered while held; reads go on, and afterwards the write does."""
    await start(dut)
    setting = registers("rw")[-1]
    everything = pick(setting, 0xFFFF_FFFF)
    dut.hold.value = 1
    await send(dut, "aw", [(setting.offset,)])
    await send(dut, "w", [(0xFFFF_FFFF, 15)])
    cocotb.start_soon(send(dut, "ar", [(setting.offset,)]))
    assert [word for _, word, _ in await receive(dut, "r", 1)] == [0]
    for _ in range(10):
        await RisingEdge(dut.aclk)
        assert not port(dut, "bvalid").value and not getattr(dut, setting.name.lower()).value
    dut.hold.value = 0
    assert await receive(dut, "b", 1) == [(3, OKAY)]
    assert int(getattr(dut, setting.name.lower()).value) == everything


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def setting_wins_over_clearing(dut):
    """A bit that is set while it is cleared stays; bits that are not named stay as well."""
    await start(dut)
    for register in registers("w1c"):
        bits = getattr(dut, register.name.lower())
        setting = getattr(dut, f"{register.name.lower()}_set")
        everything = (1 << len(bits)) - 1

        async def clear(word, register=register):
            cocotb.start_soon(send(dut, "aw", [(register.offset,)]))
            cocotb.start_soon(send(dut, "w", [(word, 15)]))
            await receive(dut, "b", 1)

        setting.value = everything
        await ClockCycles(dut.aclk, 2)
        cocotb.start_soon(clear(0xFFFF_FFFF))
        for _ in range(6):
            await RisingEdge(dut.aclk)
            assert int(bits.value) == everything
        setting.value = 0
        await ClockCycles(dut.aclk, 2)
        kept = 1 << len(bits) - 1
        await clear(place(register, everything & ~kept))
        assert int(bits.value) == kept


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def reset_gives_everything_up(dut):
    """A reset in the middle of transfers leaves nothing behind but registers that are 0."""
    await start(dut)
    for half in (["aw"], ["w"], ["aw", "w"], ["ar"]):
        setting = registers("rw")[0]
        signal = getattr(dut, setting.name.lower())
        everything = pick(setting, 0xFFFF_FFFF)
        for channel in ("aw", "w"):
            values = (setting.offset,) if channel == "aw" else (0xFFFF_FFFF, 15)
            cocotb.start_soon(send(dut, channel, [values]))
        assert [response for _, response in await receive(dut, "b", 1)] == [OKAY]
        assert int(signal.value) == everything
        for channel in half:
            await send(dut, channel, [(0, 15) if channel == "w" else (setting.offset,)])
        await ClockCycles(dut.aclk, 3)
        await reset(dut)
        assert int(signal.value) == 0
        port(dut, "bready").value = port(dut, "rready").value = 1
        for _ in range(6):
            await RisingEdge(dut.aclk)
            assert not port(dut, "bvalid").value and not port(dut, "rvalid").value
        assert int(signal.value) == 0
