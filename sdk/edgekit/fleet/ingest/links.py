"""The port to the broker, for one thread that reads, stores and writes in turn."""

from dataclasses import dataclass
from typing import Protocol

from edgekit.errors import UsageError
from edgekit.fleet._url import BrokerUrl
from edgekit_agent.errors import TransportError

CONNECT_S = 10.0
KEEP_ALIVE_S = 30
SESSION_S = 300  # how long the broker keeps what came while the ingest starts again
MAX_PACKET_BYTES = 512 * 1024
KINDS = ("auto", "mqtt5", "paho")


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """Who asks, and for what: at least once (QoS 1), in a session that outlives a restart where the broker can."""

    client_id: str
    topic: str
    session_s: int = SESSION_S


class Link(Protocol):
    """A connection with one subscription. It is used by one thread; whoever does not poll is not sent more.

    Every call raises TransportError when the connection is gone.
    """

    def poll(self, timeout_s: float) -> list[tuple[str, bytes]]:
        """Return topic and payload of what came, waiting so long for the first."""
        ...

    def publish(self, topic: str, payload: bytes, expiry_s: int) -> None:
        """Send a message at most once (QoS 0); the broker forgets it after its expiry where it can."""
        ...

    def idle(self) -> None:
        """Keep the connection alive without reading: there is no room for more."""
        ...

    def close(self) -> None:
        """Say goodbye; the session stays."""
        ...


def open_link(url: BrokerUrl, subscription: Subscription, kind: str = "auto") -> Link:
    """Connect and subscribe.

    Args:
        url: where the broker is.
        subscription: who asks for what.
        kind: `mqtt5`, the fast path; `paho`, which speaks MQTT 3.1.1 too; or `auto`: the first that the broker knows.

    Raises:
        TransportError: if the broker does not answer within 10 s, or refuses.
        UsageError: if there is no such kind.
    """
    if kind not in KINDS:
        raise UsageError(f"there is no MQTT client '{kind}'; there are: {', '.join(KINDS)}")
    from edgekit.fleet.ingest.mqtt5_link import Mqtt5Link, VersionError
    from edgekit.fleet.ingest.paho_link import PahoLink

    if kind != "paho":
        try:
            return Mqtt5Link(url, subscription)
        except VersionError as exc:
            if kind == "mqtt5":
                raise TransportError(str(exc)) from exc
    return PahoLink(url, subscription)
