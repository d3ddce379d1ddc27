"""Key files: ed25519, encrypted PKCS #8 PEM, one folder a role; moving a folder elsewhere takes the keys off line."""

from collections.abc import Callable, Collection
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from securesystemslib.signer import CryptoSigner

from edgekit.errors import DataError, EnvironmentMissingError, UsageError
from edgekit_agent.durable import write_durably

OFFLINE = ("root", "targets")
ONLINE = ("snapshot", "timestamp")
ROLES = (*OFFLINE, *ONLINE)
LEAST_PASSPHRASE = 8
_MAX_PEM_BYTES = 16 << 10

Passphrase = Callable[[str], bytes]
"""Given a role, what its key files are encrypted with."""


class KeyFolder:
    """The private keys `FOLDER/<role>/<key id>.pem`; no passphrase is kept, and none appears in a message."""

    def __init__(self, folder: Path, passphrase: Passphrase) -> None:
        """Take the folder, and who knows the passphrase of a role's files."""
        self.folder = folder
        self._passphrase = passphrase

    def make(self, role: str) -> CryptoSigner:
        """Make a key for a role and write it, readable by its owner only.

        Raises:
            UsageError: if the passphrase is too short.
            OSError: if it cannot be written.
        """
        passphrase = self._passphrase(role)
        if len(passphrase) < LEAST_PASSPHRASE:
            raise UsageError(f"the passphrase for the {role} key has fewer than {LEAST_PASSPHRASE} characters")
        private = Ed25519PrivateKey.generate()
        signer = CryptoSigner(private)
        pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(passphrase))
        for folder in (self.folder, self.folder / role):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_durably(self.path(role, signer.public_key.keyid), pem, mode=0o600)
        return signer

    def path(self, role: str, keyid: str) -> Path:
        """Return where a key's file is, or would be."""
        return self.folder / role / f"{keyid}.pem"

    def signers(self, role: str, keyids: Collection[str], least: int = 0) -> list[CryptoSigner]:
        """Return those of a role's keys that are here.

        Raises:
            EnvironmentMissingError: if fewer than `least` are.
            DataError: if a file is no such key, or the passphrase does not open it.
        """
        here = [keyid for keyid in keyids if self.path(role, keyid).exists()]
        if len(here) < least:
            error = EnvironmentMissingError(
                f"{len(here)} of the {len(keyids)} {role} keys are in '{self.folder / role}', {least} must sign"
            )
            error.add_note(f"missing: {', '.join(f'{keyid}.pem' for keyid in keyids if keyid not in here)}")
            raise error
        passphrase = self._passphrase(role) if here else b""
        return [_load(self.path(role, keyid), passphrase, keyid) for keyid in here]


def _load(path: Path, passphrase: bytes, keyid: str) -> CryptoSigner:
    try:
        with path.open("rb") as file:
            pem = file.read(_MAX_PEM_BYTES)
    except OSError as exc:
        raise DataError(f"cannot read '{path}': {exc.strerror}") from exc
    try:
        private = load_pem_private_key(pem, passphrase)
    except ValueError as exc:
        raise DataError(f"'{path}' is no key file, or the passphrase does not open it") from exc
    except TypeError as exc:
        raise DataError(f"'{path}' is not encrypted") from exc
    if not isinstance(private, Ed25519PrivateKey):
        raise DataError(f"'{path}' is not an ed25519 key")
    signer = CryptoSigner(private)
    if signer.public_key.keyid != keyid:
        raise DataError(f"'{path}' holds another key than its name says")
    return signer
