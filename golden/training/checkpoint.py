"""Checkpoints: trained networks in files, as NumPy archives (``.npz``) or ``.safetensors``."""

import hashlib
import io
import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nibblegrad.golden.errors import InputError
from nibblegrad.golden.training.archive import read_arrays

__all__ = ["SUFFIXES", "Checkpoint", "check_target", "load", "save"]

#: Formats, by the ends of their names.
SUFFIXES = (".npz", ".safetensors")

#: Name of what tells a checkpoint from any other file.
_MARK = "nibblegrad"
_VERSION = 1
_MUST = "be one that `nibblegrad train --save` made, and is another file or damaged"


@dataclass(frozen=True)
class Checkpoint:
    """Trained network.

    Attributes
    ----------
    about : dict of str
        What a trainer must be to go on from it: JSON-serialisable, by names that messages use.
    arrays : dict of array
        By name: all parameters, the state of the steps, the scale of the features.
    path : Path or None
        Where it was read from.
    """

    about: dict[str, Any]
    arrays: dict[str, npt.NDArray]
    path: Path | None = None

    def check(self, about: dict[str, Any], arrays: dict[str, npt.NDArray]) -> None:
        """Refuse what is not of the same kind.

        Parameters
        ----------
        about, arrays :
            What it must have; of the arrays, only names, types and shapes matter.

        Raises
        ------
        InputError
            Naming what differs.
        """
        this = f"Checkpoint {self.path}" if self.path else "Checkpoint"
        for key, wanted in about.items():
            there = self.about.get(key)
            if there != wanted:
                raise InputError(
                    f"{this} must go with the training, and has {key} {_words(there)}, "
                    f"not {_words(wanted)}"
                )
        for name in (*arrays, *self.arrays):
            if _kind(arrays, name) != _kind(self.arrays, name):
                raise InputError(f"{this} must go with the training, and its {name} does not")


def _words(value):
    if isinstance(value, list):
        return ",".join(map(str, value))
    return json.dumps(value) if isinstance(value, dict) else value


def _kind(arrays, name):
    return (arrays[name].dtype, arrays[name].shape) if name in arrays else None


def check_target(path: Path | str) -> None:
    """See whether a checkpoint can be saved there, before the work that leads to one.

    Raises
    ------
    InputError
        If the name ends otherwise than with a suffix of :data:`SUFFIXES`; if a package is missing;
        if something is there that is no checkpoint.
    """
    path = Path(path)
    _check_format(path)
    if path.exists():
        try:
            load(path)
        except InputError as error:
            raise InputError(
                f"File {path} is not a checkpoint, and is left as it is; save to another name"
            ) from error


def _check_format(path: Path) -> None:
    if path.suffix not in SUFFIXES:
        raise InputError(f"Checkpoint {path} must end with {' or '.join(SUFFIXES)}")
    if path.suffix == ".safetensors":
        _safetensors(path)


def _safetensors(path):
    try:
        import safetensors.numpy
    except ImportError:
        raise InputError(
            f"Checkpoint {path} needs a package: pip install safetensors; or choose .npz"
        ) from None
    return safetensors


def save(checkpoint: Checkpoint, path: Path | str) -> None:
    """Write a checkpoint to a file, which is replaced only when the new one is complete.

    Parameters
    ----------
    checkpoint : Checkpoint
    path : path
        Ends with ``.npz``, or ``.safetensors`` where that package is installed.

    Raises
    ------
    InputError
        As :func:`check_target`; if the file cannot be written.
    """
    path = Path(path)
    check_target(path)
    head = json.dumps(
        {
            "version": _VERSION,
            "digest": _digest(checkpoint.about, checkpoint.arrays),
            "about": checkpoint.about,
        }
    )
    if path.suffix == ".npz":
        buffer = io.BytesIO()
        arrays = {_MARK: np.frombuffer(head.encode(), np.uint8), **checkpoint.arrays}
        # NumPy's types take a name of an array for its option `allow_pickle`, which is a bool.
        np.savez(buffer, **arrays)  # type: ignore[arg-type]
        content = buffer.getvalue()
    else:
        content = _safetensors(path).numpy.save(checkpoint.arrays, {_MARK: head})
    partial = path.with_name(f".{path.stem}-{secrets.token_hex(8)}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(content)
        os.replace(partial, path)
    except OSError as error:
        raise InputError(f"Checkpoint {path} cannot be written: {error.strerror}") from error
    finally:
        partial.unlink(missing_ok=True)


def load(path: Path | str) -> Checkpoint:
    """Read a checkpoint.

    Raises
    ------
    InputError
        If the file cannot be read, is no checkpoint, is damaged, or is of a later release.
    """
    path = Path(path)
    _check_format(path)
    head: Any
    if path.suffix == ".npz":
        arrays = read_arrays("Checkpoint", path, None, _MUST)
        head = bytes(arrays.pop(_MARK, np.array([], np.uint8)))
    else:
        head, arrays = _read_safetensors(path)
    try:
        head = json.loads(head)
        version, digest, about = head["version"], head["digest"], head["about"]
        items = dict(about)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise InputError(f"Checkpoint {path} must {_MUST}") from error
    if version != _VERSION:
        raise InputError(
            f"Checkpoint {path} has version {version}, and this release reads {_VERSION}; "
            "use the release that made it"
        )
    if digest != _digest(items, arrays):
        raise InputError(f"Checkpoint {path} must {_MUST}")
    return Checkpoint(items, arrays, path)


def _read_safetensors(path):
    package = _safetensors(path)
    try:
        with open(path, "rb") as file:
            file.read(1)
        with package.safe_open(path, framework="np") as file:
            head = (file.metadata() or {}).get(_MARK, "")
            # This is no dict: its names are to be had by keys() only.
            return head, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except OSError as error:
        if error.errno is not None:
            raise InputError(f"Checkpoint {path} cannot be read: {error.strerror}") from error
        raise InputError(f"Checkpoint {path} must {_MUST}") from error
    # What the package raises where bytes are damaged is not all of one class.
    except Exception as error:
        raise InputError(f"Checkpoint {path} must {_MUST}") from error


def _digest(about, arrays):
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for name, value in sorted(arrays.items()):
        digest.update(f"{name} {value.dtype.str} {value.shape} ".encode())
        digest.update(value.tobytes())
    return digest.hexdigest()
