"""Signing in: sessions are new, end in time and with what they stand on; guessing is slowed down."""

from pathlib import Path

import pytest

from edgekit.errors import UsageError
from edgekit.fleet.api import ApiSettings
from edgekit.fleet.api.errors import ApiError
from edgekit.fleet.api.secrets import hashed, local_token
from edgekit.fleet.api.server import check_safe
from edgekit.fleet.api.settings import ProxySettings, parse_networks
from edgekit.fleet.api.throttle import Throttle
from edgekit.fleet.passwords import hash_password, is_outdated, verify_password
from edgekit.fleet.store import Store
from edgekit.fleet.store.users import Accounts, SessionRow
from tests.sdk.fleet.web.conftest import PASSWORD, TOKEN, Served, bearer

DEVICES = "/api/v1/devices"


def test_a_session_is_a_new_one_whatever_cookie_came_along(served: Served) -> None:
    """Session fixation: an id that was given before is not taken, and the old session ends."""
    planted = "A" * 43
    first = served.ask(
        "POST", "/api/v1/login", {"name": "viewer", "password": PASSWORD}, {"Cookie": f"edgekit={planted}"}
    )
    cookie = first.cookies[0].split(";")[0]
    assert planted not in cookie
    assert served.ask("GET", DEVICES, headers={"Cookie": f"edgekit={planted}"}).status == 401
    second = served.ask("POST", "/api/v1/login", {"name": "viewer", "password": PASSWORD}, {"Cookie": cookie})
    assert second.cookies[0].split(";")[0] != cookie
    assert served.ask("GET", DEVICES, headers={"Cookie": cookie}).status == 401


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(served: Served) -> None:
    cookie = served.ask("POST", "/api/v1/login", {"name": "viewer", "password": PASSWORD}).cookies[0]
    parts = {part.strip().lower() for part in cookie.split(";")[1:]}
    assert {"httponly", "samesite=strict", "path=/"} <= parts
    assert "secure" not in parts


def test_over_tls_the_cookie_is_secure_and_bound_to_the_host(store: Store, password_hash: str) -> None:
    store.accounts.add_user("viewer", password_hash, "viewer")
    served = Served(store, ApiSettings(port=0, proxy=ProxySettings(addresses=parse_networks(("127.0.0.0/8",)))))
    try:
        tls = {"X-Forwarded-Proto": "https"}
        answer = served.ask("POST", "/api/v1/login", {"name": "viewer", "password": PASSWORD}, tls)
        assert answer.cookies[0].startswith("__Host-edgekit=")
        assert "secure" in answer.cookies[0].lower()
        assert "strict-transport-security" in answer.headers
    finally:
        served.close()


def test_the_store_has_no_session_id_that_opens_anything(served: Served) -> None:
    cookie = served.sign_in("viewer")["Cookie"].partition("=")[2]
    with served.store.engine.connect() as connection:
        kept = [row[0] for row in connection.exec_driver_sql("SELECT id FROM sessions")]
    assert kept == [hashed(cookie)]
    assert served.ask("GET", DEVICES, headers={"Cookie": f"edgekit={kept[0]}"}).status == 401


def test_signing_out_ends_the_session(served: Served) -> None:
    viewer = served.sign_in("viewer")
    assert served.ask("POST", "/api/v1/logout", {}, viewer).status == 204
    assert served.ask("GET", DEVICES, headers=viewer).status == 401


def test_a_session_ends_with_its_user_role_password_or_token(served: Served) -> None:
    viewer = served.sign_in("viewer")
    assert served.ask("PATCH", "/api/v1/users/viewer", {"role": "operator"}, bearer()).status == 204
    assert served.ask("GET", DEVICES, headers=viewer).status == 401
    again = served.sign_in("viewer")
    assert served.ask("DELETE", "/api/v1/users/viewer", headers=bearer()).status == 204
    assert served.ask("GET", DEVICES, headers=again).status == 401
    made = served.ask("POST", "/api/v1/tokens", {"name": "wall", "role": "viewer"}, bearer()).body
    opened = served.ask("POST", "/api/v1/login", {"token": made["token"]})
    cookie = {"Cookie": opened.cookies[0].split(";")[0]}
    assert served.ask("GET", DEVICES, headers=cookie).status == 200
    assert served.ask("DELETE", f"/api/v1/tokens/{made['id']}", headers=bearer()).status == 204
    assert served.ask("GET", DEVICES, headers=cookie).status == 401


def test_a_session_ends_when_idle_and_in_the_end(store: Store) -> None:
    """Over hours, without waiting for them."""
    now = 1_000_000_000_000
    accounts = Accounts(store.engine, lambda: now)
    row = SessionRow(
        id="s", kind="local", subject="x", created_ms=now, seen_ms=now, expires_ms=now + 12 * 3_600_000, address=""
    )
    accounts.open_session(row)
    for _ in range(11):
        now += 3_500_000
        assert accounts.session("s", 3_600_000) is not None
        accounts.session_seen("s")
    now += 3_600_000
    assert accounts.session("s", 3_600_000) is None
    now = row.expires_ms
    accounts.session_seen("s")
    assert accounts.session("s", 3_600_000) is None


