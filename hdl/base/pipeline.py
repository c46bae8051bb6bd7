"""Pipelines that never stall, and count their own stages."""

from dataclasses import dataclass

from amaranth import *

__all__ = ["Flow", "StableFlow", "Timed", "delay", "delays", "register"]


@dataclass(frozen=True, eq=False)
class Timed:
    """A value, and the cycle in which it is there, counted from that of the first input.

    Attributes
    ----------
    name : str
        What its registers are called.
    value : Value
        The value.
    cycle : int
        Its cycle.
    is_reset : bool
        Whether its registers are reset.
    is_setting : bool
        Whether it stands still, and so is there in every cycle.
    """

    name: str
    value: Value
    cycle: int
    is_reset: bool = False
    is_setting: bool = False


class Flow:
    """Register stages through which values flow, one step in each cycle.

    A value carries the cycle in which it is there. Those that meet in a stage are delayed until
    the last of them is there, and a value that is needed late by several waits in the same
    registers for all of them. So no stage is ever counted by hand, and :meth:`close` tells the
    count.

    Data are not reset, as nobody looks at them before they are valid.

    Parameters
    ----------
    m : Module
        Where the registers go.
    """

    def __init__(self, m):
        self._m = m
        # The registers behind a value, in their order.
        self._delays = {}

    def input(self, name, value, cycle=0, reset=False):
        """Take a value that is there in a cycle.

        Parameters
        ----------
        name : str
            What registers behind it are called.
        value : Value
            The value.
        cycle : int
            When it is there.
        reset : bool
            Whether registers behind it are reset, as those of valid bits must be.
        """
        return Timed(name, Value.cast(value), cycle, reset)

    def setting(self, name, value):
        """Register a setting, which stands still while anything flows: it is always there."""
        return Timed(name, register(self._m, name, value), 0, is_setting=True)

    def join(self, name, value, cycle, *others):
        """Take a value that comes when others are there, in the cycle that its users are told.

        Parameters
        ----------
        name : str
            What registers behind it are called.
        value : Value
            The value.
        cycle : int
            When it comes.
        others : sequence of Timed
            What it meets.

        Raises
        ------
        AssertionError
            If the last of the others is there in another cycle than ``cycle`` says.
        """
        last = max(others, key=lambda other: other.cycle)
        assert last.cycle == cycle, (
            f"{name} meets {last.name} after {last.cycle} cycles, where {cycle} are stated"
        )
        return self.input(name, value, cycle)

    def wait(self, value, cycle):
        """Delay a value, where what is made of it has more bits than it has."""
        name = f"{value.name}_after_{cycle - value.cycle}"
        return Timed(name, self.at(value, cycle), cycle, value.is_reset)

    def stage(self, names, make, *values, reset=False):
        """Register what is made of values when all of them are there.

        Parameters
        ----------
        names : str
            Names of the registers, separated by spaces.
        make : function of Values
            Gives a Value, or as many as there are names, for the values. Their shapes are those of
            the registers.
        values : sequence of Timed
            What meets.
        reset : bool
            Whether the registers are reset.

        Returns
        -------
        Timed or tuple of Timed
            What is registered: as many as there are names.
        """
        cycle = max(value.cycle for value in values)
        made = make(*(self.at(value, cycle) for value in values))
        names = names.split()
        made = made if isinstance(made, tuple) else (made,)
        registered = tuple(
            Timed(name, self._register(name, Value.cast(value), reset), cycle + 1, reset)
            for name, value in zip(names, made, strict=True)
        )
        return registered if len(names) > 1 else registered[0]

    def keep(self, names, *values):
        """Register values as they are, when all of them are there.

        For registers with nothing but wires before or behind them, such as those of a multiplier.
        """
        return self.stage(names, lambda *together: together, *values)

    def at(self, value, cycle):
        """Give a value as it is in a later cycle, or in its own."""
        if value.is_setting:
            return value.value
        assert cycle >= value.cycle, f"{value.name} is there in cycle {value.cycle}, not {cycle}"
        registers = self._delays.setdefault(value, [value.value])
        while len(registers) <= cycle - value.cycle:
            name = f"{value.name}_after_{len(registers)}"
            registers.append(self._register(name, registers[-1], value.is_reset))
        return registers[cycle - value.cycle]

    def close(self, latency, **outputs):
        """Say when outputs are there, all in the same cycle.

        Parameters
        ----------
        latency : int
            When that is.
        outputs : Timed by str
            What goes out; the names are for the message only.

        Returns
        -------
        tuple of Value
            The outputs.

        Raises
        ------
        AssertionError
            If the last of them is there in another cycle than ``latency`` says.
        """
        name, last = max(outputs.items(), key=lambda item: item[1].cycle)
        assert last.cycle == latency, (
            f"{name} is there after {last.cycle} cycles, where a latency of {latency} is stated"
        )
        return tuple(self.at(value, latency) for value in outputs.values())

    def deliver(self, component, latency, **outputs):
        """Close, and let the outputs be the members of a component that are called like them."""
        values = self.close(latency, **outputs)
        self._m.d.comb += [
            getattr(component, name).eq(value) for name, value in zip(outputs, values, strict=True)
        ]

    def _register(self, name, value, reset):
        return register(self._m, name, value, reset) if len(value) else value


class StableFlow(Flow):
    """Register stages behind values that stand still: each is there from its cycle on.

    So nothing is delayed, and a value may be used in its cycle or in any later one; it is still
    refused in an earlier one.
    """

    def wire(self, make, *values):
        """Make a value of others without a register: it is there as soon as all of them are."""
        cycle = max(value.cycle for value in values)
        return Timed("wire", Value.cast(make(*(self.at(each, cycle) for each in values))), cycle)

    def at(self, value, cycle):
        """Give a value as it is in a later cycle, or in its own."""
        assert cycle >= value.cycle, f"{value.name} is there in cycle {value.cycle}, not {cycle}"
        return value.value


def register(m, name, value, reset=False):
    """Put a register behind a value; without reset if nobody looks at it before it is valid."""
    value = Value.cast(value)
    kept = Signal(value.shape(), name=name, reset_less=not reset)
    m.d.sync += kept.eq(value)
    return kept


def delays(m, name, value, cycles, reset=False):
    """Give a value, and the same in each of the next ``cycles``.

    Parameters
    ----------
    m : Module
        Where the registers go.
    name : str
        Prefix of their names.
    value : Value
        What is delayed.
    cycles : int
        How often.
    reset : bool
        Whether the registers are reset, as those of valid bits must be.

    Returns
    -------
    list of Value
        The value first.
    """
    values = [Value.cast(value)]
    for k in range(cycles):
        values.append(register(m, f"{name}_{k}", values[-1], reset))
    return values


def delay(m, name, value, cycles, reset=False):
    """Give a value ``cycles`` later; see :func:`delays`."""
    return delays(m, name, value, cycles, reset)[-1]
