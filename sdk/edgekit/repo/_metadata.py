"""The repository's files: signed metadata of every version, targets, block indexes, as any web server gives them out.

Files are only added, each under a name of its own; `timestamp.json` alone is replaced, last and by rename. So a reader
sees the repository as it was or as it is, and never a mixture.
"""

import fcntl
import hashlib
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

from securesystemslib.signer import CryptoSigner, Signer
from tuf.api.exceptions import RepositoryError, UnsignedMetadataError
from tuf.api.metadata import Metadata, Root, Signed, Snapshot, TargetFile, Targets, Timestamp

from edgekit.errors import DataError, EnvironmentMissingError, GateError
from edgekit.repo._keys import KeyFolder
from edgekit_agent.durable import write_durably
from edgekit_agent.protocol import SIGNED_AT, BlockIndex, Release, stored_as

_Role = TypeVar("_Role", Root, Snapshot, Targets, Timestamp)
_MAX_METADATA_BYTES = 32 << 20


class Repository:
    """A folder with `metadata`, `targets` and `blocks`."""

    def __init__(self, folder: Path) -> None:
        """Take the folder."""
        self.folder = folder
        self.metadata = folder / "metadata"
        self.targets_folder = folder / "targets"
        self.blocks = folder / "blocks"

    def root(self) -> Metadata[Root]:
        """Return the newest root.

        Raises:
            DataError: if the folder holds no repository, or the file cannot be read.
        """
        return self._newest("root", Root)

    def targets(self) -> Metadata[Targets]:
        """Return the newest targets, published or not yet; errors as `root`."""
        return self._newest("targets", Targets)

    def next_version(self, role: str) -> int:
        """Return the version that a role's next file has.

        Raises:
            DataError: if the timestamp cannot be read.
        """
        if role == "timestamp":
            path = self.metadata / "timestamp.json"
            return _read(path, Timestamp).signed.version + 1 if path.exists() else 1
        return max(self._versions(role), default=0) + 1

    def make_folders(self) -> None:
        """Make the folders of an empty repository."""
        for folder in (self.metadata, self.targets_folder, self.blocks):
            folder.mkdir(parents=True, exist_ok=True)

    def write(self, role: str, metadata: Metadata[_Role]) -> None:
        """Add the file of a role's new version, or replace the timestamp.

        Raises:
            OSError: if it cannot be written.
        """
        name = "timestamp.json" if role == "timestamp" else f"{metadata.signed.version}.{role}.json"
        write_durably(self.metadata / name, metadata.to_bytes())

    def store_target(self, file: Path, name: str, index: BlockIndex) -> None:
        """Copy a target below `targets`, and write its block index.

        Raises:
            DataError: if the file was changed meanwhile.
            OSError: if they cannot be written.
        """
        path = self.targets_folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            with file.open("rb") as source, beside.open("wb") as copy:
                shutil.copyfileobj(source, copy)
                copy.flush()
                os.fsync(copy.fileno())
            if beside.stat().st_size != index.length or sha256_of(beside) not in path.name:
                raise DataError(f"'{file}' was changed while it was added")
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
        content = index.to_bytes()
        write_durably(self.blocks / hashlib.sha256(content).hexdigest(), content)

    def check_target(self, name: str, target: TargetFile) -> None:
        """Check that what the metadata names is there.

        Raises:
            DataError: if the target or its block index is missing, or its size is not the one signed.
        """
        release = Release.from_json(target.custom)
        for path, length in (
            (self.targets_folder / stored_as(name, target.hashes["sha256"]), target.length),
            (self.blocks / release.blocks.sha256, release.blocks.length),
        ):
            if not path.is_file() or path.stat().st_size != length:
                raise DataError(f"'{path}' of the target '{name}' is missing or has another size than was signed")

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the repository's lock.

        Raises:
            EnvironmentMissingError: if another process holds it.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as exc:
                raise EnvironmentMissingError(f"another process is changing '{self.folder}'") from exc
            yield
        finally:
            os.close(handle)

    def _newest(self, role: str, kind: type[_Role]) -> Metadata[_Role]:
        versions = self._versions(role)
        if not versions:
            error = DataError(f"'{self.folder}' holds no repository")
            error.add_note(f"make one: edgekit repo init {self.folder}")
            raise error
        return _read(self.metadata / f"{max(versions)}.{role}.json", kind)

    def _versions(self, role: str) -> list[int]:
        found = (re.fullmatch(rf"([1-9]\d*)\.{role}\.json", path.name) for path in self.metadata.glob("*.json"))
        return [int(match[1]) for match in found if match]


def _read(path: Path, kind: type[_Role]) -> Metadata[_Role]:
    try:
        with path.open("rb") as file:
            metadata = Metadata[_Role].from_bytes(file.read(_MAX_METADATA_BYTES))
    except OSError as exc:
        raise DataError(f"cannot read '{path}': {exc.strerror}") from exc
    except (RepositoryError, ValueError) as exc:
        raise DataError(f"'{path}' is no signed metadata") from exc
    if not isinstance(metadata.signed, kind):
        raise DataError(f"'{path}' is metadata of another role")
    return metadata


@dataclass(frozen=True, slots=True, kw_only=True)
class Validity:
    """For how many days what is signed holds: root and targets (`offline`), snapshot and timestamp (`online`)."""

    offline: float = 365
    online: float = 14


def dated(signed: Signed, days: float) -> None:
    """Say when metadata is signed and for how long it holds."""
    now = datetime.now(UTC).replace(microsecond=0)
    signed.expires = (now + timedelta(days=days)).replace(microsecond=0)
    signed.unrecognized_fields[SIGNED_AT] = now.isoformat()


def signed_by(signed: _Role, signers: Iterable[Signer]) -> Metadata[_Role]:
    """Return metadata with the signatures of all these keys, and no others."""
    metadata = Metadata(signed)
    for signer in signers:
        metadata.sign(signer, append=True)
    return metadata


def check_signatures(role: str, metadata: Metadata[_Role], root: Metadata[Root]) -> None:
    """Check that a device with this root would take it.

    Raises:
        GateError: if signatures of enough trusted keys are missing.
    """
    try:
        root.signed.verify_delegate(role, metadata.signed_bytes, metadata.signatures)
    except UnsignedMetadataError as exc:
        raise GateError(f"the {role} metadata is not signed by enough of the keys the root names: {exc}") from exc


def check_root(new: Metadata[Root], old: Metadata[Root]) -> None:
    """Check that a device with the old root would take the new one.

    Raises:
        GateError: if signatures of enough of the old root's keys, or of its own, are missing.
    """
    result = new.signed.get_root_verification_result(old.signed, new.signed_bytes, new.signatures)
    if not result:
        raise GateError(f"the root metadata {new.signed.version} is not signed by enough of the old and the new keys")


def role_signers(keys: KeyFolder, root: Metadata[Root], role: str, least: int | None = None) -> list[CryptoSigner]:
    """Return the keys of a role that are here, by default at least as many as must sign; see `KeyFolder.signers`."""
    trusted = root.signed.roles[role]
    return keys.signers(role, trusted.keyids, trusted.threshold if least is None else least)


def sha256_of(path: Path) -> str:
    """Return a file's SHA-256 in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
