"""Where answers go: files that are rotated, functions that fail, a supervisor that does not read."""

import json
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edgekit_agent.answers import IN_FLIGHT, Answers
from edgekit_agent.config import AgentConfig
from edgekit_agent.errors import ConfigError
from edgekit_agent.sinks import open_sinks
from edgekit_agent.sinks.base import Sink, Sinks, Told
from edgekit_agent.sinks.broker import BrokerSink
from edgekit_agent.sinks.file import FileSink
from edgekit_agent.sinks.settings import SinkConfig
from edgekit_agent.transport.base import Will
from edgekit_agent.transport.memory import MemoryBroker, MemoryTransport

TOLD: Told = {
    "ts": 1,
    "model": "kws",
    "ver": "1.0.0",
    "classes": [{"class": 3, "label": "früh", "score": 0.5}],
}


@pytest.fixture
def control() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The supervisor's end of a control socket, and the worker's."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        yield ours, theirs


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def file_sink() -> Iterator[Callable[..., FileSink]]:
    """Makes sinks that are closed afterwards."""
    made: list[FileSink] = []

    def make(path: Path, *, max_bytes: int = 1000, keep: int = 1) -> FileSink:
        made.append(FileSink(path, max_bytes=max_bytes, keep=keep))
        return made[-1]

    yield make
    for one in made:
        one.close()


FileSinks = Callable[..., FileSink]


def test_a_file_has_a_document_a_line(tmp_path: Path, file_sink: FileSinks) -> None:
    sink = file_sink(tmp_path / "out" / "a.jsonl", max_bytes=10_000, keep=1)
    for number in range(3):
        assert sink.put({**TOLD, "ts": number})
    sink.flush()
    assert [one["ts"] for one in lines(tmp_path / "out" / "a.jsonl")] == [0, 1, 2]
    assert lines(tmp_path / "out" / "a.jsonl")[0]["classes"] == TOLD["classes"]


def test_full_files_are_set_aside_and_the_oldest_goes(tmp_path: Path, file_sink: FileSinks) -> None:
    size = len(json.dumps({"n": 10}, separators=(",", ":"))) + 1
    sink = file_sink(tmp_path / "a", max_bytes=2 * size, keep=2)
    for number in range(10, 21):
        sink.put({"n": number})
    sink.flush()
    found = {path.name: [one["n"] for one in lines(path)] for path in tmp_path.iterdir()}
    assert found == {"a": [20], "a.1": [18, 19], "a.2": [16, 17]}


def test_without_any_to_keep_a_full_file_begins_anew(tmp_path: Path, file_sink: FileSinks) -> None:
    sink = file_sink(tmp_path / "a", max_bytes=20, keep=0)
    for number in range(10, 20):
        sink.put({"n": number})
    sink.flush()
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").stat().st_size <= 20


def test_it_goes_on_behind_what_is_there_and_a_torn_line_stays_alone(tmp_path: Path, file_sink: FileSinks) -> None:
    path = tmp_path / "a"
    path.write_bytes(b'{"n":1}\n{"n":')
    sink = file_sink(path, max_bytes=1000, keep=1)
    sink.put({"n": 3})
    sink.flush()
    assert path.read_bytes() == b'{"n":1}\n{"n":\n{"n":3}\n'


def test_a_document_longer_than_a_file_is_dropped(tmp_path: Path, file_sink: FileSinks) -> None:
    assert not file_sink(tmp_path / "a", max_bytes=10, keep=1).put(TOLD)


def sinks_of(*sinks: Sink, clock: Callable[[], float] = lambda: 0.0) -> Sinks:
    return Sinks(sinks, clock)


def test_a_disk_that_is_full_is_counted_and_tried_again(tmp_path: Path, file_sink: FileSinks) -> None:
    full = file_sink(Path("/dev/full"), max_bytes=1000, keep=1)
    sinks = sinks_of(full)
    sinks.put(lambda: TOLD)
    sinks.flush()
    assert sinks.take_counts() == {"file": {"taken": 1, "failed": 1}}
    assert sinks.take_failures() == ["sink 'file' failed: OSError: [Errno 28] No space left on device"]
    assert sinks.take_failures() == []
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    sinks = sinks_of(file_sink(in_the_way / "a", max_bytes=1000, keep=1))
    sinks.put(lambda: TOLD)
    assert sinks.take_counts() == {"file": {"failed": 1}}
    in_the_way.unlink()
    sinks.put(lambda: TOLD)
    assert sinks.take_counts() == {"file": {"taken": 1}}


class Given:
    """A sink that keeps what it is given."""

    kind = "callback"

    def __init__(self, rate_hz: float = 0.0) -> None:
        """Take a rate."""
        self.rate_hz, self.found = rate_hz, list[Told]()

    def put(self, told: Told) -> bool:
        self.found.append(told)
        return True

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass


def test_a_rate_lets_through_an_even_share_and_counts_the_rest() -> None:
    now = [0.0]
    sink, made = Given(rate_hz=4), []
    sinks = sinks_of(sink, clock=lambda: now[0])
    for number in range(100):
        now[0] = number / 10
        sinks.put(lambda: made.append(1) or TOLD)  # type: ignore[func-returns-value]  # counts
    assert abs(len(sink.found) - 40) <= 1
    assert len(made) == len(sink.found)  # what nobody takes is not made
    assert sinks.take_counts() == {"callback": {"taken": len(sink.found), "dropped": 100 - len(sink.found)}}


