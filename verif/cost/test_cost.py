# amaranth: UnusedElaboratable=no
"""The price list: its catalogue, what it makes of figures, and what it refuses."""

import csv
import io

import pytest

from nibblegrad.gen.command_line import main
from nibblegrad.gen.cost import chart, measure, report
from nibblegrad.gen.cost.catalogue import DESIGNS, FORMATS, LANES, designs_for
from nibblegrad.gen.cost.cells import find_liberty, nand_area
from nibblegrad.gen.cost.measure import Figures, Job
from nibblegrad.gen.flow import tools
from nibblegrad.gen.outputs import MANIFEST

BY_NAME = {design.name: design for design in DESIGNS}


def figures(name, use="ecp5", **values):
    return Figures(BY_NAME[name], use, **values)


CANNED = [
    figures("digits_ecp5", luts=640, frequencies=(250.0, 260.0, 240.0), array_luts=2304),
    figures("digits_pipelined", luts=704, frequencies=(260.0,)),
    figures("dual_carry", luts=1120, frequencies=(250.0,)),
    figures("int8_digits", luts=1600, frequencies=(200.0,)),
    figures("fp4_pipelined", "xilinx", luts=500),
    figures("fp4_compact", "cells", area=14000.0, gates=3730.0, registers=0.33),
]


def test_every_design_can_be_made_and_has_the_lanes():
    assert len(BY_NAME) == len(DESIGNS)
    assert {design.format for design in DESIGNS} == set(FORMATS)
    for design in DESIGNS:
        unit = design.make()
        assert unit.a.shape().length == unit.b.shape().length == LANES, design.name


@pytest.mark.parametrize("use", ["ecp5", "ice40", "nexus", "gowin", "xilinx", "cells"])
def test_every_use_has_the_multiplier_that_fp4_is_compared_with(use):
    formats = {design.format for design in designs_for(use)}
    assert {"fp4", "digits", "dual", "int4", "int4_int8", "int8", "e2m1", "hybrid_fp8"} <= formats


def test_primitives_stay_with_their_family():
    for use in ("ice40", "nexus", "gowin", "xilinx", "cells"):
        assert not any("ecp5" in d.structure or "carry" in d.structure for d in designs_for(use))


def test_jobs():
    todo = measure.jobs(["ecp5", "xilinx"], None, 4000, 3)
    seeds = [job.seed for job in todo if job.design == "fp4_ecp5"]
    assert seeds == [1, 2, 3]
    arrays = measure.array_jobs(report.best_of(CANNED, "ecp5").values())
    assert Job("digits_ecp5", "ecp5", array=True) in arrays and len(arrays) == 3
    assert [job.seed for job in todo if job.use == "xilinx" and job.design == "int8_digits"] == [0]


def test_best_is_most_work_per_lut():
    best = report.best_of(CANNED, "ecp5")
    assert best["digits"].design.structure == "ecp5"
    # 250 MHz * 16 lanes / 640 LUTs
    assert best["digits"].macs_per_lut == pytest.approx(6.25)
    assert best["digits"].megahertz == 250.0


def test_training_step_is_passes_times_area_by_frequency():
    steps = {name: (passes, cost) for name, passes, _, cost in report.training_steps(CANNED)}
    # In the array, where it was counted: 2304 LUTs in 64 lanes.
    assert steps["digits"] == (4, pytest.approx(4 * 36 / 250))
    assert steps["dual"] == (3, pytest.approx(3 * 70 / 250))
    assert steps["int8"] == (3, pytest.approx(3 * 100 / 200))


def test_tables_say_what_was_measured(tmp_path):
    text = report.markdown(CANNED, ["Yosys 0.70"], "cells.lib, 4 ns")
    assert "| FP4 radix 2 or INT4 by digits x 5-bit integer | ecp5 | 40.0 |" in text
    assert "| shifter and multiplier | 3 |" not in text
    assert "one pass each" in text and "1.46" in text  # (3 * 70) / (4 * 36)
    assert "`7f8ec414`" in text and "FINN puts four INT4" in text
    rows = list(csv.DictReader(io.StringIO(report.comma_separated(CANNED))))
    assert rows[0]["luts_per_mac"] == "40.0" and rows[0]["seeds"] == "240.0 250.0 260.0"
    assert len(rows) == len(CANNED)
    path = tmp_path / "chart.svg"
    chart.save(CANNED, path)
    first = path.read_bytes()
    chart.save(CANNED, path)
    assert first == path.read_bytes()
    assert b"FP4" in first or b"svg" in first


