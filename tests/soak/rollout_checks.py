"""What must be true of a rollout that has ended, whatever befell the service meanwhile. Pure."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgekit.fleet.audit import Entry
from edgekit.fleet.rollout.state import FAILURES, JobStatus
from edgekit.fleet.store.rollouts import RolloutRow

ONCE = ("begun", "completed", "rolled-back", "paused", "resumed", "aborted")


@dataclass(frozen=True, kw_only=True)
class Found:
    """What is known of a rollout.

    Attributes:
        row: as it is in the store.
        entries: of the audit log, oldest first.
        shown: as the API shows it.
        listed: as the API lists it.
        told: by how many desired states each device was told of it, as the devices' broker saw it.
        most_told: how many that may be.
    """

    row: RolloutRow
    entries: Sequence[Entry]
    shown: Mapping[str, Any]
    listed: Mapping[str, Any]
    told: Mapping[str, int]
    most_told: int


def check(found: Found) -> list[str]:
    """Return what is wrong."""
    waves = _waves(found.row, found.entries)
    return [*waves, *_devices(found), *_counters(found.row, found.shown, found.listed)]


def _waves(row: RolloutRow, entries: Sequence[Entry]) -> list[str]:
    """Each wave was begun once, after the one before it had passed."""
    bad = []
    times = Counter(entry.action.removeprefix("rollout.") for entry in entries)
    bad += [f"the audit log has it {times[what]} times as {what}" for what in ONCE if times[what] > 1]
    if not times["begun"]:
        bad.append("nobody began it, by the audit log")
    passed_ms: dict[int, int] = {}
    for what in ("wave-deployed", "wave-passed"):
        waves = [_wave(entry) for entry in entries if entry.action == f"rollout.{what}"]
        # a pause while it deploys ends nothing: a wave is deployed once
        if waves != list(range(len(waves))):
            bad.append(f"{what}, by the audit log: {waves}")
        if times["completed"] and len(waves) != len(row.plan.waves):
            bad.append(f"completed, and {what} are {waves} of {len(row.plan.waves)}")
    for entry in entries:
        if entry.action == "rollout.wave-passed":
            passed_ms[_wave(entry)] = entry.at_ms
    for job in row.state.jobs.values():
        if job.told_ms is not None and job.wave and job.told_ms < passed_ms.get(job.wave - 1, 1 << 62):
            bad.append(f"{job.key[1]} of wave {job.wave} was told before wave {job.wave - 1} had passed")
    return bad


def _wave(entry: Entry) -> int:
    wave = entry.detail["wave"]
    assert isinstance(wave, int)
    return wave


def _devices(found: Found) -> list[str]:
    """Each device ended as the rollout did, and was told as often as the store says."""
    bad = []
    row, entries, told = found.row, found.entries, found.told
    completed = row.state.status == "completed"
    right = {JobStatus.COMMITTED} if completed else {JobStatus.BACK, JobStatus.SKIPPED}
    committed = Counter(entry.detail["device"] for entry in entries if entry.action == "rollout.device-committed")
    for job in row.state.jobs.values():
        name = job.key[1]
        if job.status not in right:
            bad.append(f"{name} is {job.status}: {job.reason}")
        if job.status is JobStatus.SKIPPED and told[name]:
            bad.append(f"{name} was skipped, and told")
        # what was decided and taken back before it was published never comes to the broker
        if told[name] > job.tries or job.tries > found.most_told or (completed and told[name] != job.tries):
            bad.append(f"{name} was told {told[name]} times, by the store {job.tries} times")
        if committed[name] > 1 or (completed and not committed[name]):
            bad.append(f"{name} has taken it {committed[name]} times, by the audit log")
    return bad


def _counters(row: RolloutRow, shown: Mapping[str, Any], listed: Mapping[str, Any]) -> list[str]:
    """What the API counts is what there is."""
    jobs = Counter(job.status for job in row.state.jobs.values())
    right = {
        "waiting": jobs[JobStatus.WAITING],
        "updating": jobs[JobStatus.TOLD] + jobs[JobStatus.GOING_BACK],
        "done": jobs[JobStatus.COMMITTED],
        "failed": sum(jobs[status] for status in FAILURES),
    }
    both = (("shown", shown["counts"]), ("listed", listed["counts"]))
    bad = [f"{name}: {one} instead of {right}" for name, one in both if one != right]
    sizes = [len(wave) for wave in row.plan.waves]
    if [stage["devices"] for stage in shown["stages"]] != sizes or listed["stages"] != shown["stages"]:
        bad.append(f"stages: {shown['stages']} shown, {listed['stages']} listed, {sizes} planned")
    if sum(stage["done"] for stage in shown["stages"]) != right["done"]:
        bad.append(f"the stages' devices are not {right['done']} done: {shown['stages']}")
    phases = Counter(one["phase"] for one in shown["devices"])
    if phases != Counter(status.value for status in jobs.elements()):
        bad.append(f"devices are shown as {dict(phases)}, and are {dict(jobs)}")
    return bad
