"""Drives all rollouts: read the store, decide, write, and only then publish. Everything it knows is in the store."""

import contextlib
import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from edgekit.fleet.audit import SYSTEM
from edgekit.fleet.rollout.findings import Finding
from edgekit.fleet.rollout.gates import judge
from edgekit.fleet.rollout.machine import Moment, Seen, advance
from edgekit.fleet.rollout.plan import Key
from edgekit.fleet.rollout.sight import Question, Sight
from edgekit.fleet.rollout.state import State, Status
from edgekit.fleet.rollout.watching import Watch
from edgekit.fleet.store.base import DeviceKey, EventRow, ReportRow
from edgekit.fleet.store.desired import DesiredRow
from edgekit.fleet.store.rollouts import Follows, RolloutRow
from edgekit_agent.errors import TransportError
from edgekit_agent.protocol import Desired, Kind, device_topic

if TYPE_CHECKING:
    from edgekit.fleet.store import Store

_log = logging.getLogger(__name__)

HEAR_MS = 60_000
"""How long after the connection stands no device's time is over: what it has done meanwhile has to be heard first."""
JUDGE_MS = 10_000
"""How long what the gates said stands while nothing new is reported: silence is news, too."""
_JUDGED = frozenset({Status.RUNNING, Status.PAUSED, Status.APPROVAL})


