"""Goes through updates: one durable write before each step, one thing done at a time, each with a deadline."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Protocol

from edgekit_agent import __version__
from edgekit_agent.actions import Now
from edgekit_agent.config import UpdateConfig
from edgekit_agent.fetch.slots import AGENT
from edgekit_agent.logline import logline
from edgekit_agent.protocol import Desired, Reason
from edgekit_agent.update import rules
from edgekit_agent.update.lease import Lease
from edgekit_agent.update.records import Outcome, Phase, Record, Records, Update, Wanted
from edgekit_agent.update.rules import Act
from edgekit_agent.update.store import Store

_log = logging.getLogger(__name__)

PAUSES_S = (1.0, 5.0, 15.0, 60.0, 300.0)
"""Before another try of what failed for a reason that may pass."""
RETRY_WRITE_S = 10.0
SHORT_S = 60.0
_BUSY = frozenset({Reason.UPDATE_BUSY, Reason.FETCH_CRASHED})
_AWAY = _BUSY | {
    Reason.REPOSITORY_UNREACHABLE,
    Reason.REPOSITORY_ANSWER_WRONG,
    Reason.DOWNLOAD_TOO_SLOW,
    Reason.DOWNLOAD_DAMAGED,
}
PASSING: Mapping[str, frozenset[Reason]] = MappingProxyType(
    {Phase.CHECKING: _AWAY, Phase.DOWNLOADING: _AWAY, Phase.VERIFYING: _BUSY}
)
"""By phase, the reasons for which it is tried again until its deadline; wrong signatures are not among them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """An act succeeded; `found` are fields of the update that are known now."""

    found: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """An act failed."""

    reason: Reason
    detail: Mapping[str, object]


class Hands(Protocol):
    """Does what an update needs done, one act at a time, without waiting for it."""

    def begin(self, act: Act, name: str, records: Records, now: Now) -> None:
        """Begin an act for a model's update, from its beginning or where a crash cut it off."""
        ...

    def poll(self, now: Now) -> Done | Refused | None:
        """Return what came of it, None while it goes on."""
        ...

    def stop(self, now: Now) -> None:
        """Leave off, whatever it is; the model that serves goes on."""
        ...


