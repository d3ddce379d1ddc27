"""What an agent does when its worker, its broker or itself is killed."""

import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

Start = Callable[..., Any]
Toml = Callable[..., str]
GONE_S = 20.0


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def wait_until(condition: Callable[[], Any], timeout_s: float = GONE_S) -> bool:
    pause = threading.Event()
    for _ in range(int(timeout_s / 0.05)):
        if condition():
            return True
        pause.wait(0.05)
    return False


def missing(listener: Any) -> set[int]:
    """Return the sequence numbers that were never heard, up to the last one."""
    heard = {one.body["seq"] for one in listener.of("tele")}
    return set(range(1, max(heard) + 1)) - heard


def test_a_worker_that_dies_of_a_signal_is_reported_and_started_again(
    broker: Any, listen: Start, start_agent: Start, agent_toml: Toml
) -> None:
    listener = listen(broker.port)
    agent = start_agent(agent_toml(broker.port))
    listener.wait("tele")
    first = agent.worker()
    os.kill(first, signal.SIGSEGV)
    (crash,) = listener.wait("event", code="worker-crashed")
    assert crash.body["detail"]["signal"] == "SIGSEGV"
    assert any("Segmentation fault" in line for line in crash.body["detail"]["stderr"])
    assert (crash.body["model"], crash.body["lvl"]) == ("kws", "error")
    listener.wait("event", code="worker-restarted")
    before = len(listener.of("tele"))
    listener.wait("tele", before + 2)
    assert agent.worker() != first
    assert missing(listener) == set()


def test_a_worker_that_stops_answering_is_ended_and_started_again(
    broker: Any, listen: Start, start_agent: Start, agent_toml: Toml
) -> None:
    listener = listen(broker.port)
    agent = start_agent(agent_toml(broker.port, more="limits = {hang_s = 5}"))
    listener.wait("tele")
    first = agent.worker()
    os.kill(first, signal.SIGSTOP)
    (hung,) = listener.wait("event", code="worker-hung")
    assert hung.body["detail"]["signal"] == "SIGKILL"
    before = len(listener.of("tele"))
    listener.wait("event", code="worker-restarted")
    listener.wait("tele", before + 1)
    assert not alive(first)


def test_one_of_several_workers_dies_and_the_others_go_on(
    broker: Any, listen: Start, start_agent: Start, agent_toml: Toml
) -> None:
    listener = listen(broker.port)
    agent = start_agent(agent_toml(broker.port, more="workers = 2"))
    listener.wait("event", 2, code="model-ready")
    listener.wait("tele", 2)
    os.kill(agent.workers()[0], signal.SIGKILL)
    (crash,) = listener.wait("event", code="worker-crashed")
    assert crash.body["detail"]["worker"] in {0, 1}
    (again,) = listener.wait("event", code="worker-restarted")
    assert again.body["detail"]["worker"] == crash.body["detail"]["worker"]
    before = len(listener.of("tele"))
    listener.wait("tele", before + 2)
    assert len(agent.workers()) == 2
    assert missing(listener) == set()


