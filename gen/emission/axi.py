"""AXI4-Stream names around a component, as vendor tools infer them."""

# Ref: Arm IHI 0051B, AMBA AXI-Stream Protocol Specification

from amaranth import ClockDomain, Module, Shape, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from nibblegrad.hdl.base.select import assign_all

__all__ = ["AxiWrapper", "axi_name", "is_stream"]


def axi_name(member):
    """Translate the name of a stream: ``i`` to ``s_axis``, ``o_x`` to ``m_axis_x``."""
    direction, _, rest = member.partition("_")
    prefix = {"i": "s_axis", "o": "m_axis"}[direction]
    return f"{prefix}_{rest}" if rest else prefix


def _fields(payload_shape):
    """List AXI signal, field of the payload and width; ``tdata`` is a whole number of bytes."""
    if isinstance(payload_shape, data.StructLayout) and "data" in payload_shape.members:
        names = {"data": "tdata", "user": "tuser", "last": "tlast"}
        for field, shape in payload_shape.members.items():
            width = Shape.cast(shape).width
            yield names[field], field, width if field != "data" else -(-width // 8) * 8
    else:
        yield "tdata", None, -(-Shape.cast(payload_shape).width // 8) * 8


def is_stream(member):
    """Tell whether a member of a component is a stream."""
    return member.is_signature and isinstance(member.signature, stream.Signature)


def _flat(name, member):
    """List the ports of a member by name: those of ``s_axi`` become ``s_axi_awaddr`` and so on."""
    if member.is_port:
        return {name: member}
    return {f"{name}_{port}": of_port for port, of_port in member.signature.members.items()}


class AxiWrapper(wiring.Component):
    """A component with AXI4-Stream ports, a clock ``aclk`` and a reset ``aresetn``.

    Streams become ``tdata``, ``tuser``, ``tlast``, ``tvalid`` and ``tready`` ports; lane 0 is the
    lowest part of ``tdata``, which is padded with zeros to whole bytes. Members of another
    interface become ports such as ``s_axi_awaddr``, and other members keep their names. The reset
    is active low and synchronous. Adds no latency.

    Parameters
    ----------
    core : wiring.Component
        What to wrap.

    Members
    -------
    aclk, aresetn : ``In(1)``
        Clock and reset.
    """

    latency = 0

    def __init__(self, core):
        self._core = core
        members = {"aclk": In(1), "aresetn": In(1)}
        for name, member in core.signature.members.items():
            if not is_stream(member):
                members |= _flat(name, member)
                continue
            forward, backward = (In, Out) if member.flow is In else (Out, In)
            prefix = axi_name(name)
            for signal, _, width in _fields(member.signature.members["payload"].shape):
                members[f"{prefix}_{signal}"] = forward(width)
            members[f"{prefix}_tvalid"] = forward(1)
            members[f"{prefix}_tready"] = backward(1)
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        m.domains.sync = clocked = ClockDomain("sync")
        m.d.comb += [clocked.clk.eq(self.aclk), clocked.rst.eq(~self.aresetn)]
        m.submodules.core = core = self._core
        for name, member in core.signature.members.items():
            port = getattr(core, name)
            if not is_stream(member):
                for flat_name, flat in _flat(name, member).items():
                    inner = port if member.is_port else getattr(port, flat_name[len(name) + 1 :])
                    mine = getattr(self, flat_name)
                    there, here = (inner, mine) if flat.flow is In else (mine, inner)
                    m.d.comb += assign_all(there, here) if flat.dimensions else there.eq(here)
                continue
            prefix = axi_name(name)
            valid = getattr(self, f"{prefix}_tvalid")
            ready = getattr(self, f"{prefix}_tready")
            incoming = member.flow is In
            m.d.comb += (
                [port.valid.eq(valid), ready.eq(port.ready)]
                if incoming
                else [
                    valid.eq(port.valid),
                    port.ready.eq(ready),
                ]
            )
            for signal, field, _ in _fields(member.signature.members["payload"].shape):
                mine = getattr(self, f"{prefix}_{signal}")
                part = Value.cast(port.payload if field is None else port.payload[field])
                m.d.comb += part.eq(mine) if incoming else mine.eq(part.as_unsigned())
        return m
