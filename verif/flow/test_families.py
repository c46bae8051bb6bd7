# amaranth: UnusedElaboratable=no
"""The seam of families: what each must have, and one of a user that appears everywhere."""

import ast
import json
import re
import shutil
import tomllib
from pathlib import Path
from unittest.mock import patch

import pytest

from nibblegrad.gen.command_line import main
from nibblegrad.gen.config import parse
from nibblegrad.gen.cost.catalogue import FORMATS, designs_for
from nibblegrad.gen.flow import calibrate, compare, families, sizing, tools
from nibblegrad.gen.flow.families import FAMILIES, FOLDER_VARIABLE, TARGETS, find_target
from nibblegrad.gen.flow.fit import to_toml
from nibblegrad.gen.flow.synthesis import synthesize
from verif.flow.test_flow import COUNTER, PRODUCT
from verif.paths import ROOT

PAGE = ROOT / "docs" / "adding" / "family.md"
#: The family that the page shows, which is counted only.
TRION = re.search(r"^```python\n(.*?)^```", PAGE.read_text(), re.M | re.S)[1]

#: One with a placer and a bitstream, and cells that no other family has.
IMAGINARY = """
from nibblegrad.gen.flow.family import Family, Pricing, Target
from nibblegrad.gen.flow.tools import Tool


class Imaginary(Family):
    name = "imaginary"
    label = "Imaginary"
    tools = (Tool("place-it", "no-wheel"), Tool("pack-it", "no-wheel"))
    synthesis = "synth_it"
    luts = {"LUT": 1}
    flip_flops = {"REG*": 1}
    block_rams = {"RAM": 0.5}
    multipliers = {}
    block_shapes = ((2048, 9),)
    place = "place-it"
    pack = "pack-it"
    pack_arguments = ("routed.txt", "it.image")
    bitstream = "it.image"
    reported = {"luts": ("HALVES", 2), "flip_flops": ("REGS", 1)}
    pads = ("PAD",)
    pricing = Pricing("it-1", seeds=2)
    measured_on = "it-1"
    shapes = ((2, 2, 2, 8), (2, 2, 4, 8))

    def targets(self):
        return [Target("it-1", self, "IT1", ("--part", "it1"), 20000, 30000, 500, 18432)]

    def script(self, command, *, long_wires):
        return ["read_verilog -sv design.v", command + " -large" if long_wires else command]

    def placed_luts(self, luts, carry_feeds):
        return luts + 7

    def absorb(self, module):
        return 1 if module["cells"].pop("spare", None) else 0

    def constraints(self, folder, target, clock, pins, bitstream):
        (folder / "pins.it").write_text(f"{clock}: {pins}")
        return ["--pins", "pins.it", *(["--routed", "routed.txt"] if bitstream else [])]


FAMILY = Imaginary()
"""


