"""One update, from the request to the answer: metadata, checks, blocks, the whole file."""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from tuf.api.metadata import TargetFile

from edgekit_agent.errors import ProtocolError
from edgekit_agent.fetch.assembly import Assembly, assembling
from edgekit_agent.fetch.blobs import BlobStore
from edgekit_agent.fetch.errors import FetchError
from edgekit_agent.fetch.guards import alone, disk_full
from edgekit_agent.fetch.messages import FetchAnswer, FetchRequest
from edgekit_agent.fetch.metadata import Refreshed, refresh
from edgekit_agent.fetch.source import Source, open_source, read_whole
from edgekit_agent.fetch.trust import TrustStore
from edgekit_agent.protocol import MAX_INDEX_BYTES, SHA256, BlockIndex, Reason, Release, check_target, stored_as

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """A target that the signed metadata names and that is for this device."""

    name: str
    sha256: str
    length: int
    release: Release


def run(
    request: FetchRequest, on_progress: Progress = lambda _done, _total: None, now: datetime | None = None
) -> FetchAnswer:
    """Do what is asked.

    Args:
        request: what is wanted from where.
        on_progress: called with the target's bytes that are there and all of them.
        now: the device's clock; the system's by default.

    Raises:
        FetchError: with the reason why the update is refused; nothing in the store has changed but the newest
            metadata accepted, and what there is of the download is kept to go on from.
        AgentError: if the request itself is wrong.
        OSError: if the store cannot be read or written.
    """
    folder = Path(request.store)
    store = BlobStore(folder)
    with disk_full(), alone(folder):
        trusted = TrustStore(folder / "trust")
        source = open_source(request)
        found = refresh(source, trusted.load(), folder / "partial" / "metadata", now)
        trusted.keep(found.trust)
        wanted = _look_up(request, found)
        path = store.path(wanted.sha256)
        there = _is_whole(path, wanted)
        if request.op == "check" or there:
            return _answer(wanted, found, path if there else None, None)
        assembly = _put_together(request, wanted, source, store, on_progress)
        return _answer(wanted, found, path, assembly)


def _look_up(request: FetchRequest, found: Refreshed) -> _Wanted:
    name = _newest(request, found) if request.target is None else _named(request.target, found)
    target = found.targets[name]
    wanted = _Wanted(name=name, sha256=_sha256_of(target), length=target.length, release=_release_of(target))
    _check_announced(request, wanted)
    release = wanted.release
    if not release.fits(request.hardware):
        raise FetchError(
            Reason.HARDWARE_MISMATCH,
            f"'{name}' is for {', '.join(release.hw_ids)}, this device is {', '.join(request.hardware) or 'nothing'}",
        )
    if release.release_counter < request.counter:
        raise FetchError(
            Reason.RELEASE_ROLLED_BACK,
            f"'{name}' has release counter {release.release_counter}, {request.counter} is installed",
        )
    if wanted.length > request.max_bytes:
        raise FetchError(
            Reason.TARGET_TOO_LARGE, f"'{name}' has {wanted.length} bytes, this device takes {request.max_bytes}"
        )
    return wanted


def _named(target: str, found: Refreshed) -> str:
    try:
        name = check_target(target)
    except ProtocolError as exc:
        raise FetchError(Reason.TARGET_NAME_WRONG, str(exc)) from exc
    if name not in found.targets:
        raise FetchError(Reason.TARGET_UNKNOWN, f"the repository's signed metadata names no target '{name}'")
    return name


def _newest(request: FetchRequest, found: Refreshed) -> str:
    """Return the target of a model, and of a version where one is asked for, that was released last for this device."""
    releases: list[tuple[int, str]] = []
    for name, target in found.targets.items():
        try:
            release = _release_of(target)
        except FetchError:
            continue  # of a form that is not known yet: one that is, is looked for
        wanted = release.model == request.model and request.version in {None, release.version}
        if wanted and release.fits(request.hardware):
            releases.append((release.release_counter, name))
    if not releases:
        version = f" {request.version}" if request.version else ""
        raise FetchError(
            Reason.TARGET_UNKNOWN,
            f"the repository's signed metadata names no target of model '{request.model}{version}' for this device",
        )
    return max(releases)[1]


