"""The service's own connection: what it takes of each device."""

import time

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from edgekit.fleet._brokers import running
from edgekit.fleet._url import parse
from edgekit.fleet.service.health import Health
from edgekit.fleet.service.host import SAYING, HostLink, Message
from edgekit.fleet.store import DeviceKey
from edgekit_agent.protocol import Event, Kind, device_topic

pytestmark = pytest.mark.slow
MORE = 500


def test_a_device_that_says_too_much_is_not_heard_and_others_are() -> None:
    with running(engine="mosquitto") as broker:
        link = HostLink(parse(broker.url), "default", Health())
        link.start()
        client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        client.max_queued_messages_set(0)
        try:
            while not link.connected:
                time.sleep(0.01)
            client.connect("127.0.0.1", int(broker.url.rpartition(":")[2]))
            client.loop_start()
            event = Event(ts_ms=5, level="info", code="said", text="Something.").to_bytes()
            for _ in range(int(SAYING.burst) + MORE):
                client.publish(device_topic("default", "noisy", Kind.EVENT), event, qos=1)
            client.publish(device_topic("default", "quiet", Kind.EVENT), event, qos=1)
            came: list[Message] = []
            shed = 0
            while not came or came[-1].topic.device != "quiet":
                came += link.take(1.0, 500)
                shed += link.shed()
            assert len(came) - 1 + shed == SAYING.burst + MORE
            assert 0 < shed <= MORE
            (told,) = link.noisy.due(time.monotonic())
            assert told.key == DeviceKey("default", "noisy")
        finally:
            client.disconnect()
            client.loop_stop()
            link.stop()
