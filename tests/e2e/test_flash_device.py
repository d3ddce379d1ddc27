"""`edgekit flash` for real: into a folder, and over a real sshd, until latency comes back over a real broker."""

import getpass
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from edgekit.errors import DeviceError
from edgekit.flash import FlashRequest, LocalTarget, Settings, SshTarget, Target, flash, plan
from edgekit.flash._targets import INSTALLER
from edgekit.fleet import FleetClient
from edgekit.fleet._brokers import find_mosquitto, free_port, running
from edgekit_agent.errors import ModelError
from edgekit_agent.protocol import State
from tests.e2e.conftest import wait_for
from tests.e2e.updating import TOPIC, Publisher

pytestmark = pytest.mark.slow

SSHD = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin")


@pytest.fixture(scope="module")
def broker() -> Iterator[str]:
    with running() as one:
        yield one.url


@pytest.fixture(scope="module")
def artifacts(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from edgekit import ConvertOptions, convert

    folder = tmp_path_factory.mktemp("artifacts") / "digits"
    options = ConvertOptions(precisions=("fp32", "int8"), to=("tflite",), calib=f"{digits}/calib.npz", bench=False)
    convert(digits / "digits.keras", options, folder)
    return folder


@contextmanager
def _removed(target: Target) -> Iterator[None]:
    try:
        yield
    finally:
        target.call("remove")


def _request(artifacts: Path, broker: str, **changes: object) -> FlashRequest:
    values = {"model": artifacts, "settings": Settings(broker=broker, window_s=1.0), "device": "test-device", **changes}
    return FlashRequest(**values)  # type: ignore[arg-type]


def _state(prefix: Path) -> dict[str, tuple[int, int]]:
    """Every file but what the running agent writes itself: when it changed, and its inode."""
    own = {"log", "state"}
    files = [file for file in prefix.rglob("*") if file.is_file() and file.relative_to(prefix).parts[0] not in own]
    return {
        str(file): (file.stat().st_mtime_ns, file.stat().st_ino) for file in files if "__pycache__" not in file.parts
    }


def _check_whole_life(target: Target, prefix: Path, artifacts: Path, broker: str) -> None:
    first = flash(target, _request(artifacts, broker))
    assert first.changed
    assert first.device == "test-device"
    assert first.runtime.startswith("ai-edge-litert")
    assert first.p50_ms is not None
    assert first.p50_ms > 0
    before, pid = _state(prefix), first.pid
    again = flash(target, _request(artifacts, broker))
    assert (again.changed, again.pid, again.payload, again.sent_bytes) == (False, pid, first.payload, 0)
    assert _state(prefix) == before
    other = flash(target, _request(artifacts, broker, precision="fp32", device=None))
    assert other.changed
    assert other.device == "test-device"
    assert other.pid != pid
    assert len(list((prefix / "venvs").iterdir())) == 1


def test_a_folder_gets_an_agent_that_reports_and_twice_changes_nothing(
    artifacts: Path, broker: str, tmp_path: Path
) -> None:
    target = LocalTarget(tmp_path / "device")
    with _removed(target):
        _check_whole_life(target, tmp_path / "device", artifacts, broker)
    assert not (tmp_path / "device").exists()


def test_a_device_set_up_with_a_bundle_takes_signed_updates(
    broker: str, tmp_path: Path, listen: Callable[[int], Any]
) -> None:
    publisher = Publisher(tmp_path / "publisher")
    publisher.release("1.0.0")
    (first, *_) = publisher.folder.rglob("*.ekb")
    settings = Settings(
        broker=broker,
        window_s=1.0,
        repository=publisher.repository.as_uri(),
        root=publisher.repository / "metadata" / "1.root.json",
    )
    target = LocalTarget(tmp_path / "device")
    with _removed(target):
        flashed = flash(target, FlashRequest(model=first, settings=settings, device="edge-1"))
        assert (flashed.model, flashed.runtime.split()[0]) == ("kws", "null")
        listener = listen(int(broker.rpartition(":")[2]))
        assert listener.wait("tele")[0].body["ver"] == "1.0.0"
        publisher.release("1.1.0")
        listener.client.publish(TOPIC, publisher.desired("1.1.0"), qos=1, retain=True)

        def committed() -> bool:
            bodies = [model for one in listener.of("reported") for model in one.body["models"]]
            return any((one["version"], one["phase"]) == ("1.1.0", "committed") for one in bodies)

        wait_for(committed, "the update is committed", 180)


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshTarget]:
    """A real sshd on 127.0.0.1 with throw-away keys; its sessions have a throw-away home."""
    if SSHD is None or shutil.which("ssh") is None:
        pytest.skip("needs openssh-server and openssh-client")
    folder = tmp_path_factory.mktemp("sshd")
    for name in ("host", "user", "stranger"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    (folder / "home").mkdir()
    (folder / "authorized").write_text((folder / "user.pub").read_text())
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    port = free_port()
    (folder / "config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/authorized\n"
        f"UsePAM no\nStrictModes no\nPidFile none\nPermitRootLogin yes\nSetEnv HOME={folder}/home\n"
    )
    # the session's python3 is the one that runs the tests: the system's own may be older
    (folder / "home" / ".ssh").mkdir()
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([SSHD, "-D", "-e", "-f", str(folder / "config")], stdout=log, stderr=log)
    try:
        end = time.monotonic() + 10
        while not _accepts(port) and time.monotonic() < end:
            time.sleep(0.05)
        yield SshTarget(getpass.getuser(), "127.0.0.1", port, "~/edge kit", folder / "user")
    finally:
        process.terminate()
        process.wait(10)


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(autouse=True)
def _own_known_hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))


