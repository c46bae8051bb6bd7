# amaranth: UnusedElaboratable=no
"""Rows and columns of dot-product units, for the price list of whole arrays."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["UnitArray"]


class UnitArray(wiring.Component):
    """Give each row of units the same first operand, and each column the same second one.

    The units keep their own registers and decoders; synthesis merges those that are alike, as
    they are in an array. The latency is that of a unit.

    Parameters
    ----------
    make : function
        Makes a unit with the members of
        :func:`nibblegrad.hdl.units.dot_product_frame.frame_members`.
    rows, columns : int
        Size of the array.

    Members
    -------
    a, b : ``In(...).array(rows)``, ``In(...).array(columns)``
        Operands of each row and each column.
    done : ``Out(1)``, total : ``Out(...).array(rows, columns)``
        Asserted for a cycle when all sums are complete, and the sums.
    (others)
        Further inputs of a unit, which go to all.
    """

    def __init__(self, make, rows, columns):
        self._units = [[make() for _ in range(columns)] for _ in range(rows)]
        unit = self._units[0][0]
        self.latency = unit.latency
        members = dict(unit.signature.members)
        self._common = [
            name for name, member in members.items() if name not in ("a", "b") and member.flow is In
        ]
        super().__init__(
            {
                "a": In(members["a"].shape).array(rows),
                "b": In(members["b"].shape).array(columns),
                "done": Out(1),
                "total": Out(members["total"].shape).array(rows, columns),
                **{name: members[name] for name in self._common},
            }
        )

    def elaborate(self, platform):
        m = Module()
        for row, units in enumerate(self._units):
            for column, unit in enumerate(units):
                m.submodules[f"unit_{row}_{column}"] = unit
                m.d.comb += [
                    unit.a.eq(self.a[row]),
                    unit.b.eq(self.b[column]),
                    self.total[row][column].eq(unit.total),
                    *(getattr(unit, name).eq(getattr(self, name)) for name in self._common),
                ]
        m.d.comb += self.done.eq(self._units[0][0].done)
        return m
