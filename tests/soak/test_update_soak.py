"""A short soak in every run; `python -m tests.soak.update --kills 500` is the long one."""

from pathlib import Path

import pytest

from tests.soak import update

KILLS = 10


@pytest.mark.slow
def test_an_agent_that_is_killed_at_random_moments_of_updates_always_has_a_whole_model(tmp_path: Path) -> None:
    soak = update.run(KILLS, seed=3, folder=tmp_path)
    assert soak.bad == []
    assert sum(soak.phases.values()) == KILLS + 1
