"""An hour without a broker, in simulated time: three models, kills, and a clock that is set in the middle."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from edgekit_agent.actions import Action, Now, Queue, Send, WorkerId
from edgekit_agent.config import AgentConfig, ModelConfig, TelemetryConfig
from edgekit_agent.core import Core
from edgekit_agent.outbox import Outbox
from edgekit_agent.protocol import Event, Report
from edgekit_agent.spool import Limits
from tests.agent.crash_states import MemoryFiles
from tests.agent.spooling import LIMITS, Host, open_spool

HOUR_S = 3600
NTP_S = 1234.0
SINCE_BOOT_MS, SET_MS = 0, 1_780_000_000_000
"""A board without a battery begins in 1970."""
MODELS = tuple(ModelConfig(name=name, path=f"{name}.null") for name in ("a", "b", "c"))
CONFIG = AgentConfig(device="edge-1", telemetry=TelemetryConfig(window_s=10), model=MODELS)


def at(seconds: float) -> Now:
    """Return a moment on a device whose clock is set by NTP after a while."""
    return Now(s=seconds, ms=int(1000 * seconds) + (SET_MS if seconds >= NTP_S else SINCE_BOOT_MS))


@dataclass
class Device:
    """The rules, the spool and the outbox, as the supervisor turns them; `kill` is a kill -9."""

    measured: dict[str, Any]
    ready: dict[str, Any]
    limits: Limits = LIMITS
    files: MemoryFiles = field(default_factory=MemoryFiles)
    runs: int = 0
    made: list[tuple[str, int]] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

    def start(self, seconds: float) -> None:
        self.runs += 1
        self.core = Core(CONFIG, f"boot-{self.runs}", {}, {})
        self.spool = open_spool(self.files, self.limits)
        self.outbox = Outbox(self.spool, settle_s=3)
        self.outbox.disconnected()
        self.do(self.core.start(at(seconds)), seconds)
        for number, model in enumerate(MODELS, 1):
            self.do(self.core.ready(WorkerId(model.name, number), self.ready, at(seconds)), seconds)

    def do(self, actions: Sequence[Action], seconds: float) -> None:
        for action in actions:
            if isinstance(action, Queue):
                self.made.append((action.report.boot, action.report.seq))
                self.outbox.put(action.report, at(seconds))
            elif isinstance(action, Send) and isinstance(action.message, Event):
                self.events.append(action.message)

    def turn(self, seconds: float) -> None:
        for number, model in enumerate(MODELS, 1):
            self.do(self.core.measured(WorkerId(model.name, number), self.measured, at(seconds)), seconds)
        self.do(self.core.tick(at(seconds)), seconds)
        self.spool.sync()
        assert self.outbox.take(at(seconds)) == []

    def hour(self, kills: Sequence[int]) -> None:
        self.start(0)
        for seconds in range(1, HOUR_S + 1):
            if seconds in kills:
                self.start(seconds)
            self.turn(seconds)

    def deliver(self, host: Host) -> list[Report]:
        """Let the broker come back, and take everything."""
        found = []
        self.outbox.connected(at(HOUR_S))
        now = HOUR_S + 3.0
        while parcels := self.outbox.take(at(now)):
            for parcel in parcels:
                report = Report.from_bytes(parcel.payload)
                found.append(report)
                host.take(report)
                self.outbox.taken(parcel.position, at(now))
            for boot, mark in host.marks.items():
                self.outbox.acknowledged(boot, mark, at(now))
        return found


@pytest.fixture
def device(measured: Callable[..., dict[str, Any]], ready: dict[str, Any]) -> Device:
    return Device(measured(5), ready)


@pytest.mark.parametrize("kills", [(), (1800,), (7, 1233, 1234, 1235, 2999)], ids=["none", "one", "around-the-setting"])
def test_nothing_is_lost_the_order_is_kept_and_all_are_late(device: Device, kills: tuple[int, ...]) -> None:
    host = Host()
    device.hour(kills)
    found = device.deliver(host)
    assert [(report.boot, report.seq) for report in found] == device.made
    assert {report.history for report in found} == {1}
    assert len(device.spool) == device.spool.dropped == 0
    # a kill costs what was measured since the last window of each model, and nothing else
    assert len(found) >= (HOUR_S // 10 - len(kills)) * len(MODELS) - len(kills) * len(MODELS)
    assert sum(report.inferences for report in found) <= 5 * HOUR_S * len(MODELS)
    # the clock was set in the middle: times jump, the order does not
    times = [report.ts_ms for report in found]
    assert min(times) < SET_MS < max(times)
    assert times == sorted(times)


def test_the_setting_of_the_clock_is_told_once(device: Device) -> None:
    device.hour(())
    told = [event.detail for event in device.events if event.code == "clock-jumped"]
    assert told == [{"by_s": SET_MS / 1000}]


@pytest.mark.parametrize("back", [True, False], ids=["back", "forth"])
def test_a_clock_that_jumps_by_years_makes_no_report_too_old(device: Device, back: bool) -> None:
    device.start(0)
    years = 10 * 365 * 86400 * 1000
    for seconds in range(1, 61):
        device.turn(seconds)
    now = at(61)
    device.spool.expire(replace(now, ms=now.ms + (-years if back else years)))
    assert len(device.spool) == len(device.made)
    assert device.spool.dropped == 0


@pytest.mark.parametrize("kills", [(), (600, 1800, 3590)], ids=["none", "three"])
def test_a_small_spool_keeps_the_newest_and_counts_every_other(device: Device, kills: tuple[int, ...]) -> None:
    device.limits = Limits(disk_bytes=60_000, age_s=1e6, in_memory=10)
    host = Host()
    device.hour(kills)
    found = device.deliver(host)
    kept = [(report.boot, report.seq) for report in found]
    assert 20 < len(kept) < len(device.made)
    assert kept == device.made[-len(kept) :]
    assert device.spool.dropped == len(device.made) - len(kept)
    assert {report.history for report in found} == {1}
