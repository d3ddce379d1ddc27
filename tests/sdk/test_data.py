"""Loading a user's data."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgekit import _data
from edgekit.errors import DataError, UsageError


@pytest.fixture
def npz(tmp_path: Path) -> Path:
    path = tmp_path / "d.npz"
    np.savez(path, x=np.arange(20.0).reshape(10, 2), y=np.arange(10))
    return path


@pytest.mark.parametrize(
    ("cut", "first", "count"),
    [("", 0, 10), ("[0:4]", 0, 4), ("[4:]", 4, 6), ("[:3]", 0, 3), ("[-2:]", 8, 2), ("[8:100]", 8, 2)],
)
def test_a_slice_takes_that_part_of_arrays_and_labels(npz: Path, cut: str, first: int, count: int) -> None:
    data = _data.load(f"{npz}{cut}")
    assert len(data) == count
    assert data.arrays["x"][0, 0] == 2 * first
    assert data.labels is not None
    assert data.labels["y"].tolist() == list(range(first, first + count))


@pytest.mark.parametrize("cut", ["[1]", "[a:b]", "[1:2:3]", "[]"])
def test_a_slice_that_cannot_be_read_is_a_usage_error(npz: Path, cut: str) -> None:
    with pytest.raises(UsageError, match="optional slice"):
        _data.load(f"{npz}{cut}")


def test_an_empty_slice_is_refused(npz: Path) -> None:
    with pytest.raises(DataError, match="no samples"):
        _data.load(f"{npz}[5:5]")


def test_a_npy_is_one_array(tmp_path: Path) -> None:
    np.save(tmp_path / "d.npy", np.ones((4, 3), np.float32))
    data = _data.load(str(tmp_path / "d.npy"))
    assert data.arrays["x"].shape == (4, 3)
    assert data.labels is None


def test_sub_folders_named_by_numbers_are_the_class_numbers(tmp_path: Path) -> None:
    for name in ("2", "10"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (4, 3), (int(name), 0, 0)).save(tmp_path / name / "a.png")
    data = _data.load(str(tmp_path))
    assert data.arrays["x"].shape == (2, 3, 4, 3)
    assert data.labels is not None
    by_label = dict(zip(data.labels["y"].tolist(), data.arrays["x"][:, 0, 0, 0].tolist(), strict=True))
    assert by_label == {2: 2.0, 10: 10.0}


def test_named_sub_folders_are_numbered_in_order_of_their_names(tmp_path: Path) -> None:
    for name in ("dog", "cat"):
        (tmp_path / name).mkdir()
        np.save(tmp_path / name / "a.npy", np.zeros(3))
    data = _data.load(str(tmp_path))
    assert data.classes == ("cat", "dog")
    assert data.labels is not None
    assert data.labels["y"].tolist() == [0, 1]


def test_images_of_several_sizes_ask_for_a_resize(tmp_path: Path) -> None:
    Image.new("RGB", (4, 3)).save(tmp_path / "a.png")
    Image.new("RGB", (5, 3)).save(tmp_path / "b.png")
    with pytest.raises(DataError, match="has shape") as caught:
        _data.load(str(tmp_path))
    assert "resize=" in caught.value.__notes__[0]


def _truncated(path: Path) -> None:
    np.savez(path, x=np.zeros(100))
    path.write_bytes(path.read_bytes()[:60])


def _text(path: Path) -> None:
    path.write_text("hello")


def _pickled(path: Path) -> None:
    np.savez(path, x=np.array([{"a": 1}], dtype=object))


def _damaged_header(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", b"\x93NUMPY\x01\x00\xff\xff{'descr'")


@pytest.mark.parametrize("broken", [_truncated, _text, _pickled, _damaged_header], ids=lambda f: f.__name__[1:])
def test_a_broken_file_is_one_sentence(tmp_path: Path, broken: "object") -> None:
    path = tmp_path / "d.npz"
    broken(path)  # type: ignore[operator]
    with pytest.raises(DataError, match=r"d\.npz"):
        _data.load(str(path))


def test_labels_of_another_length_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=np.zeros((3, 2)), y=np.zeros(4))
    with pytest.raises(DataError, match="different numbers of samples: x 3, y 4"):
        _data.load(str(tmp_path / "d.npz"))


def test_a_missing_file_and_an_unknown_kind_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        _data.load(str(tmp_path / "no.npz"))
    (tmp_path / "d.txt").write_text("1 2 3")
    with pytest.raises(DataError, match="none of"):
        _data.load(str(tmp_path / "d.txt"))
