"""Rollouts, desired states and the audit log in a real store, and the driver, whose broker may be away."""

import json
from typing import Any

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from edgekit.errors import GateError, UsageError
from edgekit.fleet.audit import Entry
from edgekit.fleet.rollout.driver import HEAR_MS, Driver
from edgekit.fleet.rollout.orders import Ordered, Wanted, begin, order
from edgekit.fleet.rollout.plan import Release
from edgekit.fleet.rollout.sight import Sight
from edgekit.fleet.rollout.state import JobStatus, Status
from edgekit.fleet.store import DeviceKey, Store
from edgekit.fleet.store.desired import Wish
from edgekit.fleet.store.engine import writing
from edgekit.fleet.wire import decode
from edgekit_agent.errors import TransportError
from edgekit_agent.protocol import Event, Kind, ModelPhase, Reported, State, Topic

NEW = Release(model="kws", version="2.0.0", target="kws/2.0.0/kws.ekb")
NOW_MS = 1_700_000_000_000


class Broker:
    """Takes what is published, unless it is away."""

    def __init__(self) -> None:
        """Begin empty."""
        self.away = False
        self.retained: dict[str, dict[str, Any]] = {}
        self.passed: list[tuple[str, dict[str, Any]]] = []

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        if self.away:
            raise TransportError("there is no connection")
        name = Topic.parse(topic).device
        if retain:
            self.retained[name] = json.loads(payload)
        else:
            self.passed.append((name, json.loads(payload)))


def wanted(name: str = "r1", **more: Any) -> Wanted:
    return Wanted(release=NEW, id=name, canary="1", growth=3, **more)


def rolled(store: Store, **more: Any) -> str:
    return begin(store, wanted(**more), store.devices.all(), "ann", NOW_MS).id


def reports(store: Store, name: str, v: int, phase: str, *, lease: str | None = None) -> None:
    serving = "2.0.0" if phase == "committed" else "1.2.0"
    model = ModelPhase(name="kws", version="2.0.0", phase=phase, serving=serving, lease=lease)
    raw = Reported(version=v, models=(model,)).to_bytes()
    at_ms = NOW_MS + reports.count  # type: ignore[attr-defined]  # each is another message
    reports.count += 1  # type: ignore[attr-defined]
    store.devices.put_reported(DeviceKey("lab", name), decode(Kind.REPORTED, raw), raw, at_ms)  # type: ignore[arg-type]


reports.count = 0  # type: ignore[attr-defined]


def test_what_is_decided_is_in_the_store_before_it_is_published_and_published_when_the_broker_is_back(
    store: Store,
) -> None:
    name = rolled(store)
    broker = Broker()
    broker.away = True
    Driver(store, broker).tick(NOW_MS)
    row = store.rollouts.get(name)
    assert row is not None
    (told,) = [job for job in row.state.jobs.values() if job.status is JobStatus.TOLD]
    (pending,) = store.desired.pending()
    assert (pending.key, pending.v) == (told.key, told.v)
    broker.away = False
    Driver(store, broker).tick(NOW_MS + 1)  # another process
    (body,) = broker.retained.values()
    assert body["models"] == [{"name": "kws", "version": "2.0.0", "target": "kws/2.0.0/kws.ekb"}]
    assert (body["rollout"], body["lease_s"]) == (name, 60.0)
    assert not store.desired.pending()


def test_a_broker_that_has_forgotten_gets_everything_again(store: Store) -> None:
    rolled(store)
    broker = Broker()
    driver = Driver(store, broker)
    driver.tick(NOW_MS)
    before, broker.retained = dict(broker.retained), {}
    driver.connected(NOW_MS + 1)
    driver.tick(NOW_MS + 1)
    assert broker.retained == before


def test_after_a_long_absence_devices_are_heard_before_their_time_is_over(store: Store) -> None:
    name = rolled(store, device_s=60.0)
    Driver(store, Broker()).tick(NOW_MS)
    later_ms = NOW_MS + 3_600_000
    driver = Driver(store, Broker())  # another process, which is not connected yet
    driver.tick(later_ms)
    assert statuses(store, name) == ["told"]
    driver.connected(later_ms)
    driver.tick(later_ms + HEAR_MS - 1)
    assert statuses(store, name) == ["told"]
    driver.disconnected()
    driver.tick(later_ms + HEAR_MS)
    assert statuses(store, name) == ["told"]
    driver.connected(later_ms + HEAR_MS)
    driver.tick(later_ms + 2 * HEAR_MS)
    assert statuses(store, name) == ["late"]


