"""What was reported since a mark, added up by group: each report is in one delta, however often it is asked for.

Deltas of a group do not overlap in time: one begins where the one before ended, and a report that came late is in the
delta of when it came.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edgekit.fleet import _clock
from edgekit.fleet.export.census import hardware_names
from edgekit.fleet.store.base import DeviceKey, ReportRow
from edgekit.fleet.store.totals import GROUP_LIMIT, LABEL_LIMIT, OVERFLOW, Group
from edgekit_agent.protocol import ExpHistogram

if TYPE_CHECKING:
    from edgekit.fleet.store import Store

REPORTS = 5_000


@dataclass(slots=True, kw_only=True)
class Delta:
    """A group's reports from `first_ms` on."""

    group: Group
    first_ms: int
    reports: int = 0
    inferences: int = 0
    errors: int = 0
    dropped: int = 0
    latency: dict[str, ExpHistogram] = field(default_factory=dict)

    def add(self, row: ReportRow) -> None:
        """Add a report."""
        self.reports += 1
        self.inferences += max(0, row.inferences)
        self.errors += max(0, row.errors)
        self.dropped += max(0, row.dropped)
        for stage, histogram in row.latency.items():
            known = self.latency.get(stage)
            if known is None:
                self.latency[stage] = histogram.at_scale(histogram.scale)
            else:
                known.merge(histogram)


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """Deltas up to `end_ms`; `mark` is what to keep when they have arrived.

    `lost` were removed from the store before they were taken (at most: numbers may have been left out).
    """

    rows: list[Delta]
    end_ms: int
    mark: Mapping[str, int]
    full: bool
    lost: int


def take_delta(store: "Store", mark: str) -> Taken:
    """Return what was reported since a mark; the first time it begins now."""
    before = store.marks.get(mark)
    now_ms = _clock.now_ms()
    if not before:
        return Taken(
            rows=[], end_ms=now_ms, mark={"cursor": store.reports.cursor(), "end_ms": now_ms}, full=False, lost=0
        )
    cursor, begin_ms = int(before["cursor"]), int(before["end_ms"])
    rows = store.reports.since(cursor, REPORTS)
    end_ms = max(now_ms, begin_ms + 1)
    deltas: dict[Group, Delta] = {}
    hardware = hardware_names(store.engine) if rows else {}
    for row in rows:
        group = _group(row, hardware)
        if group not in deltas and len(deltas) >= GROUP_LIMIT:
            group = Group._make((*[OVERFLOW] * 4, ""))
        deltas.setdefault(group, Delta(group=group, first_ms=begin_ms)).add(row)
    kept = {"cursor": rows[-1].id if rows else cursor, "end_ms": end_ms}
    lost = rows[0].id - cursor - 1 if rows else 0
    return Taken(rows=list(deltas.values()), end_ms=end_ms, mark=kept, full=len(rows) == REPORTS, lost=lost)


def _group(row: ReportRow, hardware: Mapping[DeviceKey, str]) -> Group:
    named = hardware.get(DeviceKey(row.site, row.device), "unknown")
    return Group(row.site, named[:LABEL_LIMIT], row.model[:LABEL_LIMIT], row.version[:LABEL_LIMIT], "")
