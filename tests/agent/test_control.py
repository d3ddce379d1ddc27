"""The control socket: one question, one answer; clients that are slow, loud or many disturb nobody."""

import json
import os
import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgekit_agent import rundir
from edgekit_agent.control import MOST_CLIENTS, MOST_QUESTION_BYTES, PATIENCE_S, ControlServer, ask
from edgekit_agent.errors import AgentAwayError

LARGE: dict[str, object] = {"text": "x" * 3_000_000}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A path that is longer than a socket's address may be."""
    folder = tmp_path / ("long" * 30)
    folder.mkdir()
    return folder / "control.sock"


@pytest.fixture
def server(path: Path) -> Iterator[ControlServer]:
    made = ControlServer(path, lambda question: dict(LARGE) if question == "large" else {"asked": question})
    yield made
    made.close()


@pytest.fixture
def turning(server: ControlServer) -> Iterator[None]:
    """Lets the server turn as the supervisor does."""
    stop = threading.Event()

    def turn() -> None:
        while not stop.wait(0.002):
            server.poll(0.0)

    thread = threading.Thread(target=turn)
    thread.start()
    yield
    stop.set()
    thread.join()


def turn(server: ControlServer, now_s: float = 0.0, times: int = 5) -> None:
    for _ in range(times):
        server.poll(now_s)


def closed(connection: socket.socket) -> bool:
    connection.settimeout(5)
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


@pytest.mark.usefixtures("turning")
def test_a_question_is_answered(path: Path) -> None:
    assert ask(path, "status") == {"asked": "status"}


@pytest.mark.usefixtures("turning")
def test_an_answer_larger_than_a_socket_holds_comes_whole(path: Path) -> None:
    assert ask(path, "large") == LARGE


@pytest.mark.usefixtures("server")
def test_only_its_owner_may_open_it(path: Path) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_socket_of_an_ended_process_is_replaced_and_ours_goes_with_us(path: Path) -> None:
    path.write_text("left behind")
    server = ControlServer(path, lambda _: {})
    assert path.is_socket()
    server.close()
    assert not path.exists()


def test_a_socket_that_another_process_listens_on_is_left_to_it(server: ControlServer, path: Path) -> None:
    with pytest.raises(OSError, match="another process listens there"):
        ControlServer(path, lambda _: {})
    with rundir.connect(path, 5) as client:
        client.sendall(b"status\n")
        turn(server)
        assert json.loads(client.recv(1000)) == {"asked": "status"}


def test_a_question_may_come_in_pieces(server: ControlServer, path: Path) -> None:
    with rundir.connect(path, 5) as client:
        for piece in (b"sta", b"tus", b"\n"):
            client.sendall(piece)
            turn(server)
        assert json.loads(client.recv(1000)) == {"asked": "status"}


def test_a_client_that_says_nothing_is_dropped_in_its_time(server: ControlServer, path: Path) -> None:
    with rundir.connect(path, 5) as client:
        turn(server, 10.0)
        assert server.next_time() == 10.0 + PATIENCE_S
        turn(server, 9.9 + PATIENCE_S)
        assert server.next_time() is not None
        turn(server, 10.0 + PATIENCE_S)
        assert server.next_time() is None
        assert closed(client)


def test_a_client_that_does_not_read_is_dropped_and_others_are_answered(server: ControlServer, path: Path) -> None:
    with rundir.connect(path, 5) as lazy, rundir.connect(path, 5) as other:
        lazy.sendall(b"large\n")
        turn(server, times=50)
        other.sendall(b"status\n")
        turn(server)
        assert json.loads(other.recv(1000)) == {"asked": "status"}
        assert server.next_time() == PATIENCE_S
        turn(server, PATIENCE_S)
        assert server.next_time() is None


def test_a_question_without_end_is_dropped(server: ControlServer, path: Path) -> None:
    with rundir.connect(path, 5) as client:
        client.sendall(b"x" * (MOST_QUESTION_BYTES + 1))
        turn(server)
        assert closed(client)


def test_there_are_never_more_than_a_few_clients(server: ControlServer, path: Path) -> None:
    clients = [rundir.connect(path, 5) for _ in range(MOST_CLIENTS + 1)]
    turn(server, times=20)
    assert closed(clients[-1])
    clients[0].sendall(b"status\n")
    turn(server)
    assert json.loads(clients[0].recv(1000)) == {"asked": "status"}
    for client in clients:
        client.close()
    turn(server)
    assert server.next_time() is None


def test_garbage_is_a_question_like_any_other(server: ControlServer, path: Path) -> None:
    with rundir.connect(path, 5) as client:
        client.sendall(bytes(range(128, 200)) + b"\n")
        turn(server)
        assert "asked" in json.loads(client.recv(1000))


def test_where_no_agent_listens_that_is_said(tmp_path: Path) -> None:
    with pytest.raises(AgentAwayError, match=r"no agent answers at '.*control\.sock': No such file"):
        ask(tmp_path / "control.sock", "status")
    with pytest.raises(AgentAwayError, match="No such file"):
        ask(tmp_path / "nowhere" / "control.sock", "status")


@pytest.mark.parametrize("answer", [b"", b"[1]", b"\xff", b"[" * 100_000], ids=["none", "list", "bytes", "deep"])
def test_what_answers_something_else_is_no_agent(tmp_path: Path, answer: bytes) -> None:
    with rundir.listen(tmp_path / "a.sock", 0o600) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(100)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(AgentAwayError, match="is no agent"):
            ask(tmp_path / "a.sock", "status")
        thread.join()


def test_the_folder_is_that_of_the_service_manager_then_of_root_then_of_the_user(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RUNTIME_DIRECTORY", "/run/a:/run/b")
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/7")
    assert rundir.default_folder() == Path("/run/a")
    monkeypatch.delenv("RUNTIME_DIRECTORY")
    monkeypatch.setattr(os, "geteuid", lambda: 7)
    assert rundir.default_folder() == Path("/run/user/7/edgekit")
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert rundir.known_folders() == (Path("/run/user/7/edgekit"), Path("/run/edgekit"))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert rundir.default_folder() == Path("/run/edgekit")
