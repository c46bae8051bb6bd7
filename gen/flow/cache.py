"""Results of tools that are kept, so that nothing is computed twice or left half-done."""

import contextlib
import fcntl
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from nibblegrad.gen.flow import tools
from nibblegrad.gen.outputs import prepare_folder
from nibblegrad.golden.errors import InputError

__all__ = ["FOLDER", "KEPT", "RESULT", "Cached", "cached", "locked", "prepare"]

#: Where results are kept, if nothing else is said.
FOLDER = Path("build/flow")

#: What is said of it where work ends early.
KEPT = f"What has finished is kept in {FOLDER}, and the same command goes on from there"

RESULT = "result.json"

Cached = tuple[Path, dict[str, Any]]


def prepare(root: Path = FOLDER) -> None:
    """See that results can be kept, before work begins.

    Raises
    ------
    InputError
        If they cannot.
    """
    try:
        prepare_folder(root)
    except InputError as error:
        reason = str(error).partition(";")[0]
        raise InputError(
            f"Results are kept in {root}, which is not possible: {reason}; run in another folder"
        ) from error


def cached(key: dict[str, Any], make: Callable[[Path], dict[str, Any]], root: Path) -> Cached:
    """Make a result, unless it is there.

    It gets its name only when it is complete, so that an interrupted run leaves nothing that could
    be mistaken for a result; several processes may ask for the same one.

    Parameters
    ----------
    key : dict
        Everything that the result depends on, tools and their versions included; JSON-serialisable.
    make : function of a Path
        Writes files into the folder it is given, and returns what else there is to know,
        JSON-serialisable.
    root : Path
        Folder of all results.

    Returns
    -------
    Path
        Folder of the result.
    dict
        What ``make`` returned.
    """
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:20]
    folder = root / digest
    if not (folder / RESULT).exists():
        with locked(root / f"{digest}.lock"):
            # Another process may have made it meanwhile.
            if not (folder / RESULT).exists():
                partial = root / f"{digest}.part"
                shutil.rmtree(partial, ignore_errors=True)
                partial.mkdir()
                result = make(partial)
                (partial / RESULT).write_text(json.dumps(result, indent=1) + "\n")
                partial.rename(folder)
    return folder, json.loads((folder / RESULT).read_text())


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock file, whose folder is made; wait while another process has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w") as file:
        while not _is_locked(file):
            tools.pause()
        yield


def _is_locked(file: IO) -> bool:
    # A wait for the lock would not end with the tools in a thread, nor with every signal elsewhere.
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
