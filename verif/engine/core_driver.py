"""Drives the training core in cocotb: AXI4-Lite and AXI4-Stream by the rules, at any pace."""

import random
from collections import Counter

import cocotb
import numpy as np
from cocotb.triggers import ClockCycles, with_timeout
from cocotbext.axi import (
    AxiLiteBus,
    AxiLiteMaster,
    AxiResp,
    AxiStreamBus,
    AxiStreamFrame,
    AxiStreamSink,
    AxiStreamSource,
)

from nibblegrad.golden.engine.command import ErrorCode
from nibblegrad.golden.engine.registers import BY_NAME, REGISTERS, command_writes
from verif.engine.core_scenarios import is_stream
from verif.support.stream import check_rules

__all__ = ["PATIENCE", "CoreDriver", "expected"]

#: Nanoseconds after which a bench gives up waiting; a cycle takes 10.
PATIENCE = 3_000_000


def to_bytes(beats, width):
    """Lay lanes of a word each side by side, lane 0 lowest, as the bytes of a stream."""
    return np.ascontiguousarray(beats).astype(f"<u{width // 8}").tobytes()


def from_bytes(raw, width, lanes):
    """Take the lanes of a stream's bytes; array of uint32, shape (beats, lanes)."""
    return np.frombuffer(bytes(raw), f"<u{width // 8}").astype(np.uint32).reshape(-1, lanes)


def stalls(probability):
    """Pause in some of the cycles, at random."""
    while True:
        yield random.random() < probability


