"""Reports in the order they were made, on the disk and, where it takes no more, in memory.

Each run of the agent writes files of its own, only at their end; a report is on the disk before it is sent. A file is
removed when all in it is done with, and the oldest is dropped when bytes or age are too many. docs/adr/0025-spool.md
has the format and the reasons.
"""

import contextlib
import os
from bisect import bisect_right
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgekit_agent.actions import Now
from edgekit_agent.durable import DISK, Files, sweep
from edgekit_agent.protocol import MAX_MESSAGE_BYTES
from edgekit_agent.spool.folder import Folder
from edgekit_agent.spool.ledger import Ledger
from edgekit_agent.spool.records import KERNEL_BYTES, Record, decode, encode, scan
from edgekit_agent.spool.segment import Segment

LEAST_SEGMENT_BYTES, MOST_SEGMENT_BYTES = 4096, 1 << 20
PARTS = 32  # a full spool loses its oldest 1/32 at once, in bytes or in time
EARLIEST_MS = 1_735_689_600_000  # 2025: a clock before it was never set
_READ_BYTES = 2 * MOST_SEGMENT_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What may wait: bytes on the disk (0: nothing on the disk), age, and reports in memory while the disk is full."""

    disk_bytes: int
    age_s: float
    in_memory: int

    @property
    def segment_bytes(self) -> int:
        """How large a file of the spool grows."""
        return min(max(self.disk_bytes // PARTS, LEAST_SEGMENT_BYTES), MOST_SEGMENT_BYTES)

    @property
    def report_bytes(self) -> int:
        """How large a report may be: as large as a message, or half of the spool."""
        return min(MAX_MESSAGE_BYTES, self.disk_bytes // 2 or MAX_MESSAGE_BYTES)


class Spool:
    """Each report has a position, from `first` to `end - 1`, which holds for this process only.

    `trouble` says why the disk does not take reports, None when it does. `on_its_way` is asked of a position whose
    report is dropped: one that was sent and may arrive is counted as lost only when `lost_on_the_way` says so.
    """

    def __init__(self, folder: Path, limits: Limits, now: Now, *, kernel: bytes, files: Files = DISK) -> None:
        """Read what is there. What cannot be read is counted as dropped; nothing here raises for the disk's sake.

        Args:
            folder: nobody else writes to it; made when it is needed.
            limits: what may wait.
            now: the moment, on both clocks.
            kernel: the kernel's boot id (`kernel_boot`): within one boot the steady clock says how old a report is.
            files: the file system.
        """
        self._limits, self._opened, self._kernel = limits, now, kernel
        self._folder = Folder(folder, files)
        self._segments: list[Segment] = []
        self._memory: deque[Record] = deque()
        self._memory_first = 0
        self._unreadable: set[int] = set()  # positions that were found damaged after this
        self.trouble: str | None = None
        self.on_its_way: Callable[[int], bool] = lambda _position: False
        sweep(folder, files)
        self._ledger = Ledger(folder / "state.json", files)
        self._read()
        self.expire(now)

    # --- what is there

    def __len__(self) -> int:
        """Return how many reports wait."""
        return sum(self._waiting(one) for one in self._segments) + len(self._memory)

    @property
    def first(self) -> int:
        """The position of the oldest report, or `end`."""
        return self._begin(self._segments[0]) if self._segments else self._memory_first

    @property
    def end(self) -> int:
        """The position the next report gets."""
        return self._memory_first + len(self._memory)

    @property
    def dropped(self) -> int:
        """How many reports were lost since the spool's first day: too old, too many, or damaged."""
        return self._ledger.dropped

    @property
    def dropped_here(self) -> int:
        """How many of them were lost, or found lost, since this spool was opened."""
        return self._ledger.dropped - self._ledger.dropped_before

    @property
    def host(self) -> bool:
        """Whether a host is known that acknowledges what it has stored; kept over restarts."""
        return self._ledger.host

    @host.setter
    def host(self, known: bool) -> None:
        if known != self._ledger.host:
            self._ledger.host = known
            self._save()

    def get(self, position: int) -> Record | None:
        """Return a report, or None when it is done with, or is found damaged, which is counted as dropped."""
        if position >= self._memory_first:
            index = position - self._memory_first
            return self._memory[index] if index < len(self._memory) else None
        index = bisect_right(self._segments, position, key=lambda one: one.first) - 1
        segment = self._segments[index] if index >= 0 else None
        if segment is None or not self._begin(segment) <= position < segment.end or position in self._unreadable:
            return None
        seq, offset, size = segment.place(position)
        with contextlib.suppress(OSError):
            found = decode(self._folder.read(segment.name, size, offset))
            if found is not None and (found.record.boot, found.record.seq) == (segment.boot, seq):
                return found.record
        self._unreadable.add(position)
        self._ledger.damaged_more(segment.name)
        return None

    def lowest(self, boot: str) -> int:
        """Return the lowest sequence number of a boot that waits, 0 when none does."""
        for segment in self._segments:
            for position in range(self._begin(segment), segment.end) if segment.boot == boot else ():
                if position not in self._unreadable:
                    return segment.place(position)[0]
        return next((record.seq for record in self._memory if record.boot == boot), 0)

    # --- in

    def limit(self, limits: Limits, now: Now) -> None:
        """Take other limits; what is over them is dropped, what was put before expires as it would have."""
        self._limits = limits
        self._make_room(0)
        self.expire(now)

    def put(self, boot: str, seq: int, payload: bytes, now: Now) -> None:
        """Add a report, which is safe after `sync`; one that is too large is dropped."""
        if len(payload) > self._limits.report_bytes:
            self._ledger.drop(1)
            return
        record = Record(
            boot=boot,
            seq=seq,
            steady_ms=int(1000 * now.s),
            wall_ms=max(0, now.ms),
            kernel=self._kernel,
            payload=payload,
        )
        self._memory.append(record)
        self._to_disk(now)
        while len(self._memory) > self._limits.in_memory:
            if self._segments:  # the oldest goes first, and the disk gets room
                self._drop_segment()
                self._to_disk(now)
            else:
                self._drop_from_memory()

    def sync(self) -> None:
        """Flush what was put since the last call to the disk."""
        if self._ledger.unsaved:
            self._save()
        try:
            self._folder.sync()
        except OSError as exc:
            self._tell(exc)

    def expire(self, now: Now) -> None:
        """Drop what is too old."""
        while self._segments and self._segments[0].expires_s <= now.s:
            self._drop_segment()
        while not self._segments and self._memory and self._expires_s(self._memory[0]) <= now.s:
            self._drop_from_memory()

    # --- out

    def release(self, boot: str, seq: int) -> None:
        """Forget every report of a boot up to a sequence number: it is stored elsewhere."""
        self._ledger.arrived(boot, seq)
        known = [one.last_seq for one in self._segments if one.boot == boot]
        known += [record.seq for record in self._memory if record.boot == boot]
        if not known:
            return
        # never above what was made: a number out of the air must not release what is still to come
        self._ledger.raise_floor(boot, min(seq, max(known)))
        for segment in [one for one in self._segments if self._begin(one) == one.end]:
            self._remove(segment)
        while self._memory and self._memory[0].seq <= self._ledger.floor(self._memory[0].boot):
            self._memory.popleft()
            self._memory_first += 1

    def arrived(self, position: int) -> None:
        """Note that a report has arrived, which may have been dropped while it was on its way."""
        self._ledger.arrived_at(position)

    def lost_on_the_way(self) -> None:
        """Count what was dropped while it was on its way as lost."""
        self._ledger.lost_on_the_way()

    def release_before(self, position: int) -> None:
        """Forget every report before a position."""
        ends: dict[str, int] = {}
        for segment in self._segments:
            if segment.first < position:
                ends[segment.boot] = segment.place(min(position, segment.end) - 1)[0]
        for index in range(min(position - self._memory_first, len(self._memory))):
            ends[self._memory[index].boot] = self._memory[index].seq
        for boot, seq in ends.items():
            self.release(boot, seq)

    def close(self) -> None:
        """Flush everything, what is done with too; what is put later gets a new file."""
        self.sync()
        self._save()
        self._folder.close()

    # --- the disk

    def _read(self) -> None:
        try:
            names = self._folder.names()
        except OSError as exc:
            self._tell(exc)
            return
        for name in names:
            try:
                found, lost = scan(self._folder.read(name, _READ_BYTES))
            except OSError:
                found, lost = [], 1
            self._ledger.damaged(name, lost)
            segment = Segment(name, found[0].record.boot if found else "", self._memory_first, self._opened.s)
            for one in found:
                segment.add(one.record.seq, one.offset, one.size, self._expires_s(one.record))
            self._segments.append(segment)
            self._memory_first = segment.end
        if self._ledger.unsaved:
            self._save()
        for segment in [one for one in self._segments if self._begin(one) == one.end]:
            self._remove(segment)
        self._make_room(0)

    def _to_disk(self, now: Now) -> None:
        """Move what is in memory to the disk, as far as it takes it."""
        while self._memory and self._limits.disk_bytes:
            record = self._memory[0]
            data = encode(record)
            try:
                self._make_room(len(data))
                segment = self._segment_for(record, len(data), now)
                self._folder.append(data, segment.size_bytes)
            except OSError as exc:
                self._tell(exc)
                if self._segments and not self._segments[-1].seqs:
                    self._remove(self._segments[-1])
                return
            segment.add(record.seq, segment.size_bytes, len(data), self._expires_s(record))
            self._memory.popleft()
            self._memory_first += 1
            self.trouble = None

    def _segment_for(self, record: Record, size: int, now: Now) -> Segment:
        """Return the segment to append to: the last, or a new one when that is closed, full, old or of another boot."""
        if self._folder.writing:
            last = self._segments[-1]
            fits = last.size_bytes + size <= self._limits.segment_bytes
            young = now.s - last.opened_s < self._limits.age_s / PARTS
            if fits and young and (last.boot, last.end) == (record.boot, self._memory_first):
                return last
            self._folder.sync()
        self._segments.append(Segment(self._folder.begin(), record.boot, self._memory_first, now.s))
        return self._segments[-1]

    def _make_room(self, size: int) -> None:
        """Drop the oldest until so many bytes more are within the limit; a small file takes a block."""
        while self._segments:
            taken = sum(max(one.size_bytes, LEAST_SEGMENT_BYTES) for one in self._segments)
            if taken + size <= self._limits.disk_bytes:
                return
            self._drop_segment()

    def _remove(self, segment: Segment) -> None:
        if segment is self._segments[-1]:
            self._folder.close()
        self._segments.remove(segment)
        self._folder.remove(segment.name)

    def _save(self) -> None:
        if not self._limits.disk_bytes:
            return
        try:
            self._folder.make()
            self._folder.sync_names()  # a file whose numbers are forgotten here must not come back
            self._ledger.save({one.boot for one in self._segments}, {one.name for one in self._segments})
        except OSError as exc:
            self._tell(exc)

    def _tell(self, exc: OSError) -> None:
        self.trouble = exc.strerror or str(exc)

    # --- dropping

    def _drop_segment(self) -> None:
        """Drop the oldest file; it is counted before it is removed, so that a power cut counts nothing twice."""
        segment = self._segments[0]
        begin = self._begin(segment)
        sent = {
            position: (segment.boot, segment.place(position)[0])
            for position in range(begin, segment.end)
            if position not in self._unreadable and self.on_its_way(position)
        }
        self._ledger.drop(self._waiting(segment) - len(sent))
        self._ledger.drop_sent(sent)
        self._ledger.raise_floor(segment.boot, segment.last_seq)
        self._save()
        self._remove(segment)
        if self._ledger.unsaved:  # it did not fit onto the full disk: now there is room
            self._save()

    def _drop_from_memory(self) -> None:
        record = self._memory.popleft()
        if self.on_its_way(self._memory_first):
            self._ledger.drop_sent({self._memory_first: (record.boot, record.seq)})
        else:
            self._ledger.drop(1)
        self._memory_first += 1

    # --- small things

    def _begin(self, segment: Segment) -> int:
        """Return the position of a segment's first report that is not done with."""
        return segment.after(self._ledger.floor(segment.boot))

    def _waiting(self, segment: Segment) -> int:
        begin = self._begin(segment)
        return segment.end - begin - sum(begin <= position < segment.end for position in self._unreadable)

    def _expires_s(self, record: Record) -> float:
        """Return when a report is too old, on the steady clock; clocks that jump make none older than it is.

        Of another boot only the time since 1970 is left: compared once, when the spool is opened, and not believed
        where either was before 2025.
        """
        if record.kernel == self._kernel:
            return record.steady_ms / 1000 + self._limits.age_s
        age_s = 0.0
        if min(record.wall_ms, self._opened.ms) >= EARLIEST_MS:
            age_s = max(0.0, (self._opened.ms - record.wall_ms) / 1000)
        return self._opened.s + self._limits.age_s - age_s


def kernel_boot() -> bytes:
    """Return the kernel's boot id; where there is none, one that is like no other."""
    with contextlib.suppress(OSError, ValueError):
        found = bytes.fromhex(Path("/proc/sys/kernel/random/boot_id").read_text().strip().replace("-", ""))
        if len(found) == KERNEL_BYTES:
            return found
    return os.urandom(KERNEL_BYTES)
