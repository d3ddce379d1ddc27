"""From reports in a store to messages at real receivers, over restarts."""

import hashlib
import hmac
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword
from paho.mqtt.enums import CallbackAPIVersion

from edgekit.errors import UsageError
from edgekit.fleet import FleetClient
from edgekit.fleet._brokers import free_port, running
from edgekit.fleet._url import parse
from edgekit.fleet.alerts.machine import Key, Phase
from edgekit.fleet.alerts.notifiers import signature
from edgekit.fleet.alerts.part import AlertsPart, for_service
from edgekit.fleet.alerts.rules import Rule, Silence
from edgekit.fleet.alerts.settings import Email, Mqtt, Settings, Webhook
from edgekit.fleet.alerts.watching import Sources, observe
from edgekit.fleet.security import Pki
from edgekit.fleet.service.service import Service
from edgekit.fleet.service.settings import ServeSettings
from edgekit.fleet.store import Arrived, DeviceKey, Store, open_store
from edgekit.fleet.wire import Event, State
from tests.sdk.fleet.alerts.conftest import NOW_MS, Receiver

SECRET = "s3cret"  # noqa: S105  # the tests' own
SLOW = Rule.written("slow", "p99 > 50", clear=40, window=60, resolve=0, **{"for": 0})


class Clock:
    """The time, in a test's hands."""

    def __init__(self) -> None:
        """Stand at the time of the tests' reports."""
        self.ms = NOW_MS

    def __call__(self) -> int:
        return self.ms


@pytest.fixture
def clock() -> Clock:
    return Clock()


def _part(store: Store, clock: Clock, settings: Settings, **more: Any) -> AlertsPart:
    made = AlertsPart(sources=Sources(store=store), settings=settings, now_ms=clock, **more)
    made.configure()
    return made


def _told(part: AlertsPart, clock: Clock, after_s: float = 6.0) -> int:
    clock.ms += int(1000 * after_s)
    return part.deliver()


def test_a_slow_device_is_told_once_and_when_it_is_over(
    store: Store, report: Callable[..., Arrived], receiver: Receiver, clock: Clock
) -> None:
    part = _part(store, clock, Settings(notifiers={"ops": Webhook(url=receiver.url, secret=SECRET)}, rules=(SLOW,)))
    store.reports.add([report("pi-7", 80, clock.ms), report("pi-8", 10, clock.ms)])
    for _ in range(3):
        part.look()
        _told(part, clock)
    (body,) = receiver.bodies
    assert (body["kind"], body["rule"], body["count"], body["when"]) == ("fired", "slow", 1, "p99 > 50")
    assert body["alerts"][0]["group"] == "default/pi-7"
    assert 75 < body["alerts"][0]["value"] < 85
    headers, raw = receiver.got[0]
    when = int(headers["X-EdgeKit-Signature"].partition(",")[0][2:])
    assert headers["X-EdgeKit-Signature"] == signature(SECRET, when, raw)
    expected = hmac.new(SECRET.encode(), f"{when}.".encode() + raw, hashlib.sha256).hexdigest()
    assert headers["X-EdgeKit-Signature"].endswith(f"v1={expected}")
    clock.ms += 180_000
    store.reports.add([report("pi-7", 10, clock.ms)])
    part.look()
    _told(part, clock)
    assert [one["kind"] for one in receiver.bodies] == ["fired", "resolved"]
    assert store.alerts.standing() == []
    assert [one["kind"] for one in store.alerts.history()] == ["resolved", "fired"]


def test_a_restart_neither_forgets_nor_repeats(
    url: str, report: Callable[..., Arrived], receiver: Receiver, clock: Clock
) -> None:
    slow = Rule.written("slow", "p99 > 50", window=3600, **{"for": "60s"})
    settings = Settings(notifiers={"ops": Webhook(url=receiver.url)}, rules=(slow,))
    with open_store(url) as store:
        store.reports.add([report("pi-7", 80, clock.ms)])
        _part(store, clock, settings).look()
        assert store.alerts.standing()[0].standing.phase is Phase.PENDING
    clock.ms += 60_000  # the time that counts goes on while nobody is there
    with open_store(url) as store:
        _part(store, clock, settings).look()
    with open_store(url) as store:  # stopped between the decision and the telling
        part = _part(store, clock, settings)
        assert _told(part, clock) == 1
    with open_store(url) as store:
        part = _part(store, clock, settings)
        part.look()
        assert _told(part, clock) == 0
    assert [one["kind"] for one in receiver.bodies] == ["fired"]


def test_many_at_once_are_one_message(
    store: Store, report: Callable[..., Arrived], receiver: Receiver, clock: Clock
) -> None:
    part = _part(store, clock, Settings(notifiers={"ops": Webhook(url=receiver.url)}, rules=(SLOW,)))
    store.reports.add([report(f"dev-{number}", 80, clock.ms) for number in range(60)])
    part.look()
    clock.ms += 2_000
    store.reports.add([report("late-1", 80, clock.ms)])
    part.look()
    assert _told(part, clock) == 1
    (body,) = receiver.bodies
    assert (body["count"], len(body["alerts"])) == (61, 50)


