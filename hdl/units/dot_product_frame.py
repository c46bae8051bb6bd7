"""What the units of the price list have in common: registered operands, tree, accumulator."""

from amaranth import *
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from nibblegrad.hdl.array.adder_tree import AdderTree, tree_depth
from nibblegrad.hdl.base.pipeline import delay

__all__ = ["add_up", "delay_flags", "frame_latency", "frame_members", "register_operands"]


def frame_members(lanes, a, b, total_bits):
    """List the members of a unit: flags, two vectors of operands, the sum and when it is there."""
    return {
        "valid": In(1),
        "first": In(1),
        "last": In(1),
        "a": In(data.ArrayLayout(a, lanes)),
        "b": In(data.ArrayLayout(b, lanes)),
        "done": Out(1),
        "total": Out(signed(total_bits)),
    }


def frame_latency(structure, lanes, product_latency):
    """Count the cycles from a vector to the sum."""
    return 1 + product_latency + tree_depth(lanes, structure.levels_per_stage) + 1


def register_operands(m, unit):
    """Register the operands of a unit. Returns the two vectors."""
    vectors = []
    for name in ("a", "b"):
        lanes = []
        vector = getattr(unit, name)
        for k in range(len(vector)):
            register = Signal(
                vector.shape().elem_shape, name=f"{name}_register_{k}", reset_less=True
            )
            m.d.sync += register.eq(vector[k])
            lanes.append(register)
        vectors.append(lanes)
    return vectors


def delay_flags(m, unit, cycles):
    """Delay the flags of a unit, and set ``done`` with the sum. Returns valid, first and last."""
    flags = delay(m, "flags", Cat(unit.valid, unit.first, unit.last), cycles, reset=True)
    m.d.sync += unit.done.eq(flags[0] & flags[2])
    return flags[0], flags[1], flags[2]


def add_up(m, unit, structure, terms, pending, product_latency):
    """Sum up the terms of each vector, and the vectors.

    Parameters
    ----------
    m : Module
        Where the logic goes.
    unit : wiring.Component
        A unit with :func:`frame_members`.
    structure : Structure
        What tree and accumulator are built of.
    terms, pending : list of Value
        Signed products, and as many ones still to be added.
    product_latency : int
        Cycles from the registered operands to the products.
    """
    width = max(len(term) for term in terms)
    m.submodules.tree = tree = AdderTree(len(terms), width, structure.levels_per_stage)
    m.submodules.accumulator = accumulator = structure.accumulator(len(tree.total), len(unit.total))
    valid, first, last = delay_flags(m, unit, 1 + product_latency + tree.latency)
    m.d.comb += [
        *(mine.eq(term) for mine, term in zip(tree.terms, terms, strict=True)),
        tree.pending.eq(Cat(pending)),
        accumulator.term.eq(tree.total),
        accumulator.carry.eq(tree.carry),
        accumulator.valid.eq(valid),
        accumulator.first.eq(first),
        accumulator.last.eq(last),
        unit.total.eq(accumulator.total),
    ]
