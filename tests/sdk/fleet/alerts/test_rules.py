"""How rules and the service's file are written, and what is refused."""

from pathlib import Path

import pytest

from edgekit.errors import DataError, UsageError
from edgekit.fleet.alerts.rules import Rule, seconds
from edgekit.fleet.alerts.settings import Email, Mqtt, Webhook, load


def test_a_rule_is_one_line_and_what_differs_from_the_usual() -> None:
    rule = Rule.written("hot", "temperature > 80", **{"for": "2m", "clear": 75, "by": "device", "notify": "ops"})
    assert (rule.for_s, rule.clear, rule.notify, rule.when) == (120.0, 75.0, ("ops",), "temperature > 80")
    assert Rule.from_json({**rule.to_json(), "of a newer version": 1}) == rule
    below = Rule.written("quiet", "reports < 1", by="model")
    assert below.beyond(0)
    assert below.calm(1)


@pytest.mark.parametrize(
    ("when", "settings", "says"),
    [
        ("p99 50", {}, "not of the form"),
        ("p98 > 50", {}, "no signal 'p98'"),
        ("p99 > 50", {"clear": 60}, "good side"),
        ("p99 > 50", {"by": "site"}, "'by' is one of"),
        ("silent > 60", {"by": "model"}, "of each device"),
        ("events > 1", {}, "'codes'"),
        ("p99 > 50", {"for": "soon"}, "no duration"),
        ("p99 > 50", {"window": 10}, "at least 60 s"),
        ("p99 > 50", {"for": "99d"}, "30 days"),
        ("p99 > 50", {"severity": "bad"}, "'severity'"),
        ("p99 > 50", {"colour": "red"}, "no setting 'colour'"),
        ("p99 > 50", {"notify": 3}, "list of texts"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(when: str, settings: dict[str, object], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        Rule.written("one", when, **settings)


def test_durations() -> None:
    assert [seconds(one) for one in ("90s", "1.5m", "2h", "1d", 7, "7")] == [90.0, 90.0, 7200.0, 86400.0, 7.0, 7.0]


FILE = """
[[notifier]]
name = "ops"
kind = "webhook"
url = "https://hooks.example/edgekit"
secret_file = "hook.secret"

[[notifier]]
name = "bus"
kind = "mqtt"

[[notifier]]
name = "mail"
kind = "email"
host = "mail.example"
sender = "edgekit@example.org"
to = ["ops@example.org"]
username = "edgekit"
password_env = "MAIL_PASSWORD"

[[rule]]
name = "slow-kws"
when = "p99 > 50"
for = "2m"
clear = 40
model = "kws"
notify = ["ops", "mail"]
"""


def test_the_file_holds_notifiers_and_rules_and_no_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "alerts.toml"
    path.write_text(FILE)
    secret = tmp_path / "hook.secret"
    secret.write_text("shared\n")
    secret.chmod(0o600)
    monkeypatch.setenv("MAIL_PASSWORD", "s3cret")
    found = load(path)
    ops, bus, mail = (found.notifiers[name] for name in ("ops", "bus", "mail"))
    assert isinstance(ops, Webhook)
    assert isinstance(bus, Mqtt)
    assert isinstance(mail, Email)
    assert (ops.secret, mail.password) == ("shared", "s3cret")
    assert not any(secret in repr(found) for secret in ("shared", "s3cret"))
    assert [rule.name for rule in found.rules] == ["slow-kws"]
    secret.chmod(0o644)
    with pytest.raises(DataError, match="read by others"):
        load(path)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x", "no TOML"),
        ("[other]\n", "no table 'other'"),
        ('notifier = "x"\n', "written as"),
        ('[[notifier]]\nname = "a"\nkind = "pager"\n', "no kind 'pager'"),
        ('[[notifier]]\nname = "a"\nkind = "webhook"\nurl = "http://hooks.example/"\n', "this machine only"),
        ('[[notifier]]\nname = "a"\nkind = "webhook"\nurl = "file:///etc/passwd"\n', "not of the form"),
        ('[[notifier]]\nname = "a"\nkind = "webhook"\nurl = "https://u:p@hooks.example/"\n', "without a user"),
        ('[[notifier]]\nname = "a"\nkind = "webhook"\nurl = "https://h/"\nsecret = "s"\n', "secret_file"),
        ('[[notifier]]\nname = "a"\nkind = "webhook"\n', "missing"),
        ('[[notifier]]\nname = "a"\nkind = "mqtt"\ntopic = "ek/1/x"\n', "no topic"),
        ('[[notifier]]\nname = "a"\nkind = "email"\nhost = "h"\nsender = "a@b"\nto = []\n', "at least one"),
        ('[[notifier]]\nname="a"\nkind="email"\nhost="h"\nsender="a@b"\nto=["a@b\\nBcc: x@y"]\n', "addresses"),
        ('[[notifier]]\nname="a"\nkind="email"\nhost="h"\nsender="a@b"\nto=["a@b"]\ntls="none"\n', "this machine's"),
        ('[[rule]]\nname = "a"\nwhen = "p99"\n', "not of the form"),
    ],
)
def test_a_file_that_is_wrong_says_what(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "alerts.toml"
    path.write_text(text)
    with pytest.raises(DataError, match=says):
        load(path)
