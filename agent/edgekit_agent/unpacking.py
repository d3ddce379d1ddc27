"""A packed file's content written to a folder: all of it, byte for byte, or nothing."""

from pathlib import Path

from edgekit_agent.durable import write_durably
from edgekit_agent.errors import ModelError
from edgekit_agent.packing import MOST_BYTES, unpack


def unpack_file(path: Path, folder: Path, most_bytes: int = MOST_BYTES) -> tuple[Path, ...]:
    """Write the files of a packed file into a folder and return where they are; the same files may be there already.

    Args:
        path: what `packing.pack` made.
        folder: made where it is not there.
        most_bytes: what the files may be together.

    Raises:
        ModelError: if it cannot be read, is no packed file, truncated or damaged, holds more than `most_bytes`, or
            a file of that name is there with other content.
        OSError: if the files cannot be written.
    """
    try:
        if path.stat().st_size > most_bytes:
            raise ModelError(f"'{path}' is larger than {most_bytes} bytes")
        data = path.read_bytes()
    except OSError as exc:
        raise ModelError(f"cannot read '{path}': {exc.strerror}") from exc
    try:
        files = unpack(data, most_bytes)
    except ModelError as exc:
        error = ModelError(f"'{path}': {exc}")
        for note in getattr(exc, "__notes__", []):
            error.add_note(note)
        raise error from exc
    for name, content in files.items():
        there = folder / name
        if there.exists() and (not there.is_file() or there.read_bytes() != content):
            other = ModelError(f"'{there}' is there already and is not what was packed")
            other.add_note("give another folder: -o DIR")
            raise other
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        write_durably(folder / name, content)
    return tuple(folder / name for name in files)