def test_chart_is_drawn_again_without_measuring(tmp_path, capsys):
    source, output = tmp_path / "price_list.csv", tmp_path / "out"
    source.write_text(report.comma_separated(CANNED))
    assert main(["cost", "--redraw", str(source), "--output", str(output)]) == 0
    names = sorted(path.name for path in output.iterdir())
    assert names == [MANIFEST, "price_list.png", "price_list.svg"]
    chart.save(CANNED, tmp_path / "chart.svg")
    assert (output / "price_list.svg").read_bytes() == (tmp_path / "chart.svg").read_bytes()
    assert capsys.readouterr().out.count("written") == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read: No such file or directory"),
        (b"\x89PNG\r\n\xff", "is no text; name the price_list.csv of `nibblegrad cost`"),
        (b"", "has no line for ecp5, which the chart is about"),
        (b"a,b\n1,2\n", "line 2 is none of a price list of this release"),
        (b"use\n" + 200_000 * b"x", "line 2 is none of a price list of this release"),
        ("infinite", "line 2 is none of a price list of this release"),
        ("no luts", "line 2 is none of a price list of this release"),
        ("cut off", "line 7 is none of a price list of this release"),
        ("unknown", "line 4 is none of a price list of this release"),
        ("xilinx", "has no line for ecp5, which the chart is about"),
    ],
)
def test_what_is_no_price_list_is_refused(tmp_path, capsys, content, message):
    source, output = tmp_path / "prices.csv", tmp_path / "out"
    text = report.comma_separated(CANNED)
    changed = {
        "infinite": text.replace("260.0", "inf"),
        "no luts": text.replace(",640,", ",many,"),
        "cut off": text[: text.rindex("cells") + 20],
        "unknown": text.replace("dual,carry", "dual,magic"),
        "xilinx": text.replace("\necp5,", "\nxilinx,"),
    }
    content = changed.get(content, content)
    if content is not None:
        source.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert main(["cost", "--redraw", str(source), "--output", str(output)]) == 2
    error = capsys.readouterr().err
    assert f"Price list {source}" in error and message in error and error.count("\n") == 1, error
    assert not output.exists()


LIBRARY = """library (tiny) {
  cell (AND2X1) { area : 5.0; }
  cell ("NAND2X1") { area : 2.5; pin (A) { direction : input; } }
  cell (NAND2BX1) { area : 1.0; }
  cell (NAND2X2) { area : 4.0; }
}"""


def test_gates_are_counted_by_the_smallest_nand():
    assert nand_area(LIBRARY) == 2.5


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--families", "ecp6"], "Unknown family 'ecp6'; choose from ecp5, ice40, "),
        (["--seeds", "4"], "--seeds must be 1 to 3, not 4"),
        (["--jobs", "0"], "--jobs must be 1 to 256, not 0"),
        (["--liberty", "none.lib"], "Liberty file none.lib is not there; name one with LIBERTY="),
    ],
)
def test_bad_arguments(capsys, tmp_path, arguments, message):
    assert main(["cost", "--output", str(tmp_path / "out"), *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"nibblegrad cost: error: {message}"), error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_bad_liberty(tmp_path):
    path = tmp_path / "text.lib"
    path.write_text("nothing")
    with pytest.raises(tools.InputError, match=r"text\.lib is no Liberty file"):
        find_liberty(str(path))


@pytest.mark.slow
def test_structures_keep_what_they_promise(tmp_path):
    """The lanes of the README: LUT4 per MAC on ECP5, by Yosys alone."""
    from nibblegrad.gen.emission.verilog import to_verilog
    from nibblegrad.gen.flow.families import TARGETS
    from nibblegrad.gen.flow.synthesis import synthesize

    def luts(name):
        verilog = to_verilog(BY_NAME[name].make(), "unit")
        return synthesize(verilog, "unit", TARGETS["ecp5-25k"], multipliers=False).luts / LANES

    assert luts("fp4_ecp5") < 34
    assert luts("fp4_5_ecp5") < 38
    assert luts("fp4_pipelined") <= 38.5
    assert luts("int4_carry") < 32
