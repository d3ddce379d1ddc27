"""What an authority has signed and revoked: one line of JSON each, only ever added to."""

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from edgekit.errors import DataError

MAX_BYTES = 256 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A certificate that was signed; `serial` in hexadecimal, `revoked_ms` None while it counts."""

    serial: str
    common_name: str
    role: str
    site: str
    issued_ms: int
    until_ms: int
    revoked_ms: int | None = None

    def counts(self, now_ms: int) -> bool:
        """Whether it is neither revoked nor over."""
        return self.revoked_ms is None and self.until_ms > now_ms


class Records:
    """The file `issued.jsonl`."""

    def __init__(self, path: Path) -> None:
        """Take the file; it need not be there yet."""
        self.path = path

    def add(self, lines: Iterable[dict[str, object]]) -> None:
        """Append lines, on the disk when this returns: a certificate is noted before it is handed out."""
        text = "".join(json.dumps(line, sort_keys=True) + "\n" for line in lines)
        handle = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            if _torn(handle):
                text = "\n" + text
            os.write(handle, text.encode())
            os.fsync(handle)
        finally:
            os.close(handle)

    def all(self) -> list[Record]:
        """Return the records, oldest first.

        Raises:
            DataError: if the file cannot be read or a line is none of ours.
        """
        found: dict[str, Record] = {}
        for number, line in enumerate(self._lines(), 1):
            try:
                document = json.loads(line)
                if document["do"] == "issue":
                    found[document["serial"]] = Record(**{key: document[key] for key in _KEYS})
                else:
                    known = found[document["serial"]]
                    found[known.serial] = replace(known, revoked_ms=known.revoked_ms or int(document["at_ms"]))
            except (ValueError, KeyError, TypeError) as exc:
                raise DataError(f"line {number} of '{self.path}' is broken") from exc
        return list(found.values())

    def _lines(self) -> list[str]:
        try:
            if self.path.stat().st_size > MAX_BYTES:
                raise DataError(f"'{self.path}' is larger than {MAX_BYTES >> 20} MiB")
            whole = self.path.read_text().split("\n")
        except FileNotFoundError:
            return []
        except (OSError, UnicodeDecodeError) as exc:
            raise DataError(f"cannot read '{self.path}': {getattr(exc, 'strerror', None) or 'no text'}") from exc
        # A line without its end was cut off by a crash, and its certificate never handed out; `add` ended it later.
        return [line for line in whole if line and _whole(line)]


_KEYS = ("serial", "common_name", "role", "site", "issued_ms", "until_ms")


def _whole(line: str) -> bool:
    return line.endswith("}")


def _torn(handle: int) -> bool:
    size = os.fstat(handle).st_size
    return size > 0 and os.pread(handle, 1, size - 1) != b"\n"
