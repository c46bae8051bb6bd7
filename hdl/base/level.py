"""How many wait: a count that goes up and down, with nothing to compare."""

from amaranth import *

from nibblegrad.hdl.base.contracts import promise

__all__ = ["Level"]


class Level:
    """A count that goes up or down by one, or both, which leaves it as it is.

    A register holds the count minus ``least``: its sign tells that there are fewer, and no
    comparison comes before what depends on that. One addition serves both directions.

    Parameters
    ----------
    m : Module
        Where the logic goes.
    name : str
        Name of the register.
    greatest : int
        Greatest count.
    least : int
        Which count :attr:`any` asks for.
    """

    def __init__(self, m, name, greatest, least=1):
        self._m = m
        self._least = least
        self._greatest = greatest
        # The count, minus ``least``: those outside need not know.
        self._rest = Signal(signed(max(greatest, least).bit_length() + 1), name=name, init=-least)
        #: Whether there are ``least`` or more.
        self.any = ~self._rest[-1]

    @property
    def free(self):
        """How many more there can be."""
        return (self._greatest - self._least) - self._rest

    @property
    def full(self):
        """Whether there are as many as there can be."""
        return self.equals(self._greatest)

    def below(self, count):
        """Tell whether there are fewer than so many."""
        return self._rest < count - self._least

    def equals(self, count):
        """Tell whether there are just so many."""
        return self._rest == count - self._least

    def change(self, up, down):
        """Count what comes and what goes, in this cycle."""
        up, down = Value.cast(up), Value.cast(down)
        by = Signal(signed(2), name=f"{self._rest.name}_by")
        self._m.d.comb += by.eq(Cat(up ^ down, down & ~up))
        self._m.d.sync += self._rest.eq(self._rest + by)
        name = self._rest.name
        promise(self._m, f"{name} does not fall below 0", ~down | up | ~self.equals(0))
        promise(self._m, f"{name} does not exceed {self._greatest}", ~up | down | ~self.full)

    def clear(self):
        """Forget all."""
        self._m.d.sync += self._rest.eq(-self._least)
