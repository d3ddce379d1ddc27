"""Counters that go on over a restart, and are exact."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from edgekit.fleet._url import parse
from edgekit.fleet.export.part import TotalsPart
from edgekit.fleet.service.service import Service
from edgekit.fleet.service.settings import ServeSettings
from edgekit.fleet.store import DeviceKey, Keep, Store, open_store
from edgekit.fleet.store import totals as module
from edgekit_agent.protocol import ExpHistogram


def test_totals_are_the_exact_merge_and_go_on_after_a_restart(
    store: Store, fill: Callable[..., None], known: Callable[..., DeviceKey]
) -> None:
    known("dev-1")
    known("dev-2")
    fill("dev-1", seq=1, values=(0.001, 0.002), inferences=2, errors={"ModelError": 1}, temperature_c=50.0)
    assert store.totals.roll_all() == 1
    with open_store(str(store.engine.url)) as again:
        fill("dev-2", seq=1, values=(0.004,), dropped=3, temperature_c=70.0)
        fill("dev-2", seq=2, values=(0.008,), version="2.0.0")
        assert again.totals.state().waiting == 2
        assert again.totals.roll_all() == 2
        assert store.totals.roll_all() == 0
        first, second = again.totals.rows()
    assert first.group == ("default", "Raspberry Pi 5", "kws", "1.2.0", "")
    assert first.latency["infer"] == ExpHistogram.of((0.001, 0.002, 0.004), 4)
    assert (first.reports, first.inferences, first.errors, first.dropped, first.window_s) == (2, 3, 1, 3, 2.0)
    assert first.gauges["temp"] == [2, 120.0, 50.0, 70.0]
    assert (second.group.version, second.latency["infer"]) == ("2.0.0", ExpHistogram.of((0.008,), 4))


def test_counters_do_not_go_back_when_a_device_is_forgotten_or_lies(
    store: Store, fill: Callable[..., None], known: Callable[..., DeviceKey]
) -> None:
    key = known()
    fill(seq=1, errors={"a": -5}, inferences=-7)
    store.totals.roll_all()
    assert [(row.errors, row.inferences) for row in store.totals.rows()] == [(0, 0)]
    store.devices.forget(key)
    assert [row.reports for row in store.totals.rows()] == [1]


def test_devices_are_told_apart_by_option_only(
    store: Store, fill: Callable[..., None], known: Callable[..., DeviceKey]
) -> None:
    key = known()
    fill("dev-1", seq=1)
    store.totals.roll_all()
    fill("dev-1", seq=2)
    fill("dev-2", seq=1)
    assert store.totals.roll_all(by_device=True) == 2
    assert [row.group.device for row in store.totals.rows()] == ["dev-1", "dev-2"]
    store.devices.forget(key)
    assert [row.group.device for row in store.totals.rows()] == ["dev-2"]
    store.totals.roll()
    assert [(row.group.device, row.reports) for row in store.totals.rows()] == [("", 1)]


def test_groups_are_bounded_and_what_is_beyond_is_told(store: Store, fill: Callable[..., None]) -> None:
    for number in range(5):
        fill(seq=number + 1, version=f"{number}.0.0", values=(0.001 * (number + 1),))
    store.totals.roll_all(limit=3)
    rows = store.totals.rows()
    assert [row.group.version for row in rows if row.group.model != module.OVERFLOW] == ["0.0.0", "1.0.0", "2.0.0"]
    (beyond,) = [row for row in rows if row.group.model == module.OVERFLOW]
    assert (beyond.reports, beyond.latency["infer"]) == (2, ExpHistogram.of((0.004, 0.005), 4))
    assert store.counters.by_source()["totals"]["overflowed"] == 2


def test_gauges_are_of_the_last_two_minutes(store: Store, fill: Callable[..., None]) -> None:
    now_ms = int(time.time() * 1000)
    for seq, ago_s, value in ((1, 600, 90.0), (2, 60, 50.0), (3, 0, 60.0)):
        fill(seq=seq, at_ms=now_ms - 1000 * ago_s, temperature_c=value)
    store.totals.roll_all()
    (row,) = store.totals.rows()
    assert row.gauges["temp"] == pytest.approx([2, 110.0, 50.0, 60.0])


def test_reports_stay_until_the_totals_have_them(store: Store, fill: Callable[..., None]) -> None:
    fill(seq=1)
    store.totals.roll_all()
    fill(seq=2)
    store.rollups.roll_all()
    later_ms = int(time.time() * 1000) + 10_000_000
    keep = Keep(reports_h=1.0)
    assert store.retention.apply(keep, later_ms)["reports"] == 1
    store.totals.roll_all()
    assert store.retention.apply(keep, later_ms)["reports"] == 1
    assert [row.reports for row in store.totals.rows()] == [2]


def test_the_part_of_the_service_keeps_them_up_to_date(store: Store, fill: Callable[..., None], tmp_path: Path) -> None:
    place = parse("mqtt://127.0.0.1:9")
    settings = ServeSettings(store=str(store.engine.url), broker=place, data=tmp_path, metrics_devices=True)
    service = Service(settings, store)
    fill(seq=1)

    async def live() -> None:
        task = asyncio.create_task(TotalsPart(service).run())
        while not service.health.parts:
            assert not task.done()
            await asyncio.sleep(0.01)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    asyncio.run(live())
    assert [(row.group.device, row.reports) for row in store.totals.rows()] == [("dev-1", 1)]
    assert service.health.well
