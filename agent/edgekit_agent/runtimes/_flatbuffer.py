"""Tables of a flatbuffer, read with the standard library; every offset is checked against the file's length."""

import struct

_MAX_ITEMS = 1 << 20


class Table:
    """A table of a flatbuffer; reading outside the file raises IndexError or struct.error."""

    __slots__ = ("_at", "_content")

    def __init__(self, content: bytes, at: int) -> None:
        """Take the file and where the table begins."""
        self._content, self._at = content, at

    @classmethod
    def root(cls, content: bytes) -> "Table":
        """Return the file's first table."""
        return cls(content, int.from_bytes(content[:4], "little"))

    def number(self, at: int, kind: str) -> int:
        """Return the number of a `struct` kind at a place in the file."""
        if at < 0:
            raise IndexError
        number: int = struct.unpack_from(f"<{kind}", self._content, at)[0]
        return number

    def _field(self, field: int) -> int | None:
        vtable = self._at - self.number(self._at, "i")
        if self._at + self.number(vtable + 2, "H") > len(self._content):
            raise IndexError
        entry = vtable + 4 + 2 * field
        offset = self.number(entry, "H") if entry < vtable + self.number(vtable, "H") else 0
        return self._at + offset if offset else None

    def check(self) -> None:
        """Look whether the table itself lies inside the file."""
        self._field(0)

    def span(self, field: int, size: int = 1) -> tuple[int, int]:
        """Return where a vector's items of `size` bytes begin and how many there are."""
        at = self._field(field)
        if at is None:
            return 0, 0
        start = at + self.number(at, "I")
        count = self.number(start, "I")
        if start + 4 + count * size > len(self._content):
            raise IndexError
        return start + 4, count

    def scalar(self, field: int, kind: str) -> int:
        """Return a number, 0 where it is left out."""
        at = self._field(field)
        return 0 if at is None else self.number(at, kind)

    def numbers(self, field: int, kind: str) -> tuple[int, ...]:
        """Return a vector of numbers."""
        start, count = self.span(field, struct.calcsize(f"<{kind}"))
        return struct.unpack_from(f"<{count}{kind}", self._content, start)

    def text(self, field: int) -> str:
        """Return a string."""
        start, count = self.span(field)
        return self._content[start : start + count].decode()

    def table(self, field: int) -> "Table | None":
        """Return a table, if it is there."""
        at = self._field(field)
        return None if at is None else Table(self._content, at + self.number(at, "I"))

    def tables(self, field: int) -> "list[Table]":
        """Return a vector of tables."""
        start, count = self.span(field, 4)
        if count > _MAX_ITEMS:
            raise IndexError
        places = (start + 4 * number for number in range(count))
        return [Table(self._content, place + self.number(place, "I")) for place in places]
