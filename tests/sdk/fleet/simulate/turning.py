"""The service's part in rollouts with its turns in the test's hand: a real broker, a real store, the real driver."""

import queue
import time
from collections.abc import Callable
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from edgekit.fleet import wire
from edgekit.fleet.rollout.driver import Driver
from edgekit.fleet.store import Arrived, DeviceKey, Store, open_store
from edgekit_agent.errors import ProtocolError, TransportError
from edgekit_agent.protocol import Ack, Kind, Topic, device_topic, subscription

KINDS = (Kind.STATE, Kind.INFO, Kind.TELE, Kind.EVENT, Kind.REPORTED)


class Hub:
    """What `fleet serve` does for rollouts, without its processes: `turn` is called by the test."""

    def __init__(self, url: str, port: int) -> None:
        """Open the store and connect; another one may go on from the same store."""
        self.store: Store = open_store(url)
        self.received: queue.SimpleQueue[tuple[str, bytes]] = queue.SimpleQueue()
        self.client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        self.client.on_connect = self._connected
        self.client.on_message = lambda _c, _u, message: self.received.put((message.topic, bytes(message.payload)))
        self.client.reconnect_delay_set(1, 1)
        self.client.max_inflight_messages_set(1000)  # as the service's own connection
        self.driver = Driver(self.store, self)
        self.client.connect_async("127.0.0.1", port)
        self.client.loop_start()

    def _connected(self, client: Any, *_: Any) -> None:
        client.subscribe([(subscription(kind), 1) for kind in KINDS])
        self.driver.connected(time.time_ns() // 1_000_000)

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        if not self.client.is_connected():
            raise TransportError("there is no connection")
        self.client.publish(topic, payload, qos=1, retain=retain)

    def turn(self) -> None:
        """Store what has come, and let the driver do what is due."""
        now_ms = time.time_ns() // 1_000_000
        arrived = []
        while not self.received.empty():
            text, payload = self.received.get()
            if not payload:
                continue
            topic = Topic.parse(text)
            key = DeviceKey(topic.site, topic.device)
            try:
                message = wire.decode(topic.kind, payload)
            except ProtocolError:
                continue
            if isinstance(message, wire.Report):
                arrived.append(Arrived(*key, now_ms, message))
            else:
                self._put(key, message, payload, now_ms)
        for ack in self.store.reports.add(arrived).acks if arrived else ():
            body = Ack(boot=ack.boot, seq=ack.seq).to_bytes()
            self.client.publish(device_topic(ack.site, ack.device, Kind.ACK), body)
        self.driver.tick(now_ms)

    def _put(self, key: DeviceKey, message: Any, payload: bytes, now_ms: int) -> None:
        if isinstance(message, wire.State):
            self.store.devices.put_state(key, message, now_ms)
        elif isinstance(message, wire.Info):
            self.store.devices.put_info(key, message, payload, now_ms)
        elif isinstance(message, wire.Reported):
            self.store.devices.put_reported(key, message, payload, now_ms)
        elif isinstance(message, wire.Event):
            self.store.events.add(key, message, now_ms)

    def until(self, done: Callable[[], Any], what: Callable[[], str], patience_s: float = 1500) -> Any:
        """Turn until something is so."""
        end = time.monotonic() + patience_s
        while time.monotonic() < end:
            self.turn()
            found = done()
            if found:
                return found
            time.sleep(0.1)
        raise AssertionError(what())

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()
        self.store.close()
