"""Who may do what: no route lets in who is nobody, or whose role is too low."""

import asyncio
import json
import re
from collections.abc import Iterator

import pytest
from starlette.types import Message

from edgekit.fleet.api import ApiSettings, Role
from edgekit.fleet.api.access import PUBLIC
from edgekit.fleet.api.errors import ApiError
from edgekit.fleet.api.guards import _Limited
from edgekit.fleet.api.settings import ProxySettings, parse_group_roles, parse_networks
from edgekit.fleet.store import Store
from tests.sdk.fleet.web.conftest import PASSWORD, TOKEN, Served, bearer

ROLES = list(Role)
_PARTS = {"device": "dev-1", "what": "pause", "number": "1"}


def routes(served: Served) -> Iterator[tuple[str, str, str | None]]:
    """Yield method, path with its parameters filled in, and role of everything in the OpenAPI document."""
    document = served.ask("GET", "/openapi.json").body
    for path, methods in document["paths"].items():
        for method, told in methods.items():
            filled = re.sub(r"\{(\w+)\}", lambda found: _PARTS.get(found[1], "none"), path)
            yield method.upper(), filled, told.get("x-role")


def test_every_route_refuses_nobody_and_too_low_a_role(served: Served) -> None:
    """Also with a body that is not JSON, which nobody reads then."""
    users = {role: served.sign_in(role) for role in ROLES}
    checked = 0
    for method, path, needed in routes(served):
        if needed is None:
            assert (method, path) in PUBLIC
            continue
        assert served.ask(method, path, raw=b"{" if method != "GET" else None).status == 401, (method, path)
        assert served.ask(method, path, {} if method != "GET" else None, bearer("x" * 40)).status == 401, (method, path)
        for role in ROLES:
            if not role.covers(Role(needed)):
                answer = served.ask(method, path, {} if method != "GET" else None, users[role])
                assert answer.status == 403, (method, path, role)
                assert answer.body["error"]["code"] in {"forbidden", "invalid"}, (method, path, role)
        checked += 1
    assert checked > 12


def test_every_write_by_cookie_needs_the_csrf_token(served: Served) -> None:
    admin = served.sign_in("admin")
    other = served.sign_in("viewer")["X-CSRF-Token"]
    for method, path, needed in routes(served):
        if needed is None or method == "GET":
            continue
        for wrong in ({}, {"X-CSRF-Token": "x"}, {"X-CSRF-Token": other}):
            answer = served.ask(method, path, {}, {"Cookie": admin["Cookie"], **wrong})
            assert (answer.status, answer.body["error"]["code"]) == (403, "csrf"), (method, path)


def test_a_page_of_another_site_cannot_write(served: Served) -> None:
    """Signing in included: nobody is made to work under another's name."""
    admin = served.sign_in("admin")
    body = {"name": "x", "role": "viewer"}
    for foreign in ({"Origin": "http://elsewhere"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}):
        assert served.ask("POST", "/api/v1/tokens", body, {**admin, **foreign}).body["error"]["code"] == "cross-site"
        assert served.ask("POST", "/api/v1/login", {"token": TOKEN}, foreign).body["error"]["code"] == "cross-site"
    own = {"Origin": served.url, "Sec-Fetch-Site": "same-origin"}
    assert served.ask("POST", "/api/v1/tokens", body, {**admin, **own}).status == 201


def test_a_wrong_token_is_not_made_right_by_a_cookie(served: Served) -> None:
    viewer = served.sign_in("viewer")
    assert served.ask("GET", "/api/v1/devices", headers={**viewer, **bearer("y" * 40)}).status == 401


def test_a_token_is_told_once_kept_by_its_hash_and_ends(served: Served) -> None:
    made = served.ask("POST", "/api/v1/tokens", {"name": "ci", "role": "operator", "days": 1}, bearer())
    secret = made.body["token"]
    assert served.ask("GET", "/api/v1/devices", headers=bearer(secret)).status == 200
    assert served.ask("GET", "/api/v1/tokens", headers=bearer(secret)).status == 403
    listed = served.ask("GET", "/api/v1/tokens", headers=bearer()).body
    assert [one["name"] for one in listed] == ["ci"]
    assert secret not in json.dumps(listed)
    with served.store.engine.connect() as connection:
        kept = str(connection.exec_driver_sql("SELECT * FROM tokens").all())
    assert secret not in kept
    assert served.ask("DELETE", f"/api/v1/tokens/{made.body['id']}", headers=bearer()).status == 204
    assert served.ask("GET", "/api/v1/devices", headers=bearer(secret)).status == 401
    log = served.store.audit.entries(subject=f"token {made.body['id']}")
    assert [one.action for one in reversed(log)] == ["token-made", "token-revoked"]
    assert len({one.who for one in log}) == 1


