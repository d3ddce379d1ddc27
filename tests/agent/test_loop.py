"""The worker's timed loop, with the null runtime and a real socket."""

import json
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edgekit_agent import meter, runtimes
from edgekit_agent.config import ModelConfig
from edgekit_agent.flow import open_flow
from edgekit_agent.protocol import ExpHistogram
from edgekit_agent.sources.settings import SourceConfig

Run = Callable[..., list[dict[str, Any]]]


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs so many samples through a scripted model and returns the messages."""

    def run(count: int, rate_hz: float = 0, **script: Any) -> list[dict[str, Any]]:
        path = tmp_path / "m.null"
        spec = {"shape": [1, 2], "dtype": "float32"}
        path.write_text(json.dumps({"inputs": [{**spec, "name": "x"}], "outputs": [{**spec, "name": "y"}], **script}))
        session = runtimes.get("null").load(path)
        config = ModelConfig(name="m", path=str(path), source=SourceConfig(limit=count), rate_hz=rate_hz)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours, theirs:
            ours.send(b"\0")  # ends its wait at the end of the data
            found: list[dict[str, Any]] = []
            open_flow(theirs, session, config).run()
            theirs.shutdown(socket.SHUT_WR)
            while packet := ours.recv(1 << 20):
                found.append(json.loads(packet))
        return found

    return run


def total(messages: list[dict[str, Any]], key: str) -> int:
    return sum(message[key] for message in messages if message["type"] == "measured")


def test_every_inference_is_measured_and_the_end_is_told(run: Run) -> None:
    messages = run(50)
    assert total(messages, "n") == 50
    assert messages[-1] == {"type": "finished"}


def test_the_stages_add_up(run: Run) -> None:
    (message, _) = run(20, latency_ms=[3.0])
    stages = {name: ExpHistogram.from_json(one) for name, one in message["lat"].items()}
    assert {name: one.count for name, one in stages.items()} == dict.fromkeys(("pre", "infer", "post", "e2e"), 20)
    assert stages["infer"].minimum >= 0.003
    assert stages["e2e"].total == pytest.approx(sum(stages[name].total for name in ("pre", "infer", "post")))


def test_a_failed_inference_is_counted_with_its_kind_and_told_once(run: Run) -> None:
    (message, _) = run(10, faults={"2": "raise", "5": "raise"})
    assert (message["n"], message["err"]) == (8, {"ModelError": 2})
    assert message["failures"] == ["the script raises here"]


def test_a_rate_is_kept(run: Run) -> None:
    messages = run(20, rate_hz=40)
    assert total(messages, "drop") == 0
    assert sum(message["span_s"] for message in messages[:-1]) == pytest.approx(19 / 40, abs=0.25)


def test_periods_that_cannot_be_kept_are_counted_as_dropped(run: Run) -> None:
    messages = run(10, rate_hz=200, latency_ms=[20.0])
    # four periods of 5 ms an inference, three of them missed; a busy machine misses more
    assert total(messages, "drop") >= 20


def test_a_slow_rate_does_not_look_like_a_hang(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meter, "FLUSH_S", 0.05)
    messages = [message for message in run(2, rate_hz=2) if message["type"] == "measured"]
    assert len(messages) >= 4
    assert total(messages, "n") == 2


def test_when_asked_to_stop_it_sends_what_it_has(run: Run) -> None:
    def ask() -> None:
        signal.raise_signal(signal.SIGTERM)

    # signals are handled by the main thread, which is in the loop by then
    timer = threading.Timer(0.3, ask)
    timer.start()
    messages = run(100_000, latency_ms=[1.0])
    timer.join()
    assert {message["type"] for message in messages} == {"measured"}
    assert 0 < total(messages, "n") < 100_000


def test_the_classes_answered_are_counted(run: Run) -> None:
    (message, _) = run(9)
    assert message["stat"]["top1"] == {"0": 9}


def test_it_tells_what_inputs_are_like(run: Run) -> None:
    (message, _) = run(3)
    assert message["stat"]["in"]["x"]["n"] >= 1
