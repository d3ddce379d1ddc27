"""The REST API and the commands, at a served application."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from edgekit.fleet.alerts.part import AlertsPart
from edgekit.fleet.alerts.rules import Rule
from edgekit.fleet.alerts.settings import Settings, Webhook
from edgekit.fleet.alerts.watching import Sources, observe
from edgekit.fleet.store import Arrived, Store
from tests.sdk.fleet.alerts.conftest import Receiver
from tests.sdk.fleet.web.conftest import TOKEN, Served

pytestmark = pytest.mark.slow


@pytest.fixture
def served(store: Store) -> Iterator[Served]:
    service = Served(store)
    yield service
    service.close()


def _ask(served: Served, method: str, path: str, body: object = None) -> Any:
    return served.ask(method, f"/api/v1/alerts{path}", body, {"Authorization": f"Bearer {TOKEN}"})


def test_rules_silences_and_alerts_over_the_api(
    served: Served, store: Store, report: Callable[..., Arrived], receiver: Receiver
) -> None:
    part = AlertsPart(sources=Sources.of(store), settings=Settings(notifiers={"ops": Webhook(url=receiver.url)}))
    part.configure()
    assert _ask(served, "GET", "/notifiers").body == {"notifiers": [{"name": "ops", "kind": "webhook"}]}
    rule = {"when": "p99 > 50", "for": "0", "clear": 40, "filter": "device~pi-*", "notify": ["ops"]}
    assert _ask(served, "PUT", "/rules/slow", rule).status == 204
    for wrong in (
        {**rule, "when": "p98 > 1"},
        {**rule, "notify": ["nobody"]},
        {**rule, "filter": "device ~~ x"},
        {**rule, "for": "soon"},
    ):
        assert _ask(served, "PUT", "/rules/wrong", wrong).status == 400
    now = int(time.time() * 1000)
    store.reports.add([report("pi-7", 80, now), report("dev-8", 80, now)])
    part.look()
    (alert,) = _ask(served, "GET", "").body["alerts"]
    assert (alert["rule"], alert["group"], alert["phase"]) == ("slow", "default/pi-7", "firing")
    assert _ask(served, "POST", "/ack", {"rule": "slow", "group": "default/pi-7"}).status == 204
    assert _ask(served, "POST", "/ack", {"rule": "slow", "group": "default/pi-9"}).status == 404
    number = _ask(served, "POST", "/silences", {"rule": "sl*", "seconds": 60}).body["id"]
    (alert,) = _ask(served, "GET", "").body["alerts"]
    assert (alert["silenced"], alert["acked_by"]) == (True, "local")
    assert _ask(served, "DELETE", f"/silences/{number}").status == 204
    assert _ask(served, "DELETE", f"/silences/{number}").status == 404
    assert _ask(served, "DELETE", "/rules/slow").status == 204
    part.look()
    assert _ask(served, "GET", "").body == {"alerts": []}
    assert [one["kind"] for one in _ask(served, "GET", "/history").body["history"]] == ["resolved", "fired"]
    actions = [one.action for one in store.audit.entries()]
    assert actions[::-1] == [
        "alert-rule-changed", "alert-acknowledged", "alert-silenced", "alert-silence-ended", "alert-rule-removed",
    ]  # fmt: skip


def test_nobody_unknown_reads_and_no_address_can_be_given(served: Served, receiver: Receiver) -> None:
    assert served.ask("GET", "/api/v1/alerts").status == 401
    answer = _ask(served, "POST", "/tests", {"notifier": "ops", "url": receiver.url})
    assert answer.status == 400
    assert receiver.got == []


def test_stopped_rollouts_are_watched(store: Store) -> None:
    rule = Rule.written("stopped", "rollout-stopped > 0")
    assert observe(Sources.of(store), [rule], 0) == []


def test_the_commands(served: Served, store: Store, receiver: Receiver) -> None:
    part = AlertsPart(sources=Sources.of(store), settings=Settings(notifiers={"ops": Webhook(url=receiver.url)}))
    part.configure()
    stop = threading.Event()

    def deliver() -> None:
        while not stop.wait(0.1):
            part.deliver()

    thread = threading.Thread(target=deliver)
    thread.start()
    environment = {**os.environ, "EDGEKIT_FLEET_SERVER": served.url, "EDGEKIT_FLEET_TOKEN": TOKEN}

    def alerts(*arguments: str, code: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "edgekit.cli.main", "fleet", "alerts", *arguments], capture_output=True, text=True,
            check=False, env=environment, timeout=120,
        )  # fmt: skip
        assert done.returncode == code, done.stderr
        return done.stdout if code == 0 else done.stderr

    try:
        alerts("add", "gone", "silent > 60", "--for", "0", "--severity", "critical", "--notify", "ops")
        (rule,) = json.loads(alerts("rules", "--json"))["rules"]
        assert (rule["when"], rule["severity"]) == ("silent > 60", "critical")
        assert "there is no signal" in alerts("add", "gone", "silence > 60", code=2)
        assert "sent" in alerts("test", "ops")
        assert receiver.bodies[0]["kind"] == "test"
        assert "no notifier" in alerts("test", "nobody", code=2)
        assert "silence 1" in alerts("silence", "gone", "lab/*", "--for", "2h")
        alerts("unsilence", "1")
        assert "nothing" in alerts("ls")
        alerts("rm", "gone")
        assert "does not answer" in alerts("ls", "--server", "http://127.0.0.1:1", code=5)
    finally:
        stop.set()
        thread.join()
