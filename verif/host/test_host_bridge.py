# amaranth: UnusedElaboratable=no
"""The host bridge: messages, the serial line, and a training core behind both."""

import numpy as np
import pytest
from amaranth import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from nibblegrad.golden.engine.command import CoreSize, Destination, Operation
from nibblegrad.golden.engine.device import pack_matrix
from nibblegrad.golden.engine.registers import BY_NAME
from nibblegrad.golden.errors import InputError
from nibblegrad.golden.host import host_bridge
from nibblegrad.hdl.host.host_bridge import (
    HostBridge,
    HostedCore,
    SerialReceiver,
    SerialTransmitter,
)


class Echo(wiring.Component):
    """A serial line that sends back what it receives."""

    def __init__(self, clocks_per_bit):
        self._clocks = clocks_per_bit
        super().__init__({"rx": In(1, init=1), "tx": Out(1, init=1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.receiver = receiver = SerialReceiver(self._clocks)
        m.submodules.transmitter = transmitter = SerialTransmitter(self._clocks)
        wiring.connect(m, receiver.o, transmitter.i)
        m.d.comb += [receiver.rx.eq(self.rx), self.tx.eq(transmitter.tx)]
        return m


@pytest.mark.parametrize("in_bytes, out_bytes", [(4, 8), (8, 2)])
def test_rtl_matches_golden(sim, in_bytes, out_bytes):
    sim(
        HostBridge(in_bytes, out_bytes),
        "host_bridge",
        {"in_bytes": in_bytes, "out_bytes": out_bytes},
        test="golden|beat|take",
    )


@pytest.mark.parametrize("clocks, off, pause", [(4, 0, 0), (50, 2, 0), (50, -2, 50)])
def test_serial_line(sim, clocks, off, pause):
    params = {"clocks_per_bit": clocks, "off": off, "pause": pause}
    sim(Echo(clocks), "host_bridge", params, test="serial")


def write(name, value):
    """List the message that writes a register, and its reply, as hexadecimal digits."""
    return host_bridge.write(BY_NAME[name].offset, value).hex(), "00"


# Slow: Verilator takes its time for a whole core.
@pytest.mark.slow
def test_a_core_on_a_board_multiplies(sim):
    """A product of codes, over the serial line from the first register to the last result."""
    size = CoreSize(
        rows=2,
        columns=2,
        lanes=2,
        activation_words=16,
        weight_words=16,
        gradient_words=16,
        bias_words=4,
        partial_sum_strips=4,
    )
    x = np.array([[1, 2, 3, 4], [5, 6, 7, 0]])
    w = np.array([[1, -2, 3, -4], [5, 6, -7, 1]])
    messages = [write("BATCH", 2), write("INPUTS", 4), write("OUTPUTS", 2)]
    for name, matrix in (("LOAD_ACTIVATIONS", x), ("LOAD_WEIGHTS", w & 15)):
        command = BY_NAME["COMMAND"].pack(operation=Operation[name], codes=1)
        messages.append(write("COMMAND", command))
        beats = [beat.astype("<u2").tobytes() for beat in pack_matrix(matrix.astype(np.uint32), 2)]
        messages.append((host_bridge.send(beats, True).hex(), "00"))
    messages.append(write("SCALE", BY_NAME["SCALE"].pack(significand=1 << 15, exponent=-15)))
    forward = BY_NAME["COMMAND"].pack(
        operation=Operation.FORWARD, destination=Destination.STREAM, wait_for_loads=1
    )
    messages.append(write("COMMAND", forward))
    # One tile: a strip for each row of it, bfloat16 being the upper half of float32.
    product = (x @ w.T).astype(np.float32).view(np.uint32) >> 16
    strips = b"".join(
        row.astype("<u2").tobytes() + bytes([k == 1]) for k, row in enumerate(product)
    )
    messages.append((host_bridge.take(2).hex(), strips.hex()))
    params = {"clocks_per_bit": 4, "messages": messages}
    sim(HostedCore(size, 4), "host_bridge", params, test="core_answers")


def test_replies_to_take_are_cut():
    assert host_bridge.unpack_beats(bytes([1, 2, 0, 3, 4, 1]), 2) == [
        (b"\1\2", False),
        (b"\3\4", True),
    ]


def test_bad_messages():
    with pytest.raises(InputError, match=r"^Address must be 0 to 65535, not 65536$"):
        host_bridge.read(65536)
    with pytest.raises(InputError, match=r"^Value must be 0 to 2\^32 - 1, not -1$"):
        host_bridge.write(0, -1)
    with pytest.raises(InputError, match=r"^Count of beats must be 0 to 65535, not 70000$"):
        host_bridge.take(70000)


def test_bad_parameters():
    with pytest.raises(ValueError, match=r"^Cycles of a bit must be 4 to 65535, not 3$"):
        SerialReceiver(3)
    with pytest.raises(ValueError, match=r"^Bytes of a beat to the core must be 1 to 256, not 0$"):
        HostBridge(0, 4)
    with pytest.raises(ValueError, match=r"^Bytes of a beat from the core must be 1 to 256, not"):
        HostBridge(4, 257)
