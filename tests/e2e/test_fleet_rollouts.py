"""Rollouts end to end: a real broker, real agents, a real signed repository, a real store and the driver."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgekit.fleet.rollout.orders import Ordered, Wanted, begin, order
from edgekit.fleet.rollout.plan import Gates, LatencyGate, Release
from edgekit.fleet.rollout.state import JobStatus, State, Status
from tests.e2e.conftest import AgentProcess, BrokerProcess, wait_for
from tests.e2e.rolling import Hub, configuration
from tests.e2e.updating import Publisher, script

pytestmark = pytest.mark.slow

# Devices share one machine that does other things too, updates among them: what is looked for is many times slower.
GATES = Gates(
    latency=(LatencyGate(quantile=0.5, limit=5.0, tolerated=1.0),), least_inferences=100, silent=None, crashes=None
)
MODEL = {"latency_ms": [10.0]}


class Site:
    """Devices, their publisher, and the service that rolls out to them."""

    def __init__(self, folder: Path, broker: BrokerProcess, python: tuple[str, dict[str, str]]) -> None:
        """Start the service; devices are started by name."""
        self.folder, self.broker, self._python = folder, broker, python
        self.url = f"sqlite:///{folder}/fleet.db"
        self.publisher = Publisher(folder / "publisher")
        (folder / "model.null").write_text(script(**MODEL))
        self.hub = Hub(self.url, broker.port)
        self.agents: dict[str, AgentProcess] = {}

    def start(self, *names: str, update: str = "") -> None:
        python, extra = self._python
        for name in names:
            self.publisher.trusted_by(self.folder / name)
            config = self.folder / f"{name}.toml"
            repository = self.publisher.repository.as_uri()
            config.write_text(configuration(name, self.folder, self.broker.port, repository, update))
            command = [python, "-P", "-m", "edgekit_agent", "run", "--config", str(config)]
            self.agents[name] = AgentProcess(command, {**os.environ, **extra}, self.folder / f"{name}.log")

    def ready(self, version: str = "1.2.0", windows: int = 10) -> None:
        """Wait until every device has reported so many windows of a version."""
        done = {"reports": 0}

        def enough() -> bool:
            rows = self.hub.store.reports.since(0)
            counts = [sum(one.device == name and one.version == version for one in rows) for name in self.agents]
            done["reports"] = min(counts)
            return min(counts) >= windows

        self.hub.until(enough, lambda: f"{done} of {version}; {self.logs()}")

    def roll(self, version: str, **more: Any) -> str:
        wanted = Wanted(
            release=Release(model="kws", version=version, target=self.publisher.targets.get(version)),
            canary="1",
            growth=2,
            gates=GATES,
            bake_s=2,
            bake_limit_s=900,
            device_s=900,
            lease_s=10,
            **more,
        )
        return begin(self.hub.store, wanted, self.hub.store.devices.all(), "a tester").id

    def state(self, rollout: str) -> State:
        row = self.hub.store.rollouts.get(rollout)
        assert row is not None
        return row.state

    def ends(self, rollout: str, status: Status) -> State:
        def shown() -> str:
            row = self.hub.store.rollouts.get(rollout)
            assert row is not None
            jobs = [(job.key[1], job.status, job.reason) for job in row.state.jobs.values()]
            return f"{row.state.status} {row.state.step} {row.state.reason} {jobs} {row.findings} {self.logs()}"

        self.hub.until(lambda: self.state(rollout).ended or self.state(rollout).status is Status.PAUSED, shown)
        assert self.state(rollout).status is status, shown()
        return self.state(rollout)

    def serving(self) -> dict[str, str]:
        found = {}
        for row in self.hub.store.devices.all():
            body = json.loads(row.reported or "{}")
            found[row.device] = body["models"][0]["serving"] if body.get("models") else ""
        return found

    def logs(self) -> str:
        return "\n".join(agent.log[-1500:] for agent in self.agents.values())

    def close(self) -> None:
        for agent in self.agents.values():
            if agent.process.poll() is None:
                agent.process.send_signal(signal.SIGTERM)
        for agent in self.agents.values():
            agent.process.wait(30)
        self.hub.close()


@pytest.fixture
def site(tmp_path: Path, broker: BrokerProcess, agent_python: tuple[str, dict[str, str]]) -> Iterator[Site]:
    made = Site(tmp_path, broker, agent_python)
    yield made
    made.close()


def test_a_good_release_goes_out_in_waves_a_slow_and_a_broken_one_are_taken_back(site: Site) -> None:
    site.publisher.release("2.0.0", script(**MODEL))
    site.start("edge-1", "edge-2", "edge-3")
    site.ready()
    first = site.roll("2.0.0")
    state = site.ends(first, Status.COMPLETED)
    assert {job.status for job in state.jobs.values()} == {JobStatus.COMMITTED}
    assert [job.wave for job in state.jobs.values()] == [0, 1, 1]
    assert set(site.serving().values()) == {"2.0.0"}

    site.ready("2.0.0")
    site.publisher.release("2.1.0", script(latency_ms=[200.0]))
    slow = site.ends(site.roll("2.1.0"), Status.ROLLED_BACK)
    assert "e2e-p50" in slow.reason
    assert sorted(job.status for job in slow.jobs.values()) == ["back", "skipped", "skipped"]
    assert set(site.serving().values()) == {"2.0.0"}

    site.publisher.release("2.2.0", script(**MODEL), wrong_by=0.5)
    broken = site.ends(site.roll("2.2.0"), Status.ROLLED_BACK)
    assert "golden-mismatch" in broken.reason
    assert set(site.serving().values()) == {"2.0.0"}

    order(site.hub.store, first, Ordered(what="rollback", by="a tester"))  # to the model of the configuration
    site.ends(first, Status.ROLLED_BACK)
    assert set(site.serving().values()) == {"1.2.0"}
    assert site.hub.store.audit.verify().entries > 20


def test_a_device_that_is_cut_off_when_a_rollout_is_aborted_does_not_go_on(site: Site) -> None:
    site.publisher.release("2.0.0", script(**MODEL))
    site.start("edge-1")
    site.ready(windows=2)
    rollout = site.roll("2.0.0")
    site.hub.until(
        lambda: any('"phase":"trial"' in (row.reported or "") for row in site.hub.store.devices.all()), site.logs
    )
    site.broker.kill()
    order(site.hub.store, rollout, Ordered(what="abort", by="a tester"))
    file = site.folder / "edge-1" / "state.json"
    wait_for(lambda: "lease-missing" in file.read_text(), "the trial ends without leave", 150)
    assert '"committed"' not in file.read_text()
    site.broker.start()
    site.ends(rollout, Status.ROLLED_BACK)
    site.hub.until(lambda: site.serving() == {"edge-1": "1.2.0"}, site.logs)


def test_a_service_that_is_killed_goes_on_from_the_store(site: Site) -> None:
    site.publisher.release("2.0.0", script(**MODEL))
    site.start("edge-1", "edge-2")
    site.ready()
    rollout = site.roll("2.0.0")
    seen = set()

    def changed() -> bool:
        state = site.state(rollout)
        mark = (state.wave, state.step, tuple(job.status for job in state.jobs.values()))
        new = mark not in seen
        seen.add(mark)
        return new

    changed()
    while not site.state(rollout).ended:
        site.hub.until(lambda: changed() or site.state(rollout).ended, lambda: f"{site.state(rollout)} {site.logs()}")
        site.hub.close()  # at every change of anything another process takes over
        site.hub = Hub(site.url, site.broker.port)
    assert site.state(rollout).status is Status.COMPLETED
    assert len(seen) >= 5
