"""Data sets: what is loaded, how it is split, and what is refused."""

import re

import numpy as np
import pytest

from nibblegrad.golden.errors import InputError
from nibblegrad.golden.numbers.formats import WIDE_FORMATS
from nibblegrad.golden.training import data
from nibblegrad.golden.training.features import DEVIATION, GREATEST_FEATURE

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
        (IMAGES > 9, LABELS, r"^Images x in PATH must be integers or floats, not bool$"),
        (IMAGES * 1j, LABELS, r"^Images x in PATH must be integers or floats, not complex128$"),
        (IMAGES.astype(str), LABELS, r"^Images x in PATH must be integers or floats, not <U3$"),
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
        (IMAGES, LABELS.astype(str), r"^Labels y in PATH must be integers, not <U21$"),
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


def table(train, test=None):
    train = np.asarray(train, np.float32)
    test = train if test is None else np.asarray(test, np.float32)
    labels = [np.arange(len(x)) % 2 for x in (train, test)]
    return data.Dataset(train, labels[0], test, labels[1], 2)


def test_features_get_the_same_scale_by_powers_of_two():
    rng = np.random.default_rng(3)
    widths = np.array([1.0, 1.0, 0.9, 0.25, 1 / 16, 1 / 256])
    x = np.floor(rng.random((5000, 6)) * widths * 256) / 256 + np.array([0, 0.25, 0, 0.5, 0, 0.125])
    scaled = data.scale_features(table(x)).train_x
    assert scaled.dtype == np.float32
    assert (scaled.min(axis=0) == 0).all()
    # The last feature is constant: it has one level.
    assert (scaled[:, 5] == 0).all()
    gains = np.array(
        [(scaled[:, i] / np.maximum(x[:, i] - x[:, i].min(), 1e-9)).max() for i in range(5)]
    )
    powers = np.log2(gains / gains[0])
    assert np.allclose(powers, np.rint(powers), atol=0.01)
    assert np.rint(powers).tolist() == [0, 0, 0, 2, 4]
    # The usual deviation is that of the third feature, 0.9 times a uniform one.
    assert np.sqrt(scaled.var(axis=0).sum()) == pytest.approx(DEVIATION, rel=0.15)


@pytest.mark.parametrize("count", [1, 16, 300])
def test_scale_does_not_depend_on_the_count_of_features(count):
    x = np.random.default_rng(4).integers(0, 256, (2000, count)) / 256
    scaled = data.scale_features(table(x)).train_x
    assert np.sqrt(scaled.var(axis=0).sum()) == pytest.approx(DEVIATION, rel=0.03)


def test_levels_stay_levels():
    """Sixteen levels of a feature are sixteen multiples of one number, to 8 bits."""
    x = np.random.default_rng(5).integers(0, 16, (1000, 4)) / 16
    scaled = data.scale_features(table(x)).train_x
    unit = np.unique(scaled)[1]
    assert len(np.unique(scaled)) == 16
    assert np.allclose(scaled / unit, np.rint(scaled / unit), atol=0.05)


def test_scaled_features_fit_every_wide_format():
    rng = np.random.default_rng(6)
    x = rng.integers(0, 256, (300, 5)) * np.array([1, 0.125, 1 / 16, 1 / 64, 0]) // 1 / 256
    dataset = data.scale_features(table(x, x[::-1]))
    for features in (dataset.train_x, dataset.test_x):
        for fmt in WIDE_FORMATS.values():
            assert np.array_equal(fmt.decode(fmt.encode(features)), features)


def test_scales_are_those_of_the_training_set():
    train = np.array([[0.25, 0.5], [0.5, 0.5], [0.75, 0.5]])
    scaled = data.scale_features(table(train, [[0.0, 1.0], [1.0, 0.5]]))
    unit = scaled.train_x[1, 0]
    assert np.allclose(scaled.test_x[:, 0], [-unit, 3 * unit], rtol=0.01)
    # A feature that is constant in training has the usual gain, times 64, and no more.
    assert 0 < scaled.test_x[0, 1] <= 64.5 * 2 * unit
    assert scaled.test_x[1, 1] == 0


def test_images_and_constants_are_left_alone():
    for dataset in (data.digits(), table(np.full((4, 3), 0.5))):
        scaled = data.scale_features(dataset)
        assert np.array_equal(scaled.train_x, dataset.train_x)
        assert np.array_equal(scaled.test_x, dataset.test_x)


def loaded(tmp_path, x, labels=LABELS, /, **test):
    save(tmp_path / "data.npz", x=x, y=labels)
    if test:
        return data.load(tmp_path / "data.npz", save(tmp_path / "test.npz", **test))
    return data.load(tmp_path / "data.npz")


