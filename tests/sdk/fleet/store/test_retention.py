"""What leaves, and what must stay."""

from collections.abc import Callable

import pytest

from edgekit.errors import UsageError
from edgekit.fleet import wire
from edgekit.fleet.store import Arrived, DeviceKey, Keep, Question, Store
from tests.sdk.fleet.store.cases import NOW_MS

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
KEY = DeviceKey("default", "dev-1")


def test_reports_leave_when_they_are_old_and_rolled_up(store: Store, arrived: Callable[..., Arrived]) -> None:
    for seq in range(1, 11):
        store.reports.add([arrived(seq, at_ms=NOW_MS + seq * HOUR_MS)])
    store.rollups.roll(limit=6)
    now = NOW_MS + 10 * HOUR_MS
    removed = store.retention.apply(Keep(reports_h=2), now)
    assert removed["reports"] == 6  # the seventh is old too, but in no minute yet
    store.rollups.roll_all()
    assert store.retention.apply(Keep(reports_h=2), now)["reports"] == 1
    assert [row.seq for row in store.reports.since(0)] == [8, 9, 10]
    (whole,) = store.series.points(Question(from_ms=NOW_MS, to_ms=now + 1))
    assert whole.reports == 10
    # a report that comes again after it left is still known
    assert store.reports.add([arrived(3, history=1)]).duplicates == 1


def test_minutes_leave_before_hours_and_events_last(store: Store, arrived: Callable[..., Arrived]) -> None:
    store.reports.add([arrived(1)])
    store.rollups.roll_all()
    store.events.add(KEY, wire.Event(ts_ms=1, level="info", code="started", text="Up."), NOW_MS)
    first = store.retention.apply(Keep(), NOW_MS + 31 * DAY_MS)
    assert first == {"reports": 1, "minutes": 1, "hours": 0, "events": 0, "boots": 0}
    start = NOW_MS - NOW_MS % HOUR_MS
    (hour,) = store.series.points(Question(from_ms=start, to_ms=start + HOUR_MS, step_s=3600))
    assert hour.reports == 1
    second = store.retention.apply(Keep(), NOW_MS + 731 * DAY_MS)
    assert second == {"reports": 0, "minutes": 0, "hours": 1, "events": 1, "boots": 1}
    # the writer knows that the boot is gone
    assert store.reports.add([arrived(1)]).stored == 1


def test_what_is_kept_must_be_something() -> None:
    with pytest.raises(UsageError, match="minutes_d is 0: it must be more than 0"):
        Keep(minutes_d=0)
