"""Topics and reason codes."""

import pytest

from edgekit_agent.errors import ProtocolError
from edgekit_agent.protocol import HOST, Kind, Reason, Topic, device_topic, sentence, subscription


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind not in {Kind.COMMAND, Kind.RESULT, Kind.OUTPUT}])
def test_a_topic_comes_back(kind: Kind) -> None:
    text = device_topic("default", "pi-01", kind)
    assert text == f"ek/1/default/pi-01/{kind}"
    assert Topic.parse(text) == Topic(site="default", device="pi-01", kind=kind)


def test_commands_have_an_id() -> None:
    topic = Topic.parse("ek/1/default/pi-01/cmd/42-aB")
    assert (topic.kind, topic.command) == (Kind.COMMAND, "42-aB")
    assert str(topic) == "ek/1/default/pi-01/cmd/42-aB"


def test_outputs_have_a_model() -> None:
    topic = Topic.parse("ek/1/default/pi-01/out/face finder 2.0")
    assert (topic.kind, topic.command) == (Kind.OUTPUT, "face finder 2.0")
    assert subscription(Kind.OUTPUT) == "ek/1/+/+/out/+"


def test_the_host_has_a_state() -> None:
    assert Topic.parse("ek/1/default/$host/state").device == HOST


@pytest.mark.parametrize(
    "text",
    [
        "", "ek/1", "ek/2/default/pi-01/tele", "ek/1/default/pi-01/tele/x", "ek/1/default/PI/tele",
        "ek/1/default/ab/tele", "ek/1/default/pi-01/other", "ek/1/default/pi-01/cmd", "ek/1/default/pi-01/cmd/a b",
        "ek/1/default/pi-01/out", "ek/1/default/pi-01/out/a/b",
        "ek/1/default/pi-01/out/", "ek/1/+/pi-01/tele", f"ek/1/default/{'x' * 65}/tele",
    ],
)  # fmt: skip
def test_what_is_no_topic_is_refused(text: str) -> None:
    with pytest.raises(ProtocolError):
        Topic.parse(text)


def test_subscriptions_match_every_device_of_a_site_or_all() -> None:
    assert subscription(Kind.TELE) == "ek/1/+/+/tele"
    assert subscription(Kind.RESULT, "lab") == "ek/1/lab/+/res/+"


@pytest.mark.parametrize("code", list(Reason))
def test_every_reason_has_a_sentence(code: Reason) -> None:
    assert sentence(code.value).endswith(".")


def test_a_reason_of_a_newer_device_is_named() -> None:
    assert sentence("on-fire") == "The device reports 'on-fire'."