FLOATS = np.random.default_rng(8).normal(3, [1, 20, 0.1, 5, 1, 0.02], (40, 6))


def test_floats_get_units_of_their_own(tmp_path):
    """Features in any units end the same, where the units differ by powers of two."""
    expected = data.scale_features(loaded(tmp_path, FLOATS))
    assert expected.train_x.dtype == np.float32
    assert np.sqrt(expected.train_x.var(axis=0).sum()) == pytest.approx(DEVIATION, rel=0.25)
    assert (expected.train_x.min(axis=0) == 0).all()
    for units in (2.0 ** np.array([1000, -900, 3, 0, -3, 20]), 2.0**-900):
        found = data.scale_features(loaded(tmp_path, FLOATS * units))
        assert found.train_x.tobytes() == expected.train_x.tobytes()
        assert found.test_x.tobytes() == expected.test_x.tobytes()


@pytest.mark.parametrize("dtype", ["<f2", "<f4", ">f4", "<f8", "<i2", ">i4", "<i8", "<u4", "g"])
def test_types_of_numbers_do_not_matter(tmp_path, dtype):
    x = np.rint(FLOATS * [10, 1, 100, 1, 10, 1000]).clip(0, 200)
    expected = data.scale_features(loaded(tmp_path, x))
    found = data.scale_features(loaded(tmp_path, x.astype(dtype)))
    assert found.train_x.tobytes() == expected.train_x.tobytes()
    assert found.test_x.tobytes() == expected.test_x.tobytes()


def test_features_that_say_nothing_of_their_unit_are_left_out(tmp_path):
    x = FLOATS.copy()
    x[:, 2] = 1e300
    dataset = loaded(tmp_path, x, x=np.full((1, 6), 3.0), y=[1])
    scaled = data.scale_features(dataset)
    assert (scaled.train_x[:, 2] == 0).all() and (scaled.test_x[:, 2] == 0).all()
    assert (scaled.train_x.max(axis=0) > 0).tolist() == [True, True, False, True, True, True]
    x[:, 2] = 1e-300
    far = loaded(tmp_path, x, x=np.full((1, 6), 1e300), y=[1])
    assert data.scale_features(far).test_x[0, 2] == 0
    every = loaded(tmp_path, np.full((40, 3), -7.5), x=[[1.0, -np.finfo(float).max, 0.0]], y=[1])
    assert not data.scale_features(every).test_x.any()


def test_extreme_numbers_stay_finite_and_in_every_format(tmp_path):
    greatest = np.finfo(np.float64).max
    x = FLOATS.copy()
    x[:, 0] *= greatest / np.abs(x[:, 0]).max()
    x[::2, 1], x[1::2, 1] = greatest, -greatest
    x[:, 2] *= 1e-320
    x[7, 3] = 1e300
    x[:, 4] = 1.7e18 + np.arange(40) * 1000
    test = np.array([[greatest] * 6, [-greatest] * 6, [5e-324] * 6, [0.0] * 6])
    scaled = data.scale_features(loaded(tmp_path, x, x=test, y=[0, 1, 2, 3]))
    for features in (scaled.train_x, scaled.test_x):
        assert np.isfinite(features).all() and np.abs(features).max() <= GREATEST_FEATURE
        for fmt in WIDE_FORMATS.values():
            assert np.array_equal(fmt.decode(fmt.encode(features)), features)
    # The rows differ in each of the features.
    assert (scaled.train_x.std(axis=0) > 0.1).all()
    assert len(np.unique(scaled.train_x[:, 4])) > 25


def test_float_images_share_a_unit(tmp_path):
    """Whether pixels are 0 to 255, 0 to 1 or standardised, the same images come out."""
    x = np.random.default_rng(9).integers(0, 256, (40, 5, 7, 3))
    x[0, 0, 0, 0] = 0
    dataset = loaded(tmp_path, x.astype(np.uint8))
    assert dataset.train_x.dtype == np.float32
    expected = data.scale_features(dataset)
    assert np.array_equal(expected.train_x, dataset.train_x)
    for images in (x, x.astype(np.float32), x / 256, (x - 128) / 64):
        found = data.scale_features(loaded(tmp_path, images))
        assert found.image_shape == (5, 7, 3)
        assert found.train_x.tobytes() == expected.train_x.tobytes()
        assert found.test_x.tobytes() == expected.test_x.tobytes()
    same = loaded(tmp_path, np.full((40, 5, 7), 3.25), x=np.full((1, 5, 7), 4.0), y=[1])
    assert not data.scale_features(same).train_x.any()
    assert not data.scale_features(same).test_x.any()


