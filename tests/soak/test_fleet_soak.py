"""A short soak in every run; `python -m tests.soak.fleet --kills 100` is the long one."""

from pathlib import Path

import pytest

from edgekit.fleet import _brokers as brokers
from tests.sdk.fleet.postgresql import serving
from tests.soak import fleet

KILLS = 6


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_kills_lose_no_acknowledged_report_and_store_none_twice(tmp_path: Path) -> None:
    if brokers.find_mosquitto() is None:
        pytest.skip("needs mosquitto: apt-get install mosquitto")
    soak = fleet.run(KILLS, seed=5, folder=tmp_path, simulated=20)
    assert soak.bad == []
    assert sum(soak.kills.values()) == KILLS
    assert soak.figures["reports"] > 0


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_ingest_processes_share_postgresql_and_one_is_killed(tmp_path: Path) -> None:
    if brokers.find_mosquitto() is None:
        pytest.skip("needs mosquitto: apt-get install mosquitto")
    with serving() as server, server.database() as url:
        soak = fleet.run(2, seed=3, folder=tmp_path, simulated=20, url=url, ingest=2, victims=("ingest",))
    assert soak.bad == []
    assert soak.kills == {"ingest": 2}
    assert soak.figures["reports"] > 0
