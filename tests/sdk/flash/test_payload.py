"""What goes on a device: the choice of the model, wheels, configuration, and the installer's own guards."""

import fcntl
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

import edgekit_agent
from edgekit.errors import DataError, EnvironmentMissingError, UsageError
from edgekit.flash import (
    FlashRequest,
    LocalTarget,
    Settings,
    SshTarget,
    _agent_wheel,
    _install,
    _payload,
    _targets,
    _wheels,
    flash,
)
from edgekit.flash._artifact import Chosen, choose
from edgekit.flash._device import DeviceFacts
from edgekit.fleet._brokers import free_port
from edgekit_agent.config import load
from edgekit_agent.errors import BundleError, ConfigError, ProtocolError
from tests.agent import bundle_maker
from tests.e2e.updating import Publisher

PI = DeviceFacts(
    python="3.11.2", machine="aarch64", glibc="2.36", hostname="Pi.Lab_1", prefix="/home/pi/.edgekit", systemd="system"
)


# --- the agent's wheel


def test_the_agents_wheel_is_the_same_bytes_twice() -> None:
    assert _agent_wheel.agent_wheel() == _agent_wheel.agent_wheel()


@pytest.mark.slow
def test_the_agents_wheel_holds_what_the_build_makes(repository: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path)]
    subprocess.run([*command, str(repository / "agent")], check=True, capture_output=True, timeout=300)
    (built,) = tmp_path.glob("*.whl")
    assert built.name == _agent_wheel.NAME
    with zipfile.ZipFile(built) as wanted, zipfile.ZipFile(io.BytesIO(_agent_wheel.agent_wheel())) as got:
        assert set(got.namelist()) == set(wanted.namelist())
        for name in got.namelist():
            if not name.endswith(("/WHEEL", "/METADATA", "/RECORD")):  # these name the tool that made them
                assert got.read(name) == wanted.read(name), name
        (info,) = (name for name in wanted.namelist() if name.endswith("/METADATA"))
        fields = [Parser().parsestr(one.read(info).decode()).items() for one in (wanted, got)]
    assert [one for one in fields[0] if one[0] != "Metadata-Version"] == [
        one for one in fields[1] if one[0] != "Metadata-Version"
    ]


@pytest.mark.slow
def test_pip_installs_the_agents_wheel(tmp_path: Path) -> None:
    wheel = tmp_path / _agent_wheel.NAME
    wheel.write_bytes(_agent_wheel.agent_wheel())
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--target"]
    subprocess.run([*command, str(tmp_path / "site"), str(wheel)], check=True, capture_output=True, timeout=300)
    run = [sys.executable, "-S", "-P", "-m", "edgekit_agent", "--version"]
    version = subprocess.run(
        run, env={"PYTHONPATH": str(tmp_path / "site")}, capture_output=True, text=True, check=True
    )
    assert version.stdout.split()[1] == _agent_wheel.NAME.split("-")[1]
    assert (tmp_path / "site" / "bin" / "edgekit-agent").is_file()


# --- wheels of the lock


def test_the_lock_gives_a_device_its_own_versions() -> None:
    names = {pin.name: pin.version for pin in _wheels.pins("ai-edge-litert", PI)}
    assert set(names) == {*_wheels.AGENT_PACKAGES, *_wheels.RUNTIME_PACKAGES["ai-edge-litert"]}
    assert names["numpy"].startswith("1.")
    newer = DeviceFacts(python="3.13.1", machine="aarch64", glibc="2.41", hostname="x", prefix="/p", systemd="")
    assert {pin.name: pin.version for pin in _wheels.pins("ai-edge-litert", newer)}["numpy"].startswith("2.")


def test_a_runtime_without_a_build_for_the_python_is_said() -> None:
    newer = DeviceFacts(python="3.13.1", machine="aarch64", glibc="2.41", hostname="x", prefix="/p", systemd="")
    with pytest.raises(EnvironmentMissingError, match=r"tflite-runtime has no version for Python 3\.13\.1"):
        _wheels.pins("tflite-runtime", newer)