def test_a_device_over_ssh_gets_an_agent_that_reports_and_twice_changes_nothing(
    sshd: SshTarget, artifacts: Path, broker: str
) -> None:
    try:
        sshd.call("probe")
    except DeviceError as exc:
        if "3.11" in str(exc) or "python3-venv" in str(exc):
            pytest.skip(f"the system's python3 is no device's: {exc}")
        raise
    assert sshd.identity is not None
    prefix = sshd.identity.parent / "home" / "edge kit"
    with _removed(sshd):
        _check_whole_life(sshd, prefix, artifacts, broker)
    assert not prefix.exists()


def test_edgekits_own_known_hosts_is_readable_by_its_owner_alone(sshd: SshTarget, tmp_path: Path) -> None:
    sshd.call("status")
    known = tmp_path / "xdg" / "edgekit" / "known_hosts"
    assert known.stat().st_mode & 0o777 == 0o600
    assert "ssh-ed25519" in known.read_text()


def test_a_stranger_and_a_changed_host_key_are_one_sentence_with_a_hint(sshd: SshTarget, tmp_path: Path) -> None:
    assert sshd.identity is not None
    stranger = SshTarget(sshd.user, sshd.host, sshd.port, sshd.prefix, sshd.identity.with_name("stranger"))
    with pytest.raises(DeviceError, match="Permission denied") as caught:
        stranger.call("probe")
    assert "--identity" in caught.value.__notes__[0]
    known = tmp_path / "xdg" / "edgekit" / "known_hosts"
    kind, key = sshd.identity.with_name("stranger.pub").read_text().split()[:2]
    known.write_text(f"[127.0.0.1]:{sshd.port} {kind} {key}\n")
    with pytest.raises(DeviceError) as caught:
        sshd.call("probe")
    assert any("host key has changed" in note for note in caught.value.__notes__)


def test_an_unreachable_device_is_exit_code_5(artifacts: Path, broker: str) -> None:
    command = [sys.executable, "-m", "edgekit.cli.main", "flash", f"ssh://nobody@127.0.0.1:{free_port()}"]
    command += ["--model", str(artifacts), "--broker", broker]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert answer.returncode == 5, answer.stderr
    assert "Connection refused" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_a_broken_model_never_reaches_the_device(artifacts: Path, broker: str, tmp_path: Path) -> None:
    (whole,) = (artifacts / "models").glob("*.int8.tflite")
    broken = tmp_path / "broken.tflite"
    broken.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with pytest.raises(ModelError, match=r"broken\.tflite"):
        flash(LocalTarget(tmp_path / "device"), _request(broken, broker))
    assert not (tmp_path / "device").exists()


def test_a_device_that_never_reports_is_said_with_its_log(artifacts: Path, broker: str, tmp_path: Path) -> None:
    target = LocalTarget(tmp_path / "device")
    with running() as elsewhere, _removed(target):
        payload, *_ = plan(target, _request(artifacts, f"mqtt://127.0.0.1:{free_port()}"))
        manifest = payload.manifest
        target.call("receive", _tar(payload))
        target.call("apply", json.dumps(manifest).encode())
        assert elsewhere.url != broker
        from edgekit.flash import _flash

        with (
            FleetClient(elsewhere.url) as client,
            pytest.raises(DeviceError, match="did not report within 3 s") as caught,
        ):
            _flash._wait(client, target, ("test-device", "digits"), 3.0, 0)
        assert any("event=" in note for note in caught.value.__notes__)


