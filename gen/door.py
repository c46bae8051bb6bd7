"""The door of every program: whatever goes wrong leaves as one sentence and an exit status."""

import contextlib
import importlib.util
import io
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import Any

from nibblegrad.golden.errors import InputError

__all__ = [
    "BROKEN",
    "EXTRAS",
    "FAILED",
    "INTERRUPTED",
    "REFUSED",
    "FailedError",
    "require",
    "run_guarded",
]

#: Exit status: a tool failed; what was asked for cannot be done; a mistake of ours; Ctrl-C.
FAILED, REFUSED, BROKEN, INTERRUPTED = 1, 2, 3, 130

#: Packages that not every command needs, and the extra of this project that brings each.
EXTRAS = {"sklearn": "train", "matplotlib": "train", "threadpoolctl": "train"}


class FailedError(RuntimeError):
    """Something that was asked for rightly, and failed. The message says what and why."""


def run_guarded(name: str, command: Callable[[], int], debug: bool = False) -> int:
    """Run a command, and return its exit status.

    Parameters
    ----------
    name : str
        What the program is called in front of what goes wrong.
    command : function
        Does the work, and returns the exit status.
    debug : bool
        Whether to show where in the program something unexpected happened.
    """
    with _patient_streams():
        try:
            status = command()
            # Here, where it can still be said that it fails.
            sys.stdout.flush()
            return status
        except InputError as error:
            _say(f"{name}: error: {error}")
            return REFUSED
        except KeyboardInterrupt as error:
            # Who was interrupted may say what is kept.
            _say(f"{name}: interrupted{error}")
            return INTERRUPTED
        except FailedError as error:
            _say(f"{name}: error: {error}")
            return FAILED
        except Exception as error:
            if debug:
                traceback.print_exc()
            said = _circumstance(error)
            if said:
                _say(f"{name}: error: {said}")
                return REFUSED
            _say(f"{name}: {_unexpected(error, debug)}")
            return BROKEN


def require(*packages: str) -> None:
    """See that packages are installed, before long work that needs them at its end.

    Raises
    ------
    InputError
        If one is not.
    """
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise InputError(_missing(package))


def _missing(package: str) -> str:
    extra = EXTRAS.get(package)
    what = f"'nibblegrad[{extra}]'" if extra else package
    return f"the package {package} is missing; run `pip install {what}`"


def _circumstance(error: Exception) -> str:
    """Say what the machine lacks, if that is what went wrong; nothing otherwise."""
    if isinstance(error, MemoryError):
        return f"There is not enough memory; ask for less ({str(error) or 'out of memory'})"
    if isinstance(error, ModuleNotFoundError):
        package = (error.name or "").partition(".")[0]
        is_missing = package and importlib.util.find_spec(package) is None
        return _missing(package) if is_missing else ""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'The system'}: {error.strerror}"
    return ""


def _unexpected(error: Exception, debug: bool) -> str:
    what = " ".join(str(error).split())
    report = "and what is above" if debug else "and what it says with --debug"
    return (
        f"{type(error).__name__}{f': {what}' if what else ''}; this was not expected, so please "
        f"report the command, {report}"
    )


def _say(sentence: str) -> None:
    # A standard error that is closed or full must not hide the exit status.
    with contextlib.suppress(OSError, ValueError):
        print(sentence, file=sys.stderr, flush=True)


class _Patient:
    """A stream whose reader may leave, as ``head`` does: the work goes on, unread.

    Any other failure, such as a full disk, is said to be one of this stream and not of whatever
    file is being written.
    """

    def __init__(self, stream: Any, name: str) -> None:
        # There is none where it was closed outside.
        self._stream = stream or io.StringIO()
        self._name = name
        if hasattr(self._stream, "reconfigure"):
            # A letter that the terminal cannot show is no reason to stop.
            self._stream.reconfigure(errors="backslashreplace")

    def write(self, text: str) -> int:
        with self._guarded():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._guarded():
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            self._give_up()
        except OSError as error:
            self._give_up()
            raise InputError(f"Cannot write to {self._name}: {error.strerror}") from error

    def _give_up(self) -> None:
        """Let everything that is still to come, and what waits in the buffer, go nowhere."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)


@contextlib.contextmanager
def _patient_streams() -> Iterator[None]:
    before = sys.stdout, sys.stderr
    sys.stdout = _Patient(sys.stdout, "standard output")
    sys.stderr = _Patient(sys.stderr, "standard error")
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(InputError):
                stream.flush()
        sys.stdout, sys.stderr = before
