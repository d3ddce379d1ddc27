"""Who is answered quickly looks again before it sleeps; who is not, or has one processor, sleeps at once."""

import os
import time
from itertools import count

import pytest

from edgekit_agent.serve.waiting import Waiting

LONG_NS = 10**10  # longer than any pause of a busy machine


@pytest.fixture(autouse=True)
def _two_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: {0, 1})


def test_at_first_it_sleeps_and_after_quick_answers_it_looks() -> None:
    waiting = Waiting(LONG_NS)
    assert waiting.until(lambda: "seen", lambda: "slept") == "slept"
    assert waiting.until(lambda: "seen", lambda: "slept") == "seen"


def test_it_looks_until_there_is_something() -> None:
    waiting, looks = Waiting(LONG_NS), count()
    waiting.until(lambda: "", lambda: "slept")
    assert waiting.until(lambda: "seen" if next(looks) == 5 else "", lambda: "slept") == "seen"


def test_it_sleeps_when_looking_has_found_nothing_for_too_long() -> None:
    waiting = Waiting(1_000_000)
    waiting.until(lambda: "", lambda: "slept")
    assert waiting.until(lambda: "", lambda: "slept") == "slept"


def test_after_long_waits_it_sleeps_at_once() -> None:
    waiting = Waiting(1_000_000)

    def long() -> str:
        time.sleep(0.01)
        return "slept"

    for _ in range(8):
        waiting.until(lambda: "", long)
    assert waiting.until(lambda: "seen", lambda: "slept") == "slept"


def test_with_one_processor_it_never_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: {0})
    waiting = Waiting(LONG_NS)
    assert [waiting.until(lambda: "seen", lambda: "slept") for _ in range(3)] == ["slept"] * 3
