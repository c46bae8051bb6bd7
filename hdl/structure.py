"""How the array is built: the same sums to the bit, for different cells."""

import enum

__all__ = ["Structure"]


class Structure(enum.Enum):
    """Structure of the lanes, adder trees and accumulators of the array.

    All of them compute the same; they differ in cells, clock frequency, latency and in how fast
    they are simulated. ``docs/lanes.md`` says which is for what.
    """

    #: A shifter per lane in one stage, a register per level of the tree. Simulates fastest.
    PLAIN = "plain"
    #: One level of four-input tables, or one carry chain, between registers. For FPGAs.
    PIPELINED = "pipelined"
    #: The same, where carry cells of ECP5 take over one stage of every second lane and the clearing
    #: of the accumulators.
    ECP5 = "ecp5"
    #: Few registers, which cost most in standard cells.
    COMPACT = "compact"

    @property
    def staged(self):
        """Whether a shift is cut into stages, with registers between them but for COMPACT."""
        return self is not Structure.PLAIN

    @property
    def levels_per_stage(self):
        """How many levels of an adder tree lie between registers."""
        return 2 if self is Structure.COMPACT else 1
