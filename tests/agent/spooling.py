"""Reports, a spool in memory and a host that acknowledges, for the tests of what is sent when."""

from pathlib import Path

from edgekit_agent.actions import Now
from edgekit_agent.outbox import Outbox, Parcel
from edgekit_agent.protocol import ExpHistogram, Latency, Report
from edgekit_agent.spool import Limits, Spool
from tests.agent.crash_states import MemoryFiles

HERE = Path("/spool")
LIMITS = Limits(disk_bytes=10_000_000, age_s=1e6, in_memory=1000)
EMPTY = Latency(pre=ExpHistogram(), infer=ExpHistogram(), post=ExpHistogram(), e2e=ExpHistogram())


def at(seconds: float) -> Now:
    return Now(s=seconds, ms=1_780_000_000_000 + int(1000 * seconds))


def make_report(seq: int, boot: str = "b") -> Report:
    return Report(
        ts_ms=0,
        boot=boot,
        seq=seq,
        model="m",
        version="1",
        artifact="a",
        runtime="r",
        executed_on=(),
        window_s=1.0,
        inferences=1,
        latency=EMPTY,
    )


def open_spool(files: MemoryFiles, limits: Limits = LIMITS) -> Spool:
    return Spool(HERE, limits, at(0), kernel=b"k" * 16, files=files)


def put(outbox: Outbox, *seqs: int, boot: str = "b", now: float = 0.0) -> None:
    for seq in seqs:
        outbox.put(make_report(seq, boot), at(now))


def reports(parcels: list[Parcel]) -> list[Report]:
    return [Report.from_bytes(parcel.payload) for parcel in parcels]


class Host:
    """Stores what arrives, and acknowledges the highest number up to which nothing can be missing."""

    def __init__(self) -> None:
        """Have nothing."""
        self.stored: dict[str, dict[int, Report]] = {}
        self.marks: dict[str, int] = {}

    def take(self, report: Report) -> None:
        seqs = self.stored.setdefault(report.boot, {})
        seqs.setdefault(report.seq, report)
        mark = max(self.marks.get(report.boot, 0), (report.lowest or 1) - 1)
        while mark + 1 in seqs:
            mark += 1
        self.marks[report.boot] = mark
