"""Broker URLs: `mqtt://[user[:password]@]host[:port]`, `mqtts://...`."""

import ssl
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from edgekit.errors import DataError, UsageError

PORTS = {"mqtt": 1883, "mqtts": 8883}


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerUrl:
    """Where a broker is and who asks; `str()` never shows the password.

    `ca` is whom to trust instead of the system's authorities; `cert` and `key` are the client's own.
    """

    host: str
    port: int
    tls: bool = False
    username: str | None = None
    password: str | None = None
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None

    def __str__(self) -> str:
        """Return the URL without the password."""
        who = f"{self.username}@" if self.username else ""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'mqtts' if self.tls else 'mqtt'}://{who}{host}:{self.port}"


def parse(text: str, *, ca: Path | None = None, cert: Path | None = None, key: Path | None = None) -> BrokerUrl:
    """Read a broker's URL; without a scheme it is `mqtt`.

    Raises:
        UsageError: if it is not of that form.
    """
    full = text if "://" in text else f"mqtt://{text}"
    try:
        parts = urlsplit(full)
        port = parts.port
    except ValueError:
        raise _wrong(text) from None
    if parts.scheme not in PORTS or not parts.hostname or parts.path not in {"", "/"} or parts.query or port == 0:
        raise _wrong(text)
    if parts.scheme != "mqtts" and (ca or cert or key):
        raise UsageError(f"a certificate is of no use with '{_shown(text)}': it needs mqtts://")
    if key and not cert:
        raise UsageError("a key needs its certificate: --cert")
    return BrokerUrl(
        host=parts.hostname,
        port=port or PORTS[parts.scheme],
        tls=parts.scheme == "mqtts",
        username=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        ca=ca,
        cert=cert,
        key=key,
    )


def tls_context(url: BrokerUrl) -> ssl.SSLContext | None:
    """Return the context to connect with, None without TLS.

    Raises:
        DataError: if a certificate or key cannot be read.
    """
    if not url.tls:
        return None
    part = url.ca
    try:
        context = ssl.create_default_context(cafile=url.ca)
        if url.cert is not None:
            part = url.cert
            context.load_cert_chain(url.cert, url.key)
    except OSError as exc:  # ssl's own errors among them
        raise DataError(f"'{part}' cannot be used as a certificate: {exc.strerror or exc}") from exc
    return context


def _wrong(text: str) -> UsageError:
    return UsageError(f"broker '{_shown(text)}' is not of the form mqtt://host[:port] or mqtts://host[:port]")


def _shown(text: str) -> str:
    """Leave out what stands before the '@': it may hold a password."""
    head, at, tail = text.rpartition("@")
    return (f"{head.partition('//')[0]}//...@{tail}" if at else text)[:200]