def statuses(store: Store, name: str) -> list[str]:
    """Return how the devices of the first wave stand."""
    row = store.rollouts.get(name)
    assert row is not None
    return [job.status.value for job in row.state.of_wave(0)]


@pytest.mark.parametrize(
    ("presence", "reason", "silent"),
    [("offline", "silent", True), ("offline", "connection-lost", True), ("stopped", "clean-stop", False),
     ("stale", "broker-restart", False), ("online", "heard", False)],
)  # fmt: skip
def test_of_a_device_nobody_can_know_of_it_is_not_said_that_it_fell_silent(
    store: Store, presence: str, reason: str, silent: bool
) -> None:
    """A service that starts again takes all devices for stale until it hears them."""
    store.devices.put_presence(DeviceKey("lab", "dev-1"), presence, reason, NOW_MS)
    found = Sight(store.engine).of([("lab", "dev-0"), ("lab", "dev-1")], "kws")[1]
    assert found == (frozenset({("lab", "dev-1")}) if silent else frozenset())


def test_what_a_device_served_is_what_it_reported_last_also_before_it_describes_itself_anew(store: Store) -> None:
    reports(store, "dev-0", 3, "committed")
    name = rolled(store)
    row = store.rollouts.get(name)
    assert row is not None
    before = {key[1]: job.before.version for key, job in row.state.jobs.items() if job.before}
    assert before == {"dev-0": "2.0.0", "dev-1": "1.2.0", "dev-2": "1.2.0", "dev-3": "1.2.0"}


def test_of_a_device_that_had_no_release_nothing_is_wanted_after_an_abort(store: Store) -> None:
    key = DeviceKey("lab", "new")
    store.devices.put_state(key, decode(Kind.STATE, State(state="online", birth=1, boot="b").to_bytes()), 1)  # type: ignore[arg-type]  # of that kind
    begin(store, wanted(), [row for row in store.devices.all() if row.key == key], "ann", NOW_MS)
    broker = Broker()
    driver = Driver(store, broker)
    driver.tick(NOW_MS)
    assert broker.retained["new"]["lease_s"] == 60.0
    order(store, "r1", Ordered(what="abort", by="ann"), NOW_MS + 1)
    driver.tick(NOW_MS + 2)
    assert broker.retained["new"]["models"] == []


def test_why_somebody_lets_it_go_on_is_in_the_audit_log(store: Store) -> None:
    name = rolled(store)
    for what in ("pause", "resume"):
        order(store, name, Ordered(what=what, by="ann", why=f"why to {what}"), NOW_MS)
    reasons = [one.detail.get("reason") for one in store.audit.entries(subject=f"rollout/{name}")]
    assert reasons == ["why to resume", "why to pause", None]


def test_of_a_forgotten_device_nothing_is_wanted_and_nothing_is_published(store: Store) -> None:
    rolled(store)
    broker = Broker()
    driver = Driver(store, broker)
    driver.tick(NOW_MS)
    (name,) = broker.retained
    key = DeviceKey("lab", name)
    store.devices.forget(key)
    broker.retained.clear()
    driver.connected(NOW_MS + 1)
    driver.tick(NOW_MS + 1)
    assert name not in broker.retained
    assert store.desired.get(key) is None


def test_leave_is_given_once_to_who_asks_about_what_is_wanted_while_the_rollout_runs(store: Store) -> None:
    name = rolled(store)
    broker = Broker()
    driver = Driver(store, broker)
    driver.tick(NOW_MS)
    ((device, body),) = broker.retained.items()
    reports(store, device, body["v"] - 1, "staged", lease="early")
    driver.tick(NOW_MS + 1)
    assert broker.passed == []
    reports(store, device, body["v"], "staged", lease="abc")
    driver.tick(NOW_MS + 2)
    driver.tick(NOW_MS + 3)
    assert broker.passed == [(device, {"v": body["v"], "models": [], "conf": {}, "lease": "abc"})]
    order(store, name, Ordered(what="pause", by="ann"), NOW_MS + 4)
    reports(store, device, body["v"], "trial", lease="def")
    driver.tick(NOW_MS + 5)
    assert len(broker.passed) == 1


