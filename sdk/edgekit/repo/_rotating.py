"""New keys for a role, and new dates for what the keys have signed."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from securesystemslib.signer import CryptoSigner, Signer
from tuf.api.metadata import Metadata, Root

from edgekit.errors import UsageError
from edgekit.repo._keys import OFFLINE, ONLINE, ROLES, KeyFolder
from edgekit.repo._metadata import Repository, Validity, check_root, check_signatures, dated, role_signers, signed_by
from edgekit.repo._publishing import publish_signed


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Which keys of a role are replaced, and by how many.

    `revoke` are their ids, all of the role's by default; `count` new keys are made, as many as are replaced by default;
    `threshold` is how many must sign from now on, as many as before by default.
    """

    revoke: tuple[str, ...] = ()
    count: int | None = None
    threshold: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotated:
    """The ids of the keys that are trusted for a role now, and of those that are not any more."""

    role: str
    new: tuple[str, ...]
    kept: tuple[str, ...]
    revoked: tuple[str, ...]
    threshold: int
    root_version: int
    root_expires: datetime

    def to_json(self) -> dict[str, object]:
        """Return the document of schema 1."""
        return {
            "schema": 1,
            "role": self.role,
            "new": list(self.new),
            "kept": list(self.kept),
            "revoked": list(self.revoked),
            "threshold": self.threshold,
            "root_version": self.root_version,
            "root_expires": self.root_expires.isoformat(),
        }


def rotate(
    folder: Path,
    role: str,
    keys: KeyFolder,
    change: Change = Change(),
    validity: Validity = Validity(),
) -> Rotated:
    """Put new keys in the place of old ones, by a new root signed by enough of the old root's keys and of its own.

    What the role signs is signed by its old and its new keys before the root is there, so that a device that reads
    in between takes it with either root. Where too few of the old keys are left, the root comes first, and such a
    device tries again.

    Args:
        folder: the repository.
        role: root, targets, snapshot or timestamp.
        keys: with enough root keys; for another role also what is left of its old keys, and the on-line keys.
        change: which keys go, and how many come.
        validity: for how long what is signed holds.

    Raises:
        UsageError: if the role has no such key, or fewer keys than must sign.
        GateError: if devices would refuse the result.
        EnvironmentMissingError: if keys are missing, or another process is changing the repository.
        OSError: if files cannot be written.
    """
    work = _Work(Repository(folder), keys, validity)
    with work.repository.alone():
        old = work.repository.root()
        root_signers = role_signers(keys, old, "root")
        gone = _chosen(old, role, change.revoke)
        left = role_signers(keys, old, role, least=0)
        new = deepcopy(old.signed)
        made = _replace(new, role, gone, change, keys)
        root = work.next_root(old, new, [*root_signers, *(made if role == "root" else ())])
        smooth = role != "root" and len(left) >= old.signed.roles[role].threshold
        if not smooth:
            work.repository.write("root", root)
        if role != "root":
            work.sign_again(root, role, [*left, *made])
        if smooth:
            work.repository.write("root", root)
    ids = tuple(signer.public_key.keyid for signer in made)
    return Rotated(
        role=role,
        new=ids,
        kept=tuple(keyid for keyid in new.roles[role].keyids if keyid not in ids),
        revoked=gone,
        threshold=new.roles[role].threshold,
        root_version=new.version,
        root_expires=new.expires,
    )


def renew(folder: Path, role: str, keys: KeyFolder, validity: Validity = Validity()) -> datetime:
    """Sign the newest root or targets again, to hold for longer, and return until when; see `rotate`."""
    if role not in OFFLINE:
        raise UsageError(f"'{role}' is not root or targets: publishing signs the others anew")
    work = _Work(Repository(folder), keys, validity)
    with work.repository.alone():
        root = work.repository.root()
        signers = role_signers(keys, root, role)
        if role == "root":
            root = work.next_root(root, deepcopy(root.signed), signers)
            work.repository.write("root", root)
            return root.signed.expires
        work.sign_again(root, role, signers)
        return work.repository.targets().signed.expires


def _chosen(root: Metadata[Root], role: str, revoke: Sequence[str]) -> tuple[str, ...]:
    if role not in ROLES:
        raise UsageError(f"'{role}' is no role: {', '.join(ROLES)}")
    there = root.signed.roles[role].keyids
    unknown = [keyid for keyid in revoke if keyid not in there]
    if unknown:
        error = UsageError(f"'{unknown[0]}' is no {role} key")
        error.add_note(f"they are: {', '.join(there)}")
        raise error
    return tuple(revoke) or tuple(there)


def _replace(root: Root, role: str, gone: Sequence[str], change: Change, keys: KeyFolder) -> list[CryptoSigner]:
    """Change the root's keys of a role; keys are made only when all is well."""
    trusted = root.roles[role]
    count = len(gone) if change.count is None else change.count
    threshold = trusted.threshold if change.threshold is None else change.threshold
    number = len(trusted.keyids) - len(gone) + count
    if count < 0 or not 1 <= threshold <= number:
        raise UsageError(f"{threshold} of {number} {role} keys cannot sign")
    for keyid in gone:
        root.revoke_key(keyid, role)
    made = [keys.make(role) for _ in range(count)]
    for signer in made:
        root.add_key(signer.public_key, role)
    trusted.threshold = threshold
    return made


@dataclass(frozen=True, slots=True)
class _Work:
    """What is signed where, with which keys, and for how long it holds."""

    repository: Repository
    keys: KeyFolder
    validity: Validity

    def next_root(self, old: Metadata[Root], new: Root, signers: Sequence[Signer]) -> Metadata[Root]:
        """Return the new root signed, not written yet."""
        new.version = self.repository.next_version("root")
        dated(new, self.validity.offline)
        metadata = signed_by(new, signers)
        check_root(metadata, old)
        return metadata

    def sign_again(self, root: Metadata[Root], role: str, signers: Sequence[Signer]) -> None:
        """Sign what a role signs with these keys, and publish it."""
        online = {one: signers if one == role else role_signers(self.keys, root, one) for one in ONLINE}
        if role == "targets":
            targets = self.repository.targets().signed
            targets.version = self.repository.next_version("targets")
            dated(targets, self.validity.offline)
            metadata = signed_by(targets, signers)
            check_signatures("targets", metadata, root)
            self.repository.write("targets", metadata)
        publish_signed(self.repository, root, online, self.validity)
