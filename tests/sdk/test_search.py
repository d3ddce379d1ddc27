"""The search for layers to leave in float, in made-up worlds where it is known which ones; trials are counted."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit._search import MOST_TRIALS, Budget, Outcome, Unit, Verdict, search

World = Callable[[frozenset[str]], bool]


def verdict(passes: bool) -> Verdict:
    return Verdict.PASSES if passes else Verdict.LOSES


@dataclass
class Trials:
    """A world, and what was tried in it."""

    world: World
    most: float = math.inf
    """Layers in float that are not too much."""
    made: list[frozenset[str]] = field(default_factory=list)

    def __call__(self, layers: Sequence[str], why: str) -> Verdict:
        assert layers
        assert len(set(layers)) == len(layers)
        assert why
        key = frozenset(layers)
        assert key not in self.made, "tried before"
        self.made.append(key)
        return Verdict.TOO_MUCH if len(key) > self.most else verdict(self.world(key))


def units(damages: Sequence[float]) -> list[Unit]:
    return [Unit(name=f"u{at}", damage=one, layers=(f"u{at}",)) for at, one in enumerate(damages)]


def needing(*names: str) -> World:
    return lambda layers: layers >= set(names)


def found(given_units: Sequence[Unit], world: World, budget: Budget | None = None) -> tuple[Outcome, Trials]:
    trials = Trials(world)
    return search(given_units, trials, budget or Budget()), trials


@given(st.integers(1, 200), st.data())
@settings(max_examples=150)
def test_worst_layers_that_are_the_needed_ones_are_found_in_few_trials(count: int, data: st.DataObject) -> None:
    needed = data.draw(st.integers(1, min(count, 5)))
    ranked = units([float(count - at) for at in range(count)])
    shuffled = data.draw(st.permutations(ranked))
    outcome, trials = found(shuffled, needing(*(f"u{at}" for at in range(needed))))
    assert outcome == Outcome(layers=tuple(f"u{at}" for at in range(needed)), ended="found")
    # up in powers of two, down by halves, then each single one and the halves of them
    assert len(trials.made) <= 2 * math.ceil(math.log2(needed + 1)) + 2 * needed


@given(st.integers(1, 40), st.data())
@settings(max_examples=150)
def test_few_needed_layers_anywhere_in_the_ranking_are_found_alone(count: int, data: st.DataObject) -> None:
    needed = data.draw(st.sets(st.integers(0, count - 1), min_size=1, max_size=2))
    names = {f"u{at}" for at in needed}
    outcome, trials = found(units([float(count - at) for at in range(count)]), needing(*names))
    assert outcome.ended == "found"
    assert set(outcome.layers or ()) == names
    assert len(trials.made) <= MOST_TRIALS


@given(st.integers(1, 30), st.integers(0, 2**32), st.integers(0, 60))
@settings(max_examples=200)
def test_in_a_world_without_order_what_is_found_passes_and_no_more_trials_are_made_than_allowed(
    count: int, salt: int, allowed: int
) -> None:
    def world(layers: frozenset[str]) -> bool:
        return hash((salt, layers)) % 3 == 0

    outcome, trials = found(units([1.0] * count), world, Budget(trials=allowed))
    assert len(trials.made) <= allowed
    passing = [one for one in trials.made if world(one)]
    if outcome.layers is None:
        assert not passing
    else:
        assert frozenset(outcome.layers) in passing
        assert len(outcome.layers) == min(map(len, passing))
    assert outcome.ended in {"found", "budget", "exhausted"}


@given(st.integers(1, 60))
def test_where_nothing_helps_every_layer_was_in_float_once(count: int) -> None:
    outcome, trials = found(units([1.0] * count), lambda _: False)
    assert outcome == Outcome(layers=None, ended="exhausted")
    assert len(trials.made[-1]) == count
    assert len(trials.made) <= math.ceil(math.log2(count)) + 1


def test_too_much_in_float_is_no_end_of_the_search_below_it() -> None:
    needed = {f"u{at}" for at in range(11)}
    trials = Trials(needing(*needed), most=13)
    outcome = search(units([float(20 - at) for at in range(20)]), trials, Budget())
    assert outcome.ended == "found"
    assert set(outcome.layers or ()) == needed
    assert [len(one) for one in trials.made[:8]] == [1, 2, 4, 8, 16, 12, 10, 11]


def test_where_only_too_much_would_do_nothing_is_found() -> None:
    trials = Trials(needing(*(f"u{at}" for at in range(14))), most=13)
    outcome = search(units([float(20 - at) for at in range(20)]), trials, Budget())
    assert outcome == Outcome(layers=None, ended="exhausted")
    assert len(trials.made) == 8


def test_no_layers_at_all_are_exhausted_without_a_trial() -> None:
    outcome, trials = found([], lambda _: True)
    assert outcome == Outcome(layers=None, ended="exhausted")
    assert trials.made == []


def test_units_that_share_layers_are_taken_together() -> None:
    shared = [
        Unit(name="a", damage=3, layers=("conv1", "conv2")),
        Unit(name="b", damage=2, layers=("conv2", "conv1")),
        Unit(name="c", damage=1, layers=("conv2", "conv3")),
    ]
    outcome, trials = found(shared, needing("conv3"))
    assert outcome == Outcome(layers=("conv3",), ended="found")
    assert len(trials.made) <= 6


def test_damage_without_a_figure_ranks_first() -> None:
    ranked = units([1.0, math.inf, 2.0])
    outcome, trials = found(ranked, needing("u1"))
    assert outcome.layers == ("u1",)
    assert len(trials.made) == 1


def test_the_time_is_looked_at_before_each_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("edgekit._search.time.monotonic", lambda: now[0])
    budget = Budget(seconds=25)

    def slow(layers: Sequence[str], why: str) -> Verdict:
        del why
        now[0] += 10
        return verdict(len(layers) >= 4)

    outcome = search(units([1.0] * 8), slow, budget)
    assert outcome.ended == "budget"
    assert outcome.layers is not None
    assert len(outcome.layers) == 4
    assert now[0] == 130


@pytest.mark.parametrize(("budget", "ended"), [(Budget(seconds=0.0), "budget"), (Budget(trials=0), "exhausted")])
def test_without_a_budget_nothing_is_tried(budget: Budget, ended: str) -> None:
    outcome, trials = found(units([1.0]), lambda _: True, budget)
    assert outcome == Outcome(layers=None, ended=ended)
    assert trials.made == []


def test_a_search_out_of_trials_is_through_with_the_best_it_found() -> None:
    every_second = needing(*(f"u{at}" for at in range(0, 64, 2)))
    outcome, trials = found(units([64.0 - at for at in range(64)]), every_second, Budget(trials=30))
    assert len(trials.made) == 30
    assert outcome.ended == "found"  # more time would change nothing
    assert 32 <= len(outcome.layers or ()) <= 63
