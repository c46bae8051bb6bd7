"""How many wait: a count that goes up and down, with nothing to compare."""

from amaranth import *

__all__ = ["Level"]


class Level:
    """A count that goes up or down by one, or both, which leaves it as it is.

    A register holds the count minus 1: its sign tells that there is none, and no comparison comes
    before what depends on that. One addition serves both directions.

    Parameters
    ----------
    m : Module
        Where the logic goes.
    name : str
        Name of the register.
    greatest : int
        Greatest count.
    """

    def __init__(self, m, name, greatest):
        self._m = m
        #: The count, minus 1.
        self.less_one = Signal(signed(greatest.bit_length() + 1), name=name, init=-1)
        #: Whether there is any.
        self.any = ~self.less_one[-1]

    def change(self, up, down):
        """Count what comes and what goes, in this cycle."""
        up, down = Value.cast(up), Value.cast(down)
        by = Signal(signed(2), name=f"{self.less_one.name}_by")
        self._m.d.comb += by.eq(Cat(up ^ down, down & ~up))
        self._m.d.sync += self.less_one.eq(self.less_one + by)

    def clear(self):
        """Forget all."""
        self._m.d.sync += self.less_one.eq(-1)
