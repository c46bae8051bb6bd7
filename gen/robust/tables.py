"""Data sets that are tables: generated ones with features of all kinds, and two real ones."""

import dataclasses
from typing import Any

import numpy as np

from nibblegrad.gen.robust.sets import levels, split
from nibblegrad.golden.training.data import Dataset

__all__ = [
    "breast_cancer",
    "constant_features",
    "few_rows",
    "generated",
    "heavy_tails",
    "mostly_zeros",
    "sorted_rows",
    "unequal_scales",
    "wine",
]

# The table whose features or rows are changed below.
_BASE = {
    "n_informative": 12,
    "n_redundant": 0,
    "n_classes": 6,
    "n_clusters_per_class": 1,
    "class_sep": 1.5,
}


def generated(rows: int, features: int, *, count: int = 256, **options: Any) -> Dataset:
    """Make a table by ``sklearn.datasets.make_classification``.

    Parameters
    ----------
    rows, features : int
    count : int
        Levels of each feature, 2 to 256.
    **options :
        Of ``make_classification``; ``random_state`` among them.
    """
    x, labels = _classification(rows, features, options)
    return split(levels(x, count), labels)


def breast_cancer() -> Dataset:
    """Load the breast cancer table of scikit-learn: 569 rows, 30 features, 2 classes."""
    from sklearn.datasets import load_breast_cancer

    x, labels = load_breast_cancer(return_X_y=True)
    return split(levels(x), labels)


def wine() -> Dataset:
    """Load the wine table of scikit-learn: 178 rows, 13 features, 3 classes."""
    from sklearn.datasets import load_wine

    x, labels = load_wine(return_X_y=True)
    return split(levels(x), labels)


def few_rows(rows: int, random_state: int) -> Dataset:
    """Make a table with so many rows for training, and 1,000 to judge by: one is 0.1 points."""
    options = {**_BASE, "n_informative": 8, "n_classes": 3, "n_clusters_per_class": 2}
    x, labels = _classification(5000, 10, {**options, "random_state": random_state})
    table = split(levels(x), labels)
    return dataclasses.replace(
        table, train_x=table.train_x[:rows], train_labels=table.train_labels[:rows]
    )


def unequal_scales(random_state: int) -> Dataset:
    """Make a table whose last feature takes a twentieth of the range of the first."""
    x, labels = _classification(4000, 20, {**_BASE, "random_state": random_state})
    within_one = (x - x.min(axis=0)) / (x.max(axis=0) - x.min(axis=0))
    return split(levels(within_one * np.logspace(0, -1.3, 20), per_feature=False), labels)


def heavy_tails(random_state: int) -> Dataset:
    """Make a table of log-normal features: few numbers are large, and most share few levels."""
    x, labels = _classification(4000, 20, {**_BASE, "random_state": random_state})
    return split(levels(np.exp(0.7 * x)), labels)


def mostly_zeros(seed: int) -> Dataset:
    """Make a table of counts, such as those of words: 100 features, most of them 0 in a row."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 8, 4000)
    rates = rng.gamma(0.15, 1.0, (8, 100))
    return split(levels(rng.poisson(0.6 * rates[labels])), labels)


def constant_features(random_state: int) -> Dataset:
    """Make a table of which 10 features are always 0, and 10 always the greatest number."""
    options = {**_BASE, "n_informative": 10, "n_classes": 5, "random_state": random_state}
    x, labels = _classification(3000, 12, options)
    zeros = np.zeros((len(x), 10), np.float32)
    return split(np.hstack([levels(x), zeros, zeros + np.float32(255 / 256)]), labels)


def sorted_rows(random_state: int) -> Dataset:
    """Make a table whose rows lie in the order of their classes."""
    x, labels = _classification(3000, 20, {**_BASE, "random_state": random_state})
    order = np.argsort(labels, kind="stable")
    return split(levels(x[order]), labels[order])


def _classification(rows, features, options):
    # Imported here: it takes a second.
    from sklearn.datasets import make_classification

    return make_classification(rows, features, **options)
