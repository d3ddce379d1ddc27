"""An MQTT connection of the service in a thread of its own: subscribed, with a will or a session, back by itself."""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from edgekit.fleet._url import BrokerUrl, tls_context
from edgekit.fleet.service.health import Health
from edgekit_agent.protocol import Kind, subscription

_log = logging.getLogger(__name__)

KEEP_ALIVE_S = 15
RETRY_S = (0.3, 1.0, 2.0, 5.0)
IN_FLIGHT = 1_000


class Will(NamedTuple):
    """What the broker tells, and keeps, when the connection is gone."""

    topic: str
    payload: bytes


class Session(NamedTuple):
    """Under which name, and for how long, the broker keeps what comes while nobody is connected (MQTT 5)."""

    client_id: str
    kept_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Purpose:
    """What a connection is for.

    Attributes:
        name: the part of the service's health that it is.
        kinds: what it subscribes to, at QoS 1.
        take: called with each message of paho's, in the thread; while it does not return nothing more is read.
        up: called when the subscription stands.
        will: makes the will of a connection that is about to be made.
        session: without one nothing is kept for it.
    """

    name: str
    kinds: Sequence[Kind]
    take: Callable[[Any], None]
    up: Callable[[], None] = lambda: None
    will: Callable[[], Will] | None = None
    session: Session | None = None


class Connection:
    """Connects in a thread, and goes on trying; health says how it stands."""

    def __init__(self, url: BrokerUrl, health: Health, purpose: Purpose) -> None:
        """Name the broker; `start` connects."""
        self._url, self._health, self._purpose = url, health, purpose
        self.client: Any = None
        self._stopping, self._connected = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"fleet-{purpose.name}", daemon=True)
        self._refused: str | None = None

    @property
    def connected(self) -> bool:
        """Whether the subscription stands."""
        return self._connected.is_set()

    @property
    def stopping(self) -> bool:
        """Whether its end was asked for."""
        return self._stopping.is_set()

    def start(self) -> None:
        """Begin."""
        self._health.begins(self._purpose.name)
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Say goodbye, and end."""
        self._stopping.set()
        if self.client is not None:
            self.client.disconnect()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    # --- in its thread

    def _run(self) -> None:
        from paho.mqtt.enums import MQTTProtocolVersion

        versions, tries = [MQTTProtocolVersion.MQTTv5, MQTTProtocolVersion.MQTTv311], 0
        while not self._stopping.is_set():
            self._refused, lived = None, False
            try:
                lived = self._live(versions[0])
                reason = self._refused or "closed the connection"
            except OSError as exc:
                reason = f"did not answer: {exc.strerror or exc}"
            except Exception as exc:  # noqa: BLE001  # the port: a broker's nonsense must not end the thread
                _log.debug("the connection to %s failed", self._url, exc_info=True)
                reason = f"failed: {exc}"
            self._connected.clear()
            if self._stopping.is_set():
                return
            self._health.says(self._purpose.name, f"broker {self._url} {reason}; trying again")
            if not lived and self._refused is None:
                versions.reverse()  # perhaps it knows the other version only
            tries = 0 if lived else tries + 1
            self._stopping.wait(RETRY_S[min(tries, len(RETRY_S) - 1)])

    def _live(self, version: Any) -> bool:  # noqa: ANN401  # paho's enum
        """Live through one connection; return whether the session stood."""
        self.client = client = self._new_client(version)
        client.connect(self._url.host, self._url.port, keepalive=KEEP_ALIVE_S, **self._kept(version))
        lived = False
        while client.loop(1.0) == 0 and not (self._stopping.is_set() and not self.connected):
            lived = lived or self.connected
        return lived

    def _kept(self, version: Any) -> dict[str, Any]:  # noqa: ANN401  # paho's enum
        """Return what has the broker keep the session; 3.1.1 knows no end of one, so that none is asked for there."""
        from paho.mqtt.enums import MQTTProtocolVersion
        from paho.mqtt.packettypes import PacketTypes
        from paho.mqtt.properties import Properties

        if self._purpose.session is None or version is not MQTTProtocolVersion.MQTTv5:
            return {}
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho's
        properties.SessionExpiryInterval = self._purpose.session.kept_s
        return {"clean_start": False, "properties": properties}

    def _new_client(self, version: Any) -> Any:  # noqa: ANN401  # paho's
        import paho.mqtt.client as paho
        from paho.mqtt.enums import CallbackAPIVersion

        purpose = self._purpose
        name = purpose.session.client_id if purpose.session else ""
        client = paho.Client(CallbackAPIVersion.VERSION2, name, protocol=version, reconnect_on_failure=False)
        client.connect_timeout = 5.0
        client.max_inflight_messages_set(IN_FLIGHT)
        # with this hook the thread that publishes leaves writing to the loop's thread: two writers may mix packets
        client.on_socket_register_write = lambda *_: None
        if purpose.will is not None:
            will = purpose.will()
            client.will_set(will.topic, will.payload, qos=1, retain=True)
        if self._url.username is not None:
            client.username_pw_set(self._url.username, self._url.password)
        context = tls_context(self._url)
        if context is not None:
            client.tls_set_context(context)
        client.on_connect, client.on_subscribe = self._on_connect, self._on_subscribe
        client.on_message = lambda _client, _data, message: purpose.take(message)
        return client

    def _on_connect(self, client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:  # noqa: ANN401  # paho's
        if reason.is_failure:
            if "version" not in str(reason).lower():
                self._refused = f"refused: {reason}"
        else:
            client.subscribe([(subscription(kind), 1) for kind in self._purpose.kinds])

    def _on_subscribe(self, client: Any, _data: Any, _mid: Any, reasons: Any, _properties: Any) -> None:  # noqa: ANN401  # paho's
        if all(reason.is_failure for reason in reasons):
            self._refused = f"refused the subscription: {reasons[0]}"
            client.disconnect()
            return
        self._connected.set()
        self._health.says(self._purpose.name, None)
        self._purpose.up()
