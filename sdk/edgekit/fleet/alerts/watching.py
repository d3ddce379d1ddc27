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


def observe(sources: Sources, rules: Iterable[Rule], now_ms: int) -> list[Observation]:
    """Return what is seen for each rule that is on.

    Args:
        sources: where from.
        rules: what is watched.
        now_ms: the end of their windows.
    """
    return [one for rule in rules if rule.enabled for one in _observe(sources, rule, now_ms)]


def _observe(sources: Sources, rule: Rule, now_ms: int) -> Iterator[Observation]:
    if rule.signal == Signal.ROLLOUT:
        for name, status in sources.rollouts() if sources.rollouts else ():
            yield Observation(rule=rule.name, group=name, value=float(status in STOPPED))
        return
    chosen = set(sources.select(rule.filter)) if rule.filter and sources.select else None
    if rule.signal == Signal.SILENT:
        yield from _silent(sources.store, rule, chosen, now_ms)
    elif rule.signal in {Signal.CRASHES, Signal.DRIFT, Signal.EVENTS}:
        yield from _events(sources.store, rule, chosen, now_ms)
    else:
        yield from _series(sources.store, rule, chosen, now_ms)


def _silent(store: Store, rule: Rule, chosen: set[DeviceKey] | None, now_ms: int) -> Iterator[Observation]:
    """Look at devices that did not say goodbye: one that was switched off is not silent."""
    for row in store.devices.all():
        if (chosen is None or row.key in chosen) and not _left(row):
            heard = max(row.last_seen_ms, row.last_report_ms or 0)
            value = max(0, now_ms - heard) / 1000
            yield Observation(rule=rule.name, group=f"{row.site}/{row.device}", value=value)


def _left(row: DeviceRow) -> bool:
    return row.state == "offline" and row.why == "stop"


def _events(store: Store, rule: Rule, chosen: set[DeviceKey] | None, now_ms: int) -> Iterator[Observation]:
    codes = {Signal.CRASHES: CRASHES, Signal.DRIFT: DRIFT}.get(Signal(rule.signal), rule.codes)
    wanted = {str(code) for code in codes}
    counts: Counter[DeviceKey] = Counter()
    since = now_ms - int(1000 * rule.window_s)
    for event in store.events.latest(since_ms=since, limit=EVENT_LIMIT):
        if event.code in wanted and (rule.model is None or event.model == rule.model):
            counts[DeviceKey(event.site, event.device)] += 1
    for row in store.devices.all():
        if chosen is None or row.key in chosen:
            yield Observation(rule=rule.name, group=f"{row.site}/{row.device}", value=float(counts[row.key]))


def _series(store: Store, rule: Rule, chosen: set[DeviceKey] | None, now_ms: int) -> Iterator[Observation]:
    question = Question(
        from_ms=now_ms - int(1000 * rule.window_s),
        to_ms=now_ms + MINUTE_MS,
        stage=rule.stage,
        group=rule.by,
        devices=chosen,
        model=rule.model,
        version=rule.version,
    )
    for point in store.series.points(question):
        found = _value(rule, point)
        if found is not None:
            group = point.group or "all"
            yield Observation(rule=rule.name, group=group, value=found[0], samples=found[1])


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
