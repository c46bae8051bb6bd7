# amaranth: UnusedElaboratable=no
"""A training core on a board: a serial line to the host instead of buses."""

# Ref: Arm IHI 0022H.c, AMBA AXI and ACE Protocol Specification, chapter B1

from amaranth import *
from amaranth.lib import cdc, stream, wiring
from amaranth.lib.wiring import In, Out

from nibblegrad.golden.host.host_bridge import PRESENT, UNKNOWN, Code
from nibblegrad.hdl.array.structures import PLAIN
from nibblegrad.hdl.base.parameters import check_integer
from nibblegrad.hdl.base.stream import beat_signature
from nibblegrad.hdl.engine.axi_lite import axi_lite_signature
from nibblegrad.hdl.engine.training_core import TrainingCore

__all__ = ["BYTE", "STATES", "HostBridge", "HostedCore", "SerialReceiver", "SerialTransmitter"]

#: What the bridge is about.
STATES = (
    *("idle", "decoding", "in_header", "counting", "beginning", "in_body", "sending", "writing"),
    *("reading", "taking", "answering"),
)

BYTE = stream.Signature(8)


class SerialReceiver(wiring.Component):
    """Bytes from a serial line: a start bit, eight bits with the lowest first, a stop bit.

    The latency is 3 cycles from the middle of the stop bit. A byte that is not taken before the
    next one ends is overwritten; a byte without a stop bit is dropped.

    Parameters
    ----------
    clocks_per_bit : int
        Cycles of a bit, 4 to 65535.

    Members
    -------
    rx : ``In(1)``
        The line; high while idle. It need not be synchronous.
    o : ``Out(stream.Signature(8))``
        The bytes.
    """

    def __init__(self, clocks_per_bit):
        check_integer("Cycles of a bit", clocks_per_bit, 4, 65535)
        self._clocks = clocks_per_bit
        super().__init__({"rx": In(1, init=1), "o": Out(BYTE)})

    def elaborate(self, platform):
        m = Module()
        line = Signal(init=1)
        received = Signal(8)
        m.submodules.synchronizer = cdc.FFSynchronizer(self.rx, line, init=1)
        clocks_left = Signal(range(self._clocks))
        bits = Signal(range(11))
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(~bits.any()), m.If(~line):
            # Every bit is looked at in its middle: start bit, eight bits, stop bit.
            m.d.sync += [bits.eq(10), clocks_left.eq(self._clocks // 2 - 1)]
        with m.Elif(clocks_left.any()):
            m.d.sync += clocks_left.eq(clocks_left - 1)
        with m.Else():
            m.d.sync += [bits.eq(bits - 1), clocks_left.eq(self._clocks - 1)]
            with m.If(bits == 10), m.If(line):
                m.d.sync += bits.eq(0)  # it was a glitch
            with m.Elif(bits == 1):
                m.d.sync += self.o.valid.eq(line)
            with m.Else():
                m.d.sync += received.eq(Cat(received[1:], line))
        with m.If((bits == 1) & ~clocks_left.any()):
            m.d.sync += self.o.payload.eq(received)
        return m


class SerialTransmitter(wiring.Component):
    """Bytes to a serial line: a start bit, eight bits with the lowest first, a stop bit.

    The latency is 1 cycle to the start bit; a byte takes ten bits.

    Parameters
    ----------
    clocks_per_bit : int
        Cycles of a bit, 4 to 65535.

    Members
    -------
    i : ``In(stream.Signature(8))``
        The bytes.
    tx : ``Out(1)``
        The line; high while idle.
    """

    def __init__(self, clocks_per_bit):
        check_integer("Cycles of a bit", clocks_per_bit, 4, 65535)
        self._clocks = clocks_per_bit
        super().__init__({"i": In(BYTE), "tx": Out(1, init=1)})

    def elaborate(self, platform):
        m = Module()
        clocks_left = Signal(range(self._clocks))
        bits = Signal(range(11))
        rest = Signal(9)
        m.d.comb += self.i.ready.eq(~bits.any())
        with m.If(~bits.any()), m.If(self.i.valid):
            m.d.sync += [
                self.tx.eq(0),
                rest.eq(Cat(self.i.payload, 1)),
                bits.eq(10),
                clocks_left.eq(self._clocks - 1),
            ]
        with m.Elif(clocks_left.any()):
            m.d.sync += clocks_left.eq(clocks_left - 1)
        with m.Else():
            m.d.sync += [
                self.tx.eq(rest[0]),
                rest.eq(Cat(rest[1:], 1)),
                bits.eq(bits - 1),
                # The stop bit goes on for a cycle while the next byte is taken.
                clocks_left.eq(Mux(bits == 2, self._clocks - 2, self._clocks - 1)),
            ]
        return m


class _Message:
    """The message that is under way, and what the bridge is about.

    Parameters
    ----------
    m : Module
        Where the registers go.
    size : int
        Bytes of a beat or a reply, at most.
    """

    def __init__(self, m, size):
        self._m = m
        self.code = Signal(8)
        #: Address of a register, or beats that are still to come.
        self.header = Signal(16)
        #: Bytes come in at the top and leave at the bottom.
        self.held = Signal(8 * size)
        self.bytes_left = Signal(range(size + 1))
        self.lost = Signal()
        # What is asked of a byte, or of the count of beats, is found a cycle before it is needed.
        self.unknown = Signal()
        self.sends = Signal()
        self.some_left = Signal()
        m.d.sync += [
            self.sends.eq((self.code == Code.SEND) | (self.code == Code.SEND_LAST)),
            self.some_left.eq(self.header.any()),
        ]
        self.last_byte = self.bytes_left == 1
        #: One bit for each state; a case over them would be incomplete to a linter.
        self.states = {name: Signal(name=name, init=name == "idle") for name in STATES}

    def go(self, state):
        """Change to a state."""
        self._m.d.sync += [bit.eq(name == state) for name, bit in self.states.items()]

    def reply(self, reply, count):
        """Hold a reply of so many bytes, and send it."""
        self._m.d.sync += [self.held.eq(reply), self.bytes_left.eq(count)]
        self.go("answering")


class HostBridge(wiring.Component):
    """Turn bytes of a host into accesses to registers and beats of streams, and back.

    The messages are those of :mod:`nibblegrad.golden.host.host_bridge`, whose
    :func:`nibblegrad.golden.host.host_bridge.reply` is the golden model. The bridge does one thing
    after the other. Its latency from the last byte of a message to the first of the reply is 3
    cycles and what the core takes.

    Parameters
    ----------
    in_bytes, out_bytes : int
        Bytes of a beat to the core, and from it, 1 to 256.
    address_bits : int
        Width of an address, 1 to 16. Bits of a message beyond it are ignored.

    Members
    -------
    i_host : ``In(stream.Signature(8))``, o_host : ``Out(stream.Signature(8))``
        Bytes from and to the host.
    m_axi : ``Out(axi_lite_signature(address_bits))``
        AXI4-Lite. Words are always written as a whole.
    o : ``Out(beat_signature(8 * in_bytes))``, i : ``In(beat_signature(8 * out_bytes))``
        Beats to the core, and from it.
    """

    def __init__(self, in_bytes, out_bytes, address_bits=16):
        check_integer("Bytes of a beat to the core", in_bytes, 1, 256)
        check_integer("Bytes of a beat from the core", out_bytes, 1, 256)
        check_integer("Width of an address", address_bits, 1, 16)
        self._in_bytes = in_bytes
        self._out_bytes = out_bytes
        super().__init__(
            {
                "i_host": In(BYTE),
                "o_host": Out(BYTE),
                "m_axi": Out(axi_lite_signature(address_bits)),
                "o": Out(beat_signature(8 * in_bytes)),
                "i": In(beat_signature(8 * out_bytes)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        message = _Message(m, max(5, self._in_bytes, self._out_bytes + 1))
        states, host, answer = message.states, self.i_host, self.o_host
        for valid, ready in (
            (self.m_axi.awvalid, self.m_axi.awready),
            (self.m_axi.wvalid, self.m_axi.wready),
            (self.m_axi.arvalid, self.m_axi.arready),
            (self.o.valid, self.o.ready),
        ):
            with m.If(ready):
                m.d.sync += valid.eq(0)
        m.d.comb += [
            self.m_axi.awaddr.eq(message.header),
            self.m_axi.araddr.eq(message.header),
            self.m_axi.wdata.eq(message.held[-32:]),
            self.m_axi.wstrb.eq(0b1111),
            self.m_axi.bready.eq(1),
            self.m_axi.rready.eq(1),
            host.ready.eq(states["idle"] | states["in_header"] | states["in_body"]),
            answer.payload.eq(message.held[:8]),
            answer.valid.eq(states["answering"]),
            self.i.ready.eq(states["taking"] & message.some_left),
        ]
        self._receive_header(m, message)
        self._begin(m, message)
        self._receive_body(m, message)
        self._send(m, message)
        self._access(m, message)
        self._take(m, message)
        self._answer(m, message)
        return m

    def _receive_header(self, m, message):
        """Take the code of a message, and two bytes behind it where it has them."""
        states, host = message.states, self.i_host
        with m.If(states["idle"]):
            m.d.sync += [
                message.code.eq(host.payload),
                message.bytes_left.eq(2),
                message.lost.eq(0),
            ]
            m.d.sync += message.unknown.eq(host.payload > max(Code))
            with m.If(host.valid):
                message.go("decoding")
        with m.If(states["decoding"]):
            with m.If(message.unknown | ~message.code.any()):
                message.reply(Mux(message.unknown, UNKNOWN, PRESENT), 1)
            with m.Else():
                message.go("in_header")
        with m.If(states["in_header"] & host.valid):
            m.d.sync += message.header.eq(Cat(message.header[8:], host.payload))
            m.d.sync += message.bytes_left.eq(message.bytes_left - 1)
            with m.If(message.last_byte):
                message.go("counting")
        with m.If(states["counting"]):
            message.go("beginning")

    def _begin(self, m, message):
        """Do what the header asks for; for each beat of a message once more."""
        with m.If(message.states["beginning"]):
            m.d.sync += message.bytes_left.eq(Mux(message.sends, self._in_bytes, 4))
            with m.If(message.code == Code.READ):
                m.d.sync += self.m_axi.arvalid.eq(1)
                message.go("reading")
            with m.Elif(message.code == Code.TAKE):
                message.go("taking")
            with m.Elif(message.sends & ~message.some_left):
                # What was lost is said once all beats have come.
                message.reply(message.lost, 1)
            with m.Else():
                message.go("in_body")

    def _receive_body(self, m, message):
        """Take the bytes of a beat or of a word."""
        host = self.i_host
        with m.If(message.states["in_body"] & host.valid):
            m.d.sync += message.held.eq(Cat(message.held[8:], host.payload))
            m.d.sync += message.bytes_left.eq(message.bytes_left - 1)
            with m.If(message.last_byte & message.sends):
                message.go("sending")
            with m.Elif(message.last_byte):
                m.d.sync += [self.m_axi.awvalid.eq(1), self.m_axi.wvalid.eq(1)]
                message.go("writing")

    def _send(self, m, message):
        """Send a beat to the core."""
        with m.If(message.states["sending"]):
            # A beat that waits must not change: the new one is given up.
            with m.If(self.o.valid & ~self.o.ready):
                m.d.sync += message.lost.eq(1)
            with m.Else():
                m.d.sync += [
                    self.o.valid.eq(1),
                    self.o.p.data.eq(message.held[-8 * self._in_bytes :]),
                    self.o.p.last.eq((message.code == Code.SEND_LAST) & (message.header == 1)),
                ]
            m.d.sync += message.header.eq(message.header - 1)
            message.go("counting")

    def _access(self, m, message):
        """Answer with what a register says to its access."""
        with m.If(message.states["writing"] & self.m_axi.bvalid):
            message.reply(self.m_axi.bresp, 1)
        with m.If(message.states["reading"] & self.m_axi.rvalid):
            message.reply(Cat(self.m_axi.rresp, C(0, 6), self.m_axi.rdata), 5)

    def _take(self, m, message):
        """Take beats from the core, as many as are asked for, until the host says something."""
        with m.If(message.states["taking"]):
            with m.If(~message.some_left):
                message.go("idle")
            with m.Elif(self.i.valid):
                m.d.sync += message.header.eq(message.header - 1)
                message.reply(Cat(self.i.p.data, self.i.p.last), self._out_bytes + 1)
            with m.Elif(self.i_host.valid):
                message.go("idle")

    def _answer(self, m, message):
        """Send a reply, byte by byte."""
        with m.If(message.states["answering"] & self.o_host.ready):
            m.d.sync += [
                message.held.eq(message.held[8:]),
                message.bytes_left.eq(message.bytes_left - 1),
            ]
            with m.If(message.last_byte & (message.code == Code.TAKE)):
                message.go("taking")
            with m.Elif(message.last_byte):
                message.go("idle")


class HostedCore(wiring.Component):
    """A training core whose host is at the other end of a serial line.

    The latency is that of the line.

    Parameters
    ----------
    size : CoreSize
        Parameters of the core.
    clocks_per_bit : int
        Cycles of a bit on the line, 4 to 65535.
    structure : Structure
        What the array of the core is built of.

    Members
    -------
    rx : ``In(1)``, tx : ``Out(1)``
        The line, as the board sees it.
    irq : ``Out(1)``
        Interrupt of the core.
    """

    def __init__(self, size, clocks_per_bit, structure=PLAIN):
        self._core = TrainingCore(size, structure)
        self._size = size
        self._clocks = clocks_per_bit
        super().__init__({"rx": In(1, init=1), "tx": Out(1, init=1), "irq": Out(1)})

    def elaborate(self, platform):
        m = Module()
        width = self._size.wide_format.width
        in_bytes, out_bytes = (
            lanes * width // 8 for lanes in (self._size.load_lanes, self._size.strip)
        )
        m.submodules.receiver = receiver = SerialReceiver(self._clocks)
        m.submodules.transmitter = transmitter = SerialTransmitter(self._clocks)
        m.submodules.core = core = self._core
        m.submodules.bridge = bridge = HostBridge(in_bytes, out_bytes, len(core.s_axi.awaddr))
        wiring.connect(m, receiver.o, bridge.i_host)
        wiring.connect(m, bridge.o_host, transmitter.i)
        m.d.comb += [
            receiver.rx.eq(self.rx),
            self.tx.eq(transmitter.tx),
            self.irq.eq(core.irq),
        ]
        wiring.connect(m, bridge.m_axi, core.s_axi)
        for source, sink in ((bridge.o, core.i), (core.o, bridge.i)):
            m.d.comb += [
                sink.valid.eq(source.valid),
                source.ready.eq(sink.ready),
                Value.cast(sink.p.data).eq(Value.cast(source.p.data)),
                sink.p.last.eq(source.p.last),
            ]
        return m
