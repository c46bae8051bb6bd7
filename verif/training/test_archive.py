"""Archives that anybody may have made: damaged in any way, they load whole or are refused, within
small memory."""

import io
import tracemalloc
import zipfile

import numpy as np
import pytest

from nibblegrad.golden.errors import InputError
from nibblegrad.golden.training import archive, data

rng = np.random.default_rng(7)
IMAGES = rng.integers(0, 256, (40, 6, 5), dtype=np.uint8)
LABELS = np.arange(40) % 4
SENTENCE = "must be an archive made by numpy.savez from plain arrays"
#: What reading a small file may take, at most.
MEMORY = 30_000_000


def archive_of(compress):
    buffer = io.BytesIO()
    (np.savez_compressed if compress else np.savez)(buffer, x=IMAGES, y=LABELS)
    return buffer.getvalue()


@pytest.fixture(params=[False, True], ids=["stored", "compressed"])
def whole(request):
    return archive_of(request.param)


def reads(path, content):
    """Tell whether it loads to the same arrays; refuse anything but that and an InputError."""
    path.write_bytes(content)
    tracemalloc.start()
    try:
        arrays = archive.read_arrays("Data file", path, ("x", "y"))
    except InputError as error:
        assert str(error).startswith(f"Data file {path} ") and "\n" not in str(error)
        arrays = {}
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < MEMORY
    for name, expected in (("x", IMAGES), ("y", LABELS)):
        if name in arrays:
            found = arrays[name]
            assert found.dtype == expected.dtype and np.array_equal(found, expected)
    return set(arrays) == {"x", "y"}


def test_whole_archives_load(tmp_path, whole):
    assert reads(tmp_path / "data.npz", whole)


@pytest.mark.parametrize("change", [0x01, 0x80, 0xFF])
def test_no_damaged_byte_goes_unnoticed(tmp_path, whole, change):
    refused = 0
    for place in range(0, len(whole), 11):
        damaged = bytearray(whole)
        damaged[place] ^= change
        refused += not reads(tmp_path / "data.npz", bytes(damaged))
    # What may be damaged is what nobody needs, such as the date.
    assert refused > 0.8 * len(whole) / 11


def test_no_truncated_file_loads(tmp_path, whole):
    for length in range(0, len(whole), 17):
        assert not reads(tmp_path / "data.npz", whole[:length])


def test_no_hole_goes_unnoticed(tmp_path, whole):
    for place in range(0, len(whole), 61):
        for middle in (b"", b"\0" * 40):
            changed = whole[:place] + middle + whole[place + 40 :]
            reads(tmp_path / "data.npz", changed)


def member(header, content=b"", version=1):
    text = header.encode() + b"\n"
    length = len(text).to_bytes(2 if version == 1 else 4, "little")
    return b"\x93NUMPY" + bytes([version, 0]) + length + text + content


def write_archive(path, x, method=zipfile.ZIP_DEFLATED):
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, LABELS)
    with zipfile.ZipFile(path, "w", method) as file:
        file.writestr("x.npy", x)
        file.writestr("y.npy", buffer.getvalue())


def header(dtype="'|u1'", shape="(40, 6)", order="False"):
    return f"{{'descr': {dtype}, 'fortran_order': {order}, 'shape': {shape}, }}"


