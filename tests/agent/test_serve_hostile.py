"""Applications that are wrong, slow or dead at a worker: it lives, and the others get their answers."""

import fcntl
import json
import mmap
import os
import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit_agent.client import Client, ModelGone
from edgekit_agent.config import ServeConfig
from edgekit_agent.errors import ProtocolError
from edgekit_agent.serve.memory import Memory
from edgekit_agent.serve.wire import MAX_HELLO, Hello, Replies, Request, Requests, Status, free_of
from tests.agent.serving import Served, raw

SCRIPT = {
    "inputs": [{"name": "x", "shape": [-1, 4], "dtype": "float32"}],
    "outputs": [{"name": "y", "shape": [-1, 2], "dtype": "float32"}],
}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One worker for all: none of these applications may hurt it."""
    folder = tmp_path_factory.mktemp("hostile")
    model = folder / "m.null"
    model.write_text(json.dumps(SCRIPT))
    one = Served(folder, model, ServeConfig(max_batch=4, clients=8, memory_mb=1))
    one.start()
    yield one
    assert one.workers[0].process.poll() is None
    one.close()


@pytest.fixture(autouse=True)
def _others_are_served(served: Served) -> Iterator[None]:
    """Ask before and after: as an application that does nothing wrong."""
    _ask(served)
    yield
    _ask(served)


def _ask(served: Served) -> None:
    with Client("m", folder=served.folder) as model:
        assert model(np.full((1, 4), 6, np.float32))["y"].tolist() == [[6, 6]]


def greeted(served: Served) -> tuple[socket.socket, Hello]:
    end = raw(served)
    return end, Hello.from_bytes(end.recv(MAX_HELLO))


def attached(served: Served, size: int = 4096) -> tuple[socket.socket, Hello, Memory]:
    end, hello = greeted(served)
    memory = Memory.make(size, 1 << 30)
    socket.send_fds(end, [b'{"v": 1}'], [memory.handle])
    return end, hello, memory


def ended(end: socket.socket) -> list[bytes]:
    """Return what a worker says before it ends the connection."""
    said: list[bytes] = []
    with end:
        while True:
            try:
                message = end.recv(10_000)
            except ConnectionResetError:
                continue
            if not message:
                return said
            said.append(message)


def refusal(end: socket.socket) -> str:
    number, status, text = Replies(()).unpack(ended(end)[-1])
    assert (number, status) == (0, Status.BAD)
    return str(text)


def descriptors(served: Served) -> int:
    return len(list(Path(f"/proc/{served.workers[0].process.pid}/fd").iterdir()))


def settled(served: Served, before: int) -> None:
    """Wait until a worker has no more descriptors than it had."""
    deadline = time.monotonic() + 30
    while descriptors(served) > before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert descriptors(served) <= before


# --- what is brought as memory


def _unsealed(size: int = 4096) -> int:
    handle = os.memfd_create("t", os.MFD_ALLOW_SEALING)
    os.ftruncate(handle, size)
    return handle


def _sealed(size: int) -> int:
    handle = _unsealed(size)
    fcntl.fcntl(handle, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
    return handle


def _read_only() -> int:
    handle = _unsealed()
    fcntl.fcntl(handle, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_WRITE)
    return handle


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (_unsealed, "F_SEAL_SHRINK"),
        (lambda: os.open("/dev/null", os.O_RDWR), "no memfd"),
        (lambda: os.open("/", os.O_RDONLY), "no memfd"),
        (lambda: os.pipe()[0], "no memfd"),
        (lambda: _sealed(0), "0 bytes"),
        (lambda: _sealed(2 << 20), "2097152 bytes"),
        (_read_only, "cannot be mapped"),
    ],
    ids=["could-shrink", "device", "folder", "pipe", "empty", "too-large", "read-only"],
)
def test_memory_that_could_hurt_is_not_taken(served: Served, make: "object", words: str) -> None:
    end, _ = greeted(served)
    assert callable(make)
    handle = make()
    socket.send_fds(end, [b'{"v": 1}'], [handle])
    assert words in refusal(end)
    os.close(handle)


def test_a_first_message_without_a_descriptor_ends_the_connection(served: Served) -> None:
    end, _ = greeted(served)
    end.send(b'{"v": 1}')
    assert "does not bring one descriptor" in refusal(end)


def test_many_descriptors_are_closed(served: Served) -> None:
    before = descriptors(served)
    handles = [os.open("/dev/null", os.O_RDWR) for _ in range(20)]
    for _ in range(5):
        end, _ = greeted(served)
        socket.send_fds(end, [b"{}"], handles)
        ended(end)
    for handle in handles:
        os.close(handle)
    settled(served, before)


def test_memory_that_is_made_longer_later_is_followed_up_to_the_limit(served: Served) -> None:
    end, hello, memory = attached(served, 64)
    requests, replies = Requests(len(hello.free)), Replies(hello.outputs)
    end.send(requests.pack(Request(1, 0, 0, 4096, 8192, 64, (1,))))
    assert replies.unpack(end.recv(2000))[1] is Status.BAD
    memory.grow(1 << 14)
    end.send(requests.pack(Request(2, 0, 0, 4096, 8192, 64, (1,))))
    assert replies.unpack(end.recv(2000))[1] is Status.OK
    memory.grow(1 << 22)
    end.send(requests.pack(Request(3, 0, 0, 1 << 21, 8192, 64, (1,))))
    assert replies.unpack(end.recv(2000))[1] is Status.BAD
    end.close()
    memory.close()


def test_memory_cannot_be_made_shorter_under_the_worker(served: Served) -> None:
    end, _, memory = attached(served)
    with pytest.raises(PermissionError):
        os.ftruncate(memory.handle, mmap.PAGESIZE // 2)
    end.close()
    memory.close()


# --- what is asked


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (Request(1, 0, 0, 1 << 62, 0, 64, (1,)), "not within the memory"),
        (Request(1, 0, 0, 4090, 0, 64, (1,)), "not within the memory"),
        (Request(1, 0, 0, 3, 0, 64, (1,)), "not aligned"),
        (Request(1, 0, 0, 0, 1 << 63, 64, (1,)), "not within the memory"),
        (Request(1, 0, 0, 0, 64, 64, (0,)), "free dimension"),
        (Request(1, 0, 0, 0, 64, 64, (-1,)), "free dimension"),
        (Request(1, 0, 0, 0, 64, 64, (1 << 40,)), "free dimension"),
        (Request(1, 0, 0, 0, 64, 64, (5,)), "batch of at most 4"),
    ],
    ids=["far", "over-the-end", "unaligned", "outputs-far", "no-rows", "less-than-none", "huge", "too-many-rows"],
)
def test_a_request_that_does_not_fit_is_refused_and_the_next_is_served(
    served: Served, request_: Request, words: str
) -> None:
    end, hello, memory = attached(served)
    requests, replies = Requests(len(free_of(hello.inputs))), Replies(hello.outputs)
    end.send(requests.pack(request_))
    number, status, text = replies.unpack(end.recv(2000))
    assert (number, status) == (1, Status.BAD)
    assert words in str(text)
    end.send(requests.pack(Request(2, 0, 0, 0, 64, 64, (1,))))
    assert replies.unpack(end.recv(2000)) == (2, Status.OK, ((1, 2),))
    end.close()
    memory.close()


@pytest.mark.parametrize("length", [1, 47, 55, 57, 5000])
def test_a_request_of_another_length_ends_the_connection(served: Served, length: int) -> None:
    end, _, memory = attached(served)
    end.send(b"\xff" * length)
    assert "bytes" in refusal(end)
    memory.close()


def test_too_little_room_for_the_outputs_is_told_with_the_sizes(served: Served) -> None:
    end, hello, memory = attached(served)
    requests, replies = Requests(len(hello.free)), Replies(hello.outputs)
    end.send(requests.pack(Request(9, 0, 0, 0, 64, 7, (1,))))
    assert replies.unpack(end.recv(2000)) == (9, Status.SHORT, ((1, 2),))
    end.close()
    memory.close()


@settings(max_examples=150, deadline=None)
@given(messages=st.lists(st.binary(min_size=1, max_size=200) | st.binary(min_size=56, max_size=56), max_size=5))
def test_garbage_never_hurts(served: Served, messages: list[bytes]) -> None:
    end, _, memory = attached(served)
    for message in messages:
        try:
            end.send(message)
        except OSError:
            break
    end.close()
    memory.close()


@settings(max_examples=100, deadline=None)
@given(
    numbers=st.tuples(*[st.integers(0, 2**64 - 1) | st.sampled_from([0, 64, 128, 4096])] * 5),
    rows=st.integers(-(2**63), 2**63 - 1) | st.integers(0, 5),
)
def test_any_request_of_the_right_length_gets_an_answer(served: Served, numbers: tuple[int, ...], rows: int) -> None:
    end, hello, memory = attached(served)
    end.send(struct.pack("<6Qq", 7, *numbers, rows))
    number, status, _ = Replies(hello.outputs).unpack(end.recv(2000))
    assert number == 7
    assert status in set(Status)
    end.close()
    memory.close()


# --- who does not play along


def test_one_that_does_not_read_is_ended_and_others_are_served(served: Served) -> None:
    end, hello, memory = attached(served)
    requests = Requests(len(hello.free))
    end.settimeout(1)
    sent = 0
    try:
        while sent < 100_000:
            sent += 1
            end.send(requests.pack(Request(sent, 0, 0, 0, 64, 64, (1,))))
    except OSError:
        pass
    assert sent < 100_000
    _ask(served)
    end.close()
    memory.close()


def test_applications_above_the_limit_are_told_and_those_within_are_served(served: Served) -> None:
    with Client("m", folder=served.folder) as model:
        waiting = [raw(served) for _ in range(7)]
        for one in waiting:
            one.recv(MAX_HELLO)
        with pytest.raises(ModelGone, match="too many applications"):
            Client("m", folder=served.folder, patience_s=0.3)
        assert model(np.ones((1, 4), np.float32))["y"][0, 0] == 1
        for one in waiting:
            one.close()


def test_applications_that_come_and_go_leave_nothing_behind(served: Served) -> None:
    before = descriptors(served)

    def come_and_go() -> None:
        for _ in range(20):
            end, _, memory = attached(served)
            end.close()
            memory.close()

    threads = [threading.Thread(target=come_and_go) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    settled(served, before)


# --- the other way round: a client and what pretends to be a worker


@settings(max_examples=200, deadline=None)
@given(
    greeting=st.binary(max_size=300)
    | st.dictionaries(st.text(max_size=8), st.integers()).map(lambda d: json.dumps(d).encode())
)
def test_a_greeting_that_is_none_is_refused(greeting: bytes) -> None:
    with pytest.raises(ProtocolError):
        Hello.from_bytes(greeting)


@settings(max_examples=200, deadline=None)
@given(reply=st.binary(max_size=100))
def test_a_reply_is_read_or_refused(served: Served, reply: bytes) -> None:
    end, hello = greeted(served)
    end.close()
    try:
        Replies(hello.outputs).unpack(reply)
    except ProtocolError:
        return
