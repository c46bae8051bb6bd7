"""IP-XACT component: ports, buses, clock and reset, registers, files."""

# Ref: IEEE 1685-2014, IP-XACT
# Ref: AMBA bus definitions of Arm (amba.com); Vivado's for clock, reset and interrupt

import enum
from collections.abc import Sequence
from xml.etree import ElementTree

from nibblegrad.gen.emission.registers import CODES
from nibblegrad.gen.packaging.interface import CLOCK, INTERRUPT, RESET, Interface, Port
from nibblegrad.golden.engine.registers import IDENTIFIER, REGISTERS, VERSION, Field, Register

__all__ = ["NAMESPACE", "to_component"]

NAMESPACE = "http://www.accellera.org/XMLSchema/IPXACT/1685-2014"
_SCHEMA = "http://www.w3.org/2001/XMLSchema-instance"

_AMBA = ("amba.com", "AMBA4")
_SIGNAL = ("xilinx.com", "signal")

#: Access of registers, and what else belongs to it.
_ACCESS = {
    "rw": ("read-write", None),
    "ro": ("read-only", None),
    "wo": ("write-only", None),
    "w1c": ("read-write", "oneToClear"),
}

#: What is read of registers that never change.
_FIXED = {"ID": IDENTIFIER, "VERSION": VERSION}


def to_component(interface: Interface, version: str) -> str:
    """Describe a module in IP-XACT 1685-2014.

    Parameters
    ----------
    interface : Interface
        The module.
    version : str
        Version of the generator.
    """
    ElementTree.register_namespace("ipxact", NAMESPACE)
    ElementTree.register_namespace("xsi", _SCHEMA)
    root = ElementTree.Element(
        f"{{{NAMESPACE}}}component",
        {f"{{{_SCHEMA}}}schemaLocation": f"{NAMESPACE} {NAMESPACE}/index.xsd"},
    )
    for tag, text in (
        ("vendor", "nibblegrad"),
        ("library", "core"),
        ("name", interface.name),
        ("version", version),
    ):
        _add(root, tag, text)
    _add_interfaces(root, interface)
    if interface.has_registers:
        _add_memory_map(_add(root, "memoryMaps"), REGISTERS)
    _add_model(root, interface)
    _add_files(root, interface)
    _add(root, "description", interface.summary)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(
        root, encoding="unicode", short_empty_elements=True
    ) + "\n"  # fmt: skip


def _add(parent, tag, text=None, **attributes):
    """Add an element, with a text, and return it."""
    element = ElementTree.SubElement(parent, f"{{{NAMESPACE}}}{tag}", attributes)
    if text is not None:
        element.text = str(text)
    return element


def _add_interfaces(root, interface: Interface):
    buses = _add(root, "busInterfaces")
    for bus in interface.buses:
        name = "AXI4Stream" if bus.is_stream else "AXI4-Lite"
        release = "r0p0_1" if bus.is_stream else "r0p0_0"
        maps = bus.ports | {"ACLK": Port(CLOCK, "input", 1), "ARESETn": Port(RESET, "input", 1)}
        element = _add_bus(buses, bus.name, _AMBA, name, release, maps)
        role = _add(element, "slave" if bus.incoming else "master")
        if not bus.is_stream:
            _add(role, "memoryMapRef", memoryMapRef="registers")
    clocked = ":".join(bus.name for bus in interface.buses)
    signals = [
        (CLOCK, "clock", "CLK", {"ASSOCIATED_BUSIF": clocked, "ASSOCIATED_RESET": RESET}, "slave"),
        (RESET, "reset", "RST", {"POLARITY": "ACTIVE_LOW"}, "slave"),
    ]
    if interface.has_interrupt:
        high = {"SENSITIVITY": "LEVEL_HIGH"}
        signals.append((INTERRUPT, "interrupt", "INTERRUPT", high, "master"))
    for port, name, logical, parameters, role in signals:
        element = _add_bus(buses, port, _SIGNAL, name, "1.0", {logical: Port(port, "", 1)})
        _add(element, role)
        values = _add(element, "parameters")
        for key, value in parameters.items():
            parameter = _add(values, "parameter", parameterId=f"{port}_{key}")
            _add(parameter, "name", key)
            _add(parameter, "value", value)


