"""Listen to a fleet through its broker."""

import logging
import queue
import ssl
import threading
import time
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any, Self

from edgekit.errors import UsageError
from edgekit.fleet._fleet import Fleet, Received
from edgekit.fleet._url import BrokerUrl, parse, tls_context
from edgekit_agent.errors import ProtocolError, TransportError
from edgekit_agent.protocol import Kind, Report, check_name, subscription

_log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 10.0
# Quick, so that a broker that comes back finds the watcher before the devices send again.
RETRY_S = 0.3
CONNECTION_TRIES = 4  # before giving up a first connection that the broker closes: both versions, twice
QUEUE_LIMIT = 100_000
LOOP_S = 1.0
KINDS = (Kind.STATE, Kind.INFO, Kind.EVENT, Kind.TELE)


class FleetClient:
    """A subscriber that comes back by itself.

    `with FleetClient(url) as client: for received in client.messages(): ...`. MQTT 5 is tried first, and 3.1.1
    where the broker does not know it.
    """

    def __init__(
        self,
        url: str | BrokerUrl,
        site: str | None = None,
        window_s: float = 60.0,
        *,
        kinds: tuple[Kind, ...] = KINDS,
    ) -> None:
        """Name the broker; entering the block connects.

        Args:
            url: where it is.
            site: listen to this site only; None is all.
            window_s: how long a report counts in `fleet`.
            kinds: which messages to subscribe to.

        Raises:
            UsageError: if the URL or the site's name is wrong.
        """
        self.url = parse(url) if isinstance(url, str) else url
        self.fleet = Fleet(window_s)
        self._filters = [(subscription(kind, _checked(site)), 1) for kind in kinds]
        self._queue: queue.Queue[tuple[str, bytes]] = queue.Queue(QUEUE_LIMIT)
        self._stopping = threading.Event()
        self._subscribed = threading.Event()
        self._up = threading.Event()
        self._was_up = True
        self._reason = "did not answer in time"
        self._thread: threading.Thread | None = None
        self._client: Any = None
        self._tls: ssl.SSLContext | None = None

    def __enter__(self) -> Self:
        """Connect and subscribe.

        Raises:
            TransportError: if the broker does not answer within 10 s, or refuses.
            DataError: if a certificate or key cannot be read.
        """
        self._tls = tls_context(self.url)
        self._thread = threading.Thread(target=self._run, name="fleet-client", daemon=True)
        self._thread.start()
        end = time.monotonic() + CONNECT_TIMEOUT_S
        while not self._subscribed.wait(0.05):
            if time.monotonic() > end or self._stopping.is_set():
                self.close()
                raise TransportError(f"broker {self.url} {self._reason}")
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

    def reports(self, timeout_s: float | None = None) -> Iterator[tuple[Received, Report]]:
        """Yield new reports with where they came from, until the time is over (None: for ever)."""
        for received in self.messages(timeout_s):
            if isinstance(received.message, Report):
                yield received, received.message

    def next_message(self, timeout_s: float) -> Received | None:
        """Return the next message within the time if it is valid and new, else None; it is noted in `fleet`."""
        raw, up = self.next_raw(timeout_s), self._up.is_set()
        if up is not self._was_up:  # while we are cut off nobody is taken for dead
            self._was_up = up
            self.fleet.roll.host(time.monotonic(), connected=up)
        return None if raw is None else self.fleet.feed(*raw, time.monotonic())

    def next_raw(self, timeout_s: float) -> tuple[str, bytes] | None:
        """Return topic and payload of the next message of any kind within the time, else None; nothing is noted."""
        try:
            return self._queue.get(timeout=max(0.001, timeout_s))
        except queue.Empty:
            return None

    def publish(self, topic: str, payload: bytes) -> None:
        """Hand a message to the broker, at least once (QoS 1)."""
        if self._client is not None:
            self._client.publish(topic, payload, qos=1)

    def clear(self, topics: Iterable[str]) -> None:
        """Take away what the broker keeps under topics, and wait until it has.

        Raises:
            TransportError: if it did not within 10 s.
        """
        waiting = [self._client.publish(topic, b"", qos=1, retain=True) for topic in topics]
        end = time.monotonic() + CONNECT_TIMEOUT_S
        for one in waiting:
            one.wait_for_publish(max(0.0, end - time.monotonic()))
            if not one.is_published():
                raise TransportError(f"broker {self.url} did not take a message in time")

    # --- the connection, in its thread

    def _run(self) -> None:
        from paho.mqtt.enums import MQTTProtocolVersion

        versions = [MQTTProtocolVersion.MQTTv5, MQTTProtocolVersion.MQTTv311]
        tries = 0
        while not self._stopping.is_set():
            outcome = self._connection(versions[0])
            self._up.clear()
            if outcome == "closed":
                versions.reverse()  # perhaps it knows the other version only
                tries += 1
            if (
                outcome != "ended"
                and not self._subscribed.is_set()
                and (outcome != "closed" or tries >= CONNECTION_TRIES)
            ):
                self._stopping.set()  # a first connection that fails is said at once
            self._stopping.wait(RETRY_S)

    def _connection(self, version: Any) -> str:  # noqa: ANN401  # paho's enum
        """Live through one connection.

        Returns:
            `unreachable`; `refused` by a broker that says why; `closed` before the session stood; or `ended`.
        """
        outcome = ["closed"]
        client = self._new_client(version, outcome)
        try:
            client.connect(self.url.host, self.url.port, keepalive=15)
            self._client = client
            # not loop_forever: only `loop` can be woken by the thread that publishes
            while client.loop(LOOP_S) == 0:
                pass
        except OSError as exc:
            if self._client is client:
                return outcome[0]
            self._reason = f"did not answer: {getattr(exc, 'strerror', None) or exc or type(exc).__name__}"
            return "unreachable"
        except Exception:  # noqa: BLE001  # the port: a broker's nonsense must not end the thread
            _log.debug("the connection to %s failed", self.url, exc_info=True)
        if outcome[0] == "closed" and not self._stopping.is_set() and not self._reason.startswith("refused"):
            self._reason = "closed the connection"
        return outcome[0]

    def _new_client(self, version: Any, outcome: list[str]) -> Any:  # noqa: ANN401  # paho's enum and client
        import paho.mqtt.client as paho
        from paho.mqtt.enums import CallbackAPIVersion

        client = paho.Client(CallbackAPIVersion.VERSION2, protocol=version, reconnect_on_failure=False)
        client.connect_timeout = 3.0
        # with this hook the thread that publishes leaves writing to the loop's thread: two writers may mix packets
        client.on_socket_register_write = lambda *_: None
        if self.url.username is not None:
            client.username_pw_set(self.url.username, self.url.password)
        if self._tls is not None:
            client.tls_set_context(self._tls)

        def on_connect(_client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:  # noqa: ANN401  # paho's
            if reason.is_failure:
                outcome[0] = "closed" if "version" in str(reason).lower() else "refused"
                self._reason = f"refused: {reason}"
            elif self._stopping.is_set():
                client.disconnect()
            else:
                outcome[0] = "ended"
                client.subscribe(self._filters)

        def on_subscribe(_client: Any, _data: Any, _mid: Any, reasons: Any, _properties: Any) -> None:  # noqa: ANN401  # paho's
            if all(reason.is_failure for reason in reasons):
                outcome[0], self._reason = "refused", f"refused the subscription: {reasons[0]}"
                client.disconnect()
            else:
                self._up.set()
                self._subscribed.set()

        def on_message(_client: Any, _data: Any, message: Any) -> None:  # noqa: ANN401  # paho's
            try:
                self._queue.put_nowait((message.topic, message.payload))
            except queue.Full:  # the reader is too slow: memory stays bounded, and it is told
                self.fleet.counters.dropped += 1

        client.on_connect, client.on_subscribe, client.on_message = on_connect, on_subscribe, on_message
        return client


def _checked(site: str | None) -> str | None:
    try:
        return None if site is None else check_name(site, "site")
    except ProtocolError as exc:
        raise UsageError(str(exc)) from exc