def test_the_table_of_packages_is_what_the_runtimes_ask_for() -> None:
    from importlib.metadata import requires

    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    environment = {**PI.markers(), "extra": ""}
    for package, table in (
        ("ai-edge-litert", _wheels.RUNTIME_PACKAGES["ai-edge-litert"]),
        ("openvino", _wheels.RUNTIME_PACKAGES["openvino"]),
        ("tuf", _wheels.AGENT_PACKAGES),
    ):
        asked = [Requirement(line) for line in requires(package) or []]
        needed = {
            canonicalize_name(one.name) for one in asked if one.marker is None or one.marker.evaluate(environment)
        }
        assert needed - {"openvino-telemetry"} <= set(table)


def test_a_wheel_whose_hash_is_not_in_the_lock_is_not_taken(tmp_path: Path) -> None:
    (pin,) = (one for one in _wheels.pins("null", PI) if one.name == "paho-mqtt")
    (tmp_path / f"paho_mqtt-{pin.version}-py3-none-any.whl").write_bytes(b"not the wheel")
    with pytest.raises(EnvironmentMissingError, match="holds no wheel of paho-mqtt"):
        _wheels.collect([pin], PI, tmp_path)


def test_an_index_that_does_not_answer_is_one_sentence_with_a_hint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{free_port()}/")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.delenv("PIP_EXTRA_INDEX_URL", raising=False)
    with pytest.raises(EnvironmentMissingError, match="pip could not fetch the device's wheels: ") as caught:
        _wheels.collect(_wheels.pins("null", PI), PI, None)
    assert "--wheels DIR" in caught.value.__notes__[0]


def test_what_lies_in_the_cache_is_used_without_an_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(_wheels, "_download", lambda *_: pytest.fail("it asks the index"))
    content = b"a wheel"
    pin = _wheels.Pin(name="some-thing", version="1.0", hashes=frozenset({hashlib.sha256(content).hexdigest()}))
    place = tmp_path / "cache" / "edgekit" / "wheels" / "cp311-aarch64-glibc2.36"
    place.mkdir(parents=True)
    (place / "some_thing-1.0-py3-none-any.whl").write_bytes(content)
    assert [file.name for file in _wheels.collect([pin], PI, None)] == ["some_thing-1.0-py3-none-any.whl"]


def _folder_of(folder: Path, *names: str) -> _wheels.Pin:
    """Fill a folder with wheels whose hashes are all in the lock, as a lock of several platforms has them."""
    for name in names:
        (folder / name).write_bytes(name.encode())
    hashes = frozenset(hashlib.sha256(name.encode()).hexdigest() for name in names)
    return _wheels.Pin(name="Some.Thing", version="1.0", hashes=hashes)


@pytest.mark.parametrize(
    "right",
    [
        "some_thing-1.0-cp311-cp311-manylinux2014_aarch64.manylinux_2_17_aarch64.whl",
        "some_thing-1.0-cp310-abi3-manylinux_2_28_aarch64.whl",
        "some_thing-1.0-1-cp311-none-manylinux_2_36_aarch64.whl",
        "some_thing-1.0-py2.py3-none-any.whl",
    ],
)
def test_of_wheels_for_several_platforms_the_devices_own_is_taken(tmp_path: Path, right: str) -> None:
    pin = _folder_of(
        tmp_path,
        right,
        "some_thing-1.0-cp312-cp312-manylinux_2_17_aarch64.whl",
        "some_thing-1.0-cp312-abi3-manylinux_2_17_aarch64.whl",
        "some_thing-1.0-cp311-cp311-manylinux_2_17_x86_64.whl",
        "some_thing-1.0-cp311-cp311-musllinux_1_2_aarch64.whl",
        "some_thing-1.0-cp311-cp311-manylinux_2_39_aarch64.whl",
    )
    assert [file.name for file in _wheels.collect([pin], PI, tmp_path)] == [right]


