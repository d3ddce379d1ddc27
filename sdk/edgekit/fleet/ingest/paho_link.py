"""The same by paho, for brokers that know only MQTT 3.1.1, and to compare with. MQTT 5 is tried first."""

import time
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edgekit.fleet._url import BrokerUrl, tls_context
from edgekit.fleet.ingest.links import CONNECT_S, KEEP_ALIVE_S, Subscription
from edgekit_agent.errors import TransportError

AT_ONCE = 200
VERSIONS = (MQTTProtocolVersion.MQTTv5, MQTTProtocolVersion.MQTTv311)


class PahoLink:
    """See `links.Link`."""

    def __init__(self, url: BrokerUrl, subscription: Subscription) -> None:
        """Connect and subscribe.

        Raises:
            TransportError: if the broker does not answer within 10 s, or refuses.
        """
        self._url = url
        self._messages: list[tuple[str, bytes]] = []
        self._granted = False
        self._refused: str | None = None
        for version in VERSIONS:
            self._refused = None
            self._client = self._new(version, subscription)
            self._version = version
            if self._ready():
                return
        raise TransportError(f"broker {url} {self._refused or 'closed the connection'}")

    def _new(self, version: MQTTProtocolVersion, wanted: Subscription) -> paho.Client:
        # 3.1.1 has no end of a session: there it would stay for ever when this ingest does not come back
        clean = None if version is MQTTProtocolVersion.MQTTv5 else True
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            wanted.client_id,
            clean_session=clean,
            protocol=version,
            reconnect_on_failure=False,
        )
        if self._url.username is not None:
            client.username_pw_set(self._url.username, self._url.password)
        context = tls_context(self._url)
        if context is not None:
            client.tls_set_context(context)

        def on_connect(_client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:  # noqa: ANN401  # paho's
            if reason.is_failure:
                self._refused = f"refused: {reason}"
            else:
                client.subscribe(wanted.topic, qos=1)

        def on_subscribe(_client: Any, _data: Any, _mid: Any, reasons: Any, _properties: Any) -> None:  # noqa: ANN401  # paho's
            if reasons[0].is_failure:
                self._refused = f"refused the subscription: {reasons[0]}"
            else:
                self._granted = True

        def on_message(_client: Any, _data: Any, message: Any) -> None:  # noqa: ANN401  # paho's
            self._messages.append((message.topic, message.payload))

        client.on_connect, client.on_subscribe, client.on_message = on_connect, on_subscribe, on_message
        properties = None
        if version is MQTTProtocolVersion.MQTTv5:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho's
            properties.SessionExpiryInterval = wanted.session_s
        try:
            client.connect(
                self._url.host,
                self._url.port,
                keepalive=KEEP_ALIVE_S,
                clean_start=wanted.session_s == 0 if properties else paho.MQTT_CLEAN_START_FIRST_ONLY,
                properties=properties,
            )
        except OSError as exc:
            raise TransportError(f"broker {self._url} did not answer: {exc.strerror or exc}") from exc
        return client

    def _ready(self) -> bool:
        """Whether the session stands; False when the broker closed or refused."""
        end = time.monotonic() + CONNECT_S
        while not self._granted and self._refused is None and time.monotonic() < end:
            if self._client.loop(0.2) != paho.MQTT_ERR_SUCCESS:
                return False
        if self._refused is None and not self._granted:
            raise TransportError(f"broker {self._url} did not answer in time")
        return self._granted

    def poll(self, timeout_s: float) -> list[tuple[str, bytes]]:
        """Return topic and payload of what came, waiting so long for the first."""
        if not self._messages:
            self._loop(timeout_s)
        messages, self._messages = self._messages, []
        return messages

    def _loop(self, timeout_s: float) -> None:
        result, had = self._client.loop(timeout_s), 0
        # its loop reads one packet each time it looks at the socket: what came behind it is read without looking
        while result == paho.MQTT_ERR_SUCCESS and had < len(self._messages) < AT_ONCE:
            had = len(self._messages)
            result = self._client.loop_read()
        if result != paho.MQTT_ERR_SUCCESS:
            raise TransportError(f"broker {self._url} closed the connection")

    def publish(self, topic: str, payload: bytes, expiry_s: int) -> None:
        """Send a message at most once."""
        properties = None
        if self._version is MQTTProtocolVersion.MQTTv5:
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho's
            properties.MessageExpiryInterval = expiry_s
        self._client.publish(topic, payload, qos=0, properties=properties)

    def idle(self) -> None:
        """Keep the connection alive without reading."""
        if self._client.loop_misc() != paho.MQTT_ERR_SUCCESS:
            raise TransportError(f"broker {self._url} closed the connection")

    def close(self) -> None:
        """Say goodbye."""
        self._client.disconnect()
        self._client.loop(0.1)
