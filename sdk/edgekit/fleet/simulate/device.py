"""One simulated device: what it says and when, by the rules of the real agent. No sockets; time is an argument."""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from types import MappingProxyType

from edgekit.fleet.simulate.commands import Operations
from edgekit.fleet.simulate.faults import Fault
from edgekit.fleet.simulate.faults import Kind as FaultKind
from edgekit.fleet.simulate.hardware import Hardware
from edgekit.fleet.simulate.latency import Bank, LatencyModel
from edgekit.fleet.simulate.memory import MemoryFile, MemorySpool
from edgekit.fleet.simulate.update import Told, Updates
from edgekit_agent import __version__
from edgekit_agent.actions import Now, Teller
from edgekit_agent.commands import Answer
from edgekit_agent.config import AgentConfig
from edgekit_agent.errors import ProtocolError
from edgekit_agent.outbox import Outbox
from edgekit_agent.protocol import (
    HOST,
    Ack,
    Desired,
    Event,
    Info,
    InstalledModel,
    Kind,
    Message,
    Reason,
    Report,
    State,
    Topic,
    commands_of,
    device_topic,
)
from edgekit_agent.remote import RemoteConfig

EXPIRY_S = MappingProxyType({Kind.TELE: 3600, Kind.EVENT: 86400, Kind.RESULT: 3600})
MOST_WAITING = 4000
LONGEST_S = 60.0
_FIRST_WINDOW = 0.9


