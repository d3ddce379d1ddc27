"""The tables, and what goes in and comes out."""

from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec import structs
from sqlalchemy import inspect, text

from edgekit.errors import DataError, EnvironmentMissingError, UsageError
from edgekit.fleet import wire
from edgekit.fleet.store import Ack, Arrived, DeviceKey, Question, Store, open_store
from edgekit.fleet.store.tables import METADATA
from edgekit_agent.protocol import ExpHistogram, Kind
from tests.sdk.fleet.store.cases import NOW_MS

Make = Callable[..., Arrived]
KEY = DeviceKey("default", "dev-1")


def test_migrations_make_the_tables_as_they_are_described(store: Store) -> None:
    found, dialect = inspect(store.engine), store.engine.dialect
    made = {
        (table, column["name"]): (column["type"].compile(dialect).replace("BIGINT", "INTEGER"), column["nullable"])
        for table in found.get_table_names()
        for column in found.get_columns(table)
    }
    described = {
        (name, column.name): (column.type.compile(dialect).replace("BIGINT", "INTEGER"), column.nullable)
        for name, table in METADATA.tables.items()
        for column in table.columns
    }
    assert made == described


def test_a_store_opens_again_and_keeps_what_it_has(url: str, arrived: Make) -> None:
    with open_store(url) as store:
        store.reports.add([arrived(1)])
    with open_store(url) as store:
        assert [row.seq for row in store.reports.since(0)] == [1]
        assert store.reports.add([arrived(1)]).duplicates == 1


def test_a_store_of_a_newer_version_is_refused(url: str) -> None:
    with open_store(url) as store, store.engine.begin() as connection:
        connection.execute(text("INSERT INTO migrations (name, applied_ms) VALUES ('9999-later', 0)"))
    with pytest.raises(DataError, match="newer version of EdgeKit: it has '9999-later'"):
        open_store(url)


@pytest.mark.parametrize(
    "url", ["", "fleet.db", "mysql://localhost/x", "sqlite://", "postgresql://localhost", "sqlite:///:memory:"]
)
def test_a_url_of_no_known_form_is_a_usage_error(url: str) -> None:
    with pytest.raises(UsageError, match="is not of the form sqlite:///PATH or postgresql://"):
        open_store(url)


def test_a_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(EnvironmentMissingError, match="cannot be written"):
        open_store(f"sqlite:///{tmp_path}/file/fleet.db")


def test_a_file_that_is_no_database_is_told_and_left_as_it_is(tmp_path: Path) -> None:
    file, text = tmp_path / "fleet.db", b"no database, but some other file of a user" * 100
    file.write_bytes(text)
    file.chmod(0o644)
    with pytest.raises(DataError, match="file is not a database"):
        open_store(f"sqlite:///{file}")
    assert (file.read_bytes(), file.stat().st_mode & 0o777, [*tmp_path.iterdir()]) == (text, 0o644, [file])


def test_reports_are_stored_once_and_acknowledged_as_far_as_nothing_is_missing(store: Store, arrived: Make) -> None:
    first = store.reports.add([arrived(1), arrived(2), arrived(2), arrived(4)])
    assert (first.stored, first.duplicates, first.refused) == (3, 1, 0)
    assert first.acks == (Ack("default", "dev-1", "b1", 2),)
    again = store.reports.add([arrived(1), arrived(3)])
    assert (again.stored, again.duplicates, again.acks) == (1, 1, (Ack("default", "dev-1", "b1", 4),))
    assert [row.seq for row in store.reports.since(0)] == [1, 2, 4, 3]
    counted = {"received": 0, "decoded": 0, "stored": 4, "duplicate": 2, "rejected": 0, "dropped": 0}
    assert store.counters.total() == {**counted, "throttled": 0}


def test_what_a_device_has_lost_does_not_hold_up_the_acknowledgement(store: Store, arrived: Make) -> None:
    assert store.reports.add([arrived(7)]).acks == ()
    outcome = store.reports.add([arrived(7, history=1, lowest=7), arrived(9, history=1, lowest=7)])
    assert (outcome.duplicates, outcome.stored) == (1, 1)
    assert outcome.acks == (Ack("default", "dev-1", "b1", 7),)


