"""When a report was made, on the host's clock: devices' clocks may be years off, and late reports come late. No I/O.

What a live report's clock is behind its arrival is what to add to the clock of that boot. A live report may itself
have waited in the broker while the ingest was away, so the least of such differences counts, until reports that come
one by one, as long apart as they were made, agree on another: then the device's clock was set.
"""

from dataclasses import dataclass

EARLIEST_MS = 1_735_689_600_000  # 2025: a clock before it was never set
LATEST_MS = 31 * 86_400_000  # no report is kept longer by a device, nor put farther back
AGREE_MS = 2_000


@dataclass(slots=True)
class Clock:
    """The clock of one boot: what to add to it, when the last live report came, and what may be to add from now on."""

    add_ms: int | None = None
    live_ms: int = 0
    doubt_ms: int | None = None

    def live(self, ts_ms: int, arrived_ms: int) -> int:
        """Take a live report; return when its window ended."""
        lag = arrived_ms - ts_ms
        if self.add_ms is None or lag < self.add_ms + AGREE_MS:
            # within a second or two the newest counts: clocks drift
            self.add_ms, self.doubt_ms = lag, None
        elif self.doubt_ms is not None and abs(lag - self.doubt_ms) < AGREE_MS < arrived_ms - self.live_ms:
            self.add_ms, self.doubt_ms = lag, None
        else:
            self.doubt_ms = lag
        self.live_ms = arrived_ms
        return bounded(ts_ms + self.add_ms, arrived_ms)

    def late(self, ts_ms: int, arrived_ms: int, fallback_ms: int | None) -> int:
        """Return when a late report's window ended; `fallback_ms` is what is added to the device's newest clock."""
        add = self.add_ms if self.add_ms is not None else fallback_ms
        if add is None:  # nothing is known: a clock that was set is believed
            return bounded(ts_ms, arrived_ms) if EARLIEST_MS <= ts_ms <= arrived_ms else arrived_ms
        return bounded(ts_ms + add, arrived_ms)


def bounded(at_ms: int, arrived_ms: int) -> int:
    """Return a time that is neither in the future nor farther back than any report is kept."""
    return min(arrived_ms, max(at_ms, arrived_ms - LATEST_MS))
