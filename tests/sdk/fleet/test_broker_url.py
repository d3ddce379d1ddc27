"""Broker URLs."""

from pathlib import Path

import pytest

from edgekit.errors import DataError, UsageError
from edgekit.fleet._url import parse, tls_context


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("broker.example", "mqtt://broker.example:1883"),
        ("127.0.0.1:2883", "mqtt://127.0.0.1:2883"),
        ("mqtt://127.0.0.1/", "mqtt://127.0.0.1:1883"),
        ("mqtts://broker.example", "mqtts://broker.example:8883"),
        ("mqtt://[::1]:99", "mqtt://[::1]:99"),
        ("mqtt://anna:secret@h", "mqtt://anna@h:1883"),
    ],
)
def test_what_is_left_out_is_filled_in_and_a_password_is_never_shown(text: str, shown: str) -> None:
    assert str(parse(text)) == shown


def test_user_and_password_are_unquoted() -> None:
    url = parse("mqtt://a%40b:p%3Aw@h")
    assert (url.username, url.password) == ("a@b", "p:w")


@pytest.mark.parametrize(
    "text", ["", "mqtt://", "ws://h", "mqtt://h:0", "mqtt://h:99999", "mqtt://h:x", "mqtt://h/path", "mqtt://h?x=1"]
)
def test_what_is_no_broker_url_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not of the form"):
        parse(text)


def test_a_refusal_does_not_show_the_password() -> None:
    with pytest.raises(UsageError) as caught:
        parse("mqtt://anna:secret@h:x")
    assert "secret" not in str(caught.value)


def test_certificates_need_tls_and_a_key_its_certificate(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="mqtts://"):
        parse("mqtt://h", ca=tmp_path / "ca.pem")
    with pytest.raises(UsageError, match="--cert"):
        parse("mqtts://h", key=tmp_path / "key.pem")


def test_an_unreadable_certificate_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "ca.pem"
    broken.write_text("no certificate")
    for path in (broken, tmp_path / "absent.pem"):
        with pytest.raises(DataError, match=path.name):
            tls_context(parse("mqtts://h", ca=path))
    assert tls_context(parse("mqtt://h")) is None
