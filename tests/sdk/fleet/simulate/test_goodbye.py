"""Nothing is said after a simulated device's goodbye, however long the broker takes to take it."""

import asyncio
import json
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from edgekit.fleet import FleetClient
from edgekit.fleet import _brokers as brokers
from edgekit.fleet._brokers import Broker
from edgekit.fleet._url import parse
from edgekit.fleet.simulate import Plan, Summary, simulate
from edgekit_agent.protocol import Kind, subscription

DEVICES = 400


@pytest.mark.slow
def test_many_on_one_connection_are_all_left_as_stopped(broker: Broker) -> None:
    plan = Plan(
        devices=DEVICES, broker=parse(broker.url), multiplex=DEVICES, heartbeat_s=0.1, window_s=30.0, ramp_s=0.0,
        duration_s=2.0, drain_s=0.0,
    )  # fmt: skip
    asyncio.run(simulate(plan, lambda _summary: None))
    found = _kept(broker.url)
    assert set(found.values()) == {("offline", "stop")}
    assert len(found) == DEVICES or broker.engine == "iotcore"  # which gives the first hundred it keeps


@pytest.mark.slow
def test_what_waits_when_the_broker_is_away_at_the_end_is_handed_over_when_it_is_back(tmp_path: Path) -> None:
    executable = brokers.find_mosquitto()
    if executable is None:
        pytest.skip("needs mosquitto: apt-get install mosquitto")
    port = brokers.free_port()
    started = [brokers.MosquittoBroker(executable, port, tmp_path)]
    plan = Plan(devices=5, broker=parse(started[0].url), window_s=1.0, ramp_s=0.0, duration_s=4.0, drain_s=60.0)

    async def live() -> Summary:
        task = asyncio.create_task(simulate(plan, lambda _summary: None))
        await asyncio.sleep(2.0)
        started[0].process.kill()
        await asyncio.sleep(3.0)  # it has measured for the last time
        assert not task.done()
        started.append(await asyncio.to_thread(brokers.MosquittoBroker, executable, port, tmp_path))
        return await task

    # somebody has to hear them: what nobody hears is kept
    listener = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    listener.reconnect_delay_set(1, 1)
    listener.on_connect = lambda client, *_: client.subscribe(subscription(Kind.TELE), 1)
    listener.connect("127.0.0.1", port)
    listener.loop_start()
    try:
        told = asyncio.run(live())
    finally:
        listener.disconnect()
        listener.loop_stop()
        for one in started:
            one.stop()
    assert told.made > 0
    assert (told.acked, told.waiting, told.lost) == (told.made, 0, 0)


def _kept(url: str) -> dict[str, tuple[str, str | None]]:
    """Return the presence that the broker keeps of each device."""
    found: dict[str, tuple[str, str | None]] = {}
    with FleetClient(url, kinds=(Kind.STATE,)) as client:
        while (raw := client.next_raw(2.0)) is not None:
            topic, payload = raw
            state = json.loads(payload)
            found[topic] = (state["st"], state.get("why"))
    return found