class Updater:
    """The updates of all models of a device; one at a time is more than announced."""

    def __init__(
        self,
        config: UpdateConfig,
        known: frozenset[str],
        store: Store,
        hands: Hands,
        configured: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Take the names of the models the device runs, and the version that the configuration has of some."""
        self._known, self._store, self._hands, self._configured = known, store, hands, configured
        self.lease = Lease()
        self._limits: Mapping[Phase, float] = MappingProxyType(
            {
                Phase.CHECKING: config.check_s,
                Phase.DOWNLOADING: config.download_s,
                Phase.VERIFYING: config.install_s,
                Phase.STAGED: config.install_s,
                Phase.TRIAL: config.trial_limit_s,
            }
        )
        self.records, self.doubt = store.load()
        self.ended: list[tuple[str, Outcome]] = []
        self.changed = True
        self._active: str | None = None
        self._since = 0.0
        self._tries = 0
        self._again_at: float | None = None
        self.trouble: Refused | None = None
        self._unsaved_since: float | None = None

    def start(self, now: Now) -> None:
        """Go on with what another process of this agent began."""
        for name, record in self.records.models.items():
            if record.update is not None and Phase(record.update.phase) is not Phase.ANNOUNCED:
                known = name in self._known
                self._move(name, rules.started(record) if known else _unknown(record), now)
                break
        self._begin_next(now)

    def desired(self, desired: Desired, now: Now) -> None:
        """Note an announcement; what it replaces is left off."""
        records = rules.announced(self.records, desired, self._known)
        if records is self.records:
            return
        name, before = self._active, self._update
        self._keep(records, now)
        after = self._update
        if name is not None and before is not None and after is None:
            self._hands.stop(now)
            self._end(name, self._record.outcome)
        elif before is not None and after is not None and before.phase != after.phase:
            self._since = now.s
            self._begin(now)
        self._begin_next(now)

    def offer(self, name: str, wanted: Wanted, counter: int, now: Now) -> None:
        """Note what was found in the repository, without an announcement."""
        record = rules.offered(self.records.of(name), wanted, counter) if self._active is None else None
        if record is not None:
            self._move(name, record, now)

    def tick(self, now: Now) -> None:
        """Go on where an act has ended or its time is over."""
        if self._unsaved_since is not None and now.s - self._unsaved_since >= RETRY_WRITE_S:
            self._keep(self.records, now)
        if self._active is not None:
            self._look(self._active, now)
        self._begin_next(now)

    def _look(self, name: str, now: Now) -> None:
        self._since = min(self._since, now.s)  # should the steady clock ever step back, a deadline only starts anew
        result = None if self._again_at is not None else self._result(now)
        if isinstance(result, Done):
            self._move(name, rules.succeeded(self._record, result.found), now)
        elif isinstance(result, Refused):
            self._refused(name, result, now)
        elif now.s - self._since >= self._limit:
            self._hands.stop(now)
            detail = {"phase": self._phase, "limit_s": self._limit}
            reason = Reason.DEADLINE_PASSED if self.lease.question is None else Reason.LEASE_MISSING
            self._move(name, rules.failed(self._record, reason, detail), now)
        elif self._again_at is not None and now.s >= self._again_at:
            self._begin(now)

    def _result(self, now: Now) -> Done | Refused | None:
        """Return what came of the phase's act; where the host's leave is needed, success has to wait for it."""
        result = Done() if self._phase == Phase.STAGED else self._hands.poll(now)
        if self._phase not in {Phase.STAGED, Phase.TRIAL} or not isinstance(result, Done):
            return result
        return result if self.lease.held(now, self._lease_s) else None

    @property
    def _lease_s(self) -> float | None:
        return self._update.wanted.lease_s if self._update is not None else None

    @property
    def idle(self) -> bool:
        """Whether no update is on its way."""
        return self._active is None

    def next_time(self) -> float | None:
        """Return when `tick` has something to do, beside what the hands wait for; on the steady clock."""
        times = [] if self._unsaved_since is None else [self._unsaved_since + RETRY_WRITE_S]
        if self._active is not None:
            times.append(self._since + self._limit)
        if self._again_at is not None:
            times.append(self._again_at)
        if self._lease_s is not None and (again := self.lease.next_time(self._lease_s)) is not None:
            times.append(again)
        return min(times, default=None)

    # --- from step to step

    def _begin_next(self, now: Now) -> None:
        """Begin the first update that waits, when none is on its way."""
        if self._active is not None:
            return
        for name, record in self.records.models.items():
            if name not in self._known:
                continue
            following = rules.due(record, __version__ if name == AGENT else None, self._configured.get(name))
            if following is not None and following.update is None:
                self._keep(self.records.having(name, following), now)
            elif following is not None or record.update is not None:
                self._active = name
                self._move(name, following or rules.succeeded(record, {}), now)
                return

    def _move(self, name: str, record: Record, now: Now) -> None:
        """Write the next step and do it; an update whose next step cannot be written is given up where it stands."""
        self._active = name
        before = self.records.of(name)
        if not self._keep(self.records.having(name, record), now):
            self._hands.stop(now)
            self.records = self.records.having(name, self._unwritten(before, record))
        self._tries, self._again_at, self.trouble = 0, None, None
        self.lease.drop()
        after = self._record
        if after.update is None:
            self._end(name, after.outcome)
            return
        self._since = now.s
        if after.update.phase == Phase.STAGED:
            self._look(name, now)
        elif rules.step_of(after.update).act is Act.NOTHING:
            self._move(name, rules.succeeded(after, {}), now)
        else:
            self._begin(now)

    def _unwritten(self, before: Record, after: Record) -> Record:
        """Return what goes on in memory when a step could not be written."""
        if after.update is None or Phase(after.update.phase) in rules.ENDS:
            return after  # to an end, where nothing is risked
        committing = Phase(after.update.phase) is Phase.COMMITTED
        return rules.abandoned(before if committing else after, Reason.DISK_FULL, {"text": "state.json"})

    def _begin(self, now: Now) -> None:
        update = self._update
        if self._active is None or update is None:
            return
        self._again_at = None
        _log.info("%s", logline({"event": "update", "model": self._active, "phase": update.phase}))
        self._hands.begin(rules.step_of(update).act, self._active, self.records, now)

    def _end(self, name: str, outcome: Outcome | None) -> None:
        self._active = self._again_at = None
        if outcome is not None:
            self.ended.append((name, outcome))

    def _refused(self, name: str, result: Refused, now: Now) -> None:
        pause = PAUSES_S[min(self._tries, len(PAUSES_S) - 1)]
        if result.reason in PASSING.get(self._phase, ()) and now.s + pause < self._since + self._limit:
            self._tries += 1
            self.trouble, self.changed = result, True
            self._again_at = now.s + pause
        else:
            self._move(name, rules.failed(self._record, result.reason, result.detail), now)

    def _keep(self, records: Records, now: Now) -> bool:
        """Write what is known; return whether it is on the disk. It is known in memory all the same."""
        self.records, self.changed = records, True
        try:
            self._store.save(records)
        except OSError as exc:
            _log.warning("%s", logline({"event": "state-not-kept", "reason": str(exc)}))
            self._unsaved_since = now.s
            return False
        self._unsaved_since = None
        return True

    @property
    def _record(self) -> Record:
        return self.records.of(self._active or "")

    @property
    def _update(self) -> Update | None:
        return self._record.update

    @property
    def _phase(self) -> str:
        return self._update.phase if self._update else ""

    @property
    def _limit(self) -> float:
        return self._limits.get(Phase(self._phase), SHORT_S) if self._update else SHORT_S


def _unknown(record: Record) -> Record:
    """Return the record of an update of a model that is not configured any more."""
    return rules.abandoned(record, Reason.MODEL_UNKNOWN, {})
