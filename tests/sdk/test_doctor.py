"""What `edgekit doctor` finds, here and in environments that were spoilt."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edgekit import _doctor
from edgekit.errors import EnvironmentMissingError, UsageError
from edgekit.fleet import _brokers
from edgekit.fleet._brokers import running


def _run(*arguments: str, **settings: str) -> "subprocess.CompletedProcess[str]":
    known = {name: value for name, value in os.environ.items() if name != "EDGEKIT_DEVICE_PYTHON"}
    return subprocess.run(
        [sys.executable, "-m", "edgekit.cli.main", "doctor", *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**known, **settings},
    )


def _findings(answer: "subprocess.CompletedProcess[str]") -> dict[tuple[str, str], dict[str, Any]]:
    document = json.loads(answer.stdout)
    assert document["schema"] == 1
    return {(one["area"], one["name"]): one for one in document["findings"]}


@pytest.fixture
def distribution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the path to put distributions into."""
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def _record(folder: Path, name: str, version: str, *, modules: str = "") -> None:
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "top_level.txt").write_text(modules)


@pytest.mark.slow
def test_this_environment_is_sound() -> None:
    answer = _run("--json")
    found = _findings(answer)
    assert answer.returncode == 0, [one for one in found.values() if one["state"] == "broken"]
    assert set(found["tflite", "ai-edge-litert"]) == {"area", "name", "state", "text", "hint"}
    assert found["this environment", "telemetry"]["state"] == "ok"
    assert found["device environment", "python"]["state"] == "missing"


@pytest.mark.slow
def test_the_plain_form_has_a_line_a_finding_and_says_what_to_do() -> None:
    answer = _run(EDGEKIT_DEVICE_PYTHON="/no/such/python")
    assert answer.returncode == 4
    assert "\x1b" not in answer.stdout
    lines = answer.stdout.splitlines()
    (at,) = (number for number, line in enumerate(lines) if line.startswith("broken"))
    assert "/no/such/python did not answer: No such file or directory" in lines[at]
    assert "it must be a Python interpreter" in lines[at + 1]
    assert answer.stderr.startswith("error: probe: /no/such/python did not answer")


@pytest.mark.slow
def test_a_device_environment_without_the_agent_is_named(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "bare")], check=True, timeout=120)
    python = str(tmp_path / "bare" / "bin" / "python")
    (finding,) = _doctor._runtimes("device environment", python, dict(os.environ))
    assert (finding.state, finding.hint) == ("broken", f"{python} must have edgekit-agent installed")
    assert "No module named edgekit_agent" in finding.text


@pytest.mark.slow
def test_the_broker_is_tried_by_round_trip() -> None:
    try:
        engine = _brokers.choose_engine()
    except EnvironmentMissingError as exc:
        pytest.skip(f"{exc}: {exc.__notes__[0]}")
    with running(engine=engine) as broker:
        answer = _run("--json", "--broker", broker.url)
        finding = _findings(answer)["broker", broker.url]
        assert (answer.returncode, finding["state"]) == (0, "ok")
        assert "a message came back in" in finding["text"]


@pytest.mark.slow
def test_an_unreachable_broker_is_a_finding_and_code_5() -> None:
    answer = _run("--json", "--broker", "mqtt://127.0.0.1:1")
    finding = _findings(answer)["broker", "mqtt://127.0.0.1:1"]
    assert (answer.returncode, finding["state"]) == (5, "broken")
    assert finding["text"] == "did not answer: Connection refused"
    assert answer.stderr.splitlines()[-1] == "error: mqtt://127.0.0.1:1: did not answer: Connection refused"


@pytest.mark.slow
def test_a_broker_that_drops_what_its_rules_forbid_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mosquitto acknowledges the publication and the subscription, and delivers nothing."""
    program = _brokers.find_mosquitto()
    if program is None:
        pytest.skip("mosquitto is not installed: apt-get install mosquitto")
    monkeypatch.setattr(_doctor, "ROUND_TRIP_S", 1.0)
    rules = tmp_path / "acl"
    rules.write_text("topic read nothing/#\n")
    rules.chmod(0o700)
    monkeypatch.setattr(_brokers, "_MOSQUITTO", f"{_brokers._MOSQUITTO}acl_file {rules}\n")
    with running(engine="mosquitto") as broker:
        finding = _doctor.round_trip(broker.url)
    assert finding.state == "broken"
    assert "did not come back" in finding.text
    assert "access rules" in finding.hint


def test_a_broker_that_is_no_url_is_a_usage_error() -> None:
    with pytest.raises(UsageError):
        _doctor.round_trip("http://x")


def test_two_owners_of_the_agent_are_broken(distribution: Path) -> None:
    assert _doctor._owners().state == "ok"
    _record(distribution, "edgekit-agent", "9.9.9", modules="edgekit_agent\n")
    finding = _doctor._owners()
    assert (finding.state, finding.text) == ("broken", "edgekit_agent is owned by both edgekit-agent and edgekit-sdk")
    assert "uninstall" in finding.hint


def test_a_recorded_package_without_its_files_is_broken(distribution: Path) -> None:
    _record(distribution, "lost-package", "1.2.3")
    finding = _doctor._package("demo", "lost-package", "lost_package")
    assert (finding.state, finding.text) == ("broken", "1.2.3 is recorded and cannot be found")


def test_a_missing_package_names_its_extra() -> None:
    finding = _doctor._package("demo", "no-such-package", "no_such_package")
    assert (finding.state, finding.hint) == ("missing", "pip install 'edgekit-sdk[demo]'")


def test_telemetry_that_started_is_broken(tmp_path: Path) -> None:
    assert _doctor._telemetry(tmp_path).state == "ok"
    (tmp_path / "intel").mkdir()
    (tmp_path / "intel" / "openvino_ga_cid").write_text("x")
    assert _doctor._telemetry(tmp_path).state == "broken"


def test_the_extras_are_those_of_the_distribution() -> None:
    """The table and pyproject.toml must not drift apart."""
    from importlib import metadata

    wanted: dict[str, set[str]] = {}
    for line in metadata.requires("edgekit-sdk") or []:
        requirement, _, marker = line.partition(";")
        extra = marker.partition("==")[2].strip(" '\"")
        if extra and extra != "all":
            name = requirement.strip()
            cut = min(at for at, char in enumerate(f"{name} ") if char in "<>=!~[ ")
            wanted.setdefault(extra, set()).add(name[:cut])
    assert {extra: {name for name, _ in members} for extra, members in _doctor.EXTRAS.items()} == wanted
