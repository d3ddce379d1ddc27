"""The gates of a rollout: what a wave's devices were like before and are like now, judged. Pure: no I/O, no clock.

The chance of stopping a good release (`Gates.alpha`) is divided among the tests that can do so, and each may be looked
at after every report. A wave passes when the statistical gates are surer than `Gates.beta` that it is not as bad as
the limit: too little data is neither good nor bad. docs/adr/0033-rollouts.md has the operating characteristics.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from edgekit.fleet.rollout.evidence import (
    detectable,
    normal_evidence,
    rate_evidence,
    share_evidence,
    upper_limit,
)
from edgekit.fleet.rollout.findings import Finding, Mark
from edgekit.fleet.rollout.noise import Windowed, samples_of
from edgekit.fleet.rollout.plan import Gates, LatencyGate
from edgekit.fleet.rollout.shift import Compared, shift_of
from edgekit.fleet.rollout.state import FAILURES, UNDER_WAY, Job, JobStatus
from edgekit_agent.drift import stability_index

LATENCY_SHARE, ERRORS_SHARE, CRASHES_SHARE = 0.8, 0.1, 0.1
"""How alpha is divided: latency is what is hardest to see."""
LEAST_RATE = 0.001
"""Errors among inferences that are never called bad."""
LEAST_CRASH_RATE = 0.02
"""Crashes per device and hour that are never called bad: one in two days."""
LEAST_ANSWERS = 1000
"""On the whole, to compare classes by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """What a device did in a stretch of time."""

    inferences: int = 0
    errors: int = 0
    crashes: int = 0
    hours: float = 0.0
    classes: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """A device before and after it took a release; of a control, which did not change, about the same moment."""

    device: str
    before: Mapping[str, Sequence[Windowed]] = field(default_factory=dict)
    after: Mapping[str, Sequence[Windowed]] = field(default_factory=dict)
    usual: Counted = field(default_factory=Counted)
    now: Counted = field(default_factory=Counted)
    silent: bool = False


def judge(
    gates: Gates, waves: int, jobs: Sequence[Job], canaries: Sequence[Watched], controls: Sequence[Watched] = ()
) -> list[Finding]:
    """Return what each gate says of a wave.

    Args:
        gates: of the plan.
        waves: how many waves the plan has, each of which is tested.
        jobs: all devices of the wave.
        canaries: those of the wave that have the release.
        controls: devices with the same model that did not change meanwhile.
    """
    alpha = gates.alpha / waves
    plain = [_failures(gates, jobs)]
    if not canaries:
        return plain
    enough = _enough(gates, canaries)
    if gates.silent is not None:
        plain.append(_silent(gates.silent, canaries, controls))
    findings = [
        _latency(one, alpha * LATENCY_SHARE / len(gates.latency), gates.beta, canaries, controls)
        for one in gates.latency
    ]
    if gates.errors is not None:
        findings.append(_errors(gates.errors, alpha * ERRORS_SHARE, gates.beta, canaries, controls))
    if gates.crashes is not None:
        findings.append(_crashes(gates.crashes, alpha * CRASHES_SHARE, canaries, controls))
    if gates.drift is not None:
        findings.append(_drift(gates.drift, canaries, controls))
    if enough.mark is Mark.OPEN:  # a few windows decide nothing, whatever they say
        findings = [replace(one, mark=Mark.OPEN) if one.mark is Mark.BAD else one for one in findings]
    return [*plain, enough, *findings]


# --- what devices say of themselves


def _failures(gates: Gates, jobs: Sequence[Job]) -> Finding:
    """More devices than allowed failed, of those that have ended or of the whole wave whatever the rest does."""
    failed = [job for job in jobs if job.status in FAILURES]
    ended = sum(job.status not in UNDER_WAY for job in jobs)
    share = len(failed) / max(1, min(ended, len(jobs)))
    sure = len(failed) > gates.failures * len(jobs)
    enough = ended >= min(len(jobs), 10)
    text = f"{len(failed)} of {ended} devices failed"
    if failed:
        text += f", such as {failed[0].key[1]} ({failed[0].reason})"
    mark = Mark.BAD if sure or (enough and share > gates.failures) else Mark.GOOD
    return Finding(gate="jobs", mark=mark, text=text, value=share, limit=gates.failures, devices=len(jobs))


