"""Which reports of a boot are stored: all up to the watermark, and ranges above it. No I/O."""

import json
from bisect import bisect_right
from typing import Self

# A device sends what waits from its oldest on, beside what it makes: a few ranges. More are made up.
RANGE_LIMIT = 512


class Watermark:
    """Sequence numbers begin at 1. `seq` is what may be acknowledged."""

    __slots__ = ("above", "seq")

    def __init__(self, seq: int = 0, above: list[list[int]] | None = None) -> None:
        """Begin with what was kept: ranges are sorted, apart from each other, and above `seq` + 1."""
        self.seq = seq
        self.above = above or []

    @classmethod
    def load(cls, seq: int, above: str) -> Self:
        """Read what `ranges` gave."""
        return cls(seq, json.loads(above) if above else [])

    @property
    def ranges(self) -> str:
        """What is stored above the watermark, as text; empty when nothing is."""
        return json.dumps(self.above, separators=(",", ":")) if self.above else ""

    def __contains__(self, seq: int) -> bool:
        """Whether a report is stored already, or lost to the device."""
        if seq <= self.seq:
            return True
        at = bisect_right(self.above, seq, key=_first) - 1
        return at >= 0 and seq <= self.above[at][1]

    def full_for(self, seq: int) -> bool:
        """Whether a report cannot be noted, because there are too many gaps."""
        return len(self.above) >= RANGE_LIMIT and seq != self.seq + 1

    def add(self, seq: int) -> None:
        """Note a report that is not there yet."""
        if seq == self.seq + 1:
            self.seq = seq
            self._settle()
            return
        at = bisect_right(self.above, seq, key=_first)
        before = at > 0 and self.above[at - 1][1] == seq - 1
        after = at < len(self.above) and self.above[at][0] == seq + 1
        if before and after:
            self.above[at - 1][1] = self.above.pop(at)[1]
        elif before:
            self.above[at - 1][1] = seq
        elif after:
            self.above[at][0] = seq
        else:
            self.above.insert(at, [seq, seq])

    def raise_below(self, lowest: int) -> None:
        """Note that nothing below a number can still come."""
        if lowest - 1 > self.seq:
            self.seq = lowest - 1
            self._settle()

    def _settle(self) -> None:
        while self.above and self.above[0][0] <= self.seq + 1:
            self.seq = max(self.seq, self.above.pop(0)[1])


def _first(one: list[int]) -> int:
    return one[0]
