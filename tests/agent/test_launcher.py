"""Which version of the agent is started: whatever the disk holds, one that is whole."""

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from edgekit_agent import launcher
from edgekit_agent.durable import held
from edgekit_agent.fetch import slots
from edgekit_agent.launcher import Boot


class Became(Exception):  # noqa: N818  # no error
    """What `exec` would have been given, with its environment."""


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state folder with two slots and a configuration; this process does not become another one."""

    def execv(_path: str, command: list[str]) -> None:
        raise Became(command, dict(os.environ))

    monkeypatch.setattr(os, "execv", execv)
    monkeypatch.setattr(sys, "argv", ["edgekit-agent", "run", "--config", "agent.toml"])
    for name in (launcher.SLOT, launcher.OUTSIDE):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("PYTHONPATH", "/before")
    state = tmp_path / "state"
    for slot in "ab":
        folder = slots.slots_of(state, slots.AGENT) / slot
        folder.mkdir(parents=True)
        slots.mark(folder, slot * 64)
    (tmp_path / "agent.toml").write_text('state_dir = "state"\n[of_a_newer_version]\n')
    return state


def launched(state: Path) -> tuple[str | None, dict[str, Any]]:
    """Launch; return the slot and the environment of what came of it."""
    os.environ.pop(launcher.SLOT, None)
    try:
        launcher.launch(state.parent / "agent.toml")
    except Became as became:
        command, environment = became.args
        assert command == [sys.executable, "-P", "-m", "edgekit_agent", "run", "--config", "agent.toml"]
        return environment[launcher.SLOT], environment
    return launcher.running(), {}


def test_without_an_update_it_is_the_installed_version(state: Path) -> None:
    assert launched(state) == (None, {})


def test_the_current_slot_goes_before_what_is_installed(state: Path) -> None:
    Boot(current="b").keep(state)
    slot, environment = launched(state)
    assert slot == "b"
    assert environment["PYTHONPATH"].split(os.pathsep) == [str(state / "agent" / "slots" / "b"), "/before"]
    assert environment[launcher.OUTSIDE] == "/before"


def test_one_on_trial_is_started_three_times_and_then_given_up(state: Path) -> None:
    Boot(current="a", trial="b").keep(state)
    assert [launched(state)[0] for _ in range(5)] == ["b", "b", "b", "a", "a"]
    assert Boot.of(state) == Boot(current="a", failed="b")


def test_the_first_update_that_fails_leads_back_to_what_is_installed(state: Path) -> None:
    Boot(trial="a").keep(state)
    assert [launched(state)[0] for _ in range(4)] == ["a", "a", "a", None]


def test_a_start_that_cannot_be_counted_is_not_made(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Boot(current="a", trial="b").keep(state)

    def full(_boot: Boot, _state: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Boot, "keep", full)
    assert launched(state)[0] == "a"


def test_beside_an_agent_that_runs_nothing_is_counted(state: Path) -> None:
    Boot(current="a", trial="b").keep(state)
    with held(state / "lock"):
        assert launched(state)[0] == "a"
    assert Boot.of(state).starts == 0


@pytest.mark.parametrize("which", ["current", "trial"])
def test_a_slot_that_is_not_whole_is_not_started(state: Path, which: str) -> None:
    Boot(**{which: "b"}).keep(state)  # type: ignore[arg-type]  # a slot
    (state / "agent" / "slots" / "b" / slots.COMPLETE).unlink()
    assert launched(state)[0] is None


@pytest.mark.parametrize("content", [b"", b"garbage", b"[]", b'{"generation": 1, "sha256": "x", "state": {}}'])
def test_a_broken_boot_file_is_the_installed_version(state: Path, content: bytes) -> None:
    Boot(current="a").keep(state)
    for name in ("boot.json", "boot.json.prev"):
        (state / "agent" / name).write_bytes(content)
    assert launched(state)[0] is None


@pytest.mark.parametrize("text", ["state_dir = 7", "not toml [", "\xff"])
def test_a_configuration_that_cannot_be_read_is_left_to_the_installed_version(state: Path, text: str) -> None:
    Boot(current="a").keep(state)
    (state.parent / "agent.toml").write_text(text, encoding="latin-1")
    assert launched(state)[0] is None


def test_a_process_that_was_launched_goes_on(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Boot(current="a").keep(state)
    monkeypatch.setenv(launcher.SLOT, "b")
    launcher.launch(state.parent / "agent.toml")
    assert launcher.running() == "b"


def test_a_restart_has_the_environment_of_before(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Boot(current="a").keep(state)
    _, environment = launched(state)
    for name in (launcher.SLOT, launcher.OUTSIDE, "PYTHONPATH"):
        monkeypatch.setenv(name, environment[name])
    with pytest.raises(Became) as caught:
        launcher.restart()
    command, after = caught.value.args
    assert command == [sys.executable, *sys.orig_argv[1:]]
    assert (after["PYTHONPATH"], launcher.SLOT in after, launcher.OUTSIDE in after) == ("/before", False, False)
