"""The block index of a target: its content as a list of blocks by hash, so a device gets only those it has nowhere.

The file is `EKBI`, the format's number as a 32-bit little-endian integer, then 36 bytes a block in the target's order:
the length as a 32-bit little-endian integer and the SHA-256. Where the blocks are cut is the publisher's business.
"""

import hashlib
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import Self

from edgekit_agent.errors import ProtocolError

MAX_BLOCK_BYTES = 1 << 20
MAX_BLOCKS = 1 << 20
MAX_INDEX_BYTES = 8 + 36 * MAX_BLOCKS
_HEAD = struct.Struct("<4sI")
_RECORD = struct.Struct("<I32s")
_MAGIC = (b"EKBI", 1)


@dataclass(frozen=True, slots=True)
class Block:
    """A run of bytes of a target."""

    offset: int
    length: int
    sha256: bytes

    def holds(self, data: bytes) -> bool:
        """Return whether these are its bytes."""
        return len(data) == self.length and hashlib.sha256(data).digest() == self.sha256


class BlockIndex:
    """The blocks of a target, in order and without gaps."""

    def __init__(self, entries: Iterable[tuple[int, bytes]]) -> None:
        """Take (length, SHA-256) of each block."""
        kept = list(entries)
        starts = accumulate((length for length, _ in kept), initial=0)
        self.blocks = tuple(Block(start, length, digest) for start, (length, digest) in zip(starts, kept, strict=False))

    def __iter__(self) -> Iterator[Block]:
        """Give the blocks in order."""
        return iter(self.blocks)

    def __len__(self) -> int:
        """Return how many blocks there are."""
        return len(self.blocks)

    @property
    def length(self) -> int:
        """The target's bytes."""
        return self.blocks[-1].offset + self.blocks[-1].length if self.blocks else 0

    def to_bytes(self) -> bytes:
        """Return the file's content."""
        return _HEAD.pack(*_MAGIC) + b"".join(_RECORD.pack(block.length, block.sha256) for block in self.blocks)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read a file's content.

        Raises:
            ProtocolError: if it is truncated, of another format, or a block is empty or too large.
        """
        body = memoryview(data)[_HEAD.size :]
        if len(data) < _HEAD.size or _HEAD.unpack_from(data) != _MAGIC or len(body) % _RECORD.size:
            raise ProtocolError("the block index is truncated or of a format this version does not know")
        if len(data) > MAX_INDEX_BYTES:
            raise ProtocolError(f"the block index names more than {MAX_BLOCKS} blocks")
        entries = list(_RECORD.iter_unpack(body))
        if any(not 0 < length <= MAX_BLOCK_BYTES for length, _ in entries):
            raise ProtocolError(f"the block index has a block that is empty or larger than {MAX_BLOCK_BYTES} bytes")
        return cls(entries)
