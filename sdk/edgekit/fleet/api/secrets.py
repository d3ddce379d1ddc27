"""Secrets that the service makes: random enough that a plain hash of them is safe to keep."""

import hashlib
import hmac
import os
import secrets
from pathlib import Path

TOKEN_FILE = "token"  # noqa: S105 - a file's name
TOKEN_PREFIX = "ekt_"  # noqa: S105 - lets secret scanners find one that leaked
LENGTH = range(24, 129)


def new_secret(prefix: str = "") -> str:
    """Return a secret of 256 bits that can be typed into a header."""
    return prefix + secrets.token_urlsafe(32)


def hashed(secret: str) -> str:
    """Return what is kept of such a secret."""
    return hashlib.sha256(secret.encode()).hexdigest()


def derived(secret: str, purpose: str) -> str:
    """Return a second secret that tells nothing of the first."""
    return hmac.new(secret.encode(), purpose.encode(), "sha256").hexdigest()


def local_token(folder: Path) -> str:
    """Return the token of who can read the service's own folder (0600); it is made at the first start.

    Args:
        folder: The data folder of the service.
    """
    file = folder / TOKEN_FILE
    try:
        text = file.read_text().strip()
    except FileNotFoundError:
        text = ""
    if len(text) in LENGTH:
        file.chmod(0o600)
        return text
    text = new_secret(TOKEN_PREFIX)
    folder.mkdir(parents=True, exist_ok=True)
    beside = folder / f".{TOKEN_FILE}.{os.getpid()}"
    beside.unlink(missing_ok=True)
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        out.write(text + "\n")
        out.flush()
        os.fsync(out.fileno())
    beside.replace(file)
    return text
