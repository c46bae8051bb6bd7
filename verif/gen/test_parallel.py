"""Signals that come at the worst time: nothing hangs, and no tool is left behind.

Python runs the handler of a signal in the main thread, between two steps of it. A signal that
another thread takes does not wake the main thread, just like one that comes when the main thread is
about to wait; but it can be sent at a chosen time.
"""

import contextlib
import fcntl
import os
import signal
import subprocess
import threading
import time
from concurrent.futures.process import BrokenProcessPool

import pytest

from nibblegrad.gen.cost import measure as cost
from nibblegrad.gen.flow import cache, parallel, tools
from nibblegrad.gen.interrupts import put_off
from nibblegrad.gen.robust import measure as robust
from nibblegrad.gen.robust.cases import CASES
from verif.support.running import are_gone

#: Seconds that work takes if nothing ends it; much less is all that an interrupt may take.
LONG = 60


@pytest.fixture(autouse=True)
def interruptible():
    """Be interrupted by SIGINT, also where the tests run in the background of a shell."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def tool(tmp_path, monkeypatch):
    """Make a tool that runs for long, and return the folder to run it in and who has run."""
    program, pids = tmp_path / "yosys", tmp_path / "pids"
    program.write_text(f"#!/bin/sh\necho $$ >> {pids}\nexec sleep {LONG}\n")
    program.chmod(0o755)
    monkeypatch.setenv("YOSYS", str(program))
    return tmp_path, lambda: pids.read_text().split() if pids.exists() else []


@contextlib.contextmanager
def unnoticed_interrupt(is_time):
    """Interrupt this process in a way that wakes nobody, half a second after it is time."""

    def interrupt():
        while not is_time():
            time.sleep(0.01)
        time.sleep(0.5)
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        yield
    assert time.monotonic() - begin < LONG / 2
    thread.join()


def test_an_unnoticed_interrupt_ends_threads(tool):
    folder, pids = tool
    with unnoticed_interrupt(lambda: len(pids()) == 2):
        parallel.at_once(lambda log: tools.run("yosys", [], folder, log), ["a.log", "b.log"])
    assert are_gone(pids(), LONG / 2)


def test_an_unnoticed_interrupt_ends_a_tool(tool):
    folder, pids = tool
    with unnoticed_interrupt(pids):
        tools.run("yosys", [], folder, "log")
    assert are_gone(pids(), LONG / 2)


def test_an_unnoticed_interrupt_ends_processes(tool):
    folder, pids = tool
    with unnoticed_interrupt(pids), parallel.processes(1) as pool:
        with put_off():
            futures = [pool.submit(tools.run, "yosys", [], folder, "log")]
        list(parallel.ended(futures))
    assert are_gone(pids(), LONG / 2)


@pytest.mark.parametrize("is_thread", [True, False])
def test_an_interrupt_ends_the_wait_for_a_result_of_another_program(is_thread, tmp_path):
    cache.cached({}, lambda _: {}, tmp_path)
    (lock,) = tmp_path.glob("*.lock")
    for result in tmp_path.glob("*/result.json"):
        result.unlink()
    with open(lock) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        release = threading.Timer(LONG, fcntl.flock, (file, fcntl.LOCK_UN))
        release.start()
        with unnoticed_interrupt(lambda: True):
            if is_thread:
                parallel.at_once(lambda key: cache.cached(key, lambda _: {}, tmp_path), [{}])
            else:
                cache.cached({}, lambda _: {}, tmp_path)
        release.cancel()


def test_an_interrupt_while_threads_begin_leaves_no_tool(tool, monkeypatch):
    folder, pids = tool
    start, begin = threading.Thread.start, subprocess.Popen

    def interrupted(thread):
        start(thread)
        signal.raise_signal(signal.SIGINT)

    def slow(*arguments, **options):
        time.sleep(0.5)
        return begin(*arguments, **options)

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    monkeypatch.setattr(subprocess, "Popen", slow)
    with pytest.raises(KeyboardInterrupt):
        parallel.at_once(lambda log: tools.run("yosys", [], folder, log), ["log"])
    # Nobody is left who might begin one.
    assert not [name for name in map(str, threading.enumerate()) if "ThreadPool" in name]
    assert are_gone(pids(), LONG / 2)


@pytest.mark.parametrize("is_worker", [True, False])
def test_a_signal_while_a_tool_begins_leaves_no_tool(is_worker, tool, monkeypatch):
    folder, _ = tool
    begin, begun = subprocess.Popen, folder / "begun"

    def signalled(*arguments, **options):
        process = begin(*arguments, **options)
        begun.write_text(str(process.pid))
        signal.raise_signal(signal.SIGTERM if is_worker else signal.SIGINT)
        return process

    monkeypatch.setattr(subprocess, "Popen", signalled)
    if is_worker:
        with pytest.raises(BrokenProcessPool), parallel.processes(1) as pool:
            pool.submit(tools.run, "yosys", [], folder, "log").result()
    else:
        with pytest.raises(KeyboardInterrupt):
            tools.run("yosys", [], folder, "log")
    pid = int(begun.read_text())
    try:
        assert are_gone([pid], LONG / 2)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("command", [cost, robust])
def test_a_process_that_begins_does_not_mind_an_interrupt(command, tmp_path, monkeypatch):
    # What a process of the pool does first, and before it ignores the interrupt of a terminal.
    monkeypatch.setattr(os, "nice", lambda _: signal.raise_signal(signal.SIGINT))
    monkeypatch.setattr(command, "_run", done)
    if command is cost:
        name = cost.DESIGNS[0].name
        (figures,) = cost.measure([cost.Job(name, "ecp5")], 1, folder=tmp_path)
        assert figures.luts == 7
    else:
        job = robust.Job("wine", "luq", 1)
        facts = {"wine": robust.Facts(3, 13, 100, 50, 40.0, "digest")}
        assert robust.measure([job], CASES, facts, 1, tmp_path) == [{"luts": 7}]


def done(*_):
    return {"luts": 7}


def test_put_off():
    """The earlier handler is called once, at the end of all that waits for it."""
    called = []
    signal.signal(signal.SIGINT, lambda number, _: called.append(number))
    with put_off():
        with put_off():
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
        assert called == []
    assert called == [signal.SIGINT]
    signal.raise_signal(signal.SIGINT)
    assert called == [signal.SIGINT] * 2
    # An interrupt is not lost to another exception.
    with pytest.raises(ValueError), put_off():
        signal.raise_signal(signal.SIGINT)
        raise ValueError
    assert called == [signal.SIGINT] * 3


@pytest.mark.parametrize("handler", [signal.SIG_IGN, signal.SIG_DFL])
def test_put_off_leaves_alone_what_python_does_not_handle(handler):
    signal.signal(signal.SIGINT, handler)
    with put_off():
        assert signal.getsignal(signal.SIGINT) == handler
    assert signal.getsignal(signal.SIGINT) == handler