def test_a_configuration_that_is_set_meanwhile_is_no_other_host(store: Store) -> None:
    name = rolled(store)
    broker = Broker()
    driver = Driver(store, broker)
    driver.tick(NOW_MS)
    ((device, _),) = broker.retained.items()
    store.desired.put([Wish(key=DeviceKey("lab", device), conf={"log_level": "debug"})], NOW_MS)
    driver.tick(NOW_MS + 1)
    body = broker.retained[device]
    assert (body["conf"], body["models"][0]["version"]) == ({"log_level": "debug"}, "2.0.0")
    reports(store, device, body["v"], "staged", lease="abc")
    driver.tick(NOW_MS + 2)
    assert broker.passed[-1][1]["lease"] == "abc"
    reports(store, device, body["v"] + 7, "staged")
    driver.tick(NOW_MS + 3)
    row = store.rollouts.get(name)
    assert row is not None
    assert "somebody else" in row.state.jobs["lab", device].reason


def test_after_an_abort_no_device_gets_leave_and_each_is_told_what_it_served(store: Store) -> None:
    name = rolled(store)
    broker = Broker()
    driver = Driver(store, broker)
    driver.tick(NOW_MS)
    ((device, body),) = broker.retained.items()
    order(store, name, Ordered(what="abort", by="ann", why="no reason"), NOW_MS + 1)
    reports(store, device, body["v"], "staged", lease="abc")
    driver.tick(NOW_MS + 2)
    assert broker.passed == []
    back = broker.retained[device]
    assert back["models"] == [{"name": "kws", "version": "1.2.0", "back": True}]
    assert back["v"] > body["v"]
    assert "lease_s" not in back


def test_a_device_is_in_one_rollout_at_a_time(store: Store) -> None:
    rolled(store)
    with pytest.raises(UsageError, match=r"lab/dev-0 \(in 'r1'\)") as caught:
        begin(store, wanted("r2"), store.devices.all(), "bob", NOW_MS)
    assert "wait until it has ended" in caught.value.__notes__[0]
    assert store.rollouts.get("r2") is None
    order(store, "r1", Ordered(what="abort", by="ann"), NOW_MS)
    begin(store, wanted("r2"), store.devices.all(), "bob", NOW_MS)


def test_two_who_change_a_rollout_do_not_lose_either(store: Store) -> None:
    name = rolled(store)
    stale = store.rollouts.get(name)
    assert stale is not None
    order(store, name, Ordered(what="pause", by="ann"), NOW_MS)
    from edgekit.fleet.store.rollouts import Follows

    assert store.rollouts.save(stale, Follows(state=stale.state, findings=()), "x", NOW_MS) is stale  # nothing new
    other = Follows(state=type(stale.state)(jobs=stale.state.jobs, reason="other"))
    assert store.rollouts.save(stale, other, "x", NOW_MS) is None
    row = store.rollouts.get(name)
    assert row is not None
    assert row.state.status is Status.PAUSED


def test_an_order_that_does_not_fit_is_refused_with_how_it_stands(store: Store) -> None:
    name = rolled(store)
    with pytest.raises(GateError, match="is running: it cannot resume now"):
        order(store, name, Ordered(what="resume", by="ann"))
    with pytest.raises(UsageError, match="there is no rollout"):
        order(store, "nothing", Ordered(what="pause", by="ann"))
    with pytest.raises(UsageError, match="is none of"):
        order(store, name, Ordered(what="explode", by="ann"))


def test_versions_grow_beyond_what_the_device_has_told_and_keep_the_configuration(store: Store) -> None:
    key = DeviceKey("lab", "dev-0")
    reports(store, "dev-0", 40, "committed")
    assert store.desired.put([Wish(key=key, conf={"log_level": "debug"})], NOW_MS) == {key: 41}
    assert store.desired.put([Wish(key=key, model={"name": "kws", "version": "2.0.0"})], NOW_MS) == {key: 42}
    row = store.desired.get(key)
    assert row is not None
    message = row.message()
    assert (message.configuration, message.models[0].version) == ({"log_level": "debug"}, "2.0.0")


def test_a_change_that_is_published_late_does_not_hide_a_newer_one(store: Store) -> None:
    key = DeviceKey("lab", "dev-0")
    store.desired.put([Wish(key=key, conf={})], NOW_MS)
    old = store.desired.pending()
    store.desired.put([Wish(key=key, conf={"log_level": "debug"})], NOW_MS)
    store.desired.published(old)
    assert [row.v for row in store.desired.pending()] == [2]


