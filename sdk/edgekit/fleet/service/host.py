"""The service's own connection to the broker: low-rate messages in, everything out, and `$host/state`.

Devices learn that a host stores their reports by the retained `ek/1/{site}/$host/state`, and send what was not
acknowledged again when it says a new boot or birth. It is `online` while an ingest process is connected.
"""

import contextlib
import logging
import queue
import threading
import time
import uuid
from collections.abc import Iterable
from typing import Any, NamedTuple

from edgekit.fleet import _clock
from edgekit.fleet._url import BrokerUrl, tls_context
from edgekit.fleet.allowance import Allowances, Limits, Noisy
from edgekit.fleet.service.health import Health
from edgekit.fleet.store import DeviceKey
from edgekit_agent.errors import ProtocolError, TransportError
from edgekit_agent.protocol import HOST, MAX_MESSAGE_BYTES, Kind, State, Topic, device_topic, subscription

_log = logging.getLogger(__name__)

NAME = "broker"
KINDS = (Kind.STATE, Kind.INFO, Kind.EVENT, Kind.REPORTED, Kind.RESULT)
KEEP_ALIVE_S = 15
RETRY_S = (0.3, 1.0, 2.0, 5.0)
WAITING = 20_000
IN_FLIGHT = 1_000
SITE_LIMIT = 1_000
SAYING = Limits(rate=20.0, burst=2_000.0)
"""Of what a device says beside its reports: states, events, answers. An agent keeps 200 events while it is away."""
STOP_S = 3.0


class Message(NamedTuple):
    """A message of a device as it came; `arrived_ms` is the host's clock."""

    topic: Topic
    payload: bytes
    retained: bool
    arrived_ms: int


