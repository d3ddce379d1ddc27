"""What is known of a fleet from what its devices have said. No I/O; time is an argument."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from edgekit.fleet.presence import Roll
from edgekit_agent.errors import ProtocolError
from edgekit_agent.protocol import HOST, Event, ExpHistogram, Info, Kind, Message, Report, State, Topic

SEEN_LIMIT = 50_000
# A broker is open to strangers: what they make up must not fill the memory.
DEVICE_LIMIT = 10_000
ROW_LIMIT = 20_000
EVENTS = 50
QUANTILES = MappingProxyType({"p50_ms": 0.5, "p90_ms": 0.9, "p99_ms": 0.99})


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A message that was new and valid."""

    site: str
    device: str
    message: Message


@dataclass(slots=True)
class ModelRow:
    """One model of one device over the window: reports with the time they speak of, merged on demand."""

    site: str
    device: str
    model: str
    reports: deque[tuple[float, Report]] = field(default_factory=deque)
    last: float = 0.0
    errors: int = 0
    _live: tuple[float, int] | None = None  # when the newest live report came, and the device's clock in it

    def add(self, report: Report, now: float, window_s: float) -> None:
        """Take a report; one that was resent counts for the time it was made, by the device's own clock."""
        when = now
        if not report.history:
            self._live = (now, report.ts_ms)
        elif self._live is not None:
            when = min(now, self._live[0] - max(0, self._live[1] - report.ts_ms) / 1000)
        self.last = now
        self.errors += sum(report.errors.values())
        position = len(self.reports)
        while position and self.reports[position - 1][0] > when:
            position -= 1
        self.reports.insert(position, (when, report))
        self.forget(now - window_s)

    def forget(self, before: float) -> None:
        """Drop what is older, but never the newest report."""
        while len(self.reports) > 1 and self.reports[0][0] < before:
            self.reports.popleft()

    def latest(self) -> Report:
        """Return the report of the latest measurements."""
        return self.reports[-1][1]

    def merged(self, stage: str = "infer") -> ExpHistogram:
        """Return the exact histogram of all reports of the window."""
        whole = ExpHistogram()
        for _, report in self.reports:
            whole.merge(getattr(report.latency, stage))
        return whole

    def rate_hz(self) -> float:
        """Return inferences a second over the windows measured."""
        length = sum(report.window_s for _, report in self.reports)
        return sum(report.inferences for _, report in self.reports) / length if length else 0.0


@dataclass(slots=True)
class Device:
    """What a device has said of itself."""

    state: State | None = None
    info: Info | None = None
    heard: float = 0.0


@dataclass(slots=True)
class Counters:
    """Every message is counted once in `received` and once more in what became of it.

    `dropped` are those that never came so far, because the reader was too slow.
    """

    received: int = 0
    decoded: int = 0
    duplicate: int = 0
    rejected: int = 0
    dropped: int = 0


class Fleet:
    """Feed it messages; ask it for rows."""

    def __init__(self, window_s: float = 60.0) -> None:
        """Keep reports that arrived within the window."""
        self.window_s = window_s
        self.devices: dict[tuple[str, str], Device] = {}
        self.events: deque[Received] = deque(maxlen=EVENTS)
        self.counters = Counters()
        self._rows: dict[tuple[str, str, str], ModelRow] = {}
        self._seen: dict[tuple[str, str, str, int], None] = {}
        self.roll = Roll()

    def feed(self, topic: str, payload: bytes, now: float) -> Received | None:
        """Take a message; return it when it is valid, new and of a device, else None."""
        self.counters.received += 1
        try:
            place = Topic.parse(topic)
            kind = _KINDS.get(place.kind)
            if kind is None or place.device == HOST or not payload:
                self.counters.decoded += 1
                if not payload:
                    self._cleared(place)
                return None
            message = kind.from_bytes(payload)
            self._check_room(place, message)
        except ProtocolError:
            self.counters.rejected += 1
            return None
        if isinstance(message, Report) and not self._is_new(place, message):
            self.counters.duplicate += 1
            return None
        self.counters.decoded += 1
        received = Received(site=place.site, device=place.device, message=message)
        return received if self._note(received, now) else None

    def _cleared(self, place: Topic) -> None:
        """An empty retained state takes a device out of the fleet."""
        if place.kind is Kind.STATE:
            self.devices.pop((place.site, place.device), None)
            self.roll.forget((place.site, place.device))
            self._rows = {key: row for key, row in self._rows.items() if key[:2] != (place.site, place.device)}

    def _check_room(self, place: Topic, message: Message) -> None:
        key = (place.site, place.device)
        if key not in self.devices and len(self.devices) >= DEVICE_LIMIT:
            raise ProtocolError(f"there are more than {DEVICE_LIMIT} devices")
        if isinstance(message, Report) and (*key, message.model) not in self._rows and len(self._rows) >= ROW_LIMIT:
            raise ProtocolError(f"there are more than {ROW_LIMIT} models")

    def _is_new(self, place: Topic, report: Report) -> bool:
        key = (place.site, place.device, report.boot, report.seq)
        if key in self._seen:
            return False
        self._seen[key] = None
        if len(self._seen) > SEEN_LIMIT:
            del self._seen[next(iter(self._seen))]
        return True

    def _note(self, received: Received, now: float) -> bool:
        key = (received.site, received.device)
        device = self.devices.setdefault(key, Device())
        match received.message:
            case State() as state:
                if self.roll.says_nothing(key, state):
                    return False
                device.state = state
                self.roll.state(key, state, now)
            case Info() as info:
                device.info = info
            case Event():
                self.events.append(received)
            case Report() as report:
                self._rows.setdefault((*key, report.model), ModelRow(*key, report.model)).add(
                    report, now, self.window_s
                )
        if not isinstance(received.message, State | Info):
            self.roll.heard(key, now)
        device.heard = now
        return True

    def rows(self, now: float) -> list[ModelRow]:
        """Return one row a device and model, by site, device and model; old reports leave, the newest stays."""
        for row in self._rows.values():
            row.forget(now - self.window_s)
        return [self._rows[key] for key in sorted(self._rows)]

    def presence(self, site: str, device: str, now: float) -> str:
        """Return the presence of a device: online, stale, offline, stopped or unknown."""
        self.roll.tick(now)
        return self.roll.verdict((site, device)).presence.value


_KINDS: Mapping[Kind, type[Message]] = MappingProxyType(
    {Kind.STATE: State, Kind.INFO: Info, Kind.EVENT: Event, Kind.TELE: Report}
)


def quantiles_ms(histogram: ExpHistogram) -> dict[str, float | None]:
    """Return p50, p90 and p99 in milliseconds, None when nothing was measured."""
    if not histogram.count:
        return dict.fromkeys(QUANTILES)
    return {name: round(1000 * histogram.quantile(q), 6) for name, q in QUANTILES.items()}
