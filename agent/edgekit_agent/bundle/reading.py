"""Bundles in files and unpacked in folders: read, verified, unpacked all or nothing."""

import errno
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from edgekit_agent.bundle import archive
from edgekit_agent.bundle.archive import Placed, Readable, Sink
from edgekit_agent.bundle.manifest import Manifest
from edgekit_agent.bundle.parsing import DIGEST, MANIFEST, MOST_BYTES, MOST_MANIFEST_BYTES, digest_text, parse
from edgekit_agent.durable import DISK, write_durably
from edgekit_agent.errors import BundleError

SUFFIX = ".ekb"
_MODE = 0o444


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """What a bundle file says; `placed` is where the files' bytes lie in it."""

    path: Path
    manifest: Manifest
    manifest_sha256: str
    size_bytes: int
    placed: tuple[Placed, ...]


def read(path: Path, most_bytes: int = MOST_BYTES) -> Bundle:
    """Return what a bundle says, reading its manifest and its length only: `verify` checks every byte.

    Raises:
        BundleError: naming what is wrong.
    """
    with _opened(path) as file:
        bundle = _bundle(path, *archive.read_head(file, str(path), most_bytes))
        there = os.fstat(file.fileno()).st_size
    if there != bundle.size_bytes:
        how = "truncated" if there < bundle.size_bytes else "too long"
        raise BundleError(f"bundle '{path}': it is {how}: {there} bytes, and its manifest says {bundle.size_bytes}")
    return bundle


def verify(path: Path, most_bytes: int = MOST_BYTES) -> Bundle:
    """Check every byte of a bundle and return what it says.

    Raises:
        BundleError: naming what is wrong.
    """
    with _opened(path) as file:
        return _bundle(path, *archive.read_all(file, str(path), most_bytes))


def unpack(path: Path, folder: Path, most_bytes: int = MOST_BYTES) -> Bundle:
    """Verify a bundle and write its files to a new folder: after a crash it is there whole, or not at all.

    Raises:
        BundleError: naming what is wrong with the bundle; nothing is left of it.
        OSError: if the files cannot be written, or the folder is there already; nothing is left either.
    """
    with _opened(path) as file:
        return _bundle(path, *unpack_from(file, str(path), folder, most_bytes))


def unpack_from(source: Readable, what: str, folder: Path, most_bytes: int = MOST_BYTES) -> tuple[Manifest, bytes]:
    """Do what `unpack` does with bytes as they come; return the manifest and its text.

    The files are written to `.NAME.part` beside the folder, which is removed first if an earlier crash left it: only
    one process may unpack to a folder at a time.

    Raises:
        BundleError: naming what is wrong with the bundle; nothing is left of it.
        OSError: if the files cannot be written, or the folder is there already; nothing is left either.
    """
    if folder.exists():
        raise FileExistsError(errno.EEXIST, "the folder is there already", str(folder))
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir()
    try:
        with ExitStack() as stack:
            manifest, text = archive.read_all(source, what, most_bytes, lambda file: _sink(beside / file.name, stack))
        for name, content in ((MANIFEST, text), (DIGEST, digest_text(text))):
            write_durably(beside / name, content, _MODE)
        DISK.sync_folder(beside)
        beside.rename(folder)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise
    DISK.sync_folder(folder.parent)
    return manifest, text


def read_folder(folder: Path, most_bytes: int = MOST_BYTES) -> Manifest:
    """Return the manifest of an unpacked bundle; the files are not looked at.

    Raises:
        BundleError: if it cannot be read or is damaged.
    """
    try:
        with (folder / MANIFEST).open("rb") as file, (folder / DIGEST).open("rb") as digest:
            text, line = file.read(MOST_MANIFEST_BYTES + 1), digest.read(archive.BLOCK)
    except OSError as exc:
        raise BundleError(f"'{folder}' is no unpacked bundle: {exc.strerror}") from exc
    if line != digest_text(text):
        raise BundleError(f"the manifest in '{folder}' is damaged: {DIGEST} does not fit it")
    return parse(text, most_bytes)


def verify_folder(folder: Path, most_bytes: int = MOST_BYTES) -> Manifest:
    """Check every file of an unpacked bundle and return its manifest; files it does not name do not count.

    Raises:
        BundleError: naming the file that is missing or damaged.
    """
    manifest = read_folder(folder, most_bytes)
    for one in manifest.files:
        path = folder / one.name
        try:
            with path.open("rb") as file:
                sound = os.fstat(file.fileno()).st_size == one.size
                sound = sound and hashlib.file_digest(file, "sha256").hexdigest() == one.sha256
        except OSError as exc:
            raise BundleError(f"'{path}' cannot be read: {exc.strerror}") from exc
        if not sound:
            raise BundleError(f"'{path}' is damaged: it is not what the manifest says")
    return manifest


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    if not path.is_file():
        raise BundleError(f"bundle '{path}' {'is no file' if path.exists() else 'does not exist'}")
    try:
        file = path.open("rb")
    except OSError as exc:
        raise BundleError(f"bundle '{path}' cannot be read: {exc.strerror}") from exc
    with file:
        yield file


def _bundle(path: Path, manifest: Manifest, text: bytes) -> Bundle:
    placed, size = archive.layout(manifest, len(text))
    digest = hashlib.sha256(text).hexdigest()
    return Bundle(path=path, manifest=manifest, manifest_sha256=digest, size_bytes=size, placed=placed)


def _sink(path: Path, stack: ExitStack) -> Sink:
    """Open a new file and return what writes to it; it is flushed to the disk before the next is begun, or closed."""
    stack.close()
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, _MODE)
    file = stack.enter_context(os.fdopen(handle, "wb"))
    stack.callback(_flush, file)
    return file.write


def _flush(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())
