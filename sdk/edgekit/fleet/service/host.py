"""The service's own connection to the broker: low-rate messages in, everything out, and `$host/state`.

Devices learn that a host stores their reports by the retained `ek/1/{site}/$host/state`, and send what was not
acknowledged again when it says a new boot or birth. It is `online` while an ingest process is connected.
"""

import contextlib
import queue
import threading
import time
import uuid
from collections.abc import Iterable
from typing import Any, NamedTuple

from edgekit.fleet import _clock
from edgekit.fleet._url import BrokerUrl
from edgekit.fleet.allowance import Allowances, Limits, Noisy
from edgekit.fleet.service.connection import Connection, Purpose, Session, Will
from edgekit.fleet.service.health import Health
from edgekit.fleet.store import DeviceKey
from edgekit_agent.errors import ProtocolError, TransportError
from edgekit_agent.protocol import HOST, MAX_MESSAGE_BYTES, Kind, State, Topic, device_topic

NAME = "broker"
SAID = (Kind.STATE, Kind.INFO, Kind.REPORTED)
"""What the broker keeps for everybody: only the newest counts."""
EVENTS = "events"
TOLD = (Kind.EVENT, Kind.RESULT)
"""What is told once: the broker keeps it while the service is away."""
KEPT_S = 86_400
WAITING = 20_000
SITE_LIMIT = 1_000
SAYING = Limits(rate=20.0, burst=2_000.0)
"""Of what a device says beside its reports: states, events, answers. An agent keeps 200 events while it is away."""
STOP_S = 3.0


class Message(NamedTuple):
    """A message of a device as it came; `arrived_ms` is the host's clock."""

    topic: Topic
    payload: bytes
    retained: bool
    arrived_ms: int


class HostLink:
    """Connects in a thread and comes back by itself. `publish` may be called from any thread."""

    def __init__(self, url: BrokerUrl, site: str, health: Health, client_id: str = "") -> None:
        """Name the broker; `start` connects.

        Args:
            url: the broker.
            site: the one that learns at once when the service is gone.
            health: is told how the connections stand.
            client_id: by it the broker knows the service again, and has kept events and answers meanwhile.
        """
        self._url, self._site = url, site
        self.boot, self.birth = uuid.uuid4().hex, 0
        self.session = 0
        """The number of the connection: `birth` also grows when the ingest is there again."""
        self.sites = {site}
        self._able = False
        # full: the thread waits, nothing more is read, and the broker keeps it
        self._messages: queue.Queue[Message] = queue.Queue(WAITING)
        self._allowances, self.noisy, self._shed = Allowances[DeviceKey](SAYING), Noisy[DeviceKey](), 0
        self._shed_told, self._taking = 0, threading.Lock()
        said = Purpose(name=NAME, kinds=SAID, take=self._take, up=self._up, will=self._will)
        told = Purpose(
            name=EVENTS, kinds=TOLD, take=self._take, session=Session(client_id, KEPT_S) if client_id else None
        )
        self._said, self._told = Connection(url, health, said), Connection(url, health, told)

    @property
    def connected(self) -> bool:
        """Whether there is a session with the broker."""
        return self._said.connected

    def start(self) -> None:
        """Connect, and go on trying; health says how it stands."""
        self._said.start()
        self._told.start()

    def stop(self) -> None:
        """Say that the host is gone, and end."""
        if self.connected:
            with contextlib.suppress(TransportError):
                self._able = False
                infos = [self._say(site, why="stop") for site in self.sites]
                end = time.monotonic() + STOP_S
                for info in infos:
                    info.wait_for_publish(max(0.01, end - time.monotonic()))
        self._said.stop(STOP_S)
        self._told.stop(STOP_S)

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Send a message to a device, at least once (QoS 1).

        Raises:
            TransportError: there is no connection.
        """
        self._publish(topic, payload, retain=retain)

    def know_sites(self, sites: Iterable[str]) -> None:
        """Tell the devices of these sites too that their reports are stored here."""
        for site in set(sites) - self.sites:
            if len(self.sites) < SITE_LIMIT:
                self.sites.add(site)
                with contextlib.suppress(TransportError):
                    self._say(site)

    def storing(self, *, able: bool) -> None:
        """Tell the devices whether their reports are stored. Said again, it has them send what was not acknowledged."""
        if not able and not self._able:
            return
        self._able = able
        self.birth += able
        with contextlib.suppress(TransportError):
            for site in self.sites:
                self._say(site)

    def shed(self) -> int:
        """Return how many messages were not taken since the last call, because their device is beyond its limits."""
        count, self._shed_told = self._shed - self._shed_told, self._shed
        return count

    def take(self, timeout_s: float, limit: int) -> list[Message]:
        """Return what came, waiting so long for the first message."""
        found: list[Message] = []
        with contextlib.suppress(queue.Empty):
            found.append(self._messages.get(timeout=timeout_s))
            while len(found) < limit:
                found.append(self._messages.get_nowait())
        return found

    # --- out

    def _publish(self, topic: str, payload: bytes, *, retain: bool) -> Any:  # noqa: ANN401  # paho's
        client = self._said.client
        if client is None or not self.connected:
            raise TransportError(f"there is no connection to the broker {self._url}")
        return client.publish(topic, payload, qos=1, retain=retain)

    def _say(self, site: str, why: str | None = None) -> Any:  # noqa: ANN401  # paho's
        state = self._state("online" if self._able else "offline", why)
        return self._publish(device_topic(site, HOST, Kind.STATE), state, retain=True)

    def _state(self, state: str, why: str | None = None) -> bytes:
        now_ms = _clock.now_ms()
        return State(state=state, boot=self.boot, birth=self.birth, ts_ms=now_ms, why=why).to_bytes()

    # --- what comes, in the connections' threads

    def _will(self) -> Will:
        self.birth += 1
        return Will(device_topic(self._site, HOST, Kind.STATE), self._state("offline"))

    def _up(self) -> None:
        self.session += 1
        for site in self.sites:
            self._say(site)

    def _take(self, message: Any) -> None:  # noqa: ANN401  # paho's
        if len(message.payload) > MAX_MESSAGE_BYTES:
            return
        try:
            topic = Topic.parse(message.topic)
        except ProtocolError:
            return
        if topic.device == HOST:
            return
        key = DeviceKey(topic.site, topic.device)
        with self._taking:
            if not self._allowances.passes(key, message.payload):
                self._shed += 1
                self.noisy.add(key)
                return
        one = Message(topic, message.payload, bool(message.retain), _clock.now_ms())
        while not self._said.stopping:
            with contextlib.suppress(queue.Full):
                self._messages.put(one, timeout=0.5)
                return
