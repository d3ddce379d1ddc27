"""What the gates say of devices whose latency is like that of real ones; seeded, so that each run sees the same."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.fleet.rollout.evidence import boundary, normal_evidence, rate_evidence, share_evidence
from edgekit.fleet.rollout.findings import Finding, Mark
from edgekit.fleet.rollout.gates import Counted, Watched, judge
from edgekit.fleet.rollout.noise import Noise, Sample, Windowed, log_quantile, noise_of, samples_of
from edgekit.fleet.rollout.plan import Gates
from edgekit.fleet.rollout.shift import Compared, shift_of
from edgekit.fleet.rollout.state import Job, JobStatus
from edgekit_agent.protocol import ExpHistogram
from tests.benchmarks.bench_rollout_gates import TEN, Case, run
from tests.benchmarks.rollout_fleet import Change

JOBS = [Job(key=("a", str(number)), wave=0, status=JobStatus.COMMITTED) for number in range(5)]


def found(
    gate: str, canaries: list[Watched], controls: list[Watched] | None = None, gates: Gates | None = None
) -> Finding:
    findings = judge(gates or Gates(), 1, JOBS, canaries, controls or [])
    return next(one for one in findings if one.gate == gate)


def counted(**now: object) -> list[Watched]:
    """Return five devices that did this since, after an hour without a fault."""
    before = Counted(inferences=36_000, hours=1.0, classes={"a": 500.0, "b": 500.0})
    return [Watched(device=str(n), usual=before, now=Counted(**{"inferences": 1000, **now})) for n in range(5)]  # type: ignore[arg-type]  # its fields


@pytest.mark.parametrize("change", [Change(whole=TEN), Change(tail=TEN)], ids=["all", "tail"])
def test_ten_percent_are_found_within_three_reports_and_no_change_is_not(change: Change) -> None:
    """A few of the thousand runs of the benchmark: those with a change are stopped, and those without pass."""
    bad = [run(Case(name="", change=change), seed) for seed in range(6)]
    good = [run(Case(name=""), seed) for seed in range(6)]
    assert sum(bool(one.bad_at) for one in bad) >= 5
    assert not any(one.bad_at for one in good)
    assert all(one.good_at for one in good)


def test_a_test_martingale_passes_its_bound_as_seldom_as_it_says() -> None:
    """Two hundred looks at a thousand streams without an effect: at most 5 % may ever be called bad; seeded."""
    rng = np.random.default_rng(7)
    steps = rng.standard_normal((1000, 200)).cumsum(axis=1)
    alarms = 0
    for row in steps:
        bound = math.log(20)
        values = ((row[at] / (at + 1), at + 1) for at in range(0, 200, 4))
        alarms += any(normal_evidence(value * 0.1, 100.0 * n, 0.0, 0.05) >= bound for value, n in values)
    assert alarms <= 50


@given(value=st.floats(-20, 0), information=st.floats(0.1, 1e9), null=st.floats(0, 3), scale=st.floats(0.01, 3))
def test_what_is_faster_than_tolerated_is_never_evidence_however_much_is_known(
    value: float, information: float, null: float, scale: float
) -> None:
    assert normal_evidence(value, information, null, scale) <= 0.01


@given(information=st.floats(0.1, 1e6), values=st.lists(st.floats(-5, 5), min_size=2, max_size=2))
def test_slower_is_never_less_evidence(information: float, values: list[float]) -> None:
    less, more = (normal_evidence(value, information, 0.01, 0.1) for value in sorted(values))
    assert less <= more + 1e-6 * abs(more) + 1e-6


def test_the_boundary_is_where_the_evidence_is_one_over_alpha() -> None:
    for information in (100.0, 3000.0, 1e6):
        edge = boundary(information, 0.09, 0.01)
        assert math.isclose(normal_evidence(edge, information, 0.0, 0.09), math.log(100), rel_tol=1e-6)


def test_log_quantiles_move_within_buckets() -> None:
    values = [math.log(quantile) for quantile in (0.0100, 0.0102, 0.0104)]
    rng = np.random.default_rng(3)
    base = rng.lognormal(0, 0.1, 5000)
    told = [log_quantile(ExpHistogram.of(base * math.exp(one), 4), 0.99) for one in values]
    for shift, wanted in zip(np.diff(told), np.diff(values), strict=True):
        assert abs(shift - wanted) < 0.006
    assert math.isnan(log_quantile(ExpHistogram(4), 0.5))


def test_windows_of_few_inferences_are_put_together() -> None:
    windows = [Windowed(10.0 * n, ExpHistogram.of([0.01] * 60, 4)) for n in range(12)]
    assert [(one.at_s, one.n) for one in samples_of(windows, 0.99)] == [(40.0, 300), (90.0, 300)]
    assert len(samples_of(windows, 0.5)) == 12


def test_noise_is_learnt_from_what_was_before() -> None:
    rng = np.random.default_rng(5)
    histories = []
    for _ in range(8):
        slow, row = 0.0, []
        for at in range(120):
            slow = 0.8 * slow + 0.05 * 0.6 * rng.standard_normal()
            row.append(Sample(10.0 * at, slow + 0.03 * rng.standard_normal(), 600))
        histories.append(row)
    noise = noise_of(histories, 10.0)
    assert 0.6 < noise.phi < 0.92
    assert 0.03 < math.sqrt(noise.slow) < 0.07
    assert 0.015 < math.sqrt(noise.quick) < 0.045


def test_what_controls_do_too_is_no_shift() -> None:
    rng = np.random.default_rng(9)
    load = 0.2 * np.sin(np.arange(80) / 10)

    def device(number: int, shift: float) -> Compared:
        values = [Sample(10.0 * at, float(load[at]) + number + 0.01 * rng.standard_normal(), 600) for at in range(80)]
        after = [Sample(one.at_s, one.value + shift, one.n) for one in values[60:]]
        return Compared(device=str(number), before=values[:60], after=after)

    canaries, controls = [device(n, 0.1) for n in range(5)], [device(n, 0.0) for n in range(5, 10)]
    alone, beside = shift_of(canaries), shift_of(canaries, controls)
    assert alone is not None
    assert beside is not None
    assert abs(beside.value - 0.1) < 0.02 < abs(alone.value - 0.1)


def test_one_burst_on_one_device_is_not_taken_for_a_shift() -> None:
    quiet = [Sample(10.0 * at, 0.001 * (at % 3), 600) for at in range(60)]
    after = [Sample(600.0 + 10 * at, 0.0, 600) for at in range(3)]
    burst = [after[0], Sample(610.0, 3.0, 600), after[2]]
    devices = [Compared(device=str(n), before=quiet, after=burst if n == 0 else after) for n in range(5)]
    shift = shift_of(devices)
    assert shift is not None
    assert shift.value < 0.02


def test_errors_of_several_devices_are_bad_and_of_one_are_that_device() -> None:
    assert found("errors", counted(errors=60)).mark is Mark.BAD
    assert found("errors", counted(errors=0)).mark is Mark.GOOD
    one = [
        *counted()[:4],
        Watched(device="4", usual=Counted(inferences=36_000), now=Counted(inferences=0, errors=1000)),
    ]
    assert found("errors", one).mark is Mark.GOOD
    everywhere = counted(errors=60)
    assert found("errors", everywhere, controls=everywhere).mark is not Mark.BAD


def test_crashes_more_than_before() -> None:
    assert found("crashes", counted(crashes=1, hours=0.25)).mark is Mark.BAD
    assert found("crashes", counted(hours=0.25)).mark is Mark.GOOD


def test_classes_in_other_shares_than_before() -> None:
    assert found("drift", counted(classes={"a": 900.0, "b": 100.0})).mark is Mark.BAD
    assert found("drift", counted(classes={"a": 510.0, "b": 490.0})).mark is Mark.GOOD
    shifted = counted(classes={"a": 900.0, "b": 100.0})
    assert found("drift", shifted, controls=shifted).mark is Mark.GOOD


def test_few_inferences_call_nothing_bad() -> None:
    few = counted(errors=60, inferences=10)
    assert found("errors", few).mark is Mark.OPEN
    assert found("samples", few).mark is Mark.OPEN
    assert found("errors", few, gates=Gates(least_inferences=10)).mark is Mark.BAD


def test_devices_that_fall_silent_alone_and_with_all_others() -> None:
    silent = [Watched(device=str(n), now=Counted(inferences=1000), silent=n < 2) for n in range(5)]
    others = [Watched(device=str(n), silent=True) for n in range(5)]
    assert found("presence", silent).mark is Mark.BAD
    assert found("presence", silent, controls=others).mark is Mark.OPEN


def test_failed_devices_are_bad_as_soon_as_the_rest_cannot_change_it() -> None:
    def mark(*statuses: JobStatus) -> Mark:
        jobs = [Job(key=("a", str(n)), wave=0, status=status) for n, status in enumerate(statuses)]
        return judge(Gates(), 1, jobs, [])[0].mark

    waiting, done, failed = JobStatus.TOLD, JobStatus.COMMITTED, JobStatus.FAILED
    assert mark(failed) is Mark.BAD
    assert mark(failed, waiting, waiting, waiting, waiting) is Mark.GOOD
    assert mark(failed, failed, waiting, waiting, waiting) is Mark.BAD
    assert mark(JobStatus.AWAY, done, done) is Mark.GOOD


def test_evidence_of_counts_grows_with_them() -> None:
    assert share_evidence(5, 995, 0.001, 0.021) < share_evidence(30, 970, 0.001, 0.021)
    assert rate_evidence(0, 10, 0.02, 0.5) < 0 < rate_evidence(3, 1, 0.02, 0.5)


def test_a_noise_scaled_keeps_its_form() -> None:
    noise = Noise(phi=0.5, slow=0.01, quick=0.02, step_s=10).scaled(4)
    assert (noise.phi, noise.slow, noise.quick) == (0.5, 0.04, 0.08)
