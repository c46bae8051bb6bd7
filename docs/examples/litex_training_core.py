"""The training core as a LiteX module, and a SoC around it.

    .venv/bin/python docs/examples/litex_training_core.py build/verilog/training_core.v build/litex

writes a SoC for the ECP5-85 of a ULX3S, with the script that builds it with Yosys and nextpnr. It
has no processor: a UART bridge and two DMAs are its masters, RAM and the registers of the core its
slaves. Take `TrainingCore` into your own SoC.
"""

import argparse
from pathlib import Path

from litex.build.generic_platform import IOStandard, Pins, Subsignal
from litex.build.io import CRG
from litex.build.lattice import LatticeECP5Platform
from litex.gen import LiteXModule
from litex.soc.cores.dma import WishboneDMAReader, WishboneDMAWriter
from litex.soc.integration.builder import Builder
from litex.soc.integration.soc import SoCRegion
from litex.soc.integration.soc_core import SoCMini
from litex.soc.interconnect import axi, stream, wishbone
from litex.soc.interconnect.csr_eventmanager import EventManager, EventSourceLevel
from migen import ClockSignal, Instance, ResetSignal


class TrainingCore(LiteXModule):
    """A training core.

    Parameters
    ----------
    platform : Platform
        What the Verilog is added to.
    verilog : str
        Path of the module's file.
    name : str
        Name of the module.
    load_bits, result_bits : int
        Widths of ``s_axis_tdata`` and ``m_axis_tdata``; SUMMARY.md has them.

    Attributes
    ----------
    sink, source : stream.Endpoint
        Matrices and results.
    bus : AXILiteInterface
        Registers.
    ev : EventManager
        The interrupt, as the event ``core``.
    """

    def __init__(self, platform, verilog, name="training_core", load_bits=64, result_bits=64):
        self.sink = sink = stream.Endpoint([("data", load_bits)])
        self.source = source = stream.Endpoint([("data", result_bits)])
        self.bus = bus = axi.AXILiteInterface(data_width=32, address_width=32)
        self.ev = EventManager()
        self.ev.core = EventSourceLevel()
        self.ev.finalize()
        self.specials += Instance(
            name,
            i_aclk=ClockSignal("sys"),
            i_aresetn=~ResetSignal("sys"),
            i_s_axis_tdata=sink.data,
            i_s_axis_tlast=sink.last,
            i_s_axis_tvalid=sink.valid,
            o_s_axis_tready=sink.ready,
            o_m_axis_tdata=source.data,
            o_m_axis_tlast=source.last,
            o_m_axis_tvalid=source.valid,
            i_m_axis_tready=source.ready,
            i_s_axi_awaddr=bus.aw.addr[:9],
            i_s_axi_awprot=bus.aw.prot,
            i_s_axi_awvalid=bus.aw.valid,
            o_s_axi_awready=bus.aw.ready,
            i_s_axi_wdata=bus.w.data,
            i_s_axi_wstrb=bus.w.strb,
            i_s_axi_wvalid=bus.w.valid,
            o_s_axi_wready=bus.w.ready,
            o_s_axi_bresp=bus.b.resp,
            o_s_axi_bvalid=bus.b.valid,
            i_s_axi_bready=bus.b.ready,
            i_s_axi_araddr=bus.ar.addr[:9],
            i_s_axi_arprot=bus.ar.prot,
            i_s_axi_arvalid=bus.ar.valid,
            o_s_axi_arready=bus.ar.ready,
            o_s_axi_rdata=bus.r.data,
            o_s_axi_rresp=bus.r.resp,
            o_s_axi_rvalid=bus.r.valid,
            i_s_axi_rready=bus.r.ready,
            o_irq=self.ev.core.trigger,
        )
        platform.add_source(verilog)


class ExampleSoC(SoCMini):
    """RAM, a UART bridge, the core, and DMA from RAM to it and back."""

    def __init__(self, platform, verilog):
        SoCMini.__init__(self, platform, clk_freq=int(25e6), uart_name="serial", with_uart=False)
        self.crg = CRG(platform.request("clk25"))
        self.add_uartbone()
        self.add_ram("main_ram", origin=0x4000_0000, size=0x2000)

        self.training_core = core = TrainingCore(platform, verilog)
        region = SoCRegion(origin=0x3000_0000, size=0x1000, cached=False)
        self.bus.add_slave("training_core", core.bus, region)

        # Words of the bus become beats, and strips become words; the first word is the lowest.
        reading, writing = (wishbone.Interface(data_width=32, adr_width=30) for _ in range(2))
        self.bus.add_master("load_dma", reading)
        self.bus.add_master("result_dma", writing)
        self.load_dma = WishboneDMAReader(reading, endianness="big", with_csr=True)
        self.result_dma = WishboneDMAWriter(writing, endianness="big", with_csr=True)
        self.widen = stream.Converter(32, 64)
        self.narrow = stream.Converter(64, 32)
        self.comb += [
            self.load_dma.source.connect(self.widen.sink),
            self.widen.source.connect(core.sink),
            core.source.connect(self.narrow.sink),
            self.narrow.source.connect(self.result_dma.sink),
        ]


def main():
    """Write the Verilog of the SoC."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("verilog", type=Path, help="file of the training core")
    parser.add_argument("output", type=Path, help="folder that the SoC goes to")
    arguments = parser.parse_args()
    # Clock and serial port of the ULX3S.
    pads = [
        ("clk25", 0, Pins("G2"), IOStandard("LVCMOS33")),
        ("serial", 0, Subsignal("tx", Pins("L4")), Subsignal("rx", Pins("M1"))),
    ]
    platform = LatticeECP5Platform("LFE5U-85F-6BG381C", pads, toolchain="trellis")
    soc = ExampleSoC(platform, str(arguments.verilog.resolve()))
    builder = Builder(soc, output_dir=arguments.output, compile_software=False)
    builder.build(run=False, build_name="soc")


if __name__ == "__main__":
    main()
