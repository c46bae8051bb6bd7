# amaranth: UnusedElaboratable=no
"""Every latency that the handbook, an example or a docstring states is that of the component."""

import importlib
import inspect
import math
import pkgutil
import re

import pytest

from nibblegrad import hdl
from nibblegrad.golden.engine.command import CoreSize
from nibblegrad.golden.numbers.formats import Fp4Format
from nibblegrad.hdl.array.structures import PIPELINED, PLAIN, STRUCTURES
from nibblegrad.hdl.base.event_counters import EventCounters
from nibblegrad.hdl.cores.fp4_quantizer import Fp4Quantizer
from nibblegrad.hdl.cores.quantizer import Quantizer
from nibblegrad.hdl.cores.scale_multiplier import ScaleMultiplier
from nibblegrad.hdl.cores.shift_multiply_array import ShiftMultiplyArray
from nibblegrad.hdl.cores.step_gradient import StepGradient
from nibblegrad.hdl.cores.stochastic_rounder import FixedRounder, FloatRounder
from nibblegrad.hdl.engine.axi_lite import AxiLiteRegisters
from nibblegrad.hdl.engine.command_queue import CommandQueue
from nibblegrad.hdl.engine.training_engine import TrainingEngine
from verif.paths import ROOT

DOCS = ROOT / "docs"
CORES = (DOCS / "cores.md").read_text()


def section(name):
    """Text of a core's section of the handbook, in one line."""
    (text,) = re.findall(rf"^## `{name}`.*?(?=^## |\Z)", CORES, re.M | re.S)
    return " ".join(text.split())


def formula(text):
    """Read a formula in lanes: ``9 + ceil(log2(lanes))``, or without ceil."""
    constant = re.fullmatch(r"(\d+) \+ (?:ceil\()?log2\(lanes\)\)?", text)
    return lambda lanes: int(constant[1]) + math.ceil(math.log2(lanes))


@pytest.mark.parametrize(
    ("core", "components"),
    [
        ("quantizer", [Quantizer]),
        ("stochastic_rounder", [FloatRounder, FixedRounder]),
        ("fp4_quantizer", [Fp4Quantizer]),
        ("scale_multiplier", [ScaleMultiplier]),
    ],
)
def test_latencies_of_the_handbook(core, components):
    (stated,) = re.findall(r"Latency ([\d and]+), one beat per cycle", section(core))
    assert [int(number) for number in stated.split(" and ")] == [c.latency for c in components]


def test_latency_of_step_gradients():
    (stated,) = re.findall(
        r"Latency from a beat to `total`: (.+?) cycles", section("step_gradient")
    )
    for lanes in (1, 2, 3, 4, 8, 64):
        assert StepGradient(lanes=lanes).latency == formula(stated)(lanes)


def array(fmt, lanes, structure):
    return ShiftMultiplyArray(fmt, lanes=lanes, structure=structure)


def engine(fmt, lanes, structure):
    return TrainingEngine(CoreSize(fmt=fmt, lanes=lanes), structure)


@pytest.mark.parametrize(
    ("core", "make"), [("shift_multiply_array", array), ("training_core", engine)]
)
def test_latency_of_arrays_in_every_structure(core, make):
    pattern = (
        r"Latency,? from the last beat of .*?: (\d+ \+ \S+) cycles.*? in the structures "
        r"`pipelined` and `ecp5`.*? (\d) cycles more, (\d) in radix 4"
    )
    ((plain, more, more_radix4),) = re.findall(pattern, section(core))
    for lanes in (2, 4, 8, 16, 64):
        for log2_radix, extra in ((1, int(more)), (2, int(more_radix4))):
            fmt, expected = Fp4Format(log2_radix), formula(plain)(lanes)
            assert make(fmt, lanes, PLAIN).latency == expected
            for structure in (PIPELINED, STRUCTURES["ecp5"]):
                assert make(fmt, lanes, structure).latency == expected + extra


def test_latencies_of_parts_in_the_handbook():
    common = " ".join(CORES.split())
    assert (
        f"{('one', 'two', 'three')[EventCounters.latency - 1]} cycles later in the port" in common
    )
    text = " ".join((DOCS / "training_core.md").read_text().split())
    (cycles,) = re.findall(r"A command is checked within (\d+) cycles", text)
    assert CommandQueue(CoreSize()).latency == int(cycles)
    text = " ".join((DOCS / "decisions/0014-timing-of-the-training-core.md").read_text().split())
    (cycles,) = re.findall(r"A write to a register .*? (\d+) cycles after it came", text)
    assert AxiLiteRegisters.latency == int(cycles)


def test_latencies_of_examples():
    stated = {}
    for path in sorted((DOCS / "examples").iterdir()):
        if path.is_file() and (found := re.findall(r"(\d+) cycles", path.read_text())):
            stated[path.name] = [int(number) for number in found]
    # One that is new here must be held against its component, too.
    assert stated == {"amaranth_component.py": [Quantizer.latency]}


def test_pages_with_latencies_are_known():
    """A page that says a latency, and is none of those above, would be believed unchecked."""
    pages = {
        path.name
        for path in [DOCS.parent / "README.md", *DOCS.glob("*.md")]
        if re.search(r"[Ll]atency,? (?:[^.:]*: )?\d", " ".join(path.read_text().split()))
    }
    assert pages == {"cores.md"}


def components():
    for info in pkgutil.walk_packages(hdl.__path__, "nibblegrad.hdl."):
        module = importlib.import_module(info.name)
        for name in getattr(module, "__all__", ()):
            value = getattr(module, name)
            if inspect.isclass(value) and isinstance(getattr(value, "latency", None), int):
                yield name, value


def test_latencies_of_docstrings():
    checked = set()
    for name, component in components():
        text = " ".join(component.__doc__.split())
        stated = re.findall(r"[Ll]atency (?:[^.]*? )?is (\d+)", text)
        assert {int(number) for number in stated} <= {component.latency}, name
        checked |= {name} if stated else set()
    assert {"Quantizer", "Fp4Quantizer", "FloatRounder", "ResultPipeline", "Outlet"} <= checked