def _tar(payload: object) -> bytes:
    from edgekit.flash._targets import as_tar

    contents = payload.contents  # type: ignore[attr-defined]
    return as_tar([(f"{digest}/{name}", content) for digest, (name, content) in contents.items()])


def test_an_installer_that_is_killed_leaves_the_old_one_running(artifacts: Path, broker: str, tmp_path: Path) -> None:
    target = LocalTarget(tmp_path / "device")
    with _removed(target):
        first = flash(target, _request(artifacts, broker))
        request = _request(artifacts, broker, precision="fp32", runtime="tflite-runtime")
        payload, *_ = plan(target, request)
        target.call("receive", _tar(payload))
        command = [sys.executable, "-I", str(INSTALLER), "apply", str(target.prefix)]
        installer = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True)
        assert installer.stdin is not None
        installer.stdin.write(json.dumps(payload.manifest).encode())
        installer.stdin.close()
        environment = target.prefix / "venvs" / payload.manifest["environment"]
        end = time.monotonic() + 60
        while not (environment / "bin" / "python").exists() and time.monotonic() < end:
            time.sleep(0.01)
        with pytest.raises(DeviceError, match=r"another installation into .* is under way"):
            target.call("apply", json.dumps(payload.manifest).encode())
        os.killpg(installer.pid, signal.SIGKILL)
        installer.wait()
        assert not (environment / "COMPLETE").exists()
        status = target.call("status")
        assert (status["alive"], status["pid"], status["id"]) == (True, first.pid, first.payload)
        second = flash(target, request)
        assert (second.changed, second.sent_bytes) == (True, 0)
        assert second.runtime.startswith("tflite-runtime")


def test_only_what_runs_and_what_ran_before_is_kept(artifacts: Path, broker: str, tmp_path: Path) -> None:
    target = LocalTarget(tmp_path / "device")
    with _removed(target):
        done = [
            flash(target, _request(artifacts, broker, precision=precision, name=name, wait_s=0.0))
            for precision, name in (("int8", "one"), ("fp32", "two"), ("fp32", "three"))
        ]
        assert {one.name for one in (target.prefix / "payloads").iterdir()} == {one.payload for one in done[1:]}
        (int8,) = (artifacts / "models").glob("*.int8.tflite")
        assert not (target.prefix / "files" / hashlib.sha256(int8.read_bytes()).hexdigest()).exists()


def test_in_the_foreground_it_ends_with_ctrl_c_and_says_goodbye(artifacts: Path, broker: str, tmp_path: Path) -> None:
    device = tmp_path / "device"
    command = [sys.executable, "-m", "edgekit.cli.main", "flash", "local", str(device), "--model", str(artifacts)]
    command += ["--broker", broker, "--device", "front-1", "--window", "1", "--foreground"]
    with FleetClient(broker) as client, _removed(LocalTarget(device)):
        flash(LocalTarget(device), _request(artifacts, broker, device="front-1"))
        with subprocess.Popen(command, start_new_session=True, stdout=subprocess.PIPE) as process:
            try:
                _state_of(client, "offline")  # the one in the background
                _state_of(client, "online")
                assert LocalTarget(device).call("status")["pid"] is None
                assert next(client.reports(60))[1].model == "digits"  # of the only agent that runs
                os.killpg(process.pid, signal.SIGINT)
                assert _state_of(client, "offline").why == "stop"
                assert process.wait(30) == 0
            finally:
                process.terminate()


def _state_of(client: FleetClient, wanted: str) -> State:
    """Wait until the foreground test's device says this of itself; the broker remembers those of other tests."""
    for received in client.messages(60):
        message = received.message
        if received.device == "front-1" and isinstance(message, State) and message.state == wanted:
            return message
    pytest.fail(f"no state '{wanted}'")


