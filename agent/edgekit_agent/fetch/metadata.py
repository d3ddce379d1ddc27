"""The repository's signed metadata, by python-tuf's own client: only what it accepts is ever kept."""

import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tuf.api import exceptions as tuf
from tuf.api.metadata import Metadata, Root, Snapshot, TargetFile, Targets, Timestamp
from tuf.ngclient import Updater
from tuf.ngclient.fetcher import FetcherInterface

from edgekit_agent.fetch.clock import time_floor
from edgekit_agent.fetch.errors import AbsentError, FetchError
from edgekit_agent.fetch.source import Source, read_whole
from edgekit_agent.fetch.trust import Trust
from edgekit_agent.protocol import Reason

# The first row that fits names the reason.
REASONS: tuple[tuple[type[Exception], Reason], ...] = (
    (tuf.ExpiredMetadataError, Reason.METADATA_EXPIRED),
    (tuf.UnsignedMetadataError, Reason.METADATA_UNSIGNED),
    (tuf.BadVersionNumberError, Reason.METADATA_ROLLED_BACK),
    (tuf.LengthOrHashMismatchError, Reason.METADATA_MISMATCHED),
    (tuf.RepositoryError, Reason.METADATA_INVALID),
    (tuf.DownloadLengthMismatchError, Reason.DOWNLOAD_TOO_LONG),
    (tuf.DownloadError, Reason.REPOSITORY_ANSWER_WRONG),
    (ValueError, Reason.METADATA_INVALID),  # what the library lets through of a file that is no metadata
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refreshed:
    """Metadata that was verified as a whole, and what it says."""

    trust: Trust
    versions: dict[str, int]
    targets: dict[str, TargetFile]


def refresh(source: Source, trust: Trust, scratch: Path, now: datetime | None = None) -> Refreshed:
    """Get and verify the newest metadata; what is trusted changes only if all of it is accepted.

    Args:
        source: the repository.
        trust: what is trusted so far.
        scratch: a folder for the client's files, emptied before and after.
        now: the device's clock, the system's by default; the time never counts as earlier than the floor of `clock`.

    Raises:
        FetchError: with the reason why it is refused.
    """
    clock = now or datetime.now(UTC)
    try:
        floor = time_floor(trust)
        try:
            return _attempt(source, trust, scratch, max(clock, floor))
        except tuf.ExpiredMetadataError:
            newer = Trust(root=(scratch / "root.json").read_bytes(), timestamp=trust.timestamp)
            lower = max(clock, time_floor(newer))
            if lower >= max(clock, floor):
                raise
            # the root no longer trusts the key that signed a time far ahead
            return _attempt(source, newer, scratch, lower)
    except tuple(kind for kind, _ in REASONS) as exc:
        reason = next(reason for kind, reason in REASONS if isinstance(exc, kind))
        at = f"; the time counts as {max(clock, floor):%Y-%m-%d %H:%M} UTC" if reason is Reason.METADATA_EXPIRED else ""
        raise FetchError(reason, f"{exc}{at}") from exc
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _attempt(source: Source, trust: Trust, scratch: Path, now: datetime) -> Refreshed:
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    for name, content in (("timestamp", trust.timestamp), ("snapshot", trust.snapshot), ("targets", trust.targets)):
        if content is not None:
            (scratch / f"{name}.json").write_bytes(content)
    updater = Updater(str(scratch), "metadata/", fetcher=_Fetcher(source), bootstrap=trust.root)
    # The client reads the system's clock, which may have been set back; 7.x has no other way to tell it the time.
    updater._trusted_set.reference_time = now  # noqa: SLF001
    updater.refresh()
    return _read(scratch)


def _read(scratch: Path) -> Refreshed:
    files = {role: (scratch / f"{role}.json").read_bytes() for role in ("root", "timestamp", "snapshot", "targets")}
    targets = Metadata[Targets].from_bytes(files["targets"]).signed
    versions = {
        "root": Metadata[Root].from_bytes(files["root"]).signed.version,
        "timestamp": Metadata[Timestamp].from_bytes(files["timestamp"]).signed.version,
        "snapshot": Metadata[Snapshot].from_bytes(files["snapshot"]).signed.version,
        "targets": targets.version,
    }
    return Refreshed(trust=Trust(**files), versions=versions, targets=targets.targets)


class _Fetcher(FetcherInterface):
    """python-tuf's port onto a source; its URLs are paths in the repository."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def _fetch(self, url: str) -> Any:  # noqa: ANN401  # the port's own type
        return self._source.read(url)

    def download_bytes(self, url: str, max_length: int) -> bytes:
        """Return a metadata file, trying again what is worth it; refusals keep their own reason."""
        try:
            return read_whole(self._source, url, max_length)
        except AbsentError as exc:
            raise tuf.DownloadHTTPError(str(exc), 404) from exc
