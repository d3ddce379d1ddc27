"""How a bundle lies in its file: a tar of the plainest kind, in which the manifest decides about every other byte.

Entries: `manifest.json`, `manifest.sha256`, then the files in the manifest's order, then two blocks of zeros. There is
one way to write the entry of a name and a size, so a reader does not parse entries: it compares them with what must
stand there by the manifest. Links, paths, other names or modes, doubles and what is behind the end are differences.
"""

import hashlib
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from edgekit_agent.bundle.manifest import BundleFile, Manifest
from edgekit_agent.bundle.parsing import DIGEST, MANIFEST, MOST_BYTES, MOST_MANIFEST_BYTES, digest_text, parse
from edgekit_agent.errors import BundleError

BLOCK = 512
PAGE = 4096
_BEFORE_FIRST = 4 * BLOCK
"""Two entries, the digest, and the first file's entry: with the manifest they fill whole pages."""
_END = bytes(2 * BLOCK)
_CHUNK = 1 << 18
_NAME, _SIZE, _KIND = slice(0, 100), slice(124, 135), slice(156, 157)
_HEADER = struct.Struct("100s 8s 8s 8s 12s 12s 8s c 100s 6s 2s 32s 32s 8s 8s 155s 12x")
_MOST_ENTRY = 8**11 - 1
_KINDS = {b"1": "a link", b"2": "a symbolic link", b"3": "a device", b"4": "a device", b"5": "a folder", b"6": "a pipe"}


class Readable(Protocol):
    """What bytes come from: a file, an answer over HTTP."""

    def read(self, size: int, /) -> bytes:
        """Return at most so many bytes, none at the end."""
        ...