def test_what_the_page_asks_by_itself_keeps_no_session_awake(served: Served) -> None:
    viewer = served.sign_in("viewer")
    number = hashed(viewer["Cookie"].partition("=")[2])
    with served.store.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE sessions SET seen_ms = seen_ms - 1000000")
    before = served.store.accounts.session(number, 10**9)
    served.ask("GET", DEVICES, headers={**viewer, "X-Background": "1"})
    assert served.store.accounts.session(number, 10**9) == before
    served.ask("GET", DEVICES, headers=viewer)
    assert served.store.accounts.session(number, 10**9) != before


def test_guessing_is_slowed_down(served: Served) -> None:
    """It is not told whether the name or the password was wrong, and after five the right one has to wait too."""
    sentences = set()
    for name in ("viewer", "nobody") * 5:
        answer = served.ask("POST", "/api/v1/login", {"name": name, "password": "wrong password"})
        assert answer.status == 403
        sentences.add(answer.body["error"]["message"])
    assert len(sentences) == 1
    answer = served.ask("POST", "/api/v1/login", {"name": "viewer", "password": PASSWORD})
    assert answer.status == 429
    assert int(answer.headers["retry-after"]) > 0
    assert served.ask("POST", "/api/v1/login", {"name": "admin", "password": PASSWORD}).status == 200


def test_a_throttle_forgets_in_time_and_its_memory_is_bounded() -> None:
    now = 0.0
    throttle = Throttle(2, 60, lambda: now)
    throttle.failed("a")
    throttle.failed("a")
    with pytest.raises(ApiError, match="60 s"):
        throttle.check("a")
    now = 60.0
    throttle.check("a")
    for number in range(10_050):
        throttle.failed(str(number))
    assert len(throttle._failures) == 10_000


def test_a_user_changes_the_own_password(served: Served) -> None:
    viewer = served.sign_in("viewer")
    wrong = {"password": "not the password", "new": "another long one"}
    assert served.ask("POST", "/api/v1/session/password", wrong, viewer).status == 403
    short = {"password": PASSWORD, "new": "short"}
    assert served.ask("POST", "/api/v1/session/password", short, viewer).status == 400
    right = {"password": PASSWORD, "new": "another long one"}
    assert served.ask("POST", "/api/v1/session/password", right, viewer).status == 204
    assert served.ask("GET", DEVICES, headers=viewer).status == 401
    served.sign_in("viewer", "another long one")


def test_the_last_admin_stays(served: Served) -> None:
    for method, body in (("DELETE", None), ("PATCH", {"role": "viewer"})):
        answer = served.ask(method, "/api/v1/users/admin", body, bearer())
        assert (answer.status, answer.body["error"]["message"]) == (400, "'admin' is the only admin")


def test_passwords_are_hashed_with_salt_and_costs(password_hash: str) -> None:
    assert password_hash.startswith("scrypt$15$8$1$")
    assert hash_password(PASSWORD) != password_hash
    assert verify_password(PASSWORD, password_hash)
    assert verify_password("ﬁve long words", hash_password("five long words"))
    assert not verify_password(PASSWORD + "x", password_hash)
    assert not verify_password(PASSWORD, None)
    assert not verify_password("", None)
    assert is_outdated(password_hash.replace("$15$", "$14$"))


DAMAGED = ("", "scrypt$15$8$1$AA==", "scrypt$40$8$1$AA==$AA==", "md5$1$1$1$AA==$AA==", "scrypt$x$8$1$A$A")


@pytest.mark.parametrize("kept", DAMAGED)
def test_a_damaged_hash_opens_nothing(kept: str) -> None:
    assert not verify_password(PASSWORD, kept)


def test_the_local_token_is_for_the_owner_of_the_folder(tmp_path: Path) -> None:
    token = local_token(tmp_path / "data")
    file = tmp_path / "data" / "token"
    assert file.stat().st_mode & 0o777 == 0o600
    assert local_token(tmp_path / "data") == token
    file.chmod(0o644)
    local_token(tmp_path / "data")
    assert file.stat().st_mode & 0o777 == 0o600


def test_it_does_not_serve_a_network_without_tls_or_users(store: Store, password_hash: str) -> None:
    check_safe(ApiSettings(), store.accounts)
    with pytest.raises(UsageError, match="without TLS"):
        check_safe(ApiSettings(host="0.0.0.0"), store.accounts)  # noqa: S104
    secured = ApiSettings(host="192.168.1.2", certificate=Path("cert.pem"), key=Path("key.pem"))
    with pytest.raises(UsageError, match="no users"):
        check_safe(secured, store.accounts)
    store.accounts.add_user("ann", password_hash, "admin")
    check_safe(secured, store.accounts)


def test_a_token_signs_in_to_the_page(served: Served) -> None:
    answer = served.ask("POST", "/api/v1/login", {"token": TOKEN})
    assert (answer.status, answer.body["role"]) == (200, "admin")
