"""Table of the scales of channels, which go round with the beats of a tensor."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from nibblegrad.hdl.base.contracts import are_checked, promise
from nibblegrad.hdl.base.pipeline import Flow, register
from nibblegrad.hdl.base.stream import beat_signature
from nibblegrad.hdl.encoders.scale_product import BIAS_BITS, SCALE_BITS

__all__ = ["ScaleTable", "factor_layout", "scale_layout"]


def factor_layout():
    """Lay out the scale of a channel, 24 bits."""
    return data.StructLayout({"significand": SCALE_BITS, "exponent": signed(8)})


def scale_layout():
    """Lay out the bias and scale of a channel, 56 bits."""
    return data.StructLayout({"bias": signed(BIAS_BITS), **dict(factor_layout().members)})


class ScaleTable(wiring.Component):
    """Keep bias and scale of each channel, and look them up for the beats that enter a pipeline.

    Lane ``l`` of beat ``n`` is channel ``n * lanes + l``, counted from the beginning of the tensor
    and modulo the channels. The latency is 1 cycle, from a beat to its biases, and the throughput
    one beat per cycle. Scales are read from a memory of their own as late as they are needed, so
    that nothing but the number of the group goes along with the beat.

    Parameters
    ----------
    lanes : int
        Count of channels in a group.
    groups : int
        Most groups.
    factor_latency : int
        Cycles from a beat to its scales, 3 or more.

    Members
    -------
    i : ``In(beat_signature(ArrayLayout(scale_layout(), lanes)))``
        Groups of channels, the last one with ``last``, between tensors and not in the cycle in
        which a beat enters. Not ready in the ``factor_latency - 2`` cycles after a beat, so that
        none that is under way gets the scale of the next tensor. A group can be used by a beat two
        cycles later.
    entered : ``In(1)``, last : ``In(1)``
        A beat enters; it is the last one of its tensor.
    biases : ``Out(ArrayLayout(signed(32), lanes))``
        Biases of the beat of the cycle before.
    factors : ``Out(ArrayLayout(factor_layout(), lanes))``
        Scales of the beat ``factor_latency`` cycles ago, from the register of the memory.
    """

    latency = 1

    def __init__(self, lanes, groups, factor_latency):
        assert factor_latency >= 3
        self._lanes = lanes
        self._depth = max(groups, 2)  # an address needs a bit
        self._factor_latency = factor_latency
        super().__init__(
            {
                "i": In(beat_signature(data.ArrayLayout(scale_layout(), lanes))),
                "entered": In(1),
                "last": In(1),
                "biases": Out(data.ArrayLayout(signed(BIAS_BITS), lanes)),
                "factors": Out(data.ArrayLayout(factor_layout(), lanes)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        flow = Flow(m)
        lanes = range(self._lanes)
        writing = Signal(range(self._depth), name="write_group")
        groups = Signal(range(self._depth), name="last_group")
        load = Signal()
        m.d.comb += load.eq(self.i.valid & self.i.ready)
        with m.If(load):
            m.d.sync += writing.eq(Mux(self.i.p.last, 0, writing + 1))
        with m.If(load & self.i.p.last):
            m.d.sync += groups.eq(writing)

        group = Signal(range(self._depth), name="group")
        following = Signal(range(self._depth), name="next_group")
        m.d.comb += following.eq(group)
        with m.If(self.entered):
            m.d.comb += following.eq(Mux(self.last | (group == groups), 0, group + 1))
        m.d.sync += group.eq(following)

        # The memory answers in the cycle after: what is read now belongs to the next beat. It is
        # read again when it was written, so that a bias is valid one cycle after it was loaded.
        given = [self.i.p.data[lane] for lane in lanes]
        biases = self._memory(m, "biases", load, writing, [each.bias for each in given], following)
        m.d.comb += self.biases.eq(register(m, "biases_read", biases))
        # The register of the memory counts.
        address = flow.at(flow.input("group", group), self._factor_latency - 1)
        scales = [Cat(each.significand, each.exponent) for each in given]
        m.d.comb += self.factors.eq(self._memory(m, "factors", load, writing, scales, address))

        # Beats that have not read their scales yet, in the cycle after this one.
        entered = flow.input("entered", self.entered, reset=True)
        waiting = Cat(flow.at(entered, k) for k in range(self._factor_latency - 2))
        m.d.sync += self.i.ready.eq(~waiting.any())
        self._promise(m, load)
        return m

    def _memory(self, m, name, load, writing, words, address):
        """Keep a word of each group; it is read in the cycle after its address."""
        memory = Memory(shape=sum(len(word) for word in words), depth=self._depth, init=[])
        m.submodules[name] = memory
        write = memory.write_port()
        read = memory.read_port()
        m.d.comb += [
            write.en.eq(load),
            write.addr.eq(writing),
            write.data.eq(Cat(words)),
            read.addr.eq(address),
            read.en.eq(1),
        ]
        return read.data

    def _promise(self, m, load):
        if are_checked():
            within = Signal()
            with m.If(self.entered):
                m.d.sync += within.eq(~self.last)
            what = "scales are loaded between tensors"
            promise(m, what, ~load | ~(self.entered | within))
