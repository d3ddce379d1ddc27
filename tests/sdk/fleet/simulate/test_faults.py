"""Faults on demand: how they are written, and whom they strike."""

import pytest

from edgekit.errors import UsageError
from edgekit.fleet.simulate.faults import USUAL, WORDS, Fault, Kind, assign, parse

NAMES = [f"sim-{number:05d}" for number in range(200)]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("silent:5%", Fault(kind=Kind.SILENT, share=0.05)),
        ("silent:0.5%@60", Fault(kind=Kind.SILENT, share=0.005, at_s=60)),
        ("slow:20%:10%", Fault(kind=Kind.SLOW, share=0.2, amount=0.1)),
        ("slow:20%", Fault(kind=Kind.SLOW, share=0.2, amount=0.1)),
        ("clock-jump:1%:-7200s@5", Fault(kind=Kind.CLOCK_JUMP, share=0.01, amount=-7200, at_s=5)),
    ],
)
def test_a_fault_is_read_as_it_is_written(text: str, fault: Fault) -> None:
    assert parse(text) == fault
    assert parse(str(fault)) == fault


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("silent", "not of the form"),
        ("melt:5%", "no fault 'melt'"),
        ("silent:0%", "more than 0 %"),
        ("silent:101%", "more than 0 %"),
        ("silent:5%:3%", "has no amount"),
        ("slow:5%:3s", "wrong unit"),
        ("clock-jump:5%:3%", "wrong unit"),
    ],
)
def test_a_wrong_fault_is_said(text: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(text)
    assert words in " ".join((str(caught.value), *caught.value.__notes__))


def test_exactly_the_share_is_struck_by_the_seed_alone() -> None:
    faults = (parse("silent:5%"), parse("slow:10%"))
    found = assign(faults, NAMES, seed=3)
    assert sum(faults[0] in one for one in found.values()) == 10
    assert sum(faults[1] in one for one in found.values()) == 20
    assert assign(faults, NAMES, seed=3) == found
    assert assign(faults, NAMES, seed=4) != found


def test_a_small_share_of_few_devices_is_one() -> None:
    assert len(assign((parse("silent:1%"),), NAMES[:5], seed=0)) == 1


def test_every_kind_has_its_words() -> None:
    assert set(WORDS) == set(Kind)
    assert set(USUAL) < set(Kind)