def test_one_that_does_not_answer_is_told_later_and_holds_up_nobody(
    store: Store, report: Callable[..., Arrived], receiver: Receiver, clock: Clock
) -> None:
    hooks = {"dead": Webhook(url=f"http://127.0.0.1:{free_port()}/"), "ops": Webhook(url=receiver.url)}
    part = _part(store, clock, Settings(notifiers=hooks, rules=(SLOW,)))
    store.reports.add([report("pi-7", 80, clock.ms)])
    part.look()
    receiver.status = 503
    assert _told(part, clock) == 0
    receiver.status = 200
    assert _told(part, clock) == 1
    waits = []
    for _ in range(6):
        (row,) = store.alerts.due(clock.ms + 10_000_000)
        waits.append(row.due_ms - clock.ms)
        clock.ms = row.due_ms
        part.deliver()
    assert row.notifier == "dead"
    assert waits[1:] == sorted(waits[1:])
    assert max(waits) <= 900_000
    clock.ms += 86_400_000
    part.deliver()
    found = store.alerts.message(row.id)
    assert found is not None
    assert found.state == "given-up"
    assert found.problem


def test_a_redirect_is_not_followed(store: Store, receiver: Receiver, clock: Clock) -> None:
    part = _part(store, clock, Settings(notifiers={"ops": Webhook(url=receiver.url)}))
    number = store.alerts.test("ops", clock.ms)
    receiver.status = 302
    part.deliver()
    found = store.alerts.message(number)
    assert found is not None
    assert "302" in found.problem
    assert len(receiver.got) == 1


def test_rules_name_notifiers_that_are_there_and_the_files_rules_stay(store: Store, clock: Clock) -> None:
    _part(store, clock, Settings(notifiers={"bus": Mqtt()}, rules=(SLOW,)))
    with pytest.raises(UsageError, match="no notifier 'ops'"):
        store.alerts.put_rule(Rule.written("other", "silent > 60", notify="ops"), "alice", clock.ms)
    with pytest.raises(UsageError, match="service's file"):
        store.alerts.put_rule(SLOW, "alice", clock.ms)
    with pytest.raises(UsageError, match="service's file"):
        store.alerts.remove_rule("slow")
    store.alerts.put_rule(Rule.written("other", "silent > 60", notify="bus"), "alice", clock.ms)
    _part(store, clock, Settings(notifiers={"bus": Mqtt()}))
    assert list(store.alerts.rules()) == ["other"]
    assert store.alerts.remove_rule("other")


def test_silences_and_acknowledgements_are_kept(
    store: Store, report: Callable[..., Arrived], receiver: Receiver, clock: Clock
) -> None:
    part = _part(store, clock, Settings(notifiers={"ops": Webhook(url=receiver.url)}, rules=(SLOW,)))
    number = store.alerts.silence(
        Silence(id=0, rule="slow", group="default/pi-*", until_ms=clock.ms + 60_000, by="alice", created_ms=clock.ms)
    )
    store.reports.add([report("pi-7", 80, clock.ms)])
    part.look()
    assert _told(part, clock) == 0
    assert store.alerts.acknowledge(Key("slow", "default/pi-7"), "alice", clock.ms)
    assert not store.alerts.acknowledge(Key("slow", "default/pi-9"), "alice", clock.ms)
    assert store.alerts.unsilence(number, clock.ms)
    assert store.alerts.silences(clock.ms) == []
    part.look()
    assert _told(part, clock) == 1
    assert store.alerts.standing()[0].acked_by == "alice"  # still, though it was told since


def test_all_signals_are_read_from_the_store(store: Store, report: Callable[..., Arrived], clock: Clock) -> None:
    key = DeviceKey("default", "pi-7")
    store.reports.add(
        [report("pi-7", 20, clock.ms, errors={"inference-failed": 10}, dropped=3, temperature_c=81.5, cpu_percent=50.0)]
    )
    store.devices.put_state(key, State(state="online", birth=1, boot="b"), clock.ms - 60_000)
    for code in ("worker-crashed", "drift-suspected", "disk-full"):
        store.events.add(key, Event(ts_ms=clock.ms, level="error", code=code, text=code), clock.ms)
    off = DeviceKey("default", "pi-off")
    store.devices.put_state(off, State(state="offline", why="stop"), clock.ms - 9_000_000)

    def value(when: str, group: str = "default/pi-7", **settings: Any) -> float | None:
        sources = Sources(store=store, rollouts=lambda: [("r1", "stopped"), ("r2", "running")])
        seen = observe(sources, [Rule.written("one", when, **settings)], clock.ms + 30_000)
        return next((one.value for one in seen if one.group == group), None)

    assert 19 < (value("p50 > 1") or 0) < 21
    assert value("p99 > 1", "1.2.0", by="version") is not None
    assert value("p99 > 1", "all", by="none", model="other") is None
    assert value("error-rate > 0.1") == 0.5
    assert value("temperature > 80") == 81.5
    assert value("cpu > 80") == 50.0
    assert value("power > 80") is None
    assert value("dropped > 1") == 3
    assert value("reports < 1") == 1
    assert value("silent > 20") == 30.0
    assert value("silent > 20", "default/pi-off") is None
    assert (value("crashes > 0"), value("drift > 0"), value("events > 0", codes="disk-full")) == (1.0, 1.0, 1.0)
    assert (value("rollout-stopped > 0", "r1"), value("rollout-stopped > 0", "r2")) == (1.0, 0.0)


