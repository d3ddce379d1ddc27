"""`edgekit.pack` and `edgekit.unpack`: an artifact as one small file for transport, and back, byte for byte."""

import gzip
import lzma
from dataclasses import dataclass
from pathlib import Path

from edgekit.errors import DataError
from edgekit_agent import packing
from edgekit_agent.durable import write_durably
from edgekit_agent.unpacking import unpack_file

SUFFIX = ".ekpk"


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """Where a packed file is, what is in it, and its bytes beside those of common packers on the same files."""

    path: Path
    files: tuple[str, ...]
    at_rest_bytes: int
    packed_bytes: int
    gzip_bytes: int
    xz_bytes: int

    def to_json(self) -> dict[str, object]:
        """Return the document of schema 1."""
        return {
            "schema": 1,
            "path": str(self.path),
            "files": list(self.files),
            "at_rest_bytes": self.at_rest_bytes,
            "packed_bytes": self.packed_bytes,
            "gzip_bytes": self.gzip_bytes,
            "xz_bytes": self.xz_bytes,
        }


def pack(artifact: str | Path, output: str | Path | None = None) -> Packed:
    """Pack an artifact; with an OpenVINO `.xml` its `.bin` beside it.

    Args:
        artifact: a file of any format.
        output: where the packed file goes; by default beside the artifact, with `.ekpk` behind its name.

    Raises:
        DataError: if a file is missing or cannot be read, or the output would replace one of them.
        ModelError: if the files are too large together.
        OSError: if the packed file cannot be written.
    """
    path = Path(artifact)
    target = Path(output) if output is not None else path.with_name(path.name + SUFFIX)
    beside = path.with_suffix(".bin")
    paths = [path, beside] if path.suffix == ".xml" and beside.exists() else [path]
    if any(target.exists() and target.samefile(one) for one in paths if one.exists()):
        raise DataError(f"'{target}' is what is to be packed: give another -o")
    files = {one.name: _read(one) for one in paths}
    whole = b"".join(files.values())
    data = packing.pack(files)
    write_durably(target, data)
    return Packed(
        path=target,
        files=tuple(files),
        at_rest_bytes=len(whole),
        packed_bytes=len(data),
        gzip_bytes=len(gzip.compress(whole, 9)),
        xz_bytes=len(lzma.compress(whole, preset=9)),
    )


def unpack(packed: str | Path, folder: str | Path | None = None) -> tuple[Path, ...]:
    """Write the files of a packed file, which are what was packed byte for byte, and return where they are.

    Args:
        packed: what `pack` wrote.
        folder: where they go, made where it is not there; by default beside the packed file.

    Raises:
        ModelError: if it cannot be read, is no packed file, truncated, damaged, holds more than it may, or a file of
            that name is there with other content.
        OSError: if the files cannot be written.
    """
    path = Path(packed)
    return unpack_file(path, Path(folder) if folder is not None else path.parent)


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > packing.MOST_BYTES:
            raise DataError(f"'{path}' is larger than {packing.MOST_BYTES} bytes")
        return path.read_bytes()
    except OSError as exc:
        raise DataError(f"cannot read '{path}': {exc.strerror}") from exc