def test_a_build_for_the_device_goes_before_one_for_any(tmp_path: Path) -> None:
    right = "some_thing-1.0-cp311-cp311-manylinux_2_17_aarch64.whl"
    pin = _folder_of(
        tmp_path, "some_thing-1.0-cp38-abi3-manylinux_2_17_aarch64.whl", right, "some_thing-1.0-py3-none-any.whl"
    )
    assert [file.name for file in _wheels.collect([pin], PI, tmp_path)] == [right]


def test_wheels_for_other_devices_only_are_none(tmp_path: Path) -> None:
    pin = _folder_of(tmp_path, "some_thing-1.0-cp312-cp312-manylinux_2_17_aarch64.whl")
    with pytest.raises(EnvironmentMissingError, match=r"no wheel of Some.Thing 1\.0 for Python 3\.11\.2 on aarch64"):
        _wheels.collect([pin], PI, tmp_path)


def test_files_in_the_folder_that_are_no_wheels_do_not_matter(tmp_path: Path) -> None:
    right = "some_thing-1.0-py3-none-any.whl"
    pin = _folder_of(tmp_path, right)
    for name in ("x.whl", "some_thing-1.0.whl", "some_thing-one-py3-none-any.whl", ".whl"):
        (tmp_path / name).write_bytes(b"")
    assert [file.name for file in _wheels.collect([pin], PI, tmp_path)] == [right]


# --- the model


def test_of_a_converted_folder_int8_tflite_is_taken_first(tmp_path: Path) -> None:
    artifacts = [
        {"status": "ok", "precision": "fp32", "format": "tflite", "size_bytes": 1, "path": "models/m.fp32.tflite"},
        {
            "status": "rejected",
            "precision": "int8",
            "format": "tflite",
            "size_bytes": 2,
            "path": "models/m.int8.tflite.rejected",
        },
        {"status": "ok", "precision": "int8", "format": "openvino", "size_bytes": 3, "path": "models/m.int8.xml"},
    ]
    (tmp_path / "models").mkdir()
    for name in ("m.fp32.tflite", "m.int8.xml", "m.int8.bin"):
        (tmp_path / "models" / name).write_bytes(b"x")
    (tmp_path / "report.json").write_text(json.dumps({"artifacts": artifacts}))
    assert choose(tmp_path).files[0].name == "m.int8.xml"
    assert choose(tmp_path, "fp32").files[0].name == "m.fp32.tflite"
    assert choose(tmp_path, runtime="tflite-runtime").files[0].name == "m.fp32.tflite"
    assert choose(tmp_path, "fp32", "openvino").runtime("openvino") == "openvino"
    with pytest.raises(DataError, match="no artifact that is ok in int8 for ai-edge-litert"):
        choose(tmp_path, "int8", "ai-edge-litert")
    with pytest.raises(DataError, match="no artifact that is ok in fp16"):
        choose(tmp_path, "fp16")


def test_a_report_cannot_name_a_file_outside_its_folder(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "secret.tflite").write_bytes(b"x")
    one = {"status": "ok", "precision": "int8", "format": "tflite", "size_bytes": 1, "path": "../secret.tflite"}
    (tmp_path / "out" / "report.json").write_text(json.dumps({"artifacts": [one]}))
    with pytest.raises(DataError, match="outside its folder"):
        choose(tmp_path / "out")


@pytest.mark.parametrize("text", ["{", "[]", '{"artifacts": 1}', '{"artifacts": [{}]}'])
def test_a_broken_report_is_one_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "report.json").write_text(text)
    with pytest.raises(DataError, match=r"no report of edgekit convert"):
        choose(tmp_path)


def test_an_ir_without_its_weights_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.xml").write_text("<net/>")
    with pytest.raises(DataError, match=r"'m\.bin' is missing"):
        choose(tmp_path / "m.xml")


