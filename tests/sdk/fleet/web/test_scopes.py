"""A token for some devices: of the others nothing is told and nothing changed, by any route of the API's document."""

import json
import random
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest

from edgekit.fleet.api.principal import Role
from edgekit.fleet.api.scope import Reach
from edgekit.fleet.store import DeviceKey, Store
from edgekit.fleet.store.commands import CommandRow
from tests.sdk.fleet.web import made_fleet
from tests.sdk.fleet.web.conftest import Answer, Served, bearer
from tests.sdk.fleet.web.test_live import Stream

INSIDE, OUTSIDE = DeviceKey("lab", "seen-1"), DeviceKey("field", "hidden-1")
SECRETS = ("hidden-1", "hidden-model", "field")
PARTS = {"site": OUTSIDE.site, "device": OUTSIDE.device, "rollout": "r-out", "what": "pause", "number": "c1"}
EVERYWHERE = {"model": "seen-model", "version": "2.0.0"}
# What a route that keeps to the scope by itself is sent, to reach everything; a new one has to be added here.
WRITES: dict[str, dict[str, Any]] = {
    "PUT /api/v1/config": {"filter": "", "conf": {"telemetry": {"window_s": 5}}},
    "POST /api/v1/rollouts": EVERYWHERE,
    "POST /api/v1/rollouts/{rollout}/{what}": {},
}


def made(key: DeviceKey, number: int) -> made_fleet.Made:
    model = f"{key.device.partition('-')[0]}-model"
    return made_fleet.Made(key, number, made_fleet.BOARDS[number], model, "1.0.0", 0.01)


DEVICES = (made(INSIDE, 0), made(OUTSIDE, 1))


@pytest.fixture
def fleet(store: Store) -> Iterator[Served]:
    """A service with a device inside and one outside, about which there is something of everything."""
    now_ms = int(time.time() * 1000)
    rng = random.Random(3)  # noqa: S311 - made-up figures
    store.reports.add([made_fleet.report(one, 1, now_ms, rng) for one in DEVICES])
    made_fleet.introduce(store, DEVICES, now_ms)
    for one in DEVICES:
        made_fleet.happen(store, one, now_ms, "worker-crashed", f"{one.key.device} crashed")
        store.commands.add(
            CommandRow(
                id="c1" if one.key == OUTSIDE else "c0", site=one.key.site, device=one.key.device,
                op="status", args={}, who="local", created_ms=now_ms, expires_ms=now_ms + 60_000,
            )
        )  # fmt: skip
    running = Served(store)
    yield running
    running.close()


@pytest.fixture
def tokens(fleet: Served) -> dict[Role, str]:
    """A token of each role that can have a scope."""
    found = {}
    for role in (Role.VIEWER, Role.OPERATOR):
        body = {"name": f"lab-{role}", "role": role, "scope": "site=lab"}
        found[role] = fleet.ask("POST", "/api/v1/tokens", body, bearer()).body["token"]
    return found


@pytest.fixture
def rollouts(fleet: Served) -> None:
    for name, wanted in (("r-out", "site=field"), ("r-in", "site=lab")):
        body = {**EVERYWHERE, "id": name, "filter": wanted, "canary": "0"}
        assert fleet.ask("POST", "/api/v1/rollouts", body, bearer()).status == 200


def routes(fleet: Served) -> Iterator[tuple[str, str, dict[str, Any]]]:
    document = fleet.ask("GET", "/openapi.json").body
    for path, methods in document["paths"].items():
        for method, told in methods.items():
            if "x-role" in told:
                yield method.upper(), path, told


def filled(path: str, parts: dict[str, str] = PARTS) -> str:
    return re.sub(r"\{(\w+)\}", lambda found: parts.get(found[1], "none"), path)


def without_names(answer: Answer) -> str:
    return re.sub(r"'[^']*'", "''", json.dumps(answer.body))


@pytest.mark.usefixtures("rollouts")
def test_every_route_keeps_to_the_scope(fleet: Served, tokens: dict[Role, str]) -> None:
    before = fleet.store.audit.entries(limit=1)[0].id
    counted = dict.fromkeys(Reach, 0)
    for method, path, told in routes(fleet):
        reach, needed = Reach(told["x-scope"]), Role(told["x-role"])
        counted[reach] += 1
        for role, token in tokens.items():
            if not role.covers(needed) or path == "/api/v1/live":  # a stream has its own test
                continue
            body = WRITES.get(f"{method} {path}", {}) if method != "GET" else None
            answer = fleet.ask(method, filled(path), body, bearer(token))
            where = (method, path, role, answer.status, answer.body)
            if reach is Reach.FLEET:
                assert (answer.status, answer.body["error"]["code"]) == (403, "scope"), where
            elif reach is Reach.DEVICE:
                nobody = fleet.ask(method, filled(path, {**PARTS, "device": "nobody-1"}), body, bearer(token))
                assert answer.status == nobody.status == 404, where
                assert without_names(answer) == without_names(nobody), where
            elif reach is Reach.DEVICES and method == "GET":
                assert answer.status == 404 if "{rollout}" in path else answer.status == 200, where
                assert not [one for one in SECRETS if one in json.dumps(answer.body)], where
            elif reach is Reach.DEVICES:
                assert f"{method} {path}" in WRITES, where
                assert answer.status in {403, 404}, where
    assert min(counted.values()) > 0
    assert fleet.store.audit.entries(limit=1)[0].id == before
    assert fleet.store.desired.get(OUTSIDE) is None
    row = fleet.store.rollouts.get("r-out")
    assert row is not None
    assert row.state.status == "running"


