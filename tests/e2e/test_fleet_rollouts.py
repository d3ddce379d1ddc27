"""Rollouts end to end: `edgekit fleet serve`, a real broker, real agents and a real signed repository."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import BrokerProcess, wait_for
from tests.e2e.rolling import GATES, Agents, agents, good
from tests.e2e.served_fleet import ServedFleet

pytestmark = pytest.mark.slow

LONG_S = 500.0
ENDED = {"completed", "rolled-back", "stopped", "paused"}


class Site:
    """Devices, their publisher, and the service that rolls out to them."""

    def __init__(self, agents: Agents, fleet: ServedFleet) -> None:
        """Take what runs."""
        self.agents, self.fleet, self.publisher = agents, fleet, agents.publisher

    def ready(self, version: str = "1.2.0", windows: int = 7) -> None:
        """Wait until every device has reported so many windows of a version."""

        def enough() -> bool:
            rows = self.fleet.store.reports.since(0)
            return all(
                sum(one.device == name and one.version == version for one in rows) >= windows
                for name in self.agents.running
            )

        wait_for(enough, f"{windows} reports of {version}: {self.agents.logs}", LONG_S)

    def roll(self, version: str) -> str:
        return self.fleet.roll(
            model="kws",
            version=version,
            target=self.publisher.targets[version],
            canary="1",
            growth=2,
            gates=GATES,
            bake_s=2,
            bake_limit_s=900,
            device_s=900,
            lease_s=10,
        )

    def ends(self, rollout: str, wanted: str) -> dict[str, Any]:
        def shown() -> str:
            found = self.fleet.rollout(rollout)
            return json.dumps({name: found[name] for name in ("state", "step", "reason", "devices", "gates")})

        wait_for(lambda: self.fleet.rollout(rollout)["state"] in ENDED, f"{rollout} ends", LONG_S)
        found = self.fleet.rollout(rollout)
        assert found["state"] == wanted, f"{shown()} {self.agents.logs}"
        return found

    def reported(self) -> dict[str, dict[str, Any]]:
        """Return what each device says of its model."""
        bodies = {row.device: json.loads(row.reported or "{}") for row in self.fleet.store.devices.all()}
        return {name: body["models"][0] for name, body in bodies.items() if body.get("models")}

    def serving(self) -> dict[str, str]:
        return {name: model["serving"] for name, model in self.reported().items()}


@pytest.fixture
def site(tmp_path: Path, broker: BrokerProcess, agent_python: tuple[str, dict[str, str]]) -> Iterator[Site]:
    fleet = ServedFleet(tmp_path / "service", f"mqtt://127.0.0.1:{broker.port}")
    try:
        with agents(tmp_path, broker.port, agent_python) as made:
            yield Site(made, fleet)
    finally:
        assert fleet.stop() == 0


def test_a_good_release_goes_out_in_waves_a_slow_and_a_broken_one_are_taken_back(site: Site) -> None:
    site.publisher.release("2.0.0", good())
    site.agents.start("edge-1", "edge-2", "edge-3")
    site.ready()
    first = site.roll("2.0.0")
    state = site.ends(first, "completed")
    assert [(one["phase"], one["stage"]) for one in state["devices"]] == [
        ("committed", 0), ("committed", 1), ("committed", 1),
    ]  # fmt: skip
    assert set(site.serving().values()) == {"2.0.0"}

    site.ready("2.0.0")
    site.publisher.release("2.1.0", good(150.0))
    slow = site.ends(site.roll("2.1.0"), "rolled-back")
    assert "e2e-p50" in slow["reason"]
    assert sorted(one["phase"] for one in slow["devices"]) == ["back", "skipped", "skipped"]
    assert set(site.serving().values()) == {"2.0.0"}

    site.publisher.release("2.2.0", good(), wrong_by=0.5)
    broken = site.ends(site.roll("2.2.0"), "rolled-back")
    assert "golden-mismatch" in broken["reason"]
    assert set(site.serving().values()) == {"2.0.0"}

    site.fleet.order(first, "rollback")  # to the model of the configuration
    wait_for(lambda: site.fleet.rollout(first)["state"] == "rolled-back", "all are back")
    assert set(site.serving().values()) == {"1.2.0"}
    assert site.fleet.store.audit.verify().entries > 20


def test_a_device_that_is_cut_off_when_a_rollout_is_aborted_does_not_go_on(site: Site, broker: BrokerProcess) -> None:
    site.publisher.release("2.0.0", good())
    # tried for long enough to be cut off meanwhile; the trial's limit is for how long it waits for leave after that
    site.agents.start("edge-1", trial_s=5, trial_limit_s=15)
    site.ready(windows=2)
    rollout = site.roll("2.0.0")
    wait_for(lambda: site.reported()["edge-1"]["phase"] == "trial", f"it is tried: {site.agents.logs}", LONG_S)
    broker.kill()
    site.fleet.order(rollout, "abort")
    file = site.agents.folder / "edge-1" / "state.json"
    wait_for(lambda: "lease-missing" in file.read_text(), "the trial ends without leave", LONG_S)
    assert '"committed"' not in file.read_text()
    broker.start()
    site.ends(rollout, "rolled-back")
    wait_for(lambda: site.serving() == {"edge-1": "1.2.0"}, site.agents.logs)


def test_a_service_that_is_killed_at_every_change_goes_on_from_the_store(site: Site) -> None:
    site.publisher.release("2.0.0", good())
    site.agents.start("edge-1", "edge-2")
    site.ready()
    rollout = site.roll("2.0.0")
    seen = set()

    def changed() -> bool:
        row = site.fleet.store.rollouts.get(rollout)
        assert row is not None
        state = row.state
        mark = (state.status, state.wave, state.step, tuple(job.status for job in state.jobs.values()))
        new = mark not in seen
        seen.add(mark)
        return new

    while site.fleet.store.rollouts.revisions():
        wait_for(changed, f"it goes on: {site.fleet.log} {site.agents.logs}", LONG_S)
        site.fleet.kill()
        site.fleet.start()
    site.fleet.ready()
    site.ends(rollout, "completed")
    assert len(seen) >= 5
    assert set(site.serving().values()) == {"2.0.0"}
    assert site.fleet.store.audit.verify().entries > 5
