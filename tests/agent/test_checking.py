"""What check-config says: one finding a thing, secrets that others can read are wrong, nothing is made."""

import json
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgekit_agent.checking import Finding, Level, check
from edgekit_agent.config import (
    AgentConfig,
    BrokerConfig,
    GatewayConfig,
    LimitsConfig,
    ModelConfig,
    UpdateConfig,
)
from edgekit_agent.sources.settings import SourceConfig
from tests.agent.bundle_maker import packed, scripted


@pytest.fixture
def config(tmp_path: Path) -> AgentConfig:
    port = {"shape": [1, 2], "dtype": "float32"}
    model = tmp_path / "m.null"
    model.write_text(json.dumps({"inputs": [{**port, "name": "x"}], "outputs": [{**port, "name": "y"}]}))
    return AgentConfig(
        device="edge-1",
        state_dir=str(tmp_path / "state"),
        run_dir=str(tmp_path / "run"),
        model=(ModelConfig(name="kws", path=str(model)),),
    )


def of(config: AgentConfig, what: str) -> Finding:
    (found,) = (one for one in check(config) if one.what == what)
    return found


def test_what_is_right_is_told_and_nothing_is_made(config: AgentConfig, tmp_path: Path) -> None:
    findings = list(check(config))
    assert [(one.what, one.level) for one in findings] == [
        ("broker", "ok"),
        ("state_dir", "ok"),
        ("run_dir", "ok"),
        ("model kws", "ok"),
    ]
    assert findings[-1].text == f"version 0, '{tmp_path / 'm.null'}' on null"
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize(
    ("mode", "level"),
    [(0o600, "ok"), (0o400, "ok"), (0o640, "warning"), (0o604, "wrong"), (0o666, "wrong"), (0o622, "wrong")],
)
@pytest.mark.parametrize("name", ["password_file", "key"])
def test_secrets_are_their_owner_s(config: AgentConfig, tmp_path: Path, name: str, mode: int, level: str) -> None:
    given: dict[str, Any] = {name: str(tmp_path / "secret")}
    secret = tmp_path / "secret"
    secret.write_text("x")
    secret.chmod(mode)
    found = of(replace(config, broker=BrokerConfig(**given)), f"broker.{name}")
    assert found.level == level
    assert found.hints == (() if level == "ok" else (f"chmod 600 {secret}",))


@pytest.mark.parametrize("name", ["ca", "cert", "key", "password_file"])
def test_a_file_of_the_broker_that_is_not_there(config: AgentConfig, tmp_path: Path, name: str) -> None:
    given: dict[str, Any] = {name: str(tmp_path / "gone")}
    broker = BrokerConfig(**given)
    found = of(replace(config, broker=broker), f"broker.{name}")
    assert (found.level, found.text) == (Level.WRONG, f"'{tmp_path / 'gone'}' does not exist")


def test_a_model_that_is_not_there_or_that_nothing_runs(config: AgentConfig, tmp_path: Path) -> None:
    gone = ModelConfig(name="a", path=str(tmp_path / "gone.tflite"))
    (tmp_path / "m.xyz").write_text("?")
    unknown = ModelConfig(name="b", path=str(tmp_path / "m.xyz"))
    folder = ModelConfig(name="c", path=str(tmp_path))
    models = replace(config, model=(gone, unknown, folder))
    assert [of(models, f"model {name}").level for name in "abc"] == [Level.WRONG] * 3
    assert "does not exist" in of(models, "model a").text


def test_labels_and_sources_that_are_not_there(config: AgentConfig, tmp_path: Path) -> None:
    source = SourceConfig(kind="folder", path=str(tmp_path / "images"))
    model = replace(config.model[0], labels=str(tmp_path / "labels.txt"), source=source)
    changed = replace(config, model=(model,))
    for what in ("model kws labels", "model kws source"):
        assert of(changed, what).level is Level.WRONG
    (tmp_path / "images").mkdir()
    assert of(changed, "model kws source").level is Level.OK


def test_a_state_folder_that_is_a_file(config: AgentConfig, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    found = of(replace(config, state_dir=str(tmp_path / "file" / "state")), "state_dir")
    assert found.level is Level.WRONG


def test_a_bundle_is_read_and_one_that_is_none_is_wrong(config: AgentConfig, tmp_path: Path) -> None:
    scripted(tmp_path / "good")
    (tmp_path / "packed").write_bytes(packed(tmp_path / "other"))
    (tmp_path / "bad").write_bytes(b"garbage")
    names = ("good", "packed", "bad", "gone")
    changed = replace(config, model=tuple(ModelConfig(name=one, bundle=str(tmp_path / one)) for one in names))
    levels = [of(changed, f"model {name}").level for name in names]
    assert levels == [Level.OK, Level.OK, Level.WRONG, Level.WRONG]


def test_a_model_that_an_update_brings_is_no_fault(config: AgentConfig) -> None:
    update = UpdateConfig(repository="file:///nowhere")
    found = of(replace(config, update=update, model=(ModelConfig(name="a"),)), "model a")
    assert (found.level, found.text) == (Level.OK, "is there once an update has installed it")


def test_delegates_and_users_that_are_not_there(config: AgentConfig, tmp_path: Path) -> None:
    limits = LimitsConfig(user="nobody-of-that-name")
    model = replace(config.model[0], delegate=str(tmp_path / "libgone.so"), limits=limits)
    changed = replace(config, model=(model,))
    for what in ("model kws delegate", "model kws user"):
        assert of(changed, what).level is Level.WRONG


def test_a_port_that_is_taken_is_a_warning(config: AgentConfig) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        changed = replace(config, serve=GatewayConfig(http=f"127.0.0.1:{server.getsockname()[1]}"))
        assert of(changed, "serve.http").level is Level.WARNING
    assert of(changed, "serve.http").level is Level.OK
