"""The service's own connection, at a real broker."""

import time
from collections.abc import Callable
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from edgekit.fleet._brokers import running
from edgekit.fleet._url import parse
from edgekit.fleet.service.health import Health
from edgekit.fleet.service.host import HostLink
from edgekit_agent.protocol import Event, Kind, device_topic

pytestmark = pytest.mark.slow


def _eventually(question: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not question():
        assert time.monotonic() < end, "it never came to be"
        time.sleep(0.02)


def test_an_ingest_that_starts_is_another_birth_for_devices_and_no_other_connection(tmp_path: Path) -> None:
    """With another connection all desired states are published again, which a fleet of thousands pays for."""
    with running(data=tmp_path) as broker:
        link = HostLink(parse(broker.url), "default", Health())
        link.start()
        try:
            _eventually(lambda: link.connected)
            birth = link.birth
            link.storing(able=True)
            link.storing(able=True)
            assert (link.session, link.birth) == (1, birth + 2)
        finally:
            link.stop()


def test_events_that_are_told_while_the_service_is_away_come_when_it_is_back(tmp_path: Path) -> None:
    event = Event(ts_ms=1, level="error", code="worker-crashed", text="signal 11").to_bytes()
    with running(data=tmp_path) as broker:
        client = paho.Client(CallbackAPIVersion.VERSION2)
        client.connect("127.0.0.1", parse(broker.url).port)
        client.loop_start()

        def publish(kind: Kind) -> None:
            client.publish(device_topic("default", "dev-one", kind), event, qos=1).wait_for_publish(30)

        def life(during: Callable[[], None], count: int) -> list[Kind]:
            health = Health()
            link = HostLink(parse(broker.url), "default", health, "ek-host-test")
            link.start()
            try:
                _eventually(lambda: health.well)
                during()
                found: list[Kind] = []

                def all_there() -> bool:
                    found.extend(one.topic.kind for one in link.take(0.1, 10))
                    return len(found) >= count

                _eventually(all_there)
                return found
            finally:
                link.stop()

        try:
            assert life(lambda: publish(Kind.EVENT), 1) == [Kind.EVENT]
            for kind in (Kind.EVENT, Kind.STATE, Kind.EVENT):
                publish(kind)
            # a state that nobody heard is over: the broker keeps the newest for everybody, if it was to be kept
            assert life(lambda: None, 2) == [Kind.EVENT, Kind.EVENT]
        finally:
            client.disconnect()
            client.loop_stop()