# --- the payload


@pytest.fixture
def model(tmp_path: Path) -> Chosen:
    (tmp_path / "m.null").write_text("{}")
    return choose(tmp_path / "m.null")


def test_the_same_inputs_give_the_same_payload(model: Chosen) -> None:
    settings = Settings(broker="mqtt://127.0.0.1:1883")
    one, two = (_payload.build(model, [], "null", settings, "pi-01") for _ in range(2))
    assert one == two
    other = _payload.build(model, [], "null", Settings(broker="mqtt://127.0.0.1:1884"), "pi-01")
    assert other.manifest["id"] != one.manifest["id"]
    assert other.manifest["environment"] == one.manifest["environment"]


def test_the_configuration_is_one_the_agent_takes_and_holds_no_password(model: Chosen, tmp_path: Path) -> None:
    settings = Settings(broker="mqtt://127.0.0.1:1883", username="dev", password="hunter2")  # noqa: S106
    manifest = _payload.build(model, [], "null", settings, "pi-01").manifest
    assert "hunter2" not in manifest["configuration"]
    file = tmp_path / "agent.toml"
    file.write_text(manifest["configuration"].replace("@PREFIX@", str(tmp_path)))
    config = load(file)
    assert (config.device, config.model[0].name, config.broker.username) == ("pi-01", "m", "dev")
    assert config.broker.password_file == f"{tmp_path}/secrets/broker.password"


def test_another_password_is_another_payload(model: Chosen) -> None:
    ids = {
        _payload.build(model, [], "null", Settings(broker="mqtt://h:1", username="u", password=word), "pi-01").manifest[
            "id"
        ]
        for word in (None, "one", "two")
    }
    assert len(ids) == 3


