"""Bench of the models of cells: designs in Verilog beside what synthesis makes of them."""

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge

from verif.support.coverage import Coverage
from verif.support.sim import bench_params

PARAMS = bench_params()
CYCLES = 5000
#: Few, so that words are read again, and all bits of addresses matter.
ADDRESSES = [0, 1, 2, 3, 5, 9, 17, 33, 65, 129, 257, 513, 1025, 2049, 4097, 8193, 0x3FFE, 0x3FFF]
#: How often a bit is set that is not as good as any other number.
RARE = {"reset": 0.05, "clear": 0.05}


def stimulus(rng, name, width):
    """Draw a value of an input."""
    if name in RARE:
        return int(rng.random() < RARE[name])
    if name in ("first", "second"):
        return int(rng.choice(ADDRESSES))
    every = (1 << width) - 1
    # The ends of the range, of signed numbers too.
    return int(
        rng.choice([0, 1, every, every >> 1, (every >> 1) + 1, *rng.integers(every, size=9)])
    )


@cocotb.test()
async def matches_design(dut):
    """Random inputs in every cycle: all outputs are the same, and do not stand still."""
    rng = np.random.default_rng(cocotb.RANDOM_SEED)
    seen = {name: set() for name in PARAMS["outputs"]}
    Clock(dut.clk, 10, unit="ns").start()
    for cycle in range(CYCLES):
        for name, width in PARAMS["inputs"].items():
            getattr(dut, name).value = stimulus(rng, name, width)
        await FallingEdge(dut.clk)
        for name, values in seen.items():
            wanted = int(getattr(dut, f"wanted_{name}").value)
            got = int(getattr(dut, f"got_{name}").value)
            assert got == wanted, f"{name}: {got:x}, not {wanted:x}, in cycle {cycle}"
            values.add(wanted)
    coverage = Coverage(PARAMS["core"], seen)
    coverage.vectors(CYCLES * len(seen))
    coverage.cover(**{name: len(values) > 1 for name, values in seen.items()})
    coverage.close()
