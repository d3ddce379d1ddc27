"""Several processes at one store: nothing is lost, nothing twice, nobody waits for ever."""

import contextlib
import threading
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import text

from edgekit.fleet import wire
from edgekit.fleet.store import Arrived, DeviceKey, Heard, Question, Store, open_store
from edgekit.fleet.store.desired import Wish
from edgekit.fleet.store.engine import is_away
from edgekit.fleet.store.presence import PresenceRow
from edgekit_agent.protocol import Info, InstalledModel, Kind
from tests.sdk.fleet.postgresql import Server
from tests.sdk.fleet.store.cases import NOW_MS

Make = Callable[..., Arrived]
TURNS = 12
NAMES = [f"dev-{number}" for number in range(8)]


@contextlib.contextmanager
def other(url: str, work: Callable[[Store, int], object]) -> Iterator[None]:
    """Do work in turns in another connection's thread meanwhile; its mistakes are raised here."""
    wrong: list[BaseException] = []

    def run() -> None:
        try:
            with open_store(url) as store:
                for turn in range(TURNS):
                    work(store, turn)
        except BaseException as exc:  # noqa: BLE001  # told to the test
            wrong.append(exc)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        thread.join()
    if wrong:
        raise wrong[0]


def info(version: str) -> tuple[wire.Info, bytes]:
    model = InstalledModel(name="kws", version=version, artifact="a", format="tflite")
    raw = Info(agent="1.0", hardware={}, runtimes={}, models=(model,)).to_bytes()
    body = wire.decode(Kind.INFO, raw)
    assert isinstance(body, wire.Info)
    return body, raw


def test_reports_and_descriptions_of_the_same_new_devices_come_at_once(url: str, arrived: Make) -> None:
    def reports(store: Store, turn: int) -> None:
        batch = [arrived(turn + 1, device=name, version=f"r{turn}") for name in reversed(NAMES)]
        assert store.reports.add(batch).stored == len(NAMES)

    def presence(store: Store, turn: int) -> None:
        store.presence.put([PresenceRow(DeviceKey("default", name), "online", "heard", turn) for name in NAMES])

    with open_store(url) as store, other(url, reports), other(url, presence):
        for turn in range(TURNS):
            body, raw = info(f"i{turn}")
            assert store.devices.put([Heard(DeviceKey("default", name), body, raw, turn) for name in NAMES]) == 0
    with open_store(url) as store:
        rows = store.devices.all()
        assert [row.device for row in rows] == NAMES
        assert {len(row.models) for row in rows} == {1}
        assert store.reports.cursor() >= TURNS * len(NAMES)


def test_no_change_of_a_desired_state_is_lost(url: str) -> None:
    key = DeviceKey("default", "dev-1")
    versions: list[int] = []

    def wishes(store: Store, turn: int) -> None:
        versions.append(store.desired.put([Wish(key=key, conf={"turn": turn})], NOW_MS)[key])

    def models(store: Store, turn: int) -> None:
        versions.append(store.desired.put([Wish(key=key, model={"name": f"m{turn}", "version": "1"})], NOW_MS)[key])

    with other(url, wishes), other(url, models):
        pass
    assert sorted(versions) == list(range(1, 2 * TURNS + 1))
    with open_store(url) as store:
        row = store.desired.get(key)
        assert row is not None
        assert (row.conf, len(row.models)) == ({"turn": TURNS - 1}, TURNS)


def test_each_report_is_added_up_once_and_every_answer_is_of_one_moment(url: str, arrived: Make) -> None:
    def roll(store: Store, _turn: int) -> None:
        store.rollups.roll(limit=3)
        store.totals.roll()

    question = Question(from_ms=NOW_MS - 60_000, to_ms=NOW_MS + 60_000, step_s=60)
    with open_store(url) as store:
        store.reports.add([arrived(seq) for seq in range(1, 41)])
        with other(url, roll), other(url, roll):
            for _ in range(TURNS):
                assert sum(point.reports for point in store.series.points(question)) == 40
        store.totals.roll_all()
        store.rollups.roll_all()
        assert sum(point.reports for point in store.series.points(question)) == 40
        assert [row.reports for row in store.totals.rows()] == [40]


def test_the_audit_log_is_one_chain(url: str) -> None:
    def users(prefix: str) -> Callable[[Store, int], None]:
        return lambda store, turn: store.accounts.add_user(f"{prefix}{turn}", "hash", "viewer")

    with other(url, users("a")), other(url, users("b")):
        pass
    with open_store(url) as store:
        assert store.audit.verify().entries == 2 * TURNS


@pytest.mark.slow
def test_a_statement_may_take_longer_than_a_connection(postgresql: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgekit.fleet.store.postgresql.CONNECT_S", 0.2)
    with postgresql.database() as url, open_store(url) as store, store.engine.connect() as connection:
        assert connection.scalar(text("SELECT 1 FROM pg_sleep(0.5)")) == 1


@pytest.mark.slow
def test_connections_that_were_cut_off_are_made_anew(postgresql: Server, arrived: Make) -> None:
    with postgresql.database() as url, open_store(url) as store:
        for seq in range(1, 4):
            assert store.reports.add([arrived(seq)]).stored == 1
            assert postgresql.disconnect(url.rpartition("/")[2]) >= 1
            assert store.reports.cursor() == seq
            assert postgresql.disconnect(url.rpartition("/")[2]) >= 1


@pytest.mark.slow
def test_what_was_committed_is_there_after_a_crash_and_the_store_says_that_it_is_away(
    postgresql: Server, arrived: Make
) -> None:
    with postgresql.database() as url, open_store(url) as store:
        store.reports.add([arrived(1)])
        postgresql.crash()
        with pytest.raises(Exception, match="refused") as caught:
            store.reports.add([arrived(2)])
        assert is_away(caught.value)
        postgresql.start()
        outcome = store.reports.add([arrived(2), arrived(1)])
        assert (outcome.stored, outcome.duplicates) == (1, 1)
