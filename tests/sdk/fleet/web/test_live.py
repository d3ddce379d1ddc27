"""The live stream: what changed, once, at the client's speed; and the board behind it."""

import dataclasses
import http.client
import json
import random
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.fleet.api.board import COLUMNS, Board
from edgekit.fleet.store import DeviceRow, ServedModel, Store
from edgekit.fleet.store.live import LiveReader, Newest
from tests.sdk.fleet.web import made_fleet
from tests.sdk.fleet.web.conftest import Served, bearer


class Stream:
    """Reads a live stream."""

    def __init__(self, served: Served, path: str = "/api/v1/live", headers: dict[str, str] | None = None) -> None:
        """Ask for it."""
        self._connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=30)
        self._connection.request("GET", path, headers={**bearer(), **(headers or {})})
        self.answer = self._connection.getresponse()

    def next(self, name: str) -> tuple[str, Any]:
        """Return the number and body of the next message of a name."""
        number, kind = "", ""
        while True:
            line = self.answer.readline().decode().rstrip("\n")
            if line.startswith("id: "):
                number = line[4:]
            elif line.startswith("event: "):
                kind = line[7:]
            elif line.startswith("data: ") and kind == name:
                return number, json.loads(line[6:])
            elif not line:
                number = kind = ""

    def close(self) -> None:
        """Leave."""
        self._connection.close()


@pytest.fixture
def streaming(store: Store) -> Iterator[Served]:
    served = Served(store)
    yield served
    served.close()


def now() -> int:
    return int(time.time() * 1000)


def test_first_everything_then_only_what_changed(streaming: Served) -> None:
    fleet = made_fleet.devices(4)
    rng = random.Random(1)  # noqa: S311
    streaming.store.reports.add([made_fleet.report(made, 1, now(), rng) for made in fleet])
    stream = Stream(streaming)
    _, hello = stream.next("hello")
    assert hello["fresh"]
    assert tuple(hello["columns"]) == COLUMNS
    number, first = stream.next("rows")
    assert len(first["rows"]) == 4
    streaming.store.reports.add([made_fleet.report(fleet[2], 2, now(), rng)])
    _, second = stream.next("rows")
    assert [row[2] for row in second["rows"]] == ["cam-00002"]
    streaming.store.devices.put_presence(fleet[1].key, "offline", "connection-lost", now())
    _, third = stream.next("rows")
    row = dict(zip(COLUMNS, third["rows"][0], strict=True))
    assert (row["device"], row["presence"], row["reason"]) == ("cam-00001", "offline", "connection-lost")
    stream.close()
    back = Stream(streaming, headers={"Last-Event-ID": number})
    assert not back.next("hello")[1]["fresh"]
    assert {row[2] for row in back.next("rows")[1]["rows"]} == {"cam-00001", "cam-00002"}
    back.close()


def test_a_forgotten_device_leaves(streaming: Served) -> None:
    fleet = made_fleet.devices(2)
    rng = random.Random(1)  # noqa: S311
    streaming.store.reports.add([made_fleet.report(made, 1, now(), rng) for made in fleet])
    stream = Stream(streaming)
    stream.next("rows")
    streaming.store.devices.forget(fleet[0].key)
    assert stream.next("hello")[1]["fresh"]
    assert [row[2] for row in stream.next("rows")[1]["rows"]] == ["cam-00001"]
    stream.close()


def test_events_come_as_they_are_stored(streaming: Served) -> None:
    made = made_fleet.devices(1)[0]
    streaming.store.reports.add([made_fleet.report(made, 1, now(), random.Random(1))])  # noqa: S311
    stream = Stream(streaming)
    stream.next("rows")
    made_fleet.happen(streaming.store, made, now(), "hot", "81 degrees")
    events = stream.next("events")[1]["events"]
    assert [(one["device"], one["code"], one["text"]) for one in events] == [("cam-00000", "hot", "81 degrees")]
    stream.close()


