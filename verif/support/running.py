"""Commands in processes of their own, to be interrupted by real signals when it is time."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from verif.paths import ROOT

__all__ = ["Running", "are_gone"]


#: Seconds to wait for what comes at once on a machine that does nothing else.
PATIENCE = 300


class Running:
    """A Python program that runs beside the test.

    Parameters
    ----------
    arguments : list
        What follows ``python`` on its command line.
    where : Path
        Folder that it runs in.
    """

    def __init__(self, arguments, where=ROOT):
        self.process = subprocess.Popen(
            [sys.executable, *map(str, arguments)],
            cwd=where,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            # Where the tests run in the background of a shell, it is ignored, and would be here.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def wait_until(self, is_time):
        """Wait until a function says that it is time; the program must not end before."""
        end = time.monotonic() + PATIENCE
        while not is_time():
            status = self.process.poll()
            if status is not None or time.monotonic() > end:
                self._kill()
                raise AssertionError(f"status {status}: {self.process.communicate()}")
            time.sleep(0.01)

    def interrupt(self, presses=1, everyone=True):
        """Press Ctrl-C.

        Parameters
        ----------
        presses : int
            How often, unless it ends before.
        everyone : bool
            Whether all its processes are interrupted, as by a terminal, or it alone.

        Returns
        -------
        tuple of int, str and str
            Status, standard output and standard error.
        """
        for press in range(presses):
            if press:
                time.sleep(0.1)
            if self.process.poll() is None:
                (os.killpg if everyone else os.kill)(self.process.pid, signal.SIGINT)
        try:
            output, error = self.process.communicate(timeout=PATIENCE)
        finally:
            self._kill()
        return self.process.returncode, output, error

    def _kill(self):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)


def are_gone(pids, patience=PATIENCE):
    """Wait until processes have ended, which takes the system a moment after their signal."""
    end = time.monotonic() + patience
    while any(map(_is_running, pids)):
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def _is_running(pid):
    """Tell whether a process is there, and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
