"""What all data sets of the bench have in common: levels of features, and how they are split."""

import numpy as np
import numpy.typing as npt

from nibblegrad.golden.training.data import Dataset, split_rows

__all__ = ["levels", "split"]


def levels(x: npt.ArrayLike, count: int = 256, per_feature: bool = True) -> npt.NDArray[np.float32]:
    """Cut real numbers into equal intervals between the least and the greatest.

    A feature that never changes becomes 0.

    Parameters
    ----------
    x : array of finite real numbers, shape (rows, features)
    count : int
        Count of intervals, 2 to 256.
    per_feature : bool
        Whether each feature has a least and a greatest number of its own, or all share them.

    Returns
    -------
    array of float32, shape (rows, features)
        0 to 255/256, multiples of ``256 // count`` times 1/256.
    """
    numbers = np.asarray(x, np.float64)
    axis = 0 if per_feature else None
    least, greatest = numbers.min(axis=axis), numbers.max(axis=axis)
    span = np.where(greatest > least, greatest - least, 1)
    # The greatest number belongs to the last interval.
    intervals = np.minimum(np.floor((numbers - least) / span * count), count - 1)
    return (intervals * (256 // count) / 256).astype(np.float32)


def split(
    features: npt.NDArray[np.float32],
    labels: npt.NDArray[np.integer],
    image_shape: tuple[int, int, int] | None = None,
) -> Dataset:
    """Split rows into training and test set by the rule of ``golden.training.data.split_rows``.

    Parameters
    ----------
    features : array of float32, shape (rows, features)
        As in :class:`nibblegrad.golden.training.data.Dataset`.
    labels : array of int, shape (rows,)
        0 to ``classes - 1``.
    image_shape : tuple of int, or None
        Height, width and channels, if the features are an image.
    """
    test = split_rows(labels)
    numbers = labels.astype(np.int64)
    return Dataset(
        features[~test],
        numbers[~test],
        features[test],
        numbers[test],
        int(numbers.max()) + 1,
        image_shape,
    )
