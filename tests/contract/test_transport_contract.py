"""What every transport must do, the same for the one in memory and for MQTT with a real broker."""

import select
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edgekit_agent.config import BrokerConfig
from edgekit_agent.errors import ConfigError
from edgekit_agent.transport import mqtt
from edgekit_agent.transport.base import Connected, Disconnected, Received, Taken, Transport, TransportEvent, Will
from edgekit_agent.transport.memory import MemoryBroker, MemoryTransport
from edgekit_agent.transport.mqtt import MqttTransport

WILL_TOPIC = "ek/1/default/edge-1/state"
PATIENCE_S = 30.0


class Births:
    """Counts the wills that were asked for."""

    def __init__(self) -> None:
        """Start at none."""
        self.count = 0

    def __call__(self) -> Will:
        self.count += 1
        return Will(self.count, WILL_TOPIC, b'{"st":"offline"}')


def wait(transport: Transport, kind: type[TransportEvent], seen: list[TransportEvent] | None = None) -> Any:
    """Return the first event of a kind, as a supervisor would wait for it: by the descriptor."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        ready, _, _ = select.select([transport.fileno()], [], [], 1.0)
        events = transport.poll() if ready else []
        if seen is not None:
            seen += events
        for event in events:
            if isinstance(event, kind):
                return event
    pytest.fail(f"no {kind.__name__} within {PATIENCE_S} s")


class TransportContract:
    """The port's promises; a subclass gives a transport, and takes its broker away and brings it back."""

    @pytest.fixture
    def transport(self) -> Transport:
        raise NotImplementedError

    @pytest.fixture
    def take_away(self) -> Callable[[], None]:
        raise NotImplementedError

    @pytest.fixture
    def bring_back(self) -> Callable[[], None]:
        raise NotImplementedError

    @pytest.fixture
    def connected(self, transport: Transport) -> Iterator[Transport]:
        transport.start(Births())
        wait(transport, Connected)
        yield transport
        transport.stop()

    def test_is_silent_and_takes_nothing_before_it_is_started(self, transport: Transport) -> None:
        assert transport.publish("a/b", b"x") is None
        assert transport.poll() == []
        transport.stop()

    def test_tells_its_connection_with_the_birth_of_its_will(self, transport: Transport) -> None:
        births = Births()
        transport.start(births)
        assert wait(transport, Connected).birth == births.count == 1
        transport.stop()

    def test_tells_when_the_broker_has_taken_a_message(self, connected: Transport) -> None:
        token = connected.publish("a/b", b"x")
        assert token is not None
        assert wait(connected, Taken).token == token

    def test_every_message_has_a_token_of_its_own(self, connected: Transport) -> None:
        tokens = {connected.publish("a/b", str(number).encode()) for number in range(50)}
        assert len(tokens) == 50
        taken: set[int] = set()
        while len(taken) < 50:
            seen: list[TransportEvent] = []
            wait(connected, Taken, seen)
            taken |= {event.token for event in seen if isinstance(event, Taken)}
        assert taken == tokens

    def test_a_lost_connection_is_told_and_nothing_is_taken_meanwhile(
        self, connected: Transport, take_away: Callable[[], None]
    ) -> None:
        take_away()
        assert wait(connected, Disconnected).reason
        assert connected.publish("a/b", b"x") is None

    def test_comes_back_by_itself_with_a_new_will(
        self, transport: Transport, take_away: Callable[[], None], bring_back: Callable[[], None]
    ) -> None:
        births = Births()
        transport.start(births)
        first = wait(transport, Connected).birth
        take_away()
        wait(transport, Disconnected)
        bring_back()
        assert wait(transport, Connected).birth > first
        token = transport.publish("a/b", b"x")
        assert token is not None
        assert wait(transport, Taken).token == token
        transport.stop()

    def test_hears_what_it_has_subscribed_to_and_again_after_a_reconnect(
        self, transport: Transport, take_away: Callable[[], None], bring_back: Callable[[], None]
    ) -> None:
        transport.start(Births(), ("a/heard", "a/too"))
        wait(transport, Connected)
        for payload in (b"one", b"two"):
            transport.publish("a/other", b"not this")
            transport.publish("a/heard", payload)
            assert wait(transport, Received) == Received("a/heard", payload)
            if payload == b"one":
                take_away()
                wait(transport, Disconnected)
                bring_back()
                wait(transport, Connected)
        transport.stop()

    def test_is_alive_from_the_start_and_while_the_broker_is_away(
        self, transport: Transport, take_away: Callable[[], None]
    ) -> None:
        transport.start(Births())
        assert transport.alive
        wait(transport, Connected)
        take_away()
        wait(transport, Disconnected)
        assert transport.alive
        transport.stop()

    def test_stops_quickly_whether_connected_or_not(self, transport: Transport, take_away: Callable[[], None]) -> None:
        transport.start(Births())
        wait(transport, Connected)
        take_away()
        start = time.monotonic()
        transport.stop()
        assert time.monotonic() - start < 4


