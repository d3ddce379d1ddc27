"""The device page's log, fetched by a click in a real browser from a real agent."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import BrokerProcess, wait_for
from tests.e2e.served_fleet import ServedFleet
from tests.sdk.fleet.web.browser import CHROMIUM, MISSING, signed_in, with_token

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason=MISSING)]
BUTTON = "[...document.querySelectorAll('.card .head button')].find((one) => one.textContent === 'Fetch the log')"
LOG, SAID = "document.querySelector('pre.log')", "document.querySelector('pre.log').parentNode.querySelector('.soft')"


@pytest.fixture
def fleet(broker: BrokerProcess, tmp_path: Path) -> Iterator[ServedFleet]:
    """The service."""
    folder = tmp_path / "service"
    folder.mkdir()
    run = ServedFleet(folder, f"mqtt://127.0.0.1:{broker.port}")
    yield run
    run.stop()


def test_the_agents_own_lines_are_shown_after_a_click(
    fleet: ServedFleet, broker: BrokerProcess, start_agent: Callable[..., Any], agent_toml: Callable[..., str]
) -> None:
    agent = start_agent(agent_toml(broker.port))
    wait_for(lambda: fleet.presence().get("edge-1") == ("online", "heard"), "the agent is online")
    with signed_in(fleet.url, with_token(fleet.token)) as browser:
        browser.run("location.hash = '#/device/default/edge-1'")
        browser.until("document.querySelector('main h1')?.textContent === 'edge-1'")
        assert browser.run(f"{LOG}.hidden")
        browser.until(f"{BUTTON} !== undefined")
        browser.run(f"{BUTTON}.id = 'fetch'")
        browser.click("#fetch")
        browser.until(f"!{LOG}.hidden && {LOG}.textContent.includes('event=connected')")
        shown = browser.run(f"{LOG}.textContent").splitlines()
        agents = shown[: next((at for at, line in enumerate(shown) if line.startswith("--- worker ")), len(shown))]
        written = agent.log
        assert agents
        assert [line for line in agents if line not in written] == []
        assert browser.run(f"{SAID}.textContent") == ""
        assert not browser.run(f"{BUTTON}.disabled")

        os.kill(agent.pid, signal.SIGSTOP)  # there, and silent
        try:
            browser.click("#fetch")
            browser.until(f"{SAID}.textContent.length > 0 && !{BUTTON}.disabled", 90)
            assert "answer" in browser.run(f"{SAID}.textContent")
            assert browser.run(f"{LOG}.hidden")
        finally:
            os.kill(agent.pid, signal.SIGCONT)
        assert browser.complaints() == []
