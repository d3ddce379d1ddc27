"""The systemd unit: what it promises, and that systemd takes it."""

import re
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from edgekit_agent.unit import WATCHDOG_S, unit

COMMAND = [sys.executable, "-P", "-m", "edgekit_agent", "run", "--config", "/etc/edgekit/agent.toml"]
STATE = Path("/var/lib/edgekit")


def parsed(text: str) -> dict[str, list[str]]:
    """Read a unit's lines as systemd does: a key may stand several times."""
    found: dict[str, list[str]] = defaultdict(list)
    for line in text.splitlines():
        if line and line[0] not in "#[":
            key, equals, value = line.partition("=")
            assert equals, line
            assert re.fullmatch(r"[A-Z][A-Za-z]*", key), line
            found[key].append(value)
    return found


@pytest.fixture
def keys() -> dict[str, list[str]]:
    return parsed(unit(["/opt/edgekit/bin/python", *COMMAND[1:]], state_dir=STATE))


def test_the_agent_says_itself_that_it_is_ready_and_works(keys: dict[str, list[str]]) -> None:
    assert keys["Type"] == ["notify"]
    assert keys["NotifyAccess"] == ["main"]
    assert keys["WatchdogSec"] == [str(WATCHDOG_S)]


def test_it_is_started_again_always_but_not_with_a_wrong_configuration(keys: dict[str, list[str]]) -> None:
    assert (keys["Restart"], keys["StartLimitIntervalSec"]) == (["always"], ["0"])
    assert keys["RestartPreventExitStatus"] == ["2 3"]


def test_it_may_make_groups_for_its_workers_and_survives_their_end(keys: dict[str, list[str]]) -> None:
    assert (keys["Delegate"], keys["OOMPolicy"]) == (["yes"], ["continue"])
    assert "ProtectControlGroups" not in keys


def test_it_may_write_only_to_its_own_folders(keys: dict[str, list[str]]) -> None:
    assert keys["ProtectSystem"] == ["strict"]
    assert (keys["StateDirectory"], keys["StateDirectoryMode"]) == (['"edgekit"'], ["0700"])
    assert keys["RuntimeDirectory"] == ["edgekit"]
    assert keys["ReadWritePaths"] == []
    assert keys["PrivateTmp"] == ["yes"]


def test_it_reaches_what_models_and_cameras_need_and_no_other_device(keys: dict[str, list[str]]) -> None:
    assert keys["DevicePolicy"] == ["closed"]
    assert {"char-drm rw", "char-accel rw", "char-video4linux rw", "char-alsa rw"} <= set(keys["DeviceAllow"])
    assert "PrivateDevices" not in keys
    assert "MemoryDenyWriteExecute" not in keys  # runtimes write the code they run


@pytest.mark.parametrize("user", [False, True])
def test_it_gains_no_rights_and_calls_only_what_services_call(user: bool) -> None:
    keys = parsed(unit(COMMAND, state_dir=STATE, user=user))
    assert keys["NoNewPrivileges"] == ["yes"]
    assert keys["SystemCallFilter"][0] == "@system-service"
    assert keys["RestrictAddressFamilies"] == ["AF_UNIX AF_INET AF_INET6 AF_NETLINK"]


def test_a_state_folder_elsewhere_is_made_writable_once() -> None:
    elsewhere = parsed(unit(COMMAND, state_dir=Path("/opt/edgekit/state")))
    assert elsewhere["ReadWritePaths"] == ['"/opt/edgekit/state"']
    inside = parsed(unit(COMMAND, state_dir=Path("/opt/edgekit/state"), writable=[Path("/opt/edgekit")]))
    assert inside["ReadWritePaths"] == ['"/opt/edgekit"']
    assert "StateDirectory" not in inside


def test_a_trial_below_tmp_sees_itself() -> None:
    assert "PrivateTmp" not in parsed(unit(COMMAND, state_dir=Path("/tmp/trial/state")))  # noqa: S108  # a path, not used
    assert "PrivateTmp" not in parsed(unit(["/tmp/venv/bin/python"], state_dir=STATE))  # noqa: S108


def test_a_users_unit_leaves_out_what_a_user_cannot_have() -> None:
    keys = parsed(unit(COMMAND, state_dir=Path("/home/u/state"), user=True))
    assert keys["WantedBy"] == ["default.target"]
    assert not {"ProtectSystem", "DevicePolicy", "CapabilityBoundingSet", "ReadWritePaths", "OOMScoreAdjust"} & set(
        keys
    )


def test_two_installations_have_folders_of_their_own() -> None:
    assert parsed(unit(COMMAND, state_dir=STATE, name="edgekit-agent-1a2b"))["RuntimeDirectory"] == ["edgekit-1a2b"]


@pytest.mark.parametrize("state", ["/var/lib/edgekit", "/srv/a b$c%d/state"], ids=["usual", "odd"])
@pytest.mark.parametrize("user", [False, True], ids=["system", "user"])
def test_systemd_takes_it(tmp_path: Path, state: str, user: bool) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze")
    path = tmp_path / "edgekit-agent.service"
    path.write_text(unit([*COMMAND, state], state_dir=Path(state), writable=[Path("/srv/x y")], user=user))
    done = subprocess.run(["systemd-analyze", "verify", path], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_systemd_finds_it_little_exposed(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze")
    path = tmp_path / "edgekit-agent.service"
    path.write_text(unit(COMMAND, state_dir=STATE))
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--threshold=35", path],
        capture_output=True,
        text=True,
        check=False,
    )
    if "nknown" in done.stderr or "nrecognized" in done.stderr:
        pytest.skip("needs systemd 250 or later")
    assert done.returncode == 0, done.stdout[-200:]
