"""What the gates of rollouts find, and call bad by mistake: `python -m tests.benchmarks.bench_rollout_gates`.

Nothing is timed: seeded devices (`rollout_fleet`) report windows of 10 s with 600 inferences, and the product's own
`judge` looks after every report, with the alpha of a plan with one wave. `--runs 1000` is what docs/adr/0033 tells of.
"""

import argparse
import math
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from edgekit.fleet.rollout.findings import Finding, Mark
from edgekit.fleet.rollout.gates import Counted, Watched, judge
from edgekit.fleet.rollout.noise import Windowed
from edgekit.fleet.rollout.plan import Gates
from edgekit.fleet.rollout.state import Job, JobStatus
from tests.benchmarks.rollout_fleet import BUSY, QUIET, WINDOW_S, Change, Fleet, Habits

CANARIES, HISTORY, REPORTS = 5, 60, 3
TEN = math.log(1.1)


@dataclass(frozen=True, kw_only=True)
class Case:
    """One situation: what devices are like, what the release does, and for how many reports it is looked at."""

    name: str
    habits: Habits = QUIET
    change: Change = field(default_factory=Change)
    reports: int = REPORTS
    canaries: int = CANARIES
    controls: int = 5
    history: int = HISTORY


@dataclass(frozen=True)
class Seen:
    """When (which report, from 1) a run was called bad or could pass; 0 where never."""

    bad_at: int
    good_at: int
    gate: str


CASES = (
    Case(name="no change, watched for 3 reports"),
    Case(name="no change, watched for 15 minutes", reports=90),
    Case(name="no change, 15 minutes, no controls", reports=90, controls=0),
    Case(name="no change, busy devices, 15 minutes", habits=BUSY, reports=90),
    Case(name="p99 10 % higher: all inferences", change=Change(whole=TEN)),
    Case(name="p99 10 % higher: the tail only", change=Change(tail=TEN)),
    Case(name="p99 10 % higher: tail only, no controls", change=Change(tail=TEN), controls=0),
    Case(name="p99 10 % higher: tail only, 2 canaries", change=Change(tail=TEN), canaries=2),
    Case(name="p99 10 % higher: tail only, 12 windows known", change=Change(tail=TEN), history=12),
    Case(name="p99 10 % higher: tail only, 60 inferences", habits=replace(QUIET, rate=60), change=Change(tail=TEN)),
    Case(name="p99 5 % higher: the tail only", change=Change(tail=math.log(1.05))),
    Case(name="p99 5 % higher: tail only, 15 minutes", change=Change(tail=math.log(1.05)), reports=90),
    Case(name="p99 15 % higher: the tail only", change=Change(tail=math.log(1.15))),
    Case(name="p99 20 % higher: the tail only", change=Change(tail=math.log(1.2))),
    Case(name="10 % slower, busy devices, 3 reports", habits=BUSY, change=Change(whole=TEN)),
    Case(name="10 % slower, busy devices, 15 minutes", habits=BUSY, change=Change(whole=TEN), reports=90),
    Case(name="20 % slower, busy devices, 3 reports", habits=BUSY, change=Change(whole=math.log(1.2))),
)


def run(case: Case, seed: int) -> Seen:
    """Go through one rollout's wave and return when it was called bad, and when it could have passed."""
    fleet = Fleet(case.canaries + case.controls, case.habits, np.random.default_rng([seed, 33]))
    before: list[list[Windowed]] = [[] for _ in range(case.canaries + case.controls)]
    for _ in range(case.history):
        for device, window in enumerate(fleet.windows()):
            before[device].append(window)
    after: list[list[Windowed]] = [[] for _ in before]
    changed = dict.fromkeys(range(case.canaries), case.change)
    good_at = 0
    for report in range(1, case.reports + 1):
        for device, window in enumerate(fleet.windows(changed)):
            after[device].append(window)
        if report > 12 and report % 6:  # looked at rarely once there is much: a run takes seconds
            continue
        found = look(case, before, after)
        bad = next((one for one in found if one.mark is Mark.BAD), None)
        if bad is not None:
            return Seen(report, good_at, bad.gate)
        if not good_at and all(one.mark is Mark.GOOD for one in found):
            good_at = report
    return Seen(0, good_at, "")


def look(case: Case, before: Sequence[Sequence[Windowed]], after: Sequence[Sequence[Windowed]]) -> list[Finding]:
    """Judge what there is."""
    watched = []
    for device, (old, new) in enumerate(zip(before, after, strict=True)):
        counts = [
            Counted(inferences=case.habits.rate * len(some), hours=len(some) * WINDOW_S / 3600) for some in (old, new)
        ]
        stages = [{"e2e": some} for some in (old, new)]
        watched.append(Watched(device=str(device), before=stages[0], after=stages[1], usual=counts[0], now=counts[1]))
    jobs = [Job(key=("a", str(at)), wave=0, status=JobStatus.COMMITTED) for at in range(case.canaries)]
    return judge(Gates(), 1, jobs, watched[: case.canaries], watched[case.canaries :])


def shares(case: Case, runs: int, pool: ProcessPoolExecutor) -> tuple[float, float, float]:
    """Return the shares of runs that were called bad, that could pass, and the median report of the first."""
    seen = list(pool.map(partial(run, case), range(runs), chunksize=10))
    bad = [one.bad_at for one in seen if one.bad_at]
    passed = sum(bool(one.good_at) and not one.bad_at for one in seen)
    return len(bad) / runs, passed / runs, float(np.median(bad)) if bad else math.nan


def interval(share: float, runs: int) -> str:
    """Return a share with its 95 % interval (Wilson)."""
    z = 1.96
    middle = (share + z * z / (2 * runs)) / (1 + z * z / runs)
    half = z / (1 + z * z / runs) * math.sqrt(share * (1 - share) / runs + z * z / (4 * runs * runs))
    return f"{share:6.1%} ({max(0.0, middle - half):.1%} to {middle + half:.1%})"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--only", default="", help="part of a case's name")
    parser.add_argument("--most-reports", type=int, default=90, help="leave out the cases that watch for longer")
    options = parser.parse_args()
    print(f"{'case':50} {'stopped (95 % interval)':28} {'passed':>7}  median report of the stop")
    with ProcessPoolExecutor(options.processes) as pool:
        for case in CASES:
            if options.only in case.name and case.reports <= options.most_reports:
                bad, passed, at = shares(case, options.runs, pool)
                print(f"{case.name:50} {interval(bad, options.runs):28} {passed:7.1%}  {at:g}", flush=True)


if __name__ == "__main__":
    main()
