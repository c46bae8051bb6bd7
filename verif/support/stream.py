"""Drivers and a checker for AXI4-Streams, for use in benches.

Everything here samples and drives at the rising edge of the clock, where cocotb shows the values
from before the edge and applies what is written after it.
"""

import random

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, RisingEdge

__all__ = [
    "PACES",
    "Sink",
    "Source",
    "always",
    "burst",
    "check_counts",
    "check_rules",
    "configure",
    "last_of",
    "load_seed",
    "reset",
    "shy",
    "sometimes",
    "start",
    "transfer",
]

SIGNALS = ("tdata", "tuser", "tlast")

#: Cycles without a transfer after which a bench gives up.
PATIENCE = 20_000


def always(valid):
    """Pace that never pauses."""
    while True:
        yield True


def sometimes(valid):
    """Pace that pauses on half of the cycles, at random."""
    while True:
        yield random.random() < 0.5


def burst(valid):
    """Pace that alternates between long runs and long pauses."""
    while True:
        for go in (True, False):
            for _ in range(random.randint(1, 12)):
                yield go


def shy(valid):
    """Pace of a sink that waits to see ``valid`` first.

    A source that waits for ``ready`` in turn, which it must not do, never gets to transfer.
    """
    while True:
        yield valid()


#: Paces of source and sink that every core is tried with.
PACES = [(always, always), (sometimes, sometimes), (burst, shy), (always, burst), (burst, always)]


class _Port:
    def __init__(self, dut, prefix):
        self.clock = dut.aclk
        self.reset = dut.aresetn
        self.prefix = prefix
        self.valid = getattr(dut, f"{prefix}_tvalid")
        self.ready = getattr(dut, f"{prefix}_tready")
        self.signals = {
            name: getattr(dut, f"{prefix}_{name}")
            for name in SIGNALS
            if hasattr(dut, f"{prefix}_{name}")
        }


class Source(_Port):
    """Drives a slave port of the design."""

    def __init__(self, dut, prefix="s_axis"):
        super().__init__(dut, prefix)
        self.stalls = 0

    async def send(self, beats, pace=always):
        """Transfer ``beats``, a dict of lists per signal, each one when ``pace`` says so."""
        go = pace(lambda: True)
        names = list(beats)
        for values in zip(*beats.values(), strict=True):
            while not next(go):
                await RisingEdge(self.clock)
            for name, value in zip(names, values, strict=True):
                self.signals[name].value = value
            self.valid.value = 1
            await RisingEdge(self.clock)
            waited = 0
            while not self.ready.value:
                waited += 1
                assert waited < PATIENCE, f"{self.prefix}: not ready for {waited} cycles"
                await RisingEdge(self.clock)
            self.stalls += waited
            self.valid.value = 0
            if pace is not always:
                # A payload that nobody is offered must not matter to anybody.
                for signal in self.signals.values():
                    signal.value = random.getrandbits(len(signal))


class Sink(_Port):
    """Accepts a master port of the design."""

    def __init__(self, dut, prefix="m_axis"):
        super().__init__(dut, prefix)
        self.stalls = 0

    async def receive(self, count, pace=always):
        """Accept ``count`` beats on cycles chosen by ``pace``; a dict of lists per signal."""
        go = pace(lambda: bool(self.valid.value))
        beats = {name: [] for name in self.signals}
        received = waited = 0
        while received < count:
            ready = next(go)
            self.ready.value = ready
            await RisingEdge(self.clock)
            waited += 1
            assert waited < PATIENCE, f"{self.prefix}: {received} of {count} beats, then no more"
            if self.valid.value:
                if ready:
                    received += 1
                    waited = 0
                    for name, signal in self.signals.items():
                        beats[name].append(int(signal.value))
                else:
                    self.stalls += 1
        self.ready.value = 0
        return beats


async def check_rules(dut, prefix):
    """Watch a master port forever, and fail on a broken promise of the design.

    Once ``tvalid`` is asserted, neither it nor the payload may change until a transfer.
    """
    port = _Port(dut, prefix)
    pending = None
    while True:
        await RisingEdge(port.clock)
        if pending is None and port.ready.value:
            continue  # the common case, made short
        if not port.reset.value:
            pending = None
            continue
        valid = bool(port.valid.value)
        payload = [signal.value for signal in port.signals.values()] if valid else None
        if pending is not None:
            assert valid, f"{prefix}: tvalid was withdrawn before a transfer"
            assert payload == pending, f"{prefix}: payload changed before a transfer"
        pending = payload if valid and not port.ready.value else None


async def reset(dut):
    """Hold the reset for two cycles."""
    dut.aresetn.value = 0
    for signal in (x for x in dir_ports(dut) if x.endswith(("_tvalid", "_tready"))):
        if signal.startswith("s_axis") == signal.endswith("_tvalid"):
            getattr(dut, signal).value = 0
    await ClockCycles(dut.aclk, 2)
    dut.aresetn.value = 1
    await RisingEdge(dut.aclk)


def dir_ports(dut):
    """List the names of the AXI handshake ports of the design."""
    return [handle._name for handle in dut if "_axis" in handle._name]


async def start(dut, **settings):
    """Start the clock, set configuration ports, reset, and check the rules of all masters."""
    Clock(dut.aclk, 10, unit="ns").start()
    if hasattr(dut, "clear_counts"):
        dut.clear_counts.value = 0
    configure(dut, **settings)
    await reset(dut)
    for name in dir_ports(dut):
        if name.startswith("m_axis") and name.endswith("_tvalid"):
            cocotb.start_soon(check_rules(dut, name.removesuffix("_tvalid")))


def configure(dut, **settings):
    """Set configuration ports; negative numbers become two's complement."""
    for name, value in settings.items():
        port = getattr(dut, name)
        port.value = int(value) & ((1 << len(port)) - 1)


async def transfer(dut, beats, paces=(always, always), count=None):
    """Send beats into ``s_axis``, receive as many from ``m_axis``, and let the counters settle.

    Parameters
    ----------
    dut : simulation handle
    beats : dict of str to list
        Values per signal of ``s_axis``.
    paces : pair of paces
        Of source and sink.
    count : int, optional
        Count of beats to receive, if not as many as are sent.

    Returns
    -------
    dict of str to list
        Received values per signal of ``m_axis``.
    dict of str to int
        Cycles in which input and output were stalled, named as bins of a coverage.
    """
    source, sink = Source(dut), Sink(dut)
    sending = cocotb.start_soon(source.send(beats, paces[0]))
    received = await sink.receive(count or len(beats["tdata"]), paces[1])
    await sending
    await ClockCycles(dut.aclk, 3)
    return received, {"input_stalled": source.stalls, "output_stalled": sink.stalls}


def last_of(count):
    """List the ``tlast`` values of one tensor of ``count`` beats."""
    return [0] * (count - 1) + [1]


def check_counts(dut, **expected):
    """Compare event counts and sticky bits with those of the golden model."""
    for event, count in expected.items():
        got = int(getattr(dut, f"{event}_count").value)
        assert got == count, f"{event}_count is {got}, expected {count}"
        seen = bool(getattr(dut, f"{event}_seen").value)
        assert seen == (count > 0), f"{event}_seen is {seen} with {event}_count {count}"


async def load_seed(dut, state):
    """Load a random state through ``s_axis_seed``."""
    await Source(dut, "s_axis_seed").send({"tdata": [int(word) for word in state]})
    await ClockCycles(dut.aclk, 2)
