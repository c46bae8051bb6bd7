# amaranth: UnusedElaboratable=no
"""Memories start at zero, by loops that every tool unrolls."""

import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from amaranth import Module
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from nibblegrad.gen import config
from nibblegrad.gen.emission.verilog import to_verilog
from nibblegrad.gen.flow.memories import core_memories, outlets
from nibblegrad.golden.engine.command import CoreSize
from nibblegrad.golden.numbers.formats import FLOAT32, Fp4Format
from nibblegrad.hdl.array.structures import PIPELINED, PLAIN, STRUCTURES
from nibblegrad.hdl.engine.training_core import TrainingCore
from verif.gen.test_gen import yosys
from verif.support.sim import run_tool

CONFIGS = sorted(config.DEFAULT.parent.glob("*.toml"))
GREATEST = 4096

LOOP = re.compile(r"for \((\w+) = (\d+); \1 < (\d+); \1 = \1 \+ 1\)\n +(\w+)\[\1\[(\d+):0\]\] = ")


class OneMemory(wiring.Component):
    """A memory and its two ports."""

    def __init__(self, depth):
        self._depth = depth
        bits = (depth - 1).bit_length()
        super().__init__(
            {"address": In(bits), "write": In(1), "data": In(5), "q": Out(5), "other": In(bits)}
        )

    def elaborate(self, platform):
        m = Module()
        memory = Memory(shape=5, depth=self._depth, init=[])
        m.submodules.memory = memory
        write = memory.write_port()
        read = memory.read_port()
        m.d.comb += [
            write.addr.eq(self.address),
            write.en.eq(self.write),
            write.data.eq(self.data),
            read.addr.eq(self.other),
            self.q.eq(read.data),
        ]
        return m


def cleared(text):
    """Words that are cleared, of each memory in a module; no loop turns too often."""
    words = {}
    for _, first, end, memory, high in LOOP.findall(text):
        assert 0 < int(end) - int(first) <= GREATEST
        assert int(end) <= 2 << int(high)
        words.setdefault(memory, []).extend(range(int(first), int(end)))
    assert len(LOOP.findall(text)) == text.count("for (") and "while" not in text
    return words


def check_memories(verilog):
    """Every word of every memory is cleared, once; returns the depths."""
    depths = []
    for module in re.findall(r"^module .*?^endmodule", verilog, re.DOTALL | re.MULTILINE):
        declared = dict(re.findall(r"^  reg (?:\[\d+:0\] )?(\w+) *\[(\d+):0\];", module, re.M))
        words = cleared(module)
        assert words == {name: list(range(int(top) + 1)) for name, top in declared.items()}
        depths += [int(top) + 1 for top in declared.values()]
    return depths


@pytest.mark.parametrize("depth", [2, 4095, 4096, 4097, 8192, 20000])
def test_made_up_memory_is_cleared_whole(depth):
    assert check_memories(to_verilog(OneMemory(depth), "one")) == [depth]


def test_small_memories_are_one_loop():
    assert (
        "  integer memory_word;\n  initial begin\n"
        "    for (memory_word = 0; memory_word < 4096; memory_word = memory_word + 1)\n"
        "      memory[memory_word[11:0]] = 5'h0;\n  end\n"
    ) in to_verilog(OneMemory(4096), "one")


def test_default_configuration_is_cleared_whole(texts):
    depths = {name: check_memories(texts[name]) for name in texts["filelist.f"].split()}
    # The outlet, and the scales and biases of 16 groups.
    assert depths["scale_multiplier.v"] == [32, 16, 16] and len(depths["training_core.v"]) > 50


@pytest.mark.slow
@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_configuration_is_cleared_whole(path):
    for name, module in config.load(path).items():
        check_memories(to_verilog(module.build(), name))


CHECK = """
module check;
  reg [{high}:0] other;
  wire [4:0] q;
  integer k;
  reg clock = 0;
  one one_instance (.aclk(clock), .aresetn(1'b1), .address({bits}'d0), .write(1'b0), .data(5'd0),
                    .q(q), .other(other));
  initial begin
    for (k = 0; k < {depth}; k = k + 1) begin
      other = k[{high}:0];
      #1 clock = 1;
      #1 clock = 0;
      if (q !== 5'd0) begin $display("FAIL: word %d is %b", k, q); $finish; end
    end
    $display("PASS");
  end
endmodule
"""


@pytest.mark.parametrize("depth", [8192, 20000])
@pytest.mark.parametrize("tool", ["verilator", "iverilog"])
def test_simulators_see_zeros(tmp_path, tool, depth):
    if shutil.which(tool) is None and tool == "iverilog":
        pytest.skip("Icarus Verilog comes with no wheel; `apt install iverilog`")
    bits = (depth - 1).bit_length()
    (tmp_path / "one.v").write_text(to_verilog(OneMemory(depth), "one"))
    (tmp_path / "check.v").write_text(CHECK.format(high=bits - 1, bits=bits, depth=depth))
    if tool == "iverilog":
        build = ["iverilog", "-g2005", "-s", "check", "-o", "check.vvp"]
        run = ["vvp", "-n", "check.vvp"]
    else:
        # What is not cleared is drawn by chance.
        build = ["verilator", "--binary", "--timing", "-Wno-fatal", "--top-module", "check",
                 "--x-initial", "unique", "--output-split", "0",
                 "-CFLAGS", "-std=c++20 -fcoroutines -O0"]  # fmt: skip
        run = ["obj_dir/Vcheck", "+verilator+rand+reset+2"]
    status, said = run_tool([*build, "check.v", "one.v"], tmp_path)
    assert status == 0, said
    result = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True)
    assert "PASS" in result.stdout, result.stdout


# Slow: the first start of this Yosys compiles it.
@pytest.mark.slow
@pytest.mark.parametrize("depth", [8192, 20000])
def test_yosys_makes_block_memory_of_zeros(tmp_path, depth):
    (tmp_path / "one.v").write_text(to_verilog(OneMemory(depth), "one"))
    yosys(tmp_path, "read_verilog one.v; synth_ecp5 -top one; write_verilog -noattr net.v")
    netlist = Path(tmp_path / "net.v").read_text()
    assert len(re.findall(r"^  DP16KD ", netlist, re.MULTILINE)) >= depth * 5 // 16384
    values = re.findall(r"\.INITVAL_\w+\(320'h([0-9a-fx]+)\)", netlist)
    assert values and {*"".join(values)} == {"0"}
    assert "TRELLIS_DPR16X4" not in netlist


@pytest.mark.parametrize(
    "size, structure",
    [
        (CoreSize(rows=2, columns=2, lanes=4, wide_format=FLOAT32), PLAIN),
        pytest.param(
            CoreSize(rows=2, columns=2, lanes=32, fmt=Fp4Format(2)),
            STRUCTURES["ecp5"],
            marks=pytest.mark.slow,
        ),
        pytest.param(CoreSize(rows=8, columns=4, lanes=8), PIPELINED, marks=pytest.mark.slow),
    ],
)
def test_the_size_model_has_the_memories_of_the_core(size, structure):
    """Depth and width of each, as the Verilog has them."""
    verilog = to_verilog(TrainingCore(size, structure), "core")
    found = Counter(
        (int(words) + 1, int(bits or 0) + 1)
        for bits, words in re.findall(r"^ +reg (?:\[(\d+):0\] )?\S+ +\[(\d+):0\];", verilog, re.M)
    )
    memories = [*core_memories(size, structure), *outlets(size)]
    for memory in memories:
        # Memories alike are one module of the Verilog, several times.
        assert found[memory.depth, memory.width], memory
