"""A core as a part of an Amaranth design: no Verilog in between.

    .venv/bin/python docs/examples/amaranth_component.py

simulates the design below and prints what comes out of it.
"""

import numpy as np
from amaranth import Module, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator

from nibblegrad.golden.numbers.formats import BFLOAT16, Scale
from nibblegrad.hdl.base.stream import beat_signature
from nibblegrad.hdl.cores.quantizer import Quantizer, integer_beat

__all__ = ["Activations", "simulate"]

LANES, BITS, RESIDUAL_BITS = 4, 4, 8


class Activations(wiring.Component):
    """ReLU of bfloat16 numbers, quantised to UINT4 by `nibblegrad.hdl.cores.quantizer.Quantizer`.

    Latency and throughput are the quantiser's: 12 cycles, one beat per cycle.
    """

    i: In(beat_signature(data.ArrayLayout(16, LANES)))
    o: Out(integer_beat(LANES, BITS, RESIDUAL_BITS))
    reciprocal_significand: In(16)
    reciprocal_exponent: In(signed(8))

    def elaborate(self, platform):
        m = Module()
        m.submodules.quantizer = quantizer = Quantizer(
            BFLOAT16, bits=BITS, lanes=LANES, residual_bits=RESIDUAL_BITS
        )
        m.d.comb += [
            quantizer.reciprocal_significand.eq(self.reciprocal_significand),
            quantizer.reciprocal_exponent.eq(self.reciprocal_exponent),
            quantizer.is_signed.eq(0),
            quantizer.i.valid.eq(self.i.valid),
            self.i.ready.eq(quantizer.i.ready),
            quantizer.i.p.last.eq(self.i.p.last),
        ]
        for lane in range(LANES):
            number = self.i.p.data[lane]
            with m.If(~number[-1]):
                m.d.comb += quantizer.i.p.data[lane].eq(number)
        wiring.connect(m, quantizer.o, wiring.flipped(self.o))
        return m


def simulate(numbers, reciprocal):
    """Send a tensor through `Activations`.

    Parameters
    ----------
    numbers : array of float, shape (beats, LANES)
        Numbers of bfloat16.
    reciprocal : Scale
        Reciprocal of the step.

    Returns
    -------
    array of int, shape (beats, LANES)
        Codes.
    """
    dut = Activations()
    codes = BFLOAT16.encode(numbers).tolist()
    received = []

    async def send(ctx):
        ctx.set(dut.reciprocal_significand, int(reciprocal.significand))
        ctx.set(dut.reciprocal_exponent, int(reciprocal.exponent))
        ctx.set(dut.i.valid, 1)
        for number, beat in enumerate(codes):
            ctx.set(dut.i.payload, {"data": beat, "last": number == len(codes) - 1})
            await ctx.tick().until(dut.i.ready)
        ctx.set(dut.i.valid, 0)

    async def receive(ctx):
        ctx.set(dut.o.ready, 1)
        last = 0
        while not last:
            (payload,) = await ctx.tick().sample(dut.o.payload).until(dut.o.valid)
            received.append([int(payload.data[lane]) for lane in range(LANES)])
            last = payload.last

    simulator = Simulator(dut)
    simulator.add_clock(1e-8)
    simulator.add_testbench(send)
    simulator.add_testbench(receive)
    simulator.run()
    return np.array(received)


def main():
    """Show a tensor and its codes."""
    numbers = np.arange(-8, 24).reshape(-1, LANES) / 2
    print(simulate(numbers, Scale.from_float(2.0)))


if __name__ == "__main__":
    main()