class TestMemory(TransportContract):
    @pytest.fixture
    def broker(self) -> MemoryBroker:
        return MemoryBroker()

    @pytest.fixture
    def transport(self, broker: MemoryBroker) -> Transport:
        return MemoryTransport(broker)

    @pytest.fixture
    def take_away(self, broker: MemoryBroker) -> Callable[[], None]:
        return broker.go_down

    @pytest.fixture
    def bring_back(self, broker: MemoryBroker) -> Callable[[], None]:
        return broker.come_up

    def test_a_dropped_message_is_never_taken(self, broker: MemoryBroker, connected: Transport) -> None:
        broker.drop_next = 1
        connected.publish("a/b", b"lost")
        kept = connected.publish("a/b", b"kept")
        assert connected.poll() == [Taken(kept or 0)]
        assert broker.messages == [("a/b", b"kept")]

    def test_a_lost_connection_publishes_the_will(self, broker: MemoryBroker, connected: Transport) -> None:
        broker.go_down()
        assert broker.retained == {WILL_TOPIC: b'{"st":"offline"}'}
        wait(connected, Disconnected)

    def test_a_clean_stop_does_not(self, broker: MemoryBroker, transport: Transport) -> None:
        transport.start(Births())
        transport.stop()
        broker.go_down()
        assert broker.retained == {}


@pytest.mark.slow
class TestMqtt(TransportContract):
    @pytest.fixture
    def broker(self, tmp_path: Path) -> Iterator[Any]:
        brokers = pytest.importorskip("edgekit.fleet._brokers", reason="needs edgekit-sdk, which starts the broker")
        executable = brokers.find_mosquitto()
        if executable is None:
            pytest.skip("needs mosquitto: apt-get install mosquitto")
        port = brokers.free_port()

        class Restartable:
            def __init__(self) -> None:
                self.url = f"mqtt://127.0.0.1:{port}"
                self.running: Any = None

            def up(self) -> None:
                self.running = brokers.MosquittoBroker(executable, port, tmp_path)

            def down(self) -> None:
                self.running.process.kill()
                self.running.process.wait()

        one = Restartable()
        one.up()
        yield one
        one.down()

    @pytest.fixture
    def transport(self, broker: Any, monkeypatch: pytest.MonkeyPatch) -> Transport:
        monkeypatch.setattr(mqtt, "BACKOFF_S", (0.2, 0.5))
        return MqttTransport("edge-1", BrokerConfig(url=broker.url))

    @pytest.fixture
    def take_away(self, broker: Any) -> Callable[[], None]:
        down: Callable[[], None] = broker.down
        return down

    @pytest.fixture
    def bring_back(self, broker: Any) -> Callable[[], None]:
        up: Callable[[], None] = broker.up
        return up

    def test_says_when_nobody_has_subscribed(self, connected: Transport) -> None:
        connected.publish("a/b", b"x")
        assert not wait(connected, Taken).heard

    def test_many_threads_of_traffic_leave_the_connection_whole(self, connected: Transport) -> None:
        """Two writers on one socket once could mix packets: large messages in quick succession show it."""
        payload = b"x" * 200_000
        tokens = {connected.publish("a/b", payload) for _ in range(100)}
        taken: set[int | None] = set()
        while len(taken) < 100:
            seen: list[TransportEvent] = []
            wait(connected, Taken, seen)
            assert not [event for event in seen if isinstance(event, Disconnected)]
            taken |= {event.token for event in seen if isinstance(event, Taken)}
        assert taken == tokens


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"password_file": "/nowhere"}, "broker.password_file '/nowhere' cannot be read"),
        ({"url": "mqtts://h", "ca": "/nowhere"}, "a certificate of the broker's configuration"),
    ],
)
def test_files_that_are_not_there_are_told_when_the_transport_is_made(config: dict[str, str], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        MqttTransport("edge-1", BrokerConfig(**config))  # type: ignore[arg-type]  # text fields only


@pytest.mark.parametrize(("name", "other"), [("password_file", {}), ("key", {"url": "mqtts://h", "cert": "c.pem"})])
def test_a_secret_that_everybody_may_read_is_not_used(name: str, other: dict[str, str], tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hunter2")
    secret.chmod(0o604)
    config = BrokerConfig(**{name: str(secret), **other})  # type: ignore[arg-type]  # text fields only
    with pytest.raises(ConfigError, match=f"broker.{name}: everybody may read or change") as caught:
        MqttTransport("edge-1", config)
    assert caught.value.__notes__ == [f"chmod 600 {secret}"]


def test_the_thread_ends_with_its_transport() -> None:
    before = threading.active_count()
    transport = MqttTransport("edge-1", BrokerConfig(url="mqtt://127.0.0.1:9"))
    transport.start(Births())
    wait(transport, Disconnected)
    transport.stop()
    assert threading.active_count() == before


def test_one_whose_thread_has_ended_or_is_stuck_is_not_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    transport = MqttTransport("edge-1", BrokerConfig(url="mqtt://127.0.0.1:9"))
    assert not transport.alive
    transport.start(Births())
    wait(transport, Disconnected)
    assert transport.alive
    monkeypatch.setattr(transport, "_patience", 0.0)
    assert not transport.alive
    transport.stop()
    monkeypatch.setattr(transport, "_patience", float("inf"))
    assert not transport.alive
