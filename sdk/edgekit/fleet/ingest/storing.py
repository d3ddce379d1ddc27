"""A batch into the store: again while the store is away, in halves when something in it cannot be stored."""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from edgekit.fleet.store import Ack, Arrived, Outcome
from edgekit.fleet.store.engine import first_line, is_away

_log = logging.getLogger(__name__)

RETRY_S = (0.2, 0.5, 1.0, 2.0, 5.0)


class Reports(Protocol):
    """Where reports go: `Store.reports`."""

    def add(self, batch: Sequence[Arrived], *, source: str, counted: Mapping[str, int] | None) -> Outcome:
        """Store what is new."""
        ...


class Storing:
    """Stores batches; `trouble` says why the store does not take them, None when it does."""

    def __init__(self, reports: Reports, source: str, wait: Callable[[float], bool]) -> None:
        """Store for a source.

        Args:
            reports: where they go.
            source: under which name it is counted.
            wait: waits so many seconds before the next try; False when there is no time for another.
        """
        self._reports, self._source, self._wait = reports, source, wait
        self.trouble: str | None = None

    def store(self, batch: Sequence[Arrived], counted: Mapping[str, int]) -> tuple[Ack, ...] | None:
        """Store a batch and return what to acknowledge; None when the end came first: nothing of it is lost then.

        The devices keep what was not acknowledged.
        """
        tries = 0
        while True:
            try:
                outcome = self._reports.add(batch, source=self._source, counted=counted)
            except Exception as exc:  # noqa: BLE001  # the port: a database's errors are many
                if not is_away(exc):
                    return self._halved(batch, counted, exc)
                if self.trouble is None:
                    _log.warning("event=store-away reason=%s", first_line(exc))
                self.trouble = first_line(exc)
                if not self._wait(RETRY_S[min(tries, len(RETRY_S) - 1)]):
                    return None
                tries += 1
            else:
                if self.trouble is not None:
                    _log.warning("event=store-back")
                self.trouble = None
                return outcome.acks

    def _halved(self, batch: Sequence[Arrived], counted: Mapping[str, int], exc: Exception) -> tuple[Ack, ...] | None:
        """One report that no database takes must not hold up the others for ever."""
        if len(batch) <= 1:
            _log.error("event=report-not-storable reason=%s", first_line(exc))
            return self.store([], {**counted, "rejected": counted.get("rejected", 0) + len(batch)}) if batch else ()
        middle = len(batch) // 2
        first = self.store(batch[:middle], counted)
        rest = None if first is None else self.store(batch[middle:], {})
        return None if first is None or rest is None else (*first, *rest)
