"""Which input format a path is, and what identifies its bytes."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from edgekit_converters.errors import ModelFileError

# Kinds of model files, and the suffixes each may have.
SUFFIXES: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        ".keras": frozenset({"keras", "keras-h5"}),  # tf_keras wrote HDF5 under this suffix too
        ".h5": frozenset({"keras-h5", "keras"}),
        ".hdf5": frozenset({"keras-h5"}),
        ".tflite": frozenset({"tflite"}),
        ".onnx": frozenset({"onnx"}),
    }
)
SAVED_MODEL = "saved_model.pb"
_SUPPORTED = f"supported: {', '.join(SUFFIXES)}, and a SavedModel folder"
_NAMES = {"keras": "a Keras archive", "keras-h5": "HDF5", "tflite": "TFLite", None: "neither Keras nor TFLite"}


def kind_of(path: Path) -> str:
    """Return the kind of the model: `keras`, `keras-h5`, `saved-model`, `tflite` or `onnx`.

    Raises:
        ModelFileError: if it is missing, empty, unreadable, or its content is not what its name says.
    """
    if path.is_dir():
        return _folder(path)
    try:
        with path.open("rb") as file:
            start = file.read(8)
    except FileNotFoundError:
        raise ModelFileError(f"there is no file or folder '{path}'") from None
    except OSError as exc:
        raise ModelFileError(f"cannot read '{path}': {exc.strerror}") from exc
    if not start:
        raise ModelFileError(f"the file '{path}' is empty")
    if path.name == SAVED_MODEL:
        raise _with_note(ModelFileError(f"'{path}' is a part of a SavedModel"), f"give its folder: {path.parent}")
    kinds = SUFFIXES.get(path.suffix.lower())
    if kinds is None:
        raise _with_note(ModelFileError(f"the suffix '{path.suffix}' of '{path}' is no model format"), _SUPPORTED)
    found = _sniff(start)
    if kinds == {"onnx"} and found is None:
        return "onnx"  # protobuf has no mark: its frontend finds out
    if found not in kinds:
        raise ModelFileError(f"'{path}' is not what its suffix says: its content is {_NAMES[found]}")
    return found


def fingerprint(path: Path) -> tuple[str, int]:
    """Return sha256 (hex) and size in bytes of a file, or of every file of a folder in the order of their names."""
    files = sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path]
    digest, size = hashlib.sha256(), 0
    for file in files:
        if path.is_dir():
            digest.update(f"{file.relative_to(path).as_posix()}\0{file.stat().st_size}\0".encode())
        with file.open("rb") as opened:
            while chunk := opened.read(1 << 20):
                digest.update(chunk)
                size += len(chunk)
    return digest.hexdigest(), size


def _folder(path: Path) -> str:
    file = path / SAVED_MODEL
    if not file.is_file():
        raise ModelFileError(f"the folder '{path}' is not a SavedModel: it has no {SAVED_MODEL}")
    if not file.stat().st_size:
        raise ModelFileError(f"the file '{file}' is empty")
    return "saved-model"


def _sniff(start: bytes) -> str | None:
    if start.startswith(b"\x89HDF\r\n\x1a\n"):
        return "keras-h5"
    if start.startswith(b"PK\x03\x04"):
        return "keras"
    return "tflite" if start[4:8] == b"TFL3" else None


def _with_note(error: ModelFileError, note: str) -> ModelFileError:
    error.add_note(note)
    return error