def test_a_model_that_cannot_be_loaded_is_told_with_a_hint(
    broker: Any, listen: Start, start_agent: Start, agent_toml: Toml, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.tflite"
    broken.write_bytes(b"not a model")
    listener = listen(broker.port)
    agent = start_agent(agent_toml(broker.port, model=broken))
    event = listener.wait("event", 2, code="model-load-failed")[0]
    assert "broken.tflite" in event.body["detail"]["text"]
    assert agent.process.poll() is None


def test_a_failing_inference_is_counted_and_the_rest_goes_on(
    broker: Any, listen: Start, start_agent: Start, agent_toml: Toml, tmp_path: Path
) -> None:
    script = tmp_path / "raises.null"
    text = (tmp_path / "model.null").read_text()
    script.write_text(text.replace('"latency_ms"', '"faults": {"3": "raise", "5": "raise"}, "latency_ms"'))
    listener = listen(broker.port)
    start_agent(agent_toml(broker.port, model=script))
    listener.wait("event", code="inference-failed")
    listener.wait("tele", 2)
    assert sum(one.body.get("err", {}).get("ModelError", 0) for one in listener.of("tele")) == 2


@pytest.mark.parametrize("engine", ["mosquitto", "iotcore"])
def test_a_broker_that_is_killed_and_comes_back_loses_no_report(
    make_broker: Start, listen: Start, start_agent: Start, agent_toml: Toml, engine: str
) -> None:
    broker = make_broker(engine)
    broker.start()
    listener = listen(broker.port)
    start_agent(agent_toml(broker.port))
    listener.wait("tele", 3)
    broker.kill()
    threading.Event().wait(4)  # some windows close meanwhile
    broker.start()
    last = max(one.body["seq"] for one in listener.of("tele"))
    assert wait_until(lambda: max(one.body["seq"] for one in listener.of("tele")) >= last + 10, 60)
    assert wait_until(lambda: not missing(listener)), f"lost: {missing(listener)}"
    assert len(listener.of("state", st="online")) >= 2


def test_a_broker_that_is_away_at_the_start_gets_everything_later(
    make_broker: Start, listen: Start, start_agent: Start, agent_toml: Toml
) -> None:
    broker = make_broker()
    agent = start_agent(agent_toml(broker.port))
    agent.worker()
    assert wait_until(lambda: "event=disconnected" in agent.log)
    threading.Event().wait(3)
    listener = listen(broker.port, wait=False)
    broker.start()
    listener.wait("tele", 5)
    listener.wait("state", st="online")
    assert missing(listener) == set()


def test_a_clean_stop_leaves_a_goodbye_and_no_process(
    broker: Any, listen: Start, start_agent: Start, agent_toml: Toml
) -> None:
    listener = listen(broker.port)
    agent = start_agent(agent_toml(broker.port))
    listener.wait("tele")
    worker = agent.worker()
    assert agent.stop() == 0
    assert not alive(worker)
    (state,) = [one for one in listen(broker.port).wait("state") if one.retained]
    assert (state.body["st"], state.body["why"]) == ("offline", "stop")
    listener.wait("event", code="agent-stopped")
    assert missing(listener) == set()


def test_a_stop_ends_a_worker_that_is_stopped_too(
    broker: Any, listen: Start, start_agent: Start, agent_toml: Toml
) -> None:
    listener = listen(broker.port)
    agent = start_agent(agent_toml(broker.port))
    listener.wait("tele")
    worker = agent.worker()
    os.kill(worker, signal.SIGSTOP)
    assert agent.stop() == 0
    assert not alive(worker)


def test_a_killed_agent_leaves_no_worker_and_its_will_is_published(
    broker: Any, listen: Start, start_agent: Start, agent_toml: Toml
) -> None:
    listener = listen(broker.port)
    agent = start_agent(agent_toml(broker.port))
    (online,) = listener.wait("state", st="online")[:1]
    listener.wait("tele")
    worker = agent.worker()
    agent.process.kill()
    agent.process.wait()
    assert wait_until(lambda: not alive(worker))
    (will,) = listener.wait("state", st="offline")
    assert will.body["bd"] == online.body["bd"]
    assert "why" not in will.body


def test_after_a_restart_the_birth_number_is_higher_and_the_old_will_can_be_told_apart(
    broker: Any, listen: Start, start_agent: Start, agent_toml: Toml
) -> None:
    listener = listen(broker.port)
    for count in (1, 2):
        agent = start_agent(agent_toml(broker.port))
        listener.wait("event", count, code="model-ready")
        agent.process.kill()
        agent.process.wait()
    assert sorted({one.body["bd"] for one in listener.of("state", st="online")}) == [1, 2]


class OldBroker:
    """Closes on a CONNECT of MQTT 5 and passes everything else on to a broker, as one that is too old would."""

    def __init__(self, behind: int) -> None:
        """Listen on a free port."""
        self._behind = behind
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])
        self.versions: list[int] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(client,), daemon=True).start()

    def _talk(self, client: socket.socket) -> None:
        first = client.recv(4096)
        name = first.find(b"MQTT")
        self.versions.append(first[name + 4])
        if name < 0 or first[name + 4] == 5:
            client.close()
            return
        broker = socket.create_connection(("127.0.0.1", self._behind))
        broker.sendall(first)
        back = threading.Thread(target=self._pass, args=(broker, client), daemon=True)
        back.start()
        self._pass(client, broker)
        back.join()
        client.close()
        broker.close()

    @staticmethod
    def _pass(source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            return

    def close(self) -> None:
        self._server.close()


@pytest.fixture
def old_broker(broker: Any) -> Iterator[OldBroker]:
    one = OldBroker(broker.port)
    yield one
    one.close()


def test_a_broker_that_knows_only_3_1_1_is_served(
    broker: Any, old_broker: OldBroker, listen: Start, start_agent: Start, agent_toml: Toml
) -> None:
    listener = listen(broker.port)
    agent = start_agent(agent_toml(old_broker.port))
    listener.wait("tele", 2)
    assert old_broker.versions == [5, 4]
    assert "event=connected protocol=3.1.1" in agent.log
    assert agent.stop() == 0
    listener.wait("state", why="stop")


def test_a_version_that_was_asked_for_is_kept(old_broker: OldBroker, start_agent: Start, agent_toml: Toml) -> None:
    agent = start_agent(agent_toml(old_broker.port, protocol="5"))
    assert wait_until(lambda: len(old_broker.versions) >= 2)
    assert set(old_broker.versions) == {5}
    assert agent.stop() == 0


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "error: 'device' is missing"),
        ('device = "edge-1"\nsit = "x"', "hint: did you mean 'site'?"),
        ('device = "edge-1"\nstate_dir = "/proc/nothing"', "error: state_dir '/proc/nothing' cannot be written"),
        ('device = "edge-1"\n[broker]\npassword_file = "gone"', "error: broker.password_file"),
        ('device = "edge-1"\n[broker]\nurl = "mqtts://h"\nca = "gone"', "error: a certificate of the broker's"),
    ],
    ids=["missing", "unknown", "state", "password", "certificate"],
)
def test_a_wrong_configuration_ends_with_3_and_one_sentence(start_agent: Start, text: str, sentence: str) -> None:
    agent = start_agent(text)
    assert agent.process.wait(60) == 3
    assert sentence in agent.log
    assert "Traceback" not in agent.log


def test_wrong_usage_ends_with_2(agent_python: tuple[str, dict[str, str]]) -> None:
    python, extra = agent_python
    command = [python, "-P", "-m", "edgekit_agent", "runn"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **extra})
    assert done.returncode == 2
    assert "invalid choice: 'runn'" in done.stderr