class Publisher(Protocol):
    """The service's connection to the broker."""

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Send a message, QoS 1.

        Raises:
            TransportError: if there is no connection.
        """
        ...


class _Followed:
    """A rollout under way, with what was read of its devices."""

    def __init__(self, store: "Store", row: RolloutRow) -> None:
        self.row = row
        self.watch = Watch(store, row.plan)
        self.judged_ms = -JUDGE_MS
        self.findings: list[Finding] = []


class Driver:
    """One at a time may drive the rollouts of a store."""

    def __init__(self, store: "Store", publisher: Publisher) -> None:
        """Take the store and the way to the devices."""
        self._store, self._publisher = store, publisher
        self._sight = Sight(store.engine)
        self._followed: dict[str, _Followed] = {}
        self._reports = store.reports.cursor()
        self._events = 0
        self._granted: dict[Key, str] = {}
        self._all = True
        self._hears_ms: int | None = None

    def connected(self, now_ms: int) -> None:
        """The broker is there (again), and may have forgotten what was retained: everything is published anew."""
        self._all, self._hears_ms = True, now_ms + HEAR_MS
        self._granted.clear()

    def disconnected(self) -> None:
        """The broker is away: nothing is heard of any device."""
        self._hears_ms = None

    def tick(self, now_ms: int) -> None:
        """Do all that is due; blocks for as long as the database takes."""
        try:
            reports, events = self._news()
            for followed in self._under_way():
                self._advance(followed, reports, events, now_ms)
        except Exception:
            self._followed.clear()  # what was read for them and not judged by is read again out of the store
            raise
        self.publish()
        self.grant()

    # --- what there is

    def _news(self) -> tuple[list[ReportRow], list[EventRow]]:
        if not self._followed:
            self._reports = self._store.reports.cursor()  # nothing is watched: what is stored is read when it is
            self._events = max((event.id for event in self._store.events.latest(limit=1)), default=0)
            return [], []
        reports = self._store.reports.since(self._reports)
        events = self._store.events.since(self._events)
        self._reports = reports[-1].id if reports else self._reports
        self._events = max((event.id for event in events), default=self._events)
        return reports, events

    def _under_way(self) -> list[_Followed]:
        revisions = self._store.rollouts.revisions()
        for gone in self._followed.keys() - revisions.keys():
            del self._followed[gone]
        for name, rev in revisions.items():
            known = self._followed.get(name)
            if known is not None and known.row.rev == rev:
                continue
            row = self._store.rollouts.get(name)
            if row is not None and known is None:
                self._followed[name] = _Followed(self._store, row)
            elif row is not None and known is not None:
                known.row = row
        return list(self._followed.values())

    # --- a rollout

    def _advance(
        self, followed: _Followed, reports: Sequence[ReportRow], events: Sequence[EventRow], now_ms: int
    ) -> None:
        row = followed.row
        seen, silent = self._sight.of(list(row.state.jobs), row.plan.release.model)
        if row.state.status in _JUDGED:
            self._judge(followed, (reports, events), silent, now_ms)
        findings = followed.findings if row.state.status in _JUDGED else []
        hears = self._hears_ms is not None and now_ms >= self._hears_ms
        state, actions = advance(row.plan, row.state, seen, findings, Moment(ms=now_ms, hears=hears))
        if _new_wave(row.state, state):
            followed.findings, followed.judged_ms = [], -JUDGE_MS
        follows = Follows(state=state, actions=actions, findings=followed.findings)
        saved = self._store.rollouts.save(row, follows, SYSTEM, now_ms)
        if saved is not None:  # otherwise somebody gave an order meanwhile: it is read at the next turn
            followed.row = saved

    def _judge(
        self,
        followed: _Followed,
        news: tuple[Sequence[ReportRow], Sequence[EventRow]],
        silent: frozenset[Key],
        now_ms: int,
    ) -> None:
        row, watch = followed.row, followed.watch
        fresh = watch.reports(row.state, news[0])
        fresh = watch.events(news[1]) or fresh
        watch.follow(row.state, now_ms)
        if not fresh and now_ms - followed.judged_ms < JUDGE_MS and not _changed(row, followed):
            return
        canaries, controls = watch.watched(row.state, silent, now_ms)
        wave = row.state.of_wave(row.state.wave)
        followed.findings = judge(row.plan.gates, len(row.plan.waves), wave, canaries, controls)
        followed.judged_ms = now_ms

    # --- to the devices

    def publish(self) -> None:
        """Publish what the broker has not taken; what cannot be published now stays to be."""
        rows = self._store.desired.all() if self._all else self._store.desired.pending()
        sent: list[DesiredRow] = []
        with contextlib.suppress(TransportError):
            for row in rows:
                topic = device_topic(*row.key, Kind.DESIRED)
                self._publisher.publish(topic, row.message().to_bytes(), retain=True)
                sent.append(row)
            self._all = False
        self._store.desired.published([row for row in sent if row.published_v != row.v])

    def grant(self) -> None:
        """Answer devices that ask whether they may go on."""
        rows: dict[str, RolloutRow | None] = {}
        for question in self._sight.questions():
            if self._granted.get(question.key) == question.text or not self._may(question, rows):
                continue
            body = Desired(version=question.v, lease=question.text)
            try:
                self._publisher.publish(device_topic(*question.key, Kind.DESIRED), body.to_bytes())
            except TransportError:
                return
            self._granted[question.key] = question.text

    def _may(self, question: Question, rows: dict[str, RolloutRow | None]) -> bool:
        """Whether the rollout that a device's desired state is of lets it go on; asked of the store, each time."""
        wanted = self._store.desired.get(DeviceKey(*question.key))
        if wanted is None or wanted.v != question.v or not wanted.rollout:
            return False
        if wanted.rollout not in rows:
            rows[wanted.rollout] = self._store.rollouts.get(wanted.rollout)
        row = rows[wanted.rollout]
        return row is not None and row.state.grants(question.key)


def _new_wave(before: State, after: State) -> bool:
    return (before.wave, before.status) != (after.wave, after.status) and after.wave != before.wave


def _changed(row: RolloutRow, followed: _Followed) -> bool:
    """Whether devices have ended since the gates were asked."""
    jobs = next((one for one in followed.findings if one.gate == "jobs"), None)
    return jobs is None or any(job.since_ms >= followed.judged_ms for job in row.state.of_wave(row.state.wave))


def seen_of(store: "Store", row: RolloutRow) -> Mapping[Key, Seen]:
    """Return what is seen of a rollout's devices."""
    return Sight(store.engine).of(list(row.state.jobs), row.plan.release.model)[0]
