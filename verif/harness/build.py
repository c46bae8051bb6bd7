"""Building the shared library that runs the Verilog of a core at full speed."""

import dataclasses
import functools
import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path

from nibblegrad.gen.emission.verilog import to_verilog
from nibblegrad.gen.outputs import write_if_changed
from nibblegrad.gen.sources import ROOT, digest, sources
from nibblegrad.golden.errors import InputError
from nibblegrad.hdl.array.structures import PLAIN
from nibblegrad.hdl.base.contracts import checked
from nibblegrad.hdl.engine.training_core import TrainingCore
from verif.support.netlist import with_cells
from verif.support.sim import BUILD as SIM_BUILD
from verif.support.sim import locked, set_up_tools

__all__ = ["BUILD", "build_core", "build_library"]

BUILD = ROOT / "build" / "harness"
SOURCES = [Path(__file__).with_name(name) for name in ("harness.cpp", "driver.h", "harness.h")]

VERILATOR_ARGS = [
    "--cc",
    "--exe",
    "--build",
    "-j",
    "1",
    "-O3",
    "--x-assign",
    "fast",
    "--x-initial",
    "fast",
    "--assert",  # what parts promise each other
    "--no-public-flat-rw",
    "--public-depth",
    "1",
    # Warnings of the Verilog are for the lint of the generator's tests, not for every build.
    "-Wno-fatal",
    # One C++ file: with several, the wheel's makefile trips over its precompiled header.
    "--output-split",
    "0",
]


def build_core(size, optimize=2, structure=PLAIN):
    """Build the library of a training core; see :func:`build_library`.

    The Verilog is made anew only when the parameters or the sources of the generator change.

    Parameters
    ----------
    size : CoreSize
        Parameters of the core.
    optimize : int
        Level of optimisation of the C++ compiler: 1 compiles faster, 2 runs faster.
    structure : Structure
        What the array is built of.

    Raises
    ------
    InputError
        If a tool is missing.
    """
    key = _digest(_generator(), repr(dataclasses.asdict(size)), structure.name)
    path = BUILD / "verilog" / f"{key}.v"
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path.with_suffix(".lock")):
        if not path.exists():
            with checked():
                verilog = to_verilog(TrainingCore(size, structure), "dut")
            write_if_changed(path, with_cells(verilog))
    return build_library(path.read_text(), optimize)


def build_library(verilog, optimize=2):
    """Build the harness around a module ``dut``, unless that was done before.

    Parameters
    ----------
    verilog : str
        Text of the module, with the ports of the training core.
    optimize : int
        Level of optimisation of the C++ compiler: 1 compiles faster, 2 runs faster.

    Returns
    -------
    Path
        The shared library.

    Raises
    ------
    InputError
        If a tool is missing.
    """
    for tool in ("g++", "make", "perl"):
        if shutil.which(tool) is None:
            raise InputError(f"{tool} is not on the PATH; install it, such as `apt install {tool}`")
    os.environ.setdefault("CCACHE_DIR", str(SIM_BUILD / "ccache"))
    version = set_up_tools()
    flags = [f"-O{optimize}", "-march=native"] if optimize > 1 else [f"-O{optimize}"]
    defines = [
        f"-DBEAT_BYTES={_port_bytes(verilog, 's_axis_tdata')}",
        f"-DSTRIP_BYTES={_port_bytes(verilog, 'm_axis_tdata')}",
    ]
    arguments = [
        *VERILATOR_ARGS,
        "-CFLAGS",
        " ".join([*flags, *defines, "-fPIC", "-std=c++20", "-DVL_USER_STOP"]),
        "-LDFLAGS",
        "-shared",
    ]
    sources = [path.read_text() for path in SOURCES]
    digest = _digest(verilog, version, _machine(), *arguments, *sources)
    folder = BUILD / digest[:16]
    library = folder / "libdut.so"
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / "lock"):
        if not library.exists():
            write_if_changed(folder / "dut.v", verilog)
            _run_verilator(folder, arguments)
            # What is in the library is not needed any more.
            (folder / "obj" / "libdut.so").replace(library)
            shutil.rmtree(folder / "obj")
    return library


def _run_verilator(folder, arguments):
    with open(folder / "build.log", "w") as log:
        command = [
            *("verilator", *arguments, "--top-module", "dut", "--prefix", "Vdut"),
            *("--Mdir", "obj", "-o", "libdut.so", "dut.v", str(SOURCES[0])),
        ]
        print(" ".join(command), file=log, flush=True)
        done = subprocess.run(command, cwd=folder, stdout=log, stderr=subprocess.STDOUT)
    assert done.returncode == 0, f"the library was not built, see {folder / 'build.log'}"


def _port_bytes(verilog, port):
    """Find the bytes of a port in the first module, the top."""
    top = re.search(rf"^  (?:input|output) \[(\d+):0\] {port} ?;", verilog, re.MULTILINE)
    if top is None:
        raise InputError(f"The Verilog has no port {port}; give a module with the core's ports")
    return (int(top[1]) + 1) // 8


@functools.cache
def _generator(root=ROOT):
    """Digest what the text of a core's Verilog depends on."""
    return digest(sources(root=root), root)


@functools.cache
def _machine():
    """Name the compiler and the processor that it compiles for."""
    command = ["g++", "-march=native", "-Q", "--help=target", "--version"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _digest(*parts):
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
