"""Nothing is said after a simulated device's goodbye, however long the broker takes to take it."""

import asyncio
import json

import pytest

from edgekit.fleet import FleetClient
from edgekit.fleet._brokers import Broker
from edgekit.fleet._url import parse
from edgekit.fleet.simulate import Plan, simulate
from edgekit_agent.protocol import Kind

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


def _kept(url: str) -> dict[str, tuple[str, str | None]]:
    """Return the presence that the broker keeps of each device."""
    found: dict[str, tuple[str, str | None]] = {}
    with FleetClient(url, kinds=(Kind.STATE,)) as client:
        while (raw := client.next_raw(2.0)) is not None:
            topic, payload = raw
            state = json.loads(payload)
            found[topic] = (state["st"], state.get("why"))
    return found
