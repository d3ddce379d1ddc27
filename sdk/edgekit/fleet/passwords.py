"""Passwords as they are kept: scrypt, whose memory makes guessing dear (RFC 7914, 32 MiB and some 0.1 s each).

A hash is `scrypt$LOG2N$R$P$SALT$KEY`; one that was made with other costs is still checked, and made anew at sign-in.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
import unicodedata

from edgekit.errors import UsageError

LOG2_N, R, P = 15, 8, 1
SALT_BYTES, KEY_BYTES = 16, 32
LEAST_LENGTH, MOST_BYTES = 10, 1024
# What a stored hash may ask for: a database that was tampered with must not take all memory.
_MOST_LOG2_N, _MOST_R, _MOST_P = 18, 16, 4


def hash_password(password: str) -> str:
    """Return what to keep of a password.

    Raises:
        UsageError: It is too short or too long.
    """
    check_password(password)
    salt = secrets.token_bytes(SALT_BYTES)
    return _text(LOG2_N, R, P, salt, _key(password, salt, LOG2_N, R, P))


def check_password(password: str) -> None:
    """Refuse what is guessed at once.

    Raises:
        UsageError: It is too short or too long.
    """
    if len(password) < LEAST_LENGTH:
        raise UsageError(f"a password has at least {LEAST_LENGTH} characters")
    if len(password.encode()) > MOST_BYTES:
        raise UsageError(f"a password has at most {MOST_BYTES} bytes")


def verify_password(password: str, kept: str | None) -> bool:
    """Whether a password is the one kept; without a kept one it takes as long and is never right."""
    try:
        scheme, log2_n, r, p, salt, key = (kept or _NOBODY).split("$")
        costs = int(log2_n), int(r), int(p)
        expected, salted = base64.b64decode(key, validate=True), base64.b64decode(salt, validate=True)
    except (ValueError, binascii.Error):
        return False
    if scheme != "scrypt" or not all(0 < cost <= most for cost, most in zip(costs, _MOST, strict=True)):
        return False
    found = len(password.encode()) <= MOST_BYTES and _key(password, salted, *costs)
    return bool(found) and hmac.compare_digest(found or b"", expected) and kept is not None


def is_outdated(kept: str) -> bool:
    """Whether a hash was made with other costs than new ones are."""
    return not kept.startswith(f"scrypt${LOG2_N}${R}${P}$")


def _key(password: str, salt: bytes, log2_n: int, r: int, p: int) -> bytes:
    # the same password typed on another keyboard may come in another Unicode form
    text = unicodedata.normalize("NFKC", password).encode()
    n = 1 << log2_n
    return hashlib.scrypt(text, salt=salt, n=n, r=r, p=p, maxmem=256 * n * r, dklen=KEY_BYTES)


def _text(log2_n: int, r: int, p: int, salt: bytes, key: bytes) -> str:
    return "$".join(
        ["scrypt", str(log2_n), str(r), str(p), base64.b64encode(salt).decode(), base64.b64encode(key).decode()]
    )


_MOST = (_MOST_LOG2_N, _MOST_R, _MOST_P)
_NOBODY = _text(LOG2_N, R, P, bytes(SALT_BYTES), bytes(KEY_BYTES))
