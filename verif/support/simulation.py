"""Amaranth's own simulator for parts: no Verilog is made and nothing is built."""

import re

from amaranth.back import rtlil
from amaranth.hdl import Fragment
from amaranth.sim import Simulator

from nibblegrad.hdl.base.contracts import checked

__all__ = ["registers", "simulate"]


def simulate(part, *benches, background=(), patience=50_000):
    """Run a part with a clock until its benches have ended, or a part breaks a promise.

    Parameters
    ----------
    part : Elaboratable
        What is tested.
    benches : sequence of async function
        Each gets the context of the simulator; it drives, waits and asserts.
    background : sequence of async function
        Likewise, but nobody waits for their end.
    patience : int
        Cycles after which a bench that still waits has failed.
    """

    async def watch(ctx):
        for _ in range(patience):
            await ctx.tick()
        raise AssertionError(f"a bench has not ended after {patience:,} cycles")

    with checked():
        simulator = Simulator(Fragment.get(part, None))
    simulator.add_clock(1e-6)
    for bench in benches:
        simulator.add_testbench(bench)
    for bench in (*background, watch):
        simulator.add_testbench(bench, background=True)
    simulator.run()


def registers(part, *outputs):
    """List the registers of a part: their names, and whether each one is reset."""
    text = rtlil.convert(part, ports=outputs)
    reset = set()
    for choice in re.findall(r"switch \\rst \[0\](.*?)\n    end", text, re.DOTALL):
        reset |= set(re.findall(r"assign (\S+)", choice))
    found = re.findall(r"connect \\D (\S+).*?connect \\Q \\(\w+)", text, re.DOTALL)
    return [(name, data in reset) for data, name in found]
