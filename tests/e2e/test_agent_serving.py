"""Applications and a real agent: over the socket and over HTTP, through the deaths of workers and of the gateway."""

import http.client
import json
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit.fleet._brokers import free_port
from edgekit_agent.client import Client, ClientError, ModelGone
from tests.e2e.conftest import AgentProcess, BrokerProcess, Listener, wait_for

pytestmark = pytest.mark.slow
NEEDS_H11 = pytest.importorskip("h11", reason="needs h11: pip install 'edgekit-agent[serve]'")

SERVED = """workers = {workers}
[model.source]
kind = "requests"
{more}
"""


@pytest.fixture
def run_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The agent's folder of sockets, which applications find by themselves too."""
    folder = tmp_path / "run"
    monkeypatch.setenv("EDGEKIT_RUN_DIR", str(folder))
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(folder))
    return folder


def row(value: float) -> "np.ndarray[Any, np.dtype[np.float32]]":
    return np.full((1, 4), value, np.float32)


def asked(port: int, value: float) -> tuple[int, Any]:
    """Ask over HTTP."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    body = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [value] * 4}]}
    try:
        connection.request("POST", "/v2/models/kws/infer", json.dumps(body))
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    except OSError as exc:
        return 0, str(exc)
    finally:
        connection.close()


def test_requests_are_answered_and_reported(
    broker: BrokerProcess,
    listen: Callable[[int], Listener],
    start_agent: Callable[..., AgentProcess],
    agent_toml: Callable[..., str],
    run_dir: Path,
) -> None:
    heard = listen(broker.port)
    agent = start_agent(agent_toml(broker.port, rate_hz=0, more=SERVED.format(workers=1, more="")))
    with Client("kws", patience_s=60) as model:
        for value in range(20):
            assert model(row(value))["y"].tolist() == [[value, value]]
    report = heard.wait("tele", model="kws")[0].body
    assert report["n"] > 0
    assert set(report["lat"]) == {"pre", "infer", "post", "e2e", "queue"}
    assert report["queue"] == 0
    assert agent.stop() == 0
    assert not (run_dir / "kws.sock").exists()
    with pytest.raises(ModelGone):
        Client("kws", patience_s=0.1)


def test_killed_workers_cost_no_request(
    start_agent: Callable[..., AgentProcess], agent_toml: Callable[..., str], run_dir: Path
) -> None:
    """Two workers: while one is started again, the other serves; what the dead one had is asked again."""
    assert run_dir.name == "run"
    agent = start_agent(agent_toml(9, rate_hz=0, more=SERVED.format(workers=2, more="")))
    stop = threading.Event()
    wrong: list[object] = []
    counts = [0] * 4

    def ask(number: int) -> None:
        with Client("kws", patience_s=60) as model:
            while not stop.is_set():
                value = float(1000 * number + counts[number])
                try:
                    if model(row(value))["y"][0, 0] != value:
                        wrong.append(value)
                except ClientError as exc:
                    wrong.append(exc)
                counts[number] += 1

    threads = [threading.Thread(target=ask, args=[number]) for number in range(len(counts))]
    for thread in threads:
        thread.start()
    for _ in range(3):
        _more(counts)
        os.kill(wait_for(agent.workers, "a worker")[0], signal.SIGKILL)
    _more(counts)
    stop.set()
    for thread in threads:
        thread.join()
    assert wrong == []


def _more(counts: list[int]) -> None:
    """Wait until each application has got some more answers."""
    before = list(counts)
    wait_for(lambda: all(now > then + 5 for now, then in zip(counts, before, strict=True)), "answers for everyone")


def test_http_is_served_and_comes_back_when_the_gateway_dies(
    broker: BrokerProcess,
    listen: Callable[[int], Listener],
    start_agent: Callable[..., AgentProcess],
    agent_toml: Callable[..., str],
    run_dir: Path,
) -> None:
    assert run_dir.name == "run"
    heard, port = listen(broker.port), free_port()
    more = SERVED.format(workers=1, more=f'[serve]\nhttp = "127.0.0.1:{port}"')
    agent = start_agent(agent_toml(broker.port, rate_hz=0, more=more))
    wait_for(lambda: asked(port, 3)[0] == 200, "an answer over HTTP")
    assert asked(port, 4)[1]["outputs"][0]["data"] == [4.0, 4.0]
    os.kill(_gateway(agent), signal.SIGKILL)
    (event,) = heard.wait("event", code="gateway-ended")
    assert event.body["detail"]["exit_code"] == -signal.SIGKILL
    wait_for(lambda: asked(port, 5)[0] == 200, "an answer of the next gateway")
    gateway = _gateway(agent)
    assert agent.stop() == 0
    wait_for(lambda: not Path(f"/proc/{gateway}").exists(), "the end of the gateway")


def _gateway(agent: AgentProcess) -> int:
    lines = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in agent.workers()}
    return next(pid for pid, line in lines.items() if b"edgekit_agent.gateway" in line)


def test_a_port_that_is_taken_is_told_and_tried_again(
    broker: BrokerProcess,
    listen: Callable[[int], Listener],
    start_agent: Callable[..., AgentProcess],
    agent_toml: Callable[..., str],
    run_dir: Path,
) -> None:
    assert run_dir.name == "run"
    heard = listen(broker.port)
    more = SERVED.format(workers=1, more=f'[serve]\nhttp = "127.0.0.1:{broker.port}"')
    start_agent(agent_toml(broker.port, rate_hz=0, more=more))
    (event, *_) = heard.wait("event", code="gateway-ended", count=2)
    assert "cannot be listened on: Address already in use" in event.body["detail"]["stderr"][0]
    begin = time.monotonic()
    with Client("kws", patience_s=60) as model:
        assert model(row(2))["y"][0, 0] == 2
    assert time.monotonic() - begin < 60