def _add_bus(buses, name, library, kind, release, maps: dict[str, Port]):
    """Add a bus interface but its role."""
    element = _add(buses, "busInterface")
    _add(element, "name", name)
    vlnv = {"vendor": library[0], "library": library[1], "version": release}
    _add(element, "busType", name=kind, **vlnv)
    abstraction = _add(_add(element, "abstractionTypes"), "abstractionType")
    _add(abstraction, "abstractionRef", name=f"{kind}_rtl", **vlnv)
    ports = _add(abstraction, "portMaps")
    for logical, port in maps.items():
        element_of_port = _add(ports, "portMap")
        _add(_add(element_of_port, "logicalPort"), "name", logical)
        _add(_add(element_of_port, "physicalPort"), "name", port.name)
    return element


def _add_memory_map(maps, registers: Sequence[Register]):
    memory = _add(maps, "memoryMap")
    _add(memory, "name", "registers")
    block = _add(memory, "addressBlock")
    _add(block, "name", "registers")
    _add(block, "baseAddress", "'h0")
    # As many bytes as the address ports reach.
    reach = 1 << (registers[-1].offset | 3).bit_length()
    _add(block, "range", f"'h{reach:X}")
    _add(block, "width", 32)
    _add(block, "usage", "register")
    _add(block, "access", "read-write")
    for register in registers:
        element = _add(block, "register")
        _add(element, "name", register.name)
        _add(element, "description", register.description)
        _add(element, "addressOffset", f"'h{register.offset:X}")
        _add(element, "size", 32)
        access, _ = _ACCESS[register.access]
        _add(element, "volatile", "true" if register.access in ("ro", "w1c") else "false")
        _add(element, "access", access)
        for part in register.fields:
            _add_field(element, register, part)
    _add(memory, "addressUnitBits", 8)


def _add_field(parent, register: Register, part: Field):
    element = _add(parent, "field")
    _add(element, "name", part.name)
    _add(element, "description", part.description)
    _add(element, "bitOffset", part.low)
    if register.access in ("rw", "w1c") or register.name in _FIXED:
        value = _FIXED.get(register.name, 0)
        _add(_add(_add(element, "resets"), "reset"), "value", f"'h{value:X}")
    _add(element, "bitWidth", part.bits)
    _add(element, "volatile", "true" if register.access in ("ro", "w1c") else "false")
    access, modified = _ACCESS[register.access]
    _add(element, "access", access)
    codes: type[enum.IntEnum] | None = CODES.get((register.name, part.name))
    if codes is not None:
        values = _add(element, "enumeratedValues")
        for code in codes:
            value_of_code = _add(values, "enumeratedValue")
            _add(value_of_code, "name", code.name)
            _add(value_of_code, "value", code.value)
    if modified:
        _add(element, "modifiedWriteValue", modified)


def _add_model(root, interface: Interface):
    model = _add(root, "model")
    view = _add(_add(model, "views"), "view")
    _add(view, "name", "rtl")
    _add(view, "envIdentifier", ":*Synthesis:")
    _add(view, "componentInstantiationRef", "verilog")
    instantiation = _add(_add(model, "instantiations"), "componentInstantiation")
    _add(instantiation, "name", "verilog")
    _add(instantiation, "language", "verilog")
    _add(instantiation, "moduleName", interface.name)
    _add(_add(instantiation, "fileSetRef"), "localName", "rtl")
    ports = _add(model, "ports")
    for port in interface.ports:
        element = _add(ports, "port")
        _add(element, "name", port.name)
        wire = _add(element, "wire")
        _add(wire, "direction", {"input": "in", "output": "out"}[port.direction])
        if port.width > 1:
            vector = _add(_add(wire, "vectors"), "vector")
            _add(vector, "left", port.width - 1)
            _add(vector, "right", 0)


def _add_files(root, interface: Interface):
    sets = _add(root, "fileSets")
    for name, endings in (
        ("rtl", {".v": "verilogSource"}),
        ("testbench", {"_testbench.v": "verilogSource"}),
        ("constraints", {".sdc": "SDC", ".xdc": "XDC"}),
    ):
        element = _add(sets, "fileSet")
        _add(element, "name", name)
        for end, kind in endings.items():
            file = _add(element, "file")
            _add(file, "name", f"{interface.name}{end}")
            if kind.isupper():
                _add(file, "fileType", "user", user=kind)
            else:
                _add(file, "fileType", kind)
