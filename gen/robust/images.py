"""Data sets that are images: the digits, enlarged as well, coloured textures, and blank ones."""

import dataclasses

import numpy as np

from nibblegrad.gen.robust.sets import levels, split
from nibblegrad.golden.training import data
from nibblegrad.golden.training.data import Dataset

__all__ = ["blank_first_class", "coloured_textures", "large_digits"]


def large_digits() -> Dataset:
    """Enlarge the digits to 28 x 28 pixels: each becomes 3 x 3, with a margin of 2 zeros."""
    small = data.digits()

    def enlarge(x):
        images = x.reshape(-1, 8, 8).repeat(3, axis=1).repeat(3, axis=2)
        return np.pad(images, ((0, 0), (2, 2), (2, 2))).reshape(len(x), -1)

    return dataclasses.replace(
        small,
        train_x=enlarge(small.train_x),
        test_x=enlarge(small.test_x),
        image_shape=(28, 28, 1),
    )


def coloured_textures(seed: int, *, rows: int = 1500, classes: int = 6) -> Dataset:
    """Make images of 32 x 32 pixels in three colours, each the sum of three waves in noise.

    A class decides direction, length and colour of the waves; each image shifts them.

    Parameters
    ----------
    seed : int
    rows, classes : int
        Count of images and of classes.
    """
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, rows)
    waves = rng.integers(1, 5, (classes, 3, 2))
    colours = rng.uniform(-1, 1, (classes, 3, 3))
    # The first wave is shifted less than a quarter, so that a class has something that stays.
    phases = rng.uniform(0, (1.5, 2 * np.pi, 2 * np.pi), (rows, 3))
    turns = 2 * np.pi / 32 * np.arange(32)
    images = rng.normal(128, 40, (rows, 32, 32, 3))
    for image, label, shifts in zip(images, labels, phases, strict=True):
        for (down, across), colour, shift in zip(waves[label], colours[label], shifts, strict=True):
            wave = np.cos(down * turns[:, None] + across * turns + shift)
            image += 40 * wave[..., None] * colour
    x = np.clip(images.reshape(rows, -1), 0, 255)
    return split(levels(x, per_feature=False), labels, (32, 32, 3))


def blank_first_class(seed: int) -> Dataset:
    """Make images of six classes in order; those of the first are all but blank.

    So the first mini-batch that a network sees has almost nothing in it.
    """
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(6), 100)
    patterns = rng.random((6, 64)) > 0.6
    x = np.clip(180 * patterns[labels] + rng.normal(0, 30, (600, 64)), 0, 255)
    x[:100] = 40 * (rng.random((100, 64)) > 0.995)
    return split(levels(x, per_feature=False), labels, (8, 8, 1))