class CoreDriver:
    """The host of a training core under test.

    Parameters
    ----------
    dut : simulation handle
        The core; its clock runs.
    size : CoreSize
        Its parameters.
    """

    def __init__(self, dut, size):
        self.dut = dut
        self.size = size
        for unused in ("s_axi_awprot", "s_axi_arprot"):
            getattr(dut, unused).value = 0
        ports = (dut.aclk, dut.aresetn)
        self.axi = AxiLiteMaster(
            AxiLiteBus.from_prefix(dut, "s_axi"), *ports, reset_active_level=False
        )
        self.source = AxiStreamSource(
            AxiStreamBus.from_prefix(dut, "s_axis"), *ports, reset_active_level=False
        )
        self.sink = AxiStreamSink(
            AxiStreamBus.from_prefix(dut, "m_axis"), *ports, reset_active_level=False
        )
        #: What can be stalled, by name.
        self.channels = {
            "aw": self.axi.write_if.aw_channel,
            "w": self.axi.write_if.w_channel,
            "b": self.axi.write_if.b_channel,
            "ar": self.axi.read_if.ar_channel,
            "r": self.axi.read_if.r_channel,
            "s_axis": self.source,
            "m_axis": self.sink,
        }
        for log in (self.axi.write_if.log, self.axi.read_if.log, self.source.log, self.sink.log):
            log.setLevel("WARNING")
        #: How often STATUS showed what; "overlap" is loading and computing, "full" no room.
        self.seen = Counter()
        self._settings = {}
        self._rules = None

    def stall(self, probability, channels=None):
        """Stall channels, by default all of them, in this part of the cycles, and no others."""
        for name, channel in self.channels.items():
            if probability and (channels is None or name in channels):
                channel.set_pause_generator(stalls(probability))
            else:
                channel.clear_pause_generator()
                channel.pause = False

    async def reset(self):
        """Hold the reset for two cycles; settings are 0 afterwards."""
        self.dut.aresetn.value = 0
        await ClockCycles(self.dut.aclk, 2)
        self.dut.aresetn.value = 1
        await ClockCycles(self.dut.aclk, 2)
        self._settings = {}
        await self._restart_streams()

    async def soft_reset(self):
        """Reset by CONTROL; what was offered on either stream is taken back."""
        await self.write("CONTROL", 1)
        await self._restart_streams()

    async def _restart_streams(self):
        """Forget everything about the streams, and watch the rules from now on."""
        if self._rules is not None:
            self._rules.cancel()
        for end in (self.source, self.sink):
            end.assert_reset(True)
        await ClockCycles(self.dut.aclk, 2)
        for end in (self.source, self.sink):
            end.clear()
            end.assert_reset(False)
        await ClockCycles(self.dut.aclk, 2)
        self._rules = cocotb.start_soon(check_rules(self.dut, "m_axis"))

    async def write(self, name, value):
        """Write a register."""
        data = (int(value) & 0xFFFF_FFFF).to_bytes(4, "little")
        response = await with_timeout(self.axi.write(BY_NAME[name].offset, data), PATIENCE, "ns")
        assert response.resp == AxiResp.OKAY, f"{name}: {response.resp!r}"

    async def read(self, name):
        """Read a register, signed if its field is."""
        register = BY_NAME[name]
        response = await with_timeout(self.axi.read(register.offset, 4), PATIENCE, "ns")
        assert response.resp == AxiResp.OKAY, f"{name}: {response.resp!r}"
        value = int.from_bytes(response.data, "little")
        if len(register.fields) == 1 and register.fields[0].signed and value >> 31:
            value -= 1 << 32
        return value

    async def read_wide(self, name):
        """Read a 64-bit number."""
        return (await self.read(f"{name}_HIGH") << 32) + await self.read(f"{name}_LOW")

    async def status(self):
        """Read STATUS, as a dict of its fields."""
        status = BY_NAME["STATUS"].unpack(await self.read("STATUS"))
        self.seen["overlap"] += status["loading"] & status["computing"]
        self.seen["full"] += not status["queue_free"]
        return status

    async def issue(self, command, wait=True):
        """Write a command; with ``wait`` only when the queue has room."""
        while wait:
            status = await self.status()
            if status["queue_free"] or status["error"]:
                break
        for name, value in command_writes(command).items():
            if name == "COMMAND" or self._settings.get(name) != value:
                await self.write(name, value)
                self._settings[name] = value

    def send(self, beats):
        """Queue the beats of a load, TLAST with the last one."""
        self.source.send_nowait(AxiStreamFrame(to_bytes(beats, self.size.wide_format.width)))

    async def receive(self):
        """Take the strips of a product, up to TLAST."""
        frame = await with_timeout(self.sink.recv(), PATIENCE, "ns")
        return from_bytes(frame.tdata, self.size.wide_format.width, self.size.strip)

    async def finish(self):
        """Wait until the core is idle."""
        for _ in range(2000):
            if not (await self.status())["busy"]:
                return
        raise AssertionError("the core is still busy")

    async def counters(self):
        """Read every counter, by the names that the golden model uses."""
        names = [r.name for r in REGISTERS if r.offset >= BY_NAME["CYCLES_LOW"].offset]
        values = {}
        for name in names:
            if name.endswith("_LOW"):
                values[name.removesuffix("_LOW")] = await self.read_wide(name.removesuffix("_LOW"))
            elif not name.endswith("_HIGH"):
                values[name] = await self.read(name)
        return values

    async def run(self, program):
        """Run commands with their beats, all as fast as the core takes them.

        Parameters
        ----------
        program : list of (Command, array or None)

        Returns
        -------
        list of array
            Strips of each product to STREAM, in order.
        """

        async def collect():
            return [await self.receive() for command, _ in program if is_stream(command)]

        receiving = cocotb.start_soon(collect())
        for command, beats in program:
            if beats is not None:
                self.send(beats)
            await self.issue(command)
        received = await receiving
        await self.finish()
        return received

    async def error(self):
        """Read the code of the first error."""
        return ErrorCode(await self.read("ERROR"))


def expected(twin, program):
    """Run a program on the golden model: strips of each product to STREAM, in order."""
    numbers = [(twin.issue(command, beats), command) for command, beats in program]
    return [twin.result(number) for number, command in numbers if is_stream(command)]