@pytest.mark.usefixtures("rollouts")
def test_inside_everything_works_as_for_everybody(fleet: Served, tokens: dict[Role, str]) -> None:
    mine = bearer(tokens[Role.OPERATOR])
    listed = fleet.ask("GET", "/api/v1/devices", headers=mine).body
    assert [one["device"] for one in listed["devices"]] == [INSIDE.device]
    assert listed["total"] == 1
    place = f"/api/v1/devices/{INSIDE.site}/{INSIDE.device}"
    assert fleet.ask("GET", place, headers=mine).body["device"] == INSIDE.device
    assert fleet.ask("GET", f"{place}/events", headers=mine).body["events"]
    assert fleet.ask("GET", f"{place}/commands/c0", headers=mine).status == 200
    assert fleet.ask("POST", f"{place}/commands", {"op": "status"}, mine).status == 503  # no broker here
    series = "/api/v1/series?model=seen-model&stage=infer&step_s=0"
    assert fleet.ask("GET", series, headers=mine).body["groups"]
    assert fleet.ask("GET", "/api/v1/series?group=device&step_s=0&site=field&device=hidden-1", headers=mine).body[
        "groups"
    ] == []  # fmt: skip
    assert [one["model"] for one in fleet.ask("GET", "/api/v1/models", headers=mine).body["models"]] == ["seen-model"]
    assert [one["id"] for one in fleet.ask("GET", "/api/v1/rollouts", headers=mine).body["rollouts"]] == ["r-in"]
    assert fleet.ask("POST", "/api/v1/rollouts/r-in/abort", {}, mine).status == 200
    conf = {"filter": "site=lab", "conf": {"telemetry": {"window_s": 5}}}
    told = fleet.ask("PUT", "/api/v1/config", conf, mine)
    assert [one["device"] for one in told.body["devices"]] == [INSIDE.device]
    again = {**EVERYWHERE, "id": "r-mine", "filter": "site=lab", "canary": "0"}
    assert fleet.ask("POST", "/api/v1/rollouts", again, mine).status == 200


@pytest.mark.parametrize(
    ("text", "status", "found"),
    [
        ("site=lab or site=field", 200, ["seen-1"]),
        ("not site=lab", 200, []),
        ("device=hidden-1", 200, []),
        ("site=lab) or (site=field", 400, None),
        ("site=lab or", 400, None),
    ],
)
def test_no_filter_leads_out(
    fleet: Served, tokens: dict[Role, str], text: str, status: int, found: list[str] | None
) -> None:
    from urllib.parse import quote

    answer = fleet.ask("GET", f"/api/v1/devices?filter={quote(text)}", headers=bearer(tokens[Role.VIEWER]))
    assert answer.status == status
    if found is not None:
        assert [one["device"] for one in answer.body["devices"]] == found


def test_a_session_opened_with_the_token_is_held_to_it(fleet: Served, tokens: dict[Role, str]) -> None:
    opened = fleet.ask("POST", "/api/v1/login", {"token": tokens[Role.OPERATOR]})
    assert opened.body["scope"] == "site=lab"
    session = {"Cookie": opened.cookies[0].split(";")[0], "X-CSRF-Token": opened.body["csrf"]}
    assert fleet.ask("GET", "/api/v1/session", headers=session).body["scope"] == "site=lab"
    listed = fleet.ask("GET", "/api/v1/devices", headers=session).body["devices"]
    assert [one["device"] for one in listed] == [INSIDE.device]
    place = f"/api/v1/devices/{OUTSIDE.site}/{OUTSIDE.device}"
    assert fleet.ask("GET", place, headers=session).status == 404
    assert fleet.ask("DELETE", place, headers=session).status == 404
    assert fleet.ask("GET", "/api/v1/audit", headers=session).status == 403
    assert fleet.ask("POST", "/api/v1/logout", {}, session).status == 204


def test_the_live_stream_tells_of_what_is_inside(fleet: Served, tokens: dict[Role, str]) -> None:
    stream = Stream(fleet, headers=bearer(tokens[Role.VIEWER]))
    _, rows = stream.next("rows")
    assert {row[2] for row in rows["rows"]} == {INSIDE.device}
    now_ms = int(time.time() * 1000)
    for one in reversed(DEVICES):  # the hidden one first
        made_fleet.happen(fleet.store, one, now_ms, "worker-crashed", "again")
    _, told = stream.next("events")
    assert [event["device"] for event in told["events"]] == [INSIDE.device]
    fleet.store.devices.forget(OUTSIDE)
    fleet.store.devices.put_presence(INSIDE, "offline", "connection-lost", now_ms)
    _, rows = stream.next("rows")
    assert "hidden" not in json.dumps(rows)
    stream.close()


@pytest.mark.parametrize(
    ("wrong", "told"),
    [({"scope": "site="}, "filter"), ({"scope": " "}, "1 to"), ({"scope": "site=lab", "role": "admin"}, "no scope")],
)
def test_a_scope_is_a_filter_and_nothing_for_admins(fleet: Served, wrong: dict[str, str], told: str) -> None:
    answer = fleet.ask("POST", "/api/v1/tokens", {"name": "x", **wrong}, bearer())
    assert answer.status == 400
    assert told in answer.body["error"]["message"]


def test_the_audit_log_and_the_list_say_the_scope(fleet: Served, tokens: dict[Role, str]) -> None:
    assert len(tokens) == 2
    assert fleet.store.audit.entries(limit=1)[0].detail["scope"] == "site=lab"
    listed = fleet.ask("GET", "/api/v1/tokens", headers=bearer()).body
    assert {one["scope"] for one in listed} == {"site=lab"}
