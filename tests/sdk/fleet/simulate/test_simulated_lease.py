"""A simulated device asks for leave as the real agent does, by hand and over a real broker with the real driver."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edgekit.fleet._brokers import Broker, running
from edgekit.fleet._url import parse as url_of
from edgekit.fleet.simulate import Plan, simulate
from edgekit_agent.config import UpdateConfig
from edgekit_agent.protocol import Desired, DesiredModel, Kind, ModelPhase, Reason, Reported
from tests.e2e.conftest import wait_for
from tests.e2e.served_fleet import ServedFleet
from tests.sdk.fleet.simulate.test_simulated_device import DESIRED, World, at

LEASE_S = 10.0
LIMITS = UpdateConfig()


class Asked(World):
    """A device that was told of 2.0.0 with a lease."""

    def __init__(self, *faults: str, until_s: float = 5.0) -> None:
        """Let it come to the point where it asks."""
        super().__init__(*faults)
        self.wish(1, "2.0.0")
        self.until(until_s)

    def wish(self, v: int, version: str, *, back: bool | None = None, lease_s: float | None = LEASE_S) -> None:
        model = DesiredModel(name="kws", version=version, back=back)
        self.hear(DESIRED, Desired(version=v, models=(model,), lease_s=lease_s))

    @property
    def phase(self) -> ModelPhase:
        told = self.of(Kind.REPORTED)[-1]
        assert isinstance(told, Reported)
        return told.models[0]

    def grant(self, question: str | None = None, v: int = 1) -> None:
        question = question or self.phase.lease
        assert question is not None
        self.hear(DESIRED, Desired(version=v, lease=question))


def test_it_asks_before_its_trial_and_again_before_it_keeps_the_release() -> None:
    world = Asked()
    assert (world.phase.phase, world.phase.reason) == ("staged", Reason.LEASE_AWAITED)
    first = world.phase.lease
    world.grant()
    assert world.phase.phase == "trial"
    assert world.phase.lease is None
    world.until(9.0)
    assert world.phase.phase == "trial"
    assert world.phase.lease not in {None, first}
    world.grant(first)
    assert world.phase.phase == "trial"  # the leave to try it is no leave to keep it
    world.grant()
    assert (world.phase.phase, world.phase.serving) == ("committed", "2.0.0")
    assert world.phase.lease is None


def test_a_question_that_is_too_old_is_put_anew_and_late_answers_are_none() -> None:
    world = Asked()
    old = world.phase.lease
    world.until(5.0 + LEASE_S + 1)
    assert world.phase.lease != old
    world.grant(old)
    assert world.phase.phase == "staged"
    question = world.phase.lease
    assert question is not None
    late = world.now_s + LEASE_S  # it was on its way for as long as the lease
    world.take(world.device.received(DESIRED, Desired(version=1, lease=question).to_bytes(), at(late)), at(late))
    assert (world.phase.phase, world.phase.serving) == ("staged", "1.0.0")
    world.now_s = late
    world.grant(v=7)  # of another desired state, which is no desired state itself
    assert world.phase.phase == "staged"
    world.grant()
    assert world.phase.phase == "trial"


@pytest.mark.parametrize(("leaves", "end"), [(0, "rejected"), (1, "failed")])
def test_a_device_that_is_cut_off_does_not_activate_and_is_told_again(leaves: int, end: str) -> None:
    world = Asked()
    for _ in range(leaves):
        world.grant()
    world.device.disconnected()
    world.until(10.0 + LIMITS.install_s + LIMITS.trial_limit_s)
    assert world.device.updates.serving == "1.0.0"
    world.device.next_birth()
    world.take(world.device.connected(at(world.now_s)), at(world.now_s))
    assert (world.phase.phase, world.phase.reason, world.phase.serving) == (end, Reason.LEASE_MISSING, "1.0.0")
    world.wish(2, "2.0.0")
    world.until(world.now_s + 5.0)
    assert world.phase.reason == Reason.LEASE_AWAITED


def test_a_device_that_starts_again_has_lost_its_leave() -> None:
    world = Asked()
    world.grant()
    world.until(8.0)
    before = world.phase.lease
    world.device.start(at(8.0))
    world.take(world.device.connected(at(8.0)), at(8.0))
    assert world.phase.phase == "trial"
    assert world.phase.lease is None
    world.until(8.0 + 4.0)  # the trial begins anew
    assert world.phase.lease not in {None, before}


def test_an_abort_takes_what_is_on_trial_back_without_a_question() -> None:
    world = Asked()
    world.grant()
    world.wish(2, "1.0.0", back=True, lease_s=None)
    assert (world.phase.phase, world.phase.version, world.phase.serving) == ("committed", "1.0.0", "1.0.0")
    assert world.device.updates.next_s is None
    assert Reason.UPDATE_FAILED in world.events()


def test_the_way_back_needs_no_download_and_ends_where_it_was() -> None:
    world = Asked()
    world.grant()
    world.until(9.0)
    world.grant()
    before = len(world.phases())
    world.wish(2, "1.0.0", back=True, lease_s=None)
    world.until(12.0)
    assert [phase for _, phase, _ in world.phases()[before:]] == ["staged", "trial", "committed"]
    assert world.phase.serving == "1.0.0"


def test_one_that_crashes_on_trial_asks_nobody() -> None:
    world = Asked("crash-update:100%")
    world.grant()
    world.until(20.0)
    assert (world.phase.phase, world.phase.reason) == ("failed", Reason.TRIAL_CRASHES)


class Site:
    """Simulated devices on a real broker, and the service."""

    def __init__(self, broker: Broker, folder: Path) -> None:
        """Start the devices, two on each connection."""
        self._plan = Plan(
            devices=4, broker=url_of(broker.url), multiplex=2, window_s=1.0, heartbeat_s=2.0, trial_s=0.5, drain_s=0.0
        )
        self.fleet = ServedFleet(folder / "service", broker.url)
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self._thread.start()
        assert self._ready.wait(30)

    async def _run(self) -> None:
        self._loop, self._task = asyncio.get_running_loop(), asyncio.ensure_future(simulate(self._plan))
        self._ready.set()
        await self._task

    def models(self) -> list[dict[str, Any]]:
        """What devices have told of their model, straight from the store."""
        told = [json.loads(row.reported or "{}").get("models") for row in self.fleet.store.devices.all()]
        return [one[0] for one in told if one]

    def until(self, true: Callable[[dict[str, Any]], bool]) -> None:
        """Wait until something is so of all devices."""
        wait_for(
            lambda: len(self.models()) == self._plan.devices and all(map(true, self.models())), "devices tell it", 120
        )

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join(60)
        self.fleet.stop()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with running(engine="mosquitto") as broker:
        made = Site(broker, tmp_path)
        yield made
        made.close()


@pytest.mark.slow
def test_a_rollout_that_is_paused_activates_nowhere_and_goes_on_when_it_may(site: Site) -> None:
    site.until(lambda one: one["serving"] == "1.0.0")
    gates: dict[str, Any] = {
        "latency": [],
        "errors": None,
        "crashes": None,
        "silent": None,
        "drift": None,
        "least_inferences": 0,
    }
    wanted = {"canary": "0", "gates": gates, "bake_s": 0, "device_s": 900, "lease_s": 2}
    rollout = site.fleet.roll(model="kws", version="2.0.0", **wanted)
    site.until(lambda one: one["version"] == "2.0.0")
    site.fleet.order(rollout, "pause")
    site.until(lambda one: one["phase"] in {"staged", "trial"} and one.get("lease") is not None)
    asked = {one["lease"] for one in site.models()}
    site.until(lambda one: one.get("lease") not in {None, *asked})  # in vain: the first question is too old
    assert {(one["reason"], one["serving"]) for one in site.models()} == {("lease-awaited", "1.0.0")}
    site.fleet.order(rollout, "resume")
    site.until(lambda one: (one["phase"], one["serving"]) == ("committed", "2.0.0"))
    wait_for(lambda: site.fleet.rollout(rollout)["state"] == "completed", "it is completed")
