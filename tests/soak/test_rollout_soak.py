"""A short soak in every run; `python -m tests.soak.rollouts --kills 100` is the long one."""

from pathlib import Path

import pytest

from edgekit.fleet import _brokers as brokers
from tests.soak import rollouts

KILLS = 6


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_rollouts_go_on_as_they_should_whenever_the_service_is_killed(tmp_path: Path) -> None:
    if brokers.find_mosquitto() is None:
        pytest.skip("needs mosquitto: apt-get install mosquitto")
    seen = rollouts.run(KILLS, seed=1, folder=tmp_path, simulated=18)
    assert seen["bad"] == []
    assert sum(seen["kills"].values()) == KILLS
    assert seen["rollouts"] >= 3