def test_a_report_has_all_that_was_sent(store: Store, arrived: Make) -> None:
    store.reports.add(
        [arrived(1, values=(0.001, 0.004), errors={"ModelError": 2}, cpu_percent=3.5, statistics={"a": 1})]
    )
    (row,) = store.reports.since(0)
    assert row.latency["infer"] == ExpHistogram.of((0.001, 0.004), 4)
    assert set(row.latency) == {"infer", "e2e"}
    assert (row.site, row.device, row.boot, row.model, row.version) == ("default", "dev-1", "b1", "kws", "1.2.0")
    assert (row.errors, row.error_kinds, row.gauges, row.statistics) == (2, {"ModelError": 2}, {"cpu": 3.5}, {"a": 1})
    assert store.reports.of_device(KEY, NOW_MS - 1000, NOW_MS + 1) == [row]


def test_late_reports_land_in_their_own_minute_whatever_the_clock(store: Store, arrived: Make) -> None:
    def told(seq: int, ago_s: int, **fields: object) -> Arrived:
        # a device whose clock was never set: it began at 1970
        one = arrived(seq, **{"ts_ms": 600_000 - 1000 * ago_s, **fields})
        return Arrived(one.site, one.device, NOW_MS, one.report)

    store.reports.add([told(3, 0), told(1, 300, history=1), told(2, 240, history=1)])
    ages = {row.seq: (NOW_MS - row.at_ms) // 1000 for row in store.reports.since(0)}
    assert ages == {3: 0, 1: 300, 2: 240}


@pytest.mark.parametrize("rolled", [0, 3, None], ids=["not rolled up", "partly", "rolled up"])
def test_series_are_exact_at_any_moment(store: Store, arrived: Make, rolled: int | None) -> None:
    values = {
        device: tuple(0.001 * (index + 1) for index in range(count)) for device, count in (("dev-1", 3), ("dev-2", 9))
    }
    batch = [
        arrived(
            minute + 1,
            device=device,
            at_ms=NOW_MS + 60_000 * minute,
            values=tuple(round(v * (minute + 1), 9) for v in some),
        )
        for device, some in values.items()
        for minute in range(3)
    ]
    store.reports.add(batch)
    if rolled is None:
        store.rollups.roll_all()
    elif rolled:
        store.rollups.roll(rolled)
    begin, end = NOW_MS, NOW_MS + 180_000
    (whole,) = store.series.points(Question(from_ms=begin, to_ms=end))
    everything = [round(value * (minute + 1), 9) for some in values.values() for value in some for minute in range(3)]
    assert whole.histogram == ExpHistogram.of(everything, 4)
    assert (whole.reports, whole.inferences, whole.window_s) == (6, 36, 6.0)
    points = store.series.points(Question(from_ms=begin, to_ms=end, step_s=60, group="device", stage="e2e"))
    assert [(p.start_ms, p.group) for p in points] == [
        (NOW_MS + 60_000 * minute, f"default/{device}") for minute in range(3) for device in ("dev-1", "dev-2")
    ]
    assert points[3].histogram == ExpHistogram.of([round(2 * value, 9) for value in values["dev-2"]], 4)
    one = store.series.points(Question(from_ms=begin, to_ms=end, devices=[KEY], model="kws", version="1.2.0"))
    assert one[0].inferences == 9
    assert store.series.points(Question(from_ms=begin, to_ms=end, model="other")) == []
    assert store.rollups.roll_all() == {0: 6, 3: 3, None: 0}[rolled]
    hour = NOW_MS - NOW_MS % 3_600_000
    (hourly,) = store.series.points(Question(from_ms=hour, to_ms=hour + 3_600_000, step_s=3600))
    assert hourly.histogram == whole.histogram


def test_devices_say_what_they_are(store: Store) -> None:
    state = wire.State(state="online", birth=4, boot="b1", agent="1.0", heartbeat_s=10.0)
    assert store.devices.put_state(KEY, state, NOW_MS)
    raw = (
        b'{"agent":"1.0","hardware":{"arch":"aarch64"},"runtimes":{},"labels":{"room":"lab"},'
        b'"models":[{"name":"kws","ver":"2","art":"sha256:1","format":"tflite"}]}'
    )
    info = wire.decode(Kind.INFO, raw)
    assert isinstance(info, wire.Info)
    store.devices.put_info(KEY, info, raw, NOW_MS + 1)
    store.devices.put_state(KEY, wire.State(state="offline", birth=4, boot="b1"), NOW_MS + 2)
    store.devices.put_presence(KEY, "offline", "connection-lost", NOW_MS + 2)
    (row,) = store.devices.all()
    assert (row.state, row.agent, row.heartbeat_s, row.last_seen_ms) == ("offline", "1.0", 10.0, NOW_MS + 2)
    assert (row.labels, row.hardware, row.described["agent"]) == ({"room": "lab"}, {"arch": "aarch64"}, "1.0")
    assert [(model.name, model.version) for model in row.models] == [("kws", "2")]
    assert (row.presence, row.presence_reason) == ("offline", "connection-lost")


def test_a_device_serves_what_its_newest_live_report_says(store: Store, arrived: Make) -> None:
    store.reports.add([arrived(1), arrived(2, version="2.0.0"), arrived(3, history=1)])
    row = store.devices.get(KEY)
    assert row is not None
    assert [(model.name, model.version) for model in row.models] == [("kws", "2.0.0")]
    assert row.last_report_ms == NOW_MS


def test_events_are_stored_once(store: Store) -> None:
    event = wire.Event(
        ts_ms=NOW_MS, level="error", code="worker-crashed", text="It died.", detail={"signal": "SIGSEGV"}
    )
    assert store.events.add(KEY, event, NOW_MS)
    assert not store.events.add(KEY, event, NOW_MS + 5)
    assert store.events.add(KEY, wire.Event(ts_ms=NOW_MS, level="info", code="started", text="Up."), NOW_MS + 5)
    assert [row.code for row in store.events.latest()] == ["started", "worker-crashed"]
    assert [row.code for row in store.events.since(1)] == ["started"]
    assert store.events.latest(devices=[KEY], levels=["error"])[0].detail == {"signal": "SIGSEGV"}
    assert store.events.latest(since_ms=NOW_MS + 1, limit=1)[0].code == "started"


def test_a_forgotten_device_leaves_nothing_and_may_come_again(store: Store, arrived: Make) -> None:
    store.reports.add([arrived(1), arrived(1, device="dev-2")])
    store.rollups.roll_all()
    assert store.devices.forget(KEY, dry_run=True)["reports"] == 1
    assert len(store.devices.all()) == 2
    gone = store.devices.forget(KEY)
    assert (gone["reports"], gone["minutes"], gone["boots"]) == (1, 1, 1)
    assert [row.device for row in store.devices.all()] == ["dev-2"]
    # the writer has learnt of it: nothing is stored under the number that is gone
    assert store.reports.add([arrived(1)]).stored == 1
    assert [row.device for row in store.devices.all()] == ["dev-1", "dev-2"]
    with pytest.raises(UsageError, match="no device 'default/dev-9'"):
        store.devices.forget(DeviceKey("default", "dev-9"))


def test_two_writers_do_not_store_a_report_twice(url: str, arrived: Make) -> None:
    with open_store(url) as one, open_store(url) as other:
        for seq in range(1, 6):
            assert one.reports.add([arrived(seq)]).stored == 1
            assert other.reports.add([arrived(seq), arrived(seq + 100)]).duplicates == 1
        assert one.reports.add([arrived(6)]).acks == (Ack("default", "dev-1", "b1", 6),)
        assert len({row.seq for row in one.reports.since(0)}) == len(one.reports.since(0)) == 11


def test_devices_beyond_the_limit_are_refused_and_not_acknowledged(url: str, arrived: Make) -> None:
    with open_store(url, device_limit=2) as store:
        outcome = store.reports.add([arrived(1, device=f"dev-{number}") for number in range(3)])
        assert (outcome.stored, outcome.refused, len(outcome.acks)) == (2, 1, 2)
        assert store.counters.total()["rejected"] == 1
        assert not store.devices.put_state(DeviceKey("default", "dev-9"), wire.State(state="online"), NOW_MS)


def test_a_batch_that_fails_leaves_nothing_behind(store: Store, arrived: Make) -> None:
    bad = arrived(2)
    bad = bad._replace(report=structs.replace(bad.report, model="kws\ud800"))  # no text that a database takes
    with pytest.raises(UnicodeEncodeError):
        store.reports.add([arrived(1), bad])
    assert store.reports.since(0) == []
    assert store.reports.add([arrived(1)]).stored == 1


def test_devices_come_in_one_order_whatever_the_language_of_the_database(store: Store, arrived: Make) -> None:
    names = ["dev-b", "dev_a", "dev1", "deva", "dev-1", "dev_b", "dev10", "dev-10"]
    store.reports.add([arrived(1, device=name) for name in names])
    assert [row.device for row in store.devices.all()] == sorted(names)
