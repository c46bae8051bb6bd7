# amaranth: UnusedElaboratable=no
"""Copies of registers: each is what it copies, in its cycle, and synthesis merges none of them."""

import json
import random

import pytest
from amaranth import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from nibblegrad.gen.emission.verilog import to_verilog
from nibblegrad.hdl.base.copies import fan_out, spread
from verif.gen.test_gen import yosys
from verif.support.simulation import simulate


class Copies(wiring.Component):
    """Copies of a number, and of a bit, each behind an output of its own."""

    def __init__(self, count, width, cycles):
        self._count, self._cycles = count, cycles
        super().__init__(
            {
                "value": In(width),
                "bit": In(1),
                "values": Out(width).array(count),
                "bits": Out(1).array(count),
            }
        )

    def elaborate(self, platform):
        m = Module()
        for out, copy in zip(self.values, spread(m, "copy", self.value, self._count), strict=True):
            m.d.comb += out.eq(copy)
        for out, copy in zip(
            self.bits, fan_out(m, "bit", self.bit, self._count, self._cycles), strict=True
        ):
            m.d.comb += out.eq(copy)
        return m


@pytest.mark.parametrize("count, cycles", [(1, 1), (2, 1), (3, 2), (8, 3), (13, 4), (9, 2)])
def test_copies_are_what_they_copy(request, count, cycles):
    rng = random.Random(request.config.getoption("seed"))
    part = Copies(count, 8, cycles)
    bits = [0] * cycles

    async def bench(ctx):
        for _ in range(40):
            value = rng.randrange(256)
            ctx.set(part.value, value)
            # A setting is everywhere after so many cycles.
            for cycle in range(count.bit_length() + 1):
                bits.append(rng.randrange(2))
                ctx.set(part.bit, bits[-1])
                await ctx.tick()
                if len(bits) > 3 * cycles:
                    assert [ctx.get(bit) for bit in part.bits] == [bits[-cycles]] * count
                if cycle + 1 >= count.bit_length():
                    assert [ctx.get(copy) for copy in part.values] == [value] * count

    simulate(part, bench)


@pytest.mark.slow  # the first start of this Yosys compiles it
@pytest.mark.parametrize("family", ["ecp5", "nexus"])
def test_synthesis_merges_none(tmp_path, family):
    """It merges registers that always hold the same; these start differently or follow others."""
    count, width, cycles = 13, 4, 4
    (tmp_path / "copies.v").write_text(to_verilog(Copies(count, width, cycles), "copies"))
    yosys(
        tmp_path,
        f"read_verilog copies.v; synth_{family} -top copies -noiopad; tee -o stat.json stat -json"
        if family == "nexus"
        else "read_verilog copies.v; synth_ecp5 -top copies; tee -o stat.json stat -json",
    )
    cells = json.loads((tmp_path / "stat.json").read_text())["design"]["num_cells_by_type"]
    found = sum(n for cell, n in cells.items() if cell.startswith(("TRELLIS_FF", "FD1P3")))
    # Of the bit: registers in each cycle, twice as many as in the one before, up to the count.
    assert found == count * width + sum(min(count, 2**cycle) for cycle in range(1, cycles + 1))
