"""Which frontend a path gets, by name and content."""

import io
import zipfile
from pathlib import Path

import pytest

from edgekit_converters.conversion import stem_of
from edgekit_converters.errors import ModelFileError
from edgekit_converters.frontends import FRONTENDS, frontend_for
from edgekit_converters.frontends.files import fingerprint, kind_of

HDF5, TFLITE, IR = b"\x89HDF\r\n\x1a\n....", b"\x1c\0\0\0TFL3....", b'<?xml version="1.0"?>\n<net name="x">'


def zipped(*names: str) -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        for name in names:
            archive.writestr(name, b"")
    return written.getvalue()


KERAS = zipped("config.json", "metadata.json")
SCRIPT = zipped("net/data.pkl", "net/constants.pkl", "net/code/__torch__.py")
EXPORTED = zipped("net/archive_format", "net/models/model.json")
CHECKPOINT, OLD_CHECKPOINT = zipped("net/data.pkl", "net/data/0"), b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("m.keras", KERAS, "keras"),
        ("m.keras", HDF5, "keras-h5"),
        ("m.h5", HDF5, "keras-h5"),
        ("M.HDF5", HDF5, "keras-h5"),
        ("m.tflite", TFLITE, "tflite"),
        ("m.onnx", b"\x08\x07\x12\x04", "onnx"),
        ("m.pt2", EXPORTED, "pytorch-exported"),
        ("m.pt", EXPORTED, "pytorch-exported"),
        ("m.pt", SCRIPT, "torchscript"),
        ("m.jit", SCRIPT, "torchscript"),
        ("m.xml", IR, "openvino"),
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
        ("m.tflite", b"hello, I am text", "no model that is known"),
        ("m.tflite", HDF5, "its content is HDF5"),
        ("m.keras", b"PK", "no model that is known"),
        ("m.keras", KERAS[:-30], "truncated or damaged"),
        ("m.keras", SCRIPT, "its content is TorchScript"),
        ("m.pt2", SCRIPT, "its content is TorchScript"),
        ("m.pt2", zipped("readme"), "a zip archive of something else"),
        ("m.pt", b"anything", "no model that is known"),
        ("m.xml", b"<html>", "no model that is known"),
        ("m.onnx", TFLITE, "its content is TFLite"),
        ("m.pb", b"anything", "'.pb'"),
        ("m", b"anything", "no model format"),
        ("saved_model.pb", b"anything", "part of a SavedModel"),
    ],
)
def test_what_is_not_a_model_is_one_sentence(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelFileError, match=says) as caught:
        kind_of(tmp_path / name)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("m.pt", CHECKPOINT),
        ("m.pth", OLD_CHECKPOINT),
        ("m.jit", b"\x80\x05...."),
        ("m.th", OLD_CHECKPOINT),
        ("m.safetensors", b"\x10\0\0\0\0\0\0\0{}"),
    ],
)
def test_a_checkpoint_is_refused_unread_and_told_what_to_do(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelFileError, match="is a checkpoint: it holds weights") as caught:
        kind_of(tmp_path / name)
    assert "not unpickled" in caught.value.__notes__[0]
    assert "module:function" in caught.value.__notes__[1]


def test_a_name_with_a_colon_is_a_factory_unless_there_is_such_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert kind_of(Path("nets.small:build")) == "factory"
    assert kind_of(Path("nets:Nets.build")) == "factory"
    assert stem_of(Path("nets.small:build")) == "build"
    for name in ("nets/small:build", "nets:", ":build", "1nets:build", "nets:build()", "a:b:c"):
        with pytest.raises(ModelFileError, match="there is no file or folder"):
            kind_of(Path(name))
    Path("nets:build").write_bytes(b"anything")
    with pytest.raises(ModelFileError, match="no model format"):
        kind_of(Path("nets:build"))


def test_an_unknown_suffix_names_those_that_are_known(tmp_path: Path) -> None:
    (tmp_path / "m.pb").write_bytes(b"anything")
    with pytest.raises(ModelFileError) as caught:
        kind_of(tmp_path / "m.pb")
    assert ".keras, .h5, .hdf5, .tflite, .onnx, .pt2, " in caught.value.__notes__[0]
    assert caught.value.__notes__[0].endswith("a SavedModel folder, and a name package.module:factory")


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