Sink = Callable[[bytes], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """Where a file's bytes lie in the bundle."""

    file: BundleFile
    offset: int


def entry(name: str, size: int) -> bytes:
    """Return the one entry that a file of this name and size may have (POSIX ustar; 0644, no owner, no time).

    Raises:
        BundleError: if it is larger than an entry can say: 8 GiB.
    """
    if size > _MOST_ENTRY:
        raise BundleError(f"file '{name}' has {size} bytes, more than the {_MOST_ENTRY} that an entry can say")
    fields = [
        name.encode("ascii"), b"0000644\0", b"0000000\0", b"0000000\0", b"%011o\0" % size, b"00000000000\0",
        b" " * 8, b"0", b"", b"ustar\0", b"00", b"", b"", b"0000000\0", b"0000000\0", b"",
    ]  # fmt: skip
    checksum = sum(_HEADER.pack(*fields))
    fields[6] = b"%06o\0 " % checksum
    return _HEADER.pack(*fields)


def manifest_text(manifest: Manifest) -> bytes:
    """Return the manifest as it is written: with spaces behind it, so that the first file begins with a page.

    A change of the manifest then seldom moves the files, and the first can be mapped from the bundle itself.
    """
    text = manifest.to_text()
    return text + b" " * (-(len(text) + _BEFORE_FIRST) % PAGE)


def layout(manifest: Manifest, manifest_bytes: int) -> tuple[tuple[Placed, ...], int]:
    """Return where the files lie, and how long the whole bundle is."""
    at, placed = 3 * BLOCK + _padded(manifest_bytes), []
    for file in manifest.files:
        placed.append(Placed(file=file, offset=at + BLOCK))
        at += BLOCK + _padded(file.size)
    return tuple(placed), at + len(_END)


def write(manifest: Manifest, contents: Mapping[str, Path]) -> Iterator[bytes]:
    """Yield a bundle's bytes: the same manifest and contents give the same bytes.

    Args:
        manifest: with the names, sizes and digests of all files.
        contents: where each file is, by its name in the bundle.

    Raises:
        BundleError: if the manifest would be refused, or a file is not what it says.
        OSError: if a file cannot be read.
    """
    text = manifest_text(manifest)
    parse(text)
    for name, content in ((MANIFEST, text), (DIGEST, digest_text(text))):
        yield entry(name, len(content)) + content + _padding(len(content))
    for file in manifest.files:
        yield entry(file.name, file.size)
        with contents[file.name].open("rb") as opened:
            yield from _checked(_Source(opened, file.name), file)
            if opened.read(1):
                raise BundleError(f"file '{file.name}' is longer than the manifest says")
        yield _padding(file.size)
    yield _END


def read_head(source: Readable, what: str, most_bytes: int = MOST_BYTES) -> tuple[Manifest, bytes]:
    """Read up to the first file; return the manifest and its text.

    Raises:
        BundleError: naming what is wrong.
    """
    return _head(_Source(source, what), most_bytes)


def read_all(
    source: Readable,
    what: str,
    most_bytes: int = MOST_BYTES,
    sink_of: Callable[[BundleFile], Sink] | None = None,
) -> tuple[Manifest, bytes]:
    """Read a bundle once from front to end and check every byte; return the manifest and its text.

    Args:
        source: is read in pieces of at most 256 KiB, and never farther than the bundle goes, but for one byte.
        what: how errors call it.
        most_bytes: what its files may be together.
        sink_of: called at the beginning of each file; what it returns is given the file's bytes. They are checked only
            at the file's end: keep them out of use until this returns.

    Raises:
        BundleError: naming what is wrong.
    """
    reader = _Source(source, what)
    manifest, text = _head(reader, most_bytes)
    for file in manifest.files:
        _expect_entry(reader, file.name, file.size)
        sink = sink_of(file) if sink_of else None
        for chunk in _checked(reader, file):
            if sink is not None:
                sink(chunk)
        reader.expect(_padding(file.size), f"there is something behind file '{file.name}'")
    reader.expect(_END, "there is another entry behind its last file")
    if source.read(1):
        raise reader.error("there is something behind its end")
    return manifest, text


class _Source:
    """Exactly so many bytes as asked for, or an error."""

    def __init__(self, source: Readable | BinaryIO, what: str) -> None:
        self._source, self._what = source, what

    def error(self, why: str) -> BundleError:
        return BundleError(f"bundle '{self._what}': {why}")

    def chunks(self, size: int) -> Iterator[bytes]:
        while size:
            chunk = self._source.read(min(size, _CHUNK))
            if not chunk:
                raise self.error(f"it is truncated: {size} bytes of a part are missing")
            size -= len(chunk)
            yield chunk

    def take(self, size: int) -> bytes:
        return b"".join(self.chunks(size))

    def expect(self, wanted: bytes, why: str) -> None:
        if self.take(len(wanted)) != wanted:
            raise self.error(why)


def _head(reader: _Source, most_bytes: int) -> tuple[Manifest, bytes]:
    found = reader.take(BLOCK)
    size = found[_SIZE]
    length = int(size, 8) if size.isdigit() and not size.strip(b"01234567") else -1
    if length < 0 or found != entry(MANIFEST, length):
        raise reader.error(f"it is no bundle: it does not begin with {MANIFEST}")
    if length > MOST_MANIFEST_BYTES:
        raise reader.error(f"its manifest has {length} bytes, more than {MOST_MANIFEST_BYTES}")
    text = reader.take(length)
    reader.expect(_padding(length), "there is something behind its manifest")
    wanted = digest_text(text)
    _expect_entry(reader, DIGEST, len(wanted))
    reader.expect(wanted + _padding(len(wanted)), f"its manifest is damaged: {DIGEST} does not fit it")
    try:
        return parse(text, most_bytes), text
    except BundleError as exc:
        error = reader.error(str(exc))
        for note in getattr(exc, "__notes__", []):
            error.add_note(note)
        raise error from exc


def _expect_entry(reader: _Source, name: str, size: int) -> None:
    found, wanted = reader.take(BLOCK), entry(name, size)
    if found == wanted:
        return
    if found == bytes(BLOCK):
        raise reader.error(f"file '{name}' is missing")
    there = found[_NAME].rstrip(b"\0").decode("ascii", "backslashreplace")
    if there != name:
        raise reader.error(f"file '{name}' is missing where {there!a} is")
    if found[_KIND] in _KINDS:
        raise reader.error(f"'{name}' is {_KINDS[found[_KIND]]} and no file")
    raise reader.error(f"the entry of file '{name}' is not the one that its manifest asks for ({size} bytes)")


def _checked(reader: _Source, file: BundleFile) -> Iterable[bytes]:
    """Yield a file's bytes, and raise at their end if they are not those of the digest."""
    digest = hashlib.sha256()
    for chunk in reader.chunks(file.size):
        digest.update(chunk)
        yield chunk
    if digest.hexdigest() != file.sha256:
        raise reader.error(f"file '{file.name}' is damaged: its SHA-256 is not that of the manifest")


def _padding(size: int) -> bytes:
    return bytes(-size % BLOCK)


def _padded(size: int) -> int:
    return size + -size % BLOCK
