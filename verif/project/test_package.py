"""One name: what is installed is `nibblegrad`, whole, and nothing else."""

import doctest
import inspect
import subprocess
import sys
import zipfile

import pytest

import nibblegrad
from nibblegrad.gen.command_line import COMMANDS
from verif.paths import ROOT

TRAINING_STEP = """
import numpy as np
import nibblegrad as ng

rows = np.random.default_rng(1).normal(size=(40, 6)).astype(np.float32)
labels = (rows[:, 0] > 0).astype(np.int64)
dataset = ng.Dataset(rows[:32], labels[:32], rows[32:], labels[32:], 2, own_units=True)
settings = ng.Settings(hidden=(8,), batch=16, epochs=1)
backends = ng.NumpyBackend(seed=3), ng.DeviceBackend(ng.TrainingCore(ng.CoreSize()), seed=3)
runs = [ng.Trainer(ng.RECIPES["luq"], dataset, settings, 3, backend) for backend in backends]
before = runs[0].parameters()
for run in runs:
    run.step(next(run.batches()))
first, second = (run.parameters() for run in runs)
assert all((first[name] == second[name]).all() for name in first)
assert any((first[name] != before[name]).any() for name in first)
print("stepped")
"""


def test_the_face_is_whole():
    """Every name of it is there once, in order, documented, and public where it comes from."""
    public = nibblegrad.__all__
    assert sorted(set(public), key=public.index) == public
    for name in public:
        value = getattr(nibblegrad, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert inspect.getdoc(value), name
            assert value.__name__ in sys.modules[value.__module__].__all__, name


def test_the_example_is_true():
    assert doctest.testmod(nibblegrad, raise_on_error=True).attempted == 4


def test_both_ways_in_are_the_same():
    said = [
        subprocess.run([*way, "--help"], capture_output=True, text=True, check=True, cwd=ROOT)
        for way in ([sys.executable, "-m", "nibblegrad"], [f"{sys.prefix}/bin/nibblegrad"])
    ]
    assert said[0].stdout == said[1].stdout
    assert all(command in said[0].stdout for command in COMMANDS)


@pytest.mark.slow
def test_the_wheel_stands_alone(tmp_path):
    """Installed where nothing else is, and used beside folders of the names of our folders."""

    def run(*command):
        result = subprocess.run(
            [str(word) for word in command], cwd=desk, capture_output=True, text=True
        )
        assert result.returncode == 0, f"{command}\n{result.stdout[-2000:]}{result.stderr[-4000:]}"
        return result.stdout

    desk = tmp_path / "desk"
    for name in ("golden", "hdl", "gen"):
        (desk / name).mkdir(parents=True)
        (desk / name / "__init__.py").write_text("raise ImportError('somebody else is here')\n")
    run(sys.executable, "-m", "build", "--outdir", tmp_path / "dist", ROOT)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    assert len(list((tmp_path / "dist").glob("*.tar.gz"))) == 1
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"nibblegrad"}
    ours = {path.relative_to(ROOT).as_posix() for part in PARTS for path in part.rglob("*.py")}
    assert {f"nibblegrad/{name}" for name in ours} <= set(names)

    run(sys.executable, "-m", "venv", tmp_path / "empty")
    python, program = tmp_path / "empty/bin/python", tmp_path / "empty/bin/nibblegrad"
    run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", wheel)
    for command in COMMANDS:
        assert "usage: nibblegrad" in run(program, command, "--help")
    run(program, "verilog", "--output", "out")
    assert (desk / "out" / "training_core.v").read_text().startswith("// training_core: ")
    assert "ecp5-25k" in run(program, "fit", "--target", "ecp5-25k")
    assert "cycles" in run(python, "-m", "nibblegrad", "cycles")
    assert run(python, "-c", TRAINING_STEP) == "stepped\n"


PARTS = [ROOT / name for name in ("golden", "hdl", "gen")]