def test_a_client_that_does_not_read_costs_nothing_and_stops_nobody(streaming: Served) -> None:
    """Its socket is full; another one goes on, and what the first gets later is not a queue of all that was."""
    fleet = made_fleet.devices(400)
    rng = random.Random(1)  # noqa: S311
    like = made_fleet.report(fleet[0], 1, now(), rng).report
    slow = socket.create_connection(("127.0.0.1", streaming.port))
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    slow.sendall(
        f"GET /api/v1/live HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: {bearer()['Authorization']}\r\n\r\n".encode()
    )
    quick = Stream(streaming)
    for turn in range(1, 9):
        streaming.store.reports.add([made_fleet.again(made, like, turn, now()) for made in fleet])
        while not quick.next("rows")[1]["rows"]:
            pass
    assert streaming.ask("GET", "/healthz").status == 200
    quick.close()
    slow.close()


def test_the_newest_report_of_each_model_is_found_behind_those_of_others(store: Store) -> None:
    made = made_fleet.devices(1)[0]
    other = dataclasses.replace(made, model="other", version="9")
    rng = random.Random(1)  # noqa: S311
    store.reports.add([made_fleet.report(other, 1, 1_000_000, rng)])
    store.reports.add([made_fleet.report(made, 10 + at, 2_000_000 + at, rng, samples=3) for at in range(15)])
    found = {one.model: one.at_ms for one in LiveReader(store.engine).newest()}
    assert found == {"person-detect": 2_000_014, "other": 1_000_000}


def device(number: int, *models: str) -> DeviceRow:
    served = tuple(ServedModel(name=name, version="1", artifact="a", runtime="r", seen_ms=1) for name in models)
    return DeviceRow(id=number, site="s", device=f"dev-{number}", first_seen_ms=1, last_seen_ms=1, models=served)


def newest(number: int, model: str, at_ms: int) -> Newest:
    return Newest(
        id=at_ms, device_id=number, model=model, version="1", at_ms=at_ms, arrived_ms=at_ms, p50_ms=1.0, p90_ms=2.0,
        p99_ms=3.0, rate_hz=1.0, errors=0, temp=None, cpu=None, rss=None,
    )  # fmt: skip


def test_a_model_that_is_not_served_any_more_leaves_and_an_old_report_changes_nothing() -> None:
    board = Board()
    board.reset([device(1, "a", "b")], [newest(1, "a", 10), newest(1, "b", 10)])
    before = board.version
    board.update([], [newest(1, "a", 5)])
    assert board.version == before
    board.update([device(1, "b")], [])
    rows, gone = board.since(before, None, set())
    assert [row[0] for row in rows] == ["s/dev-1/b"]
    assert gone == ["s/dev-1/a"]
    board.update([device(1)], [])
    rows, gone = board.since(before, None, set())
    assert [row[0] for row in rows] == ["s/dev-1/"]
    assert set(gone) == {"s/dev-1/a", "s/dev-1/b"}


Step = st.tuples(st.integers(1, 4), st.sampled_from(("", "a", "b", "ab")), st.booleans())


@given(st.lists(Step, max_size=25), st.lists(st.booleans(), min_size=25, max_size=25), st.booleans())
@settings(deadline=None, max_examples=60)
def test_a_client_that_looks_now_and_then_ends_with_what_is_there(
    steps: list[tuple[int, str, bool]], looks: list[bool], filtered: bool
) -> None:
    """Whatever happens and whenever it looks: what it was told adds up to the board, filtered or not."""
    board = Board()
    board.reset([], [])
    match = (lambda row: row.presence == "online") if filtered else None
    client: dict[str, Any] = {}
    shown: set[str] = set()
    version = 0

    def look() -> None:
        nonlocal version
        rows, gone = board.since(version, match, shown)
        for key in gone:
            client.pop(key, None)
        client.update({row[0]: row for row in rows})
        version = board.version

    for at, (number, models, online) in enumerate(steps):
        row = dataclasses.replace(device(number, *models), presence="online" if online else "offline")
        board.update([row], [newest(number, model, at) for model in models])
        if looks[at]:
            look()
    look()
    everything, _ = board.since(0, match, set())
    assert client == {row[0]: row for row in everything}
