"""MQTT by paho: version 5 first, 3.1.1 where the broker has no 5, and it comes back by itself."""

import contextlib
import logging
import math
import random
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edgekit_agent.config import BrokerConfig
from edgekit_agent.logline import logline
from edgekit_agent.protocol import MAX_MESSAGE_BYTES
from edgekit_agent.transport._mailbox import Mailbox
from edgekit_agent.transport.base import Connected, Disconnected, Received, Taken, TransportEvent, Will
from edgekit_agent.transport.credentials import secret, tls

_log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 5.0
LOOP_S = 1.0
STUCK_S = 60.0
NAME_S = 120.0
"""How long the system may look for the broker's name, with several name servers that do not answer."""
BACKOFF_S = (1.0, 30.0)
SCHEMA = ("schema", "tele/1")
_NO_SUBSCRIBERS = 0x10
_V5, _V311 = MQTTProtocolVersion.MQTTv5, MQTTProtocolVersion.MQTTv311
_NAMES = {_V5: "5", _V311: "3.1.1"}


class MqttTransport:
    """A `Transport` to an MQTT broker.

    Each connection has a client of its own, because the protocol version and the last will (which
    carries the birth number) are fixed when a client is made.
    """

    def __init__(self, client_id: str, config: BrokerConfig) -> None:
        """Name the client and the broker; nothing is opened yet.

        Raises:
            ConfigError: if a file with a password or certificate cannot be read.
        """
        self._id, self._config = client_id, config
        self._mailbox = Mailbox()
        self._password = secret(config.password_file)
        self._tls = tls(config)
        self._version = _V5
        self._client: paho.Client | None = None
        self._connected = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._acknowledged = False
        self._topics: Sequence[str] = ()
        self._patience = math.inf

    def start(self, will: Callable[[], Will], topics: Sequence[str] = ()) -> None:
        """Begin to connect in a thread."""
        self._topics = topics
        self._thread = threading.Thread(target=self._run, args=(will,), name="mqtt", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether the thread runs and has not been longer in one place than that may take."""
        return self._thread is not None and self._thread.is_alive() and time.monotonic() < self._patience

    def _may_take(self, seconds: float) -> None:
        self._patience = time.monotonic() + seconds

    def _run(self, make_will: Callable[[], Will]) -> None:
        low, high = BACKOFF_S
        wait = low
        while not self._stopping.is_set():
            reason = self._connections(make_will)
            if self._stopping.is_set():
                return
            if self._acknowledged:
                wait = low
            self._mailbox.put(Disconnected(reason))
            # jitter: a fleet must not come back in one instant
            pause = wait * random.uniform(0.75, 1.25)  # noqa: S311  # no secret
            self._may_take(pause + STUCK_S)
            self._stopping.wait(pause)
            wait = min(high, 2 * wait)

    def _connections(self, make_will: Callable[[], Will]) -> str:
        """Live through one connection and return why it ended; `auto` tries both versions, the newer first, each time.

        A broker that was killed just as it was asked looks like one that does not know the version:
        so the older one is never kept for the next time.
        """
        versions = {"auto": (_V5, _V311), "5": (_V5,), "3.1.1": (_V311,)}[self._config.protocol]
        reason = ""
        for self._version in versions:
            reason, opened = self._connection(make_will())
            if self._stopping.is_set() or self._acknowledged or not opened or _refused_by_name(reason):
                break
        return reason

    def _connection(self, will: Will) -> tuple[str, bool]:
        """Live through one connection; return why it ended and whether the broker accepted it on TCP (and TLS)."""
        ended: list[str] = []
        self._acknowledged = False
        opened = False
        client = self._new_client(will, ended)
        host, port, _ = self._config.address
        self._may_take(NAME_S + STUCK_S)
        try:
            client.connect(host, port, self._config.keepalive_s, **_session(self._version))
            opened = True
            self._client = client
            if self._stopping.is_set():  # `stop` came before there was a client to end
                client.disconnect()
            # not loop_forever: only `loop` can be woken by the thread that publishes
            while client.loop(LOOP_S) == paho.MQTT_ERR_SUCCESS:
                self._may_take(STUCK_S)
        except OSError as exc:
            ended.append(str(exc.strerror or exc))
        except Exception as exc:  # noqa: BLE001  # the port: what the library raises on a broker's nonsense must not end the thread
            _log.debug("the connection failed", exc_info=True)
            ended.append(f"{type(exc).__name__}: {exc}")
        finally:
            self._connected.clear()
            self._client = None
        return (ended[0] if ended else "the connection was lost"), opened

    def _new_client(self, will: Will, ended: list[str]) -> paho.Client:
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._id,
            protocol=self._version,
            reconnect_on_failure=False,
            clean_session=None if self._version == _V5 else True,
        )
        client.connect_timeout = CONNECT_TIMEOUT_S
        # with this hook the thread that publishes leaves writing to the loop's thread: two writers may mix packets
        client.on_socket_register_write = _nothing
        client.max_inflight_messages_set(100)
        if self._config.username is not None:
            client.username_pw_set(self._config.username, self._password)
        if self._tls is not None:
            client.tls_set_context(self._tls)
        # told at once: brokers look at delayed wills every few seconds, and who listens tells flaps from losses
        client.will_set(will.topic, will.payload, qos=1, retain=True)
        self._listen(client, will, ended)
        return client

    def _listen(self, client: paho.Client, will: Will, ended: list[str]) -> None:
        def on_connect(_client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:  # noqa: ANN401  # paho's
            if reason.is_failure:
                ended.append(f"the broker refused: {reason}")
                return
            self._acknowledged = True
            if self._topics:
                client.subscribe([(topic, 1) for topic in self._topics])
            else:
                self._stands(will)

        def on_subscribe(_client: Any, _data: Any, _mid: Any, reasons: Any, _properties: Any) -> None:  # noqa: ANN401  # paho's
            for topic, reason in zip(self._topics, reasons, strict=False):
                if reason.is_failure:
                    _log.warning("%s", logline({"event": "not-subscribed", "topic": topic, "reason": str(reason)}))
            self._stands(will)

        def on_disconnect(_client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:  # noqa: ANN401  # paho's
            self._connected.clear()
            ended.append(str(reason))

        client.on_connect, client.on_subscribe, client.on_disconnect = on_connect, on_subscribe, on_disconnect
        client.on_publish, client.on_message = self._on_publish, self._on_message

    def _stands(self, will: Will) -> None:
        self._connected.set()
        self._mailbox.put(Connected(will.birth, _NAMES[self._version]))

    def _on_publish(self, _client: Any, _data: Any, mid: int, reason: Any, _properties: Any) -> None:  # noqa: ANN401  # paho's
        self._mailbox.put(Taken(mid, heard=getattr(reason, "value", 0) != _NO_SUBSCRIBERS))

    def _on_message(self, _client: Any, _data: Any, message: Any) -> None:  # noqa: ANN401  # paho's
        if len(message.payload) <= MAX_MESSAGE_BYTES:
            self._mailbox.put(Received(message.topic, message.payload))

    def publish(self, topic: str, payload: bytes, *, retain: bool = False, expiry_s: int | None = None) -> int | None:
        """Hand a message over with QoS 1; on MQTT 5 with its content type, schema and expiry."""
        client = self._client
        if client is None or not self._connected.is_set():
            return None
        properties = None
        if self._version == _V5:
            properties = _properties(PacketTypes.PUBLISH)
            properties.ContentType = "application/json"
            properties.UserProperty = SCHEMA
            if expiry_s is not None:
                properties.MessageExpiryInterval = expiry_s
        info = client.publish(topic, payload, qos=1, retain=retain, properties=properties)
        return info.mid if info.rc in {paho.MQTT_ERR_SUCCESS, paho.MQTT_ERR_NO_CONN} else None

    def poll(self) -> list[TransportEvent]:
        """Return what has happened since the last call."""
        return self._mailbox.take()

    def fileno(self) -> int:
        """Return the descriptor to select on."""
        return self._mailbox.fileno()

    def stop(self, timeout_s: float = 3.0) -> None:
        """Disconnect cleanly, so that the broker drops the will, and end the thread."""
        self._stopping.set()
        client = self._client
        if client is not None:
            with contextlib.suppress(OSError, ValueError):
                client.disconnect()
        if self._thread is not None:
            self._thread.join(timeout_s)
        self._mailbox.close()


def _properties(packet: int) -> Properties:
    return Properties(packet)  # type: ignore[no-untyped-call]  # paho's


def _nothing(_client: paho.Client, _data: object, _socket: object) -> None:
    """Do nothing: the loop's thread is woken by the library itself."""


def _session(version: MQTTProtocolVersion) -> dict[str, Any]:
    if version != _V5:
        return {}
    return {"clean_start": True}


def _refused_by_name(reason: str) -> bool:
    """Whether the broker said no for a reason that another protocol version does not change."""
    return reason.startswith("the broker refused") and "version" not in reason.lower()
