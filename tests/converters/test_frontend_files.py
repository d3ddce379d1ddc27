"""Which frontend a path gets, by name and content."""

from pathlib import Path

import pytest

from edgekit_converters.errors import ModelFileError
from edgekit_converters.frontends import FRONTENDS, frontend_for
from edgekit_converters.frontends.files import fingerprint, kind_of

HDF5, ZIP, TFLITE = b"\x89HDF\r\n\x1a\n....", b"PK\x03\x04........", b"\x1c\0\0\0TFL3...."


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("m.keras", ZIP, "keras"),
        ("m.keras", HDF5, "keras-h5"),
        ("m.h5", HDF5, "keras-h5"),
        ("M.HDF5", HDF5, "keras-h5"),
        ("m.tflite", TFLITE, "tflite"),
        ("m.onnx", b"\x08\x07\x12\x04", "onnx"),
    ],
)
def test_name_and_content_give_the_kind(tmp_path: Path, name: str, content: bytes, kind: str) -> None:
    (tmp_path / name).write_bytes(content)
    assert kind_of(tmp_path / name) == kind
    assert kind in FRONTENDS


def test_a_folder_with_saved_model_pb_is_a_saved_model(tmp_path: Path) -> None:
    (tmp_path / "saved_model.pb").write_bytes(b"x")
    assert kind_of(tmp_path) == "saved-model"
    assert frontend_for(tmp_path).format == "saved-model"


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("m.h5", b"", "is empty"),
        ("m.h5", TFLITE, "its content is TFLite"),
        ("m.tflite", b"hello, I am text", "neither Keras nor TFLite"),
        ("m.tflite", HDF5, "its content is HDF5"),
        ("m.keras", b"PK", "neither Keras nor TFLite"),
        ("m.onnx", TFLITE, "its content is TFLite"),
        ("m.pt", b"anything", "'.pt'"),
        ("m", b"anything", "no model format"),
        ("saved_model.pb", b"anything", "part of a SavedModel"),
    ],
)
def test_what_is_not_a_model_is_one_sentence(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelFileError, match=says) as caught:
        kind_of(tmp_path / name)
    assert str(tmp_path) in str(caught.value)


def test_an_unknown_suffix_names_those_that_are_known(tmp_path: Path) -> None:
    (tmp_path / "m.pb").write_bytes(b"anything")
    with pytest.raises(ModelFileError) as caught:
        kind_of(tmp_path / "m.pb")
    assert ".keras, .h5, .hdf5, .tflite, .onnx, and a SavedModel folder" in caught.value.__notes__[0]


def test_a_missing_path_and_an_empty_folder_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="there is no file or folder"):
        kind_of(tmp_path / "none.h5")
    with pytest.raises(ModelFileError, match=r"it has no saved_model\.pb"):
        kind_of(tmp_path)


def test_a_fingerprint_covers_every_file_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12")
    (tmp_path / "b").write_bytes(b"3")
    first = fingerprint(tmp_path)
    assert first[1] == 3
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "b").write_bytes(b"23")
    assert fingerprint(tmp_path) != first
