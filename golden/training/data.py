"""Data sets: the digits that ship with scikit-learn, and images or tables from a file.

A set that comes in one piece is split into training and test set by a rule without chance, so that
every run, of whatever seed, judges the same rows: of each class, the fifth (rounded) with the
lowest random words.
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nibblegrad.golden.errors import InputError
from nibblegrad.golden.numbers.random_bits import RandomBits, seed_state
from nibblegrad.golden.training.archive import read_arrays
from nibblegrad.golden.training.features import FeatureScale

__all__ = [
    "SPLIT_SEED",
    "Dataset",
    "digits",
    "feature_scale",
    "load",
    "scale_features",
    "split_rows",
]

#: Seed of the words that choose the test set.
SPLIT_SEED = 4

_MOST_CLASSES = 1000


@dataclass(frozen=True)
class Dataset:
    """Features and labels, split into training and test set.

    Attributes
    ----------
    train_x, test_x : array of float32 or float64, shape (rows, features)
        Features, finite. The trainer scales them, see :func:`scale_features`.
    train_labels, test_labels : array of int64, shape (rows,)
        Labels, 0 to ``classes - 1``.
    classes : int
        Count of classes.
    image_shape : tuple of int, or None
        Height, width and channels of an image, whose features lie in that order; None if the
        features are no image.
    own_units : bool
        Whether features are measured in units of their own, as floats from a file are; if not, all
        share one, and lie between 0 and 1, as the levels of bytes do.

    Raises
    ------
    InputError
        If features and labels differ in rows, or a label names no class.
    """

    train_x: npt.NDArray[np.floating]
    train_labels: npt.NDArray[np.int64]
    test_x: npt.NDArray[np.floating]
    test_labels: npt.NDArray[np.int64]
    classes: int
    image_shape: tuple[int, int, int] | None = None
    own_units: bool = False

    def __post_init__(self) -> None:
        for what, x, labels in (
            ("Training", self.train_x, self.train_labels),
            ("Test", self.test_x, self.test_labels),
        ):
            if np.ndim(x) != 2 or np.shape(labels) != (len(x),):
                raise InputError(
                    f"{what} set must have features of shape (rows, features) and labels of shape "
                    f"(rows,), not {np.shape(x)} and {np.shape(labels)}"
                )
            wrong = (np.asarray(labels) < 0) | (np.asarray(labels) >= self.classes)
            if wrong.any():
                row = int(wrong.argmax())
                raise InputError(
                    f"Labels must be 0 to {self.classes - 1}, as there are {self.classes} classes, "
                    f"and {what.lower()} label {row} is {labels[row]}"
                )


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


def feature_scale(dataset: Dataset) -> FeatureScale:
    """Find how features are scaled; only the training set is looked at."""
    find = FeatureScale.of_table if dataset.image_shape is None else FeatureScale.of_images
    return find(dataset.train_x, own_units=dataset.own_units)


def scale_features(dataset: Dataset, scale: FeatureScale | None = None) -> Dataset:
    """Bring features to one scale, and to numbers that are exact in every wide format.

    Parameters
    ----------
    dataset : Dataset
    scale : FeatureScale or None
        How; that of :func:`feature_scale` if not given.

    Returns
    -------
    Dataset
        The same rows, features of float32 as :meth:`FeatureScale.apply` gives them.
    """
    scale = scale or feature_scale(dataset)
    return dataclasses.replace(
        dataset, train_x=scale.apply(dataset.train_x), test_x=scale.apply(dataset.test_x)
    )


def digits() -> Dataset:
    """Load the scikit-learn digits: 1797 images of 8 x 8 pixels, 0 to 16, scaled by 1/16."""
    # Imported here: it takes a second, and only this function needs it.
    from sklearn.datasets import load_digits

    images = load_digits()
    features = (images.data / 16).astype(np.float32)
    return _split(features, images.target.astype(np.int64), (8, 8, 1), own_units=False)


def load(path: Path | str, test: Path | str | None = None) -> Dataset:
    """Load images or tables from NumPy archives (``.npz``).

    Parameters
    ----------
    path : path
        Archive with ``x``, images of shape (rows, height, width) or (rows, height, width,
        channels), or rows of features of any other shape; and ``y``, integer labels of shape
        (rows,). Features of uint8 are scaled by 1/256; other integers and floats, which are read
        as float64, have units of their own.
    test : path or None
        Archive of the same kind that is the test set; if not given, rows of the first are.

    Raises
    ------
    InputError
        If a file cannot be read, lacks an array, or holds one of the wrong type, shape or range; if
        the classes are too small to be split; if the test set does not go with the training set.
    """
    x, labels = _load_arrays(path)
    if labels.max() == 0:
        raise InputError(f"Labels y in {path} must name at least two classes, not only 0")
    own_units = x.dtype != np.uint8
    shape = x.shape[1:]
    if len(shape) == 2:
        shape = (*shape, 1)
    image_shape = shape if len(shape) == 3 else None
    if test is None:
        if not split_rows(labels).any():
            raise InputError(
                f"Data file {path} must have at least three images of a class, to test with one"
            )
        return _split(_features(path, x), labels, image_shape, own_units)
    test_x, test_labels = _load_arrays(test)
    _check_test(path, test, (x, labels), (test_x, test_labels))
    return Dataset(
        _features(path, x),
        labels,
        _features(test, test_x),
        test_labels,
        int(labels.max()) + 1,
        image_shape,
        own_units,
    )


def _load_arrays(path):
    """Load features as they are, and labels as int64."""
    arrays = read_arrays("Data file", path, ("x", "y"))
    for key in ("x", "y"):
        if key not in arrays:
            raise InputError(
                f"Data file {path} must hold the arrays x (images) and y (labels), "
                f"and {key} is missing"
            )
    _check(path, arrays["x"], arrays["y"])
    return arrays["x"], arrays["y"].astype(np.int64)


def _check(path, images, labels):
    if images.dtype.kind not in "iuf":
        raise InputError(f"Images x in {path} must be integers or floats, not {images.dtype}")
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


def _check_test(path, test, own, other):
    (x, labels), (test_x, test_labels) = own, other
    if test_x.shape[1:] != x.shape[1:]:
        dimensions = ", ".join(map(str, x.shape[1:]))
        raise InputError(
            f"Images x in {test} must have shape (rows, {dimensions}) as those in {path} have, "
            f"not {test_x.shape}"
        )
    if (test_x.dtype == np.uint8) != (x.dtype == np.uint8):
        raise InputError(
            f"Images x in {test} must be of the same type as those in {path}, {x.dtype}, "
            f"not {test_x.dtype}"
        )
    if test_labels.max() > labels.max():
        raise InputError(
            f"Labels y in {test} must be 0 to {labels.max()} as those in {path} are, "
            f"and {test_labels.max()} is not"
        )


def _features(path, x):
    """Rows of features; float64 but for bytes."""
    if x.dtype == np.uint8:
        return x.reshape(len(x), -1) / np.float32(256)
    with np.errstate(over="ignore"):  # of floats that are longer still
        features = x.reshape(len(x), -1).astype(np.float64)
    finite = np.isfinite(features)
    if not finite.all():
        row, feature = (int(i) for i in np.argwhere(~finite)[0])
        raise InputError(
            f"Images x in {path} must be finite, and feature {feature} of row {row} is "
            f"{features[row, feature]}; leave such rows out, or put a number there"
        )
    return features


def _split(features, labels, image_shape, own_units):
    test = split_rows(labels)
    return Dataset(
        features[~test],
        labels[~test],
        features[test],
        labels[test],
        int(labels.max()) + 1,
        image_shape,
        own_units,
    )
