"""The targets a device has, each a file named by its hash, with its block index beside it.

A file gets its name only when it is whole, verified and flushed; it is never changed afterwards. What is being
downloaded is in `partial`.
"""

import os
from collections.abc import Collection, Iterator
from pathlib import Path

from edgekit_agent.durable import write_durably
from edgekit_agent.errors import ProtocolError
from edgekit_agent.protocol import MAX_INDEX_BYTES, BlockIndex

_INDEX = ".blocks"
_PART = ".part"


class BlobStore:
    """The folders `blobs` and `partial` of the agent's state."""

    def __init__(self, folder: Path) -> None:
        """Take the agent's state folder."""
        self._blobs = folder / "blobs" / "sha256"
        self._partial = folder / "partial"

    def path(self, sha256: str) -> Path:
        """Return where a target is, or would be."""
        return self._blobs / sha256[:2] / sha256

    def partial(self, sha256: str) -> Path:
        """Return where a target is put together; files of other targets that were broken off are removed."""
        self._partial.mkdir(parents=True, exist_ok=True)
        path = self._partial / f"{sha256}{_PART}"
        for other in self._partial.glob(f"*{_PART}"):
            if other != path:
                other.unlink()
        return path

    def indexes(self) -> Iterator[tuple[Path, BlockIndex]]:
        """Give each target that is here with its blocks."""
        for beside in sorted(self._blobs.glob(f"??/*{_INDEX}")):
            path = beside.with_suffix("")
            try:
                with beside.open("rb") as file:
                    index = BlockIndex.from_bytes(file.read(MAX_INDEX_BYTES + 1))
            except (OSError, ProtocolError):
                continue  # not known what is in it: nothing can be taken from it
            if path.is_file():
                yield path, index

    def install(self, part: Path, sha256: str, index: BlockIndex) -> Path:
        """Give a whole, verified and flushed target its name.

        Raises:
            OSError: if that fails; the target is not there then.
        """
        path = self.path(sha256)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_durably(path.with_name(path.name + _INDEX), index.to_bytes())
        part.chmod(0o444)
        part.replace(path)
        for folder in (path.parent, self._blobs, self._partial):
            _flush(folder)
        return path

    def keep_only(self, wanted: Collection[str]) -> list[str]:
        """Remove all targets but these and what a download left; return the hashes of those removed."""
        removed = []
        for path in sorted(self._blobs.glob("??/*")):
            sha256 = path.name.removesuffix(_INDEX)
            if sha256 in wanted:
                continue
            path.unlink()
            removed += [sha256] if path.name == sha256 else []
        for path in self._partial.glob(f"*{_PART}"):
            path.unlink()
        return removed


def _flush(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
