"""Data sets: what is loaded, how it is split, and what is refused."""

import re

import numpy as np
import pytest

from golden import data
from golden.errors import InputError

IMAGES = np.arange(40 * 6, dtype=np.uint8).reshape(40, 2, 3)
LABELS = np.arange(40) % 4


def save(path, **arrays):
    np.savez(path, **arrays)
    return path


def test_digits_are_scaled_and_split():
    dataset = data.digits()
    assert dataset.classes == 10
    assert dataset.train_x.shape == (1438, 64)
    assert dataset.test_x.shape == (359, 64)
    assert dataset.image_shape == (8, 8, 1)
    for x in (dataset.train_x, dataset.test_x):
        assert x.dtype == np.float32
        assert x.min() == 0 and x.max() == 1
        assert np.array_equal(x * 16, np.rint(x * 16))


def test_digits_split_is_fixed_and_stratified():
    dataset = data.digits()
    # Counts of each digit in scikit-learn's set.
    every = np.array([178, 182, 177, 183, 181, 182, 181, 179, 174, 180])
    assert np.array_equal(np.bincount(dataset.test_labels), np.rint(every / 5))
    assert np.array_equal(np.bincount(dataset.train_labels), every - np.rint(every / 5))
    # Rows of the test set as they came out when the results in docs/training.md were measured.
    assert dataset.test_labels[:12].tolist() == [1, 6, 1, 2, 8, 9, 0, 5, 8, 4, 7, 1]


def test_no_row_is_lost_or_in_both_sets(tmp_path):
    dataset = data.load(save(tmp_path / "data.npz", x=IMAGES, y=LABELS))
    rows = np.concatenate([dataset.train_x, dataset.test_x])
    expected = IMAGES.reshape(40, 6) / 256
    assert sorted(map(tuple, rows)) == sorted(map(tuple, expected))


def test_file_keeps_images_with_their_labels(tmp_path):
    dataset = data.load(save(tmp_path / "data.npz", x=IMAGES, y=LABELS.astype(np.uint8)))
    assert dataset.classes == 4
    assert len(dataset.test_x) == 8
    by_image = {
        tuple(image): label for image, label in zip(IMAGES.reshape(40, 6), LABELS, strict=True)
    }
    for x, labels in (
        (dataset.train_x, dataset.train_labels),
        (dataset.test_x, dataset.test_labels),
    ):
        assert [by_image[tuple(row)] for row in x * 256] == labels.tolist()


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((2, 3), (2, 3, 1)), ((1, 3, 2), (1, 3, 2)), ((6,), None), ((1, 1, 2, 3), None)],
)
def test_file_has_images_or_features(tmp_path, shape, expected):
    dataset = data.load(save(tmp_path / "data.npz", x=IMAGES.reshape(40, *shape), y=LABELS))
    assert dataset.image_shape == expected
    assert dataset.train_x.shape == (32, 6)


def refused(path, sentence):
    with pytest.raises(InputError) as error:
        data.load(path)
    assert re.fullmatch(sentence.replace("PATH", re.escape(str(path))), str(error.value))


def test_bad_path(tmp_path):
    refused(tmp_path / "none.npz", r"^Data file PATH cannot be read: No such file or directory$")


@pytest.mark.parametrize("content", [b"", b"not an archive", b"PK\x03\x04 cut off"])
def test_bad_archive(tmp_path, content):
    path = tmp_path / "data.npz"
    path.write_bytes(content)
    refused(path, r"^Data file PATH must be an archive made by numpy\.savez from plain arrays$")


def test_bad_single_array(tmp_path):
    np.save(tmp_path / "data.npy", IMAGES)
    refused(
        tmp_path / "data.npy",
        r"^Data file PATH must be an archive made by numpy\.savez from plain arrays$",
    )


def test_bad_objects(tmp_path):
    path = save(tmp_path / "data.npz", x=np.array([{}, []], object), y=LABELS)
    refused(path, r"^Data file PATH must be an archive made by numpy\.savez from plain arrays$")


@pytest.mark.parametrize("key", ["x", "y"])
def test_bad_key(tmp_path, key):
    arrays = {"x": IMAGES, "y": LABELS}
    del arrays[key]
    refused(
        save(tmp_path / "data.npz", **arrays),
        rf"^Data file PATH must hold the arrays x \(images\) and y \(labels\), "
        rf"and {key} is missing$",
    )


@pytest.mark.parametrize(
    ("images", "labels", "sentence"),
    [
        (IMAGES / 1.0, LABELS, r"^Images x in PATH must be uint8, not float64$"),
        (
            IMAGES[:, 0, 0],
            LABELS,
            r"^Images x in PATH must have shape \(rows, \.\.\.\) without an empty axis, "
            r"not \(40,\)$",
        ),
        (
            IMAGES[:0],
            LABELS[:0],
            r"^Images x in PATH must have shape \(rows, \.\.\.\) without an empty axis, "
            r"not \(0, 2, 3\)$",
        ),
        (IMAGES, LABELS / 1.0, r"^Labels y in PATH must be integers, not float64$"),
        (
            IMAGES,
            LABELS[1:],
            r"^Labels y in PATH must have shape \(40,\), one for each image, not \(39,\)$",
        ),
        (IMAGES, LABELS - 1, r"^Labels y in PATH must be 0 to 999, and -1 is not$"),
        (IMAGES, LABELS * 500, r"^Labels y in PATH must be 0 to 999, and 1500 is not$"),
        (IMAGES, LABELS * 0, r"^Labels y in PATH must name at least two classes, not only 0$"),
        (
            IMAGES,
            np.arange(40),
            r"^Data file PATH must have at least three images of a class, to test with one$",
        ),
    ],
)
def test_bad_arrays(tmp_path, images, labels, sentence):
    refused(save(tmp_path / "data.npz", x=images, y=labels), sentence)
