"""Verilator's `-Wall` has nothing to say of the Verilog, wherever a user puts it."""

import itertools
import re
import shutil

import pytest

from nibblegrad.gen import config
from nibblegrad.gen.emission.widths import widen_operands
from nibblegrad.gen.packaging.interface import describe
from verif.packaging.test_fusesoc import fusesoc
from verif.support.sim import run_tool

CONFIGURATION = config.load(config.DEFAULT)
MODULES = list(CONFIGURATION)
PAIRS = list(itertools.combinations(MODULES, 2))
# Every module in one pair; the others are for `make test-all`.
QUICK_PAIRS = [pair for pair in zip(MODULES[::2], MODULES[1::2], strict=True)]


def lint(where, top, *files):
    command = ["verilator", "--lint-only", "-Wall", "--top-module", top]
    return run_tool([*command, *files], where)


def is_clean(said):
    return said[0] == 0 and "%" not in said[1]


def users_top(names, top="users_top"):
    """A module of a user's that instantiates modules, and passes all of their ports on."""
    ports, instances = [], []
    for name in names:
        own = describe(name, CONFIGURATION[name]).ports
        ports += [f"  {port.direction} wire {port.range}{name}_{port.name}" for port in own]
        connections = ", ".join(f".{port.name}({name}_{port.name})" for port in own)
        instances.append(f"  {name} {name}_instance ({connections});\n")
    declared = ",\n".join(ports)
    return f"module {top} (\n{declared}\n);\n{''.join(instances)}endmodule\n"


@pytest.mark.parametrize("name", MODULES)
def test_every_module_alone(folder, name):
    said = lint(folder, name, f"{name}.v")
    assert is_clean(said), said[1]


@pytest.mark.parametrize(
    "pair", [pair if pair in QUICK_PAIRS else pytest.param(pair, marks=pytest.mark.slow)
             for pair in PAIRS], ids="+".join
)  # fmt: skip
def test_every_pair_under_a_users_top(folder, tmp_path, pair):
    (tmp_path / "users_top.v").write_text(users_top(pair))
    said = lint(tmp_path, "users_top", "users_top.v", *(folder / f"{name}.v" for name in pair))
    assert is_clean(said), said[1]


def depends(folder, where, names):
    """Lint a FuseSoC core of a user's that depends on modules."""
    cores = where / "cores"
    cores.mkdir()
    (cores / "users_top.v").write_text(users_top(names))
    lines = "".join(f"      - nibblegrad:core:{name}\n" for name in names)
    (cores / "users_top.core").write_text(
        "CAPI=2:\nname: user:design:users_top:1.0\n"
        f"filesets:\n  rtl:\n    depend:\n{lines}"
        "    files: [users_top.v]\n    file_type: verilogSource-2005\n"
        "targets:\n  lint:\n    flow: lint\n    flow_options:\n      tool: verilator\n"
        "      verilator_options: [-Wall]\n    filesets: [rtl]\n    toplevel: users_top\n"
    )
    for name in names:
        shutil.copy(folder / f"{name}.v", cores)
        shutil.copy(folder / f"{name}.core", cores)
    return fusesoc(cores, where, "lint", "users_top", vendor="user:design")


def test_design_that_depends_on_two(folder, tmp_path):
    said = depends(folder, tmp_path, ["quantizer", "step_gradient"])
    assert is_clean(said), said[1]


@pytest.mark.slow
def test_design_that_depends_on_all(folder, tmp_path):
    said = depends(folder, tmp_path, MODULES)
    assert is_clean(said), said[1]


@pytest.mark.parametrize("rule", ["UNUSED", "DECLFILENAME"])
def test_every_comment_is_needed(texts, tmp_path, rule):
    line = f"// verilator lint_off {rule}\n"
    assert texts["quantizer.v"].count(line) == 1
    (tmp_path / "quantizer.v").write_text(texts["quantizer.v"].replace(line, ""))
    _, said = lint(tmp_path, "quantizer", "quantizer.v")
    assert set(re.findall(r"%Warning-([A-Z]+)", said)) == {
        "UNUSEDSIGNAL" if rule == "UNUSED" else rule
    }


