# amaranth: UnusedElaboratable=no
"""The seam of structures: what generic parts ask, and a structure that answers otherwise."""

import ast
import random

import pytest
from amaranth import Module, Value
from amaranth.lib import data

from nibblegrad.gen.config import STRUCTURES as NAMED
from nibblegrad.golden.numbers.formats import Fp4Format
from nibblegrad.hdl.array.accumulator import ClearedAccumulator
from nibblegrad.hdl.array.structure import Structure
from nibblegrad.hdl.array.structures import PIPELINED, PLAIN, STRUCTURES
from nibblegrad.hdl.cores.step_gradient import ProductSum, derivative_layout
from nibblegrad.hdl.encoders.scale_product import ScaleProduct
from nibblegrad.hdl.engine.operand_memory import StripMemory
from nibblegrad.hdl.units.shift_dot_product import ShiftDotProduct
from verif.array.lane import run_lane
from verif.encoders.test_scale_product import INTERESTING, expected
from verif.paths import ROOT
from verif.support.simulation import simulate

HDL = ROOT / "hdl"


class Other(Structure):
    """A structure of a user: no stages, few levels, a cleared accumulator, and other blocks."""

    name = "other"
    staged = False
    levels_per_stage = 3
    bank_words = 8
    deepest_bank = 16
    multiplier_bits = 25

    def accumulator(self, term_bits, bits, ends_late=False):
        return ClearedAccumulator(term_bits, bits, ends_late)


OTHER = Other()


def run(unit, given, output, latency):
    """Set inputs in each cycle, as bits; returns what came out so many cycles later, as bits."""
    module = Module()
    module.submodules.unit = unit
    found = []

    async def bench(ctx):
        for cycle in range(len(given) + latency):
            for name, bits in (given[cycle] if cycle < len(given) else {}).items():
                port = Value.cast(getattr(unit, name))
                ctx.set(port.as_unsigned(), bits)
            if cycle >= latency:
                found.append([ctx.get(Value.cast(getattr(unit, name))) for name in output])
            await ctx.tick()

    simulate(module, bench)
    return found


def test_names_are_those_of_configurations():
    assert list(STRUCTURES) == ["compact", "pipelined", "plain", "ecp5"]
    assert {"auto": PLAIN, **STRUCTURES} == NAMED
    assert [each.name for each in STRUCTURES.values() if each.family] == ["ecp5"]


def test_generic_parts_name_no_structure_but_the_general_ones():
    """No part of hdl/ asks which structure it has, nor takes one of a family."""
    takers = 0
    for path in HDL.rglob("*.py"):
        if path.parent.name == "structures":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and "structures" in (node.module or "").split("."):
                assert node.module.endswith("structures"), path
                assert {alias.name for alias in node.names} <= {"PLAIN", "PIPELINED"}, path
                takers += 1
            if isinstance(node, ast.Compare):
                compared = ast.unparse(node)
                assert "structure is" not in compared and "structure ==" not in compared, path
    assert takers > 5


@pytest.mark.parametrize(
    "words, depths",
    [(1, [1]), (8, [8]), (9, [8, 1]), (16, [16]), (24, [8, 8, 8]), (32, [8] * 4)],
)
def test_banks_are_as_deep_as_the_structure_says(words, depths):
    assert OTHER.bank_depths(words) == depths


def test_usual_banks_are_those_of_block_rams():
    for words in (1, 2048, 4096, 16384):
        assert PLAIN.bank_depths(words) == [words]
    assert PLAIN.bank_depths(2049) == [2048, 1] and PLAIN.bank_depths(6144) == [2048] * 3
    assert PLAIN.bank_depths(32768) == [2048] * 16


@pytest.mark.parametrize("words", [16, 21, 32])
def test_memory_with_banks_of_another_depth(words, request):
    """What was written is read, whatever the banks are."""
    rng = random.Random(request.config.getoption("seed"))
    memory = StripMemory(words, 7, 2, 1, OTHER)
    held = [rng.getrandbits(14) for _ in range(words)]
    writes = [
        {"write_address": address, "write_groups": 3, "write_data": strip, "read_address": 0}
        for address, strip in enumerate(held)
    ]
    # One group of a strip, and nothing.
    change = {"write_address": words - 1, "write_groups": 1, "write_data": held[-1] ^ 0x3FFF}
    held[-1] ^= 0x7F
    order = rng.choices(range(words), k=3 * words)
    reads = [{"write_groups": 0, "read_address": address} for address in order]
    given = [*writes, change, *[{"write_groups": 0}] * 4, *reads]
    got = run(memory, given, ["read_data"], memory.latency)
    assert [read for (read,) in got[-len(reads) :]] == [held[address] for address in order]


