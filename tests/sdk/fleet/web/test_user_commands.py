"""`edgekit fleet user` and `edgekit fleet token` on a store, without a service."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edgekit.cli.main import app
from edgekit.fleet.api.secrets import hashed
from edgekit.fleet.passwords import verify_password
from edgekit.fleet.store import open_store
from tests.sdk.fleet.postgresql import ON_SQLITE_ALONE
from tests.sdk.fleet.web.conftest import PASSWORD


def run(*arguments: str, given: str | None = None) -> str:
    result = CliRunner().invoke(app, ["fleet", *arguments], input=given, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_user_is_added_changed_and_removed(url: str) -> None:
    run("user", "add", "ann", "--role", "admin", "--store", url, given=f"{PASSWORD}\n{PASSWORD}\n")
    run("user", "add", "bob", "--password-file", "-", "--store", url, given=f"{PASSWORD}\n")
    listed = json.loads(run("user", "ls", "--json", "--store", url))
    assert [(one["name"], one["role"]) for one in listed["users"]] == [("ann", "admin"), ("bob", "viewer")]
    assert PASSWORD not in json.dumps(listed)
    run("user", "passwd", "bob", "--password-file", "-", "--store", url, given="another password\n")
    run("user", "passwd", "bob", "--role", "operator", "--store", url)
    with open_store(url) as store:
        bob = store.accounts.user("bob")
        assert bob is not None
        assert bob.role == "operator"
        assert verify_password("another password", bob.password)
    run("user", "remove", "bob", "--store", url)
    assert "bob" not in run("user", "ls", "--store", url)
    with open_store(url) as store:
        log = store.audit.entries(subject="user bob")
        store.audit.verify()
    assert [(one.action, one.who) for one in reversed(log)] == [
        ("user-added", "local"), ("user-changed", "local"), ("user-changed", "local"), ("user-removed", "local"),
    ]  # fmt: skip
    assert log[2].detail == {"password": True}
    assert log[1].detail == {"password": False, "role": "operator"}


def test_a_token_is_printed_once_and_revoked(url: str) -> None:
    made = json.loads(run("token", "create", "ci", "--role", "operator", "--days", "30", "--json", "--store", url))
    assert made["token"].startswith("ekt_")
    listed = run("token", "ls", "--json", "--store", url)
    assert made["token"] not in listed
    with open_store(url) as store:
        assert store.accounts.token_by(digest=hashed(made["token"])) is not None
    run("token", "revoke", made["id"], "--store", url)
    assert json.loads(run("token", "ls", "--json", "--store", url))["tokens"] == []


def test_a_token_is_for_devices_of_a_filter(url: str) -> None:
    words = ("token", "create", "lab", "--scope", "site=lab and label.room=1", "--json", "--store", url)
    made = json.loads(run(*words))
    assert made["scope"] == "site=lab and label.room=1"
    with open_store(url) as store:
        row = store.accounts.token_by(digest=hashed(made["token"]))
    assert row is not None
    assert row.scope == made["scope"]
    assert "site=lab and label.room=1" in run("token", "ls", "--store", url)


@ON_SQLITE_ALONE
@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["token", "create", "x", "--scope", "sit=lab"], 2, "site"),
        (["token", "create", "x", "--scope", ""], 2, "a scope is a filter"),
        (["token", "create", "x", "--scope", "site=lab", "--role", "admin"], 2, "has no scope"),
        (["user", "add", "ann", "--role", "king"], 2, "there is no role 'king'"),
        (["user", "add", "a b"], 2, "is no name"),
        (["user", "remove", "nobody"], 3, "there is no user 'nobody'"),
        (["token", "revoke", "nothing"], 3, "there is no token 'nothing'"),
        (["user", "add", "ann", "--password-file", "-"], 2, "at least 10 characters"),
    ],
)
def test_a_mistake_is_a_sentence_and_an_exit_code(url: str, arguments: list[str], code: int, sentence: str) -> None:
    with open_store(url):
        pass
    done = subprocess.run(
        [sys.executable, "-m", "edgekit.cli.main", "fleet", *arguments, "--store", url],
        capture_output=True, text=True, check=False, input="short\n",
    )  # fmt: skip
    assert (done.returncode, sentence in done.stderr) == (code, True), done.stderr
    assert "Traceback" not in done.stderr


def test_looking_makes_no_store(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["fleet", "user", "ls", "--data", str(tmp_path / "nowhere")])
    assert result.exit_code == 1
    assert "there is no store" in str(result.exception)
    assert not (tmp_path / "nowhere").exists()
