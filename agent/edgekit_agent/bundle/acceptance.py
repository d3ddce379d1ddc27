"""What a new model has to show on the device before it serves: golden outputs, latency and memory within bounds."""

import resource
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgekit_agent.bench import Timing
from edgekit_agent.bundle import golden
from edgekit_agent.bundle.manifest import Bounds, Manifest
from edgekit_agent.bundle.reading import read_folder
from edgekit_agent.errors import UnprovedError
from edgekit_agent.protocol import Reason
from edgekit_agent.protocol.codec import Message
from edgekit_agent.runtimes.base import Session

RUNS, LEAST_RUNS, TIMED_S = 200, 20, 3.0
"""Inferences that are timed: so many, or fewer where they take longer than that together."""


class AcceptanceError(UnprovedError):
    """A new model does not do on this device what its manifest promises; `reason` goes over the wire."""

    def __init__(self, reason: Reason, message: str) -> None:
        """Say why, for programs and for people."""
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Acceptance(Message):
    """What was measured: the largest differences from the golden outputs by output, latency, resident memory."""

    golden_runs: int
    worst: Mapping[str, float]
    p50_ms: float
    p99_ms: float
    runs: int
    rss_bytes: int


def accept(session: Session, folder: Path) -> Acceptance:
    """Prove a loaded model in the process that is to serve it.

    Args:
        session: the artifact of the bundle in `folder`, loaded by the runtime that is to serve it.
        folder: where the bundle is unpacked; its files are taken to be verified.

    Returns:
        What was measured, all within what the manifest allows.

    Raises:
        AcceptanceError: naming what is not, with its reason code.
        BundleError: if the folder holds no bundle.
        OSError: if a golden file cannot be read.
    """
    manifest = read_folder(folder)
    proof = golden.prove(session, manifest, folder)
    if not proof.passed:
        raise AcceptanceError(Reason.GOLDEN_MISMATCH, proof.reason)
    timing = _timed(session, manifest, folder)
    found = Acceptance(
        golden_runs=proof.runs,
        worst={one.output: one.worst for one in proof.differences if one.worst is not None},
        p50_ms=timing.quantile_ms(0.5),
        p99_ms=timing.quantile_ms(0.99),
        runs=len(timing.seconds),
        rss_bytes=_resident_bytes(),
    )
    _check(found, manifest.bounds)
    return found


def _timed(session: Session, manifest: Manifest, folder: Path) -> Timing:
    inputs = golden.read(folder, manifest.golden.inputs)
    feeds = [[one[run] for one in inputs] for run in range(len(inputs[0]))]
    seconds: list[float] = []
    end = time.perf_counter() + TIMED_S
    while len(seconds) < RUNS and (len(seconds) < LEAST_RUNS or time.perf_counter() < end):
        feed = feeds[len(seconds) % len(feeds)]
        start = time.perf_counter()
        session.invoke(feed)
        seconds.append(time.perf_counter() - start)
    return Timing(seconds=tuple(seconds))


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def _check(found: Acceptance, bounds: Bounds) -> None:
    for name, value, allowed in (
        ("median latency", found.p50_ms, bounds.p50_ms),
        ("99th percentile of the latency", found.p99_ms, bounds.p99_ms),
    ):
        if allowed is not None and value > allowed:
            raise AcceptanceError(Reason.LATENCY_EXCEEDED, f"the {name} is {value:.3g} ms, {allowed:.3g} are allowed")
    if bounds.memory_bytes is not None and found.rss_bytes > bounds.memory_bytes:
        raise AcceptanceError(
            Reason.MEMORY_EXCEEDED,
            f"the process takes {found.rss_bytes / 1e6:.1f} MB, {bounds.memory_bytes / 1e6:.1f} are allowed",
        )
