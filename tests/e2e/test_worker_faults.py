"""Everything a worker's process can do wrong, with real processes: the agent tells of it, and the model comes back."""

import itertools
import json
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit_agent.client import Client

pytestmark = pytest.mark.slow

Start = Callable[..., Any]
Toml = Callable[..., str]


@pytest.fixture
def faulty(tmp_path: Path, agent_toml: Toml) -> Callable[..., Path]:
    """Makes a model's script with faults, and other keys of it."""
    _ = agent_toml  # it writes the script

    def make(faults: dict[str, str], **more: Any) -> Path:
        script = json.loads((tmp_path / "model.null").read_text())
        path = tmp_path / "faulty.null"
        path.write_text(json.dumps({**script, "faults": faults, **more}))
        return path

    return make


@pytest.fixture
def run(broker: Any, listen: Start, start_agent: Start, agent_toml: Toml) -> Callable[..., tuple[Any, Any]]:
    """Runs a model; returns who listens to the agent, and the agent."""

    def run(model: Path, more: str = "") -> tuple[Any, Any]:
        listener = listen(broker.port)
        return listener, start_agent(agent_toml(broker.port, model=model, more=more))

    return run


def comes_back(listener: Any, model: Path, agent: Any) -> None:
    """Take the fault away; the model works again after the back-off."""
    script = json.loads(model.read_text())
    model.write_text(json.dumps({**script, "faults": {}}))
    listener.wait("event", code="worker-restarted")
    listener.wait("tele", len(listener.of("tele")) + 2)
    assert agent.process.poll() is None


@pytest.mark.parametrize(
    ("fault", "code", "detail"),
    [
        ("segfault", "worker-crashed", {"signal": "SIGSEGV"}),
        ("exit", "worker-crashed", {"exit_code": 7}),
        ("memory", "worker-out-of-memory", {}),
        ("spin", "worker-hung", {"signal": "SIGKILL"}),
        ("hang", "worker-hung", {"signal": "SIGKILL"}),
        ("flood", "worker-hung", {"signal": "SIGKILL"}),
    ],
)
@pytest.mark.parametrize("when", ["load", "3"])
def test_a_fault_is_told_and_the_model_comes_back(  # noqa: PLR0913, PLR0917  # what happens, when, and what is told
    run: Callable[..., tuple[Any, Any]], faulty: Callable[..., Path], when: str, fault: str, code: str, detail: Any
) -> None:
    model = faulty({when: fault})
    # a machine under load must not look like a worker that hangs
    listener, agent = run(model, f"limits = {{hang_s = {10 if code == 'worker-hung' else 60}, memory_mb = 1000}}")
    event = listener.wait("event", code=code)[0]
    assert event.body["model"] == "kws"
    assert event.body["detail"].items() >= detail.items()
    comes_back(listener, model, agent)


def test_a_dead_worker_is_told_with_what_it_used_and_its_last_lines(
    run: Callable[..., tuple[Any, Any]], faulty: Callable[..., Path]
) -> None:
    listener, _ = run(faulty({"3": "segfault"}))
    detail = listener.wait("event", code="worker-crashed")[0].body["detail"]
    assert detail["max_rss_kb"] > 1000
    assert detail["user_s"] + detail["system_s"] > 0
    assert any("Segmentation fault" in line for line in detail["stderr"])
    assert "out_of_memory" not in detail


def test_one_that_dies_again_and_again_is_left_alone_and_the_agent_goes_on(
    run: Callable[..., tuple[Any, Any]], faulty: Callable[..., Path]
) -> None:
    listener, agent = run(faulty({"load": "exit"}))
    listener.wait("event", code="crash-loop")  # the fifth death: after 1 + 2 + 4 + 8 s
    crashes = [one.body["ts"] for one in listener.of("event", code="worker-crashed")]
    assert len(crashes) == 5
    waits = [later - earlier for earlier, later in itertools.pairwise(crashes)]
    assert all(wait >= 1000 * backoff for wait, backoff in zip(waits, (1, 2, 4, 8), strict=True))
    before = len(listener.of("state", st="online"))
    listener.wait("state", before + 2, st="online")
    assert agent.workers() == []


def test_the_limits_and_threads_of_a_worker_are_told(
    run: Callable[..., tuple[Any, Any]], faulty: Callable[..., Path]
) -> None:
    more = 'threads = "auto"\ntune_s = 0.1\nlimits = {memory_mb = 2000, open_files = 100, nice = 5, resident_mb = 500}'
    listener, agent = run(faulty({}), more)
    detail = listener.wait("event", code="model-ready")[0].body["detail"]
    limits = detail["limits"]
    assert (limits["memory_mb"], limits["open_files"], limits["nice"]) == (2000, 100, 5)
    assert ("resident_mb" in limits) != (limits.get("missing") == ["resident_mb"])
    assert detail["tuned"]["threads"] == detail["threads"]
    (model,) = listener.wait("info")[-1].body["models"]
    assert (model["thr"], model["limits"]) == (detail["threads"], limits)
    score = int(Path(f"/proc/{agent.worker()}/oom_score_adj").read_text())
    assert score > int(Path(f"/proc/{agent.pid}/oom_score_adj").read_text())


def test_limits_that_cannot_be_had_are_told(run: Callable[..., tuple[Any, Any]], faulty: Callable[..., Path]) -> None:
    listener, agent = run(faulty({}), 'limits = {user = "nobody-of-that-name"}')
    event = listener.wait("event", code="limits-not-set")[0]
    assert "nobody-of-that-name" in event.body["detail"]["text"]
    assert agent.process.poll() is None


def test_a_model_that_runs_elsewhere_is_told_and_every_report_says_where(
    run: Callable[..., tuple[Any, Any]], faulty: Callable[..., Path]
) -> None:
    listener, _ = run(faulty({}, executed_on=["CPU"]), 'device = "AUTO:NPU,CPU"')
    (event,) = listener.wait("event", code="fell-back")
    assert event.body["lvl"] == "warning"
    assert event.body["detail"] == {"asked": ["NPU"], "executed_on": ["CPU"]}
    assert listener.wait("tele")[0].body["exec"] == ["CPU"]


def test_a_crash_of_one_of_two_workers_leaves_no_gap_to_an_application(
    broker: Any, listen: Start, start_agent: Start, agent_toml: Toml, tmp_path: Path
) -> None:
    listener = listen(broker.port)
    more = 'workers = 2\nsource = {kind = "requests"}\n'
    agent = start_agent(agent_toml(broker.port, more=more, rate_hz=0))
    listener.wait("event", 2, code="model-ready")
    answered, stopped = [], threading.Event()

    def ask() -> None:
        with Client("kws", folder=tmp_path / "run") as model:
            while not stopped.is_set():
                answered.append(model(np.ones((1, 4), np.float32), deadline_s=30)["y"].shape)

    thread = threading.Thread(target=ask)
    thread.start()
    for number in (signal.SIGSEGV, signal.SIGKILL):
        before = len(listener.of("event", code="worker-restarted"))
        os.kill(agent.workers()[0], number)
        listener.wait("event", before + 1, code="worker-restarted")
    count = len(answered)
    listener.wait("tele", len(listener.of("tele")) + 2)
    stopped.set()
    thread.join(30)
    assert len(answered) > count > 0
    assert set(answered) == {(1, 2)}
    assert sum(sum(one.body.get("err", {}).values()) for one in listener.of("tele")) == 0