def test_after_a_pause_there_is_no_burst() -> None:
    now = [0.0]
    sink = Given(rate_hz=1)
    sinks = sinks_of(sink, clock=lambda: now[0])
    for moment in (0.0, 100.0, 100.1, 100.2, 100.3):
        now[0] = moment
        sinks.put(lambda: TOLD)
    assert len(sink.found) <= 3


def test_answers_are_messages_to_the_supervisor(control: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = control
    assert BrokerSink(theirs, 10).put(TOLD)
    assert json.loads(ours.recv(1 << 20)) == {"type": "answer", "body": TOLD}


def test_a_supervisor_that_does_not_read_does_not_stop_the_worker(
    control: tuple[socket.socket, socket.socket],
) -> None:
    _, theirs = control
    sinks = sinks_of(BrokerSink(theirs, 0.0))
    for _ in range(5000):
        sinks.put(lambda: TOLD)
    counts = sinks.take_counts()["mqtt"]
    assert counts["taken"] + counts["dropped"] == 5000
    assert counts["dropped"] > 0


def test_an_answer_too_long_for_a_message_is_dropped(control: tuple[socket.socket, socket.socket]) -> None:
    assert not BrokerSink(control[1], 10).put({"x": "a" * 70_000})


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for modules, forgotten afterwards."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def callback(function: str, path: Path, control: socket.socket) -> Sinks:
    return Sinks(open_sinks([SinkConfig(kind="callback", function=function, path=str(path))], control))


def test_a_function_gets_every_answer(module: Path, control: tuple[socket.socket, socket.socket]) -> None:
    (module / "handler_a.py").write_text("found = []\ndef handle(answer):\n    found.append(answer)\n")
    sinks = callback("handler_a:handle", module, control[1])
    sinks.put(lambda: TOLD)
    assert sys.modules["handler_a"].found == [TOLD]


@pytest.mark.parametrize("body", ["1 / 0", "raise SystemExit(3)", "import sys; sys.exit()"])
def test_a_function_that_fails_is_counted_and_called_again(
    module: Path, control: tuple[socket.socket, socket.socket], body: str
) -> None:
    (module / "handler_b.py").write_text(f"calls = []\ndef handle(answer):\n    calls.append(1)\n    {body}\n")
    sinks = callback("handler_b:handle", module, control[1])
    for _ in range(3):
        sinks.put(lambda: TOLD)
    assert len(sys.modules["handler_b"].calls) == 3
    assert sinks.take_counts() == {"callback": {"failed": 3}}
    assert sinks.take_failures()[0].startswith("sink 'callback' failed: ")


@pytest.mark.parametrize(
    ("text", "function", "sentence"),
    [
        (None, "handler_c:handle", "cannot be imported: No module named"),
        ("1 / 0", "handler_c:handle", "cannot be imported: division by zero"),
        ("raise SystemExit", "handler_c:handle", "cannot be imported"),
        ("x = 1", "handler_c:handle", "cannot be imported"),
        ("handle = 1", "handler_c:handle", "cannot be called"),
    ],
)
def test_a_function_that_is_not_there_is_named(
    module: Path, control: tuple[socket.socket, socket.socket], text: str | None, function: str, sentence: str
) -> None:
    if text is not None:
        (module / "handler_c.py").write_text(text)
    with pytest.raises(ConfigError, match=sentence):
        callback(function, module, control[1])


@pytest.fixture
def broker() -> Iterator[tuple[MemoryBroker, MemoryTransport]]:
    broker = MemoryBroker()
    transport = MemoryTransport(broker)
    transport.start(lambda: Will(1, "ek/1/default/edge-1/state", b"{}"))
    yield broker, transport
    transport.stop()


def test_the_supervisor_publishes_answers_under_the_model_s_name(broker: tuple[MemoryBroker, MemoryTransport]) -> None:
    answers = Answers(AgentConfig(device="edge-1"), broker[1])
    assert answers.put("face finder", TOLD)
    ((topic, payload),) = broker[0].messages
    assert topic == "ek/1/default/edge-1/out/face finder"
    assert json.loads(payload) == TOLD


def test_without_a_connection_an_answer_is_lost(broker: tuple[MemoryBroker, MemoryTransport]) -> None:
    answers = Answers(AgentConfig(device="edge-1"), broker[1])
    broker[0].go_down()
    assert not answers.put("kws", TOLD)


def test_a_broker_that_takes_nothing_gets_no_more(broker: tuple[MemoryBroker, MemoryTransport]) -> None:
    answers = Answers(AgentConfig(device="edge-1"), broker[1])
    broker[0].drop_next = 1000
    assert sum(answers.put("kws", TOLD) for _ in range(200)) == IN_FLIGHT
    answers.taken(1)
    assert answers.put("kws", TOLD)
    assert not answers.put("kws", TOLD)
    answers.connected()
    assert answers.put("kws", TOLD)


@pytest.mark.parametrize("body", [{}, {**TOLD, "ts": "now"}, {**TOLD, "classes": 1}])
def test_what_is_no_answer_is_not_published(
    broker: tuple[MemoryBroker, MemoryTransport], body: dict[str, object]
) -> None:
    assert not Answers(AgentConfig(device="edge-1"), broker[1]).put("kws", body)
    assert broker[0].messages == []
