"""How much memory a training core takes: the memories it has, and the block RAMs they become."""

from dataclasses import dataclass

from nibblegrad.gen.flow.family import Target
from nibblegrad.golden.engine.command import CoreSize
from nibblegrad.hdl.array.structure import Structure
from nibblegrad.hdl.array.structures import STRUCTURES
from nibblegrad.hdl.base.outlet import Outlet
from nibblegrad.hdl.engine.load_unit import LoadUnit
from nibblegrad.hdl.engine.output_buffer import OutputBuffer
from nibblegrad.hdl.engine.timing import buffer_words

__all__ = [
    "BLOCK_COST",
    "CODE",
    "SUM",
    "MemoryShape",
    "MemoryUse",
    "core_memories",
    "map_memory",
    "memory_use",
    "outlets",
]

#: What Yosys 0.70 takes a block RAM to cost. What a bit costs that is read from one was found by
#: trying: a word that is written meanwhile is kept beside.
BLOCK_COST = 128

#: Bits of a code.
CODE = 4

#: Bits of a sum.
SUM = 32


@dataclass(frozen=True)
class MemoryShape:
    """Depth and width of memories, of which there are ``count``."""

    name: str
    count: int
    depth: int
    width: int


@dataclass(frozen=True)
class MemoryUse:
    """What memories take: block RAMs, and LUTs of distributed memory."""

    block_rams: int
    luts: int


def core_memories(size: CoreSize, structure: Structure) -> list[MemoryShape]:
    """List the memories of a training core whose size depends on its parameters.

    Parameters
    ----------
    size : CoreSize
        Parameters of the core.
    structure : Structure
        What its array is built of: the latency of it decides how many strips may be under way.
    """
    block, group, strip = size.block, size.load_lanes, size.strip
    derivative = max(CODE, size.residual_bits) + 2
    parts = size.columns // size.biases_per_beat
    result_width = strip * size.wide_format.width + 1
    buffer = buffer_words(size, structure)
    codes = block * block // group
    strips = block * block // strip
    return [
        MemoryShape("activations", codes, size.activation_words, CODE * group),
        MemoryShape("weights", codes, size.weight_words, CODE * group),
        MemoryShape("gradients", codes, size.gradient_words, CODE * group),
        *(
            MemoryShape(f"{name} beside", strip // group, depth, group * derivative)
            for name, words in (
                ("activations", size.activation_words),
                ("weights", size.weight_words),
            )
            for depth in structure.bank_depths(words * strips)
        ),
        *(
            MemoryShape("biases", parts, depth, size.biases_per_beat * SUM)
            for depth in structure.bank_depths(size.bias_words)
        ),
        *(
            MemoryShape("partial sums", 1, depth, strip * SUM)
            for depth in structure.bank_depths(size.partial_sum_strips)
        ),
        MemoryShape("output buffer", 1, buffer, result_width),
    ]


def outlets(size: CoreSize) -> list[MemoryShape]:
    """List the memories that are read at once, of a few words each.

    They are distributed memory, counted with the logic. A family that has none makes block RAM of
    those with a register right behind them.
    """
    derivative = max(CODE, size.residual_bits) + 2
    load_width = size.load_lanes * max(size.wide_format.width, CODE + derivative)
    return [
        MemoryShape("loads on their way", 1, Outlet.words(LoadUnit.outlet_stages), load_width),
        MemoryShape(
            "results on their way",
            1,
            Outlet.words(OutputBuffer.outlet_stages),
            size.strip * size.wide_format.width + 1,
        ),
    ]


def memory_use(size: CoreSize, target: Target) -> MemoryUse:
    """Sum up what the memories of a training core take on a target."""
    memories = core_memories(size, STRUCTURES[target.family.structure])
    if not target.family.distributed_shapes:
        memories += outlets(size)
    uses = [(memory.count, map_memory(memory.depth, memory.width, target)) for memory in memories]
    return MemoryUse(
        sum(count * use.block_rams for count, use in uses),
        sum(count * use.luts for count, use in uses),
    )


def map_memory(depth: int, width: int, target: Target) -> MemoryUse:
    """Map a memory with a write and a read port, as Yosys does: block or distributed.

    Parameters
    ----------
    depth, width : int
        Words, and bits of each.
    target : Target
        Whose memories there are.
    """
    family = target.family
    blocks = min(-(-depth // words) * -(-width // bits) for words, bits in family.block_shapes)
    if not family.distributed_shapes:
        return MemoryUse(blocks, 0)
    cells, rows = min(
        (-(-depth // words) * -(-width // bits), -(-depth // words))
        for words, bits in family.distributed_shapes
    )
    # Rows of cells are chosen by multiplexers; a LUT of six inputs chooses one of four.
    chosen = width * -(-(rows - 1) // (3 if family.lut_inputs == 6 else 1))
    cost = family.distributed_cost * cells + chosen
    if cost < BLOCK_COST * blocks + family.read_cost * width:
        return MemoryUse(0, family.distributed_luts * cells + chosen)
    return MemoryUse(blocks, 0)
