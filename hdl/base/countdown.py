"""Counting down what is left of a size, with nothing to compare."""

from amaranth import *

__all__ = ["Countdown"]


class Countdown:
    """What is left of a size that is gone through in steps, once or over and over again.

    A register holds what would be left after this step, minus 1: its sign tells that this step is
    the last one, and no comparison comes before what depends on that.

    Parameters
    ----------
    m : Module
        Where the logic goes.
    name : str
        Prefix of signal names.
    whole : Value
        The size, 1 or more: from a register, stable from :meth:`start` on.
    step : Value or int
        How much of it goes with a step: a power of two, stable likewise.
    begin : Value, optional
        What :meth:`first` gives for ``whole`` and ``step``, where it is known beforehand.
    begin_step : Value or int, optional
        The step that ``begin`` was found with, one cycle later than ``begin``. Where it is given,
        a second register runs a step ahead, and :attr:`end_after` is a register.
    once : bool
        Whether only :meth:`start` begins again, and what follows the last step does not matter.
    """

    def __init__(self, m, name, whole, step, begin=None, begin_step=None, once=False):
        self._m = m
        self._once = once
        self._step = Value.cast(step)
        shape = signed(len(whole) + 1)
        self._left = Signal(shape, name=f"{name}_left", reset_less=True)
        self._begin = self.first(whole, step) if begin is None else begin
        self._again = Signal(shape, name=f"{name}_again", reset_less=True)
        self._ahead = begin_step is not None
        if self._ahead:
            self._after = Signal(shape, name=f"{name}_after", reset_less=True)
            self._begin_after = Signal(shape, name=f"{name}_begin_after", reset_less=True)
            after = begin - begin_step
            m.d.sync += self._begin_after.eq(after if once else Mux(begin[-1], begin, after))
            #: Whether the step after this one is the last one.
            self.end_after = self._after[-1]
        #: Whether this is the last step.
        self.end = self._left[-1]

    @staticmethod
    def first(whole, step):
        """Find what would be left after the first step, minus 1."""
        return whole + (~Cat(Value.cast(step), Const(0, 1))).as_signed()

    def start(self):
        """Begin in the next cycle."""
        self._m.d.sync += [self._left.eq(self._begin), self._again.eq(self._begin)]
        if self._ahead:
            self._m.d.sync += self._after.eq(self._begin_after)

    def next(self):
        """Go on to the next step, or begin again."""
        if self._ahead:
            following = self._following(self.end_after, self._after)
            self._m.d.sync += [self._left.eq(self._after), self._after.eq(following)]
        else:
            self._m.d.sync += self._left.eq(self._following(self.end, self._left))

    def _following(self, end, left):
        return left - self._step if self._once else Mux(end, self._again, left - self._step)

    def rest(self, step):
        """Find how much goes with the last step, minus 1; ``step`` is the step as a number."""
        return self._left[: (step - 1).bit_length()]

    def reaches(self, step, k):
        """Tell whether this step takes more than ``k``, which is below ``step``."""
        return ~self.end | (self.rest(step) >= k) if k else Const(1)

    def used(self, step):
        """Find how much goes with this step."""
        return Mux(self.end, self.rest(step) + 1, step)
