"""Messages of an MQTT topic, over a connection of the worker's own: the supervisor's is for reports alone."""

import secrets
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edgekit_agent.config import BrokerConfig
from edgekit_agent.errors import ConfigError, InputDataError, StreamError
from edgekit_agent.sources.base import Prepared, Sample, Source
from edgekit_agent.sources.live import Feed, Live
from edgekit_agent.sources.payloads import Payloads
from edgekit_agent.sources.settings import SourceConfig
from edgekit_agent.sources.wanted import Wanted
from edgekit_agent.transport.credentials import secret, tls

MAX_BYTES = 16 << 20
CONNECT_TIMEOUT_S = 5.0
LOOP_S = 0.25
_V5, _V311 = MQTTProtocolVersion.MQTTv5, MQTTProtocolVersion.MQTTv311
_VERSIONS = {"auto": (_V5, _V311), "5": (_V5,), "3.1.1": (_V311,)}


class MqttSource(Live):
    """What is published on a topic; so many messages as `queue` wait, then the oldest is dropped."""

    def __init__(self, wanted: Wanted, broker: BrokerConfig, config: SourceConfig) -> None:
        """Read the secrets; the connection is made when samples are first asked for.

        Raises:
            ConfigError: if a file with a password or certificate cannot be read.
        """
        super().__init__("mqtt-source", config.queue)
        self._topic, self._broker = config.topic or "", broker
        self._what = f"topic '{self._topic}'"
        self._payloads = Payloads(wanted, config.payload, self._what)
        self._password, self._tls = secret(broker.password_file), tls(broker)

    def prepare(self, sample: Sample) -> Prepared:
        """Decode one message."""
        return self._payloads.prepare(sample.raw)

    def _read(self, feed: Feed) -> None:
        """Live through one connection; the newer version of the protocol is tried first, each time."""
        ended: list[str] = []
        for version in _VERSIONS[self._broker.protocol]:
            if self._connection(feed, version, ended):
                break
        reason = ended[-1] if ended else "the connection was lost"
        raise StreamError(f"{self._what} is away: {reason}")

    def _connection(self, feed: Feed, version: MQTTProtocolVersion, ended: list[str]) -> bool:
        client = self._client(feed, version, ended)
        host, port, _ = self._broker.address
        properties = None
        if version == _V5:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho's
            properties.MaximumPacketSize = MAX_BYTES
        try:
            client.connect(host, port, self._broker.keepalive_s, properties=properties)
            while client.loop(LOOP_S) == paho.MQTT_ERR_SUCCESS and not feed.stopping.is_set():
                pass
            client.disconnect()
        except OSError as exc:
            ended.append(str(exc.strerror or exc))
        return bool(client.user_data_get()["accepted"])

    def _client(self, feed: Feed, version: MQTTProtocolVersion, ended: list[str]) -> paho.Client:
        """Return a client under a name of its own: every worker of the model gets what is published."""
        told = {"accepted": False}
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=f"edgekit-source-{secrets.token_hex(6)}",
            protocol=version,
            reconnect_on_failure=False,
            clean_session=None if version == _V5 else True,
            userdata=told,
        )
        client.connect_timeout = CONNECT_TIMEOUT_S
        if self._broker.username is not None:
            client.username_pw_set(self._broker.username, self._password)
        if self._tls is not None:
            client.tls_set_context(self._tls)

        def on_connect(_client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:  # noqa: ANN401  # paho's
            if reason.is_failure:
                ended.append(f"the broker refused: {reason}")
            else:
                told["accepted"] = True
                client.subscribe(self._topic, qos=1)

        def on_subscribe(_client: Any, _data: Any, _mid: Any, reasons: Any, _properties: Any) -> None:  # noqa: ANN401  # paho's
            for reason in reasons:
                if reason.is_failure:
                    ended.append(f"the broker refused the topic: {reason}")
                    client.disconnect()

        def on_message(_client: Any, _data: Any, message: Any) -> None:  # noqa: ANN401  # paho's
            if len(message.payload) <= MAX_BYTES:
                feed.put(Sample(message.payload))
            else:
                feed.newest.put(InputDataError(f"{self._what}: a message has more than {MAX_BYTES} bytes"))

        client.on_connect, client.on_subscribe, client.on_message = on_connect, on_subscribe, on_message
        return client


def open_mqtt(config: SourceConfig, wanted: Wanted) -> Source:
    """Return what is published on a topic; the broker need not be there yet.

    Raises:
        ConfigError: if a file of the broker's configuration cannot be read.
        InputDataError: if the payload is said to be pictures and the model takes none.
    """
    if wanted.broker is None:
        raise ConfigError("a source of kind 'mqtt' needs the broker of the agent's configuration")
    return MqttSource(wanted, wanted.broker, config)
