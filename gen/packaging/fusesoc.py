"""FuseSoC core descriptions."""

# Ref: FuseSoC documentation, CAPI2 reference; Edalize, flows lint, sim, trellis and vivado

from nibblegrad.gen.packaging.interface import Interface

__all__ = ["to_core"]

#: What the rules of CAPI2 call plain Verilog.
_VERILOG = "verilogSource-2005"

_TEXT = """\
CAPI=2:
# Generated. Lint and simulation end with a status other than 0 if something is wrong:
#   fusesoc --cores-root . run --target=lint {vlnv}
#   fusesoc --cores-root . run --target=sim {vlnv}
# The target vivado was set up, but not run: there was no Vivado.

name: {vlnv}
description: "{summary}"

filesets:
  rtl:
    files: [{name}.v]
    file_type: {verilog}
  testbench:
    files: [{name}_testbench.v]
    file_type: {verilog}
  xdc:
    files: [{name}.xdc]
    file_type: xdc

targets:
  default:
    filesets: [rtl]
    toplevel: {name}

  # Verilator -Wall; what is broken on purpose is said in the Verilog, so that a design which
  # depends on this core lints clean as well.
  lint:
    description: "Lint with Verilator"
    flow: lint
    flow_options:
      tool: verilator
      verilator_options: [-Wall]
    filesets: [rtl]
    toplevel: {name}

  # The vectors of the testbench come from the golden model.
  sim: &sim
    description: "Compare with the golden model, in Verilator 5"
    flow: sim
    flow_options:
      tool: verilator
      mode: binary
      # The flags of the compiler are what g++ needs for coroutines; the run is short. The testbench
      # counts in integers, and drives fewer bits: WIDTHEXPAND. No other warning is known, but one
      # that a later Verilator has must not keep a user from running it; lint is another target.
      verilator_options: [--timing, -Wno-fatal, -Wno-WIDTHEXPAND, --output-split, "0",
                          -CFLAGS, "-std=c++20", -CFLAGS, -fcoroutines, -CFLAGS, -O0]
    filesets: [rtl, testbench]
    toplevel: {name}_testbench

  sim_icarus:
    <<: *sim
    description: "Compare with the golden model, in Icarus Verilog"
    flow_options:
      tool: icarus
      iverilog_options: [-g2009]

  # Needs a Yosys with Tcl, nextpnr-ecp5 and ecppack. As the top of a device, a core has more ports
  # than most packages have pins; this target is a start for a design of yours around it.
  ecp5:
    description: "Synthesis for Lattice ECP5 with Yosys and nextpnr"
    flow: trellis
    flow_options:
      yosys_synth_options: [-nowidelut]
      nextpnr_options: [--85k, --package, CABGA756, --speed, "6", --lpf-allow-unconstrained]
    filesets: [rtl]
    toplevel: {name}

  vivado:
    description: "Synthesis with Vivado"
    flow: vivado
    flow_options:
      part: xc7a200tfbg676-2
      pnr: none
    filesets: [rtl, xdc]
    toplevel: {name}
"""


def to_core(interface: Interface, version: str) -> str:
    """Describe a module in FuseSoC's CAPI2.

    Parameters
    ----------
    interface : Interface
        The module.
    version : str
        Version of the generator, and so of what it makes.
    """
    return _TEXT.format(
        name=interface.name,
        vlnv=f"nibblegrad:core:{interface.name}:{version}",
        summary=interface.summary.replace('"', "'"),
        verilog=_VERILOG,
    )