class HostLink:
    """Connects in a thread and comes back by itself. `publish` may be called from any thread."""

    def __init__(self, url: BrokerUrl, site: str, health: Health) -> None:
        """Name the broker; `start` connects."""
        self._url, self._site, self._health = url, site, health
        self.boot, self.birth = uuid.uuid4().hex, 0
        self.session = 0
        """The number of the connection: `birth` also grows when the ingest is there again."""
        self.sites = {site}
        self._able = False
        # full: the thread waits, nothing more is read, and the broker keeps it
        self._messages: queue.Queue[Message] = queue.Queue(WAITING)
        self._allowances, self.noisy, self._shed = Allowances[DeviceKey](SAYING), Noisy[DeviceKey](), 0
        self._shed_told = 0
        self._stopping = threading.Event()
        self._client: Any = None
        self._connected = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fleet-host", daemon=True)
        self._refused: str | None = None

    @property
    def connected(self) -> bool:
        """Whether there is a session with the broker."""
        return self._connected.is_set()

    def start(self) -> None:
        """Connect, and go on trying; health says how it stands."""
        self._thread.start()

    def stop(self) -> None:
        """Say that the host is gone, and end."""
        if self.connected:
            with contextlib.suppress(TransportError):
                self._able = False
                infos = [self._say(site, why="stop") for site in self.sites]
                end = time.monotonic() + STOP_S
                for info in infos:
                    info.wait_for_publish(max(0.01, end - time.monotonic()))
        self._stopping.set()
        if self._client is not None:
            self._client.disconnect()
        if self._thread.is_alive():
            self._thread.join(STOP_S)

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Send a message to a device, at least once (QoS 1).

        Raises:
            TransportError: there is no connection.
        """
        self._publish(topic, payload, retain=retain)

    def know_sites(self, sites: Iterable[str]) -> None:
        """Tell the devices of these sites too that their reports are stored here."""
        for site in set(sites) - self.sites:
            if len(self.sites) < SITE_LIMIT:
                self.sites.add(site)
                with contextlib.suppress(TransportError):
                    self._say(site)

    def storing(self, *, able: bool) -> None:
        """Tell the devices whether their reports are stored. Said again, it has them send what was not acknowledged."""
        if not able and not self._able:
            return
        self._able = able
        self.birth += able
        with contextlib.suppress(TransportError):
            for site in self.sites:
                self._say(site)

    def shed(self) -> int:
        """Return how many messages were not taken since the last call, because their device is beyond its limits."""
        count, self._shed_told = self._shed - self._shed_told, self._shed
        return count

    def take(self, timeout_s: float, limit: int) -> list[Message]:
        """Return what came, waiting so long for the first message."""
        found: list[Message] = []
        with contextlib.suppress(queue.Empty):
            found.append(self._messages.get(timeout=timeout_s))
            while len(found) < limit:
                found.append(self._messages.get_nowait())
        return found

    # --- out

    def _publish(self, topic: str, payload: bytes, *, retain: bool) -> Any:  # noqa: ANN401  # paho's
        client = self._client
        if client is None or not self.connected:
            raise TransportError(f"there is no connection to the broker {self._url}")
        return client.publish(topic, payload, qos=1, retain=retain)

    def _say(self, site: str, why: str | None = None) -> Any:  # noqa: ANN401  # paho's
        state = self._state("online" if self._able else "offline", why)
        return self._publish(device_topic(site, HOST, Kind.STATE), state, retain=True)

    def _state(self, state: str, why: str | None = None) -> bytes:
        now_ms = _clock.now_ms()
        return State(state=state, boot=self.boot, birth=self.birth, ts_ms=now_ms, why=why).to_bytes()

    # --- the connection, in its thread

    def _run(self) -> None:
        from paho.mqtt.enums import MQTTProtocolVersion

        versions, tries = [MQTTProtocolVersion.MQTTv5, MQTTProtocolVersion.MQTTv311], 0
        while not self._stopping.is_set():
            self._refused, lived = None, False
            try:
                lived = self._connection(versions[0])
                reason = self._refused or "closed the connection"
            except OSError as exc:
                reason = f"did not answer: {exc.strerror or exc}"
            except Exception as exc:  # noqa: BLE001  # the port: a broker's nonsense must not end the thread
                _log.debug("the connection to %s failed", self._url, exc_info=True)
                reason = f"failed: {exc}"
            self._connected.clear()
            if self._stopping.is_set():
                return
            self._health.says(NAME, f"broker {self._url} {reason}; trying again")
            if not lived and self._refused is None:
                versions.reverse()  # perhaps it knows the other version only
            tries = 0 if lived else tries + 1
            self._stopping.wait(RETRY_S[min(tries, len(RETRY_S) - 1)])

    def _connection(self, version: Any) -> bool:  # noqa: ANN401  # paho's enum
        """Live through one connection; return whether the session stood."""
        self.birth += 1
        self._client = client = self._new_client(version)
        client.connect(self._url.host, self._url.port, keepalive=KEEP_ALIVE_S)
        lived = False
        while client.loop(1.0) == 0 and not (self._stopping.is_set() and not self.connected):
            lived = lived or self.connected
        return lived

    def _new_client(self, version: Any) -> Any:  # noqa: ANN401  # paho's
        import paho.mqtt.client as paho
        from paho.mqtt.enums import CallbackAPIVersion

        client = paho.Client(CallbackAPIVersion.VERSION2, protocol=version, reconnect_on_failure=False)
        client.connect_timeout = 5.0
        client.max_inflight_messages_set(IN_FLIGHT)
        # with this hook the thread that publishes leaves writing to the loop's thread: two writers may mix packets
        client.on_socket_register_write = lambda *_: None
        client.will_set(device_topic(self._site, HOST, Kind.STATE), self._state("offline"), qos=1, retain=True)
        if self._url.username is not None:
            client.username_pw_set(self._url.username, self._url.password)
        context = tls_context(self._url)
        if context is not None:
            client.tls_set_context(context)
        client.on_connect, client.on_subscribe, client.on_message = (
            self._on_connect,
            self._on_subscribe,
            self._on_message,
        )
        return client

    def _on_connect(self, client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:  # noqa: ANN401  # paho's
        if reason.is_failure:
            if "version" not in str(reason).lower():
                self._refused = f"refused: {reason}"
        else:
            client.subscribe([(subscription(kind), 1) for kind in KINDS])

    def _on_subscribe(self, client: Any, _data: Any, _mid: Any, reasons: Any, _properties: Any) -> None:  # noqa: ANN401  # paho's
        if all(reason.is_failure for reason in reasons):
            self._refused = f"refused the subscription: {reasons[0]}"
            client.disconnect()
            return
        self.session += 1
        self._connected.set()
        self._health.says(NAME, None)
        for site in self.sites:
            self._say(site)

    def _on_message(self, _client: Any, _data: Any, message: Any) -> None:  # noqa: ANN401  # paho's
        if len(message.payload) > MAX_MESSAGE_BYTES:
            return
        try:
            topic = Topic.parse(message.topic)
        except ProtocolError:
            return
        if topic.device == HOST:
            return
        key = DeviceKey(topic.site, topic.device)
        if not self._allowances.passes(key, message.payload):
            self._shed += 1
            self.noisy.add(key)
            return
        one = Message(topic, message.payload, bool(message.retain), _clock.now_ms())
        while not self._stopping.is_set():
            with contextlib.suppress(queue.Full):
                self._messages.put(one, timeout=0.5)
                return
