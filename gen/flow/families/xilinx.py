"""Xilinx 7 series: counted only, as none of the packages places and routes it."""

from typing import ClassVar

from nibblegrad.gen.flow.family import SHAPES_18K, Family, Pricing, Target

__all__ = ["FAMILY"]


class _Xilinx(Family):
    name = "xilinx"
    label = "7 series"
    rank = 5

    synthesis = "synth_xilinx -family xc7 -noiopad -flatten"
    lut_inputs = 6
    luts: ClassVar = {
        **{f"LUT{k}": 1 for k in range(1, 7)},
        **{"RAM32X1D": 2, "RAM64X1D": 2, "RAM32M": 4, "RAM64M": 4, "RAM128X1D": 4},
        **{"SRL16E": 1, "SRLC32E": 1},
    }
    flip_flops: ClassVar = {"FD*": 1}
    block_rams: ClassVar = {"RAMB18E1": 1, "RAMB36E1": 2}
    multipliers: ClassVar = {"DSP48E1": 1}

    # In halves of the larger blocks.
    block_shapes = SHAPES_18K
    distributed_shapes = ((32, 6), (64, 3))
    distributed_luts = 4
    distributed_cost = 8

    pricing = Pricing("xilinx", every_structure=True, largest=True)
    measured_on = "xilinx"
    shapes = ((2, 2, 2, 8), (4, 4, 4, 8), (4, 4, 8, 8), (4, 4, 2, 8))

    def targets(self) -> list[Target]:
        return [
            Target(
                "xilinx",
                self,
                "XC7A35T",
                luts=20800,
                flip_flops=41600,
                block_rams=100,
                block_ram_bits=18432,
                multipliers=90,
            )
        ]


FAMILY = _Xilinx()
