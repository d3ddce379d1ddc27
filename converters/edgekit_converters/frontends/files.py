"""Which input format a path is, and what identifies its bytes."""

import hashlib
import re
import zipfile
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
        ".pt2": frozenset({"pytorch-exported"}),
        ".pt": frozenset({"torchscript", "pytorch-exported"}),
        ".pth": frozenset({"torchscript"}),
        ".jit": frozenset({"torchscript"}),
        ".torchscript": frozenset({"torchscript"}),
        ".xml": frozenset({"openvino"}),
    }
)
SAVED_MODEL = "saved_model.pb"
_SUPPORTED = f"supported: {', '.join(SUFFIXES)}, a SavedModel folder, and a name package.module:factory"
_NAMES = {
    "keras": "a Keras archive",
    "keras-h5": "HDF5",
    "tflite": "TFLite",
    "pytorch-exported": "a PyTorch exported program",
    "torchscript": "TorchScript",
    "checkpoint": "a pickled PyTorch checkpoint",
    "openvino": "an OpenVINO IR",
    "zip": "a zip archive of something else",
    None: "no model that is known",
}
# What only holds weights, by suffix: there is no network in it to convert.
_WEIGHTS = frozenset({".th", ".ckpt", ".bin", ".pkl", ".safetensors"})
# Frameworks store weights as they are: an archive that unpacks to so much, and so many times its size, is a trap.
_BOMB_BYTES = 1 << 30
_BOMB_RATIO = 20
_FACTORY = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")


def is_factory(path: Path) -> bool:
    """Return whether a model is named `package.module:factory`; a file of that very name comes first."""
    return _FACTORY.fullmatch(str(path)) is not None and not path.exists()


def kind_of(path: Path) -> str:
    """Return the kind of the model: a key of `FRONTENDS`.

    Raises:
        ModelFileError: if it is missing, empty, unreadable, or its content is not what its name says.
    """
    if is_factory(path):
        return "factory"
    if path.is_dir():
        return _folder(path)
    start = _start(path)
    if path.name == SAVED_MODEL:
        raise _with_note(ModelFileError(f"'{path}' is a part of a SavedModel"), f"give its folder: {path.parent}")
    suffix = path.suffix.lower()
    kinds = SUFFIXES.get(suffix)
    if suffix in _WEIGHTS:
        raise _weights_only(path)
    if kinds is None:
        raise _with_note(ModelFileError(f"the suffix '{path.suffix}' of '{path}' is no model format"), _SUPPORTED)
    found = _sniff(path, start)
    if kinds == {"onnx"} and found is None:
        return "onnx"  # protobuf has no mark: its frontend finds out
    if found == "checkpoint" and "torchscript" in kinds:
        raise _weights_only(path)
    if found not in kinds:
        raise ModelFileError(f"'{path}' is not what its suffix says: its content is {_NAMES[found]}")
    return found


def _start(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            start = file.read(256)
    except FileNotFoundError:
        raise ModelFileError(f"there is no file or folder '{path}'") from None
    except OSError as exc:
        raise ModelFileError(f"cannot read '{path}': {exc.strerror}") from exc
    if not start:
        raise ModelFileError(f"the file '{path}' is empty")
    return start


def _weights_only(path: Path) -> ModelFileError:
    error = ModelFileError(f"'{path}' is a checkpoint: it holds weights, or pickled Python objects, but no network")
    error.add_note("it was not unpickled, since that would run whatever is in it")
    error.add_note(
        "build the network in Python, load the weights into it (torch.load with weights_only=True), and convert "
        "'module:function' that returns it, or save it with torch.export.save as .pt2"
    )
    return error


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


def _sniff(path: Path, start: bytes) -> str | None:
    if start.startswith(b"\x89HDF\r\n\x1a\n"):
        return "keras-h5"
    if start.startswith(b"PK\x03\x04"):
        return _archive(path)
    if start[:1] == b"\x80" and start[1:2] <= b"\x05":  # a pickle's first opcode is its protocol
        return "checkpoint"
    if b"<net " in start:
        return "openvino"
    return "tflite" if start[4:8] == b"TFL3" else None


def _archive(path: Path) -> str:
    """Tell zip archives apart by the names of their members alone."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError) as exc:
        raise ModelFileError(f"the archive '{path}' is truncated or damaged") from exc
    inflated = sum(one.file_size for one in members)
    if inflated > _BOMB_BYTES and inflated > _BOMB_RATIO * path.stat().st_size:
        raise ModelFileError(f"the archive '{path}' says that it unpacks to {inflated >> 20} MiB: it is not unpacked")
    if all(one.header_offset for one in members):  # what was found is the list of an archive inside this one
        raise ModelFileError(f"the archive '{path}' is truncated or damaged")
    names = {part for one in members for part in (one.filename, one.filename.partition("/")[2])}
    if "config.json" in names and "metadata.json" in names:
        return "keras"
    if "archive_format" in names or "serialized_exported_program.json" in names:
        return "pytorch-exported"
    if "constants.pkl" in names and any(name.startswith("code/") for name in names):
        return "torchscript"
    return "checkpoint" if "data.pkl" in names else "zip"


def _with_note(error: ModelFileError, note: str) -> ModelFileError:
    error.add_note(note)
    return error
