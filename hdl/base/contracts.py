"""What parts promise each other: checked in simulation and proofs, absent from the Verilog."""

from contextlib import contextmanager
from contextvars import ContextVar

from amaranth import *
from amaranth.hdl import Assert

__all__ = ["are_checked", "checked", "promise", "promise_steady"]

_checked = ContextVar("checked", default=False)


@contextmanager
def checked():
    """Let all that is elaborated meanwhile check its promises."""
    token = _checked.set(True)
    try:
        yield
    finally:
        _checked.reset(token)


def are_checked():
    """Tell whether promises are checked: what only they need is left out else."""
    return _checked.get()


def promise(m, what, condition):
    """State what a part relies on, or gives its word for.

    Parameters
    ----------
    m : Module
        The part.
    what : str
        The promise, as a sentence that names who breaks it.
    condition : Value
        Whether it is kept in this cycle; while the part is in reset it need not be.
    """
    if are_checked():
        # In reset nothing is promised.
        m.d.sync += Assert(ResetSignal(allow_reset_less=True) | condition, what)


def promise_steady(m, inside, what, **settings):
    """State that settings do not change while something is inside.

    Parameters
    ----------
    m : Module
        The part.
    inside : Value
        Whether anything is inside whose result they decide on.
    what : str
        What that is, such as "a tensor".
    settings : Value by str
        The settings, by the names that the promises give them.
    """
    if not are_checked():
        return
    for name, value in settings.items():
        value = Value.cast(value)
        before = Signal(value.shape(), name=f"{name}_before")
        m.d.sync += before.eq(value)
        promise(m, f"{name} stands still while {what} is inside", ~inside | (before == value))
