"""Data sets: the digits that ship with scikit-learn, and images from a file.

Both are split into training and test set by the same rule, so that every run, of whatever seed,
judges the same images: of each class, the fifth (rounded) with the lowest random words.
"""

import dataclasses
import math
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from .errors import InputError
from .formats import BFLOAT16
from .random_bits import RandomBits, seed_state
from .stochastic_rounder import round_float

__all__ = ["SPLIT_SEED", "Dataset", "digits", "load", "scale_features", "split_rows"]

#: Seed of the words that choose the test set.
SPLIT_SEED = 4

#: Features that hardly vary are not scaled up by more than this, against the usual one.
GREATEST_GAIN = 64.0
#: Root of the sum of the features' variances after scaling.
DEVIATION = 2.0

_MOST_CLASSES = 1000


@dataclass(frozen=True)
class Dataset:
    """Images and labels, split into training and test set.

    Attributes
    ----------
    train_x, test_x : array of float32, shape (rows, features)
        Features, 0 to 1, multiples of 1/256: exact in every wide format of the cores.
    train_labels, test_labels : array of int64, shape (rows,)
        Labels, 0 to ``classes - 1``.
    classes : int
        Count of classes.
    image_shape : tuple of int, or None
        Height, width and channels of an image, whose features lie in that order; None if the
        features are no image.
    """

    train_x: npt.NDArray[np.float32]
    train_labels: npt.NDArray[np.int64]
    test_x: npt.NDArray[np.float32]
    test_labels: npt.NDArray[np.int64]
    classes: int
    image_shape: tuple[int, int, int] | None = None


def split_rows(labels: npt.NDArray[np.integer]) -> npt.NDArray[np.bool_]:
    """Choose the rows of the test set: of each class, one fifth, rounded.

    Parameters
    ----------
    labels : array of int, shape (rows,)

    Returns
    -------
    array of bool, shape (rows,)
    """
    words = RandomBits(seed_state(SPLIT_SEED)).words(len(labels))
    chosen = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        order = np.argsort(words[members], kind="stable")
        chosen[members[order[: (len(members) + 2) // 5]]] = True
    return chosen


def scale_features(dataset: Dataset) -> Dataset:
    """Bring features that are no image to the same scale, from 0 upward.

    The least number of a feature is subtracted. Then a feature is multiplied by the power of two
    that brings its standard deviation next to the usual one, the geometric median, so that features
    which were alike stay alike, and their levels stay levels of the quantiser; and all of them by
    one factor, which makes the root of the sum of their variances 2, whatever their count: the
    learning rate that suits a network depends on it.

    Parameters
    ----------
    dataset : Dataset
        Only its training set is looked at. Images stay as they are.

    Returns
    -------
    Dataset
        Features rounded to 8 significant bits: exact in every wide format of the cores. Those of
        the test set may be negative.
    """
    if dataset.image_shape is not None:
        return dataset
    deviation = dataset.train_x.std(axis=0, dtype=np.float64)
    varies = deviation > 0
    if not varies.any():
        return dataset
    usual = float(np.exp(np.median(np.log(deviation[varies]))))
    gain = np.exp2(np.rint(np.log2(usual / np.maximum(deviation, usual / GREATEST_GAIN))))
    gain *= DEVIATION / math.sqrt(np.count_nonzero(varies)) / usual
    least = dataset.train_x.min(axis=0)

    def scaled(x):
        return round_float((x - least) * gain, BFLOAT16).values.astype(np.float32)

    return dataclasses.replace(
        dataset, train_x=scaled(dataset.train_x), test_x=scaled(dataset.test_x)
    )


def digits() -> Dataset:
    """Load the scikit-learn digits: 1797 images of 8 x 8 pixels, 0 to 16, scaled by 1/16."""
    # Imported here: it takes a second, and only this function needs it.
    from sklearn.datasets import load_digits

    images = load_digits()
    features = (images.data / 16).astype(np.float32)
    return _split(features, images.target.astype(np.int64), (8, 8, 1))


def load(path: Path | str) -> Dataset:
    """Load images from a NumPy archive (``.npz``).

    Parameters
    ----------
    path : path
        Archive with ``x``, uint8 images of shape (rows, height, width) or (rows, height, width,
        channels), or rows of features of any other shape, scaled by 1/256; and ``y``, integer
        labels of shape (rows,).

    Raises
    ------
    InputError
        If the file cannot be read, lacks an array, or holds one of the wrong type, shape or
        range; if the classes are too small to be split.
    """
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in ("x", "y") if key in archive.files}
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"Data file {path} cannot be read: {reason}") from error
    # A single array is no context manager, which is a TypeError.
    except (ValueError, EOFError, TypeError, zipfile.BadZipFile) as error:
        raise InputError(
            f"Data file {path} must be an archive made by numpy.savez from plain arrays"
        ) from error
    for key in ("x", "y"):
        if key not in arrays:
            raise InputError(
                f"Data file {path} must hold the arrays x (images) and y (labels), "
                f"and {key} is missing"
            )
    images, labels = arrays["x"], arrays["y"]
    _check(path, images, labels)
    features = images.reshape(len(images), -1) / np.float32(256)
    shape = images.shape[1:]
    if len(shape) == 2:
        shape = (*shape, 1)
    return _split(features, labels.astype(np.int64), shape if len(shape) == 3 else None)


def _check(path, images, labels):
    if images.dtype != np.uint8:
        raise InputError(f"Images x in {path} must be uint8, not {images.dtype}")
    if images.ndim < 2 or images.size == 0:
        raise InputError(
            f"Images x in {path} must have shape (rows, ...) without an empty axis, "
            f"not {images.shape}"
        )
    if labels.dtype.kind not in "iu":
        raise InputError(f"Labels y in {path} must be integers, not {labels.dtype}")
    if labels.shape != images.shape[:1]:
        raise InputError(
            f"Labels y in {path} must have shape {images.shape[:1]}, one for each image, "
            f"not {labels.shape}"
        )
    for label in (labels.min(), labels.max()):
        if not 0 <= label < _MOST_CLASSES:
            raise InputError(
                f"Labels y in {path} must be 0 to {_MOST_CLASSES - 1}, and {label} is not"
            )
    if labels.max() == 0:
        raise InputError(f"Labels y in {path} must name at least two classes, not only 0")
    if not split_rows(labels).any():
        raise InputError(
            f"Data file {path} must have at least three images of a class, to test with one"
        )


def _split(features, labels, image_shape):
    test = split_rows(labels)
    return Dataset(
        features[~test],
        labels[~test],
        features[test],
        labels[test],
        int(labels.max()) + 1,
        image_shape,
    )
