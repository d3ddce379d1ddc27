"""The numbers of the spool that survive: what is done with, what was lost, and whether a host acknowledges."""

import logging
from collections.abc import Container, Mapping, Sequence
from pathlib import Path

from edgekit_agent.durable import Files, StateFile

_log = logging.getLogger(__name__)


class Ledger:
    """A boot's floor is the sequence number up to which every report is done with: stored by the host, or dropped."""

    def __init__(self, path: Path, files: Files) -> None:
        """Read the numbers; broken ones begin at nothing, which costs duplicates and never a report."""
        self._file = StateFile(path, files=files)
        kept = self._file.load()
        if kept.doubt is not None:
            _log.warning("event=spool-state-doubtful reason=%s", kept.doubt)
        value = kept.value or {}
        counts = _counts(value)
        # of what was on its way when this was written nobody can tell any more
        self.dropped = self.dropped_before = counts.get("dropped", 0) + counts.get("unsure", 0)
        self.host = value.get("host") is True
        self._floors, self._damaged = _counts(value.get("floors")), _counts(value.get("damaged"))
        self.unsaved = False
        self._unsure: dict[int, tuple[str, int]] = {}

    def floor(self, boot: str) -> int:
        """Return the sequence number up to which a boot's reports are done with."""
        return self._floors.get(boot, 0)

    def raise_floor(self, boot: str, seq: int) -> None:
        """Note that a boot's reports up to this one are done with; not saved at once: a duplicate does no harm."""
        self._floors[boot] = max(self.floor(boot), seq)

    def drop(self, count: int) -> None:
        """Count reports as lost."""
        self.dropped += count
        self.unsaved = True

    def drop_sent(self, sent: Mapping[int, tuple[str, int]]) -> None:
        """Note reports dropped on their way, by position as (boot, number): they may arrive all the same."""
        self._unsure |= sent
        self.unsaved = True

    def arrived(self, boot: str, seq: int) -> None:
        """Note that every report of a boot up to this one has arrived: those on their way are not lost."""
        self._settle([at for at, (own, number) in self._unsure.items() if own == boot and number <= seq])

    def arrived_at(self, position: int) -> None:
        """Note that a report on its way has arrived."""
        self._settle([position] if position in self._unsure else [])

    def lost_on_the_way(self) -> None:
        """Count what is on its way as lost: nobody will say any more that it has arrived."""
        self.drop(len(self._unsure))
        self._unsure.clear()

    def _settle(self, positions: Sequence[int]) -> None:
        for position in positions:
            del self._unsure[position]
            self.unsaved = True

    def damaged(self, name: str, lost: int) -> None:
        """Count what is damaged in a file, once however often it is read."""
        new = lost - self._damaged.get(name, 0)
        if new > 0:
            _log.warning("event=spool-damaged file=%s lost=%d", name, new)
            self._damaged[name] = lost
            self.drop(new)

    def damaged_more(self, name: str) -> None:
        """Count one more report as damaged."""
        self.damaged(name, self._damaged.get(name, 0) + 1)

    def save(self, boots: Container[str], names: Container[str]) -> None:
        """Keep the numbers of these boots and files.

        Raises:
            OSError: if they cannot be written; `unsaved` says so until they are.
        """
        self.unsaved = True
        self._floors = {boot: seq for boot, seq in self._floors.items() if boot in boots}
        self._damaged = {name: lost for name, lost in self._damaged.items() if name in names}
        value = {
            "dropped": self.dropped,
            "unsure": len(self._unsure),
            "host": self.host,
            "floors": self._floors,
            "damaged": self._damaged,
        }
        self._file.save(value)
        self.unsaved = False


def _counts(value: object) -> dict[str, int]:
    """Return what is a count in a table that was read."""
    if not isinstance(value, Mapping):
        return {}
    return {str(key): count for key, count in value.items() if type(count) is int and 0 <= count < 2**63}