@pytest.mark.parametrize("bits", [18, 20, 25, 32])
def test_multipliers_of_another_width_make_the_same_product(bits, request):
    rng = random.Random(request.config.getoption("seed"))
    numbers = [
        {
            "number": rng.choice([rng.choice(INTERESTING), rng.randrange(-(2**31), 2**31)]),
            "bias": rng.choice([0, rng.choice(INTERESTING)]),
        }
        for _ in range(300)
    ]
    # Of two bits that are set, the lower one may be anywhere.
    numbers += [{"number": 1 << 30, "bias": 1 << k} for k in range(30)]
    factor = 1 << 15
    settings = {"factor_0": factor, "factor_1": factor, "exponent": 3, "relu": 0, "offset_0": 5}
    widths = 40, 12
    unit = ScaleProduct(widths, bits)
    outputs = ["sign", "significand_0", "significand_1"]
    got = run_lane(rng, unit, numbers, outputs, {**settings, "offset_1": 0})
    for given, (sign, *significands) in zip(numbers, got, strict=True):
        for width, found in zip(widths, significands, strict=True):
            wanted = expected(*given.values(), False, factor, 3, 0, width)
            assert found == wanted[1] and (not found or sign == wanted[0]), given


@pytest.mark.parametrize("bits", [10, 18, 25, 40])
def test_multipliers_of_another_width_make_the_same_sum(bits, request):
    rng = random.Random(request.config.getoption("seed"))
    unit = ProductSum(2, 32, 4, 8, bits)
    layout = data.ArrayLayout(derivative_layout(8), 2)
    numbers, sums = [], []
    for _ in range(300):
        values = [rng.choice([-(2**31), 2**31 - 1, rng.randrange(-(2**31), 2**31)]) for _ in "ab"]
        derivatives = [
            {"value": rng.randrange(-8, 8), "in_range": rng.getrandbits(1)} for _ in values
        ]
        weights = [d["value"] << (0 if d["in_range"] else 8) for d in derivatives]
        sums.append(sum(v * w for v, w in zip(values, weights, strict=True)))
        numbers.append(
            {
                "numbers": sum((v % 2**32) << 32 * k for k, v in enumerate(values)),
                "derivatives": layout.const(derivatives).as_bits(),
            }
        )
    got = run(unit, numbers, ["total"], unit.latency)
    assert [total for (total,) in got] == sums


@pytest.mark.parametrize("structure", [OTHER, PIPELINED], ids=lambda structure: structure.name)
@pytest.mark.parametrize("lanes", [1, 3, 8])
def test_dot_products_of_a_structure_of_a_user(structure, lanes, request):
    """Sums of FP4 codes times integers, several vectors each: the same in any structure."""
    rng = random.Random(request.config.getoption("seed"))
    unit = ShiftDotProduct(Fp4Format(1), lanes, 5, 24, structure)
    vectors, sums, total = [], [], 0
    left = 0
    for k in range(200):
        first = not left
        left = left or rng.randint(1, 4)
        left -= 1
        a = [rng.randrange(-16, 16) for _ in range(lanes)]
        b = [rng.getrandbits(4) for _ in range(lanes)]
        products = [
            x * (-1 if code & 8 else 1) * (1 << ((code & 7) - 1)) if code & 7 else 0
            for x, code in zip(a, b, strict=True)
        ]
        total = sum(products) + (0 if first else total)
        last = not left or k == 199
        sums.append(total if last else None)
        vectors.append(
            {
                "valid": 1,
                "first": int(first),
                "last": int(last),
                "a": sum((x % 32) << 5 * j for j, x in enumerate(a)),
                "b": sum(code << 4 * j for j, code in enumerate(b)),
            }
        )
    got = run(unit, vectors, ["done", "total"], unit.latency)
    for wanted, (done, found) in zip(sums, got, strict=True):
        assert done == (wanted is not None)
        assert wanted is None or found == wanted
