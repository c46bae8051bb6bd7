"""The examples in docs/examples that put a core into a design of LiteX or Amaranth."""

import importlib.util
import json
import re
import sys

import numpy as np
import pytest

from nibblegrad.golden.cores.quantizer import quantize
from nibblegrad.golden.cores.stochastic_rounder import round_float
from nibblegrad.golden.engine.registers import REGISTERS
from nibblegrad.golden.numbers.formats import BFLOAT16, IntFormat, Scale
from verif.paths import ROOT
from verif.support.sim import run_tool

EXAMPLES = ROOT / "docs" / "examples"


def run_example(name, where, *arguments):
    status, said = run_tool([sys.executable, EXAMPLES / f"{name}.py", *arguments], where)
    assert status == 0, said
    return said


def elaborate(where, top, *files):
    """Elaborate a design with Verilator; returns its warnings but those of style."""
    # The warnings are for the caller to judge: much of this Verilog comes from LiteX.
    command = ["verilator", "--lint-only", "-Wall", "-Wno-fatal", "--top-module", top]
    status, said = run_tool([*command, *files], where)
    assert status == 0, said
    return said


def test_litex_soc(folder, tmp_path):
    run_example("litex_training_core", tmp_path, folder / "training_core.v", tmp_path / "soc")
    gateware = tmp_path / "soc" / "gateware"
    said = elaborate(gateware, "soc", "soc.v", folder / "training_core.v")
    for fault in ("PINMISSING", "PINCONNECTEMPTY", "MULTIDRIVEN", "UNDRIVEN", "%Error"):
        assert fault not in said, said
    # A port of another width would be cut or filled up.
    assert "pin connection" not in said, said
    map_of_soc = json.loads((tmp_path / "soc" / "csr.json").read_text())
    region = map_of_soc["memories"]["training_core"]
    assert region["size"] > REGISTERS[-1].offset and region["type"] == "io"
    assert {"training_core_ev_pending", "load_dma_base", "result_dma_base"} <= set(
        map_of_soc["csr_registers"]
    )
    # The script that builds it takes the core along.
    assert "training_core.v" in (gateware / "soc.ys").read_text()


def test_litex_soc_needs_the_core(folder, tmp_path):
    # That elaboration fails without the core shows that it is there with it.
    run_example("litex_training_core", tmp_path, folder / "training_core.v", tmp_path / "soc")
    with pytest.raises(AssertionError, match="training_core"):
        elaborate(tmp_path / "soc" / "gateware", "soc", "soc.v")


def test_amaranth_instance(folder, tmp_path):
    run_example("amaranth_instance", tmp_path, folder / "quantizer.v", tmp_path)
    said = elaborate(tmp_path, "design", "design.v", folder / "quantizer.v")
    assert "pin connection" not in said and "%Error" not in said, said
    missing = re.findall(r"missing pin: '(\w+)'", said)
    # The counts that the example does not look at.
    assert all(name.endswith(("_count", "_seen")) for name in missing), missing


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_amaranth_component_matches_golden():
    path = EXAMPLES / "amaranth_component.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    rng = np.random.default_rng(1)
    numbers = round_float(rng.normal(size=(40, example.LANES)) * 4, BFLOAT16).values
    reciprocal = Scale.from_float(1.7)
    fmt = IntFormat(example.BITS, signed=False)
    golden = quantize(np.maximum(numbers, 0.0), reciprocal, fmt)
    codes = example.simulate(numbers, reciprocal)
    assert (codes == golden.codes).all()
    # The tensor tries what there is: ReLU, both ends of the codes.
    assert (numbers < 0).any() and golden.codes.min() == 0 and golden.codes.max() == fmt.greatest
