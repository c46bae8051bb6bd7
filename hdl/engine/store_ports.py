"""Ports of the operand store: what is written to its memories, and what is read from them."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from nibblegrad.golden.engine.command import Store
from nibblegrad.golden.engine.geometry import CODE_BITS
from nibblegrad.hdl.array.dot_product_array import pass_flags
from nibblegrad.hdl.cores.step_gradient import derivative_layout

__all__ = [
    "derivative_address_bits",
    "load_signature",
    "load_write",
    "operand_read",
    "pass_control",
    "pass_read_signature",
    "result_signature",
    "result_write",
    "strip_read_signature",
]


def derivative_address_bits(size):
    """Width of the number of a strip of derivatives: of a word of the memory, and in the word."""
    return size.address_bits + (size.block * size.block // size.strip - 1).bit_length()


def load_write(size):
    """Lay out one write of a load, of ``load_lanes`` codes or of a beat of biases.

    Each memory, row and group has a bit as well, that of the memory only where something is
    written.
    """
    groups = size.block // size.load_lanes
    return data.StructLayout(
        {
            "memories": len(Store),
            "address": size.load_address_bits,
            "row": range(size.block),
            "rows": size.block,
            "group": range(max(groups, 2)),
            "groups": groups,
            "codes": data.ArrayLayout(CODE_BITS, size.load_lanes),
            "derivatives": data.ArrayLayout(derivative_layout(size.residual_bits), size.load_lanes),
            "biases": data.ArrayLayout(size.sum_bits, size.biases_per_beat),
        }
    )


def load_signature(size):
    """Describe the writes of loads, from the side of the load unit.

    Parameters
    ----------
    size : CoreSize
        Parameters of the core.

    Returns
    -------
    wiring.Signature
        ``write : Out(load_write(size))``
            A write.
        ``memory : Out(Store)``
            To which memory the load under way goes; known for two cycles before its first write.
        ``wait : In(1)``
            There must be no write in the next cycle, as a result is written then.
    """
    return wiring.Signature({"write": Out(load_write(size)), "memory": Out(Store), "wait": In(1)})


def result_write(size):
    """Lay out the writing of a strip of codes to an operand memory."""
    return data.StructLayout(
        {
            "address": size.address_bits,
            "row": range(size.block),
            "column": range(size.block),
            "codes": data.ArrayLayout(CODE_BITS, size.strip),
            "derivatives": data.ArrayLayout(derivative_layout(size.residual_bits), size.strip),
        }
    )


def result_signature(size):
    """Describe the writes of results, from the side of the result unit.

    Parameters
    ----------
    size : CoreSize
        Parameters of the core.

    Returns
    -------
    wiring.Signature
        ``strip : Out(result_write(size))``
            A strip of codes, and its place.
        ``to_activations, to_gradients : Out(1)``
            Whether it is written, and where to. No result goes to the weights.
        ``to_activations_next, to_gradients_next : Out(1)``
            The same, a cycle before.
    """
    return wiring.Signature(
        {
            "strip": Out(result_write(size)),
            "to_activations": Out(1),
            "to_gradients": Out(1),
            "to_activations_next": Out(1),
            "to_gradients_next": Out(1),
        }
    )


def operand_read(size, wide):
    """Lay out the reading of an operand: address of a word, and part and lanes of it.

    Parameters
    ----------
    size : CoreSize
        Parameters of the core.
    wide : int
        Count of vectors that are read at once.
    """
    return data.StructLayout(
        {
            "address": size.address_bits,
            "part": range(max(size.block // wide, 2)),
            "lanes": range(max(size.block // size.lanes, 2)),
        }
    )


def pass_control(size):
    """Lay out what goes with a pass through memories and array."""
    return data.StructLayout(
        {
            "flags": pass_flags(),
            "operation": 4,
            "signed_activations": 1,
            "operand": 1,
            "digit": 1,
            "lanes_used": size.lanes,
        }
    )


def pass_read_signature(size):
    """Describe the passes, each of which reads its operands, from the side of the product unit.

    Parameters
    ----------
    size : CoreSize
        Parameters of the core.

    Returns
    -------
    wiring.Signature
        ``integers : Out(operand_read(size, rows))``, ``codes : Out(operand_read(size, columns))``
            What to read of the integer and of the shift operand.
        ``weight_address : Out(address_bits)``
            Word of the weights: of the shift operand forward, of the integers backward.
        ``control : Out(pass_control(size))``
            What goes with the pass.
    """
    return wiring.Signature(
        {
            "integers": Out(operand_read(size, size.rows)),
            "codes": Out(operand_read(size, size.columns)),
            "weight_address": Out(size.address_bits),
            "control": Out(pass_control(size)),
        }
    )


def strip_read_signature(size):
    """Describe the reading of what belongs to a strip, from the side of the result unit.

    What is read comes ``nibblegrad.hdl.engine.operand_memory.StripMemory.latency`` cycles after its
    address.

    Parameters
    ----------
    size : CoreSize
        Parameters of the core.

    Returns
    -------
    wiring.Signature
        ``bias_address : Out(address_bits)``,
        ``biases : In(ArrayLayout(signed(sum_bits), columns))``
            Word of biases, and the word.
        ``derivative_address : Out(derivative_address_bits(size))``
            Strip of derivatives.
        ``activation_derivatives, weight_derivatives : In(ArrayLayout(derivative_layout, strip))``
            The strip in both memories.
    """
    derivatives = data.ArrayLayout(derivative_layout(size.residual_bits), size.strip)
    return wiring.Signature(
        {
            "bias_address": Out(size.address_bits),
            "biases": In(data.ArrayLayout(signed(size.sum_bits), size.columns)),
            "derivative_address": Out(derivative_address_bits(size)),
            "activation_derivatives": In(derivatives),
            "weight_derivatives": In(derivatives),
        }
    )