def test_digits_in_a_file_are_the_digits(tmp_path):
    from sklearn.datasets import load_digits

    images = load_digits()
    found = data.scale_features(loaded(tmp_path, images.images, images.target))
    expected = data.digits()
    for key in ("train_x", "train_labels", "test_x", "test_labels"):
        assert np.array_equal(getattr(found, key), getattr(expected, key))


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_bad_number(tmp_path, number):
    x = FLOATS.reshape(40, 2, 3).copy()
    x[31, 1, 0] = number
    refused(
        save(tmp_path / "data.npz", x=x, y=LABELS),
        rf"^Images x in PATH must be finite, and feature 3 of row 31 is {number}; leave such rows "
        r"out, or put a number there$",
    )


def test_own_test_set(tmp_path):
    x, labels = IMAGES[:7], [3, 0, 0, 1, 1, 1, 3]
    dataset = loaded(tmp_path, IMAGES, x=x, y=np.array(labels))
    assert np.array_equal(dataset.train_x, IMAGES.reshape(40, 6) / 256)
    assert np.array_equal(dataset.train_labels, LABELS)
    assert np.array_equal(dataset.test_x, x.reshape(7, 6) / 256)
    assert dataset.test_labels.tolist() == labels
    assert dataset.classes == 4 and dataset.image_shape == (2, 3, 1)
    # Too few rows to be split are enough to train on.
    assert loaded(tmp_path, IMAGES[:4], np.arange(4), x=x, y=labels).classes == 4


def test_own_test_set_has_no_say_in_the_scale(tmp_path):
    found = [
        data.scale_features(loaded(tmp_path, FLOATS, x=x, y=np.array([1])))
        for x in (FLOATS[:1], 1000 * FLOATS[:1])
    ]
    assert found[0].train_x.tobytes() == found[1].train_x.tobytes()
    assert np.array_equal(found[0].test_x[0], found[0].train_x[0])
    assert np.abs(found[1].test_x).max() > 100 * np.abs(found[0].test_x).max()


@pytest.mark.parametrize(
    ("test", "sentence"),
    [
        (
            {"x": IMAGES[:, :, :2], "y": LABELS},
            r"Images x in TEST must have shape \(rows, 2, 3\) as those in PATH have, "
            r"not \(40, 2, 2\)",
        ),
        (
            {"x": IMAGES.reshape(40, 6), "y": LABELS},
            r"Images x in TEST must have shape \(rows, 2, 3\) as those in PATH have, "
            r"not \(40, 6\)",
        ),
        (
            {"x": IMAGES / 256, "y": LABELS},
            "Images x in TEST must be of the same type as those in PATH, uint8, not float64",
        ),
        (
            {"x": IMAGES, "y": LABELS + 1},
            "Labels y in TEST must be 0 to 3 as those in PATH are, and 4 is not",
        ),
        ({"x": IMAGES}, r"Data file TEST must hold the arrays x .* and y is missing"),
        ({"x": IMAGES, "y": LABELS - 1}, "Labels y in TEST must be 0 to 999, and -1 is not"),
    ],
)
def test_bad_test_set(tmp_path, test, sentence):
    sentence = sentence.replace("TEST", re.escape(str(tmp_path / "test.npz")))
    sentence = sentence.replace("PATH", re.escape(str(tmp_path / "data.npz")))
    save(tmp_path / "data.npz", x=IMAGES, y=LABELS)
    save(tmp_path / "test.npz", **test)
    with pytest.raises(InputError, match=f"^{sentence}$"):
        data.load(tmp_path / "data.npz", tmp_path / "test.npz")


@pytest.mark.parametrize("row, label", [(1, 3), (0, -1)])
@pytest.mark.parametrize("part", ["training", "test"])
def test_labels_name_a_class(part, row, label):
    x, right = np.zeros((2, 4), np.float32), np.array([0, 2])
    wrong = right.copy()
    wrong[row] = label
    labels = (wrong, right) if part == "training" else (right, wrong)
    with pytest.raises(InputError) as error:
        data.Dataset(x, labels[0], x, labels[1], 3)
    assert str(error.value) == (
        f"Labels must be 0 to 2, as there are 3 classes, and {part} label {row} is {label}"
    )


def test_features_and_labels_have_the_same_rows():
    x, labels = np.zeros((2, 4), np.float32), np.array([0, 1])
    with pytest.raises(InputError, match=r"^Test set must have .*, not \(2, 4\) and \(3,\)$"):
        data.Dataset(x, labels, x, np.array([0, 1, 1]), 2)
