"""The connection by which a bridge hands messages to a broker: its own will, retained messages, bounded waiting.

One `Outlet` is one connection: who loses it makes the next with a new will. Nothing waits in memory without a bound:
`publish` refuses what the broker does not take in time, and the caller, who knows what was refused, sends it again.
"""

import logging
import queue
import threading
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from edgekit.fleet._url import BrokerUrl, tls_context
from edgekit_agent.errors import TransportError

_log = logging.getLogger(__name__)

CONNECT_S = 10.0
PUBLISH_S = 10.0
IN_FLIGHT = 200
INBOX = 1_000


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker publishes when the connection is lost."""

    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = False


class Outlet:
    """A connection to a broker (MQTT 3.1.1, clean session), used by one thread."""

    def __init__(self, url: BrokerUrl, client_id: str, will: Will, subscribe: tuple[str, ...] = ()) -> None:
        """Name the broker; entering the block connects.

        Args:
            url: where it is.
            client_id: our name there.
            will: what is published for us when we are gone.
            subscribe: filters of what we listen to; it comes to `received`.
        """
        self._url, self._id, self._will, self._subscribe = url, client_id, will, subscribe
        self._inbox: queue.Queue[tuple[str, bytes]] = queue.Queue(INBOX)
        self._ready, self._lost = threading.Event(), threading.Event()
        self._reason = "did not answer in time"
        self._flying: list[Any] = []
        self._client: Any = None
        self.ignored = 0
        """Messages to us that came faster than they were read."""

    def __enter__(self) -> Self:
        """Connect.

        Raises:
            TransportError: if the broker does not answer within 10 s, or refuses.
            DataError: if a certificate or key cannot be read.
        """
        client = self._client = self._made()
        try:
            client.connect(self._url.host, self._url.port, keepalive=15)
        except OSError as exc:
            raise TransportError(f"broker {self._url} did not answer: {exc.strerror or exc}") from exc
        client.loop_start()
        end = time.monotonic() + CONNECT_S
        while not self._ready.wait(0.05):
            if self._lost.is_set() or time.monotonic() > end:
                self._stop()
                raise TransportError(f"broker {self._url} {self._reason}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Disconnect; the will is not sent."""
        self._stop()

    @property
    def alive(self) -> bool:
        """Whether the connection stands."""
        return self._ready.is_set() and not self._lost.is_set()

    def publish(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> None:
        """Hand a message to the connection; with QoS 1 `settle` says whether the broker has it.

        Raises:
            TransportError: if there is no connection, or the broker takes nothing for 10 s.
        """
        if len(self._flying) >= IN_FLIGHT:
            self.settle()
        self._check()
        info = self._client.publish(topic, payload, qos=qos, retain=retain)
        if info.rc != 0:
            raise TransportError(f"broker {self._url} does not take a message: {info.rc}")
        self._flying.append(info)

    def settle(self) -> None:
        """Wait until everything handed over has left, and with QoS 1 is acknowledged.

        Raises:
            TransportError: if that takes more than 10 s, or the connection is lost.
        """
        end = time.monotonic() + PUBLISH_S
        for info in self._flying:
            while not info.is_published():
                self._check()
                if time.monotonic() > end:
                    raise TransportError(f"broker {self._url} takes no messages")
                info.wait_for_publish(0.1)
        self._flying.clear()

    def received(self, timeout_s: float) -> tuple[str, bytes] | None:
        """Return topic and payload of the next message to us within the time, else None."""
        try:
            return self._inbox.get(timeout=max(0.001, timeout_s))
        except queue.Empty:
            return None

    def _check(self) -> None:
        if not self.alive:
            raise TransportError(f"broker {self._url} closed the connection")

    def _stop(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()
        self._lost.set()

    def _made(self) -> Any:  # noqa: ANN401  # paho's client
        import paho.mqtt.client as paho
        from paho.mqtt.enums import CallbackAPIVersion

        client = paho.Client(CallbackAPIVersion.VERSION2, self._id, clean_session=True, reconnect_on_failure=False)
        client.connect_timeout = CONNECT_S
        client.max_inflight_messages_set(IN_FLIGHT)
        client.max_queued_messages_set(2 * IN_FLIGHT)
        client.will_set(self._will.topic, self._will.payload, self._will.qos, self._will.retain)
        if self._url.username is not None:
            client.username_pw_set(self._url.username, self._url.password)
        context = tls_context(self._url)
        if context is not None:
            client.tls_set_context(context)
        client.on_connect, client.on_disconnect = self._connected, self._disconnected
        client.on_message, client.on_subscribe = self._message, self._subscribed
        return client

    def _connected(self, client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:  # noqa: ANN401  # paho's
        if reason.is_failure:
            self._reason = f"refused: {reason}"
            self._lost.set()
        elif self._subscribe:
            client.subscribe([(one, 1) for one in self._subscribe])
        else:
            self._ready.set()

    def _subscribed(self, _client: Any, _data: Any, _mid: Any, reasons: Any, _properties: Any) -> None:  # noqa: ANN401  # paho's
        if any(reason.is_failure for reason in reasons):
            self._reason = "refused the subscription"
            self._lost.set()
        else:
            self._ready.set()

    def _disconnected(self, _client: Any, _data: Any, _flags: Any, _reason: Any, _properties: Any) -> None:  # noqa: ANN401  # paho's
        self._lost.set()

    def _message(self, _client: Any, _data: Any, message: Any) -> None:  # noqa: ANN401  # paho's
        try:
            self._inbox.put_nowait((message.topic, message.payload))
        except queue.Full:
            self.ignored += 1
