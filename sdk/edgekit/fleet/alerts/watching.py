"""What rules look at, read from the store."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass

from edgekit.fleet.alerts.machine import Observation
from edgekit.fleet.alerts.rules import CRASHES, DRIFT, GAUGES, QUANTILES, Rule, Signal
from edgekit.fleet.query import parse
from edgekit.fleet.store import DeviceKey, DeviceRow, Question, SeriesPoint, Store

EVENT_LIMIT = 50_000
MINUTE_MS = 60_000
STOPPED = frozenset({"stopped", "rolling-back", "rolled-back"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where values come from: the store, devices by a filter's text, and rollouts by id and status."""

    store: Store
    select: Callable[[str], Collection[DeviceKey]] | None = None
    rollouts: Callable[[], Iterable[tuple[str, str]]] | None = None

    @classmethod
    def of(cls, store: Store) -> "Sources":
        """Return all that a store has."""
        return cls(
            store=store,
            select=lambda text: [row.key for row in parse(text).devices(store)],
            rollouts=lambda: [(head.row.id, head.row.state.status) for head in store.rollouts.heads()],
        )


class Look:
    """One look at the store: what several rules ask for is read once."""

    def __init__(self, sources: Sources, now_ms: int) -> None:
        """Look at what is there at a time."""
        self._sources, self._now_ms = sources, now_ms
        self._points: dict[tuple[object, ...], list[SeriesPoint]] = {}
        self._counts: dict[float, Counter[tuple[DeviceKey, str, str | None]]] = {}
        self._chosen: dict[str, frozenset[DeviceKey]] = {}
        self._rows: list[DeviceRow] | None = None

    def observe(self, rule: Rule) -> list[Observation]:
        """Return what is seen for a rule."""
        return list(self._observe(rule)) if rule.enabled else []

    def _observe(self, rule: Rule) -> Iterator[Observation]:
        if rule.signal == Signal.ROLLOUT:
            for name, status in self._sources.rollouts() if self._sources.rollouts else ():
                yield Observation(rule=rule.name, group=name, value=float(status in STOPPED))
        elif rule.signal == Signal.SILENT:
            yield from self._silent(rule)
        elif rule.signal in {Signal.CRASHES, Signal.DRIFT, Signal.EVENTS}:
            yield from self._events(rule)
        else:
            yield from self._series(rule)

    def _devices(self, rule: Rule) -> list[DeviceRow]:
        if self._rows is None:
            self._rows = self._sources.store.devices.all()
        chosen = self._wanted(rule)
        return self._rows if chosen is None else [row for row in self._rows if row.key in chosen]

    def _wanted(self, rule: Rule) -> frozenset[DeviceKey] | None:
        if not rule.filter or self._sources.select is None:
            return None
        if rule.filter not in self._chosen:
            self._chosen[rule.filter] = frozenset(self._sources.select(rule.filter))
        return self._chosen[rule.filter]

    def _silent(self, rule: Rule) -> Iterator[Observation]:
        """Look at devices that did not say goodbye: one that was switched off is not silent."""
        for row in self._devices(rule):
            if not _left(row):
                heard = max(row.last_seen_ms, row.last_report_ms or 0)
                value = max(0, self._now_ms - heard) / 1000
                yield Observation(rule=rule.name, group=f"{row.site}/{row.device}", value=value)

    def _events(self, rule: Rule) -> Iterator[Observation]:
        codes = {Signal.CRASHES: CRASHES, Signal.DRIFT: DRIFT}.get(Signal(rule.signal), rule.codes)
        wanted = {str(code) for code in codes}
        counts: Counter[DeviceKey] = Counter()
        for (key, code, model), count in self._events_of(rule.window_s).items():
            if code in wanted and rule.model in {None, model}:
                counts[key] += count
        for row in self._devices(rule):
            yield Observation(rule=rule.name, group=f"{row.site}/{row.device}", value=float(counts[row.key]))

    def _events_of(self, window_s: float) -> Counter[tuple[DeviceKey, str, str | None]]:
        if window_s not in self._counts:
            since = self._now_ms - int(1000 * window_s)
            found = self._sources.store.events.latest(since_ms=since, limit=EVENT_LIMIT)
            self._counts[window_s] = Counter((DeviceKey(one.site, one.device), one.code, one.model) for one in found)
        return self._counts[window_s]

    def _series(self, rule: Rule) -> Iterator[Observation]:
        asked = (rule.window_s, rule.stage, rule.by, rule.filter, rule.model, rule.version)
        if asked not in self._points:
            question = Question(
                from_ms=self._now_ms - int(1000 * rule.window_s),
                to_ms=self._now_ms + MINUTE_MS,
                stage=rule.stage,
                group=rule.by,
                devices=self._wanted(rule),
                model=rule.model,
                version=rule.version,
            )
            self._points[asked] = self._sources.store.series.points(question)
        for point in self._points[asked]:
            found = _value(rule, point)
            if found is not None:
                yield Observation(rule=rule.name, group=point.group or "all", value=found[0], samples=found[1])


def observe(sources: Sources, rules: Iterable[Rule], now_ms: int) -> list[Observation]:
    """Return what is seen for each rule that is on.

    Args:
        sources: where from.
        rules: what is watched.
        now_ms: the end of their windows.
    """
    look = Look(sources, now_ms)
    return [one for rule in rules for one in look.observe(rule)]


def _left(row: DeviceRow) -> bool:
    return row.state == "offline" and row.why == "stop"


def _value(rule: Rule, point: SeriesPoint) -> tuple[float, int] | None:
    """Return the value and of how many samples it is, None where nothing was measured."""
    if rule.signal in QUANTILES:
        count = point.histogram.count
        return (1000 * point.histogram.quantile(QUANTILES[rule.signal]), count) if count else None
    if rule.signal in GAUGES:
        gauge = point.gauges.get(GAUGES[rule.signal])
        return ((gauge.most if rule.above else gauge.least), gauge.count) if gauge and gauge.count else None
    if rule.signal == Signal.ERROR_RATE:
        tried = point.inferences + point.errors
        return (point.errors / tried, tried) if tried else None
    value = point.dropped if rule.signal == Signal.DROPPED else point.reports
    return float(value), point.reports
