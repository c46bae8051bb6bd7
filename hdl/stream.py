"""Shapes of stream payloads, and the control of a pipeline between two streams."""

from amaranth import *
from amaranth.lib import data, stream

__all__ = ["Pipeline", "beat_signature"]


def beat_signature(elements, sideband=None):
    """Describe a stream whose transfers are beats of a tensor or matrix.

    Parameters
    ----------
    elements : shape-like
        What a beat carries; lane 0 lowest. Becomes ``tdata``.
    sideband : shape-like, optional
        What belongs to the elements but is no number of the tensor. Becomes ``tuser``.

    Returns
    -------
    stream.Signature
        Payload fields ``data``, ``user`` (with a sideband) and ``last``, the end of the tensor or
        tile.
    """
    fields = {"data": elements}
    if sideband is not None:
        fields["user"] = sideband
    return stream.Signature(data.StructLayout({**fields, "last": 1}))


class Pipeline:
    """Valid bits and clock enables of a chain of register stages between two streams.

    Stage ``k`` loads its registers in cycles with ``enable[k]``; it then holds a beat if
    ``arriving[k]``. The last stage's registers are the payload of ``o``. A stalled output stops
    the stages from the back; empty stages fill up meanwhile. ``i.ready`` depends combinationally
    on ``o.ready``.

    Parameters
    ----------
    m : Module
        Where the control goes.
    i, o : stream interfaces
        Input and output.
    stages : int
        Count of stages, which is the latency in cycles.
    hold : dict of int to Value
        For a stage, a condition that keeps it from loading, such as missing random bits.
    """

    def __init__(self, m, i, o, stages, hold=None):
        holding = hold or {}
        self.enable = [Signal(name=f"enable_{k}") for k in range(stages)]
        valid = [Signal(name=f"valid_{k}") for k in range(stages)]
        before = [i.valid, *valid[:-1]]
        after = [*self.enable[1:], o.ready]
        #: Whether the stage loads a beat, rather than nothing, in a cycle with its enable.
        self.arriving = before
        for k in range(stages):
            free = ~valid[k] | after[k]
            m.d.comb += self.enable[k].eq(free & ~holding[k] if k in holding else free)
            with m.If(self.enable[k]):
                m.d.sync += valid[k].eq(before[k])
            if k in holding:
                # The stage cannot load, but what it holds may leave.
                with m.Elif(after[k]):
                    m.d.sync += valid[k].eq(0)
        m.d.comb += [i.ready.eq(self.enable[0]), o.valid.eq(valid[-1])]

    def carry(self, m, name, start, end):
        """Pass a value that no stage changes from the input to the output payload."""
        for k, enable in enumerate(self.enable):
            register = Signal.like(Value.cast(start), name=f"{name}_{k}")
            with m.If(enable):
                m.d.sync += register.eq(start)
            start = register
        m.d.comb += end.eq(start)
