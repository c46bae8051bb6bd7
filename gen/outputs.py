"""Where commands write: folders that are looked at first, and files that are never half there."""

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from golden.errors import InputError

__all__ = ["prepare_folder", "replace_file", "write_if_changed"]

#: What must be free on the disk, in bytes, where nothing else is said.
SPACE = 50_000_000


def prepare_folder(folder: Path, space: int = SPACE) -> None:
    """Make a folder, and see whether files can be written there, before work begins.

    Parameters
    ----------
    folder : Path
        Where results will go.
    space : int
        Bytes that must be free on its disk.

    Raises
    ------
    InputError
        If it is a file, cannot be made or written, or its disk is full.
    """
    try:
        if folder.exists() and not folder.is_dir():
            raise InputError(f"Output {folder} is not a folder; name another one with --output")
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise InputError(
            f"Output {folder} cannot be written: {error.strerror}; name another one with --output"
        ) from error
    if free < space:
        raise InputError(
            f"Output {folder} is on a disk with {free / 1e6:,.0f} MB free, and "
            f"{space / 1e6:,.0f} MB are needed; make room, or name another one with --output"
        )


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Make a file by ``write``, called with a temporary name; it gets its own when complete.

    The temporary name is nobody else's, so that several programs may make the same file at once,
    and ends as ``path`` does, for writers that go by that.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(path.suffix, f".{path.stem}-", path.parent)
    os.close(handle)
    partial = Path(name)
    try:
        write(partial)
        # mkstemp lets only the owner read; others get what they would have got of a new file.
        partial.chmod(0o666 & ~_umask())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_if_changed(path: Path, text: str) -> bool:
    """Write ``text`` to ``path`` unless the file already holds it. Return whether it was written.

    Leaving an unchanged file alone keeps its time stamp, and so spares everything built from it.
    """
    content = text.encode()
    if path.is_file() and path.read_bytes() == content:
        return False
    replace_file(path, lambda partial: partial.write_bytes(content))
    return True


def _umask() -> int:
    """Ask which permissions new files lack; it can only be asked by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
