"""Digests of the sources, by which results that are kept know what they depend on."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

__all__ = ["PACKAGES", "ROOT", "digest", "sources"]

#: Folder of the packages.
ROOT = Path(__file__).resolve().parent.parent

#: What the text of a core's Verilog depends on.
PACKAGES = ("golden", "hdl", "gen")


def sources(packages: Iterable[str] = PACKAGES, root: Path = ROOT) -> list[Path]:
    """List the Python files of packages, however deep they lie.

    Parameters
    ----------
    packages : iterable of str
        Folders in ``root``.
    root : Path
        Folder of the packages.
    """
    return sorted(path for package in packages for path in (root / package).rglob("*.py"))


def digest(paths: Iterable[Path], root: Path = ROOT) -> str:
    """Compute a digest of names and contents of files, in the order of their names.

    Parameters
    ----------
    paths : iterable of Path
        Files.
    root : Path
        Folder that the names are relative to.
    """
    total = hashlib.sha256()
    for path in sorted(paths):
        content = path.read_bytes()
        total.update(f"{path.relative_to(root).as_posix()} {len(content)} ".encode())
        total.update(content)
    return total.hexdigest()
