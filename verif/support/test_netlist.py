# amaranth: UnusedElaboratable=no
"""Gate level: the benches of the cores on what synthesis makes of them, and refused netlists."""

import dataclasses
import re
import subprocess
import sys

import pytest

from nibblegrad.gen.config import CORES
from nibblegrad.gen.emission.verilog import to_verilog
from nibblegrad.gen.flow.families import TARGETS
from nibblegrad.gen.flow.synthesis import synthesize
from nibblegrad.golden.errors import InputError
from verif.paths import ROOT
from verif.support import netlist as netlists
from verif.support.benches import bench_of, small
from verif.support.netlist import read_netlist

#: Small, as every LUT takes time: together they have all kinds of cells.
MODULES = {
    "quantizer": CORES["quantizer"].config(lanes=1),
    "shift_multiply_array": small(CORES["shift_multiply_array"].config()),
    "training_core": small(CORES["training_core"].config()),
}


def synthesized(name):
    """Synthesise one of MODULES for ECP5; returns the path of the netlist."""
    verilog = to_verilog(MODULES[name].build(), name)
    return synthesize(verilog, name, TARGETS["ecp5-85k"]).netlist


def bench_of_netlist(netlist):
    """Choose the bench of a netlist, with parameters."""
    return bench_of(netlist.module, f"netlist of {netlist.name}")


def test_given_netlist_matches_golden(sim, given_netlist):
    """The netlist of ``make test VERILOG=``, which no other option chooses."""
    sim(given_netlist, *bench_of_netlist(given_netlist))


@pytest.mark.slow
@pytest.mark.parametrize("name", MODULES)
def test_netlist_matches_golden(sim, name):
    netlist = read_netlist(synthesized(name), MODULES, "MODULES")
    bench, params = bench_of_netlist(netlist)
    # The longest test of the training core is left to `make test VERILOG=`.
    test = r"^(?!.*matches_golden)" if name == "training_core" else None
    sim(netlist, bench, params | {"exhaustive": False}, test)


@pytest.mark.slow
def test_one_bit_of_one_table_is_noticed(sim, tmp_path):
    # The lowest 1 of a table right before the codes and residuals: further up, and among what
    # counts events, it may stand for inputs that never come together, or not in this bench.
    text = synthesized("quantizer").read_text()
    last = r"\.INIT\(16'h(\w{4})\)\s*\) \\core\.lane_\d\.encoder\.(code|residual)\w*_DI_LUT4_Z\s"
    tables = {table[2]: table for table in re.finditer(last, text)}
    assert set(tables) == {"code", "residual"}
    for table in tables.values():
        wrong = f"{int(table[1], 16) & int(table[1], 16) - 1:04x}"
        path = tmp_path / "wrong.v"
        path.write_text(text[: table.start(1)] + wrong + text[table.end(1) :])
        netlist = read_netlist(path, MODULES, "MODULES")
        bench, params = bench_of_netlist(netlist)
        # That this bit matters is no matter of chance.
        with pytest.raises(AssertionError, match=r"[1-9] of \d+ tests failed"):
            sim(netlist, bench, params | {"exhaustive": False}, seed=1)


SMALLEST = {"gradient": CORES["step_gradient"].config(lanes=1)}


@pytest.fixture(scope="module")
def emitted():
    """The Verilog of the smallest module; what is no cell needs no model."""
    return to_verilog(SMALLEST["gradient"].build(), "gradient")


def refusal(tmp_path, text, modules=SMALLEST):
    """Read a netlist that is refused, and return what is said."""
    path = tmp_path / "netlist.v"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_netlist(path, modules, "some.toml")
    message = str(caught.value)
    assert str(path) in message and "\n" not in message
    return message.replace(str(path), "FILE")


def test_emitted_verilog_is_a_netlist_without_cells(tmp_path, emitted):
    path = tmp_path / "gradient.v"
    path.write_text(emitted)
    netlist = read_netlist(path, SMALLEST, "some.toml")
    assert (netlist.name, netlist.module) == ("gradient", SMALLEST["gradient"])
    assert netlist.verilog.startswith("module dut (") and emitted in netlist.verilog


def test_unknown_module(tmp_path, emitted):
    assert refusal(tmp_path, re.sub(r"\bgradient", "another", emitted)) == (
        "Netlist FILE holds another, and not one of the modules of some.toml: gradient; "
        "name its configuration with CONFIG="
    )


def test_no_module(tmp_path):
    assert refusal(tmp_path, "").startswith("Netlist FILE holds no module, and not one of")


def test_several_modules(tmp_path, emitted):
    text = emitted + "\nmodule another (input a);\nendmodule\n"
    assert refusal(tmp_path, text).startswith("Netlist FILE holds another and gradient, and")


def test_other_ports(tmp_path, emitted):
    modules = {"gradient": dataclasses.replace(SMALLEST["gradient"], lanes=2)}
    assert refusal(tmp_path, emitted, modules) == (
        "Netlist FILE: port s_axis_tdata of gradient is an input of 32 bits, but an input of "
        "64 bits in some.toml; name the configuration it was made of with CONFIG="
    )


def test_cell_without_a_model(tmp_path, emitted):
    text = emitted.replace("endmodule", "  SB_LUT4 #(\n  ) cell_1 (\n  );\nendmodule", 1)
    assert refusal(tmp_path, text) == (
        "Netlist FILE has cells without a model: SB_LUT4; there are models of ecp5 in verif/cells, "
        "a file for each cell"
    )


def test_models_are_those_of_the_family_with_most_of_the_cells(tmp_path, monkeypatch):
    for name in ("one/LUT", "one/CARRY", "other/LUT", "other/REGISTER"):
        path = tmp_path / f"{name}.v"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"// model {name}")
    monkeypatch.setattr(netlists, "CELLS", tmp_path)
    models = re.findall("model (.*)", netlists.with_cells("  LUT a (x); CARRY b (y);"))
    assert models == ["one/CARRY", "one/LUT"]
    models = re.findall("model (.*)", netlists.with_cells("  LUT a (x); REGISTER b (y);"))
    assert models == ["other/LUT", "other/REGISTER"]
    assert netlists.with_cells("assign LUTS = 1;") == "assign LUTS = 1;"


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--verilog=none.v"], "Cannot read netlist none.v: No such file or directory"),
        (["--verilog=none.v", "--config=none.toml"], "Cannot read configuration none.toml: "),
    ],
)
def test_refusal_ends_with_status_2(arguments, message):
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-n",
        "0",
        *arguments,
        "verif/support/test_netlist.py",
    ]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 2
    assert message in result.stderr and "Traceback" not in result.stderr
    assert "passed" not in result.stdout