def test_comments_end_with_the_file(texts, tmp_path):
    # As one file, as by `include: what is a user's is linted as before.
    users = "module users_part(input wire a); wire idle; assign idle = a; endmodule\n"
    top = users_top(["quantizer"]).replace("endmodule", "users_part part(aclk);\nendmodule")
    top = top.replace("(aclk)", "(quantizer_aclk)")
    (tmp_path / "users_top.v").write_text(top + texts["quantizer.v"] + users)
    _, said = lint(tmp_path, "users_top", "users_top.v")
    assert re.findall(r"%Warning-([A-Z]+)", said) == ["UNUSEDSIGNAL"], said
    assert "Signal is not used: 'idle'" in said


def test_waivers_are_no_file(texts):
    assert not [name for name in texts if name.endswith(".vlt")]
    assert not [name for name, text in texts.items() if ".vlt" in text]


DECLARED = """\
  wire [3:0] a;
  wire signed_bit;
  reg [7:0] _9 ;
  wire [8:0] result;
"""


@pytest.mark.parametrize(
    "written, widened",
    [
        ("result = a + _9 ", "result = { 5'h00, a } + { 1'h0, _9 }"),
        ("result = $signed(a) - $signed(_9 )",
         "result = $signed({ a[3], a[3], a[3], a[3], a[3], a }) - $signed({ _9[7], _9 })"),
        ("result = $signed(_9 [5:2]) + $signed(signed_bit)",
         "result = $signed({ _9[5], _9[5], _9[5], _9[5], _9[5], _9 [5:2] }) + "
         "$signed({ signed_bit, signed_bit, signed_bit, signed_bit, signed_bit, signed_bit, "
         "signed_bit, signed_bit, signed_bit })"),
        ("result = result - 2'h3", "result = result - 9'h003"),
        ("result = $signed(result) + $signed(4'hb)", "result = $signed(result) + $signed(9'h1fb)"),
        ("result = $signed(result) + $signed(4'h5)", "result = $signed(result) + $signed(9'h005)"),
        ("result = $signed({ 1'h0, _9  }) + $signed({ a[2], a })",
         "result = $signed({ 1'h0, _9 }) + $signed({ a[2], a[2], a[2], a[2], a[2], a })"),
        ("signed_bit = _9  == 3'h5", "signed_bit = _9 == 8'h05"),
        ("signed_bit = $signed(a) < $signed(1'h0)", "signed_bit = $signed(a) < $signed(4'h0)"),
        ("signed_bit = { a, signed_bit } >= 32'd7",
         "signed_bit = { 27'h0000000, a, signed_bit } >= 32'd7"),
        ("result = a << 2'h3", "result = { 5'h00, a } << 2'h3"),
        ("signed_bit = ! a", "signed_bit = a == 4'h0"),
        ("signed_bit = ! _9 [3:1]", "signed_bit = _9 [3:1] == 3'h0"),
        ("result[0] = ! _9 [3]", "result[0] = ! _9 [3]"),
        # As they were.
        ("result[7:0] = a * a", "result[7:0] = a * a"),
        ("a = _9 [3:0] & a", "a = _9 [3:0] & a"),
        ("signed_bit = a == _9 [7:4]", "signed_bit = a == _9 [7:4]"),
        ("signed_bit = a > _9 [7:4]", "signed_bit = a > _9 [7:4]"),
        ("result = signed_bit ? result : { 5'h00, a }",
         "result = signed_bit ? result : { 5'h00, a }"),
    ],
)  # fmt: skip
def test_operands_are_widened(written, widened):
    module = f"{DECLARED}  assign {written};\n"
    assert widen_operands(module) == f"{DECLARED}  assign {widened};\n"


@pytest.mark.parametrize(
    "written",
    ["result = $signed(a) + _9 ", "result = ~ a + _9 ", "result = a + other[2:0]", "a = ! other"],
)
def test_what_is_not_understood_stays(written):
    module = f"{DECLARED}  assign {written};\n"
    assert widen_operands(module) == module