def test_an_installation_that_fails_leaves_the_old_one_running(artifacts: Path, broker: str, tmp_path: Path) -> None:
    target = LocalTarget(tmp_path / "device")
    with _removed(target):
        first = flash(target, _request(artifacts, broker))
        payload, *_ = plan(target, _request(artifacts, broker, precision="fp32"))
        target.call("receive", _tar(payload))
        manifest = {**payload.manifest, "configuration": "device = 'x'"}
        with pytest.raises(DeviceError, match="the agent refuses the configuration"):
            target.call("apply", json.dumps(manifest).encode())
        status = target.call("status")
        assert (status["alive"], status["pid"], status["id"]) == (True, first.pid, first.payload)


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[str]:
    """A real mosquitto with TLS, its own authority (ca.crt in tmp_path) and the user dev, whose password is hunter2."""
    programs = [shutil.which(name) for name in ("openssl", "mosquitto_passwd")]
    executable = find_mosquitto()
    if None in programs or executable is None:
        pytest.skip("needs openssl and mosquitto")

    def run(*command: str) -> None:
        subprocess.run(command, check=True, capture_output=True, cwd=tmp_path, timeout=60)

    new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    run("openssl", "req", "-x509", *new, "-days", "2", "-subj", "/CN=ca", "-keyout", "ca.key", "-out", "ca.crt")
    run("openssl", "req", *new, "-subj", "/CN=server", "-keyout", "server.key", "-out", "server.csr")
    (tmp_path / "names").write_text("subjectAltName=IP:127.0.0.1\n")
    sign = ("-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "names")
    run("openssl", "x509", "-req", "-in", "server.csr", *sign, "-out", "server.crt")
    run("mosquitto_passwd", "-b", "-c", "users", "dev", "hunter2")
    port = free_port()
    owner = "user root\n" if os.geteuid() == 0 else ""
    (tmp_path / "mosquitto.conf").write_text(
        f"{owner}listener {port} 127.0.0.1\ncafile ca.crt\ncertfile server.crt\nkeyfile server.key\n"
        "allow_anonymous false\npassword_file users\n"
    )
    process = subprocess.Popen([executable, "-c", "mosquitto.conf"], cwd=tmp_path, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 10
        while not _accepts(port) and time.monotonic() < end:
            time.sleep(0.05)
        yield f"mqtts://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def test_a_password_and_an_authority_reach_the_device_and_show_nowhere(
    guarded: str, artifacts: Path, tmp_path: Path
) -> None:
    device = tmp_path / "device"
    (tmp_path / "password").write_text("hunter2\n")
    command = [sys.executable, "-m", "edgekit.cli.main", "flash", "local", str(device), "--model", str(artifacts)]
    command += ["--broker", guarded, "--ca", str(tmp_path / "ca.crt"), "--username", "dev", "--window", "1"]
    command += ["--password-file", str(tmp_path / "password"), "--json", "--progress", "plain"]
    with _removed(LocalTarget(device)):
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
        answer = json.loads(done.stdout)
        assert answer["p50_ms"] > 0
        secret = device / "secrets" / "broker.password"
        assert (secret.read_text(), secret.stat().st_mode & 0o777) == ("hunter2", 0o600)
        told = [done.stdout, done.stderr, Path(f"/proc/{answer['pid']}/cmdline").read_text()]
        told += [file.read_text(errors="replace") for file in (device / "payloads").rglob("*") if file.is_file()]
        told += [(device / "log" / "agent.log").read_text()]
        assert not any("hunter2" in text for text in told)


def test_an_enrolled_device_reports_with_its_certificate_and_its_key_shows_nowhere(
    artifacts: Path, tmp_path: Path
) -> None:
    from edgekit.fleet.security import Pki
    from edgekit.fleet.security.mosquitto import Listening
    from edgekit.fleet.security.running import running as production

    if find_mosquitto() is None:
        pytest.skip("mosquitto is not installed: apt-get install mosquitto")
    device, folder = tmp_path / "device", tmp_path / "pki"
    key = Pki.create(folder, lambda _name: b"correct horse", names=["127.0.0.1"]).enroll("dev-mtls").key
    assert key is not None
    with production(folder, Listening(port=free_port(), service_port=free_port())) as broker:
        command = [sys.executable, "-m", "edgekit.cli.main", "flash", "local", str(device), "--model", str(artifacts)]
        command += ["--device", "dev-mtls", "--pki", str(folder), "--broker", broker.url, "--watch", broker.service_url]
        with _removed(LocalTarget(device)):
            done = subprocess.run(
                [*command, "--window", "1", "--json", "--progress", "plain"],
                capture_output=True, text=True, timeout=300, check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
            assert json.loads(done.stdout)["p50_ms"] > 0
            secret = device / "secrets" / "broker.key"
            assert (secret.read_text(), secret.stat().st_mode & 0o777) == (key.read_text(), 0o600)
            body = key.read_text().splitlines()[1]
            told = [done.stdout, done.stderr, (device / "log" / "agent.log").read_text()]
            told += [file.read_text(errors="replace") for file in (device / "payloads").rglob("*") if file.is_file()]
            assert not any(body in text for text in told)
