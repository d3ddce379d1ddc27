"""When alerts begin and end, for any history of values."""

from collections.abc import Sequence
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.fleet.alerts.machine import STALE_S, Change, Key, Kind, Observation, Phase, Standing, step
from edgekit.fleet.alerts.rules import Rule, Silence

RULE = Rule.written("slow", "p99 > 50", clear=40, **{"for": "30s", "resolve": "20s"})
KEY = Key("slow", "default/pi-7")


def _run(
    values: Sequence[float | None], *, every_s: float = 10, rule: Rule = RULE, silences: tuple[Silence, ...] = ()
) -> list[tuple[int, dict[Key, Standing], list[Change]]]:
    """Return time, what stands and what happened for each value, None for one that was not seen."""
    standings: dict[Key, Standing] = {}
    out = []
    for number, value in enumerate(values):
        now = int(number * every_s * 1000)
        seen = [] if value is None else [Observation(rule="slow", group=KEY.group, value=value)]
        standings, changes = step({"slow": rule}, seen, list(standings.values()), silences, now)
        out.append((now, standings, changes))
    return out


def _told(values: Sequence[float | None], **more: object) -> list[tuple[int, Kind]]:
    return [(now // 1000, one.kind) for now, _, changes in _run(values, **more) for one in changes if one.tell]  # type: ignore[arg-type]


def test_it_fires_after_its_time_and_not_for_a_moment() -> None:
    assert _told([60, 60, 30, 60, 60, 30]) == []
    assert _told([60, 60, 60, 60]) == [(30, Kind.FIRED)]


def test_between_the_two_limits_nothing_changes() -> None:
    assert _told([60] * 4 + [45] * 20) == [(30, Kind.FIRED)]
    assert _told([60] * 4 + [40] * 3) == [(30, Kind.FIRED), (60, Kind.RESOLVED)]
    assert _told([60] * 4 + [30, 45, 30, 30, 30]) == [(30, Kind.FIRED), (80, Kind.RESOLVED)]


def test_one_that_is_not_seen_any_more_is_over_late_and_with_the_reason() -> None:
    steps = int(STALE_S / 10)
    history = _run([60] * 4 + [None] * (steps + 5))
    (end,) = [change for _, _, changes in history for change in changes if change.kind is Kind.RESOLVED]
    assert end.at_ms == (30 + STALE_S) * 1000
    assert "seen" in end.reason
    assert _run([60, None, None, 60, 60])[-1][1][KEY].phase is Phase.PENDING  # the count began anew


def test_a_rule_that_is_removed_ends_its_alerts() -> None:
    _, standings, _ = _run([60] * 4)[-1]
    after, changes = step({}, [], list(standings.values()), [], 31_000)
    assert (after, [one.kind for one in changes]) == ({}, [Kind.RESOLVED])


def test_a_silenced_alert_is_told_when_the_silence_ends_and_it_still_stands() -> None:
    quiet = Silence(id=1, rule="slow", group="default/*", until_ms=65_000)
    assert _told([60] * 10, silences=(quiet,)) == [(70, Kind.FIRED)]
    assert _told([60] * 4 + [30] * 6, silences=(quiet,)) == []
    other = replace(quiet, group="other/*")
    assert _told([60] * 10, silences=(other,)) == [(30, Kind.FIRED)]


def test_too_few_samples_are_none() -> None:
    rule = replace(RULE, least=5)
    few = Observation(rule="slow", group="a", value=99.0, samples=4)
    assert step({"slow": rule}, [few], [], [], 0) == ({}, [])


VALUES = st.lists(st.none() | st.sampled_from([10.0, 40.0, 45.0, 50.0, 51.0, 90.0]), max_size=60)


@settings(deadline=None)
@given(VALUES, st.sampled_from([5.0, 10.0, 30.0]), st.integers(0, 400_000))
def test_what_is_told_goes_on_and_off_in_turn_and_never_too_early(
    values: list[float | None], every_s: float, until_ms: int
) -> None:
    quiet = Silence(id=1, rule="*", group="*", until_ms=until_ms)
    for silences in ((), (quiet,)):
        told = [
            one for _, _, changes in _run(values, every_s=every_s, silences=silences) for one in changes if one.tell
        ]
        assert [one.kind for one in told] == [(Kind.FIRED, Kind.RESOLVED)[number % 2] for number in range(len(told))]
        for one in told:
            if one.kind is Kind.FIRED:
                assert one.at_ms - one.standing.since_ms >= 30_000
                assert not any(each.covers(*KEY, one.at_ms) for each in silences)


@settings(deadline=None)
@given(VALUES)
def test_it_fires_exactly_when_it_was_beyond_all_the_time(values: list[float | None]) -> None:
    """Beside a reference that looks back over the whole history."""
    firing, calm = False, 0
    for number, (_, standings, _) in enumerate(_run(values)):
        last = values[max(0, number - 3) : number + 1]
        if not firing:
            firing = len(last) == 4 and all(one is not None and one > 50 for one in last)
            calm = 0
        else:
            value = values[number]
            calm = calm + 1 if value is not None and value <= 40 else 0
            firing = calm < 3
        assert (KEY in standings and standings[KEY].phase is Phase.FIRING) == firing