def _enough(gates: Gates, canaries: Sequence[Watched]) -> Finding:
    done = sum(one.now.inferences for one in canaries)
    enough = len(canaries) >= gates.least_devices and done >= gates.least_inferences
    text = f"{done} inferences on {len(canaries)} devices, {gates.least_inferences} on {gates.least_devices} are needed"
    return Finding(
        gate="samples",
        mark=Mark.GOOD if enough else Mark.OPEN,
        text=text,
        value=float(done),
        limit=float(gates.least_inferences),
        devices=len(canaries),
    )


def _silent(limit: float, canaries: Sequence[Watched], controls: Sequence[Watched]) -> Finding:
    silent = sum(one.silent for one in canaries)
    share = silent / len(canaries)
    others = sum(one.silent for one in controls) / len(controls) if controls else 0.0
    elsewhere = others >= share / 2 and others > 0
    text = f"{silent} of {len(canaries)} devices have fallen silent"
    if elsewhere:
        text += ", and so have others: it is not the release"
    mark = Mark.BAD if share > limit and not elsewhere else Mark.OPEN if share > limit else Mark.GOOD
    return Finding(gate="presence", mark=mark, text=text, value=share, limit=limit, devices=len(canaries))


# --- latency


def _latency(
    gate: LatencyGate, alpha: float, beta: float, canaries: Sequence[Watched], controls: Sequence[Watched]
) -> Finding:
    name = f"{gate.stage}-p{gate.quantile * 100:g}"
    shift = shift_of(_compared(canaries, gate), _compared(controls, gate))
    if shift is None:
        text = "no device has reported enough before and after to be compared"
        return Finding(gate=name, mark=Mark.OPEN, text=text, limit=gate.limit)
    null, limit = math.log1p(gate.tolerated), math.log1p(gate.limit)
    scale, wanted = limit - null, math.log(1 / alpha)
    evidence = normal_evidence(shift.value, shift.information, null, scale) / wanted
    high = upper_limit(shift.value, shift.information, scale, beta)
    mark = Mark.BAD if evidence >= 1 else Mark.GOOD if high < limit else Mark.OPEN
    text = f"{shift.ratio:+.1%} against before, below {math.expm1(high):+.1%} (limit {gate.limit:+.0%})"
    return Finding(
        gate=name,
        mark=mark,
        text=text,
        value=shift.ratio,
        high=math.expm1(high),
        limit=gate.limit,
        evidence=max(0.0, evidence),
        detectable=math.expm1(detectable(shift.information, null, scale, alpha)),
        devices=shift.devices,
        samples=shift.samples,
    )


def _compared(devices: Sequence[Watched], gate: LatencyGate) -> list[Compared]:
    return [
        Compared(
            device=one.device,
            before=samples_of(one.before.get(gate.stage, ()), gate.quantile),
            after=samples_of(one.after.get(gate.stage, ()), gate.quantile),
        )
        for one in devices
    ]


# --- counts


