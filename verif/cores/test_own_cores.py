# amaranth: UnusedElaboratable=no
"""A core of somebody's own: a folder, and nothing else, and it is there like all the others."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from nibblegrad.gen import core_pages
from nibblegrad.gen.command_line import main
from nibblegrad.gen.config import DEFAULT, load, parse
from nibblegrad.gen.cores import CORES, with_folder
from nibblegrad.golden.errors import InputError
from verif.cores import test_core_contract
from verif.packaging.test_fusesoc import simulates
from verif.paths import ROOT
from verif.support.benches import bench_of
from verif.support.sim import run_tool

TOY = Path(__file__).resolve().parent / "toy_core"
CONFIGURATION = '[modules.adder]\ncore = "clipping_adder"\nbits = 5\nlanes = 2\n'


@pytest.fixture
def toy(tmp_path):
    """The folder of the toy core, where nothing else is."""
    return shutil.copytree(TOY, tmp_path / "toy", ignore=shutil.ignore_patterns("__pycache__"))


def plant(folder, file, right, wrong):
    """Put a fault into the toy core."""
    text = (folder / file).read_text()
    assert text.count(right) == 1, right
    (folder / file).write_text(text.replace(right, wrong))


def test_it_is_emitted_and_packaged(toy, tmp_path, capsys):
    path, output = tmp_path / "mine.toml", tmp_path / "out"
    path.write_text(CONFIGURATION)
    arguments = ["--cores", str(toy), "--config", str(path), "--output", str(output)]
    assert main(["verilog", *arguments]) == 0
    assert (
        "| [`adder`](adder.v) | clipping_adder | 3 | bits = 5, lanes = 2 |"
        in (output / "SUMMARY.md").read_text()
    )
    assert (output / "adder.v").read_text().startswith("// adder: clipping_adder of Nibblegrad")
    status, said = run_tool(["verilator", "--lint-only", "-Wall", "adder.v"], output)
    assert status == 0 and "%" not in said, said
    simulates(output, tmp_path, "adder")

    # As often as its sources stay the same, there is nothing to do.
    capsys.readouterr()
    assert main(["verilog", *arguments]) == 0
    assert "up to date" in capsys.readouterr().out
    plant(toy, "hardware.py", '"""Component of the toy core."""', '"""Another component."""')
    assert main(["verilog", *arguments]) == 0
    assert "up to date" not in capsys.readouterr().out


def test_it_is_built_once(toy, tmp_path, monkeypatch):
    component = with_folder(toy)["clipping_adder"].component
    made, make = [], component.__init__

    def count(self, *arguments, **options):
        made.append(options)
        make(self, *arguments, **options)

    monkeypatch.setattr(component, "__init__", count)
    path, output = tmp_path / "mine.toml", tmp_path / "out"
    path.write_text(CONFIGURATION)
    arguments = ["--cores", str(toy), "--config", str(path), "--output", str(output)]
    assert main(["verilog", *arguments]) == 0
    assert made == [{"bits": 5, "lanes": 2}]


def test_it_is_in_every_table(toy, capsys):
    cores = with_folder(toy)
    assert list(cores) == [*CORES, "clipping_adder"]
    text = core_pages.to_toml(cores)
    assert text.startswith(DEFAULT.read_text())
    assert text.endswith(
        "# Number plus a constant, clipped.\n"
        "[modules.clipping_adder]\n"
        'core = "clipping_adder"\n'
        "bits = 8                    # width of a number, 2 to 16\n"
        "lanes = 4                   # count of numbers in a beat, 1 to 64\n"
    )
    assert main(["verilog", "--cores", str(toy), "--example"]) == 0
    assert capsys.readouterr().out == text
    modules = parse(text, cores=cores)
    assert modules["clipping_adder"] == cores["clipping_adder"].config()
    handbook = (ROOT / "docs" / "cores.md").read_text() + (
        "## `clipping_adder`: a constant\n\n| `clipping_adder` | 12 | 3 | 45 | | 6 |\n"
    )
    page = core_pages.with_table((ROOT / "README.md").read_text(), cores, handbook)
    (row,) = re.findall(r"^\| \[`clipping_adder`\].*$", page, re.MULTILINE)
    assert row == (
        "| [`clipping_adder`](docs/cores.md#clipping_adder-a-constant) | number plus a constant, "
        "clipped | 3 | 12 | 3 | 45 | 0 |"
    )


def test_it_is_benched(sim, toy):
    module = with_folder(toy)["clipping_adder"].config(bits=5, lanes=3)
    bench, params = bench_of(module)
    assert bench == "stream_contract"
    sim(module.component, bench, params)


def contract(folder, *options):
    """Run the tests of every core on a folder, as somebody does who adds one."""
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider"]
    result = subprocess.run(
        [*command, f"--cores={folder}", "verif/cores/test_core_contract.py", *options],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    return result.returncode, result.stdout + result.stderr


def test_it_keeps_the_contract_of_every_core(toy):
    status, said = contract(toy)
    assert status == 0 and re.search(r"^5 passed", said, re.MULTILINE), said
    assert "contract of clipping_adder: 160 vectors matched" in said


#: What faults are made of, behind the component.
PARTS = '''
from amaranth import Signal, Value
from amaranth.lib.memory import Memory


class Flickering(Outlet):
    """Changes its payload while it waits."""

    def elaborate(self, platform):
        m = super().elaborate(platform)
        m.d.comb += Value.cast(self.o.payload)[0].eq(self.o.ready)
        return m


def now_and_then(m):
    """Whether a beat may enter: not in every 64th cycle."""
    cycle = Signal(6)
    m.d.sync += cycle.eq(cycle + 1)
    return ~cycle.all()


def left_behind(m, i):
    """Whether a reset came in mid-tensor, at the first beat after it."""
    inside, first = Signal(reset_less=True), Signal(init=1)
    with m.If(i.valid & i.ready):
        m.d.sync += [inside.eq(~i.p.last), first.eq(0)]
    return inside & first


def never_written(m):
    m.submodules += (memory := Memory(shape=8, depth=2, init=[]))
    write, read = memory.write_port(), memory.read_port()
    m.d.comb += [write.addr.eq(1), write.en.eq(1), read.en.eq(1)]
    return read.data.any()


def never_set(m):
    kept = Signal(8, reset_less=True)
    m.d.sync += kept.eq(kept)
    return kept.any()
'''
CONNECT = "connect_outlet(m, self, outlet, 1)"
SUM = "self.i.p.data[lane] + self.addend"
OUTLET = "outlet = Outlet(self.o.p.shape(), 1)"

#: Faults of the hardware: what is right there, what is wrong, and what the contract says.
FAULTS = {
    "one sum": (SUM, f"{SUM} + (self.i.p.data[lane] > 100)", "m_axis_tdata: element"),
    "one end": ("last.eq(last[-1])", "last.eq(0)", "m_axis_tlast: element"),
    "counts": ("Cat(clipped)", "Cat(clipped[:-1])", "saturation_count is"),
    "latency": ("latency = 1 +", "latency = 2 +", "latency 3, not 4"),
    "pace": (
        CONNECT,
        CONNECT.replace("1)", "1, now_and_then(m))"),
        "cycles for 256 beats",
    ),
    "reset": (SUM, f"{SUM} + left_behind(m, self.i)", "recovers_from_reset_in_mid_stream"),
    "rules": (OUTLET, OUTLET.replace("Outlet(", "Flickering("), "payload changed before"),
    "memory": (SUM, f"{SUM} + never_written(m)", "m_axis_tdata: element"),
    "register": (SUM, f"{SUM} + never_set(m)", "m_axis_tdata: element"),
}
QUICK = ("latency", "reset", "memory")


@pytest.mark.parametrize(
    "fault", [pytest.param(f, marks=[] if f in QUICK else [pytest.mark.slow]) for f in FAULTS]
)
def test_no_fault_is_overlooked(sim, toy, fault):
    right, wrong, said = FAULTS[fault]
    plant(toy, "hardware.py", right, wrong)
    with open(toy / "hardware.py", "a") as file:
        file.write(PARTS)
    module = with_folder(toy)["clipping_adder"].config(lanes=2)
    with pytest.raises(AssertionError, match=said):
        sim(module.component, *bench_of(module))


def test_ready_that_follows_another_port_is_not_overlooked(request, toy):
    plant(toy, "hardware.py", CONNECT, CONNECT.replace("1)", "1, self.o.ready)"))
    module = with_folder(toy)["clipping_adder"].config()
    with pytest.raises(AssertionError):
        test_core_contract.test_streams_answer_from_registers(request, module)


@pytest.mark.parametrize("right, wrong", [("2, 16)", "2, 17)"), ("2, 16)", "3, 16)")])
def test_another_range_is_not_overlooked(toy, right, wrong):
    plant(toy, "hardware.py", right, wrong)
    with pytest.raises(AssertionError, match=r"bits = (17: taken|2: Width must be 3 to 16)"):
        test_core_contract.test_ranges_are_those_of_the_docstring(
            with_folder(toy)["clipping_adder"]
        )


def refusal(folder):
    """Give the sentence by which a folder is refused, with FOLDER for its path."""
    with pytest.raises(InputError) as caught:
        _ = [core.keys for core in with_folder(folder).values()]
    assert "\n" not in str(caught.value)
    return str(caught.value).replace(str(folder), "FOLDER")


@pytest.mark.parametrize(
    "file, right, wrong, said",
    [
        ("clipping_adder.py", "CORE = ", "OTHER = ", "FOLDER holds no core; a module there must "
         "say CORE = Core(...)"),
        ("clipping_adder.py", "CORE = Core(", "CORE = Core((", "FOLDER/clipping_adder.py cannot "
         "be imported, by SyntaxError: "),
        ("clipping_adder.py", "from .model", "from .nothing",
         "FOLDER/clipping_adder.py cannot be imported, by ModuleNotFoundError: No module named "),
        ("clipping_adder.py", 'CORE = Core("clipping_adder", ', 'CORE = str("", ',
         "FOLDER/clipping_adder.py cannot be imported, by TypeError: "),
        ("clipping_adder.py", '"clipping_adder"', '"quantizer"', "FOLDER/clipping_adder.py: there "
         "is a core 'quantizer' already; rename this one"),
        ("clipping_adder.py", '"clipping_adder"', '"Adder 1"', "FOLDER/clipping_adder.py: Core "
         "'Adder 1' must have a name of small letters, digits and _"),
        ("clipping_adder.py", ", runs=runs)", ")", "FOLDER/clipping_adder.py: Core "
         "'clipping_adder' needs either runs or a program"),
        ("clipping_adder.py", "runs=runs)", 'runs=runs, notes={"lane": "x"})',
         "FOLDER/clipping_adder.py: Core 'clipping_adder' has notes for 'lane', which is no "
         "parameter; its parameters are bits, lanes"),
        ("hardware.py", "bits=8, lanes=4", "bits, lanes=4", "FOLDER/clipping_adder.py: Core "
         "'clipping_adder': parameter bits has no default, which no configuration can write; give "
         "one in defaults, and choices where it is no integer"),
        ("hardware.py", "bits=8, lanes=4", "bits=8.5, lanes=4", "FOLDER/clipping_adder.py: Core "
         "'clipping_adder': parameter bits has default 8.5, which no configuration can write; "
         "give one in defaults, and choices where it is no integer"),
        ("hardware.py", "    bits : int\n        Width of a number, 2 to 16.\n", "",
         "Core 'clipping_adder': nothing is said of bits; describe it in the docstring of the "
         "component, under Parameters"),
    ],
)  # fmt: skip
def test_a_wrong_folder_is_refused(toy, file, right, wrong, said):
    plant(toy, file, right, wrong)
    assert refusal(toy).startswith(said)


def test_no_core_but_something_else_is_refused(toy):
    (toy / "other.py").write_text("CORE = 5\n")
    assert refusal(toy) == "FOLDER/other.py: CORE must be a nibblegrad.gen.core.Core, not 5"


def test_no_folder_is_refused(tmp_path, capsys):
    missing = tmp_path / "none"
    assert main(["verilog", "--cores", str(missing), "--output", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err == (
        f"nibblegrad verilog: error: There is no folder {missing}; name one that holds cores\n"
    )
    status, said = contract(missing)
    assert status == 2 and f"There is no folder {missing}" in said and "passed" not in said


def test_without_its_folder_it_is_not_there():
    with pytest.raises(InputError, match="core must not be 'clipping_adder'; choose from quan"):
        parse(CONFIGURATION)
    assert load(DEFAULT).keys() == {name for core in CORES.values() for name in core.samples}