def _check_announced(request: FetchRequest, wanted: _Wanted) -> None:
    for what, announced, signed in (
        ("model", request.model, wanted.release.model),
        ("version", request.version, wanted.release.version),
        ("SHA-256", request.sha256, wanted.sha256),
    ):
        if announced is not None and announced != signed:
            raise FetchError(
                Reason.TARGET_CHANGED, f"'{wanted.name}' is signed with the {what} {signed}, announced was {announced}"
            )


def _sha256_of(target: TargetFile) -> str:
    sha256 = target.hashes.get("sha256", "")
    if not SHA256.fullmatch(sha256):
        raise FetchError(Reason.TARGET_INVALID, f"the signed metadata of '{target.path}' holds no SHA-256")
    return sha256


def _release_of(target: TargetFile) -> Release:
    try:
        release = Release.from_json(target.custom)
        release.check()
    except ProtocolError as exc:
        raise FetchError(Reason.TARGET_INVALID, f"the signed metadata of '{target.path}': {exc}") from exc
    return release


def _is_whole(path: Path, wanted: _Wanted) -> bool:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == wanted.sha256
    except FileNotFoundError:
        return False


def _put_together(
    request: FetchRequest, wanted: _Wanted, source: Source, store: BlobStore, on_progress: Progress
) -> Assembly:
    index = _index_of(wanted, source)
    part = store.partial(wanted.sha256)
    _check_room(part, wanted.length, request.reserve_bytes)
    with assembling(part, index, on_progress) as assembly:
        assembly.reuse(store.indexes())
        assembly.fetch(source, f"targets/{stored_as(wanted.name, wanted.sha256)}")
        assembly.verify(wanted.sha256)
    store.install(part, wanted.sha256, index)
    return assembly


def _index_of(wanted: _Wanted, source: Source) -> BlockIndex:
    ref = wanted.release.blocks
    if ref.length > MAX_INDEX_BYTES:
        raise FetchError(Reason.TARGET_INVALID, f"the block index of '{wanted.name}' has {ref.length} bytes")
    data = read_whole(source, f"blocks/{ref.sha256}", ref.length)
    if hashlib.sha256(data).hexdigest() != ref.sha256:
        raise FetchError(Reason.DOWNLOAD_DAMAGED, f"the block index of '{wanted.name}' is not what was signed")
    try:
        index = BlockIndex.from_bytes(data)
    except ProtocolError as exc:
        raise FetchError(Reason.TARGET_INVALID, f"'{wanted.name}': {exc}") from exc
    if index.length != wanted.length:
        raise FetchError(
            Reason.TARGET_INVALID,
            f"the blocks of '{wanted.name}' are {index.length} bytes, the target {wanted.length}",
        )
    return index


def _check_room(part: Path, length: int, reserve_bytes: int) -> None:
    room = os.statvfs(part.parent)
    taken = part.stat().st_blocks * 512 if part.exists() else 0
    free = room.f_bavail * room.f_frsize + min(taken, length)
    if free < length + reserve_bytes:
        raise FetchError(
            Reason.DISK_FULL, f"{length} bytes and a reserve of {reserve_bytes} are needed, {free} are free"
        )


def _answer(wanted: _Wanted, found: Refreshed, path: Path | None, assembly: Assembly | None) -> FetchAnswer:
    return FetchAnswer(
        status="ok",
        target=wanted.name,
        path=None if path is None else str(path),
        sha256=wanted.sha256,
        length=wanted.length,
        release=wanted.release,
        metadata=found.versions,
        blocks=assembly.counts() if assembly else None,
        fetched_bytes=assembly.fetched_bytes if assembly else 0,
    )
