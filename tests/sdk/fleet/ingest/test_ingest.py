"""Ingest processes with a real broker: once, in the right order of promises, over kills."""

import subprocess
import time
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import func, select

from edgekit.fleet._brokers import running
from edgekit.fleet.store import Store
from edgekit.fleet.store.tables import REPORTS

pytestmark = pytest.mark.slow
Start = Callable[..., subprocess.Popen[str]]
Eventually = Callable[..., None]


def _port(url: str) -> int:
    return int(url.rpartition(":")[2])


def _stored(store: Store) -> tuple[int, int]:
    """How many reports there are, and how many different ones."""
    with store.engine.connect() as connection:
        keys = select(REPORTS.c.boot_id, REPORTS.c.seq).distinct().subquery()
        count = connection.scalar(select(func.count()).select_from(REPORTS))
        return count or 0, connection.scalar(select(func.count()).select_from(keys)) or 0


@pytest.mark.parametrize("client", ["mqtt5", "paho"])
def test_reports_are_stored_and_then_acknowledged(
    store: Store, publisher: Any, ingest: Start, eventually: Eventually, client: str
) -> None:
    with running(engine="mosquitto") as broker, publisher(_port(broker.url)) as devices:
        ingest(_port(broker.url), client=client)
        for seq in (1, 2, 2, 4, 3):
            devices.send(seq)
        devices.client.publish("ek/1/default/dev-000/tele", b"{", qos=1)
        devices.client.publish("ek/1/default/dev-000/tele", b"x" * 300_000, qos=1)
        eventually(lambda: devices.all_told(4))
        eventually(lambda: store.counters.total()["rejected"] == 2)
        assert _stored(store) == (40, 40)
        counted = store.counters.total()
        assert (counted["received"], counted["decoded"], counted["stored"], counted["duplicate"]) == (52, 50, 40, 10)


def test_what_is_acknowledged_survives_kills_of_the_ingest(
    store: Store, publisher: Any, ingest: Start, eventually: Eventually
) -> None:
    with running(engine="mosquitto") as broker, publisher(_port(broker.url), 20) as devices:
        port, sent = _port(broker.url), 0
        for _ in range(3):
            process = ingest(port)
            for _ in range(40):
                sent += 1
                devices.send(sent)
            eventually(lambda: max(devices.acked.values()) > 0)
            process.kill()
            process.wait()
            told = dict(devices.acked)
            for row in store.devices.all():
                rows = store.reports.of_device(row.key, 0, 2**62)
                assert set(range(1, told[row.device] + 1)) <= {one.seq for one in rows}
        # what was never acknowledged comes again, as the agent would send it
        ingest(port)
        for seq in range(1, sent + 1):
            devices.send(seq, history=1, lowest=1)
        eventually(lambda: devices.all_told(sent))
        assert _stored(store) == (20 * sent, 20 * sent)
        counted = store.counters.total()
        assert counted["stored"] == 20 * sent
        assert counted["received"] == counted["stored"] + counted["duplicate"] + counted["rejected"]


def test_several_processes_share_the_reports(
    store: Store, publisher: Any, ingest: Start, eventually: Eventually
) -> None:
    with running(engine="mosquitto") as broker, publisher(_port(broker.url), 20) as devices:
        for number in range(2):
            ingest(_port(broker.url), number, shared=True)
        for seq in range(1, 101):
            devices.send(seq)
        eventually(lambda: _stored(store)[0] == 2000)
        devices.send(101)  # a device's numbers are told by whoever stores its next report
        eventually(lambda: devices.all_told(100))
        eventually(lambda: _stored(store) == (2020, 2020))
        sources = store.counters.by_source()
        assert sorted(sources) == ["ingest-0", "ingest-1"]
        assert all(counted["stored"] for counted in sources.values())


def test_reports_wait_in_the_broker_while_the_ingest_starts_again(
    store: Store, publisher: Any, ingest: Start, eventually: Eventually
) -> None:
    with running(engine="mosquitto") as broker, publisher(_port(broker.url)) as devices:
        process = ingest(_port(broker.url))
        devices.send(1)
        eventually(lambda: devices.all_told(1))
        process.kill()
        process.wait()
        devices.send(2)
        ingest(_port(broker.url))
        eventually(lambda: devices.all_told(2))
        assert _stored(store) == (20, 20)


def test_a_noisy_device_loses_nothing_and_takes_no_time_of_others(
    store: Store, publisher: Any, ingest: Start, eventually: Eventually
) -> None:
    with running(engine="mosquitto") as broker, publisher(_port(broker.url), 3) as devices:
        ingest(_port(broker.url), rate=200.0, burst=200.0)
        noisy, quiet = devices.names[0], devices.names[1:]
        for seq in range(1, 601):
            devices.send(seq, only=noisy)
        for seq in range(1, 11):
            for name in quiet:
                devices.send(seq, only=name)
        eventually(lambda: all(devices.acked[name] == 10 for name in quiet))
        eventually(lambda: store.counters.total()["received"] == 620)
        counted = store.counters.total()
        assert counted["throttled"] > 0
        assert counted["stored"] + counted["throttled"] == 620
        told = devices.acked[noisy]
        assert 200 <= told < 600

        # what was not acknowledged comes again and again, from its first, as the agent would send it
        def again() -> bool:
            for seq in range(devices.acked[noisy] + 1, 601):
                devices.send(seq, only=noisy, history=1, lowest=devices.acked[noisy] + 1)
            time.sleep(1.5)
            return bool(devices.acked[noisy] == 600)

        eventually(again)
        assert _stored(store) == (620, 620)
        counted = store.counters.total()
        assert counted["received"] == sum(counted[name] for name in ("stored", "duplicate", "rejected", "throttled"))
        (event,) = [row for row in store.events.latest() if row.code == "throttled"]
        assert (event.device, event.level, event.detail["what"]) == (noisy, "warning", "reports")
