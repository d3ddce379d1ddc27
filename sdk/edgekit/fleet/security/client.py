"""A plain MQTT connection for looking after a broker: connect, subscribe, publish, and see what comes."""

import ssl
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from edgekit.errors import DataError, DeviceError

TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A listener, whom to trust there, and who asks; without a certificate nobody in particular does."""

    host: str
    port: int
    ca: Path
    certificate: Path | None = None
    key: Path | None = None

    def context(self) -> ssl.SSLContext:
        """Return the context to connect with.

        Raises:
            DataError: if a file cannot be used.
        """
        try:
            context = ssl.create_default_context(cafile=self.ca)
            if self.certificate is not None:
                context.load_cert_chain(self.certificate, self.key, password="")  # never ask on a terminal
        except OSError as exc:
            raise DataError(f"the certificate '{self.certificate or self.ca}' cannot be used: {exc.strerror}") from exc
        return context


class Client:
    """A connection that does not come back by itself: whether it stands is what is asked."""

    def __init__(self, place: Place, client_id: str) -> None:
        """Connect.

        Raises:
            DeviceError: if the broker does not answer or refuses.
            DataError: if a certificate cannot be used.
        """
        self.received: list[tuple[str, bytes]] = []
        self._changed = threading.Condition()
        self._state = "connecting"
        self._answered: set[int] = set()
        self._client = client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id, clean_session=True, protocol=MQTTProtocolVersion.MQTTv311,
            reconnect_on_failure=False,
        )  # fmt: skip
        client.tls_set_context(place.context())
        client.connect_timeout = TIMEOUT_S
        client.on_connect, client.on_disconnect = self._on_connect, self._on_disconnect
        client.on_message, client.on_publish = self._on_message, self._on_publish
        client.on_subscribe = self._on_subscribe
        try:
            client.connect(place.host, place.port, keepalive=15)
        except OSError as exc:
            raise DeviceError(f"{place.host}:{place.port} did not answer or refused: {exc.strerror or exc}") from exc
        client.loop_start()
        if not self._wait(lambda: self._state != "connecting") or self._state != "connected":
            self.close()
            raise DeviceError(f"{place.host}:{place.port} refused: {self._state}")

    def __enter__(self) -> Self:
        """Use it in a block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Disconnect."""
        self.close()

    @property
    def connected(self) -> bool:
        """Whether the connection stands."""
        return self._state == "connected"

    def close(self) -> None:
        """Disconnect."""
        self._client.disconnect()
        self._client.loop_stop()

    def subscribe(self, topics: Sequence[str]) -> None:
        """Subscribe and wait for the answer, which is no proof of anything.

        Raises:
            DeviceError: if none comes.
        """
        _, number = self._client.subscribe([(topic, 1) for topic in topics])
        self._answer(number or 0)

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Publish with QoS 1 and wait for the answer, which is no proof of anything.

        Raises:
            DeviceError: if none comes.
        """
        self._answer(self._client.publish(topic, payload, qos=1, retain=retain).mid)

    def saw(self, topic: str, payload: bytes, timeout_s: float = TIMEOUT_S) -> bool:
        """Whether a message came within the time."""
        return self._wait(lambda: (topic, payload) in self.received, timeout_s)

    def ended(self, timeout_s: float = TIMEOUT_S) -> bool:
        """Whether the connection ended within the time."""
        return self._wait(lambda: not self.connected, timeout_s)

    def _answer(self, number: int) -> None:
        if not self._wait(lambda: number in self._answered or not self.connected) or not self.connected:
            raise DeviceError(f"the broker did not answer within {TIMEOUT_S:g} s, or ended the connection")

    def _wait(self, true: Callable[[], bool], timeout_s: float = TIMEOUT_S) -> bool:
        end = time.monotonic() + timeout_s
        with self._changed:
            while not true():
                left = end - time.monotonic()
                if left <= 0:
                    return False
                self._changed.wait(left)
        return True

    def _set(self, change: Callable[[], object]) -> None:
        with self._changed:
            change()
            self._changed.notify_all()

    def _on_connect(self, _client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:  # noqa: ANN401  # paho's
        state = str(reason) if reason.is_failure else "connected"
        self._set(lambda: setattr(self, "_state", state))

    def _on_disconnect(self, _client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:  # noqa: ANN401  # paho's
        ended = str(reason) if self._state in {"connecting", "connected"} else self._state
        self._set(lambda: setattr(self, "_state", f"ended: {ended}"))

    def _on_message(self, _client: Any, _data: Any, message: Any) -> None:  # noqa: ANN401  # paho's
        self._set(lambda: self.received.append((message.topic, message.payload)))

    def _on_publish(self, _client: Any, _data: Any, number: int, _reason: Any, _properties: Any) -> None:  # noqa: ANN401  # paho's
        self._set(lambda: self._answered.add(number))

    def _on_subscribe(self, _client: Any, _data: Any, number: int, _reasons: Any, _properties: Any) -> None:  # noqa: ANN401  # paho's
        self._set(lambda: self._answered.add(number))
