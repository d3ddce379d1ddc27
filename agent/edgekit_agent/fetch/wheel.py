"""A wheel of the agent, from the store to a slot: every file as its RECORD says, and nothing else."""

import base64
import csv
import email.parser
import hashlib
import importlib.metadata
import io
import os
import platform
import re
import shutil
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from edgekit_agent.bundle.versions import within
from edgekit_agent.durable import DISK
from edgekit_agent.errors import AgentError
from edgekit_agent.fetch.errors import FetchError
from edgekit_agent.protocol import Reason

PACKAGE, DISTRIBUTION = "edgekit_agent", "edgekit-agent"
MOST_BYTES, MOST_FILES = 64 << 20, 2000
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,120}")
_REQUIRES = re.compile(r"([A-Za-z0-9._-]+)\s*\(?([^;)]*)\)?\s*(;.*)?")


def unpack(path: Path, version: str | None, slot: Path) -> None:
    """Verify a wheel and write its files to a new folder: after a crash it is there whole, or not at all.

    Args:
        path: the wheel.
        version: what it was signed as.
        slot: the folder, which is not there.

    Raises:
        FetchError: with the reason why not; nothing is left of it.
        OSError: if the files cannot be written.
    """
    contents = _contents(path, version)
    beside = slot.with_name(f".{slot.name}.part")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    try:
        for name, content in contents.items():
            _write(beside / name, content)
        for folder in (*(one for one in beside.rglob("*") if one.is_dir()), beside):
            DISK.sync_folder(folder)
        beside.rename(slot)
        DISK.sync_folder(slot.parent)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _contents(path: Path, version: str | None) -> dict[str, bytes]:
    """Return what a wheel holds, all of it checked."""
    try:
        with zipfile.ZipFile(path) as wheel:
            contents = _checked(wheel)
        _check_metadata(contents, version)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError, ValueError) as exc:
        raise FetchError(Reason.BUNDLE_INVALID, f"the wheel of the agent cannot be read: {exc}") from exc
    return contents


def _checked(wheel: zipfile.ZipFile) -> dict[str, bytes]:
    """Return the files by name, each compared with what RECORD says of it."""
    entries = [one for one in wheel.infolist() if not one.is_dir()]
    if len(entries) > MOST_FILES or sum(one.file_size for one in entries) > MOST_BYTES:
        raise FetchError(Reason.TARGET_TOO_LARGE, f"the wheel holds more than {MOST_FILES} files or {MOST_BYTES} bytes")
    contents = {}
    for one in entries:
        parts = PurePosixPath(one.filename).parts
        if not all(_PART.fullmatch(part) for part in parts) or not _ours(parts[0]) or one.filename in contents:
            raise FetchError(Reason.BUNDLE_INVALID, f"a wheel of the agent holds no {one.filename[:120]!a}")
        with wheel.open(one) as file:
            contents[one.filename] = file.read(one.file_size)  # no more is inflated, whatever there is
    (record,) = [name for name in contents if name.endswith(".dist-info/RECORD")]
    told = {row[0]: row[1] for row in csv.reader(io.StringIO(contents[record].decode())) if len(row) == 3}  # noqa: PLR2004
    for name, content in contents.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        if name != record and told.get(name) != f"sha256={digest}":
            raise FetchError(Reason.BUNDLE_INVALID, f"'{name}' is not what the wheel's RECORD says")
    return contents


def _ours(top: str) -> bool:
    return top == PACKAGE or re.fullmatch(rf"{PACKAGE}-[^/]+\.dist-info", top) is not None


def _check_metadata(contents: dict[str, bytes], version: str | None) -> None:
    (text,) = [content for name, content in contents.items() if name.endswith(".dist-info/METADATA")]
    said = email.parser.HeaderParser().parsestr(text.decode())
    if str(said["Name"]).lower() != DISTRIBUTION or said["Version"] != version:
        raise FetchError(Reason.BUNDLE_INVALID, f"it is {said['Name']} {said['Version']}, and is signed as {version}")
    needed: list[tuple[str, str, str | None]] = [
        ("python", str(said.get("Requires-Python", "")), platform.python_version())
    ]
    for line in said.get_all("Requires-Dist", []):
        match = _REQUIRES.fullmatch(line.strip())
        if match is not None and not (match[3] and "extra" in match[3]):
            needed.append((match[1], match[2].strip(), _installed(match[1])))
    for name, wanted, here in needed:
        try:
            fits = here is not None and within(here, wanted)
        except AgentError:
            fits = True  # of a form that is for pip to understand: the trial will tell
        if not fits:
            raise FetchError(Reason.BUNDLE_UNFIT, f"the new agent needs {name} {wanted}, and {here} is here")


def _installed(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
