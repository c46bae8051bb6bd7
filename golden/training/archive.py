"""Arrays from NumPy archives (``.npz``) that anybody may have made, or damaged.

``numpy.load`` believes what a header says: that of a few bytes may ask for terabytes. Here memory
is taken only for data that have come, and whatever is wrong with a file is said by one sentence.
"""

# Ref: numpy.lib.format, versions 1.0 to 3.0 of the NPY format

import math
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from nibblegrad.golden.errors import InputError

__all__ = ["MOST_NUMBERS", "read_arrays"]

#: Count of numbers in a file, at most.
MOST_NUMBERS = 1 << 30

#: Booleans, integers, floats and complex numbers; text, which is refused by those who want numbers.
_PLAIN_KINDS = "biufcSU"
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_CHUNK = 1 << 20


class _ArchiveError(Exception):
    """The file is no archive of plain arrays."""


def read_arrays(
    what: str,
    path: Path | str,
    names: Sequence[str] | None,
    must: str = "be an archive made by numpy.savez from plain arrays",
) -> dict[str, npt.NDArray]:
    """Read arrays from an archive.

    Parameters
    ----------
    what : str
        What the file is, as messages have it: ``Data file``.
    path : path
    names : sequence of str or None
        Arrays that are wanted; all of them if None.
    must : str
        What the file must, said if it does not.

    Returns
    -------
    dict of array
        By name; those that are not in the archive are left out.

    Raises
    ------
    InputError
        If the file cannot be read, is damaged anywhere in what is wanted, is no archive of plain
        arrays, or holds too large a one.
    """
    try:
        with open(path, "rb") as file:
            return _read(what, path, file, names)
    except InputError:
        raise
    except OSError as error:
        # The decompressors raise it, too, without a number.
        if error.errno is not None:
            reason = error.strerror or error
            raise InputError(f"{what} {path} cannot be read: {reason}") from error
        raise InputError(f"{what} {path} must {must}") from error
    # Damaged bytes make zipfile and NumPy raise about anything.
    except Exception as error:
        raise InputError(f"{what} {path} must {must}") from error


def _read(
    what: str, path: Path | str, file: IO[bytes], names: Sequence[str] | None
) -> dict[str, npt.NDArray]:
    arrays: dict[str, npt.NDArray] = {}
    total = 0
    with zipfile.ZipFile(file) as archive:
        for entry in archive.infolist():
            name = entry.filename.removesuffix(".npy")
            if names is not None and name not in names:
                continue
            if name in arrays or entry.compress_type not in _METHODS:
                raise _ArchiveError
            with archive.open(entry) as stream:
                shape, fortran, dtype = _read_header(stream)
                count = math.prod(shape)
                if dtype.kind not in _PLAIN_KINDS or min(shape, default=0) < 0:
                    raise _ArchiveError
                total += count
                if total > MOST_NUMBERS:
                    raise InputError(
                        f"{what} {path} has {total:,} numbers in {', '.join([*arrays, name])}, and "
                        f"{MOST_NUMBERS:,} are the most that are taken; leave some out"
                    )
                content = _read_exactly(stream, count * dtype.itemsize)
            numbers = np.frombuffer(content, dtype)
            arrays[name] = numbers.reshape(shape, order="F" if fortran else "C")
    return arrays


def _read_header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(stream)
    if version not in ((2, 0), (3, 0)):
        raise _ArchiveError
    # Version 3.0 differs in the names of fields only, and arrays with fields are refused.
    return np.lib.format.read_array_header_2_0(stream)


def _read_exactly(stream: IO[bytes], size: int) -> bytearray:
    """Read so many bytes and find the end, where the check sum is compared."""
    content = bytearray()
    while len(content) < size:
        chunk = stream.read(min(_CHUNK, size - len(content)))
        if not chunk:
            raise _ArchiveError
        content += chunk
    if stream.read(1):
        raise _ArchiveError
    return content
