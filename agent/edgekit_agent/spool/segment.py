"""What is known in memory of one file of the spool: where its records are, and until when they are kept."""

from array import array
from bisect import bisect_right
from dataclasses import dataclass, field


@dataclass(slots=True)
class Segment:
    """Records `first` to `end - 1` of the spool, all of one boot; `offsets` has one more, the file's length."""

    name: str
    boot: str
    first: int
    opened_s: float
    expires_s: float = 0.0
    seqs: "array[int]" = field(default_factory=lambda: array("Q"))
    offsets: "array[int]" = field(default_factory=lambda: array("I", [0]))

    @property
    def end(self) -> int:
        """The position behind its last record."""
        return self.first + len(self.seqs)

    @property
    def size_bytes(self) -> int:
        """The length of the file."""
        return self.offsets[-1]

    @property
    def last_seq(self) -> int:
        """The highest sequence number, 0 when it is empty."""
        return self.seqs[-1] if self.seqs else 0

    def add(self, seq: int, offset: int, size: int, expires_s: float) -> None:
        """Note a record; the segment is kept as long as its newest."""
        self.seqs.append(seq)
        self.offsets[-1] = offset
        self.offsets.append(offset + size)
        self.expires_s = expires_s

    def after(self, seq: int) -> int:
        """Return the position of the first record above a sequence number."""
        return self.first + bisect_right(self.seqs, seq)

    def place(self, position: int) -> tuple[int, int, int]:
        """Return sequence number, offset and size of a record; what is damaged behind a record belongs to it."""
        index = position - self.first
        return self.seqs[index], self.offsets[index], self.offsets[index + 1] - self.offsets[index]