@pytest.mark.parametrize(
    "x",
    [
        member(header("'|O'"), b"\0" * 240),
        member(header("'<M8[s]'"), b"\0" * 1920),
        member(header("[('a', '|u1'), ('b', '<f4')]"), b"\0" * 1200),
        member(header("[('a', '|u1', (1000000, 1000000))]"), b"\0" * 240),
        member(header("'|V1000'"), b"\0" * 240),
        member(header("'|S0'"), b""),
        member(header("'nonsense'"), b"\0" * 240),
        member(header("3"), b"\0" * 240),
        member(header(shape="(-1, 6)"), b"\0" * 240),
        member(header(shape="(40, -6)"), b"\0" * 240),
        member(header(shape="40"), b"\0" * 240),
        member(header(shape="(40.0, 6)"), b"\0" * 240),
        member(header(shape="(40, 7)"), b"\0" * 240),
        member(header(shape="(40, 5)"), b"\0" * 240),
        member(header(shape="(1000000, 1000)"), b"\0" * 240),
        member(header(shape="(0, 10000000000000000000000000000000)"), b""),
        member("{" * 5000, b"\0" * 240),
        member("(" * 5000 + ")" * 5000, b"\0" * 240),
        member("", b"\0" * 240),
        member("{'descr': '|u1'}", b"\0" * 240),
        member(header(), b"\0" * 240, version=9),
        member(header("'|u1'") + " " * 100_000, b"\0" * 240, version=2),
        b"",
        b"\x93NUMPY",
        b"\x93NUMPY\x02\x00\xff\xff\xff\xff",
        b"no array",
        b"\x80\x04\x95cos\nsystem\n.",
    ],
)
def test_bad_member(tmp_path, x):
    path = tmp_path / "data.npz"
    write_archive(path, x)
    assert not reads(path, path.read_bytes())
    with pytest.raises(InputError, match=f"^Data file .* {SENTENCE}$"):
        data.load(path)


@pytest.mark.parametrize("shape", ["(1000000, 1000000)", "(10, 99999999999999999999999)"])
def test_bad_claim(tmp_path, shape):
    """A header of a trillion numbers takes no memory."""
    path = tmp_path / "data.npz"
    write_archive(path, member(header(shape=shape), b"\0" * 240))
    assert not reads(path, path.read_bytes())
    with pytest.raises(InputError, match=r" numbers in x, and 1,073,741,824 are the most that are"):
        data.load(path)


def test_bomb(tmp_path):
    """What unfolds beyond what its header says is not unfolded."""
    path = tmp_path / "data.npz"
    write_archive(path, member(header(), b"\0" * 100_000_000))
    assert path.stat().st_size < 200_000
    assert not reads(path, path.read_bytes())


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_bad_method(tmp_path, method):
    path = tmp_path / "data.npz"
    write_archive(path, member(header(), b"\0" * 240), method)
    with pytest.raises(InputError, match=f"^Data file .* {SENTENCE}$"):
        data.load(path)


def test_bad_file(tmp_path):
    with pytest.raises(InputError, match=r"^Data file .* cannot be read: Is a directory$"):
        data.load(tmp_path)
    (tmp_path / "empty.npz").touch()
    with pytest.raises(InputError, match=f"^Data file .* {SENTENCE}$"):
        data.load(tmp_path / "empty.npz")


def test_a_name_twice(tmp_path):
    path = tmp_path / "data.npz"
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(path, "w") as file:
        for _ in range(2):
            file.writestr("x.npy", member(header(), b"\0" * 240))
    with pytest.raises(InputError, match=f"^Data file .* {SENTENCE}$"):
        data.load(path)


def test_orders_and_versions(tmp_path):
    """What NumPy writes in whatever way is read as NumPy reads it."""
    path = tmp_path / "data.npz"
    arrays = {
        "columns": np.asfortranarray(IMAGES[:, 0]),
        "big": IMAGES.astype(">i8"),
        "half": IMAGES.astype(np.float16),
        "single": np.array(3.5),
        "none": np.zeros((0, 4)),
        "text": np.array(["a", "bcd"]),
    }
    np.savez_compressed(path, **arrays)
    found = archive.read_arrays("Data file", path, None)
    with np.load(path) as expected:
        assert set(found) == set(expected.files)
        for name in found:
            assert found[name].dtype == expected[name].dtype
            assert np.array_equal(found[name], expected[name])
    for version in (2, 3):
        write_archive(path, member(header(), IMAGES[:, 0].tobytes() + b"\0" * 40, version))
        assert archive.read_arrays("Data file", path, ("x",))["x"].shape == (40, 6)
