"""Listen to a fleet through its broker."""

import queue
import ssl
import threading
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

from edgekit.fleet._fleet import Fleet, Received
from edgekit.fleet._url import BrokerUrl, parse
from edgekit_agent.errors import TransportError
from edgekit_agent.protocol import Kind, subscription

CONNECT_TIMEOUT_S = 10.0
# Quick, so that a broker that comes back finds the watcher before the devices send again.
RETRY_S = 0.3
KINDS = (Kind.STATE, Kind.INFO, Kind.EVENT, Kind.TELE)


class FleetClient:
    """A subscriber that comes back by itself; use it as `with FleetClient(url) as client: for one in client.messages(): ...`.

    MQTT 5 is tried first and 3.1.1 where the broker does not know it.
    """

    def __init__(self, url: str | BrokerUrl, site: str | None = None, window_s: float = 60.0) -> None:
        """Name the broker; entering the block connects.

        Raises:
            UsageError: if the URL is wrong.
        """
        self.url = parse(url) if isinstance(url, str) else url
        self.fleet = Fleet(window_s)
        self._site = site
        self._queue: queue.SimpleQueue[tuple[str, bytes]] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._subscribed = threading.Event()
        self._reason = "no answer"
        self._thread: threading.Thread | None = None
        self._client: Any = None

    def __enter__(self) -> Self:
        """Connect and subscribe.

        Raises:
            TransportError: if the broker does not answer within 10 s, or refuses.
        """
        self._thread = threading.Thread(target=self._run, name="fleet-client", daemon=True)
        self._thread.start()
        end = time.monotonic() + CONNECT_TIMEOUT_S
        while not self._subscribed.wait(0.05):
            if time.monotonic() > end or self._stopping.is_set():
                self.close()
                raise TransportError(f"broker {self.url} did not answer: {self._reason}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Disconnect."""
        self.close()

    def close(self) -> None:
        """Disconnect and end the thread."""
        self._stopping.set()
        if self._client is not None:
            self._client.disconnect()
        if self._thread is not None:
            self._thread.join(3.0)

    def messages(self, timeout_s: float | None = None) -> Iterator[Received]:
        """Yield valid new messages, also noted in `fleet`, until the time is over (None: for ever)."""
        end = None if timeout_s is None else time.monotonic() + timeout_s
        while end is None or time.monotonic() < end:
            received = self.next_message(0.2 if end is None else min(0.2, max(0.0, end - time.monotonic())))
            if received is not None:
                yield received

    def next_message(self, timeout_s: float) -> Received | None:
        """Return the next valid new message within the time, else None."""
        try:
            topic, payload = self._queue.get(timeout=max(0.001, timeout_s))
        except queue.Empty:
            return None
        return self.fleet.feed(topic, payload, time.monotonic())

    def publish(self, topic: str, payload: bytes) -> None:
        """Hand a message to the broker, at least once (QoS 1)."""
        if self._client is not None:
            self._client.publish(topic, payload, qos=1)

    # --- the connection, in its thread

    def _run(self) -> None:
        from paho.mqtt.enums import MQTTProtocolVersion

        versions = [MQTTProtocolVersion.MQTTv5, MQTTProtocolVersion.MQTTv311]
        first_tries = 2  # of each version before giving up a first connection that is refused
        refusals = 0
        while not self._stopping.is_set():
            outcome = self._connection(versions[0])
            if outcome == "refused":
                refusals += 1
                versions.reverse()
                if refusals >= 2 * first_tries and not self._subscribed.is_set():
                    self._stopping.set()
            elif outcome == "unreachable" and not self._subscribed.is_set() and "refused" in self._reason:
                self._stopping.set()  # nobody listens there: say so at once
            self._stopping.wait(RETRY_S)

    def _connection(self, version: Any) -> str:  # noqa: ANN401  # paho's enum
        """Live through one connection: `unreachable`, `refused` (before the session stood) or `ended`."""
        import paho.mqtt.client as paho
        from paho.mqtt.enums import CallbackAPIVersion

        stood: list[bool] = []
        client = paho.Client(CallbackAPIVersion.VERSION2, protocol=version, reconnect_on_failure=False)
        client.connect_timeout = 3.0
        if self.url.username is not None:
            client.username_pw_set(self.url.username, self.url.password)
        if self.url.tls:
            client.tls_set_context(ssl.create_default_context())

        def on_connect(_client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:  # noqa: ANN401  # paho's
            if reason.is_failure:
                self._reason = f"it refused: {reason}"
                return
            stood.append(True)
            client.subscribe([(subscription(kind, self._site), 1) for kind in KINDS])

        def on_subscribe(*_: object) -> None:
            self._subscribed.set()

        def on_message(_client: Any, _data: Any, message: Any) -> None:  # noqa: ANN401  # paho's
            self._queue.put((message.topic, message.payload))

        client.on_connect, client.on_subscribe, client.on_message = on_connect, on_subscribe, on_message
        try:
            client.connect(self.url.host, self.url.port, keepalive=15)
        except (OSError, ValueError) as exc:
            self._reason = getattr(exc, "strerror", None) or str(exc) or type(exc).__name__
            return "unreachable"
        self._client = client
        client.loop_forever(retry_first_connection=False)
        return "ended" if stood else "refused"