#: What a Yosys of shell makes of any design: its cells, and a netlist with a register to absorb.
CELLS = {"LUT": 1000, "EFX_LUT4": 900, "EFX_ADD": 100, "REGX": 50, "EFX_FF": 60, "RAM": 4000}
NETLIST = {
    "ports": {"aclk": {"bits": [2]}, "d": {"bits": [3]}},
    "cells": {
        "pad": {"type": "PAD", "connections": {"I": [3], "O": [4]}},
        "register": {"type": "REGX", "connections": {"D": [4], "C": [2]}},
        "spare": {"type": "REGX", "connections": {"D": [4], "C": [2]}},
    },
}
REPORT = {
    "fmax": {"aclk": {"achieved": 123.456}},
    "utilization": {
        "HALVES": {"used": 2001, "available": 40000},
        "REGS": {"used": 50, "available": 30000},
    },
    "critical_paths": [],
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder for families of a user; what they add is gone afterwards."""
    where = tmp_path / "families"
    where.mkdir()
    monkeypatch.setenv(FOLDER_VARIABLE, str(where))
    monkeypatch.setattr(families, "_ADDED", set())
    monkeypatch.chdir(tmp_path)
    with patch.dict(FAMILIES), patch.dict(TARGETS), patch.dict(tools.TOOLS):
        yield where
    sizing.forget()


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Make a tool of a shell script that notes how it was called."""

    def make(name, script):
        path = tmp_path / name
        path.write_text(
            f'#!/bin/sh\nif [ "$1" = --version ]; then echo {name} 1; exit; fi\n'
            f'echo "$@" >> {tmp_path}/{name}.calls\n{script}\n'
        )
        path.chmod(0o755)
        monkeypatch.setenv(name.upper().replace("-", "_"), str(path))
        return tmp_path / f"{name}.calls"

    return make


def writing(**files):
    """Write a shell script that writes files of JSON."""
    return "\n".join(
        f"cat > {name}.json <<'end'\n{json.dumps(content)}\nend" for name, content in files.items()
    )


def yosys():
    """Write the script of a Yosys to which all designs are the same."""
    tops = ("training_core", "hosted_core", "unit")
    modules = {f"\\{top}": {"num_cells_by_type": CELLS} for top in tops}
    # What it is called with a second time reads the netlist.
    return (
        f"{writing(stat={'modules': modules})}\n"
        'case "$*" in *read_json*) cp netlist.json again.json; exit;; esac\n'
        f"{writing(netlist={'modules': dict.fromkeys(tops, NETLIST)})}\ntouch netlist.v"
    )


def said(capsys, arguments, status=0):
    """Run a command; returns what it says."""
    assert main(arguments) == status
    return "".join(capsys.readouterr())


def test_a_family_of_a_user_is_listed(folder, capsys):
    (folder / "trion.py").write_text(TRION)
    for command in ("fit", "fpga", "cost"):
        with pytest.raises(SystemExit):
            main([command, "--help"])
        name = "trion" if command == "cost" else "trion-t20"
        # Without a bitstream it is no choice of `fpga`.
        assert (name in capsys.readouterr().out) == (command != "fpga"), command
    assert find_target("trion-t20").family is FAMILIES["trion"]
    assert list(FAMILIES)[-1] == "trion" and list(TARGETS)[-1] == "trion-t20"
    assert "; did you mean trion-t20?" in said(capsys, ["fit", "--target", "trion-t2"], 2)
    assert "no bitstream for trion-t20; choose from ecp5-25k, " in said(
        capsys, ["fpga", "--target", "trion-t20"], 2
    )


@pytest.mark.slow
def test_a_family_of_a_user_is_measured_and_fitted(folder, capsys, program):
    """By a Yosys of shell: of one core that is measured, the prediction is what it took."""
    calls = program("yosys", yosys())
    (folder / "trion.py").write_text(TRION)
    assert (
        "not measured for trion-t20; run `python -m nibblegrad.gen.flow.calibrate --family trion`"
        in said(capsys, ["fit", "--target", "trion-t20"], 2)
    )
    assert calibrate.main(["--family", "trion", "--cores", "1", "--jobs", "1"]) == 0
    assert "trion 2 x 2 x 2, 8: luts 1,000 (+0), flip_flops 60 (+0)" in capsys.readouterr().out
    assert "synth_efinix -top training_core; write_json" in calls.read_text()
    assert "nodsp" not in calls.read_text()
    model = json.loads((folder / "trion.json").read_text())
    assert model["measured"] == {
        "2 x 2 x 2, 8": {"luts": 1000, "flip_flops": 60, "block_rams": 0, "multipliers": 0}
    }
    proposal = said(capsys, ["fit", "--target", "trion-t20"])
    assert "on trion-t20 (T20F256)" in proposal and "204" in proposal
    (core,) = parse(re.sub("^#.*", "", proposal, flags=re.M)).values()
    assert core.structure == "pipelined"
    need = sizing.predict(core.size(), TARGETS["trion-t20"])
    assert 0 < need["block_rams"] <= 204 and need["luts"] <= 19728


def test_a_family_of_a_user_is_in_the_price_list(folder, capsys, program, monkeypatch):
    program("yosys", yosys())
    (folder / "trion.py").write_text(TRION)
    chosen = designs_for("ice40")
    monkeypatch.setattr("nibblegrad.gen.cost.measure.designs_for", lambda use: designs_for(use)[:2])
    arguments = ["cost", "--families", "trion,ecp6", "--jobs", "1", "--output", "out"]
    assert "Unknown family 'ecp6'; choose from ecp5, ice40, nexus, gowin, xilinx, trion" in said(
        capsys, arguments, 2
    )
    arguments[2] = "trion"
    printed = said(capsys, arguments)
    # As iCE40: one structure of each format, or two, and no FP16.
    assert designs_for("trion") == chosen
    assert {design.format for design in chosen} == set(FORMATS) - {
        *("float16", "fp4_5", "fp4_radix4")
    }
    table = Path("out/price_list.md").read_text()
    assert "**Trion**" in printed and "7 series is `synth_xilinx`: counted, not placed; " in table
    assert "Trion is `synth_efinix`: counted, not placed." in table
    section = table.partition("**Trion**")[2].partition("##")[0]
    assert "| FP4 radix 2 x INT4 | pipelined | 62.5 | 3.8 |" in section and "MHz" not in section
    rows = Path("out/price_list.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["use", "trion", "trion"]


def test_a_family_of_a_user_is_synthesised(folder, tmp_path):
    """It may be a package as well, of several files."""
    (folder / "trion").mkdir()
    (folder / "trion" / "__init__.py").write_text(f"{TRION}\nfrom .more import LABEL\n")
    (folder / "trion" / "more.py").write_text('LABEL = "Trion"\n')
    families.add_own()
    target = TARGETS["trion-t20"]
    result = synthesize(COUNTER, "counter", target, folder=tmp_path / "flow")
    # The adder has a cell for each bit, and one that begins the chain or more.
    assert result.flip_flops == 24 and 16 <= result.cells["EFX_ADD"] == result.luts <= 18
    assert result.placed_luts == result.luts
    product = synthesize(PRODUCT, "product", target, folder=tmp_path / "flow")
    assert product.block_rams == 4 and product.multipliers == 0 and product.luts > 200


def test_a_family_that_is_changed_makes_its_results_anew(folder, tmp_path, program):
    """What was absorbed by an older text of it is not taken for what is now."""
    calls = program("yosys", yosys())
    again = IMAGINARY.replace('pop("spare", None)', 'pop("nothing", None)')
    for text, count in ((IMAGINARY, 2), (IMAGINARY, 2), (again, 3), (IMAGINARY, 3)):
        (folder / "imaginary.py").write_text(text)
        families.add_folder(folder)
        synthesize("", "unit", TARGETS["it-1"], folder=tmp_path / "flow")
        assert len(calls.read_text().splitlines()) == count
        del FAMILIES["imaginary"], TARGETS["it-1"]


@pytest.mark.parametrize("text", ["", "[]", '{"coefficients": {"luts": {}}}', "\x00"])
def test_a_broken_model_is_a_sentence(folder, capsys, text):
    (folder / "trion.py").write_text(TRION)
    (folder / "trion.json").write_text(text)
    error = said(capsys, ["fit", "--target", "trion-t20"], 2)
    assert "trion.json is no model of sizes; make it anew with `python -m " in error
    assert error.count("\n") == 1


def test_a_family_of_a_user_is_placed(folder, tmp_path, capsys, program):
    """The whole command, with tools of shell: each method of the family has its part."""
    calls = program("yosys", yosys())
    keep = f"cp netlist.json pins.it {tmp_path}/"
    placing = program("place-it", f"{keep}\n{writing(report=REPORT)}\necho routed > routed.txt")
    packing = program("pack-it", "cat routed.txt > it.image")
    (folder / "imaginary.py").write_text(IMAGINARY)
    shutil.copy(FAMILIES["xilinx"].model, folder / "imaginary.json")
    families.add_own()
    target = TARGETS["it-1"]
    Path("small.toml").write_text(to_toml(sizing.smallest_memories(2, 2, 2, target)))
    arguments = ["fpga", "--target", "it-1", "--config", "small.toml", "--output", "out"]
    assert "123.46 MHz alone, 123.46 with the bridge" in said(capsys, arguments)
    scripts = calls.read_text().splitlines()
    assert len(scripts) == 4 and all("read_json netlist.json" in scripts[k] for k in (1, 3))
    assert (
        "read_verilog -sv design.v; synth_it -nodsp -nowidelut -top training_core -large"
        in (scripts[0])
    )
    alone, hosted = placing.read_text().splitlines()
    assert alone.startswith("--part it1 --json netlist.json --seed 1 --freq 200.0")
    assert alone.endswith("--quiet --pins pins.it") and hosted.endswith("--routed routed.txt")
    assert packing.read_text() == "routed.txt it.image\n"
    report = json.loads(Path("out/it-1/report.json").read_text())
    # 2001 halves are 1001 LUTs.
    assert report["alone"]["used"] == {"luts": 1001, "flip_flops": 50}
    assert Path("out/it-1/hosted_core.image").read_text() == "routed\n"
    # The port that is no clock is gone, with its pad; the register that was absorbed as well.
    netlist = json.loads((tmp_path / "netlist.json").read_text())["modules"]["hosted_core"]
    assert set(netlist["ports"]) == {"aclk"} and set(netlist["cells"]) == {"register"}
    assert (tmp_path / "pins.it").read_text() == "aclk: None"
    synthesis = synthesize("", "unit", target, folder=tmp_path / "flow")
    assert (synthesis.luts, synthesis.placed_luts, synthesis.block_rams) == (1000, 1007, 2000)


TRION_AS = {
    "lacks": ("    flip_flops: ClassVar", "    other: ClassVar"),
    "no targets": ("def targets(self)", "def devices(self)"),
    "no constraints": ("block_shapes = (", 'place = "yosys"\n    block_shapes = ('),
    "taken": ('name = "trion"', 'name = "nexus"'),
    "device": ('"trion-t20",\n                self', '"nexus-40",\n                self'),
    "structure": ('label = "Trion"', 'label = "Trion"\n    structure = "ecp6"'),
    "structure of another": ('label = "Trion"', 'label = "Trion"\n    structure = "ecp5"'),
    "tool": ('label = "Trion"', 'label = "Trion"\n    pack = "trionpack"'),
    "priced": ('Pricing("trion-t20")', 'Pricing("trion-t21")'),
    "no family": ("FAMILY = Trion()", ""),
    "a class": ("FAMILY = Trion()", "FAMILY = Trion"),
    "broken": ("class Trion(Family):", "class Trion(Family)"),
    "failing": ("FAMILY = Trion()", "FAMILY = Trion(1)"),
}


@pytest.mark.parametrize(
    "how, message",
    [
        ("lacks", "trion.py: the family has no flip_flops; give it one"),
        ("no targets", "trion.py: the family has no method targets; give it one"),
        ("no constraints", "trion.py: the family has no method constraints; give it one"),
        ("taken", "trion.py: the name 'nexus' is taken; choose another one"),
        ("device", "trion.py: the name 'nexus-40' is taken; choose another one"),
        ("structure", "trion.py: structure 'ecp6' is unknown; choose from compact, pipelined, "),
        (
            "structure of another",
            "trion.py: structure 'ecp5' is made of the cells of ecp5; choose ",
        ),
        ("tool", "trion.py: trionpack is not among the tools of the family; add it"),
        ("priced", "trion.py: 'trion-t21' is none of its devices; choose from trion-t20"),
        ("no family", "trion.py has no FAMILY; see docs/adding/family.md"),
        (
            "a class",
            "trion.py: FAMILY must be an object of a class derived from nibblegrad.gen.flow.fam",
        ),
        ("broken", "trion.py cannot be imported: SyntaxError: expected ':'"),
        ("failing", "trion.py cannot be imported: TypeError: Trion() takes no arguments"),
        ("empty", "families has no module of a family; see docs/adding/family.md"),
        ("gone", "nowhere is no folder; name one, or unset NIBBLEGRAD_FAMILIES"),
    ],
)
def test_what_is_no_family_is_refused(folder, how, message, capsys, monkeypatch):
    if how in TRION_AS:
        assert TRION_AS[how][0] in TRION
        (folder / "trion.py").write_text(TRION.replace(*TRION_AS[how]))
    if how == "gone":
        monkeypatch.setenv(FOLDER_VARIABLE, "nowhere")
    before = [*FAMILIES], [*TARGETS], [*tools.TOOLS]
    for run in (
        lambda: main(["fit", "--target", "ecp5-25k"]),
        lambda: main(["cost", "--families", "ecp5"]),
        lambda: calibrate.main(["--family", "ecp5"]),
        lambda: compare.main(["."]),
    ):
        assert run() == 2
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1, error
    assert before == ([*FAMILIES], [*TARGETS], [*tools.TOOLS])


def test_families_of_the_house_have_what_the_page_asks_for():
    extra = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wheels = {re.match(r"[\w-]+", name)[0] for name in extra["optional-dependencies"]["fpga"]}
    table = (ROOT / "docs" / "fpga.md").read_text()
    assert list(FAMILIES) == ["ecp5", "ice40", "nexus", "gowin", "xilinx"]
    for name, family in FAMILIES.items():
        assert {tool.package for tool in family.tools} <= wheels, name
        measured = json.loads(family.model.read_text())["measured"]
        assert list(measured) == [calibrate.core_name(shape) for shape in family.shapes], name
        for target in family.targets():
            assert re.search(rf"^\|.*`{target.name}`", table, re.M), target.name


def test_generic_parts_name_no_family():
    """But for the one that the price list is about."""
    found = [
        (path.name, node.value)
        for path in (*ROOT.glob("gen/flow/*.py"), *ROOT.glob("gen/cost/*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and node.value in FAMILIES
    ]
    assert found == [("catalogue.py", "ecp5")]
