"""Publishing: a snapshot of what is signed, and the timestamp that makes devices see it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from securesystemslib.signer import Signer
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, Timestamp

from edgekit.errors import GateError
from edgekit.repo._keys import ONLINE, KeyFolder
from edgekit.repo._metadata import Repository, Validity, check_signatures, dated, role_signers, signed_by


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What devices see now: the version of each role, and until when it holds."""

    folder: Path
    versions: Mapping[str, int]
    expires: Mapping[str, datetime]
    targets: tuple[str, ...]

    def to_json(self) -> dict[str, object]:
        """Return the document of schema 1."""
        return {
            "schema": 1,
            "repository": str(self.folder),
            "versions": dict(self.versions),
            "expires": {role: at.isoformat() for role, at in self.expires.items()},
            "targets": list(self.targets),
        }


def publish(folder: Path, keys: KeyFolder, validity: Validity = Validity()) -> Published:
    """Make devices see what was added; without additions, make what they see hold for longer.

    Args:
        folder: the repository.
        keys: with the snapshot and timestamp keys.
        validity: for how long snapshot and timestamp hold: publish again before that.

    Raises:
        GateError: if devices would refuse the result: root or targets have expired or are not signed by enough keys.
        DataError: if a target or its block index is missing or cut off.
        EnvironmentMissingError: if keys are missing, or another process is changing the repository.
        OSError: if files cannot be written; devices see what they saw before.
    """
    repository = Repository(folder)
    with repository.alone():
        root = repository.root()
        signers = {role: role_signers(keys, root, role) for role in ONLINE}
        return publish_signed(repository, root, signers, validity)


def publish_signed(
    repository: Repository, root: Metadata[Root], signers: Mapping[str, Sequence[Signer]], validity: Validity
) -> Published:
    """Write a new snapshot, then replace the timestamp; the caller holds the lock. See `publish`."""
    targets = repository.targets()
    check_signatures("targets", targets, root)
    now = datetime.now(UTC)
    for role, signed in (("root", root.signed), ("targets", targets.signed)):
        if signed.is_expired(now):
            error = GateError(f"the {role} metadata expired on {signed.expires:%Y-%m-%d}: devices would refuse it")
            error.add_note(f"sign it anew: edgekit repo renew {role}")
            raise error
    for name, target in targets.signed.targets.items():
        repository.check_target(name, target)
    snapshot = Snapshot(
        version=repository.next_version("snapshot"),
        meta={"targets.json": MetaFile.from_data(targets.signed.version, targets.to_bytes(), ["sha256"])},
    )
    dated(snapshot, validity.online)
    signed_snapshot = signed_by(snapshot, signers["snapshot"])
    check_signatures("snapshot", signed_snapshot, root)
    timestamp = Timestamp(
        version=repository.next_version("timestamp"),
        snapshot_meta=MetaFile.from_data(snapshot.version, signed_snapshot.to_bytes(), ["sha256"]),
    )
    dated(timestamp, validity.online)
    signed_timestamp = signed_by(timestamp, signers["timestamp"])
    check_signatures("timestamp", signed_timestamp, root)
    repository.write("snapshot", signed_snapshot)
    repository.write("timestamp", signed_timestamp)
    now_seen = {"root": root.signed, "targets": targets.signed, "snapshot": snapshot, "timestamp": timestamp}
    return Published(
        folder=repository.folder,
        versions={role: signed.version for role, signed in now_seen.items()},
        expires={role: signed.expires for role, signed in now_seen.items()},
        targets=tuple(sorted(targets.signed.targets)),
    )
