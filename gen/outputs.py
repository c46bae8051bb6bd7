"""Where commands write: folders in which only files that were made here are ever touched."""

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Self

from nibblegrad.golden.errors import InputError

__all__ = [
    "GENERATOR",
    "MANIFEST",
    "SPACE",
    "Content",
    "OutputFolder",
    "prepare_folder",
    "replace_file",
    "write_if_changed",
]

#: Lists the files that were made in a folder, with the SHA-256 of each.
MANIFEST = "nibblegrad.json"
GENERATOR = "nibblegrad"

#: What must be free on the disk, in bytes, where nothing else is said.
SPACE = 50_000_000

#: What a file shall hold: text, bytes, or a function that writes it to the path it is given.
Content = str | bytes | Callable[[Path], object]


def prepare_folder(
    folder: Path, space: int = SPACE, remedy: str = "name another one with --output"
) -> None:
    """Make a folder, and see whether files can be written there, before work begins.

    Parameters
    ----------
    folder : Path
        Where results will go.
    space : int
        Bytes that must be free on its disk.
    remedy : str
        What to do instead, for messages.

    Raises
    ------
    InputError
        If it is a file, cannot be made or written, or its disk is full.
    """
    try:
        if folder.exists() and not folder.is_dir():
            raise InputError(f"Output {folder} is not a folder; {remedy}")
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise InputError(
            f"Output {folder} cannot be written: {error.strerror}; {remedy}"
        ) from error
    if free < space:
        raise InputError(
            f"Output {folder} is on a disk with {free / 1e6:,.0f} MB free, and "
            f"{space / 1e6:,.0f} MB are needed; make room, or {remedy}"
        )


def replace_file(path: Path, content: Content) -> None:
    """Write a file that has its name only when it is complete."""
    partial = _stage(path, content)
    try:
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_if_changed(path: Path, text: str) -> bool:
    """Write ``text`` to ``path`` unless the file already holds it. Return whether it was written.

    Leaving an unchanged file alone keeps its time stamp, and so spares everything built from it.
    """
    if path.is_file() and path.read_bytes() == text.encode():
        return False
    replace_file(path, text)
    return True