def test_an_expired_token_opens_nothing(served: Served) -> None:
    made = served.ask("POST", "/api/v1/tokens", {"name": "short", "days": 1e-9}, bearer()).body
    assert served.ask("GET", "/api/v1/devices", headers=bearer(made["token"])).status == 401
    assert served.ask("POST", "/api/v1/login", {"token": made["token"]}).status == 403


@pytest.mark.parametrize(
    "path",
    [
        "/assets/../app.py",
        "/assets/..%2f..%2fapi/app.py",
        "/assets/%2e%2e/%2e%2e/passwords.py",
        "/assets//etc/passwd",
        "/assets/js/../../__init__.py",
        "/..%2f..%2fetc/passwd",
    ],
)
def test_no_path_leads_out_of_the_assets(served: Served, path: str) -> None:
    assert served.ask("GET", path).status == 404


def test_answers_have_the_headers_that_keep_a_page_safe(served: Served) -> None:
    for path in ("/", "/assets/js/main.js", "/api/v1/session", "/api/v1/devices"):
        headers = served.ask("GET", path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert "server" not in headers
    assert served.ask("GET", "/api/v1/session").headers["cache-control"] == "no-store"


def test_a_body_has_a_limit_however_it_is_framed(served: Served) -> None:
    big = b" " * 300_000
    assert served.ask("POST", "/api/v1/login", raw=big).status == 413

    async def endless() -> Message:
        return {"type": "http.request", "body": b" " * 60_000, "more_body": True}

    async def read() -> None:
        limited = _Limited(endless, 262_144)
        for _ in range(6):
            await limited()

    with pytest.raises(ApiError, match="262144") as refused:
        asyncio.run(read())
    assert refused.value.status == 413


def test_another_name_for_this_address_is_refused(served: Served) -> None:
    """A page elsewhere may point its own name at 127.0.0.1: the browser takes it for that page's site."""
    answer = served.ask("GET", "/api/v1/session", headers={"Host": "evil.example:8650"})
    assert (answer.status, answer.body["error"]["code"]) == (421, "wrong-host")


def test_proxy_headers_count_from_the_proxy_only(store: Store) -> None:
    said = {"X-Forwarded-User": "ann@example.org", "X-Forwarded-Groups": "all,fleet-ops"}
    proxy = ProxySettings(addresses=parse_networks(("127.0.0.1",)), roles=parse_group_roles(("fleet-ops=operator",)))
    for settings, known in ((ApiSettings(port=0), False), (ApiSettings(port=0, proxy=proxy), True)):
        served = Served(store, settings)
        try:
            told = served.ask("GET", "/api/v1/session", headers=said).body
            assert (told["name"], told["role"]) == (("ann@example.org", "operator") if known else (None, None))
            if known:
                nobody = {**said, "X-Forwarded-Groups": "all"}
                assert served.ask("GET", "/api/v1/session", headers=nobody).body["name"] is None
                # the proxy's cookie is sent by a browser by itself: a write needs the token too
                assert served.ask("POST", "/api/v1/logout", {}, said).body["error"]["code"] == "csrf"
                right = {**said, "X-CSRF-Token": told["csrf"]}
                assert served.ask("POST", "/api/v1/logout", {}, right).status == 204
        finally:
            served.close()


def test_validation_never_repeats_a_password(served: Served) -> None:
    answer = served.ask("POST", "/api/v1/login", {"name": ["x"], "password": {"a": PASSWORD}})
    assert answer.status == 422
    assert PASSWORD not in json.dumps(answer.body)


def test_who_asks_with_wrong_tokens_all_the_time_is_slowed_down(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgekit.fleet.api.guards.WRONG_LIMIT", 3)
    served = Served(store)
    try:
        wrong = [served.ask("GET", "/api/v1/devices", headers=bearer("ekt_" + "x" * 40)) for _ in range(4)]
        assert [one.status for one in wrong] == [401, 401, 401, 429]
        assert 0 < int(wrong[-1].headers["retry-after"]) <= 60
        assert served.ask("GET", "/healthz", headers=bearer()).status == 200
        assert served.ask("GET", "/api/v1/devices").status == 401  # who claims nothing costs nothing
    finally:
        served.close()