def test_the_authority_of_the_broker_goes_along(model: Chosen, tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_text("certificate")
    settings = Settings(broker="mqtts://h:8883", ca=tmp_path / "ca.crt")
    payload = _payload.build(model, [], "null", settings, "pi-01")
    (authority,) = (one for one in payload.manifest["files"] if one["role"] == "ca")
    assert payload.contents[authority["sha256"]] == ("broker-ca.pem", b"certificate")
    assert f"/files/{authority['sha256']}/broker-ca.pem" in payload.manifest["configuration"]
    with pytest.raises(DataError, match=r"no\.crt' cannot be read"):
        _payload.build(model, [], "null", Settings(broker="mqtts://h:8883", ca=tmp_path / "no.crt"), "pi-01")


@pytest.mark.parametrize(
    ("settings", "error", "sentence"),
    [
        (Settings(broker="http://h"), UsageError, "is not of the form mqtt://"),
        (Settings(broker="mqtt://u:secret@h"), UsageError, "holds a password"),
        (Settings(broker="mqtt://h", password="p"), UsageError, "needs its user"),  # noqa: S106
        (Settings(broker="mqtt://h", ca=Path("/ca")), UsageError, "needs mqtts://"),
        (Settings(broker="mqtt://h", site="No Good"), ConfigError, "site"),
        (Settings(broker="mqtt://h", threads=4096), ConfigError, r"model\.threads is 4096"),
    ],
    ids=["no broker", "password in the address", "no user", "authority without TLS", "site", "threads"],
)
def test_settings_the_agent_would_not_take_change_nothing(
    model: Chosen, tmp_path: Path, settings: Settings, error: type[Exception], sentence: str
) -> None:
    request = FlashRequest(model=model.files[0], settings=settings)
    with pytest.raises(error, match=sentence) as caught:
        flash(LocalTarget(tmp_path / "device"), request)
    assert "secret" not in str(caught.value)
    assert not (tmp_path / "device").exists()


def test_a_runtime_nobody_knows_is_wrong_usage(model: Chosen, tmp_path: Path) -> None:
    request = FlashRequest(model=model.files[0], settings=Settings(broker="mqtt://h"), runtime="onnx")
    with pytest.raises(UsageError, match="runtime 'onnx' is none of: auto, ai-edge-litert"):
        flash(LocalTarget(tmp_path / "device"), request)


def test_a_device_keeps_its_id_and_a_new_one_comes_of_the_host_name() -> None:
    from dataclasses import replace

    assert _payload.device_id(replace(PI, device="kept-1"), None) == "kept-1"
    assert _payload.device_id(PI, "wanted-1") == "wanted-1"
    assert _payload.device_id(PI, None).startswith("pi-lab-1-")
    with pytest.raises(ProtocolError):
        _payload.device_id(PI, "No Good")


# --- targets


def test_targets_are_read() -> None:
    got = _targets.parse("ssh://pi@host.local:2222", None, None, None)
    assert isinstance(got, SshTarget)
    assert (got.user, got.host, got.port, got.prefix) == ("pi", "host.local", 2222, "~/.edgekit")
    root = _targets.parse("ssh://root@host", None, None, None)
    assert isinstance(root, SshTarget)
    assert root.prefix == "/opt/edgekit"
    local = _targets.parse("local", Path("/x"), None, None)
    assert isinstance(local, LocalTarget)
    assert local.prefix == Path("/x")


@pytest.mark.parametrize(
    "text",
    [
        "ssh://host", "ssh://-oProxyCommand=x@host", "ssh://pi@-oProxyCommand=x", "ssh://pi:secret@host", "ssh://pi@host/etc",
        "http://pi@host", "ssh://pi@host:x", "pi@host", "ssh://pi;id@host", "local",
    ],
)  # fmt: skip
def test_what_is_no_target_or_could_be_an_option_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        _targets.parse(text, None, None, None)


# --- the installer by itself


def _installer(action: str, prefix: Path, body: bytes = b"") -> dict[str, object]:
    command = [sys.executable, "-I", str(_targets.INSTALLER), action, str(prefix)]
    done = subprocess.run(command, input=body, capture_output=True, timeout=60, check=True)
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


def test_a_file_that_arrives_damaged_is_refused_and_not_kept(tmp_path: Path) -> None:
    answer = _installer("receive", tmp_path / "p", _targets.as_tar([(f"{'a' * 64}/x.whl", b"content")]))
    assert "arrived damaged" in str(answer["error"])
    assert [file.name for file in tmp_path.rglob("*") if file.is_file()] == ["lock"]


@pytest.mark.parametrize("name", ["../../escape/x", "/etc/x", f"{'a' * 64}/../x", f"{'a' * 64}/.hidden", "x"])
def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    answer = _installer("receive", tmp_path / "p", _targets.as_tar([(name, b"content")]))
    assert "error" in answer
    assert [file.name for file in tmp_path.rglob("*") if file.is_file()] == ["lock"]


def test_removing_what_is_no_installation_is_refused(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("x")
    assert "no installation" in str(_installer("remove", tmp_path)["error"])
    assert [file.name for file in tmp_path.iterdir()] == ["precious"]


def test_two_installers_into_one_place_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with (tmp_path / "run" / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert "is under way" in str(_installer("receive", tmp_path, _targets.as_tar([]))["error"])
    assert _installer("receive", tmp_path, _targets.as_tar([])) == {"received": 0}


@pytest.mark.parametrize("prefix", ["/opt/edgekit", "/srv/a b$c%d"], ids=["usual", "odd"])
@pytest.mark.parametrize("how", ["system", "user"])
def test_systemd_takes_the_unit(tmp_path: Path, prefix: str, how: str) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze")
    place = tmp_path / prefix.strip("/")
    python = place / "venvs" / "e" / "bin" / "python"
    python.parent.mkdir(parents=True)
    # an agent of its own, as an environment that the installer has made has one
    agent = Path(edgekit_agent.__file__).parents[1]
    python.write_text(f"#!/bin/sh\nPYTHONPATH='{agent}' exec '{sys.executable}' \"$@\"\n")
    python.chmod(0o755)
    (place / "payloads" / "p").mkdir(parents=True)
    (place / "payloads" / "p" / "agent.toml").write_text(f'device = "edge-1"\nstate_dir = "{place}/state"\n')
    (place / "current.json").write_text(json.dumps({"id": "p", "environment": "e"}))
    unit = tmp_path / _install.unit(place)
    unit.write_text(_install.unit_text(place, how))
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_each_installation_has_a_unit_of_its_own() -> None:
    usual = Path("~/.edgekit" if os.geteuid() else "/opt/edgekit").expanduser()
    assert _install.unit(usual) == "edgekit-agent.service"
    assert _install.unit(Path("/srv/one")) != _install.unit(Path("/srv/two"))


# --- bundles and updates


def _bundle(folder: Path) -> Path:
    model = folder / "sound.null"
    model.write_text(json.dumps(bundle_maker.SCRIPT))
    return bundle_maker.release(folder / "made", model, "null", "1.2.0", 7)


def test_a_bundle_says_itself_what_it_is_and_what_runs_it(tmp_path: Path) -> None:
    path = _bundle(tmp_path)
    chosen = choose(path)
    assert (chosen.format, chosen.runtimes) == ("bundle", ("null",))
    with pytest.raises(DataError, match="runtime 'openvino' does not run bundle; there are: null"):
        chosen.runtime("openvino")
    payload = _payload.build(chosen, [], "null", Settings(broker="mqtt://127.0.0.1:1883"), "edge-1")
    (model,) = (one for one in payload.manifest["files"] if one["role"] == "model")
    assert payload.contents[model["sha256"]][1] == path.read_bytes()
    agent_toml = tmp_path / "agent.toml"
    agent_toml.write_text(payload.manifest["configuration"].replace("@PREFIX@", str(tmp_path)))
    (configured,) = load(agent_toml).model
    assert (configured.name, configured.path) == (chosen.name, "")
    assert str(configured.bundle).endswith("/model/model.ekb")


def test_a_damaged_bundle_does_not_leave_the_host(tmp_path: Path) -> None:
    path = _bundle(tmp_path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(BundleError):
        choose(path)


def test_updates_need_a_repository_and_what_is_trusted_of_it(tmp_path: Path) -> None:
    half = Settings(broker="mqtt://127.0.0.1:1883", repository="https://updates.example")
    with pytest.raises(UsageError, match="--repository and --root go together"):
        flash(LocalTarget(tmp_path / "device"), FlashRequest(model=_bundle(tmp_path), settings=half))
    assert not (tmp_path / "device").exists()


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[1]", b"\xff\xfe", b'{"signed": {"_type": "root"}, "signatures": []}']
)
def test_a_root_that_is_none_is_refused(content: bytes, tmp_path: Path) -> None:
    root = tmp_path / "root.json"
    root.write_bytes(content)
    settings = Settings(broker="mqtt://127.0.0.1:1883", repository="https://updates.example", root=root)
    with pytest.raises(DataError, match="is no root metadata of a repository"):
        _payload.build(choose(_bundle(tmp_path)), [], "null", settings, "edge-1")


def test_a_root_that_was_changed_after_it_was_signed_is_refused(tmp_path: Path) -> None:
    metadata = Publisher(tmp_path / "publisher").repository / "metadata" / "1.root.json"
    changed = json.loads(metadata.read_text())
    changed["signed"]["version"] = 9
    root = tmp_path / "root.json"
    root.write_text(json.dumps(changed))
    settings = Settings(broker="mqtt://127.0.0.1:1883", repository="https://updates.example", root=root)
    with pytest.raises(DataError, match="is no root metadata of a repository"):
        _payload.build(choose(_bundle(tmp_path)), [], "null", settings, "edge-1")