class OutputFolder:
    """A folder for the files of a command.

    A manifest in the folder knows the files that were made there. A file that is not in it, or has
    been changed since, is the user's: it is not overwritten unless that is asked for, and never
    deleted. In a ``with`` statement, a failure leaves no empty folder behind.

    Parameters
    ----------
    path : Path
        The folder. It is made.
    force : bool
        Whether files of the user may be overwritten.
    option : str
        Option of the command that names the folder, for messages.

    Attributes
    ----------
    path : Path
        As given.

    Raises
    ------
    InputError
        If the folder cannot be written; see :func:`prepare_folder`.
    """

    def __init__(self, path: Path, *, force: bool = False, option: str = "--output") -> None:
        self._made = [part for part in (path, *path.parents) if not part.exists()]
        prepare_folder(path, remedy=f"name another one with {option}")
        self._option = option
        self.path = path
        self._force = force

    def __enter__(self) -> Self:
        return self

    def __exit__(self, exception: type[BaseException] | None, *_: object) -> None:
        """After a failure, take away the folders that were made for nothing."""
        for folder in self._made if exception else ():
            with contextlib.suppress(OSError):
                folder.rmdir()

    def is_current(self, inputs: str) -> bool:
        """Tell whether all files are there, unchanged, as made from these inputs."""
        manifest = self._read()
        files = manifest.get("files", {})
        return (
            manifest.get("inputs") == inputs
            and bool(files)
            and all([self._digest(name)] == digests for name, digests in files.items())
        )

    def names(self) -> list[str]:
        """List the files that the manifest knows, whether they are there or not."""
        return list(self._read().get("files", {}))

    def check(self, names: Iterable[str]) -> None:
        """Refuse to go on if files of the user bear these names.

        Raises
        ------
        InputError
            If there is one, and overwriting was not asked for.
        """
        known = self._read().get("files", {})
        self._refuse([name for name in names if self._is_users(name, known)])

    def install(
        self, contents: Mapping[str, Content], *, inputs: str = "", stale: Iterable[str] = ()
    ) -> dict[str, str]:
        """Write files, all or none, and delete those that are stale.

        Two programs that write to the same folder wait for each other.

        Parameters
        ----------
        contents : dict of str to Content
            What each file shall hold, by its name; ``/`` in a name stands for a folder.
        inputs : str
            What the files depend on; see :meth:`is_current`.
        stale : iterable of str
            Files that must not stay behind. Only what was made here and was not changed goes.

        Returns
        -------
        dict of str to str
            ``written``, ``unchanged``, ``removed`` or ``kept: it was changed``, by name.

        Raises
        ------
        InputError
            If a file of the user is in the way, or a file cannot be written; nothing is changed
            then.
        """
        staged: dict[str, Path] = {}
        name = MANIFEST
        try:
            with self.locked():
                self._refuse([each for each in contents if self._is_behind_a_link(each)])
                for name, content in contents.items():
                    staged[name] = _stage(self.path / name, content)
                return self._exchange(staged, inputs, list(stale))
        except OSError as error:
            reason = error.strerror or error
            raise InputError(f"Cannot write {self.path / name}: {reason}") from error
        finally:
            for partial in staged.values():
                partial.unlink(missing_ok=True)
            self._prune(staged)

    def _exchange(self, staged: dict[str, Path], inputs: str, stale: list[str]) -> dict[str, str]:
        known: dict[str, list[str]] = self._read().get("files", {})
        digests = {name: _digest(partial) for name, partial in staged.items()}
        self._refuse(
            [
                name
                for name, digest in digests.items()
                if self._is_users(name, known) and self._digest(name) != digest
            ]
        )
        # Whatever happens from here on, each file is known as it was or as it will be.
        both = {name: [*known.get(name, []), digest] for name, digest in digests.items()}
        self._write({**known, **both}, "")
        done = {}
        for name, partial in staged.items():
            same = self._digest(name) == digests[name]
            done[name] = "unchanged" if same else "written"
            if not same:
                partial.replace(self.path / name)
        for name in stale:
            if name in known and name not in staged and self._digest(name):
                done[name] = "kept: it was changed" if self._is_users(name, known) else "removed"
                if done[name] == "removed":
                    (self.path / name).unlink()
        self._prune(stale)
        kept = {name: known[name] for name in known if name not in {*staged, *stale}}
        self._write({**kept, **{name: [digest] for name, digest in digests.items()}}, inputs)
        return done

    def _is_users(self, name: str, known: Mapping[str, list[str]]) -> bool:
        """Tell whether a file, or something else of that name, was not made here."""
        path = self.path / name
        if not os.path.lexists(path):
            return self._is_behind_a_link(name)
        return self._digest(name) not in known.get(name, [])

    def _is_behind_a_link(self, name: str) -> bool:
        """Tell whether a folder within this one leads elsewhere."""
        return any(part.is_symlink() for part in self._folders(name))

    def _digest(self, name: str) -> str | None:
        """Compute the digest of a file; None if there is none, or a link, which is not ours."""
        path = self.path / name
        is_ours = not path.is_symlink() and not self._is_behind_a_link(name) and path.is_file()
        return _digest(path) if is_ours else None

    def _folders(self, name: str) -> Iterator[Path]:
        """Give the folders within this one in which a file lies, the innermost first."""
        for parent in PurePosixPath(name).parents:
            if parent.name:
                yield self.path / parent

    def _refuse(self, names: list[str]) -> None:
        folders = [
            name for name in names if (self.path / name).is_dir() or self._is_behind_a_link(name)
        ]
        if not names or (self._force and not folders):
            return
        first = self.path / (folders or names)[0]
        if folders:
            raise InputError(
                f"{first} is a folder or leads to one, and a file is to be written there; move it "
                f"away, or name another folder with {self._option}"
            )
        more = len(names) - 1
        raise InputError(
            f"{first} was not made here or has been changed since"
            f"{f', and so it is with {more} more' if more else ''}; move it away, name another "
            f"folder with {self._option}, or overwrite it with --force"
        )

    def _read(self) -> dict:
        """Read the manifest. What is none, or names files elsewhere, knows nothing."""
        try:
            manifest = json.loads((self.path / MANIFEST).read_bytes())
        except (OSError, ValueError, RecursionError):
            return {}
        if not isinstance(manifest, dict) or manifest.get("made by") != GENERATOR:
            return {}
        files = manifest.get("files")
        if not isinstance(files, dict):
            return {}
        known = {
            name: digests
            for name, digests in files.items()
            if _is_within(name) and isinstance(digests, list)
        }
        return {**manifest, "files": known}

    def _write(self, files: dict[str, list[str]], inputs: str) -> None:
        path = self.path / MANIFEST
        if os.path.lexists(path) and not self._read():
            self._refuse([MANIFEST])
        document = {"made by": GENERATOR, "inputs": inputs, "files": dict(sorted(files.items()))}
        replace_file(path, json.dumps(document, indent=1) + "\n")

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other programs out of the folder; the lock is on the folder, and leaves no file."""
        with contextlib.ExitStack() as stack:
            # Windows and some file systems have no such locks.
            with contextlib.suppress(ImportError, OSError):
                import fcntl

                handle = os.open(self.path, os.O_RDONLY)
                stack.callback(os.close, handle)
                fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    def _prune(self, names: Iterable[str]) -> None:
        """Remove folders in which nothing is left."""
        folders = {part for name in names for part in self._folders(name)}
        for folder in sorted(folders, key=lambda path: -len(path.parts)):
            with contextlib.suppress(OSError):
                folder.rmdir()


def _is_within(name: object) -> bool:
    """Tell whether a name from a manifest stays in the folder of the manifest."""
    if not isinstance(name, str) or not name or "\\" in name:
        return False
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and str(path) == name


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _stage(path: Path, content: Content) -> Path:
    """Write a file under a temporary name, which is nobody else's, and return that.

    The name ends as that of the file, for writers that go by it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(path.suffix, f".{path.stem[:40]}-", path.parent)
    os.close(handle)
    partial = Path(name)
    try:
        if isinstance(content, str):
            content = content.encode()
        if isinstance(content, bytes):
            partial.write_bytes(content)
        else:
            content(partial)
        # mkstemp lets only the owner read; others get what they would have got of a new file.
        partial.chmod(0o666 & ~_umask())
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    return partial


def _umask() -> int:
    """Ask which permissions new files lack; it can only be asked by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
