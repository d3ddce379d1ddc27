"""What the service manager hears of the agent, over a socket of its own."""

import contextlib
import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

Start = Callable[..., Any]


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """Listens as systemd does, and waits 4 s for a sign of life."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(60)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "4000000")
        yield listening


def heard(manager: socket.socket) -> str:
    return manager.recv(1000).decode()


def test_it_is_ready_and_works_though_the_broker_is_away_and_a_worker_hangs(
    manager: socket.socket, start_agent: Start, agent_toml: Callable[..., str]
) -> None:
    agent = start_agent(agent_toml(9, more="limits = {hang_s = 5}"))
    assert heard(manager) == "READY=1"
    assert heard(manager) == "WATCHDOG=1"
    os.kill(agent.worker(), signal.SIGSTOP)
    for _ in range(6):  # at least 6 s: the worker is found to hang meanwhile
        assert heard(manager) == "WATCHDOG=1"
    agent.process.terminate()
    while (said := heard(manager)) == "WATCHDOG=1":
        pass
    assert said == "STOPPING=1"


def test_one_that_is_stuck_is_not_said_to_work(
    manager: socket.socket, start_agent: Start, agent_toml: Callable[..., str]
) -> None:
    agent = start_agent(agent_toml(9))
    assert heard(manager) == "READY=1"
    os.kill(agent.pid, signal.SIGSTOP)
    manager.settimeout(4)
    with contextlib.suppress(TimeoutError):  # what was said before it stopped
        heard(manager)
        heard(manager)
    with pytest.raises(TimeoutError):
        heard(manager)
    os.kill(agent.pid, signal.SIGCONT)
