"""Tcl that packages a module as an IP in Vivado. No Vivado has run it."""

# Ref: AMD UG1118, Creating and Packaging Custom IP; UG994, AXI interfaces by the names of ports

from nibblegrad.gen.packaging.interface import CLOCK, INTERRUPT, RESET, Bus, Interface

__all__ = ["to_packaging"]

_TEXT = """\
# Packages {name} as an IP for the IP catalogue of Vivado:
#   vivado -mode batch -source {name}_vivado.tcl
# makes the folder ip/{name} beside this file; add it as an IP repository. This script was parsed
# and executed with Tcl and stand-ins for the commands of Vivado; it was not run in Vivado.

set here [file dirname [file normalize [info script]]]
set root [file join $here ip {name}]

create_project -in_memory -part xc7a200tfbg676-2
read_verilog [file join $here {name}.v]
read_xdc [file join $here {name}.xdc]
set_property USED_IN {{out_of_context synthesis implementation}} [get_files {name}.xdc]
set_property top {name} [current_fileset]

ipx::package_project -root_dir $root -vendor nibblegrad -library core -taxonomy /UserIP \\
  -import_files -force
set core [ipx::current_core]
set_property name {name} $core
set_property version {version} $core
set_property display_name {{{name}}} $core
set_property description {{{summary}}} $core

# Buses are inferred from the names of ports; what was not is named here.
foreach {{bus kind}} {{
{buses}
}} {{
  if {{[llength [ipx::get_bus_interfaces $bus -of_objects $core]] == 0}} {{
    set ports {{}}
    foreach port [ipx::get_ports "${{bus}}_*" -of_objects $core] {{
      set name [get_property NAME $port]
      if {{[regexp "^${{bus}}_\\[a-z\\]+$" $name]}} {{lappend ports $name}}
    }}
    ipx::infer_bus_interface $ports xilinx.com:interface:$kind:1.0 $core
  }}
  ipx::associate_bus_interfaces -busif $bus -clock {clock} -reset {reset} $core
}}
foreach {{port kind}} {{
{signals}
}} {{
  if {{[llength [ipx::get_bus_interfaces $port -of_objects $core]] == 0}} {{
    ipx::infer_bus_interface $port xilinx.com:signal:$kind:1.0 $core
  }}
}}
set interface [ipx::get_bus_interfaces {reset} -of_objects $core]
set polarity [ipx::get_bus_parameters POLARITY -of_objects $interface]
if {{[llength $polarity] == 0}} {{
  set polarity [ipx::add_bus_parameter POLARITY $interface]
}}
set_property value ACTIVE_LOW $polarity
{registers}
ipx::create_xgui_files $core
ipx::update_checksums $core
ipx::check_integrity $core
ipx::save_core $core
puts "Packaged {name} in $root"
"""

_REGISTERS = """
# The registers are described in {name}_registers.md, .rdl and .h.
set maps [ipx::get_memory_maps s_axi -of_objects $core]
if {{[llength $maps] == 0}} {{
  set maps [ipx::add_memory_map s_axi $core]
  set_property slave_memory_map_ref s_axi [ipx::get_bus_interfaces s_axi -of_objects $core]
}}
set blocks [ipx::get_address_blocks * -of_objects $maps]
if {{[llength $blocks] == 0}} {{
  set blocks [ipx::add_address_block reg0 $maps]
}}
set_property range {range} $blocks
set_property width 32 $blocks
set_property usage register $blocks
"""


def to_packaging(interface: Interface, version: str) -> str:
    """Write the script that packages a module.

    Parameters
    ----------
    interface : Interface
        The module.
    version : str
        Version of the generator; Vivado takes the first two numbers of it.
    """
    signals = {CLOCK: "clock_rtl", RESET: "reset_rtl"}
    if interface.has_interrupt:
        signals[INTERRUPT] = "interrupt_rtl"
    return _TEXT.format(
        name=interface.name,
        version=".".join(version.split(".")[:2]),
        summary=interface.summary,
        buses="\n".join(f"  {bus.name} {_kind(bus)}" for bus in interface.buses),
        signals="\n".join(f"  {port} {kind}" for port, kind in signals.items()),
        clock=CLOCK,
        reset=RESET,
        registers=_registers(interface),
    )


def _registers(interface: Interface) -> str:
    for bus in interface.buses:
        if not bus.is_stream:
            reach = 1 << bus.ports["AWADDR"].width
            return _REGISTERS.format(name=interface.name, range=reach)
    return ""


def _kind(bus: Bus) -> str:
    return "axis_rtl" if bus.is_stream else "aximm_rtl"