def unguarded(connection: Connection) -> None:
    """Take away what refuses changes, as somebody with all rights can."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("DROP TRIGGER audit_no_change ON audit"))
        return
    for event in ("update", "delete"):
        connection.execute(text(f"DROP TRIGGER audit_no_{event}"))


class TestAudit:
    """The log that is only appended to."""

    def entry(self, number: int) -> Entry:
        return Entry(at_ms=number, who="ann", action="test", subject=f"s/{number}", detail={"n": number})

    def test_what_is_written_is_there_and_holds(self, store: Store) -> None:
        store.audit.add(*[self.entry(number) for number in range(5)])
        assert [one.detail["n"] for one in store.audit.entries(limit=2)] == [4, 3]
        assert [one.detail["n"] for one in store.audit.entries(subject="s/1")] == [1]
        found = store.audit.verify()
        assert (found.entries, found.head) == (5, store.audit.entries()[0].digest)
        store.audit.add(self.entry(9))
        assert store.audit.verify(found.head).entries == 6

    @pytest.mark.parametrize("change", ["UPDATE audit SET who = 'bob' WHERE id = 3", "DELETE FROM audit WHERE id = 3"])
    def test_the_database_refuses_changes_and_the_chain_shows_those_that_were_made_past_it(
        self, store: Store, change: str
    ) -> None:
        store.audit.add(*[self.entry(number) for number in range(5)])
        with pytest.raises(Exception, match="only appended to"), writing(store.engine) as connection:
            connection.execute(text(change))
        with writing(store.engine) as connection:
            unguarded(connection)
            connection.execute(text(change))
        with pytest.raises(GateError, match=r"entry [34] does not follow"):
            store.audit.verify()

    def test_an_end_that_was_cut_off_is_seen_by_a_digest_noted_before(self, store: Store) -> None:
        store.audit.add(*[self.entry(number) for number in range(5)])
        noted = store.audit.verify().head
        with writing(store.engine) as connection:
            unguarded(connection)
            connection.execute(text("DELETE FROM audit WHERE id = 5"))
        assert store.audit.verify().entries == 4
        with pytest.raises(GateError, match="not in the audit log"):
            store.audit.verify(noted)

    def test_every_step_of_a_rollout_is_in_it(self, store: Store) -> None:
        name = rolled(store)
        Driver(store, Broker()).tick(NOW_MS)
        order(store, name, Ordered(what="abort", by="ann", why="no reason"), NOW_MS)
        found = [
            (one.who, one.action, one.detail.get("reason")) for one in store.audit.entries(subject=f"rollout/{name}")
        ]
        assert ("ann", "rollout.aborted", "no reason") in found
        assert found[-1][:2] == ("ann", "rollout.begun")


def test_what_a_turn_had_read_that_failed_is_judged_by_in_the_next(store: Store) -> None:
    name = rolled(store, bake_s=600.0)
    driver = Driver(store, Broker())
    driver.connected(NOW_MS - HEAR_MS)
    driver.tick(NOW_MS)
    row = store.rollouts.get(name)
    assert row is not None
    (job,) = row.state.of_wave(0)
    pending = store.desired.get(DeviceKey(*job.key))
    assert pending is not None
    reports(store, job.key[1], pending.v, "committed")
    driver.tick(NOW_MS + 1_000)
    driver.tick(NOW_MS + 1_500)  # it is watched from now on
    for number in range(40):
        at_ms = NOW_MS + 2_000 + 60_000 * number
        event = Event(ts_ms=at_ms, level="error", code="worker-crashed", text=f"signal 11, {number}", model="kws")
        store.events.add(DeviceKey(*job.key), decode(Kind.EVENT, event.to_bytes()), at_ms)  # type: ignore[arg-type]
    later_ms = NOW_MS + 2_000 + 60_000 * 40
    with writing(store.engine) as connection:
        connection.execute(text("ALTER TABLE rollouts RENAME TO away"))
    with pytest.raises(DBAPIError):
        driver.tick(later_ms)
    with writing(store.engine) as connection:
        connection.execute(text("ALTER TABLE away RENAME TO rollouts"))
    driver.tick(later_ms)
    row = store.rollouts.get(name)
    assert row is not None
    (crashes,) = [one for one in row.findings if one.gate == "crashes"]
    assert crashes.samples == 40
