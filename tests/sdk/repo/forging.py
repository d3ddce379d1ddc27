"""What an attacker can do who has a web server, or also some of the keys."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, MetaFile, Root, Targets

from tests.sdk.repo.shop import Shop


def newest(shop: Shop, role: str) -> Path:
    """Return the file of a role's highest version."""
    if role == "timestamp":
        return shop.repository / "metadata" / "timestamp.json"
    found = (shop.repository / "metadata").glob(f"*.{role}.json")
    return max(found, key=lambda path: int(path.name.partition(".")[0]))


def root_of(shop: Shop) -> Metadata[Root]:
    return Metadata[Root].from_file(str(newest(shop, "root")))


def signers_of(shop: Shop, role: str) -> list[CryptoSigner]:
    return shop.keys.signers(role, root_of(shop).signed.roles[role].keyids)


def strangers(number: int = 1) -> list[CryptoSigner]:
    return [CryptoSigner.generate_ed25519() for _ in range(number)]


def write(path: Path, metadata: Metadata[Any], signers: Sequence[CryptoSigner]) -> None:
    """Sign metadata with these keys alone, and write it."""
    metadata.signatures.clear()
    for signer in signers:
        metadata.sign(signer, append=True)
    metadata.to_file(str(path))


def sign_over(
    shop: Shop, role: str, change: Callable[[Any], object], signers: Sequence[CryptoSigner] | None = None
) -> None:
    """Change a role's newest metadata and sign it; with the role's own keys unless others are given."""
    path = newest(shop, role)
    metadata = Metadata[Any].from_file(str(path))
    change(metadata.signed)
    write(path, metadata, signers_of(shop, role) if signers is None else signers)


def next_version(
    shop: Shop,
    role: str,
    change: Callable[[Any], object] = lambda _signed: None,
    signers: Sequence[CryptoSigner] | None = None,
) -> None:
    """Add a role's next version: the newest changed, signed with the role's own keys unless others are given."""
    path = newest(shop, role)
    version = Metadata[Any].from_file(str(path)).signed.version + 1
    if role != "timestamp":
        path.with_name(f"{version}.{role}.json").write_bytes(path.read_bytes())
    signers = signers_of(shop, role) if signers is None else signers

    def changed(signed: Any) -> None:
        signed.version = version
        change(signed)

    sign_over(shop, role, changed, signers)


def announce(
    shop: Shop, change: Callable[[Any], object] = lambda _signed: None, signers: Sequence[CryptoSigner] | None = None
) -> None:
    """Add a snapshot of the newest targets and make the timestamp fit, as one who has the on-line keys can."""
    targets = newest(shop, "targets")
    version = Metadata[Targets].from_file(str(targets)).signed.version

    def snapshot(signed: Any) -> None:
        signed.meta["targets.json"] = MetaFile.from_data(version, targets.read_bytes(), ["sha256"])
        change(signed)

    next_version(shop, "snapshot", snapshot, signers)
    follow(shop)


def follow(shop: Shop) -> None:
    """Make the timestamp fit the newest snapshot, as one who has the timestamp key can."""
    path = newest(shop, "snapshot")
    version = int(path.name.partition(".")[0])

    def timestamp(signed: Any) -> None:
        signed.snapshot_meta = MetaFile.from_data(version, path.read_bytes(), ["sha256"])

    next_version(shop, "timestamp", timestamp)


def expired(signed: Any) -> None:
    signed.expires = datetime(2026, 11, 2, tzinfo=UTC)