class Mailbox:
    """A mail server's handler that keeps what it gets."""

    def __init__(self) -> None:
        """Be empty."""
        self.got: list[Envelope] = []

    async def handle_DATA(self, _server: SMTP, _session: object, envelope: Envelope) -> str:  # noqa: N802  # its name
        self.got.append(envelope)
        return "250 OK"


@pytest.fixture
def mail(tmp_path: Path) -> Iterator[tuple[Mailbox, int, Path]]:
    """A real SMTP server that insists on STARTTLS and a login."""
    pki = Pki.create(tmp_path / "pki", lambda _name: b"correct horse", names=["127.0.0.1"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki.folder / "broker" / "cert.pem", pki.folder / "broker" / "key.pem")

    def login(_server: object, _session: object, _envelope: object, _mechanism: str, data: object) -> AuthResult:
        return AuthResult(success=isinstance(data, LoginPassword) and data.password == SECRET.encode())

    mailbox = Mailbox()
    controller = Controller(
        mailbox, hostname="127.0.0.1", port=free_port(), tls_context=context, require_starttls=True,
        authenticator=login, auth_required=True,
    )  # fmt: skip
    controller.start()
    yield mailbox, controller.port, pki.folder / "ca" / "services.pem"
    controller.stop()


def test_a_mail_goes_out_over_starttls(store: Store, mail: tuple[Mailbox, int, Path], clock: Clock) -> None:
    mailbox, port, ca = mail
    right = Email(
        host="127.0.0.1", port=port, sender="edgekit@example.org", to=("ops@example.org",), username="edgekit",
        password=SECRET, ca=str(ca),
    )  # fmt: skip
    wrong = Email(host="127.0.0.1", port=port, sender="edgekit@example.org", to=("ops@example.org",))
    part = _part(store, clock, Settings(notifiers={"mail": right, "untrusting": wrong}))
    numbers = [store.alerts.test(name, clock.ms) for name in ("mail", "untrusting")]
    part.deliver()
    states = [row.state for row in map(store.alerts.message, numbers) if row is not None]
    assert states == ["sent", "waiting"]  # the other does not know who signed the server's certificate
    (envelope,) = mailbox.got
    assert envelope.rcpt_tos == ["ops@example.org"]
    assert isinstance(envelope.content, bytes)
    assert b"a test of this notifier" in envelope.content


def test_mqtt_reaches_who_listens_at_the_broker(store: Store, engine: str, clock: Clock) -> None:
    with running(engine=engine) as broker:
        heard = threading.Event()
        got: list[tuple[str, bytes]] = []
        client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)

        def on_message(_client: object, _data: object, message: paho.MQTTMessage) -> None:
            got.append((message.topic, bytes(message.payload)))
            heard.set()

        ready = threading.Event()
        client.on_message = on_message
        client.on_subscribe = lambda *_: ready.set()
        client.connect("127.0.0.1", int(broker.url.rpartition(":")[2]))
        client.loop_start()
        client.subscribe("ek/alerts/#", 1)
        assert ready.wait(10)
        with FleetClient(broker.url) as link:
            part = _part(store, clock, Settings(notifiers={"bus": Mqtt()}), publish=link.publish)
            store.alerts.test("bus", clock.ms)
            assert part.deliver() == 1
            assert heard.wait(10)
        client.disconnect()
        client.loop_stop()
    assert got[0][0] == "ek/alerts/test"


def test_the_service_takes_its_file_from_its_folder(store: Store, tmp_path: Path) -> None:
    settings = ServeSettings(store="sqlite:///unused", broker=parse("mqtt://127.0.0.1:1"), data=tmp_path)
    service = Service(settings, store)
    assert for_service(service).settings == Settings()
    (tmp_path / "alerts.toml").write_text('[[notifier]]\nname = "bus"\nkind = "mqtt"\n')
    part = for_service(service)
    part.configure()
    assert store.alerts.notifiers() == {"bus": "mqtt"}
    store.alerts.test("bus", part.now_ms())
    assert part.deliver() == 0  # there is no connection: it waits
    (waiting,) = store.alerts.due(2**50)
    assert waiting.problem
