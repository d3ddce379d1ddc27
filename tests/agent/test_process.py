"""A worker process as the supervisor sees it, with workers that misbehave."""

import select
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edgekit_agent import process
from edgekit_agent.actions import WorkerId
from edgekit_agent.config import ModelConfig
from edgekit_agent.orders import orders_of
from edgekit_agent.process import WorkerProcess

PRELUDE = """
import json, os, signal, socket, sys, time
control = socket.socket(fileno=int(sys.argv[1]))
control.recv(1 << 20)
"""


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], WorkerProcess]]:
    """Starts a worker with this code in place of the real one's."""
    started: list[WorkerProcess] = []
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(process, "WORKER", "stand_in")

    def start(code: str) -> WorkerProcess:
        (tmp_path / "stand_in.py").write_text(PRELUDE + code)
        config = ModelConfig(name="m", path="m.null")
        started.append(WorkerProcess(WorkerId(config.name, 1), orders_of(config)))
        return started[-1]

    yield start
    for one in started:
        one.process.kill()
        one.process.wait()
        one.close()


def told(worker: WorkerProcess) -> tuple[list[dict[str, Any]], bool]:
    """Wait for the worker's socket, as the supervisor does."""
    ready, _, _ = select.select([worker.control], [], [], 30)
    assert ready
    return worker.messages()


def end_of(worker: WorkerProcess) -> dict[str, object]:
    while not told(worker)[1]:
        pass
    return worker.reap()


def test_its_messages_arrive_whole_and_in_order(start: Callable[[str], WorkerProcess]) -> None:
    worker = start(
        'for n in range(3):\n    control.send(json.dumps({"type": "x", "n": n, "text": "a" * 50000}).encode())\n'
    )
    found: list[dict[str, Any]] = []
    ended = False
    while not ended:
        messages, ended = told(worker)
        found += messages
    assert [message["n"] for message in found] == [0, 1, 2]


@pytest.mark.parametrize("name", ["SIGSEGV", "SIGABRT", "SIGKILL"])
def test_a_signal_is_named(start: Callable[[str], WorkerProcess], name: str) -> None:
    assert end_of(start(f"os.kill(os.getpid(), signal.{name})"))["signal"] == name


def test_an_exit_code_is_kept(start: Callable[[str], WorkerProcess]) -> None:
    assert end_of(start("sys.exit(7)"))["exit_code"] == 7


def test_the_last_lines_are_kept_even_without_an_end_of_line(start: Callable[[str], WorkerProcess]) -> None:
    code = "for n in range(50):\n    print('line', n, file=sys.stderr)\n"
    code += "sys.stderr.write('fatal')\nsys.stderr.flush()\nos._exit(1)"
    end = end_of(start(code))
    assert end["stderr"] == [*(f"line {number}" for number in range(31, 50)), "fatal"]


def test_a_long_line_is_cut(start: Callable[[str], WorkerProcess]) -> None:
    lines = end_of(start('sys.stderr.write("x" * 9000 + "\\n")'))["stderr"]
    assert lines == ["x" * process.MAX_LINE]


def test_a_native_crash_leaves_its_python_stack(start: Callable[[str], WorkerProcess]) -> None:
    lines = end_of(start("import ctypes\nctypes.string_at(0)"))["stderr"]
    assert isinstance(lines, list)
    assert any("Segmentation fault" in line for line in lines)
    assert any("stand_in" in line for line in lines)


def test_one_that_closed_its_socket_and_stays_is_killed(
    start: Callable[[str], WorkerProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The supervisor waits for no one: it has other models and a broker to look after."""
    monkeypatch.setattr(process, "END_TIMEOUT_S", 0.3)
    worker = start("control.close()\ntime.sleep(1000)")
    begin = time.monotonic()
    assert end_of(worker)["signal"] == "SIGKILL"
    assert time.monotonic() - begin < 20


def test_one_that_ignores_the_request_to_stop_is_killed(start: Callable[[str], WorkerProcess]) -> None:
    worker = start(
        'signal.signal(signal.SIGTERM, signal.SIG_IGN)\ncontrol.send(b\'{"type": "ready"}\')\ntime.sleep(1000)'
    )
    assert told(worker) == ([{"type": "ready"}], False)
    assert worker.stop(timeout_s=0.3) == []
    assert worker.process.poll() == -9


def test_what_it_says_when_it_is_stopped_is_heard(start: Callable[[str], WorkerProcess]) -> None:
    worker = start(
        'def bye(*_):\n    control.send(b\'{"type": "measured"}\')\n    sys.exit(0)\n'
        'signal.signal(signal.SIGTERM, bye)\ncontrol.send(b\'{"type": "ready"}\')\ntime.sleep(1000)'
    )
    told(worker)
    assert worker.stop() == [{"type": "measured"}]


def test_what_one_has_used_is_its_own(start: Callable[[str], WorkerProcess]) -> None:
    big = end_of(start("held = bytearray(b'x') * (200 << 20)\nfor n in range(3 * 10**6): pass"))
    small = end_of(start("sys.exit(0)"))
    assert float(str(big["max_rss_kb"])) > 200_000  # at least what this process had when it made it: the kernel's count
    assert float(str(big["user_s"])) > float(str(small["user_s"]))


@pytest.mark.parametrize(
    "code",
    [
        "bytearray(b'x') * (1 << 60)",
        "sys.stderr.write(\"terminate called after throwing an instance of 'std::bad_alloc'\\n\")\nos.abort()",
    ],
    ids=["of Python", "of a library"],
)
def test_want_of_memory_is_told_apart(start: Callable[[str], WorkerProcess], code: str) -> None:
    assert end_of(start(code))["out_of_memory"] is True


def test_a_kill_by_hand_is_no_want_of_memory(start: Callable[[str], WorkerProcess]) -> None:
    assert "out_of_memory" not in end_of(start("os.kill(os.getpid(), signal.SIGKILL)"))


def test_a_kill_while_the_system_wants_memory_is_told_apart(
    start: Callable[[str], WorkerProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = start("os.kill(os.getpid(), signal.SIGKILL)")
    monkeypatch.setattr(process, "system_killed", lambda: worker._killed_before + 1)
    assert end_of(worker)["out_of_memory"] is True
