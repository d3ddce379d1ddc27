"""Presence as the service keeps it: a real store, and messages as they come."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass

import pytest

from edgekit.fleet import _clock
from edgekit.fleet.presence.part import Came, PresencePart
from edgekit.fleet.service.host import Message
from edgekit.fleet.store import DeviceKey, Store
from edgekit.fleet.store.engine import writing
from edgekit.fleet.wire import decode
from edgekit_agent.protocol import Kind, State, Topic

KEY = DeviceKey("lab", "dev-1")


@dataclass
class Link:
    """A connection that a test makes and breaks."""

    connected: bool = False


class Host:
    """What the part needs of the service."""

    def __init__(self, store: Store) -> None:
        """Connect."""
        self.store, self.link = store, Link()
        self.handlers: list[Callable[[Sequence[Came]], Awaitable[None]]] = []

    def listen(self, _kinds: Iterable[Kind], handler: Callable[[Sequence[Came]], Awaitable[None]]) -> None:
        self.handlers.append(handler)

    async def says(self, state: str) -> None:
        topic = Topic(site=KEY.site, device=KEY.device, kind=Kind.STATE)
        body = State(state=state, birth=1, boot="b", heartbeat_s=10.0).to_bytes()
        await self.handlers[0]([Message(topic, body, retained=False, arrived_ms=_clock.now_ms())])


@pytest.fixture
def store(store: Store) -> Store:
    state = State(state="online", birth=1, boot="b").to_bytes()
    store.devices.put_state(KEY, decode(Kind.STATE, state), 1)  # type: ignore[arg-type]  # of that kind
    return store


def kept(store: Store) -> str:
    row = store.devices.get(KEY)
    assert row is not None
    return row.presence


def test_of_two_verdicts_that_wait_for_the_database_the_later_one_stays(store: Store) -> None:
    """The service starts: devices are stale until they are heard, and are heard before that is written."""

    async def live() -> None:
        host = Host(store)
        host.link.connected = True
        part = PresencePart(host)
        task = asyncio.create_task(part.run())
        await asyncio.sleep(0.2)
        await host.says("online")
        with writing(store.engine) as connection:  # somebody else writes for long
            connection.exec_driver_sql("UPDATE devices SET presence = presence")
            host.link.connected = False
            while part.roll.verdict((KEY.site, KEY.device)).presence != "stale":  # noqa: ASYNC110  # a turn, twice a second
                await asyncio.sleep(0.02)
            await asyncio.sleep(0.5)  # who waits for SQLite asks more and more seldom: the newer one would get it first
            heard = asyncio.create_task(host.says("online"))
            await asyncio.sleep(0.05)
        await heard
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(live())
    assert kept(store) == "online"


_REFUSALS = {
    "sqlite": (
        "CREATE TRIGGER no_room BEFORE UPDATE OF presence ON devices BEGIN SELECT RAISE(FAIL, 'no_room'); END",
        "DROP TRIGGER no_room",
    ),
    "postgresql": (
        "ALTER TABLE devices ADD CONSTRAINT no_room CHECK (presence <> 'online')",
        "ALTER TABLE devices DROP CONSTRAINT no_room",
    ),
}


def test_a_verdict_that_could_not_be_written_is_written_later(store: Store) -> None:
    async def live() -> None:
        host = Host(store)
        PresencePart(host)
        refused, taken = _REFUSALS[store.engine.dialect.name]
        with writing(store.engine) as connection:
            connection.exec_driver_sql(refused)
        with pytest.raises(Exception, match="no_room"):
            await host.says("online")
        with writing(store.engine) as connection:
            connection.exec_driver_sql(taken)
        await host.says("online")

    asyncio.run(live())
    assert kept(store) == "online"


def test_a_service_that_starts_again_takes_devices_for_what_they_were_until_it_is_connected(store: Store) -> None:
    store.devices.put_presence(KEY, "online", "heard", 5)

    async def live() -> None:
        host = Host(store)
        task = asyncio.create_task(PresencePart(host).run())
        await asyncio.sleep(1.2)
        host.link.connected = True
        await host.says("online")
        await asyncio.sleep(0.7)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(live())
    row = store.devices.get(KEY)
    assert row is not None
    assert (row.presence, row.presence_reason, row.presence_since_ms) == ("online", "heard", 5)


def test_with_a_broker_that_is_away_from_the_start_they_are_stale_after_a_while(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgekit.fleet.presence.part.FIRST_S", 0.1)
    store.devices.put_presence(KEY, "online", "heard", 5)

    async def live() -> None:
        task = asyncio.create_task(PresencePart(Host(store)).run())
        while kept(store) != "stale":  # noqa: ASYNC110  # the part's own turn
            await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(live())


def test_a_device_that_is_lost_right_after_the_start_is_lost(store: Store) -> None:
    """A start is no return of the broker, after which last wills say little."""

    async def live() -> None:
        host = Host(store)
        task = asyncio.create_task(PresencePart(host).run())
        await host.says("online")
        host.link.connected = True
        await asyncio.sleep(0.8)
        await host.says("offline")
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(live())
    assert kept(store) == "offline"
