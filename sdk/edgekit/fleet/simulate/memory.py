"""What the agent keeps on its disk, kept in memory: a simulated device loses it with its power, as it is told to."""

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from edgekit_agent.actions import Now
from edgekit_agent.durable import Kept
from edgekit_agent.spool import Record

_NO_KERNEL = b"\0" * 16


class MemoryFile:
    """A `Keeper` without a file."""

    def __init__(self) -> None:
        """Begin empty."""
        self._value: Mapping[str, Any] | None = None

    def load(self) -> Kept:
        """Return what was saved last."""
        return Kept(self._value)

    def save(self, value: Mapping[str, Any]) -> None:
        """Replace it."""
        self._value = value


class MemorySpool:
    """Reports that wait for their host; of more than `most` the oldest are dropped and counted, as on a device."""

    def __init__(self, most: int) -> None:
        """Take how many reports may wait."""
        self._most = most
        self._records: deque[Record] = deque()
        self._floors: dict[str, int] = {}
        self.first = 0
        self.host = False
        self.dropped = self.released = 0
        self.on_its_way: Callable[[int], bool] = lambda _position: False
        self._unsure: dict[int, tuple[str, int]] = {}

    def __len__(self) -> int:
        """Return how many wait."""
        return len(self._records)

    @property
    def end(self) -> int:
        """The position the next report gets."""
        return self.first + len(self._records)

    def get(self, position: int) -> Record | None:
        """Return a report, or None when it is done with."""
        return self._records[position - self.first] if self.first <= position < self.end else None

    def lowest(self, boot: str) -> int:
        """Return the lowest sequence number of a boot that waits, 0 when none does."""
        return next((one.seq for one in self._records if one.boot == boot), 0)

    def put(self, boot: str, seq: int, payload: bytes, now: Now) -> None:
        """Add a report."""
        record = Record(
            boot=boot, seq=seq, steady_ms=int(1000 * now.s), wall_ms=now.ms, kernel=_NO_KERNEL, payload=payload
        )
        self._records.append(record)
        while len(self._records) > self._most:
            first = self._records[0]
            if self.on_its_way(self.first):
                self._unsure[self.first] = (first.boot, first.seq)
            else:
                self.dropped += 1
            self._pop()

    def expire(self, _now: Now) -> None:
        """Drop nothing: a simulation is shorter than a report's life."""

    def release(self, boot: str, seq: int) -> None:
        """Forget every report of a boot up to a sequence number."""
        for position, (own, number) in list(self._unsure.items()):
            if own == boot and number <= seq:
                self.arrived(position)
        made = max((one.seq for one in self._records if one.boot == boot), default=0)
        if not made:
            return
        # never above what was made: a number out of the air must not release what is still to come
        self._floors[boot] = max(min(seq, made), self._floors.get(boot, 0))
        while self._records and self._records[0].seq <= self._floors.get(self._records[0].boot, 0):
            self._pop()
            self.released += 1

    def release_before(self, position: int) -> None:
        """Forget every report before a position."""
        while self._records and self.first < position:
            self._pop()
            self.released += 1

    def arrived(self, position: int) -> None:
        """Note that a report has arrived, which may have been dropped while it was on its way."""
        self.released += self._unsure.pop(position, None) is not None

    def lost_on_the_way(self) -> None:
        """Count what was dropped while it was on its way as lost."""
        self.dropped += len(self._unsure)
        self._unsure.clear()

    def _pop(self) -> None:
        gone = self._records.popleft()
        self.first += 1
        if not self._records or self._records[0].boot != gone.boot:
            self._floors.pop(gone.boot, None)
