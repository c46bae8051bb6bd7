"""The Verilog of a core as a part of an Amaranth design.

    .venv/bin/python docs/examples/amaranth_instance.py build/verilog/quantizer.v build/amaranth

writes the Verilog of the design below; with the file of the core it is whole. A platform of
Amaranth takes that file along by itself: `elaborate` adds it.
"""

import argparse
from pathlib import Path

from amaranth import ClockSignal, Instance, Module, ResetSignal, Signal, signed
from amaranth.back import verilog
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["VerilogQuantizer"]


class VerilogQuantizer(wiring.Component):
    """The module ``quantizer`` of the default configuration, with streams of Amaranth.

    Parameters
    ----------
    path : Path
        Its file.

    Members
    -------
    i : ``In(stream)``
        Four bfloat16 numbers, and ``last``.
    o : ``Out(stream)``
        Four INT4 codes, what belongs to each, and ``last``.
    saturation_count : ``Out(32)``
        Clipped numbers.
    """

    def __init__(self, path):
        self._path = path
        numbers = data.StructLayout({"data": data.ArrayLayout(16, 4), "last": 1})
        residual = data.StructLayout({"in_range": 1, "residual": signed(9)})
        codes = data.StructLayout(
            {"data": data.ArrayLayout(4, 4), "user": data.ArrayLayout(residual, 4), "last": 1}
        )
        super().__init__(
            {
                "i": In(stream.Signature(numbers)),
                "o": Out(stream.Signature(codes)),
                "saturation_count": Out(32),
            }
        )

    def elaborate(self, platform):
        if platform is not None:
            platform.add_file(self._path.name, self._path.read_text())
        m = Module()
        resetn = Signal()
        m.d.comb += resetn.eq(~ResetSignal())
        m.submodules.quantizer = Instance(
            "quantizer",
            i_aclk=ClockSignal(),
            i_aresetn=resetn,
            i_s_axis_tdata=self.i.p.data.as_value(),
            i_s_axis_tlast=self.i.p.last,
            i_s_axis_tvalid=self.i.valid,
            o_s_axis_tready=self.i.ready,
            o_m_axis_tdata=self.o.p.data.as_value(),
            o_m_axis_tuser=self.o.p.user.as_value(),
            o_m_axis_tlast=self.o.p.last,
            o_m_axis_tvalid=self.o.valid,
            i_m_axis_tready=self.o.ready,
            # Weights with a step of 1/16.
            i_reciprocal_significand=0x8000,
            i_reciprocal_exponent=-11 & 0xFF,
            i_is_signed=1,
            i_clear_counts=0,
            o_saturation_count=self.saturation_count,
        )
        return m


def main():
    """Write the Verilog of the design."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("verilog", type=Path, help="file of the quantizer")
    parser.add_argument("output", type=Path, help="folder that the design goes to")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    text = verilog.convert(VerilogQuantizer(arguments.verilog), name="design")
    (arguments.output / "design.v").write_text(text)


if __name__ == "__main__":
    main()