@dataclass(frozen=True, slots=True)
class Out:
    """A message to publish; `position` is that of a report in the outbox."""

    topic: str
    payload: bytes
    retain: bool = False
    expiry_s: int | None = None
    position: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who a device is and what it begins with."""

    config: AgentConfig
    hardware: Hardware
    seed: int
    faults: tuple[Fault, ...] = ()

    @property
    def name(self) -> str:
        """Its name."""
        return self.config.device


@dataclass(slots=True)
class Counts:
    """What a device has done; `made` is reports measured; `sent` those handed over, `resent` of them again."""

    made: int = 0
    sent: int = 0
    resent: int = 0
    events: int = 0
    heartbeats: int = 0
    commands: int = 0
    boots: int = 0
    connections: int = 0


@dataclass(eq=False)
class Device:
    """A device that is fed what comes and asked what goes."""

    identity: Identity
    bank: Bank
    counts: Counts = field(default_factory=Counts)
    slower: float = 1.0
    clock_ms: int = 0

    def __post_init__(self) -> None:
        """Begin with an empty disk."""
        me = self.identity
        self._chance = Random(f"{me.seed}/{me.name}")  # noqa: S311  # no secret
        self.spool = MemorySpool(MOST_WAITING)
        self._latency = LatencyModel(me.hardware, self.bank, self._chance.getrandbits(32))
        self.online = False
        self._birth = self._sent_to = 0
        self._known: tuple[str, Info, str] | None = None
        self._topics = {
            kind: device_topic(me.config.site, me.name, kind)
            for kind in (Kind.STATE, Kind.INFO, Kind.TELE, Kind.EVENT, Kind.ACK, Kind.DESIRED, Kind.REPORTED)
        }
        self._host = device_topic(me.config.site, HOST, Kind.STATE)
        model = me.config.model[0]
        faults = {one.kind for one in me.faults}
        self._remote = RemoteConfig(me.config, MemoryFile())
        self.updates = Updates(model.name, model.version, me.config.update, faults)
        self._operations = Operations(model.name, me.hardware.runtime, self._status, self._measure)
        self._first_version = model.version
        self.boot = ""

    # --- its life

    def start(self, now: Now) -> None:
        """Start the agent: another boot, numbers from 1 on; what waited is still there."""
        now = self._at(now)
        self.counts.boots += 1
        self.boot = f"{self._chance.getrandbits(64):016x}"
        self._teller = Teller(self.boot)
        self._outbox = Outbox(self.spool, self._remote.config.telemetry.settle_s)
        self._letters: list[Out] = []
        self.online = False
        self._sent_info = ""
        window_s = self._remote.config.telemetry.window_s
        self._window_s = now.s - self._chance.random() * _FIRST_WINDOW * window_s
        self.updates.started(now)
        self._beat_s = now.s
        self._tell(now, ("info", Reason.AGENT_STARTED, {}))
        self._tell(now, ("info", Reason.MODEL_READY, {"load_s": 0.4}), about_model=True)

    @property
    def subscriptions(self) -> tuple[str, ...]:
        """The topics it listens to."""
        me = self.identity.config
        return (self._topics[Kind.ACK], self._host, self._topics[Kind.DESIRED], commands_of(me.site, me.device))

    def next_birth(self) -> Out:
        """Return the last will of the connection that is made next."""
        self._birth += 1
        return self.last_will()

    def last_will(self) -> Out:
        """Return what the broker tells when the connection is lost."""
        return self._out(Kind.STATE, State(state="offline", birth=self._birth, boot=self.boot), retain=True)

    def connected(self, now: Now, *, measuring: bool = True) -> list[Out]:
        """A connection stands and its topics are subscribed to."""
        self.online, self._sent_info = True, ""
        self.counts.connections += 1
        self._outbox.connected(now)
        self.updates.changed = True
        return [self._beat(self._at(now)), *self._info(), *self.tick(now, measuring=measuring)]

    def disconnected(self) -> None:
        """The connection is gone, or could not be made."""
        self.online = False
        self._outbox.disconnected()

    def taken(self, position: int, now: Now, *, heard: bool) -> None:
        """The broker has taken a report."""
        self._outbox.taken(position, now, heard=heard)

    def farewell(self, now: Now) -> list[Out]:
        """Stop as asked: say what is left, and goodbye."""
        now = self._at(now)
        self._tell(now, ("info", Reason.AGENT_STOPPED, {}))
        self._outbox.hurry()
        goodbye = State(state="offline", birth=self._birth, boot=self.boot, ts_ms=now.ms, why="stop")
        return [*self._letters, *self._parcels(now), self._out(Kind.STATE, goodbye, retain=True)]

    # --- time

    def tick(self, now: Now, *, measuring: bool = True) -> list[Out]:
        """Do what is due, and return what goes out now; after the end of measuring only what waits."""
        real, now = now, self._at(now)
        window_s = self._remote.config.telemetry.window_s
        if measuring and now.s >= self._window_s + window_s:
            self._close(now, now.s - self._window_s)
        for told in self.updates.tick(now):
            self._tell(now, told, about_model=True)
        self._answer(self._operations.at(now).tick(now))
        if not self.online:
            return []
        out = [self._beat(now)] if now.s >= self._beat_s else []
        out += self._info()
        if self.updates.changed:
            out.append(self._out(Kind.REPORTED, self.updates.reported(self._remote.state), retain=True))
        if self._outbox.open(real):
            out += self._letters
            self._letters = []
        return out + self._parcels(real)

    def next_s(self, now: Now, *, measuring: bool = True) -> float:
        """Return when `tick` has something to do."""
        times = [self._window_s + self._remote.config.telemetry.window_s if measuring else math.inf]
        if self.online:
            times += [self._beat_s, self._outbox.next_time(now) or math.inf]
        if self.updates.next_s is not None:
            times.append(self.updates.next_s)
        if self._operations.commands.busy:
            times.append(now.s + 0.5)
        return min(*times, now.s + LONGEST_S)

    # --- what comes

    def received(self, topic: str, payload: bytes, now: Now, *, measuring: bool = True) -> list[Out]:
        """Take a message of the host; one that is none of the protocol changes nothing."""
        try:
            self._take(topic, payload, now)
        except ProtocolError:
            return []
        return self.tick(now, measuring=measuring)

    def _take(self, topic: str, payload: bytes, now: Now) -> None:
        if topic == self._topics[Kind.ACK]:
            ack = Ack.from_bytes(payload)
            self._outbox.acknowledged(ack.boot, ack.seq, now)
        elif topic == self._host:
            if payload:
                self._outbox.host(State.from_bytes(payload))
            else:
                self._outbox.no_host()
        elif topic == self._topics[Kind.DESIRED]:
            if payload:
                self._wanted(Desired.from_bytes(payload), self._at(now))
        else:
            self.counts.commands += 1
            command = Topic.parse(topic).command or ""
            moment = self._at(now)
            self._answer(self._operations.at(moment).received(command, payload, moment))

    def _wanted(self, desired: Desired, now: Now) -> None:
        before = self._remote.state
        if desired.lease is None and self._remote.desired(desired):
            self._beat_s = min(self._beat_s, now.s + self._remote.config.telemetry.heartbeat_s)
            self._outbox.settle_s = self._remote.config.telemetry.settle_s
        if self._remote.state is not before:
            self.updates.changed = True
        for told in self.updates.desired(desired, now):
            self._tell(now, told, about_model=True)

    def _answer(self, answers: list[Answer]) -> None:
        me = self.identity.config
        for one in answers:
            topic = device_topic(me.site, me.device, Kind.RESULT, one.command)
            self._letters.append(Out(topic, one.result.to_bytes(), expiry_s=EXPIRY_S[Kind.RESULT]))

    # --- what goes

    def _at(self, now: Now) -> Now:
        """Return the moment by this device's time of day."""
        return Now(s=now.s, ms=now.ms + self.clock_ms) if self.clock_ms else now

    def jump(self, by_s: float, now: Now) -> None:
        """Let the time of day jump."""
        self.clock_ms += int(1000 * by_s)
        self._tell(self._at(now), ("info", Reason.CLOCK_JUMPED, {"by_s": round(by_s, 3)}))

    def _beat(self, now: Now) -> Out:
        heartbeat_s = self._remote.config.telemetry.heartbeat_s
        self._beat_s = now.s + heartbeat_s
        self.counts.heartbeats += 1
        state = State(
            state="online",
            birth=self._birth,
            boot=self.boot,
            ts_ms=now.ms,
            agent=__version__,
            heartbeat_s=heartbeat_s,
            info=self._described()[1],
        )
        return self._out(Kind.STATE, state, retain=True)

    def _described(self) -> tuple[Info, str]:
        """Return what the device is, and its digest, made anew only after an update."""
        me, model, serving = self.identity, self._remote.config.model[0], self.updates.serving
        if self._known is None or self._known[0] != serving:
            installed = InstalledModel(
                name=model.name,
                version=serving,
                artifact=_artifact(model.name, serving),
                format=me.hardware.format,
                runtime=me.hardware.runtime,
                executed_on=("CPU",),
                threads=1,
            )
            info = Info(
                agent=__version__,
                hardware=me.hardware.told,
                runtimes=me.hardware.runtimes,
                models=(installed,),
                labels=me.config.labels,
            )
            self._known = serving, info, f"sha256:{hashlib.sha256(info.to_bytes()).hexdigest()}"
        return self._known[1:]

    def _info(self) -> list[Out]:
        """Return the description when it is another than was sent on this connection."""
        info, digest = self._described()
        if digest == self._sent_info:
            return []
        self._sent_info = digest
        return [self._out(Kind.INFO, info, retain=True)]

    def _tell(self, now: Now, told: Told, *, about_model: bool = False) -> None:
        level, code, detail = told
        model = self._remote.config.model[0].name if about_model else None
        event = self._teller.event(level, code, now, model, detail).message
        assert isinstance(event, Event)  # noqa: S101  # that is what it makes
        self.counts.events += 1
        self._operations.log.append(f"ts={now.ms} lvl={level.upper()} event={code.value}")
        self._letters.append(self._out(Kind.EVENT, event))

    def _close(self, now: Now, seconds: float) -> None:
        """Report the window of the model that serves, and of one on trial beside it."""
        self._window_s = now.s
        for version in (self.updates.serving, self.updates.trying):
            if version is not None:
                self._outbox.put(self._report(now, seconds, version), now)
                self.counts.made += 1

    def _report(self, now: Now, seconds: float, version: str) -> Report:
        hardware, model = self.identity.hardware, self._remote.config.model[0]
        count = max(1, round(seconds * model.rate_hz))
        latency = self._latency.window(seconds, now.ms / 1000, count, self._factor(version))
        return Report(
            ts_ms=now.ms,
            boot=self.boot,
            seq=self._teller.number(),
            model=model.name,
            version=version,
            artifact=_artifact(model.name, version),
            runtime=hardware.runtime,
            executed_on=("CPU",),
            window_s=round(seconds, 3),
            inferences=count,
            latency=latency,
            cpu_percent=round(hardware.cpu_percent * self._chance.uniform(0.9, 1.1), 1),
            rss_bytes=hardware.rss_bytes,
            temperature_c=round(self._latency.temperature_c, 1),
            throttled=int(self._latency.temperature_c > hardware.throttle_c),
        )

    def _factor(self, version: str) -> float:
        """Return how much slower than usual a version is."""
        after = [one.amount for one in self.identity.faults if one.kind is FaultKind.SLOW_UPDATE]
        return self.slower * (1.0 + (after[0] if after and version != self._first_version else 0.0))

    def _parcels(self, now: Now) -> list[Out]:
        found = []
        for one in self._outbox.take(now):
            self.counts.sent += 1
            self.counts.resent += one.position < self._sent_to
            self._sent_to = max(self._sent_to, one.position + 1)
            found.append(Out(self._topics[Kind.TELE], one.payload, expiry_s=EXPIRY_S[Kind.TELE], position=one.position))
        return found

    def _out(self, kind: Kind, message: Message, *, retain: bool = False) -> Out:
        return Out(self._topics[kind], message.to_bytes(), retain, EXPIRY_S.get(kind))

    def _measure(self, runs: int) -> tuple[float, ...]:
        return self._latency.runs(runs, self._factor(self.updates.serving))

    def _status(self) -> Mapping[str, object]:
        me = self.identity.config
        return {
            "schema": 1,
            "agent": __version__,
            "device": me.device,
            "site": me.site,
            "boot": self.boot,
            "simulated": True,
            "spool": {"waiting": len(self.spool), "dropped": self.spool.dropped, "trouble": None},
            "gauges": {"temperature_c": round(self._latency.temperature_c, 1)},
        }


def _artifact(model: str, version: str) -> str:
    return f"sha256:{hashlib.sha256(f'{model} {version}'.encode()).hexdigest()}"
