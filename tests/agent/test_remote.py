"""Configuration from afar: a few keys, checked as in a file, all or none, newest version only, kept over restarts."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit_agent.config import AgentConfig, ModelConfig
from edgekit_agent.durable import StateFile
from edgekit_agent.protocol import Desired, RemoteState
from edgekit_agent.remote import KEYS, MOST_KEYS, RemoteConfig, needs_restart, overlay
from tests.agent.crash_states import MemoryFiles

MODEL = ModelConfig(name="kws.v1", path="kws.tflite")
BASE = AgentConfig(device="edge-1", model=(MODEL, ModelConfig(name="vww", path="vww.tflite")))
PLACE = Path("/state/remote.json")


@pytest.fixture
def files() -> MemoryFiles:
    found = MemoryFiles()
    found.make_folder(PLACE.parent)
    return found


def opened(files: MemoryFiles, base: AgentConfig = BASE) -> RemoteConfig:
    return RemoteConfig(base, StateFile(PLACE, files=files))


def desired(version: int, **conf: Any) -> Desired:
    return Desired(version=version, configuration=conf)


class TestOverlay:
    def test_every_key_that_may_be_set_can_be_set(self) -> None:
        for key in KEYS:
            path = key.replace("*", "vww").split(".")
            wanted: Any = "debug" if key == "log_level" else 2
            for name in reversed(path):
                wanted = {name: wanted}
            found = overlay(BASE, wanted)
            assert not found.refused, key
            assert found.config != BASE, key

    def test_models_are_named_even_with_dots(self) -> None:
        found = overlay(BASE, {"model": {"kws.v1": {"rate_hz": 5, "limits": {"hang_s": 9}}}}).config
        assert (found.model[0].rate_hz, found.model[0].limits.hang_s) == (5.0, 9.0)
        assert found.model[1] == BASE.model[1]

    @pytest.mark.parametrize(
        ("wanted", "key", "reason", "words"),
        [
            ({"broker": {"url": "mqtt://elsewhere"}}, "broker.url", "key-not-remote", "no key that can be set"),
            ({"broker": {"keepalive_s": 9}}, "broker.keepalive_s", "key-not-remote", "no key"),
            ({"device": "edge-2"}, "device", "key-not-remote", "'device' is no key"),
            ({"telemetry": {"windw_s": 9}}, "telemetry.windw_s", "key-not-remote", "windw_s"),
            ({"telemetry": 9}, "telemetry", "key-not-remote", "telemetry"),
            ({"telemetry": {"window_s": 0}}, "telemetry.window_s", "key-invalid", "0.0 and not between 1 and 86400"),
            ({"telemetry": {"window_s": "9"}}, "telemetry.window_s", "key-invalid", "is not a number"),
            ({"telemetry": {"window_s": {}}}, "telemetry.window_s", "key-invalid", "is not a number"),
            ({"telemetry": {"queue": True}}, "telemetry.queue", "key-invalid", "is not a whole number"),
            ({"log_level": "loud"}, "log_level", "key-invalid", "not one of: debug, info"),
            ({"model": {"other": {"threads": 2}}}, "model.other.threads", "key-invalid", "no model 'other'"),
            ({"model": {"vww": {"path": "/etc/x"}}}, "model.vww.path", "key-not-remote", "path"),
            ({"model": {"vww": {"threads": 0}}}, "model.vww.threads", "key-invalid", "between 1 and"),
            ({"model": []}, "model", "key-not-remote", "model"),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_a_key_is_refused_by_its_name(self, wanted: dict[str, object], key: str, reason: str, words: str) -> None:
        found = overlay(BASE, {"log_level": "debug", **wanted})
        assert found.config is BASE
        ((named, refusal),) = found.refused.items()
        assert (named, refusal.reason) == (key, reason)
        assert words in refusal.text

    def test_too_many_keys_are_refused_at_once(self) -> None:
        found = overlay(BASE, {"telemetry": {f"k{number}": 1 for number in range(MOST_KEYS + 1)}})
        assert list(found.refused) == [""]

    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.lists(st.none()),
            lambda inner: st.dictionaries(
                st.sampled_from(["telemetry", "model", "vww", "limits", "drift", "window_s", "threads", "", "broker"]),
                inner,
            ),
        )
    )
    def test_whatever_comes_the_broker_stays(self, wanted: object) -> None:
        found = overlay(BASE, wanted if isinstance(wanted, dict) else {"telemetry": wanted})
        assert found.config.broker == BASE.broker
        assert (found.config is BASE) or not found.refused


def test_which_keys_start_workers_again_is_what_the_table_says() -> None:
    for key, effect in KEYS.items():
        if key.startswith("model."):
            wanted: Any = 2
            for name in reversed(key.replace("*", "vww").split(".")):
                wanted = {name: wanted}
            after = overlay(BASE, wanted).config.model[1]
            assert needs_restart(BASE.model[1], after) == (effect == "restart"), key


class TestVersions:
    def test_what_was_set_is_in_force_and_after_a_restart_too(self, files: MemoryFiles) -> None:
        remote = opened(files)
        assert (remote.config, remote.state) == (BASE, None)
        assert remote.desired(desired(17, telemetry={"window_s": 5}))
        assert remote.state == RemoteState(version=17, status="applied")
        again = opened(files)
        assert again.config.telemetry.window_s == 5
        assert again.state == RemoteState(version=17, status="applied")

    def test_an_older_or_the_same_version_changes_nothing(self, files: MemoryFiles) -> None:
        remote = opened(files)
        remote.desired(desired(17, telemetry={"window_s": 5}))
        assert not remote.desired(desired(17, telemetry={"window_s": 6}))
        assert not remote.desired(desired(16, telemetry={"window_s": 6}))
        assert remote.config.telemetry.window_s == 5
        again = opened(files)
        assert not again.desired(desired(16, telemetry={"window_s": 6}))

    def test_a_release_keeps_what_is_its_own_and_has_what_is_set(self, files: MemoryFiles) -> None:
        """A bundle says 4 threads: only what a host sets goes before it, and it is back when that is taken back."""
        remote, release = opened(files), replace(MODEL, version="2.0.0", path="slot/model.tflite", threads=4)
        assert remote.over(release) == release
        remote.desired(desired(1, model={"kws.v1": {"rate_hz": 5, "limits": {"hang_s": 9}}}))
        assert remote.over(release) == replace(release, rate_hz=5.0, limits=replace(release.limits, hang_s=9.0))
        remote.desired(desired(2, model={"kws.v1": {"threads": 1}}))
        assert remote.over(release) == replace(release, threads=1)
        remote.desired(desired(3))
        assert remote.over(release) == release
        assert remote.over(replace(release, name="other")) == replace(release, name="other")

    def test_what_is_refused_leaves_what_was_in_force(self, files: MemoryFiles) -> None:
        remote = opened(files)
        remote.desired(desired(1, telemetry={"window_s": 5}))
        assert not remote.desired(desired(2, telemetry={"window_s": 7, "spool_mb": -1}))
        assert remote.config.telemetry.window_s == 5
        assert remote.state is not None
        assert (remote.state.version, remote.state.status) == (2, "refused")
        assert list(remote.state.refused) == ["telemetry.spool_mb"]
        assert opened(files).config.telemetry.window_s == 5

    def test_an_empty_configuration_takes_everything_back(self, files: MemoryFiles) -> None:
        remote = opened(files)
        remote.desired(desired(1, telemetry={"window_s": 5}))
        remote.desired(desired(2))
        assert remote.config == BASE
        assert opened(files).config == BASE

    def test_a_host_that_sets_nothing_is_told_nothing(self, files: MemoryFiles) -> None:
        remote = opened(files)
        assert not remote.desired(desired(5))
        assert remote.state is None

    def test_what_does_not_fit_the_device_any_more_is_left_out_and_told(self, files: MemoryFiles) -> None:
        opened(files).desired(desired(3, telemetry={"window_s": 5}, model={"vww": {"rate_hz": 2}}))
        base = replace(BASE, model=(MODEL,))
        remote = opened(files, base)
        assert remote.config is base
        assert remote.state is not None
        assert list(remote.state.refused) == ["model.vww.rate_hz"]

    def test_a_disk_that_takes_nothing_keeps_no_configuration_from_being_set(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        remote = RemoteConfig(BASE, StateFile(tmp_path / "gone" / "remote.json"))
        assert remote.desired(desired(1, telemetry={"window_s": 5}))
        assert remote.config.telemetry.window_s == 5
        assert "event=state-not-kept" in caplog.text

    @pytest.mark.parametrize("content", [b"", b"garbage", b'{"generation":1,"sha256":"x","state":{"v":"1"}}'])
    def test_a_broken_file_is_the_configuration_of_the_device(self, tmp_path: Path, content: bytes) -> None:
        file = tmp_path / "remote.json"
        file.write_bytes(content)
        assert RemoteConfig(BASE, StateFile(file)).config is BASE
