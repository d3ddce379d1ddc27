"""Rollouts and the audit log over the API and from the command line, at a served application."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from typer.testing import CliRunner

from edgekit.cli.main import app
from edgekit.errors import UsageError
from edgekit.fleet.store import Store
from tests.sdk.fleet.postgresql import ON_SQLITE_ALONE
from tests.sdk.fleet.web.conftest import TOKEN, Served

pytestmark = pytest.mark.slow


@pytest.fixture
def served(store: Store) -> Iterator[Served]:
    service = Served(store)
    yield service
    service.close()


def ask(served: Served, method: str, path: str, body: object = None) -> Any:
    return served.ask(method, f"/api/v1{path}", body, {"Authorization": f"Bearer {TOKEN}"})


def test_a_rollout_is_begun_shown_and_ordered_about(served: Served) -> None:
    wanted = {"model": "kws", "version": "2.0.0", "id": "r1", "canary": "1", "growth": 3, "approve": "canary"}
    planned = ask(served, "POST", "/rollouts", {**wanted, "dry_run": True})
    assert [len(wave) for wave in planned.body["waves"]] == [1, 3]
    assert ask(served, "GET", "/rollouts").body == {"rollouts": []}
    begun = ask(served, "POST", "/rollouts", wanted)
    assert (begun.status, begun.body["state"], begun.body["created_by"]) == (200, "running", "local")
    assert [stage["name"] for stage in begun.body["stages"]] == ["canary", "wave 2"]
    assert begun.body["counts"] == {"waiting": 4, "updating": 0, "done": 0, "failed": 0}
    taken = ask(served, "POST", "/rollouts", {**wanted, "id": "r2"})
    assert taken.status == 400
    assert "lab/dev-0 (in 'r1')" in taken.body["error"]["message"]
    paused = ask(served, "POST", "/rollouts/r1/pause", {"reason": "lunch"})
    assert (paused.body["state"], paused.body["reason"]) == ("paused", "lunch")
    assert ask(served, "POST", "/rollouts/r1/pause").status == 409
    assert ask(served, "POST", "/rollouts/r1/abort").body["state"] == "rolled-back"
    shown = ask(served, "GET", "/rollouts/r1").body
    assert {one["phase"] for one in shown["devices"]} == {"skipped"}
    assert [one["what"] for one in shown["events"]][-1] == "begun"
    assert ask(served, "GET", "/rollouts/nothing").status == 404
    assert ask(served, "GET", "/audit/verify").body["entries"] >= 3
    assert ask(served, "GET", "/audit?subject=rollout/r1&limit=1").body["entries"][0]["action"].startswith("rollout.")


@ON_SQLITE_ALONE
@pytest.mark.parametrize(
    "wrong",
    [{"canary": "many"}, {"growth": 0.5}, {"filter": "no such language ~~"}, {"filter": "device=nobody"}, {"id": "A B"},
     {"bake_s": -1}, {"gates": {"alpha": 2}}, {"gates": {"latency": [{"limit": 0.1, "tolerated": 0.2}]}}, {"odd": 1}],
    ids=str,
)  # fmt: skip
def test_what_is_wrong_is_refused_and_begins_nothing(served: Served, wrong: dict[str, Any]) -> None:
    refused = ask(served, "POST", "/rollouts", {"model": "kws", "version": "2.0.0", **wrong})
    assert 400 <= refused.status < 500
    assert refused.body["error"]["message"]
    assert ask(served, "GET", "/rollouts").body == {"rollouts": []}


def test_the_commands(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEKIT_FLEET_SERVER", served.url)
    monkeypatch.setenv("EDGEKIT_FLEET_TOKEN", TOKEN)

    def run(*words: str) -> str:
        done = CliRunner().invoke(app, ["fleet", *words], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.output

    waves = json.loads(run("rollout", "create", "kws==2.0.0", "--canary", "50%", "--dry-run", "--json"))["waves"]
    assert [len(wave) for wave in waves] == [2, 2]
    assert "running" in run("rollout", "create", "kws==2.0.0", "--id", "r1", "--filter", "device=dev-1")
    assert "r1  kws==2.0.0  running" in run("rollout", "ls")
    assert "running" in run("deploy", "kws==2.0.0", "--id", "r2", "--filter", "device=dev-2")
    assert json.loads(run("rollout", "pause", "r1", "--json"))["state"] == "paused"
    assert "running" in run("rollout", "resume", "r1")
    r3 = ("rollout", "create", "kws==2.0.0", "--id", "r3", "--filter", "device=dev-3", "--max-slower", "0.2")
    assert "running" in run(*r3, "--tolerated", "0.08")
    row = served.store.rollouts.get("r3")
    assert row is not None
    assert {(one.limit, one.tolerated) for one in row.plan.gates.latency} == {(0.2, 0.08)}
    assert "rolled-back" in run("rollout", "abort", "r1", "--reason", "no reason")
    assert "rolled-back" in run("rollback", "r2")
    assert "canary" in run("rollout", "show", "r1") or "wave 1" in run("rollout", "status", "r1")
    assert "rollout.aborted" in run("audit", "ls")
    head = json.loads(run("audit", "verify", "--json"))["head"]
    assert head in run("audit", "verify", "--noted", head)


def test_what_is_tolerated_has_to_be_below_what_is_too_slow() -> None:
    words = ("fleet", "deploy", "kws==2.0.0", "--max-slower", "0.05", "--tolerated", "0.05")
    done = CliRunner().invoke(app, list(words))
    assert isinstance(done.exception, UsageError)
    assert "--tolerated 0.05 is not below --max-slower 0.05" in str(done.exception)
