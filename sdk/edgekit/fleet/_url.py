"""Broker URLs: `mqtt://[user@]host[:port]`, `mqtts://...`."""

from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from edgekit.errors import UsageError

PORTS = {"mqtt": 1883, "mqtts": 8883}


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerUrl:
    """Where a broker is and who asks; `str()` never shows the password."""

    host: str
    port: int
    tls: bool = False
    username: str | None = None
    password: str | None = None

    def __str__(self) -> str:
        """Return the URL without the password."""
        who = f"{self.username}@" if self.username else ""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'mqtts' if self.tls else 'mqtt'}://{who}{host}:{self.port}"


def parse(text: str) -> BrokerUrl:
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
    return BrokerUrl(
        host=parts.hostname,
        port=port or PORTS[parts.scheme],
        tls=parts.scheme == "mqtts",
        username=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
    )


def _wrong(text: str) -> UsageError:
    head, at, tail = text.rpartition("@")
    shown = f"{head.partition('//')[0]}//...@{tail}" if at else text
    return UsageError(f"broker '{shown[:200]}' is not of the form mqtt://host[:port] or mqtts://host[:port]")