def _errors(
    limit: float, alpha: float, beta: float, canaries: Sequence[Watched], controls: Sequence[Watched]
) -> Finding:
    """More inferences fail than before and than elsewhere, on more than one device where there are several."""
    bad, good = _failed(canaries)
    usual = max(LEAST_RATE, *(_rate(one) for one in (_failed_before(canaries), _failed(controls))))
    worse = min(0.99, usual + limit)
    affected = sum(one.now.errors > usual * (one.now.errors + one.now.inferences) for one in canaries)
    found = share_evidence(bad, good, usual, worse)
    enough = affected >= min(2, len(canaries))
    mark = Mark.BAD if found >= math.log(1 / alpha) and enough else Mark.OPEN
    if mark is Mark.OPEN and (found <= math.log(beta) or not enough):
        mark = Mark.GOOD if bad + good else Mark.OPEN
    share = bad / max(1, bad + good)
    text = f"{share:.2%} of inferences failed, {usual:.2%} are usual"
    return Finding(
        gate="errors",
        mark=mark,
        text=text,
        value=share,
        limit=usual + limit,
        evidence=max(0.0, found / math.log(1 / alpha)),
        devices=len(canaries),
        samples=bad + good,
    )


def _failed(devices: Sequence[Watched]) -> tuple[int, int]:
    return sum(one.now.errors for one in devices), sum(one.now.inferences for one in devices)


def _failed_before(devices: Sequence[Watched]) -> tuple[int, int]:
    return sum(one.usual.errors for one in devices), sum(one.usual.inferences for one in devices)


def _rate(counts: tuple[int, int]) -> float:
    """Return a share that few counts do not make small: one more error than was seen."""
    bad, good = counts
    return (bad + 1) / (bad + good + 1) if bad else 0.0


def _crashes(limit: float, alpha: float, canaries: Sequence[Watched], controls: Sequence[Watched]) -> Finding:
    crashes, hours = sum(one.now.crashes for one in canaries), sum(one.now.hours for one in canaries)
    before, hours_before = sum(one.usual.crashes for one in canaries), sum(one.usual.hours for one in canaries)
    beside, hours_beside = sum(one.now.crashes for one in controls), sum(one.now.hours for one in controls)
    usual = max(
        LEAST_CRASH_RATE,
        (before + 1) / hours_before if before and hours_before else 0.0,
        (beside + 1) / hours_beside if beside and hours_beside else 0.0,
    )
    found = rate_evidence(crashes, hours, usual, usual + limit)
    mark = Mark.BAD if found >= math.log(1 / alpha) else Mark.GOOD
    rate = crashes / hours if hours else 0.0
    text = f"{crashes} crashes in {hours:.2f} device hours, {usual:.2f} per hour are usual"
    return Finding(
        gate="crashes",
        mark=mark,
        text=text,
        value=rate,
        limit=usual + limit,
        evidence=max(0.0, found / math.log(1 / alpha)),
        devices=len(canaries),
        samples=crashes,
    )


def _drift(limit: float, canaries: Sequence[Watched], controls: Sequence[Watched]) -> Finding:
    """Classes come in other shares than before, on most devices, and not elsewhere."""
    before, now = _classes(canaries, "usual"), _classes(canaries, "now")
    count = min(sum(before.values()), sum(now.values()))
    if count < LEAST_ANSWERS:
        text = f"{count:.0f} answers with a class are too few, or the model has no classes"
        return Finding(gate="drift", mark=Mark.GOOD, text=text, limit=limit)
    index = stability_index(before, now)
    beside = stability_index(_classes(controls, "usual"), _classes(controls, "now"))
    each = [stability_index(one.usual.classes, one.now.classes) for one in canaries]
    most = sum(one > limit for one in each) * 2 > len(each)
    bad = index - beside > limit and most
    text = f"the classes' stability index against before is {index:.2f}, {beside:.2f} elsewhere"
    return Finding(
        gate="drift",
        mark=Mark.BAD if bad else Mark.GOOD,
        text=text,
        value=index,
        limit=limit,
        devices=len(canaries),
        samples=int(count),
    )


def _classes(devices: Sequence[Watched], when: str) -> dict[str, float]:
    total: dict[str, float] = {}
    for one in devices:
        for name, count in getattr(one, when).classes.items():
            total[name] = total.get(name, 0.0) + count
    return total


def taken(jobs: Sequence[Job]) -> list[Job]:
    """Return the devices that have the release."""
    return [job for job in jobs if job.status is JobStatus.COMMITTED]
