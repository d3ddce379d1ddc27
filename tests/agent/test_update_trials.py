"""Trials on the agent's rules: what is started, shared, ended and promoted."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from edgekit_agent.actions import Action, EndWorker, Now, ShareWork, StartWorker, WorkerId
from edgekit_agent.config import AgentConfig, ModelConfig, UpdateConfig
from edgekit_agent.core import Core
from edgekit_agent.protocol import Reason
from edgekit_agent.sources.settings import REQUESTS, SourceConfig
from edgekit_agent.update.trying import Trials
from edgekit_agent.update.updater import Done, Refused

At = Callable[[float], Now]
Measured = Callable[..., dict[str, Any]]
OLD, NEW, STAND_IN = WorkerId("kws", 1), WorkerId("kws", 2), WorkerId("kws", 3)
CRASH: dict[str, object] = {"signal": "SIGSEGV", "stderr": ["Fatal Python error"]}


class Bench:
    """An agent's rules with a model that serves, and a trial beside it."""

    def __init__(self, config: AgentConfig, at: At, ready: Mapping[str, Any]) -> None:
        """Start the model."""
        self.at, self.ready = at, ready
        self.done: list[Action] = []
        self.core = Core(config, "b", {}, {})
        self.core.start(at(0))
        self.core.ready(OLD, ready, at(0))
        self.trials = Trials(UpdateConfig(trial_s=60, trial_inferences=5), self.core, self.done.extend)
        self.release = replace(config.model[0], version="2.0.0")

    def took(self, kind: type[StartWorker | EndWorker | ShareWork]) -> list[WorkerId]:
        """Return what was done of a kind since the last call."""
        found = [one.worker for one in self.done if isinstance(one, kind)]
        self.done[:] = [one for one in self.done if not isinstance(one, kind)]
        return found


@pytest.fixture
def bench(agent_config: AgentConfig, at: At, ready: Mapping[str, Any]) -> Bench:
    """A bench whose model reads a source of its own."""
    return Bench(agent_config, at, ready)


def test_a_release_is_proved_by_its_worker_and_promoted_after_its_time(bench: Bench, measured: Measured) -> None:
    bench.trials.start(bench.release, bench.at(1))
    (start,) = (one for one in bench.done if isinstance(one, StartWorker))
    assert (start.worker, start.prove, start.model.version) == (NEW, True, "2.0.0")
    assert bench.trials.look(bench.at(2)) is None
    bench.core.ready(NEW, bench.ready, bench.at(3))
    assert bench.trials.look(bench.at(4)) is None
    bench.core.measured(NEW, measured(10), bench.at(5))
    assert bench.trials.look(bench.at(63)) is None
    assert bench.trials.look(bench.at(64)) == Done()
    bench.trials.promote(bench.at(64))
    assert bench.took(EndWorker) == [OLD]
    assert bench.core.versions() == {"kws": "2.0.0"}
    bench.core.died(NEW, CRASH, bench.at(70))
    (again,) = (one for one in bench.core.tick(bench.at(71)) if isinstance(one, StartWorker))
    assert (again.worker, again.prove) == (NEW, False)


def test_what_it_refuses_is_the_reason(bench: Bench) -> None:
    bench.trials.start(bench.release, bench.at(1))
    refusal = {"code": "golden-mismatch", "text": "differs", "hints": []}
    bench.core.refused(NEW, refusal, bench.at(2))
    found = bench.trials.look(bench.at(3))
    assert found == Refused(reason=Reason.GOLDEN_MISMATCH, detail={"text": "differs", "hints": []})
    bench.trials.end(bench.at(3))
    assert not bench.trials.running
    assert bench.core.versions() == {"kws": "1.2.0"}
    assert bench.took(EndWorker) == []  # its process has ended already


def test_one_that_dies_again_and_again_ends_the_trial_with_its_last_words(bench: Bench) -> None:
    bench.trials.start(bench.release, bench.at(1))
    for second in range(2, 52, 10):
        bench.core.ready(NEW, bench.ready, bench.at(second))
        assert bench.trials.look(bench.at(second)) is None
        bench.core.died(NEW, CRASH, bench.at(second + 1))
        bench.core.tick(bench.at(second + 9.5))
    assert bench.trials.look(bench.at(60)) == Refused(reason=Reason.CRASH_LOOP, detail=CRASH)


def test_one_death_more_than_the_old_one_s_ends_it_too(bench: Bench, measured: Measured) -> None:
    bench.trials.start(bench.release, bench.at(1))
    bench.core.ready(NEW, bench.ready, bench.at(2))
    bench.trials.look(bench.at(2))
    bench.core.measured(NEW, measured(10), bench.at(3))
    bench.core.died(NEW, CRASH, bench.at(30))
    found = bench.trials.look(bench.at(62))
    assert isinstance(found, Refused)
    assert (found.reason, found.detail["signal"], found.detail["inferences"]) == (
        Reason.TRIAL_CRASHES, "SIGSEGV", 10,
    )  # fmt: skip


def test_a_source_that_only_one_can_read_is_left_to_the_one_that_serves(bench: Bench, measured: Measured) -> None:
    """A camera: the release is tried on synthetic data, and started with its source once it has proved itself."""
    release = replace(bench.release, source=SourceConfig(kind="folder", path="/camera"))
    bench.trials.start(release, bench.at(1))
    bench.core.refused(NEW, {"code": "source-failed", "text": "busy", "hints": []}, bench.at(2))
    bench.took(StartWorker)
    assert bench.trials.look(bench.at(2)) is None
    (start,) = (one for one in bench.done if isinstance(one, StartWorker))
    assert (start.worker, start.model.source, start.prove) == (STAND_IN, SourceConfig(), True)
    bench.core.ready(STAND_IN, bench.ready, bench.at(3))
    bench.trials.look(bench.at(3))
    bench.core.measured(STAND_IN, measured(10), bench.at(4))
    assert bench.trials.look(bench.at(63)) == Done()
    bench.done.clear()
    bench.trials.promote(bench.at(63))
    assert [type(one) for one in bench.done] == [EndWorker, EndWorker, StartWorker]
    assert bench.took(EndWorker) == [OLD, STAND_IN]
    crew = bench.core.current("kws")
    assert crew is not None
    assert crew.config == release


def test_a_source_that_fails_with_synthetic_data_too_ends_the_trial(bench: Bench) -> None:
    bench.trials.start(bench.release, bench.at(1))
    bench.core.refused(NEW, {"code": "source-failed", "text": "x", "hints": []}, bench.at(2))
    first = bench.trials.look(bench.at(2))
    # its own source is synthetic: there is nothing to stand in
    assert isinstance(first, Refused)
    assert first.reason is Reason.SOURCE_FAILED


def test_applications_are_sent_over_until_the_trial_has_seen_work(
    agent_config: AgentConfig, at: At, ready: Mapping[str, Any], measured: Measured
) -> None:
    model = ModelConfig(name="kws", path="kws.tflite", source=SourceConfig(kind=REQUESTS))
    bench = Bench(replace(agent_config, model=(model,)), at, ready)
    bench.trials.start(bench.release, at(1))
    bench.core.ready(NEW, ready, at(2))
    asked = []
    for second in range(2, 15):
        bench.trials.look(at(second))
        asked += [second] * len(bench.took(ShareWork))
    assert asked == [2, 7, 12]
    bench.core.measured(NEW, measured(10), at(15))
    for second in range(15, 40):
        bench.trials.look(at(second))
    assert bench.took(ShareWork) == []
