"""The service's own connection, at a real broker."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from edgekit.fleet._brokers import running
from edgekit.fleet._url import parse
from edgekit.fleet.service.health import Health
from edgekit.fleet.service.host import HostLink

pytestmark = pytest.mark.slow


def _eventually(question: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not question():
        assert time.monotonic() < end, "it never came to be"
        time.sleep(0.02)


def test_an_ingest_that_starts_is_another_birth_for_devices_and_no_other_connection(tmp_path: Path) -> None:
    """With another connection all desired states are published again, which a fleet of thousands pays for."""
    with running(data=tmp_path) as broker:
        link = HostLink(parse(broker.url), "default", Health())
        link.start()
        try:
            _eventually(lambda: link.connected)
            birth = link.birth
            link.storing(able=True)
            link.storing(able=True)
            assert (link.session, link.birth) == (1, birth + 2)
        finally:
            link.stop()
