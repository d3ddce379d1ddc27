"""The soak's own checks: what is right passes, and each thing that is wrong is found."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from edgekit.fleet.audit import Entry
from edgekit.fleet.rollout.plan import Plan, Release
from edgekit.fleet.rollout.state import Job, JobStatus, State, Status
from edgekit.fleet.store.rollouts import RolloutRow
from tests.soak.rollout_checks import Found, check

KEYS = (("lab", "dev-0"), ("lab", "dev-1"))
DONE = {"waiting": 0, "updating": 0, "done": 2, "failed": 0}


def entry(at_ms: int, what: str, **detail: object) -> Entry:
    return Entry(at_ms=at_ms, who="edgekit", action=f"rollout.{what}", subject="rollout/r", detail=detail)


LOG = (
    entry(1, "begun"),
    entry(2, "device-committed", device="dev-0"),
    entry(3, "wave-deployed", wave=0),
    entry(4, "wave-passed", wave=0),
    entry(6, "device-committed", device="dev-1"),
    entry(7, "wave-deployed", wave=1),
    entry(8, "wave-passed", wave=1),
    entry(8, "completed"),
)


def job(number: int, **more: Any) -> Job:
    given = {"status": JobStatus.COMMITTED, "tries": 1, "told_ms": 1 + 4 * number, **more}
    return Job(key=KEYS[number], wave=number, **given)


def found(*jobs: Job, **more: Any) -> Found:
    """Return a rollout of two waves of a device each that is completed, or what is said to be so."""
    plan = Plan(release=Release(model="kws", version="2.0.0"), waves=((KEYS[0],), (KEYS[1],)))
    every = jobs or (job(0), job(1))
    row = RolloutRow(
        id="r", plan=plan, state=State(jobs={one.key: one for one in every}, status=Status.COMPLETED, wave=1)
    )
    stages = [{"devices": 1, "done": 1}, {"devices": 1, "done": 1}]
    shown = {"counts": DONE, "stages": stages, "devices": [{"phase": one.status.value} for one in every]}
    right = Found(
        row=row,
        entries=LOG,
        shown=shown,
        listed={"counts": DONE, "stages": stages},
        told={"dev-0": 1, "dev-1": 1},
        most_told=1,
    )
    return replace(right, **more)


def test_what_is_right_passes() -> None:
    assert check(found()) == []


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (lambda: found(entries=LOG[1:]), "nobody began it"),
        (lambda: found(entries=(*LOG, LOG[-1])), "2 times as completed"),
        (lambda: found(entries=(*LOG[:5], *LOG[6:])), "wave-deployed are"),
        (lambda: found(entries=(*LOG[:4], LOG[3], *LOG[4:])), "wave-passed, by the audit log: [0, 0, 1]"),
        (lambda: found(entries=(*LOG[:2], *LOG[1:])), "dev-0 has taken it 2 times"),
        (lambda: found(job(0), job(1, told_ms=3)), "was told before wave 0 had passed"),
        (lambda: found(job(0), job(1, status=JobStatus.LATE)), "dev-1 is late"),
        (lambda: found(told={"dev-0": 2, "dev-1": 1}), "dev-0 was told 2 times, by the store 1 times"),
        (lambda: found(job(0, tries=0), job(1)), "dev-0 was told 1 times, by the store 0 times"),
        (lambda: found(listed={"counts": {**DONE, "done": 1}, "stages": found().shown["stages"]}), "listed: "),
        (lambda: found(shown={**found().shown, "devices": []}), "devices are shown as {}"),
    ],
)
def test_what_is_wrong_is_found(wrong: Callable[[], Found], told: str) -> None:
    assert [one for one in check(wrong()) if told in one]
